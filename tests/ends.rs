//! Stages that end early and readers that leave, before the start and after it: who ends with them, who goes on, and
//! what else could keep others waiting.

mod common;

use common::{Log, config, later, limited, numbers};
use ringway::{
    BusConfig, ClaimError, Delivery, Ended, ErrorKind, Handler, OnPanic, PublishError,
    ReadDeadlineError, StageError, Topology, TryReadError, Wait, mpsc, spsc,
};
use std::panic::panic_any;
use std::sync::mpsc as channel;
use std::thread;

/// A bus of four slots whose stage `a` fails on the first event.
fn failing(topology: &mut Topology<u64, ringway::Multi>) -> ringway::Stage {
    topology
        .stage("a")
        .on_panic(OnPanic::Retire)
        .try_handle(|_, _| Err("the first event".into()))
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
        topology
            .stage("c")
            .handle(move |event, _| seen.push(*event));
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish(0).unwrap();
        assert_eq!(behind.read().unwrap_err(), upstream());
        for event in 1..20 {
            producer.publish(event).unwrap();
        }
        assert_eq!(
            behind.try_read().unwrap_err(),
            TryReadError::Ended(upstream())
        );
        assert!(behind.is_ended());
        assert!(
            bus.stats()
                .stages
                .iter()
                .find(|stage| stage.name == "b")
                .unwrap()
                .ended
        );
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
        assert_eq!(
            other.read_deadline(later()).unwrap_err(),
            ReadDeadlineError::Ended(upstream())
        );
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
    may_stop: channel::Receiver<()>,
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
        let (stop, may_stop) = channel::channel();
        let mut topology = Topology::single(config(4), || 0).unwrap();
        let a = topology
            .stage("a")
            .on_panic(OnPanic::Retire)
            .attach(StopsLate { may_stop });
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
        if !thread::panicking() {
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
        topology
            .stage("a")
            .on_panic(OnPanic::Skip)
            .handle(move |event, _| {
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
        let (go, may_go) = channel::channel();
        let mut topology = Topology::multi(config(8), || 0).unwrap();
        topology.stage("a").share(2, |_| |_: &u64, _| {});
        topology
            .stage("a-0")
            .handle(move |_, _| may_go.recv().unwrap());
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
        let (seen, first) = channel::channel();
        let mut topology = Topology::single(
            BusConfig {
                wait: Wait::Park,
                ..config(1024)
            },
            || 0,
        )
        .unwrap();
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
    let seen: Vec<_> = stats
        .producers
        .iter()
        .map(|producer| (producer.position, producer.lag, producer.events))
        .collect();
    assert_eq!(seen, [(3, 3, 3), (4, 4, 1)]);
    assert_eq!(reader.read().unwrap().len(), 4);
    assert!(
        bus.stats()
            .producers
            .iter()
            .all(|producer| producer.lag == 0)
    );
}

#[test]
fn a_dropped_consumer_ends_its_dependants_where_it_stood_and_nobody_else() {
    limited(|| {
        let mut topology = Topology::single(
            BusConfig {
                batch_max: 2,
                ..config(8)
            },
            || 0,
        )
        .unwrap();
        let (first, mut rx) = topology.stage("first").consumer();
        let (second, mut behind) = topology.stage("second").after([first]).consumer();
        let (_, mut far) = topology.stage("third").after([second]).consumer();
        let (_, mut independent) = topology.stage("independent").batch_max(8).consumer();
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish_batch(numbers(0..4)).unwrap();
        drop(rx.read().unwrap());
        let held = rx.read().unwrap();
        assert!(held.iter().eq(&[2, 3]));
        std::mem::forget(held); // never freed
        drop(rx);
        assert!(
            behind.read().unwrap().iter().eq(&[0, 1]),
            "what had passed is delivered"
        );
        assert_eq!(
            behind.read().unwrap_err(),
            Ended::Upstream {
                stage: "first".into()
            }
        );
        assert!(far.read().unwrap().iter().eq(&[0, 1]));
        // the one in the middle was told of its end, and has ended; nobody need drop it
        assert_eq!(
            far.read().unwrap_err(),
            Ended::Upstream {
                stage: "second".into()
            }
        );
        drop((behind, far));
        let mut read = 0;
        for lap in 0..5 {
            producer
                .publish_batch(numbers(4 + 4 * lap..8 + 4 * lap))
                .expect("producers go on");
            read += independent.read().unwrap().len();
        }
        assert_eq!(read, 24);
        drop(independent);
        assert!(producer.is_closed(), "nobody is left to read");
        drop(producer);
        bus.shutdown().unwrap();
    });
}

#[test]
fn of_several_upstreams_the_one_that_ended_early_is_named_once_it_is_reached() {
    limited(|| {
        let mut topology = Topology::single(config(8), || 0).unwrap();
        let (left, mut left_rx) = topology.stage("left").batch_max(2).consumer();
        let (right, mut right_rx) = topology.stage("right").batch_max(3).consumer();
        let (_, mut join) = topology.stage("join").after([left, right]).consumer();
        let (_bus, mut producer) = topology.start().unwrap();
        producer.publish_batch(numbers(0..6)).unwrap();
        drop(right_rx.read().unwrap());
        drop(right_rx);
        drop(left_rx.read().unwrap());
        assert_eq!(join.try_read().unwrap().len(), 2);
        assert_eq!(
            join.try_read().unwrap_err(),
            TryReadError::Empty,
            "left may still pass one"
        );
        drop(left_rx.read().unwrap());
        assert_eq!(join.try_read().unwrap().len(), 1);
        assert_eq!(
            join.try_read().unwrap_err(),
            TryReadError::Ended(Ended::Upstream {
                stage: "right".into()
            })
        );
        drop(left_rx);
        assert!(join.is_ended());
    });
}

#[test]
fn of_two_upstreams_at_one_position_the_one_that_ended_decides() {
    limited(|| {
        for ended_first in [true, false] {
            let mut topology = Topology::single(config(8), || 0).unwrap();
            let (ended, mut ended_rx) = topology.stage("ended").consumer();
            let (living, mut living_rx) = topology.stage("living").consumer();
            let both = if ended_first {
                [ended, living]
            } else {
                [living, ended]
            };
            let (_, mut join) = topology.stage("join").after(both).consumer();
            let (_bus, mut producer) = topology.start().unwrap();
            producer.publish_batch(numbers(0..3)).unwrap();
            drop((living_rx.read().unwrap(), ended_rx.read().unwrap()));
            drop(ended_rx);
            assert_eq!(join.read().unwrap().len(), 3);
            let end = join.read_deadline(later()).unwrap_err();
            assert_eq!(
                end,
                ReadDeadlineError::Ended(Ended::Upstream {
                    stage: "ended".into()
                })
            );
        }
    });
}

#[test]
fn an_upstream_that_ended_because_all_was_delivered_is_no_early_end() {
    limited(|| {
        for _ in 0..50 {
            let mut topology = Topology::single(config(4), || 0).unwrap();
            let first = topology.stage("first").handle(|_, _| ());
            let (_, mut rx) = topology.stage("second").after([first]).consumer();
            let (bus, mut producer) = topology.start().unwrap();
            producer.publish(1).unwrap();
            drop(producer);
            bus.shutdown().unwrap();
            assert_eq!(rx.read().unwrap().len(), 1);
            assert_eq!(rx.read().unwrap_err(), Ended::Drained);
        }
    });
}

#[test]
fn the_last_reader_to_leave_closes_for_producers_that_wait() {
    limited(|| {
        let (mut tx, rx) = spsc::<u64>(2);
        let publisher = thread::spawn(move || {
            let stopped = tx.publish_batch(numbers(0..5)).unwrap_err();
            (stopped.published, stopped.reason)
        });
        common::until(|| rx.lag() == 2);
        drop(rx);
        assert_eq!(publisher.join().unwrap(), (2, ClaimError::Closed));
        let (mut tx, rx) = mpsc::<u64>(2);
        tx.publish_slice(&[1, 2]).unwrap();
        let publisher = thread::spawn(move || tx.publish(3).unwrap_err());
        drop(rx);
        assert_eq!(publisher.join().unwrap(), PublishError::Closed(3));
    });
}

#[test]
fn a_stage_that_is_dropped_before_the_next_is_added_does_not_close_the_bus() {
    limited(|| {
        let mut topology = Topology::multi(config(2), || 0).unwrap();
        drop(topology.stage("gone").consumer());
        let (_, mut rx) = topology.stage("stays").consumer();
        let (_bus, mut producer) = topology.start().unwrap();
        producer.publish(1).expect("somebody reads");
        assert!(rx.read().unwrap().iter().eq(&[1]));
    });
}

#[test]
fn a_bus_whose_only_readers_left_before_the_start_is_closed() {
    limited(|| {
        let mut topology = Topology::single(config(2), || 0).unwrap();
        drop(topology.stage("gone").consumer());
        let (bus, mut producer) = topology.start().unwrap();
        assert!(producer.is_closed());
        assert_eq!(producer.publish(1).unwrap_err().into_event(), 1);
        drop(producer);
        bus.shutdown().unwrap();
    });
}
