//! A bus with a journal: what is seen of it from outside, under every policy.

mod common;

use common::executor::block_on;
use common::{CAPACITIES, later, limited, waiting};
use ringway::{
    Bus, BusConfig, DurabilityError, Ended, ErrorKind, Journal, JournalConfig, Level, Multi, Plain,
    Producer, Sequence, Stage, StageBuilder, SyncPolicy, Topology, Wait,
};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const POLICIES: [SyncPolicy; 3] = [
    SyncPolicy::Never,
    SyncPolicy::Interval(Duration::from_millis(2)),
    SyncPolicy::EveryBatch,
];

/// A directory that is gone when the test is over.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static LAST: AtomicUsize = AtomicUsize::new(0);
        let (process, number) = (std::process::id(), LAST.fetch_add(1, Ordering::Relaxed));
        Self(std::env::temp_dir().join(format!("ringway-durability-{process}-{number}")))
    }

    fn journal(&self, stage: StageBuilder<'_, u64>, sync: SyncPolicy) -> Stage {
        let config = JournalConfig {
            sync,
            segment_bytes: 1 << 16,
            write_bytes_max: 1 << 12,
            ..JournalConfig::default()
        };
        stage.journal(Journal::open(&self.0, config, Plain::new()).expect("it can be opened"))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A bus with a journal alone.
fn alone(directory: &Directory, sync: SyncPolicy) -> (Bus<u64>, Producer<u64, Multi>) {
    let mut topology = Topology::multi(BusConfig::default(), || 0).expect("it is valid");
    directory.journal(topology.stage("journal"), sync);
    topology.start().expect("it starts")
}

#[test]
fn watermarks_never_pass_each_other_and_stages_never_pass_them() {
    for sync in POLICIES {
        for (capacity, wait) in [(1, Wait::Park), (2, Wait::Adaptive), (8, Wait::backoff())] {
            limited(move || {
                let directory = Directory::new();
                let mut topology = Topology::multi(waiting(capacity, wait), || 0).unwrap();
                let durable = directory.journal(topology.stage("journal"), sync);
                let (_, mut after) = topology.stage("after").after([durable]).consumer();
                let (bus, producer) = topology.start().unwrap();
                let durability = bus.durability().unwrap();
                let writers = [0, 1].map(|_| {
                    let mut producer = producer.clone();
                    thread::spawn(move || {
                        for _ in 0..300 {
                            let sequence = producer.publish(1).unwrap();
                            if sequence.get() % 7 == 0 {
                                producer.wait_durable(sequence, Level::Written).unwrap();
                            }
                            if sequence.get() % 31 == 0 {
                                producer.wait_durable(sequence, Level::Synced).unwrap();
                            }
                        }
                    })
                });
                drop(producer);
                let mut read = 0;
                let end = loop {
                    match after.read() {
                        Ok(batch) => {
                            // in this order: both only rise
                            let (synced, written) = (durability.synced(), durability.written());
                            let end = batch.sequences().end();
                            assert!(synced <= written && end <= written);
                            assert!(sync == SyncPolicy::Never || end <= synced);
                            read += batch.len();
                        }
                        Err(end) => break end,
                    }
                };
                assert_eq!((read, end), (600, Ended::Drained), "{sync:?}");
                writers
                    .into_iter()
                    .for_each(|writer| writer.join().unwrap());
                bus.shutdown().unwrap();
                assert_eq!(durability.synced(), Sequence::new(600), "the end is synced");
            });
        }
    }
}

#[test]
fn what_was_confirmed_stays_confirmed_and_what_never_comes_ends() {
    for sync in POLICIES {
        limited(move || {
            let directory = Directory::new();
            let (bus, mut producer) = alone(&directory, sync);
            let durability = bus.durability().unwrap();
            for level in [Level::Written, Level::Synced] {
                let sequence = producer.publish(0).unwrap();
                producer
                    .wait_durable_deadline(sequence, level, later())
                    .unwrap();
                block_on(producer.wait_durable_async(sequence, level)).unwrap();
                durability.wait(sequence, level).unwrap();
            }
            let next = Sequence::new(durability.written().get());
            let soon = common::soon();
            let early = durability.wait_deadline(next, Level::Synced, soon);
            assert!(matches!(early, Err(DurabilityError::TimedOut)));
            let waits = [Level::Written, Level::Synced].map(|level| {
                let durability = durability.clone();
                thread::spawn(move || block_on(durability.wait_async(next, level)))
            });
            drop(producer);
            bus.shutdown().unwrap();
            for wait in waits {
                assert!(matches!(wait.join().unwrap(), Err(DurabilityError::Ended)));
            }
        });
    }
}

#[test]
fn a_task_is_woken_by_the_sync_that_it_asks_for() {
    limited(|| {
        let directory = Directory::new();
        let (bus, mut producer) = alone(&directory, SyncPolicy::Never);
        for round in 0..500 {
            let sequence = producer.publish(round).unwrap();
            let dropped = producer.wait_durable_async(sequence, Level::Synced);
            drop(dropped); // asks for nothing
            block_on(producer.wait_durable_async(sequence, Level::Synced)).unwrap();
        }
        drop(producer);
        bus.shutdown().unwrap();
    });
}

#[test]
fn many_confirm_at_once() {
    for sync in POLICIES {
        limited(move || {
            let directory = Directory::new();
            let (bus, producer) = alone(&directory, sync);
            let publishers: Vec<_> = (0..8)
                .map(|_| {
                    let mut producer = producer.clone();
                    thread::spawn(move || {
                        for event in 0..50 {
                            let sequence = producer.publish(event).unwrap();
                            producer.wait_durable(sequence, Level::Synced).unwrap();
                        }
                    })
                })
                .collect();
            drop(producer);
            publishers
                .into_iter()
                .for_each(|publisher| publisher.join().unwrap());
            bus.shutdown().unwrap();
        });
    }
}

#[test]
fn halt_ends_it_and_everybody_behind_it() {
    for sync in POLICIES {
        limited(move || {
            let directory = Directory::new();
            let mut topology = Topology::single(BusConfig::default(), || 0).unwrap();
            let durable = directory.journal(topology.stage("journal"), sync);
            let (_, mut after) = topology.stage("after").after([durable]).consumer();
            let (bus, mut producer) = topology.start().unwrap();
            let durability = bus.durability().unwrap();
            let sequence = producer.publish(0).unwrap();
            durability.wait(sequence, Level::Written).unwrap();
            let missing = Sequence::new(sequence.get() + 1);
            let waiting = thread::spawn({
                let durability = durability.clone();
                move || durability.wait(missing, Level::Written)
            });
            bus.halt();
            assert!(matches!(
                waiting.join().unwrap(),
                Err(DurabilityError::Ended)
            ));
            while after.try_read().is_ok() {}
            assert_eq!(after.read().unwrap_err(), Ended::Halted);
            assert_eq!(bus.join().unwrap_err().kind(), ErrorKind::Halted);
            // what was written is synced first
            durability.wait(sequence, Level::Synced).unwrap();
        });
    }
}

#[test]
fn a_topology_that_is_dropped_ends_those_behind_its_journal() {
    limited(|| {
        let directory = Directory::new();
        let mut topology = Topology::single(BusConfig::default(), || 0).unwrap();
        let durable = directory.journal(topology.stage("journal"), SyncPolicy::EveryBatch);
        let (_, mut after) = topology.stage("after").after([durable]).consumer();
        drop(topology);
        assert_eq!(after.read().unwrap_err(), Ended::Drained);
    });
}

#[test]
fn full_rings_behind_a_lazy_journal_do_not_stall() {
    for capacity in CAPACITIES {
        limited(move || {
            let directory = Directory::new();
            let mut topology = Topology::single(waiting(capacity, Wait::Park), || 0).unwrap();
            let hour = SyncPolicy::Interval(Duration::from_secs(3600));
            let durable = directory.journal(topology.stage("journal"), hour);
            topology.stage("after").after([durable]).handle(|_, _| {});
            let (bus, mut producer) = topology.start().unwrap();
            for event in 0..1000 {
                producer.publish_deadline(event, later()).unwrap();
            }
            block_on(async {
                for event in 0..1000 {
                    producer.publish_async(event).await.unwrap();
                }
            });
            drop(producer);
            bus.shutdown().unwrap();
        });
    }
}

#[test]
fn numbers_go_on_where_the_journal_ended_and_everything_is_replayed() {
    for sync in POLICIES {
        let directory = Directory::new();
        let mut expected = Vec::new();
        for life in 0..3_u64 {
            let (bus, mut producer) = alone(&directory, sync);
            let before = expected.len() as u64;
            let replay = |bus: &Bus<u64>, from| {
                let replay = bus.replay(Sequence::new(from)).expect("it is there");
                let records = replay.map(|record| record.expect("it is whole"));
                records
                    .map(|record| (record.sequence.get(), record.event))
                    .collect::<Vec<_>>()
            };
            assert_eq!(replay(&bus, 0), expected, "{sync:?}, life {life}");
            for number in 0..1000 {
                let event = life * 7919 + number;
                let sequence = producer.publish(event).expect("it is open");
                expected.push((sequence.get(), event));
            }
            assert_eq!(expected[before as usize].0, before, "{sync:?}, life {life}");
            let last = Sequence::new(before + 999);
            producer
                .wait_durable(last, Level::Written)
                .expect("it is written");
            assert_eq!(replay(&bus, 0), expected, "{sync:?}, life {life}");
            let half = expected.len() / 2;
            assert_eq!(replay(&bus, half as u64), expected[half..]);
            let beyond = bus.replay(Sequence::new(expected.len() as u64 + 1));
            assert_eq!(
                beyond.expect_err("nothing is there").kind(),
                ErrorKind::InvalidConfig
            );
            drop(producer);
            bus.shutdown().expect("nothing fails");
        }
    }
}

#[test]
fn what_is_being_replayed_is_not_removed() {
    let directory = Directory::new();
    let mut config = JournalConfig {
        segment_bytes: 4096,
        write_bytes_max: 1024,
        sync: SyncPolicy::Never,
        ..JournalConfig::default()
    };
    config.retention.bytes_max = Some(4 * 4096);
    let journal = Journal::open(&directory.0, config, Plain::<u64>::new()).expect("it is new");
    let mut topology = Topology::single(BusConfig::default(), || 0).expect("it is valid");
    topology.stage("journal").journal(journal);
    let (bus, mut producer) = topology.start().expect("it starts");
    let mut publish = |events: std::ops::Range<u64>| {
        let last = events.end - 1;
        producer
            .publish_batch(events.collect::<Vec<_>>())
            .expect("it is open");
        producer
            .wait_durable(Sequence::new(last), Level::Written)
            .expect("it is written");
    };
    publish(0..2000);
    let first = (0..)
        .map(Sequence::new)
        .find(|from| bus.replay(*from).is_ok());
    let first = first.expect("something is left").get();
    let mut replay = bus.replay(Sequence::new(first)).expect("it is there");
    for round in 1..20 {
        publish(round * 2000..(round + 1) * 2000);
    }
    for expected in first..2000 {
        let record = replay.next().expect("more is there").expect("it was kept");
        assert_eq!((record.sequence.get(), record.event), (expected, expected));
    }
    assert!(replay.next().is_none(), "it ends where the journal was");
    for round in 20..40 {
        publish(round * 2000..(round + 1) * 2000);
    }
    let gone = bus
        .replay(Sequence::new(first))
        .expect_err("nobody reads it any more");
    assert_eq!(gone.kind(), ErrorKind::InvalidConfig);
    drop(producer);
    bus.shutdown().expect("nothing fails");
}

#[test]
fn a_bus_without_a_journal_has_nothing_to_replay() {
    let mut topology = Topology::single(BusConfig::default(), || 0_u64).expect("it is valid");
    topology.stage("read").handle(|_, _| {});
    let (bus, _producer) = topology.start().expect("it starts");
    let error = bus.replay(Sequence::new(0)).expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::JournalMisplaced);
}

/// The system goes on to sync files that have no name any more, and says that all is well.
#[test]
#[cfg(unix)]
fn a_directory_that_somebody_removes_is_noticed_by_the_next_sync() {
    for sync in POLICIES {
        limited(move || {
            let directory = Directory::new();
            let (bus, mut producer) = alone(&directory, sync);
            let sequence = producer.publish(1).unwrap();
            producer.wait_durable(sequence, Level::Synced).unwrap();
            std::fs::remove_dir_all(&directory.0).unwrap();
            let sequence = producer.publish(2).unwrap();
            producer
                .wait_durable(sequence, Level::Synced)
                .expect_err("it is nowhere");
            drop(producer);
            let error = bus.shutdown().expect_err("the journal has failed");
            assert!(error.to_string().contains("removed"), "{error}");
        });
    }
}
