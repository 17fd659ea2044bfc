//! Taps that lag and miss nothing: they read on in the journal, and go back to the ring.
#![cfg(unix)]

mod common;

use common::executor::block_on;
use common::journal::Scratch;
use common::{Random, limited, seeded, until, waiting};
use ringway::{
    Bus, BusConfig, Ended, ErrorKind, Journal, JournalConfig, Multi, OnLag, Plain, Producer,
    Retention, Sequence, Single, StageBuilder, SyncPolicy, Tap, Topology, TryReadError, Wait,
};
use std::thread;
use std::time::Duration;

/// What an editing stage puts into an event.
const EDITED: u64 = 1 << 63;

const SEGMENT_BYTES: u64 = 1 << 13;

fn config(sync: SyncPolicy) -> JournalConfig {
    JournalConfig {
        sync,
        segment_bytes: SEGMENT_BYTES,
        write_bytes_max: 1 << 11,
        ..JournalConfig::default()
    }
}

fn open(scratch: &Scratch, config: JournalConfig) -> Journal<Plain<u64>> {
    Journal::open(scratch.path(), config, Plain::new()).expect("it can be opened")
}

/// A journal and a tap.
fn single(scratch: &Scratch, capacity: usize) -> (Bus<u64>, Producer<u64>, Tap<u64>) {
    let mut topology = Topology::<_, Single>::single(waiting(capacity, Wait::Adaptive), || 0)
        .expect("it is valid");
    let journal = open(scratch, config(SyncPolicy::Never));
    topology.stage("journal").journal(journal);
    let tap = topology.stage("tap").tap(OnLag::Replay);
    let (bus, producer) = topology.start().expect("it is right");
    (bus, producer, tap)
}

/// Everything from `next` on, in order, without a gap; `pause` after each batch.
fn read_all(tap: &mut Tap<u64>, mut next: u64, mut pause: impl FnMut()) -> (Vec<u64>, u64, Ended) {
    let mut all = Vec::new();
    loop {
        match tap.read() {
            Ok(batch) => {
                assert_eq!(
                    (batch.sequences().start().get(), batch.skipped()),
                    (next, 0)
                );
                assert!(batch.len() <= 64);
                next = batch.sequences().end().get();
                all.extend(batch.into_vec());
            }
            Err(ended) => return (all, next, ended),
        }
        pause();
    }
}

#[test]
fn one_that_stops_for_longer_than_the_ring_holds_gets_everything_and_holds_nobody_back() {
    limited(|| {
        let scratch = Scratch::new("replay");
        let (bus, mut producer, mut tap) = single(&scratch, 64);
        for number in 0..10 {
            producer.publish(number).unwrap();
        }
        until(|| tap.lag() == 10);
        assert_eq!(tap.try_read().unwrap().len(), 10);
        for number in 10..20_000 {
            producer.publish(number).unwrap(); // nobody reads the tap
        }
        assert_eq!((tap.lag(), tap.skipped()), (19_990, 0));
        assert!(!tap.is_ended() && !tap.stats().ended);
        assert_eq!((tap.stats().position, tap.stats().lag), (10, 19_990));
        let mut next = 10;
        while next < 15_000 {
            let batch = tap.try_read().unwrap();
            assert_eq!(batch.sequences().start().get(), next);
            let range = batch.sequences();
            assert!(batch.into_vec().into_iter().eq(next..range.end().get()));
            next = range.end().get();
        }
        assert!(tap.lag() <= 5_000);
        // it has caught up: and reads the ring
        let reading = thread::spawn(move || {
            let (all, _, ended) = read_all(&mut tap, next, || {});
            (all, ended, tap)
        });
        thread::sleep(Duration::from_millis(20));
        for number in 20_000..21_000 {
            producer.publish(number).unwrap();
        }
        drop(producer);
        bus.shutdown().unwrap();
        let (all, ended, tap) = reading.join().unwrap();
        assert!(all.into_iter().eq(next..21_000));
        assert_eq!(ended, Ended::Drained);
        assert!(tap.is_ended() && tap.stats().ended);
    });
}

#[test]
fn one_that_has_caught_up_reads_the_ring() {
    limited(|| {
        let scratch = Scratch::new("replay-ring");
        let (_bus, mut producer, mut tap) = single(&scratch, 8);
        for number in 0..100 {
            producer.publish(number).unwrap();
        }
        let mut next = 0;
        while next < 100 {
            match tap.try_read() {
                Ok(batch) => next = batch.sequences().end().get(),
                Err(TryReadError::Empty) => thread::yield_now(), // not written yet
                Err(ended) => panic!("{ended}"),
            }
        }
        assert_eq!(tap.try_read().unwrap_err(), TryReadError::Empty);
        // now events come that no file is needed for
        std::fs::remove_dir_all(scratch.path()).unwrap();
        for number in 100..104 {
            producer.publish(number).unwrap();
            assert_eq!(tap.read().unwrap().into_vec(), [number]);
        }
    });
}

#[test]
fn it_begins_anywhere_in_the_journal_also_before_this_bus() {
    limited(|| {
        let scratch = Scratch::new("replay-from");
        let mut journal = config(SyncPolicy::Never);
        for life in 0..3_u64 {
            let mut topology = Topology::multi(waiting(16, Wait::Adaptive), || 0).unwrap();
            let opened = open(&scratch, journal.clone());
            let first = opened.next().get();
            assert_eq!(first, life * 1000);
            topology.stage("journal").journal(opened);
            let (bus, mut producer) = topology.start().unwrap();
            producer
                .publish_batch((first..first + 500).collect::<Vec<_>>())
                .unwrap();
            let froms = [
                0,
                7,
                first.saturating_sub(1),
                first,
                first + 1,
                first + 499,
                first + 500,
            ];
            let taps: Vec<_> = froms
                .into_iter()
                .enumerate()
                .map(|(number, from)| {
                    let name = format!("tap {number}");
                    let mut tap = bus.tap_from(name, Sequence::new(from)).unwrap();
                    thread::spawn(move || {
                        let (all, next, ended) = read_all(&mut tap, from, || {});
                        assert_eq!((next, ended), (first + 1000, Ended::Drained));
                        assert!(all.into_iter().eq(from..first + 1000), "from {from}");
                    })
                })
                .collect();
            for number in first + 500..first + 1000 {
                producer.publish(number).unwrap();
            }
            let kind = |from| {
                bus.tap_from("other", Sequence::new(from))
                    .unwrap_err()
                    .kind()
            };
            assert_eq!(kind(first + 1001), ErrorKind::InvalidConfig);
            drop(producer);
            bus.shutdown().unwrap();
            taps.into_iter().for_each(|tap| tap.join().unwrap());
            journal.segment_bytes *= 2;
        }
    });
}

#[test]
fn what_it_has_yet_to_read_is_not_removed() {
    limited(|| {
        let scratch = Scratch::new("replay-pins");
        let mut topology = Topology::single(waiting(16, Wait::Adaptive), || 0).unwrap();
        let retention = Retention {
            bytes_max: Some(2 * SEGMENT_BYTES),
            ..Retention::default()
        };
        let journal = JournalConfig {
            retention,
            ..config(SyncPolicy::Never)
        };
        topology.stage("journal").journal(open(&scratch, journal));
        let mut tap = topology.stage("tap").tap(OnLag::Replay);
        let (bus, mut producer) = topology.start().unwrap();
        let mut late = bus.tap("late", OnLag::Replay).unwrap();
        for number in 0..20_000 {
            producer.publish(number).unwrap();
        }
        let files = || std::fs::read_dir(scratch.path()).unwrap().count();
        let kept = files();
        assert!(kept > 10, "{kept}");
        let error = bus.replay(Sequence::new(0)).map(drop);
        assert!(error.is_ok(), "{error:?}");
        for tap in [&mut tap, &mut late] {
            let mut next = 0;
            while next < 20_000 {
                if let Ok(batch) = tap.try_read() {
                    assert_eq!(batch.sequences().start().get(), next);
                    next = batch.sequences().end().get();
                }
            }
        }
        for number in 20_000..30_000 {
            producer.publish(number).unwrap();
            drop((tap.try_read(), late.try_read()));
        }
        until(|| files() < kept);
        let error = bus.tap_from("first", Sequence::new(0)).unwrap_err();
        assert_eq!(
            (error.kind(), error.stage()),
            (ErrorKind::InvalidConfig, Some("first"))
        );
    });
}

#[test]
fn a_tap_that_replays_needs_a_journal_of_what_was_edited() {
    let scratch = Scratch::new("replay-misplaced");
    let begin = || Topology::<u64, Single>::single(BusConfig::default(), || 0).unwrap();
    let journal =
        |stage: StageBuilder<'_, u64>| stage.journal(open(&scratch, config(SyncPolicy::Never)));
    let refused = |topology: Topology<u64, Single>, text: &str| {
        let error = topology.start().unwrap_err();
        assert_eq!(
            (error.kind(), error.stage()),
            (ErrorKind::JournalMisplaced, Some("tap"))
        );
        assert!(error.to_string().contains(text), "{error}");
    };
    let mut topology = begin();
    topology.stage("work").handle(|_, _| {});
    topology.stage("tap").tap(OnLag::Replay);
    refused(topology, "before the tap");

    let mut topology = begin();
    topology.stage("tap").tap(OnLag::Replay);
    journal(topology.stage("journal"));
    refused(topology, "before the tap");

    let mut topology = begin();
    let durable = journal(topology.stage("journal"));
    let edited = topology
        .stage("edit")
        .after([durable])
        .handle_mut(|_, _| {});
    topology.stage("tap").after([edited]).tap(OnLag::Replay);
    refused(topology, "stage `edit` edits events after the journal");

    let mut topology = begin();
    let durable = journal(topology.stage("journal"));
    topology
        .stage("edit")
        .after([durable])
        .handle_mut(|_, _| {});
    let (bus, _producer) = topology.start().unwrap();
    for error in [
        bus.tap("tap", OnLag::Replay).unwrap_err(),
        bus.tap_from("tap", Sequence::new(0)).unwrap_err(),
    ] {
        assert_eq!(
            (error.kind(), error.stage()),
            (ErrorKind::JournalMisplaced, Some("tap"))
        );
    }
    bus.tap("tap", OnLag::Skip).unwrap();
}

#[test]
fn what_it_reads_in_the_journal_was_edited_and_has_passed_what_it_comes_after() {
    limited(|| {
        let scratch = Scratch::new("replay-after");
        let mut topology = Topology::single(waiting(8, Wait::Adaptive), || 0_u64).unwrap();
        let edited = topology.stage("edit").handle_mut(|event, _| *event *= 10);
        let stage = topology.stage("journal").after([edited]);
        stage.journal(open(&scratch, config(SyncPolicy::Never)));
        let (slow, mut work) = topology
            .stage("slow")
            .after([edited])
            .batch_max(1)
            .consumer();
        let mut tap = topology.stage("tap").after([slow]).tap(OnLag::Replay);
        let (bus, mut producer) = topology.start().unwrap();
        let mut late = bus.tap("late", OnLag::Replay).unwrap();
        for number in 0..8 {
            producer.publish(number).unwrap();
        }
        for round in 1..=100 {
            assert_eq!(
                work.read_deadline(common::later()).map(|batch| batch.len()),
                Ok(1),
                "{round}"
            );
            producer.publish(7 + round).unwrap();
        }
        let mut next = 0;
        while next < 100 {
            let batch = tap.try_read().unwrap();
            next = batch.sequences().end().get();
            assert!(batch.iter().all(|event| event % 10 == 0));
        }
        assert_eq!(next, 100, "no further than the stage");
        assert_eq!(tap.try_read().unwrap_err(), TryReadError::Empty);
        until(|| late.try_read().is_err() && late.lag() == 0);
        drop(work);
        let ended = Ended::Upstream {
            stage: "slow".into(),
        };
        assert_eq!(tap.read().unwrap_err(), ended);
    });
}

#[test]
fn abandoned_sequences_are_stepped_over_in_the_journal_too() {
    limited(|| {
        let scratch = Scratch::new("replay-gaps");
        let mut topology = Topology::multi(waiting(8, Wait::Adaptive), || 0_u64).unwrap();
        topology
            .stage("journal")
            .journal(open(&scratch, config(SyncPolicy::Never)));
        let mut tap = topology.stage("tap").tap(OnLag::Replay);
        let (bus, mut producer): (_, Producer<u64, Multi>) = topology.start().unwrap();
        let mut expected = Vec::new();
        for round in 0..300 {
            if round % 3 == 0 {
                drop(producer.claim(1 + round % 5).unwrap());
            } else {
                expected.push(producer.publish(round as u64).unwrap().get());
            }
        }
        drop(producer.claim(8).unwrap());
        let end = bus.stats().position;
        drop(producer);
        bus.shutdown().unwrap();
        let (all, next, ended) = read_all(&mut tap, 0, || {});
        assert_eq!(
            (all.len(), next, ended),
            (expected.len(), end, Ended::Drained)
        );
    });
}

/// Producers at full speed, and taps that stop for random times.
fn stress(random: &mut Random, capacity: usize, producers: u64, sync: SyncPolicy) {
    let syncs = sync != SyncPolicy::Never; // which takes its time where the disk is busy
    let events = if capacity < 64 || syncs { 300 } else { 3_000 };
    let scratch = Scratch::new("replay-stress");
    let mut topology = Topology::multi(waiting(capacity, Wait::Adaptive), || 0_u64).expect("valid");
    let edited = topology
        .stage("edit")
        .handle_mut(|event, _| *event |= EDITED);
    let stage = topology.stage("journal").after([edited]);
    let durable = stage.journal(open(&scratch, config(sync)));
    let taps = [
        topology.stage("quick").after([edited]).tap(OnLag::Replay),
        topology.stage("slow").after([edited]).tap(OnLag::Replay),
        topology
            .stage("durable")
            .after([durable])
            .tap(OnLag::Replay),
    ];
    let (bus, producer) = topology.start().expect("it is right");
    let late = bus.tap("late", OnLag::Replay).expect("it is open");
    let reading: Vec<_> = (taps.into_iter().chain([late]))
        .enumerate()
        .map(|(index, mut tap)| {
            let mut random = random.fork();
            thread::spawn(move || {
                let pause = || {
                    if index > 0 && random.once_in(40) {
                        thread::sleep(Duration::from_micros(random.below(3000)));
                    }
                };
                let (all, next, ended) = read_all(&mut tap, 0, pause);
                assert_eq!((next, ended), (producers * events, Ended::Drained));
                assert_eq!(all.len() as u64, next);
                for producer in 0..producers {
                    let mine = all.iter().map(|event| event.checked_sub(EDITED));
                    let mine = mine.map(|event| event.expect("it was edited"));
                    let mine = mine.filter(|event| event >> 32 == producer);
                    assert!(mine.map(|event| event & 0xFFFF_FFFF).eq(0..events));
                }
            })
        })
        .collect();
    let publishing: Vec<_> = (0..producers)
        .map(|number| {
            let (mut producer, mut random) = (producer.clone(), random.fork());
            thread::spawn(move || {
                for count in 0..events {
                    let event = number << 32 | count;
                    if random.once_in(3) {
                        block_on(producer.publish_async(event)).expect("it is open");
                    } else {
                        producer.publish(event).expect("it is open");
                    }
                }
            })
        })
        .collect();
    drop(producer);
    publishing
        .into_iter()
        .for_each(|one| one.join().expect("it does not panic"));
    bus.shutdown().expect("nothing fails");
    reading
        .into_iter()
        .for_each(|one| one.join().expect("it does not panic"));
}

#[test]
fn under_load_every_event_arrives_once_and_in_order() {
    limited(|| {
        seeded(
            "under_load_every_event_arrives_once_and_in_order",
            |mut random| {
                for capacity in [1, 4, 64, 256] {
                    for producers in [1, 2] {
                        stress(&mut random, capacity, producers, SyncPolicy::Never);
                        if capacity >= 64 {
                            stress(&mut random, capacity, producers, SyncPolicy::EveryBatch);
                        }
                    }
                }
            },
        );
    });
}
