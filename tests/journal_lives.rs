//! Journals as programs use them, from outside: several lives and producers, closures that panic, replays, positions, and copies made while they are written.

mod common;

use common::journal::Scratch;
use common::limited;
use ringway::{
    Bus, BusConfig, Journal, JournalConfig, Level, Plain, PositionStore, Producer, Sequence,
    Single, SyncPolicy, Topology,
};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Segments so small that many come and go.
fn config(sync: SyncPolicy, segments_max: Option<u64>) -> JournalConfig {
    let mut config = JournalConfig {
        segment_bytes: 4096,
        write_bytes_max: 512,
        sync,
        ..JournalConfig::default()
    };
    config.retention.bytes_max = segments_max.map(|segments| segments * 4096);
    config
}

fn open(path: &Path, config: &JournalConfig) -> Journal<Plain<u64>> {
    Journal::open(path, config.clone(), Plain::new()).expect("it opens")
}

fn start(journal: Journal<Plain<u64>>) -> (Bus<u64>, Producer<u64, Single>) {
    let mut topology = Topology::single(BusConfig::default(), || 0).expect("it is valid");
    topology.stage("journal").journal(journal);
    topology.start().expect("it starts")
}

/// Publishes so many events, which are their own sequences; never more than a ring at a time, so that segments are rolled.
fn publish(producer: &mut Producer<u64, Single>, events: std::ops::Range<u64>) {
    for number in events {
        let sequence = producer.publish(number).expect("it runs");
        assert_eq!(sequence.get(), number);
        if number % 64 == 0 {
            let written = producer.wait_durable(sequence, Level::Written);
            written.expect("it is written");
        }
    }
}

#[test]
fn what_panicking_closures_left_is_abandoned_in_every_life() {
    limited(|| {
        for sync in [SyncPolicy::EveryBatch, SyncPolicy::Never] {
            let scratch = Scratch::new("panics");
            let config = config(sync, None);
            let mut expected = Vec::new();
            for life in 0..3 {
                let journal = open(scratch.path(), &config);
                check(&journal, &mut expected);
                let bus = BusConfig {
                    capacity: 64,
                    ..BusConfig::default()
                };
                let mut topology = Topology::multi(bus, || 0).expect("it is valid");
                let durable = topology.stage("journal").journal(journal);
                topology.stage("behind").after([durable]).handle(|_, _| {});
                let (bus, producer) = topology.start().expect("it starts");
                let threads = [0, 1, 2].map(|own| {
                    let mut producer = producer.clone();
                    thread::spawn(move || {
                        let mut published = Vec::new();
                        for number in 0..300 {
                            let event = (life * 3 + own) * 1000 + number;
                            let fill = |slot: &mut u64| {
                                if number % 3 == own {
                                    resume_unwind(Box::new("planted"));
                                }
                                *slot = event;
                            };
                            let attempt = || producer.publish_with(fill);
                            if catch_unwind(AssertUnwindSafe(attempt)).is_ok() {
                                published.push(event);
                            }
                        }
                        published
                    })
                });
                drop(producer);
                for thread in threads {
                    expected.extend(thread.join().expect("panics are caught"));
                }
                bus.shutdown().expect("nothing fails");
            }
            check(&open(scratch.path(), &config), &mut expected);
            assert!(expected.len() > 1500, "{}", expected.len());
        }
    });
}

/// All is there that was published, in order for each producer.
fn check(journal: &Journal<Plain<u64>>, expected: &mut Vec<u64>) {
    let mut replay = journal.replay(journal.first()).expect("it is there");
    let events = replay
        .by_ref()
        .map(|record| record.expect("it is whole").event);
    let mut events: Vec<u64> = events.collect();
    assert_eq!(
        replay.skipped() + events.len() as u64,
        journal.next().get(),
        "every sequence is an event, or was abandoned"
    );
    // a thousand for each producer and life: sorting by that must be all that is to do
    events.sort_by_key(|event| event / 1000);
    expected.sort_by_key(|event| event / 1000);
    assert!(events == *expected);
}

/// A replay from before the bus was started, which removes what is too much.
#[test]
fn a_replay_keeps_its_segments_when_the_journal_goes_on() {
    limited(|| {
        let scratch = Scratch::new("pinned");
        let config = config(SyncPolicy::Never, Some(1));
        let (bus, mut producer) = start(open(scratch.path(), &config));
        publish(&mut producer, 0..2000);
        drop(producer);
        bus.shutdown().expect("nothing fails");
        for by_time in [false, true] {
            let journal = open(scratch.path(), &config);
            let (first, next) = (journal.first().get(), journal.next().get());
            let mut replay = match by_time {
                false => journal.replay(journal.first()),
                true => journal.replay_since(std::time::UNIX_EPOCH),
            }
            .expect("it is there");
            replay.next().expect("there are some").expect("it is whole");
            let (bus, mut producer) = start(journal);
            publish(&mut producer, next..next + 2000);
            let rest: Result<Vec<_>, _> = replay.collect();
            let rest = rest.expect("what is replayed is not removed");
            assert_eq!(rest.len() as u64, next - first - 1);
            drop(producer);
            bus.shutdown().expect("nothing fails");
        }
    });
}

#[test]
fn opening_tells_whose_position_does_not_go_with_the_journal() {
    let scratch = Scratch::new("ahead");
    let config = config(SyncPolicy::Never, None);
    let (bus, mut producer) = start(open(scratch.path(), &config));
    publish(&mut producer, 0..10);
    drop(producer);
    bus.shutdown().expect("nothing fails");
    let positions = PositionStore::open(scratch.path()).expect("it opens");
    for (name, position) in [("behind", 9), ("there", 10), ("ahead", 11)] {
        let stored = positions.store(name, Sequence::new(position));
        stored.expect("there is room");
    }
    fs::write(scratch.path().join(".position-torn"), [7; 32]).expect("there is room");
    let journal = open(scratch.path(), &config);
    let recovery = journal.recovery();
    assert_eq!(recovery.ahead, ["ahead"]);
    assert_eq!(recovery.unreadable, ["torn"]);
    drop(journal);
    let verified = ringway::Inspection::open(scratch.path()).and_then(|found| found.verify());
    let verified = verified.expect("it is whole");
    assert_eq!(
        (verified.ahead, verified.unreadable),
        (vec!["ahead".into()], vec!["torn".into()])
    );
}

/// Copies all segments but the newest. `None`: one was gone right after it was copied.
fn back_up(from: &Path, to: &Path) -> Option<()> {
    fs::create_dir(to).expect("there is room");
    let names = fs::read_dir(from).expect("it is there");
    let mut names: Vec<_> = names
        .map(|entry| entry.expect("it is there").file_name())
        .filter(|name| name.to_str().is_some_and(|name| name.ends_with(".segment")))
        .collect();
    names.sort();
    names.pop();
    for name in names {
        // a moment in which others go
        thread::sleep(Duration::from_micros(200));
        fs::copy(from.join(&name), to.join(&name)).ok()?;
        from.join(&name).exists().then_some(())?;
    }
    Some(())
}

/// As the guide says: with a position where something is removed meanwhile, without where all is kept.
#[test]
fn a_copy_of_the_segments_of_a_running_journal_opens() {
    limited(|| {
        for segments_max in [Some(3), None] {
            let scratch = Scratch::new("backup");
            let path = scratch.path().join("journal");
            let config = config(SyncPolicy::Never, segments_max);
            let (bus, mut producer) = start(open(&path, &config));
            let end = Arc::new(AtomicBool::new(false));
            let ended = end.clone();
            let writing = thread::spawn(move || {
                let mut next = 0;
                while !ended.load(Ordering::Relaxed) {
                    publish(&mut producer, next..next + 64);
                    next += 64;
                    thread::sleep(Duration::from_micros(100));
                }
            });
            let (mut copies, mut events) = (0, 0);
            for round in 0..200 {
                let positions = PositionStore::open(&path).expect("it opens");
                if segments_max.is_some() {
                    let held = positions.store("backup", Sequence::new(0));
                    held.expect("there is room");
                }
                let copy = scratch.path().join(format!("copy-{round}"));
                let whole = back_up(&path, &copy).is_some();
                positions.remove("backup").expect("it is removed");
                if whole {
                    let journal = open(&copy, &config);
                    let replay = journal.replay(journal.first()).expect("it is there");
                    for (record, number) in replay.zip(journal.first().get()..) {
                        assert_eq!(record.expect("it is whole").event, number);
                        events += 1;
                    }
                    copies += 1;
                }
                if copies == 8 {
                    break;
                }
            }
            end.store(true, Ordering::Relaxed);
            writing.join().expect("it runs");
            bus.shutdown().expect("nothing fails");
            assert!(
                copies == 8 && events > 500,
                "{copies} copies, {events} events"
            );
        }
    });
}
