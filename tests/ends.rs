//! Ends that nobody drops, handlers that take their time to stop, and what else could keep others waiting.

mod common;

use common::{Log, config, later, limited};
use ringway::{BusConfig, Delivery, Ended, ErrorKind, Handler, OnPanic, StageError, Topology, TryReadError, Wait};
use std::panic::panic_any;
use std::sync::mpsc;

/// A bus of four slots whose stage `a` fails on the first event.
fn failing(topology: &mut Topology<u64, ringway::Multi>) -> ringway::Stage {
    topology.stage("a").on_panic(OnPanic::Retire).try_handle(|_, _| Err("the first event".into()))
}

fn upstream() -> Ended {
    Ended::Upstream { stage: "a".into() }
}

#[test]
fn a_consumer_that_was_told_of_its_end_holds_nobody_back() {
    limited(|| {
        let mut topology = Topology::multi(config(4), || 0).unwrap();
        let a = failing(&mut topology);
        let (_, mut behind) = topology.stage("b").after([a]).consumer();
        let log = Log::new();
        let seen = log.clone();
        topology.stage("c").handle(move |event, _| seen.push(*event));
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish(0).unwrap();
        assert_eq!(behind.read().unwrap_err(), upstream());
        for event in 1..20 {
            producer.publish(event).unwrap();
        }
        assert_eq!(behind.try_read().unwrap_err(), TryReadError::Ended(upstream()));
        assert!(behind.is_ended());
        assert!(bus.stats().stages.iter().find(|stage| stage.name == "b").unwrap().ended);
        drop(producer);
        assert_eq!(bus.shutdown().unwrap_err().stage(), Some("a"));
        assert_eq!(log.take(), (0..20).collect::<Vec<_>>());
        drop(behind);
    });
}

#[test]
fn workers_that_were_told_of_their_end_hold_nobody_back() {
    limited(|| {
        let mut topology = Topology::multi(config(4), || 0).unwrap();
        let a = failing(&mut topology);
        let (_, mut one) = topology.stage("b").after([a]).workers();
        let mut other = one.clone();
        topology.stage("c").handle(|_, _| {});
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish(0).unwrap();
        assert_eq!(one.read().unwrap_err(), upstream());
        assert_eq!(other.read_deadline(later()).unwrap_err(), ringway::ReadDeadlineError::Ended(upstream()));
        for event in 1..20 {
            producer.publish(event).unwrap();
        }
        // a clone of one that has left has left, and takes nobody with it again
        let mut late = one.clone();
        assert_eq!(late.read().unwrap_err(), upstream());
        drop((one, late, other));
        producer.publish(20).unwrap();
        drop(producer);
        assert_eq!(bus.shutdown().unwrap_err().kind(), ErrorKind::StageFailed);
    });
}

/// Does not stop before it is told to.
struct StopsLate {
    may_stop: mpsc::Receiver<()>,
}

impl Handler<u64> for StopsLate {
    fn on_event(&mut self, _: &u64, _: Delivery) -> Result<(), StageError> {
        Err("enough".into())
    }

    fn on_stop(&mut self) {
        self.may_stop.recv().expect("the test lets it stop");
    }
}

#[test]
fn a_stage_has_ended_before_its_handler_stops() {
    limited(|| {
        let (stop, may_stop) = mpsc::channel();
        let mut topology = Topology::single(config(4), || 0).unwrap();
        let a = topology.stage("a").on_panic(OnPanic::Retire).attach(StopsLate { may_stop });
        let (_, mut behind) = topology.stage("b").after([a]).consumer();
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish(1).unwrap();
        assert_eq!(behind.read().unwrap_err(), upstream());
        stop.send(()).unwrap();
        drop(producer);
        assert!(bus.shutdown().is_err());
    });
}

/// A panic payload that panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("the payload of a panic");
        }
    }
}

#[test]
fn a_payload_that_panics_does_not_break_the_policy() {
    limited(|| {
        let log = Log::new();
        let handled = log.clone();
        let mut topology = Topology::single(config(8), || 0).unwrap();
        topology.stage("a").on_panic(OnPanic::Skip).handle(move |event, _| {
            if *event == 0 {
                panic_any(Bomb);
            }
            handled.push(*event);
        });
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish_slice(&[0, 1, 2, 3]).unwrap();
        drop(producer);
        bus.shutdown().unwrap();
        assert_eq!(log.take(), [1, 2, 3]);
    });
}

#[test]
fn a_stage_named_like_a_member_is_waited_for_as_well() {
    limited(|| {
        let (go, may_go) = mpsc::channel();
        let mut topology = Topology::multi(config(8), || 0).unwrap();
        topology.stage("a").share(2, |_| |_: &u64, _| {});
        topology.stage("a-0").handle(move |_, _| may_go.recv().unwrap());
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish(1).unwrap();
        drop(producer);
        let error = bus.shutdown_deadline(common::soon()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        go.send(()).unwrap();
        bus.shutdown().unwrap();
    });
}

#[test]
fn a_halted_bus_is_joined_beside_its_living_producer() {
    limited(|| {
        let mut topology = Topology::single(config(8), || 0).unwrap();
        topology.stage("a").handle(|_, _| {});
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish(1).unwrap();
        bus.halt();
        assert_eq!(bus.join().unwrap_err().kind(), ErrorKind::Halted);
        assert!(producer.publish(2).is_err());
    });
}

#[test]
fn a_failed_bus_tells_why_beside_its_living_producer() {
    limited(|| {
        let mut topology = Topology::single(config(8), || 0).unwrap();
        topology.stage("a").handle(|_, _| panic!("boom"));
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish(1).unwrap();
        common::until(|| producer.is_closed());
        let error = bus.shutdown().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StageFailed);
        assert!(error.to_string().contains("boom"), "{error}");
    });
}

#[test]
fn a_sleeping_reader_is_woken_while_a_long_batch_is_still_being_made() {
    limited(|| {
        let (seen, first) = mpsc::channel();
        let mut topology = Topology::single(BusConfig { wait: Wait::Park, ..config(1024) }, || 0).unwrap();
        topology.stage("a").handle(move |event, _| {
            if *event == 0 {
                seen.send(()).unwrap();
            }
        });
        let (bus, mut producer) = topology.start().unwrap();
        let events = (0..512_u32).map(|number| {
            if number == 256 {
                first.recv().unwrap(); // long after the chunk that the first event was in
            }
            u64::from(number)
        });
        assert_eq!(producer.publish_batch(events).unwrap(), 512);
        drop(producer);
        bus.shutdown().unwrap();
    });
}

#[test]
fn each_producer_has_a_position_and_a_lag() {
    let mut topology = Topology::multi(config(16), || 0).unwrap();
    let (_, mut reader) = topology.stage("a").consumer();
    let (bus, mut one) = topology.start().unwrap();
    let mut other = one.clone();
    one.publish_slice(&[1, 2, 3]).unwrap();
    other.publish(4).unwrap();
    let stats = bus.stats();
    let seen: Vec<_> =
        stats.producers.iter().map(|producer| (producer.position, producer.lag, producer.events)).collect();
    assert_eq!(seen, [(3, 3, 3), (4, 4, 1)]);
    assert_eq!(reader.read().unwrap().len(), 4);
    assert!(bus.stats().producers.iter().all(|producer| producer.lag == 0));
}
