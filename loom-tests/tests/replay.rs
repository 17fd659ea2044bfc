//! A tap that is detached reads on in the journal, and joins the ring again: without a gap, and nothing twice.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread::{self, yield_now};
use loom_tests::{Model, attempt, saw, start, trying};
use ringway::model::{ModelPast, replaying};
use ringway::{Bus, Consumer, Producer, Tap, Topology};
use std::cell::Cell;

std::thread_local! {
    // loom runs all threads of a model on the thread that checks it, and only the tap reads the journal
    static JOURNAL: Cell<bool> = const { Cell::new(false) };
}

fn in_the_journal() {
    JOURNAL.set(true);
}

type Parts = (
    Bus<u64>,
    Producer<u64>,
    Consumer<u64>,
    Arc<AtomicU64>,
    Tap<u64>,
);

/// A ring of one slot, a stage that stands for the journal, and a tap.
fn bus() -> Parts {
    let mut topology = Topology::single(trying(1), || 0).unwrap();
    let (journal, stage) = topology.stage("journal").consumer();
    let written = Arc::new(AtomicU64::new(0));
    let past = ModelPast {
        written: written.clone(),
        reads: in_the_journal,
    };
    let tap = replaying(topology.stage("tap"), journal, past);
    let (bus, producer) = start(topology);
    (bus, producer, stage, written, tap)
}

/// Publishes, and writes what is there.
fn publish(
    producer: &mut Producer<u64>,
    stage: &mut Consumer<u64>,
    written: &AtomicU64,
    events: std::ops::RangeInclusive<u64>,
) -> usize {
    let publish = |event: &u64| {
        let published = attempt(|| producer.try_publish(*event)).is_some();
        if let Ok(batch) = stage.try_read() {
            written.store(batch.sequences().end().get(), Ordering::Relaxed);
        }
        published
    };
    events.take_while(publish).count()
}

/// Reads in so many tries; every event must be the next one.
fn read(tap: &mut Tap<u64>, tries: usize) -> u64 {
    let (mut next, mut detached) = (0, false);
    for _ in 0..tries {
        yield_now();
        JOURNAL.set(false);
        if let Ok(batch) = tap.try_read() {
            let range = batch.sequences();
            assert_eq!((range.start().get(), batch.skipped()), (next, 0));
            next = range.end().get();
            match (detached, JOURNAL.get()) {
                (false, false) => saw("read the ring"),
                (true, false) => saw("read the ring again"),
                (_, true) => saw("read the journal"),
            }
            detached |= JOURNAL.get();
            assert!(
                batch.iter().copied().eq(range.start().get() + 1..=next),
                "{batch:?}"
            );
        }
    }
    next
}

/// One thread publishes, one reads, then the rest is read.
fn follow(parts: Parts, events: std::ops::RangeInclusive<u64>, tries: usize) {
    let (_bus, mut producer, mut stage, written, mut tap) = parts;
    let first = events.start() - 1;
    let writing = thread::spawn(move || {
        let published = publish(&mut producer, &mut stage, &written, events);
        (first + published as u64, producer, stage)
    });
    let reading = thread::spawn(move || (read(&mut tap, tries), tap));
    let (mut next, mut tap) = reading.join().unwrap();
    let (published, ..) = writing.join().unwrap();
    saw(format!("published {published}, read {next}"));
    while let Ok(batch) = tap.try_read() {
        assert_eq!(batch.sequences().start().get(), next);
        next = batch.sequences().end().get();
    }
    assert_eq!(next, published, "all of it");
}

/// The tap is lapped while it reads, detached, reads what it has missed, and joins.
#[test]
fn detached() {
    let outcomes = &[
        "published 3, read 2",
        "published 3, read 3",
        "read the journal",
        "read the ring",
    ];
    Model {
        preemptions: 2,
        executions: 1000,
        outcomes,
    }
    .check(|| {
        follow(bus(), 1..=3, 3);
    });
}

/// The tap has been detached already, and joins while the producer goes on.
#[test]
fn joins_again() {
    let outcomes = &[
        "published 4, read 3",
        "published 4, read 4",
        "read the journal",
        "read the ring again",
    ];
    Model {
        preemptions: 3,
        executions: 500,
        outcomes,
    }
    .check(|| {
        let (bus, mut producer, mut stage, written, tap) = bus();
        assert_eq!(publish(&mut producer, &mut stage, &written, 1..=2), 2);
        follow((bus, producer, stage, written, tap), 3..=4, 3);
    });
}
