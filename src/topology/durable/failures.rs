//! How a journal ends, and what follows when it fails.

use super::tests::{Fails, Setup, alone, later, spawn, topology, until};
use crate::config::{BusConfig, OnJournalError, SyncPolicy};
use crate::error::{DurabilityError, Ended, ErrorKind};
use crate::sequence::Sequence;
use crate::topology::Topology;
use crate::wait::durability::{Durability, Level};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

#[test]
fn waiting_ends_when_the_journal_does() {
    // closed with fewer events
    let setup = Setup::new(SyncPolicy::Never);
    let (bus, mut producer, durability) = alone(&setup, 8);
    let there = producer.publish(0).unwrap();
    let missing = Sequence::new(there.get() + 1);
    let waits = [Level::Written, Level::Synced].map(|level| {
        let durability = durability.clone();
        spawn(move || durability.wait(missing, level))
    });
    thread::sleep(Duration::from_millis(10));
    drop(producer);
    bus.shutdown().unwrap();
    for wait in waits {
        assert!(matches!(wait.join().unwrap(), Err(DurabilityError::Ended)));
    }
    durability.wait(there, Level::Synced).unwrap();

    // halted: what is written is synced
    let setup = Setup::new(SyncPolicy::Never);
    let (bus, mut producer, durability) = alone(&setup, 8);
    let there = producer.publish(0).unwrap();
    durability.wait(there, Level::Written).unwrap();
    bus.halt();
    assert!(bus.join().is_err());
    durability.wait(there, Level::Synced).unwrap();
    assert!(matches!(
        durability.wait(missing, Level::Synced),
        Err(DurabilityError::Ended)
    ));
}

#[test]
fn a_stage_before_it_that_ends_early_ends_it() {
    let setup = Setup::new(SyncPolicy::Never);
    let mut topology = topology(8);
    let (before, mut early) = topology.stage("before").consumer();
    let durable = setup.add(topology.stage("journal").after([before]));
    let (_, mut after) = topology.stage("after").after([durable]).consumer();
    let (bus, mut producer) = topology.start().unwrap();
    producer.publish(0).unwrap();
    let last = producer.publish(1).unwrap();
    assert_eq!(early.read().unwrap().len(), 2);
    drop(early);
    let upstream = |stage: &str| Ended::Upstream {
        stage: stage.into(),
    };
    let mut read = 0;
    let end = loop {
        match after.read() {
            Ok(batch) => read += batch.len(),
            Err(end) => break end,
        }
    };
    assert_eq!((read, end), (2, upstream("journal")));
    let durability = bus.durability().unwrap();
    until(|| durability.synced() > last);
    drop(producer);
    bus.shutdown().unwrap();
}

#[test]
fn a_failure_halts_the_bus_and_join_says_why() {
    for sync in [SyncPolicy::EveryBatch, SyncPolicy::Never] {
        for fails in [
            Fails::Record(3),
            Fails::RecordPanics(3),
            Fails::Flush(3),
            Fails::Sync(3),
        ] {
            let setup = Setup::failing(sync, OnJournalError::Halt, fails);
            let (bus, mut producer, durability) = alone(&setup, 8);
            let mut last = None;
            for event in 0..8 {
                last = producer.publish(event).ok().or(last);
            }
            let waited = durability.wait(last.unwrap(), Level::Synced);
            let Err(DurabilityError::Failed(error)) = waited else {
                panic!("{sync:?}, {fails:?}: {waited:?}")
            };
            let (kind, text) = match fails {
                Fails::RecordPanics(_) => (ErrorKind::Codec, "it cannot be encoded"),
                _ => (ErrorKind::JournalIo, "no space left"),
            };
            assert_eq!(error.kind(), kind);
            assert!(durability.synced().get() <= 3);
            until(|| producer.is_closed());
            drop(producer);
            let error = bus.join().unwrap_err();
            assert_eq!(
                (error.kind(), error.stage()),
                (ErrorKind::StageFailed, Some("journal"))
            );
            assert!(error.to_string().contains(text), "{error}");
            assert!(std::error::Error::source(&error).is_some());
        }
    }
}

#[test]
fn after_a_failure_others_may_go_on_and_those_behind_it_get_what_is_durable() {
    for (sync, fails) in [
        (SyncPolicy::EveryBatch, Fails::Record(3)),
        (SyncPolicy::EveryBatch, Fails::RecordPanics(3)),
        (SyncPolicy::EveryBatch, Fails::Flush(3)),
        (SyncPolicy::EveryBatch, Fails::Sync(3)),
        (SyncPolicy::Never, Fails::Record(3)),
        (SyncPolicy::Never, Fails::Flush(3)),
    ] {
        let setup = Setup::failing(sync, OnJournalError::Continue, fails);
        let mut topology = topology(8);
        let durable = setup.add(topology.stage("journal"));
        let (_, mut after) = topology.stage("after").after([durable]).consumer();
        let (_, mut beside) = topology.stage("beside").consumer();
        let (bus, mut producer) = topology.start().unwrap();
        let durability = bus.durability().unwrap();
        let other = spawn(move || {
            let mut count = 0;
            while let Ok(batch) = beside.read() {
                count += batch.len();
            }
            count
        });
        let behind = spawn(move || {
            let mut read = Vec::new();
            loop {
                match after.read() {
                    Ok(batch) => read.extend(batch.iter().copied()),
                    Err(end) => break (read, end),
                }
            }
        });
        for event in 0..100 {
            producer.publish_deadline(event, later()).unwrap();
        }
        let (read, end) = behind.join().unwrap();
        let upstream = Ended::Upstream {
            stage: "journal".into(),
        };
        assert_eq!(end, upstream, "{sync:?}, {fails:?}");
        let mark = match sync {
            SyncPolicy::Never => durability.written(),
            _ => durability.synced(),
        };
        assert!(mark.get() <= 3 && read.iter().copied().eq(0..mark.get()));
        if let Fails::Flush(_) = fails {
            assert_eq!(durability.written().get(), 3);
        }
        for level in [Level::Written, Level::Synced] {
            let waited = durability.wait(Sequence::new(99), level);
            assert!(matches!(waited, Err(DurabilityError::Failed(_))));
        }
        drop(producer);
        assert_eq!(other.join().unwrap(), 100);
        let error = bus.shutdown().unwrap_err();
        assert_eq!(error.stage(), Some("journal"));
        assert_eq!(error.discarded(), None, "it was not halted");
    }
}

#[test]
fn a_failure_at_the_end_is_told() {
    let setup = Setup::failing(SyncPolicy::Never, OnJournalError::Continue, Fails::Sync(0));
    let (bus, mut producer, durability) = alone(&setup, 8);
    let sequence = producer.publish(0).unwrap();
    drop(producer);
    assert_eq!(bus.shutdown().unwrap_err().stage(), Some("journal"));
    let waited = durability.wait(sequence, Level::Synced);
    assert!(matches!(waited, Err(DurabilityError::Failed(_))));
    durability.wait(sequence, Level::Written).unwrap();
}

#[test]
fn a_thread_that_the_journal_may_wait_for_does_not_wait() {
    let setup = Setup::new(SyncPolicy::EveryBatch);
    setup.tape.hold(true);
    let mut topology = topology(8);
    setup.add(topology.stage("journal"));
    let (answers, answered) = mpsc::channel();
    let (bus, mut producer) = {
        let (tell, told) = mpsc::channel::<Durability>();
        topology.stage("asks").try_handle(move |_, at| {
            let durability = told.recv()?;
            answers.send(durability.wait(at.sequence, Level::Synced))?;
            Ok(())
        });
        let (bus, producer) = topology.start().unwrap();
        tell.send(bus.durability().unwrap()).unwrap();
        (bus, producer)
    };
    let sequence = producer.publish(0).unwrap();
    let claim = producer.claim(1).unwrap();
    let durability = bus.durability().unwrap();
    let waited = durability.wait(sequence, Level::Synced);
    assert!(matches!(waited, Err(DurabilityError::WouldDeadlock)));
    drop(claim);
    let waited = answered.recv().unwrap();
    assert!(matches!(waited, Err(DurabilityError::WouldDeadlock)));
    setup.tape.hold(false);
    drop(producer);
    bus.shutdown().unwrap();
}

#[test]
fn what_start_refuses() {
    let setup = Setup::new(SyncPolicy::Never);
    let mut two = topology(8);
    setup.add(two.stage("one"));
    let (_, mut after) = two.stage("after").consumer();
    setup.add(two.stage("two"));
    let error = two.start().unwrap_err();
    assert_eq!(
        (error.kind(), error.stage()),
        (ErrorKind::JournalMisplaced, Some("two"))
    );
    assert_eq!(after.read().unwrap_err(), Ended::Drained);

    let late = Setup {
        first: 1 << 61,
        ..Setup::new(SyncPolicy::Never)
    };
    let mut overflows = topology(8);
    late.add(overflows.stage("journal"));
    let error = overflows.start().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains("2305843009213693952"));

    let config = BusConfig {
        stages_max: 2,
        ..BusConfig::default()
    };
    let mut full = Topology::single(config, || 0).unwrap();
    full.stage("one").handle(|_, _| {});
    setup.add(full.stage("journal"));
    assert_eq!(full.start().unwrap_err().kind(), ErrorKind::TooManyStages);

    // a stage beside it that edits events would change what is recorded
    let mut race = topology(8);
    setup.add(race.stage("journal"));
    race.stage("edit").handle_mut(|_, _| {});
    assert_eq!(race.start().unwrap_err().kind(), ErrorKind::MutationRace);
}

#[test]
fn a_bus_without_one_says_so() {
    let mut topology = topology(8);
    topology.stage("stage").handle(|_, _| {});
    let (bus, mut producer) = topology.start().unwrap();
    let sequence = producer.publish(0).unwrap();
    assert!(bus.durability().is_none());
    let waited = producer.wait_durable(sequence, Level::Written);
    assert!(matches!(waited, Err(DurabilityError::NoJournal)));
}
