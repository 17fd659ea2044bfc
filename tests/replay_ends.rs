//! How taps end that read on in the journal, and what they leave.
#![cfg(unix)]

mod common;

use common::journal::Scratch;
use common::{limited, until, waiting};
use ringway::{
    Bus, Codec, Ended, Journal, JournalConfig, JournalReader, OnJournalError, OnLag, Plain,
    Producer, Retention, Sequence, Single, StageError, SyncPolicy, Tap, Topology, Wait,
};
use std::fs;
use std::path::PathBuf;

const SEGMENT_BYTES: u64 = 1 << 13;

fn config() -> JournalConfig {
    JournalConfig {
        sync: SyncPolicy::Never,
        segment_bytes: SEGMENT_BYTES,
        write_bytes_max: 1 << 11,
        ..JournalConfig::default()
    }
}

/// A journal and a tap.
fn replaying<C: Codec<Event = u64>>(
    journal: Journal<C>,
    capacity: usize,
) -> (Bus<u64>, Producer<u64>, Tap<u64>) {
    let mut topology = Topology::<_, Single>::single(waiting(capacity, Wait::Adaptive), || 0)
        .expect("it is valid");
    topology.stage("journal").journal(journal);
    let tap = topology.stage("tap").tap(OnLag::Replay);
    let (bus, producer) = topology.start().expect("it is right");
    (bus, producer, tap)
}

fn plain(scratch: &Scratch, config: JournalConfig) -> Journal<Plain<u64>> {
    Journal::open(scratch.path(), config, Plain::new()).expect("it can be opened")
}

/// Each event is its sequence: how many come until the tap ends, and why it does.
fn read_all(tap: &mut Tap<u64>) -> (u64, Ended) {
    let mut next = 0;
    loop {
        match tap.read() {
            Ok(batch) => {
                let range = batch.sequences();
                assert_eq!((range.start().get(), batch.skipped()), (next, 0));
                next = range.end().get();
                assert!(batch.into_vec().into_iter().eq(range.start().get()..next));
            }
            Err(ended) => return (next, ended),
        }
    }
}

/// Those that are in use: one that is made ready has a name that begins with a dot.
fn segments(scratch: &Scratch) -> Vec<PathBuf> {
    let files = fs::read_dir(scratch.path()).expect("it is there");
    let mut files: Vec<_> = files
        .map(|file| file.expect("it is there"))
        .filter(|file| !file.file_name().as_encoded_bytes().starts_with(b"."))
        .map(|file| file.path())
        .filter(|path| {
            path.metadata()
                .is_ok_and(|data| data.len() >= SEGMENT_BYTES)
        })
        .collect();
    files.sort();
    files
}

/// Changes one byte in the midst.
fn damage(file: &PathBuf, at: usize) {
    let mut bytes = fs::read(file).expect("it is there");
    bytes[at] ^= 1;
    fs::write(file, bytes).expect("it can be written");
}

/// Publishes, does something to the files, and reads. The tap must get all that the files still have, and be told that there was more.
fn unreadable(segment_bytes: u64, harm: impl FnOnce(&Scratch)) {
    const EVENTS: u64 = 3000;
    let scratch = Scratch::new("replay-harm");
    let config = JournalConfig {
        segment_bytes,
        ..config()
    };
    let (bus, mut producer, mut tap) = replaying(plain(&scratch, config), 8);
    for number in 0..EVENTS {
        producer.publish(number).expect("it is open");
    }
    until(|| bus.durability().expect("it has a journal").written().get() == EVENTS);
    harm(&scratch);
    let mut there = 0;
    if let Ok(reader) = JournalReader::open(scratch.path(), Plain::<u64>::new())
        && let Ok(mut tail) = reader.tail(Sequence::new(0))
    {
        while let Ok(Some(_)) = tail.try_next() {
            there += 1;
        }
    }
    let (read, ended) = read_all(&mut tap);
    assert!(matches!(ended, Ended::Unreadable { .. }), "{ended}");
    assert_eq!(read, there);
    assert!(read < EVENTS);
    assert_eq!(tap.read().map(drop), Err(ended));
}

#[test]
fn damage_is_told() {
    limited(|| {
        unreadable(SEGMENT_BYTES, |scratch| {
            damage(&segments(scratch)[1], SEGMENT_BYTES as usize / 2);
        });
    });
}

#[test]
fn damage_in_the_segment_that_is_being_written_is_told() {
    limited(|| {
        unreadable(1 << 20, |scratch| damage(&segments(scratch)[0], 4000));
    });
}

#[test]
fn files_that_are_gone_are_told() {
    limited(|| {
        unreadable(1 << 20, |scratch| {
            for file in segments(scratch) {
                fs::remove_file(file).unwrap();
            }
        });
        unreadable(1 << 20, |scratch| {
            // again when a file is made in it meanwhile
            until(|| fs::remove_dir_all(scratch.path()).is_ok());
        });
    });
}

/// Cannot write one event, and not read another one.
struct Picky;

const UNWRITTEN: u64 = 1 << 40;
const UNREAD: u64 = 100;

impl Codec for Picky {
    type Event = u64;

    fn id(&self) -> u64 {
        99
    }

    fn encode(&self, event: &u64, bytes: &mut Vec<u8>) -> Result<(), StageError> {
        if *event == UNWRITTEN {
            return Err("not this one".into());
        }
        bytes.extend_from_slice(&event.to_le_bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<u64, StageError> {
        match u64::from_le_bytes(bytes.try_into()?) {
            UNREAD => Err("nor this one".into()),
            event => Ok(event),
        }
    }
}

fn picky(scratch: &Scratch) -> Journal<Picky> {
    let config = JournalConfig {
        on_error: OnJournalError::Continue,
        ..config()
    };
    Journal::open(scratch.path(), config, Picky).expect("it can be opened")
}

#[test]
fn what_was_read_before_an_error_is_handed_out_first() {
    limited(|| {
        let scratch = Scratch::new("replay-undecoded");
        let (_bus, mut producer, mut tap) = replaying(picky(&scratch), 8);
        for number in 0..UNREAD + 20 {
            producer.publish(number).unwrap();
        }
        let (read, ended) = read_all(&mut tap);
        assert_eq!(read, UNREAD);
        for number in 0..100 {
            producer.publish(number).unwrap(); // the bus goes on
        }
        assert!(ended.to_string().contains("nor this one"), "{ended}");
        assert_eq!((tap.stats().position, tap.stats().events), (UNREAD, UNREAD));
    });
}

#[test]
fn one_that_reads_the_ring_has_not_ended_because_the_journal_has() {
    limited(|| {
        let scratch = Scratch::new("replay-failed");
        let mut topology =
            Topology::<_, Single>::single(waiting(64, Wait::Adaptive), || 0).expect("it is valid");
        topology.stage("journal").journal(picky(&scratch));
        topology.stage("other").handle(|_, _| {});
        let mut tap = topology.stage("tap").tap(OnLag::Replay);
        let (bus, mut producer) = topology.start().expect("it is right");
        producer.publish(UNWRITTEN).unwrap();
        until(|| bus.stats().stages[0].ended);
        assert_eq!(tap.read().unwrap().into_vec(), [UNWRITTEN]);
        assert!(!tap.is_ended());
        producer.publish(7).unwrap();
        assert!(!tap.is_ended());
        assert_eq!(tap.try_read().unwrap().into_vec(), [7]);
        // what it lags now no journal has
        for number in 0..100 {
            producer.publish(number).unwrap();
        }
        assert!(tap.is_ended());
        let ended = Ended::Upstream {
            stage: "journal".into(),
        };
        assert_eq!(tap.read().unwrap_err(), ended);
    });
}

#[test]
fn its_statistics_do_not_go_back_when_it_ends_in_the_journal() {
    limited(|| {
        let scratch = Scratch::new("replay-stats");
        let (bus, mut producer, tap) = replaying(plain(&scratch, config()), 4);
        drop(tap);
        for number in 0..100 {
            producer.publish(number).unwrap();
        }
        let mut late = bus.tap_from("late", Sequence::new(10)).unwrap();
        drop(producer);
        bus.shutdown().unwrap();
        let mut copied = 0;
        while let Ok(batch) = late.read() {
            copied += batch.len();
        }
        let stats = late.stats();
        assert_eq!((copied, stats.position, stats.lag), (90, 100, 0));
        assert_eq!((stats.skipped, stats.ended, late.skipped()), (0, true, 0));
        assert_eq!(late.lag(), 0);
    });
}

#[test]
fn one_that_has_ended_keeps_no_segment_though_its_handle_lives() {
    limited(|| {
        let scratch = Scratch::new("replay-kept");
        let retention = Retention {
            bytes_max: Some(SEGMENT_BYTES),
            ..Retention::default()
        };
        let journal = JournalConfig {
            retention,
            ..config()
        };
        let mut topology =
            Topology::<_, Single>::single(waiting(64, Wait::Adaptive), || 0).expect("it is valid");
        topology.stage("journal").journal(plain(&scratch, journal));
        let (stage, first) = topology.stage("first").consumer();
        let mut tap = topology.stage("tap").after([stage]).tap(OnLag::Replay);
        let (bus, mut producer) = topology.start().expect("it is right");
        drop(first);
        let ended = Ended::Upstream {
            stage: "first".into(),
        };
        assert_eq!(tap.read().unwrap_err(), ended);
        for number in 0..20_000 {
            producer.publish(number).unwrap();
        }
        drop(producer);
        bus.shutdown().unwrap();
        let reader = JournalReader::open(scratch.path(), Plain::<u64>::new()).unwrap();
        assert!(reader.first().unwrap() > Sequence::new(0));
        assert!(tap.is_ended());
    });
}
