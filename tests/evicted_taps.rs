//! Taps that producers wait for, but not for ever.

mod common;

use common::executor::{bell, block_on, poll_once};
use common::{config, limited, soon, waiting};
use ringway::{
    Bus, Ended, OnLag, Producer, PublishDeadlineError, Single, Tap, Topology, TryPublishError,
    TryReadError, Wait,
};
use std::pin::pin;
use std::thread;
use std::time::{Duration, Instant};

/// A bus of one stage that drains by itself, and a tap.
fn tapped(capacity: usize, on_lag: OnLag) -> (Bus<u64>, Producer<u64>, Tap<u64>) {
    let mut topology = Topology::<_, Single>::single(config(capacity), || 0).expect("it is open");
    topology.stage("work").handle(|_, _| {});
    let tap = topology.stage("tap").tap(on_lag);
    let (bus, producer) = topology.start().expect("it is open");
    (bus, producer, tap)
}

#[test]
fn one_that_is_evicted_holds_producers_back_for_its_time_and_ends() {
    for wait in [Wait::Park, Wait::Adaptive, Wait::backoff()] {
        limited(move || {
            let after = Duration::from_millis(40);
            let mut topology = Topology::single(waiting(4, wait), || 0_u64).expect("it is open");
            topology.stage("work").handle(|_, _| {});
            let mut tap = topology.stage("tap").tap(OnLag::Evict { after });
            let (bus, mut producer) = topology.start().expect("it is open");
            producer.publish_batch([0, 1, 2, 3]).expect("it is open");
            let began = Instant::now();
            assert_eq!(
                producer.try_publish(4),
                Err(TryPublishError::Full(4)),
                "the clock starts"
            );
            assert_eq!(producer.free(), 0);
            let timed = producer.publish_deadline(4, began + after / 4);
            assert_eq!(timed, Err(PublishDeadlineError::TimedOut(4)));
            assert!(!tap.is_ended());
            producer.publish(4).expect("it is open");
            assert!(began.elapsed() >= after);
            assert!(tap.is_ended() && bus.stats().taps[0].ended);
            for number in 5..20 {
                producer.publish(number).expect("it is open");
            }
            let evicted = Ended::Evicted { lag: 20, after };
            assert_eq!(tap.read().unwrap_err(), evicted);
            assert_eq!(
                tap.try_read().unwrap_err(),
                TryReadError::Ended(evicted.clone())
            );
            assert!(
                evicted
                    .to_string()
                    .contains("40ms and was evicted, 20 sequences behind")
            );
        });
    }
}

#[test]
fn one_that_reads_a_quarter_of_the_ring_in_time_is_not_evicted() {
    limited(|| {
        let after = Duration::from_millis(60);
        let mut topology = Topology::single(config(8), || 0_u64).expect("it is open");
        topology.stage("work").handle(|_, _| {});
        let mut tap = topology
            .stage("tap")
            .batch_max(1)
            .tap(OnLag::Evict { after });
        let (_bus, mut producer) = topology.start().expect("it is open");
        producer.publish_batch(vec![0; 8]).expect("it is open");
        let publishing = thread::spawn(move || {
            for number in 0..16 {
                producer.publish(number).expect("it is open");
            }
            producer
        });
        for _ in 0..16 {
            thread::sleep(Duration::from_millis(10));
            assert_eq!(tap.try_read().expect("it is open").skipped(), 0);
        }
        drop(publishing.join().expect("it is open"));
        assert_eq!(tap.lag(), 8);

        // one event in this time is too little
        let (_bus, mut producer, mut tap) = {
            let mut topology = Topology::single(config(64), || 0_u64).expect("it is open");
            topology.stage("work").handle(|_, _| {});
            let tap = topology
                .stage("tap")
                .batch_max(1)
                .tap(OnLag::Evict { after });
            let (bus, producer) = topology.start().expect("it is open");
            (bus, producer, tap)
        };
        let publishing = thread::spawn(move || {
            for number in 0..100 {
                producer.publish(number).expect("it is open");
            }
        });
        let ended = loop {
            thread::sleep(after / 4);
            match tap.read() {
                Ok(batch) => assert_eq!(batch.skipped(), 0),
                Err(ended) => break ended,
            }
        };
        assert!(
            matches!(ended, Ended::Evicted { lag: 60.., .. }),
            "{ended:?}"
        );
        publishing.join().expect("it is open");
    });
}

#[test]
fn a_task_publishes_though_a_tap_holds_the_ring_back_for_a_while() {
    limited(|| {
        let after = Duration::from_millis(20);
        let (_bus, mut producer, mut tap) = tapped(2, OnLag::Evict { after });
        producer.publish_batch([0, 1]).expect("it is open");
        let began = Instant::now();
        assert_eq!(
            block_on(producer.publish_async(2))
                .expect("it is open")
                .get(),
            2
        );
        assert!(began.elapsed() >= after);
        assert!(matches!(
            tap.try_read(),
            Err(TryReadError::Ended(Ended::Evicted { lag: 3, .. }))
        ));
    });
}

#[test]
fn one_whose_time_is_nothing_is_evicted_at_once() {
    limited(|| {
        let (_bus, mut producer, mut tap) = tapped(
            2,
            OnLag::Evict {
                after: Duration::ZERO,
            },
        );
        producer.publish_batch([0, 1]).expect("it is open");
        producer.publish(2).expect("it is open");
        assert!(matches!(tap.read(), Err(Ended::Evicted { lag: 3, .. })));
    });
}

#[test]
fn one_that_finds_nothing_left_to_read_has_its_time_begin_anew() {
    let looks: [fn(&mut Tap<u64>); 3] = [
        |tap| assert_eq!(tap.try_read().unwrap_err(), TryReadError::Empty),
        |tap| assert!(tap.read_deadline(soon()).is_err()),
        |tap| {
            let (_rung, waker) = bell();
            assert!(poll_once(pin!(tap.read_async()), &waker).is_pending());
        },
    ];
    for look in looks {
        limited(move || {
            let after = Duration::from_millis(50);
            let mut topology = Topology::<_, Single>::single(config(64), || 0_u64).expect("valid");
            let (_, mut work) = topology.stage("work").consumer();
            let mut tap = topology.stage("tap").tap(OnLag::Evict { after });
            let (_bus, mut producer) = topology.start().expect("it is open");
            producer.publish(1).expect("it is open");
            drop(work.try_read().expect("it is open"));
            assert!(producer.try_claim(64).is_err(), "the clock starts");
            drop(tap.try_read().expect("it is open"));
            look(&mut tap);
            thread::sleep(after * 2); // it holds nobody back
            producer.publish(2).expect("it is open");
            drop(work.try_read().expect("it is open"));
            assert!(producer.try_claim(64).is_err(), "nobody has waited yet");
            assert!(!tap.is_ended());
            thread::sleep(after * 2);
            assert!(producer.try_claim(64).is_ok() && tap.is_ended());
        });
    }
}

#[test]
fn a_claim_that_one_tap_refuses_moves_no_other() {
    limited(|| {
        let mut topology = Topology::<_, Single>::single(config(4), || 0_u64).expect("valid");
        let (_, mut work) = topology.stage("work").consumer();
        let mut skips = topology.stage("skips").tap(OnLag::Skip);
        let at_once = OnLag::Evict {
            after: Duration::ZERO,
        };
        let evicted = topology.stage("evicted").tap(at_once);
        let after = Duration::from_secs(3600);
        let mut held = topology.stage("held").tap(OnLag::Evict { after });
        let (_bus, mut producer) = topology.start().expect("it is open");
        producer.publish_batch([0, 1, 2, 3]).expect("it is open");
        drop(work.try_read().expect("it is open"));
        assert_eq!(producer.try_publish(4), Err(TryPublishError::Full(4)));
        assert_eq!((skips.skipped(), evicted.is_ended()), (0, false));
        assert_eq!(held.try_read().expect("it is open").len(), 4);
        producer.try_publish(4).expect("there is room");
        assert_eq!((skips.skipped(), evicted.is_ended()), (2, true));
        assert_eq!(skips.try_read().expect("it is open").len(), 3);
    });
}

#[test]
fn the_times_of_several_run_at_once() {
    limited(|| {
        let after = Duration::from_millis(30);
        let mut topology = Topology::<_, Single>::single(config(4), || 0_u64).expect("valid");
        let (_, mut work) = topology.stage("work").consumer();
        // the longest first, in the midst, last
        let times = [2, 1, 3, 1, 2];
        let taps: Vec<_> = (0..)
            .zip(times)
            .map(|(number, times)| {
                let stage = topology.stage(format!("tap {number}"));
                stage.tap(OnLag::Evict {
                    after: after * times,
                })
            })
            .collect();
        let (_bus, mut producer) = topology.start().expect("it is open");
        producer.publish_batch([0, 1, 2, 3]).expect("it is open");
        drop(work.try_read().expect("it is open"));
        assert_eq!(producer.try_publish(4), Err(TryPublishError::Full(4)));
        thread::sleep(after * 3);
        producer.try_publish(4).expect("all times are up");
        assert!(taps.iter().all(Tap::is_ended));
    });
}
