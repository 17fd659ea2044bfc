//! A journal that finds no more room: the bus does what it was told to, nothing that was confirmed is lost, and a restart goes on when there is room.

mod common;

use common::journal::{Process, Scratch, arguments, event, lives, say};
use common::limited;
use ringway::{
    BusConfig, Bytes, ErrorKind, Journal, JournalConfig, Level, OnJournalError, Sequence,
    SyncPolicy, Topology,
};
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const SYNCS: [SyncPolicy; 2] = [SyncPolicy::EveryBatch, SyncPolicy::Never];
const ERRORS: [OnJournalError; 2] = [OnJournalError::Halt, OnJournalError::Continue];

fn config(sync: usize, on_error: usize) -> JournalConfig {
    JournalConfig {
        segment_bytes: 64 << 10,
        write_bytes_max: 4 << 10,
        sync: SYNCS[sync],
        on_error: ERRORS[on_error],
        ..JournalConfig::default()
    }
}

/// What became of a journal that was written until it failed, or up to so many events.
struct Outcome {
    /// How many events were confirmed, of all lives.
    confirmed: u64,
    error: Option<String>,
}

/// Publishes and waits until `most` events are there, or the journal fails; checks what the bus does then.
fn write(
    path: &Path,
    config: &JournalConfig,
    life: u64,
    most: u64,
    mut at: impl FnMut(u64),
) -> Outcome {
    let journal = match Journal::open(path, config.clone(), Bytes) {
        Ok(journal) => journal,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::JournalIo, "{error}");
            return Outcome {
                confirmed: 0,
                error: Some(error.to_string()),
            };
        }
    };
    let first = journal.next().get();
    let mut confirmed = first;
    let bus = BusConfig {
        capacity: 64,
        ..BusConfig::default()
    };
    let mut topology = Topology::single(bus, Vec::new).expect("it is valid");
    let durable = topology.stage("journal").journal(journal);
    let (saved, seen) = (
        Arc::new(AtomicU64::new(first)),
        Arc::new(AtomicU64::new(first)),
    );
    let [behind, beside] = [saved.clone(), seen.clone()];
    let reach = |cursor: Arc<AtomicU64>| {
        move |_: &Vec<u8>, at: ringway::Delivery| {
            cursor.store(at.sequence.get() + 1, Ordering::SeqCst)
        }
    };
    topology
        .stage("behind")
        .after([durable])
        .handle(reach(behind));
    topology.stage("beside").handle(reach(beside));
    let started = topology.start();
    let (bus, mut producer) = match started {
        Ok(started) => started,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::JournalIo, "{error}");
            return Outcome {
                confirmed: first,
                error: Some(error.to_string()),
            };
        }
    };
    let durability = bus.durability().expect("it has a journal");
    let mut failed = false;
    while confirmed < most && !failed {
        at(confirmed);
        let Ok(sequence) = producer.publish(event(confirmed, life)) else {
            failed = true;
            break;
        };
        assert_eq!(sequence.get(), confirmed);
        match producer.wait_durable(sequence, Level::Synced) {
            Ok(()) => confirmed += 1,
            Err(_) => failed = true,
        }
    }
    if failed && config.on_error == OnJournalError::Continue {
        // it goes on, and nothing more is durable
        for number in confirmed + 1..confirmed + 200 {
            let sequence = producer
                .publish(event(number, life))
                .expect("the bus goes on");
            producer
                .wait_durable(sequence, Level::Synced)
                .expect_err("nothing is durable any more");
            assert_eq!(sequence.get(), number);
        }
    }
    assert_eq!(
        durability.synced(),
        Sequence::new(confirmed),
        "the watermark stays"
    );
    drop(producer);
    let ended = bus.shutdown();
    if failed && config.on_error == OnJournalError::Continue {
        assert_eq!(
            seen.load(Ordering::SeqCst),
            confirmed + 200,
            "those beside it see everything"
        );
    }
    let saved = saved.load(Ordering::SeqCst);
    // without a policy that syncs, those behind it see what is written
    let ahead = u64::from(failed && config.sync == SyncPolicy::Never);
    assert!(
        saved <= confirmed + ahead,
        "{saved} events were seen behind the journal, {confirmed} are durable"
    );
    assert!(
        failed || saved == confirmed,
        "{saved} of {confirmed} were seen behind the journal"
    );
    let error = ended.err().map(|error| {
        assert_eq!(error.kind(), ErrorKind::StageFailed, "{error}");
        let cause = error
            .source()
            .and_then(|cause| cause.downcast_ref::<ringway::Error>());
        let kind = cause.map(ringway::Error::kind);
        assert_eq!(kind, Some(ErrorKind::JournalIo), "{error}");
        error.to_string()
    });
    assert_eq!(error.is_some(), failed, "{error:?}");
    Outcome { confirmed, error }
}

/// After a life that failed: all is there, and the next life goes on.
fn check_restart(path: &Path, config: &JournalConfig, confirmed: u64) {
    let found = lives(path, config).expect("it opens");
    let there = found.len() as u64;
    assert!(
        there >= confirmed,
        "{confirmed} were confirmed, {there} are there"
    );
    let life = found.last().map_or(0, |life| life + 1);
    let outcome = write(path, config, life, there + 100, |_| {});
    assert_eq!((outcome.confirmed, outcome.error), (there + 100, None));
    let again = lives(path, config).expect("it opens");
    assert!(again.starts_with(&found) && again.len() as u64 == there + 100);
}

/// The text says which file, where in it, and which event.
fn check_text(error: &str, path: &Path) {
    assert!(
        error.contains(&path.display().to_string()),
        "no file in: {error}"
    );
    for word in ["offset", "sequence"] {
        assert!(error.contains(word), "no {word} in: {error}");
    }
}

/// What the process does whose files may not grow.
#[test]
#[cfg(target_os = "linux")]
fn child() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let Some(arguments) = arguments() else {
        return; // this is the parent
    };
    let [path, sync, on_error, limit, limited_at] = &arguments[..] else {
        panic!("{arguments:?}")
    };
    let number = |text: &String| text.parse().expect("a number");
    let (sync, on_error): (u64, u64) = (number(sync), number(on_error));
    let (limit, limited_at) = (number(limit), number(limited_at));
    let set = |bytes| {
        let limit = Rlimit {
            current: Some(bytes),
            maximum: None,
        };
        setrlimit(Resource::Fsize, limit).expect("it may be lowered");
    };
    if limited_at == 0 {
        set(limit);
    }
    let at = |confirmed| {
        if confirmed == limited_at {
            set(limit);
        }
    };
    let outcome = write(
        Path::new(path),
        &config(sync as usize, on_error as usize),
        0,
        5_000,
        at,
    );
    say(outcome.confirmed);
    say(outcome.error.unwrap_or_default().replace('\n', " "));
}

#[cfg(target_os = "linux")]
fn limit_files(sync: usize, on_error: usize, limit: u64, limited_at: u64) {
    let scratch = Scratch::new("limited");
    let process = Process::start_ignoring(
        "XFSZ",
        "child",
        &[
            &scratch.path().display(),
            &sync,
            &on_error,
            &limit,
            &limited_at,
        ],
    );
    let said = process.finish();
    let [confirmed, error] = &said[..] else {
        panic!("{said:?}")
    };
    let confirmed = confirmed.parse().expect("a number");
    assert!(confirmed >= limited_at && confirmed < 5_000, "{said:?}");
    check_text(error, scratch.path());
    check_restart(scratch.path(), &config(sync, on_error), confirmed);
}

/// In the middle of a segment, whose bytes there may have been written ahead or not.
#[test]
#[cfg(target_os = "linux")]
fn a_file_that_may_not_grow() {
    if arguments().is_some() {
        return;
    }
    limited(|| {
        for sync in 0..SYNCS.len() {
            for on_error in 0..ERRORS.len() {
                limit_files(sync, on_error, 24 << 10, 40);
            }
        }
    });
}

/// When the journal is made: its header, or what is written ahead, finds no room.
#[test]
#[cfg(target_os = "linux")]
fn no_room_from_the_start() {
    if arguments().is_some() {
        return;
    }
    limited(|| {
        for sync in 0..SYNCS.len() {
            for limit in [0, 10, 64, 100, 5_000] {
                limit_files(sync, 0, limit, 0);
            }
        }
    });
}

/// A file system of its own, so small that it fills.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    /// Of so many KiB. `None`: this user may not mount, which is said, and is a failure where all tests must run.
    fn new(path: &'a Path, kib: u64) -> Option<Self> {
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"])
            .arg(path)
            .output();
        if done.is_ok_and(|output| output.status.success()) {
            return Some(Self(path));
        }
        let refused = "mounting a small file system is not permitted here";
        assert!(
            std::env::var_os("RINGWAY_ALL_TESTS").is_none(),
            "{refused}, and RINGWAY_ALL_TESTS is set"
        );
        say(format_args!("skipped: {refused}"));
        None
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // at worst it stays
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_file_system_that_fills_up() {
    if arguments().is_some() {
        return;
    }
    limited(|| {
        for sync in 0..SYNCS.len() {
            for on_error in 0..ERRORS.len() {
                let scratch = Scratch::new("full");
                let Some(mounted) = Mounted::new(scratch.path(), 384) else {
                    return;
                };
                let path = mounted.0.join("journal");
                let ballast = mounted.0.join("ballast");
                fs::write(&ballast, vec![0; 150 << 10]).expect("there is room");
                let config = config(sync, on_error);
                let outcome = write(&path, &config, 0, 5_000, |_| {});
                let error = outcome.error.expect("it fills up");
                check_text(&error, &path);
                assert!(
                    outcome.confirmed > 100,
                    "{} events, then {error}",
                    outcome.confirmed
                );
                fs::remove_file(ballast).expect("it is there");
                check_restart(&path, &config, outcome.confirmed);
            }
        }
    });
}

/// Publishes events of 1000 bytes until so many bytes were given or the journal fails; how many bytes are written in the end.
fn pour(path: &Path, sync: SyncPolicy, bytes: u64) -> u64 {
    let config = JournalConfig {
        segment_bytes: 8 << 20,
        write_bytes_max: 64 << 10,
        sync,
        ..JournalConfig::default()
    };
    let journal = Journal::open(path, config, Bytes).expect("there is room for a header");
    let mut topology = Topology::single(BusConfig::default(), Vec::new).expect("it is valid");
    topology.stage("journal").journal(journal);
    let (bus, mut producer) = topology.start().expect("there is room for it");
    let durability = bus.durability().expect("it has a journal");
    let events = bytes / 1000;
    let _ = (0..events).try_for_each(|_| producer.publish(vec![7; 1000]).map(drop));
    drop(producer);
    let _ = bus.shutdown();
    durability.written().get() * 1000
}

/// What is prepared ahead must not take the last room from what is to be recorded.
#[test]
fn a_segment_larger_than_the_room_uses_all_of_it() {
    if arguments().is_some() {
        return;
    }
    limited(|| {
        let interval = SyncPolicy::Interval(Duration::from_millis(5));
        for sync in [SyncPolicy::EveryBatch, interval, SyncPolicy::Never] {
            let scratch = Scratch::new("room");
            let Some(mounted) = Mounted::new(scratch.path(), 6 << 10) else {
                return;
            };
            let path = mounted.0.join("journal");
            let ballast = mounted.0.join("ballast");
            fs::write(&ballast, vec![0; 1 << 20]).expect("there is room");
            let room = 5 << 20;
            let there = pour(&path, sync, 2 * room);
            assert!(there > room / 4 * 3, "{sync:?}: {there} of {room} bytes");
            fs::remove_file(ballast).expect("it is there");
            let more = pour(&path, sync, 500_000);
            assert!(more >= there + 500_000, "{sync:?}: {more} after {there}");
        }
    });
}
