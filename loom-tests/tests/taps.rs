//! Taps: one word says whether a tap reads or a producer may move it.
#![cfg(loom)]

use loom::thread::{self, yield_now};
use loom_tests::{Model, attempt, parking, saw, start, trying};
use ringway::{Bus, Consumer, Ended, OnLag, Producer, ProducerKind, Tap, Topology, TryReadError};
use std::time::Duration;

const AT_ONCE: OnLag = OnLag::Evict {
    after: Duration::ZERO,
};

/// Each event is one above its sequence. Frees what is there in between: the stage is never in the way.
fn publish<K: ProducerKind>(
    producer: &mut Producer<u64, K>,
    stage: &mut Consumer<u64>,
    events: std::ops::RangeInclusive<u64>,
) -> usize {
    events
        .take_while(|&event| {
            let publish = || {
                let published = producer.try_publish(event);
                if published.is_err() {
                    saw("refused during a copy");
                }
                published
            };
            let published = attempt(publish).is_some();
            drop(stage.try_read());
            published
        })
        .count()
}

/// What a tap has copied and skipped, in so many tries.
fn copy(tap: &mut Tap<u64>, tries: usize) -> (u64, u64, Option<Ended>) {
    let (mut copied, mut skipped) = (0, 0);
    let mut begin = None;
    for _ in 0..tries {
        yield_now();
        match tap.try_read() {
            Ok(batch) => {
                let range = batch.sequences();
                let expected = (range.start().get() + 1)..=range.end().get();
                assert!(
                    batch.iter().copied().eq(expected),
                    "{batch:?}: {:?}",
                    batch.iter()
                );
                copied += batch.len() as u64;
                skipped += batch.skipped();
                let begin = *begin.get_or_insert(range.start().get() - batch.skipped());
                assert_eq!(
                    range.end().get() - begin,
                    copied + skipped,
                    "all is counted"
                );
            }
            Err(TryReadError::Empty) => {}
            Err(TryReadError::Ended(ended)) => return (copied, skipped, Some(ended)),
        }
    }
    (copied, skipped, None)
}

/// A tap reads and lags while one producer laps it.
#[test]
fn lags() {
    let outcomes = &[
        "published 4, copied 1, skipped 0",
        "published 4, copied 1, skipped 1",
        "published 4, copied 1, skipped 2",
        "published 4, copied 2, skipped 0",
        "published 4, copied 2, skipped 1",
        "published 4, copied 2, skipped 2",
        "published 4, copied 3, skipped 0",
        "published 4, copied 3, skipped 1",
        "published 4, copied 4, skipped 0",
        "refused during a copy",
    ];
    Model {
        preemptions: 3,
        executions: 100,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::single(trying(2), || 0).unwrap();
        let (_, mut stage) = topology.stage("stage").consumer();
        let mut tap = topology.stage("tap").tap(OnLag::Skip);
        let (_bus, mut producer) = start(topology);
        let reading = thread::spawn(move || copy(&mut tap, 2));
        let writing = thread::spawn(move || {
            let published = publish(&mut producer, &mut stage, 1..=4);
            (published, producer, stage)
        });
        let (copied, skipped, ended) = reading.join().unwrap();
        assert_eq!(ended, None);
        let (published, ..) = writing.join().unwrap();
        saw(format!(
            "published {published}, copied {copied}, skipped {skipped}"
        ));
    });
}

/// A producer sleeps until a copy is done.
#[test]
fn copy_in_progress() {
    let outcomes = &["parked", "slept not"];
    Model {
        preemptions: 3,
        executions: 100,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::single(parking(1), || 0).unwrap();
        let (_, mut stage) = topology.stage("stage").consumer();
        let mut tap = topology.stage("tap").tap(OnLag::Skip);
        let (bus, mut producer) = start(topology);
        let reading = thread::spawn(move || {
            copy(&mut tap, 1);
            tap
        });
        let writing = thread::spawn(move || {
            for event in 1..=2 {
                producer.publish(event).unwrap();
                drop(stage.read());
            }
            producer
        });
        let producer = writing.join().unwrap();
        let slept = bus.stats().producers[0].parks > 0;
        saw(if slept { "parked" } else { "slept not" });
        drop((producer, reading.join().unwrap()));
    });
}

/// Two producers, one of which moves the tap while the other one has no room either.
#[test]
fn two_producers() {
    let outcomes = &[
        "published false, false, copied 1, skipped 0",
        "published false, true, copied 0, skipped 0",
        "published false, true, copied 1, skipped 0",
        "published false, true, copied 1, skipped 1",
        "published true, false, copied 0, skipped 0",
        "published true, false, copied 1, skipped 0",
        "published true, false, copied 1, skipped 1",
    ];
    Model {
        preemptions: 2,
        executions: 100,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::multi(trying(1), || 0).unwrap();
        let (_, mut stage) = topology.stage("stage").consumer();
        let mut tap = topology.stage("tap").tap(OnLag::Skip);
        let (_bus, mut producer) = start(topology);
        producer.try_publish(1).unwrap();
        drop(stage.try_read());
        let mut other = producer.clone();
        let publishing = thread::spawn(move || {
            yield_now();
            other.try_publish(2).is_ok()
        });
        let reading = thread::spawn(move || copy(&mut tap, 1));
        yield_now();
        let first = producer.try_publish(2).is_ok();
        let second = publishing.join().unwrap();
        assert!(!(first && second), "one slot");
        let (copied, skipped, _) = reading.join().unwrap();
        saw(format!(
            "published {first}, {second}, copied {copied}, skipped {skipped}"
        ));
    });
}

/// A tap is evicted at once when it is in the way, but never while it copies.
#[test]
fn evicted() {
    let outcomes = &[
        "published 3, copied 0, evicted true",
        "published 3, copied 1, evicted false",
        "published 3, copied 1, evicted true",
        "published 3, copied 2, evicted false",
        "refused during a copy",
    ];
    Model {
        preemptions: 3,
        executions: 100,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::single(trying(1), || 0).unwrap();
        let (_, mut stage) = topology.stage("stage").consumer();
        let mut tap = topology.stage("tap").tap(AT_ONCE);
        let (_bus, mut producer) = start(topology);
        let reading = thread::spawn(move || copy(&mut tap, 2));
        let writing = thread::spawn(move || {
            let published = publish(&mut producer, &mut stage, 1..=3);
            (published, producer, stage)
        });
        let (copied, skipped, ended) = reading.join().unwrap();
        assert_eq!(skipped, 0);
        let (published, ..) = writing.join().unwrap();
        if let Some(Ended::Evicted { lag, after }) = &ended {
            assert!(after.is_zero() && *lag + copied <= published as u64 && *lag > 0);
        }
        saw(format!(
            "published {published}, copied {copied}, evicted {}",
            ended.is_some()
        ));
    });
}

/// Joins, and reads what is there.
fn join(bus: &Bus<u64>) -> (Tap<u64>, u64, u64) {
    yield_now();
    let mut tap = bus.tap("tap", OnLag::Skip).unwrap();
    let (copied, skipped, ended) = copy(&mut tap, 1);
    assert_eq!(ended, None);
    (tap, copied, skipped)
}

/// A tap joins while a producer laps it.
#[test]
fn joins() {
    let outcomes = &[
        "published 1, copied 1, skipped 0",
        "published 2, copied 0, skipped 0",
        "published 2, copied 1, skipped 0",
        "published 2, copied 1, skipped 1",
        "refused during a copy",
    ];
    Model {
        preemptions: 2,
        executions: 1000,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::single(trying(1), || 0).unwrap();
        let (_, mut stage) = topology.stage("stage").consumer();
        let (bus, mut producer) = start(topology);
        let writing = thread::spawn(move || {
            let published = publish(&mut producer, &mut stage, 1..=2);
            (published, producer, stage)
        });
        let joining = thread::spawn(move || {
            let (tap, copied, skipped) = join(&bus);
            (copied, skipped, tap, bus)
        });
        let (copied, skipped, ..) = joining.join().unwrap();
        let (published, ..) = writing.join().unwrap();
        saw(format!(
            "published {published}, copied {copied}, skipped {skipped}"
        ));
    });
}
