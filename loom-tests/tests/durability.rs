//! The journal's stage: who asks for a sync wakes it, and who sees a watermark sees what it stands for.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use loom_tests::{Model, attempt, block_on, parking, saw, start, trying};
use ringway::model::{ModelSink, record, take_threads};
use ringway::{DurabilityError, Level, OnJournalError, SyncPolicy, Topology};

/// A journal that never syncs by itself sleeps: whoever wants to have an event synced wakes it, and is woken.
#[test]
fn request() {
    let outcomes = &["awake", "slept"];
    Model {
        preemptions: 2,
        executions: 500,
        outcomes,
    }
    .check(|| {
        let device = Arc::new(AtomicU64::new(0));
        let mut topology = Topology::single(parking(2), || 0).unwrap();
        let sink = ModelSink::new(&device, None);
        record(
            topology.stage("journal"),
            sink,
            SyncPolicy::Never,
            OnJournalError::Halt,
        );
        let threads = take_threads(&mut topology);
        let (bus, mut producer) = start(topology);
        let journal: Vec<_> = threads.into_iter().map(thread::spawn).collect();
        let sequence = producer.try_publish(1).unwrap();
        producer.wait_durable(sequence, Level::Synced).unwrap();
        saw_journal(&bus);
        drop(producer);
        journal.into_iter().for_each(|one| one.join().unwrap());
    });
}

/// The same for a task.
#[test]
fn request_of_task() {
    let outcomes = &["awake", "slept"];
    Model {
        preemptions: 2,
        executions: 500,
        outcomes,
    }
    .check(|| {
        let device = Arc::new(AtomicU64::new(0));
        let mut topology = Topology::single(parking(2), || 0).unwrap();
        let sink = ModelSink::new(&device, None);
        record(
            topology.stage("journal"),
            sink,
            SyncPolicy::Never,
            OnJournalError::Halt,
        );
        let threads = take_threads(&mut topology);
        let (bus, mut producer) = start(topology);
        let journal: Vec<_> = threads.into_iter().map(thread::spawn).collect();
        let sequence = producer.try_publish(1).unwrap();
        block_on(producer.wait_durable_async(sequence, Level::Synced)).unwrap();
        saw_journal(&bus);
        drop(producer);
        journal.into_iter().for_each(|one| one.join().unwrap());
    });
}

fn saw_journal(bus: &ringway::Bus<u64>) {
    saw(if bus.stats().stages[0].parks > 0 {
        "slept"
    } else {
        "awake"
    });
}

/// Whoever sees that an event is synced sees what the journal did to make it so.
#[test]
fn watermark() {
    let outcomes = &["synced 0", "synced 1"];
    Model {
        preemptions: 2,
        executions: 100,
        outcomes,
    }
    .check(|| {
        let device = Arc::new(AtomicU64::new(0));
        let mut topology = Topology::single(trying(2), || 0).unwrap();
        let sink = ModelSink::new(&device, None);
        record(
            topology.stage("journal"),
            sink,
            SyncPolicy::EveryBatch,
            OnJournalError::Halt,
        );
        let threads = take_threads(&mut topology);
        let (bus, mut producer) = start(topology);
        let durability = bus.durability().unwrap();
        assert!(producer.try_publish(1).is_ok());
        let journal: Vec<_> = threads.into_iter().map(thread::spawn).collect();
        let looking = thread::spawn(move || {
            let synced = attempt(|| match durability.synced().get() {
                0 => Err(()),
                synced => Ok(synced),
            });
            let synced = synced.unwrap_or(0);
            assert!(device.load(Ordering::Relaxed) >= synced);
            saw(format!("synced {synced}"));
        });
        looking.join().unwrap();
        drop(producer);
        journal.into_iter().for_each(|one| one.join().unwrap());
    });
}

/// A journal fails while the bus goes on: whoever waits for a sync is told.
#[test]
fn failure() {
    let outcomes = &["failed"];
    Model {
        preemptions: 2,
        executions: 100,
        outcomes,
    }
    .check(|| {
        let device = Arc::new(AtomicU64::new(0));
        let mut topology = Topology::single(
            ringway::BusConfig {
                stages_max: 3,
                ..parking(2)
            },
            || 0,
        )
        .unwrap();
        let sink = ModelSink::new(&device, Some(1));
        record(
            topology.stage("journal"),
            sink,
            SyncPolicy::EveryBatch,
            OnJournalError::Continue,
        );
        // so that the journal is not the last to leave, who wakes everybody
        let (_, beside) = topology.stage("beside").consumer();
        let threads = take_threads(&mut topology);
        let (bus, mut producer) = start(topology);
        let durability = bus.durability().unwrap();
        let sequence = producer.try_publish(1).unwrap();
        let journal: Vec<_> = threads.into_iter().map(thread::spawn).collect();
        match durability.wait(sequence, Level::Synced) {
            Err(DurabilityError::Failed(_)) => saw("failed"),
            other => panic!("{other:?}"),
        }
        journal.into_iter().for_each(|one| one.join().unwrap());
        drop((beside, producer));
    });
}
