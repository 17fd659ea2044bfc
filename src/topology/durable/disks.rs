//! A bus whose journal lies on a device that fails: each call of its life fails once, in every way; then there is a restart.

use super::tests::{later, until};
use crate::config::{BusConfig, JournalConfig, OnJournalError, SyncPolicy};
use crate::error::{DurabilityError, Error, ErrorKind};
use crate::journal::Journal;
use crate::journal::codec::Plain;
use crate::journal::sim::{EIO, ENOSPC, Plan, SimStorage};
use crate::stage::Delivery;
use crate::topology::Topology;
use crate::wait::durability::Level;
use std::error::Error as _;
use std::sync::Arc;

const EVENTS: u64 = 24;

/// A life that records so many more events, if it can. How many are durable, of all lives, and what failed.
fn live(
    storage: &SimStorage,
    on_error: OnJournalError,
    sync: SyncPolicy,
) -> (u64, Result<(), Error>) {
    let config = JournalConfig {
        segment_bytes: 4096,
        write_bytes_max: 512,
        sync,
        on_error,
        ..JournalConfig::default()
    };
    let storage = Arc::new(storage.clone());
    let journal = match Journal::with_storage(storage, config, Plain::<[u64; 40]>::new()) {
        Ok(journal) => journal,
        Err(error) => return (0, Err(error)),
    };
    let first = journal.next().get();
    if first > 0 {
        // a restart, when nothing fails any more
        let replay = journal.replay(journal.first()).expect("it can be read");
        let events = replay.map(|record| record.expect("it is whole").event);
        assert!(events.eq((0..first).map(|at| [at; 40])));
    }
    let mut topology = Topology::multi(BusConfig::default(), || [0; 40]).expect("it is valid");
    topology.stage("journal").journal(journal);
    topology
        .stage("beside")
        .handle(|_: &[u64; 40], _: Delivery| {});
    let (bus, mut producer) = topology.start().expect("it is valid");
    let durability = bus.durability().expect("it is valid");
    let mut confirmed = first;
    let mut failure = None;
    while confirmed < first + EVENTS && failure.is_none() {
        let Ok(sequence) = producer.publish([confirmed; 40]) else {
            break;
        };
        assert_eq!(sequence.get(), confirmed);
        match durability.wait(sequence, Level::Synced) {
            Ok(()) => confirmed += 1,
            Err(DurabilityError::Failed(error)) => failure = Some(error),
            Err(other) => panic!("{other}"),
        }
    }
    if failure.is_some() {
        match on_error {
            OnJournalError::Halt => until(|| producer.is_closed()),
            OnJournalError::Continue => {
                for number in 0..EVENTS {
                    let published = producer.publish_deadline([number; 40], later());
                    let sequence = published.expect("the bus goes on");
                    let waited = durability.wait(sequence, Level::Written);
                    assert!(matches!(waited, Err(DurabilityError::Failed(_))));
                }
            }
        }
    }
    assert_eq!(durability.synced().get(), confirmed, "the watermark stays");
    drop(producer);
    let ended = bus.shutdown();
    assert!(failure.is_none() || ended.is_err());
    if let Err(error) = &ended {
        assert_eq!(error.kind(), ErrorKind::StageFailed, "{error}");
        let cause = error
            .source()
            .and_then(|cause| cause.downcast_ref::<Error>());
        assert_eq!(cause.map(Error::kind), Some(ErrorKind::JournalIo));
        for word in ["/sim", "sequence ", "offset "] {
            assert!(error.to_string().contains(word), "{error}");
        }
    }
    (confirmed, ended)
}

/// Lives under this plan, then restarts on a device that works.
fn fail_and_restart(plan: Plan, on_error: OnJournalError, sync: SyncPolicy, seed: u64) -> bool {
    let storage = SimStorage::new(seed);
    storage.plan(plan);
    let (confirmed, ended) = live(&storage, on_error, sync);
    let again = storage.kill(seed);
    let (goes_on, restarted) = live(&again, on_error, sync);
    restarted.expect("nothing fails now");
    assert!(
        goes_on >= confirmed + EVENTS,
        "{confirmed} were durable, {goes_on} are there"
    );
    ended.is_err()
}

#[test]
fn whatever_fails_the_watermark_stays_and_a_restart_goes_on() {
    let ways: [fn(u64) -> Plan; 5] = [
        |at| Plan {
            fail_call: Some((at, EIO)),
            ..Plan::default()
        },
        |at| Plan {
            fail_call: Some((at, ENOSPC)),
            short_writes: true,
            ..Plan::default()
        },
        |at| Plan {
            gone: Some(at),
            ..Plan::default()
        },
        |at| Plan {
            read_only: Some(at),
            short_writes: true,
            ..Plan::default()
        },
        // what is prepared finds no room either
        |at| Plan {
            space: Some(at as usize * 300),
            ..Plan::default()
        },
    ];
    for (way, plan) in ways.into_iter().enumerate() {
        for on_error in [OnJournalError::Halt, OnJournalError::Continue] {
            for sync in [SyncPolicy::EveryBatch, SyncPolicy::Never] {
                let fails = |at: &u64| fail_and_restart(plan(*at), on_error, sync, *at);
                let failed = (0..66).step_by(2).filter(fails).count();
                assert!(
                    failed > 9,
                    "way {way}, {on_error:?}, {sync:?}: {failed} lives"
                );
            }
        }
    }
}
