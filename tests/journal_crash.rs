//! A process that writes a journal is killed at any moment, and what it was told to be durable is there.
//!
//! `RINGWAY_KILLS=n` kills n times instead of 200; `RINGWAY_SEED=s` repeats the moments, as far as moments repeat.

mod common;

use common::journal::{Process, Scratch, arguments, event, lives, lives_from, say};
use common::{Random, limited, seeded, within};
use ringway::{BusConfig, Bytes, Journal, JournalConfig, Level, SyncPolicy, Topology};
use std::env;
use std::path::Path;
use std::thread;
use std::time::Duration;

const KILLS: u64 = 200;
/// So many on one journal.
const LIVES: u64 = 10;

const KINDS: u64 = 5;

/// The policies, and what is waited for under each: what survives the end of a process.
fn kind(kind: u64) -> (JournalConfig, Level) {
    let (sync, level) = match kind {
        0 => (SyncPolicy::EveryBatch, Level::Synced),
        1 => (
            SyncPolicy::Interval(Duration::from_millis(1)),
            Level::Synced,
        ),
        2 => (SyncPolicy::Never, Level::Synced),
        3 => (SyncPolicy::Never, Level::Written),
        // removes segments, and uses their files again
        _ => (SyncPolicy::EveryBatch, Level::Synced),
    };
    let mut config = JournalConfig {
        segment_bytes: 16 << 10,
        write_bytes_max: 4 << 10,
        sync,
        ..JournalConfig::default()
    };
    config.retention.bytes_max = (kind == KINDS - 1).then_some(4 * config.segment_bytes);
    (config, level)
}

/// What the process does that is killed.
#[test]
fn child() {
    let Some(arguments) = arguments() else {
        return; // this is the parent
    };
    let [path, kind_of, life, burst] = &arguments[..] else {
        panic!("{arguments:?}")
    };
    let number = |text: &String| text.parse().expect("a number");
    let (life, burst): (u64, u64) = (number(life), number(burst));
    let (config, level) = kind(number(kind_of));
    say("opens");
    let journal = Journal::open(path, config, Bytes).expect("it opens");
    let mut next = journal.next().get();
    let config = BusConfig {
        capacity: 64,
        ..BusConfig::default()
    };
    let mut topology = Topology::single(config, Vec::new).expect("it is valid");
    topology.stage("journal").journal(journal);
    let (_bus, mut producer) = topology.start().expect("it starts");
    loop {
        for _ in 0..burst {
            let sequence = producer.publish(event(next, life)).expect("it runs");
            assert_eq!(sequence.get(), next);
            next += 1;
        }
        let last = ringway::Sequence::new(next - 1);
        producer.wait_durable(last, level).expect("it is durable");
        say(next);
    }
}

/// One journal, written and killed several times. How many events were there in the end.
fn lives_of_one(directory: &Path, kills: u64, random: &mut Random) -> usize {
    let of = random.below(KINDS);
    let (config, _) = kind(of);
    // in which life each event was written that was there after a recovery: it may never change
    let mut known: (u64, Vec<u64>) = (0, Vec::new());
    for life in 0..kills {
        let burst = 1 + random.below(2) * random.below(40);
        let process = Process::start("child", &[&directory.display(), &of, &life, &burst]);
        let early = random.once_in(3);
        let micros = if early { 3_000 } else { 60_000 };
        assert_eq!(process.line().as_deref(), Some("opens"));
        thread::sleep(Duration::from_micros(random.below(micros)));
        let said = process.kill();
        let confirmed = said
            .last()
            .map_or(0, |line| line.parse().expect("a number"));
        let (first, found) = lives_from(directory, &config).unwrap_or_else(|error| {
            panic!(
                "life {life} of a journal of kind {of} in {}: {error}",
                directory.display()
            )
        });
        let there = first as usize + found.len();
        assert!(
            there >= confirmed,
            "{confirmed} were confirmed, {there} are there"
        );
        let may_go = config.retention.bytes_max.is_some();
        assert!(first >= known.0 && (may_go || first == 0), "{first}");
        // of what was known, what is above the front
        let gone = known.1.len().min((first - known.0) as usize);
        let still = &known.1[gone..];
        assert!(found.starts_with(still), "what was there has changed");
        let new = &found[still.len()..];
        assert!(
            new.iter().all(|of| *of == life),
            "what was cut came back: {new:?}"
        );
        known = (first, found);
    }
    known.0 as usize + known.1.len()
}

#[test]
fn what_was_confirmed_survives_a_kill() {
    if arguments().is_some() {
        return;
    }
    let kills = env::var("RINGWAY_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok());
    let kills: u64 = kills.unwrap_or(KILLS);
    let limit = Duration::from_secs(60 + kills);
    within(limit, move || {
        seeded("kills", |mut random| {
            let (mut left, mut events) = (kills, 0);
            while left > 0 {
                let kills = left.min(LIVES);
                let scratch = Scratch::new("kills");
                // one that is not there yet: it is made, too
                events += lives_of_one(&scratch.path().join("journal"), kills, &mut random);
                left -= kills;
            }
            assert!(
                events > 0,
                "every process was killed before it did anything"
            );
        });
    });
}

/// The check itself must be able to fail.
#[test]
fn a_journal_that_lost_its_end_is_noticed() {
    if arguments().is_some() {
        return;
    }
    limited(|| {
        let scratch = Scratch::new("noticed");
        let process = Process::start("child", &[&scratch.path().display(), &0, &0, &1]);
        while process.line().is_some_and(|line| line != "20") {}
        let confirmed: usize = process
            .kill()
            .last()
            .map_or(20, |line| line.parse().expect("a number"));
        let (config, _) = kind(0);
        assert!(lives(scratch.path(), &config).expect("it opens").len() >= confirmed);
        let files = std::fs::read_dir(scratch.path()).expect("it is there");
        let mut files: Vec<_> = files
            .map(|entry| entry.expect("it is there").path())
            .collect();
        files.retain(|path| {
            path.extension()
                .is_some_and(|extension| extension == "segment")
        });
        files.sort();
        let first = std::fs::File::options()
            .write(true)
            .open(&files[0])
            .expect("it opens");
        first.set_len(500).expect("it is cut");
        let lost = lives(scratch.path(), &config);
        assert!(lost.is_err(), "{lost:?}");
    });
}
