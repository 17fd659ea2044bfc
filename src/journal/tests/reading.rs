//! Replay, tailing, inspection.

use super::build::{Build, event, memory, open, three};
use super::memory::Memory;
use crate::config::RecoveryMode::Strict;
use crate::error::{Error, ErrorKind, StageError};
use crate::journal::codec::{Bytes, Codec, Plain};
use crate::journal::format::{Content, FRAME_HEADER, SegmentHeader};
use crate::journal::inspect::{FrameKind, Inspection};
use crate::journal::reader::JournalReader;
use crate::journal::replay::{Record, Replay, sequence_since, time};
use crate::journal::testing::Folder;
use crate::sequence::Sequence;
use std::sync::Arc;

fn replay(memory: &Memory, from: u64, end: u64) -> Result<Replay<u64>, Error> {
    Replay::new(&memory.storage(), Arc::new(Plain::<u64>::new()), from, end)
}

fn sequences<T>(replay: impl Iterator<Item = Result<Record<T>, Error>>) -> Vec<u64> {
    replay
        .map(|record| record.unwrap().sequence.get())
        .collect()
}

fn tailing(memory: &Memory, from: u64) -> crate::journal::reader::Tail<u64> {
    let reader = JournalReader::with_storage(memory.storage(), Plain::<u64>::new()).unwrap();
    reader.tail(Sequence::new(from)).unwrap()
}

#[test]
fn from_any_sequence_up_to_any() {
    let memory = memory(&three());
    for from in 0..=30 {
        for end in from..=30 {
            let mut replay = replay(&memory, from, end).unwrap();
            let expected: Vec<u64> = (from..end).filter(|at| !(13..15).contains(at)).collect();
            let records: Vec<_> = replay.by_ref().map(Result::unwrap).collect();
            assert!(
                records
                    .iter()
                    .all(|record| record.event == event(record.sequence.get()))
            );
            assert_eq!(
                records
                    .iter()
                    .map(|record| record.sequence.get())
                    .collect::<Vec<_>>(),
                expected
            );
            if end >= 15 {
                assert_eq!(
                    replay.skipped(),
                    (from..end).filter(|at| (13..15).contains(at)).count() as u64
                );
            }
            assert!(replay.next().is_none());
        }
    }
    assert_eq!(
        replay(&memory, 31, 30).unwrap_err().kind(),
        ErrorKind::InvalidConfig
    );
}

#[test]
fn since_any_time() {
    let memory = memory(&three());
    // when the frames were written, and those times' neighbours
    for first in [0, 4, 10, 15, 20, 25, 27] {
        let at = time(1_700_000_000_000_000_000 + first * 1000);
        let since = |at| sequence_since(&memory.storage(), &Plain::<u64>::new(), at, 30).unwrap();
        assert_eq!(since(at), first);
        let later = since(at + std::time::Duration::from_nanos(1));
        assert!(later > first, "{first} {later}");
    }
    let since = |at| sequence_since(&memory.storage(), &Plain::<u64>::new(), at, 30).unwrap();
    assert_eq!((since(time(0)), since(time(u64::MAX))), (0, 30));
}

#[test]
fn damage_and_removal_are_told_apart() {
    let mut segments = three();
    segments[1].bytes[64 + FRAME_HEADER] ^= 1;
    let damaged = memory(&segments);
    let mut records = replay(&damaged, 0, 30).unwrap();
    assert_eq!(records.by_ref().take(10).filter_map(Result::ok).count(), 10);
    let error = records.next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::JournalCorrupt);
    assert!(
        error.to_string().contains("at offset 64, sequence 10"),
        "{error}"
    );
    assert!(records.next().is_none(), "it ends after an error");
    // stepped over by its header alone
    assert_eq!(
        sequences(replay(&damaged, 13, 30).unwrap()),
        (15..30).collect::<Vec<_>>()
    );

    let whole = memory(&three());
    let mut records = replay(&whole, 0, 30).unwrap();
    assert!(records.next().unwrap().is_ok());
    whole.take(&segments[1].name());
    let error = records.find_map(Result::err).unwrap();
    assert_eq!(error.kind(), ErrorKind::JournalIo, "{error}");
}

/// Refuses one event.
struct Fussy;

impl Codec for Fussy {
    type Event = u64;

    fn id(&self) -> u64 {
        Plain::<u64>::new().id()
    }

    fn event_bytes(&self) -> u32 {
        8
    }

    fn encode(&self, _: &u64, _: &mut Vec<u8>) -> Result<(), StageError> {
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<u64, StageError> {
        let event = Plain::<u64>::new().decode(bytes)?;
        if event == self::event(17) {
            Err("not this one".into())
        } else {
            Ok(event)
        }
    }
}

#[test]
fn an_event_that_the_codec_refuses_is_named() {
    let memory = memory(&three());
    let mut replay = Replay::new(&memory.storage(), Arc::new(Fussy), 15, 30).unwrap();
    let error = replay.find_map(Result::err).unwrap();
    assert_eq!(error.kind(), ErrorKind::Codec);
    assert!(
        error.to_string().contains("sequence 17: not this one"),
        "{error}"
    );
    assert!(std::error::Error::source(&error).is_some());
    let reader = JournalReader::with_storage(memory.storage(), Fussy).unwrap();
    let mut tail = reader.tail(Sequence::new(16)).unwrap();
    assert_eq!(tail.try_next().unwrap().unwrap().sequence.get(), 16);
    assert_eq!(tail.try_next().unwrap_err().kind(), ErrorKind::Codec);
    assert_eq!(tail.try_next().unwrap().unwrap().sequence.get(), 18);
}

fn texts(payload: &[&[u8]]) -> Vec<u8> {
    payload
        .iter()
        .flat_map(|text| {
            (text.len() as u32)
                .to_le_bytes()
                .into_iter()
                .chain(text.iter().copied())
        })
        .collect()
}

fn variable(first: u64, salt: u64) -> Build {
    Build::with(SegmentHeader {
        journal: 1,
        salt,
        first,
        kept_from: 0,
        codec: Bytes.id(),
        event_bytes: 0,
    })
}

#[test]
fn records_of_any_length() {
    let long = vec![7; 700_000];
    let segment = variable(0, 1)
        .frame(Content::Records, 3, 0, &texts(&[b"a", b"", b"ccc"]))
        .frame(Content::Records, 1, 3, &texts(&[&long]))
        .frame(Content::Records, 2, 4, &texts(&[b"x", b"yy"]));
    let memory = Memory::with(&[segment.file()]);
    for from in 0..=6 {
        let replay = Replay::new(&memory.storage(), Arc::new(Bytes), from, 6).unwrap();
        let events: Vec<Vec<u8>> = replay.map(|record| record.unwrap().event).collect();
        let expected: [&[u8]; 6] = [b"a", b"", b"ccc", &long, b"x", b"yy"];
        assert_eq!(events, expected[from as usize..]);
    }
}

#[test]
fn records_that_do_not_fill_their_frame() {
    for (count, payload) in [
        (1, texts(&[b"a", b"b"])),
        (3, texts(&[b"a", b"b"])),
        (1, vec![9, 0, 0, 0, 1]),
        (1, vec![0, 0]),
    ] {
        let segment = variable(0, 1).frame(Content::Records, count, 0, &payload);
        let memory = Memory::with(&[segment.file()]);
        let mut replay = Replay::new(&memory.storage(), Arc::new(Bytes), 0, count).unwrap();
        let error = replay.find_map(Result::err).unwrap();
        assert_eq!(error.kind(), ErrorKind::JournalCorrupt, "{error}");
    }
}

/// The file grows byte by byte; then zeroed files are filled byte by byte.
#[test]
fn a_tail_sees_each_event_once_it_is_whole() {
    for zeros in [false, true] {
        let [first, second, third] = three();
        let memory = Memory::default();
        let mut tail = tailing(&memory, 0);
        assert_eq!(tail.try_next().unwrap(), None);
        let mut seen = Vec::new();
        for segment in [first, second, third] {
            for len in 64..=segment.bytes.len() {
                let mut bytes = segment.bytes[..len].to_vec();
                if zeros {
                    bytes.resize(segment.bytes.len(), 0);
                }
                write(&memory, &segment.name(), &bytes);
                while let Some(record) = tail.try_next().unwrap() {
                    assert_eq!(record.event, event(record.sequence.get()));
                    seen.push(record.sequence.get());
                }
                let whole = segment.ends().iter().filter(|end| **end <= len).count();
                assert!(
                    zeros || whole > 0 || seen.last().is_none_or(|last| *last < 20 || len >= 64)
                );
            }
        }
        assert_eq!(
            seen,
            (0..30)
                .filter(|at| !(13..15).contains(at))
                .collect::<Vec<_>>()
        );
        assert_eq!(tail.skipped(), 2);
    }
}

/// Writes into the file, or makes it.
fn write(memory: &Memory, name: &str, bytes: &[u8]) {
    use crate::journal::storage::{Storage, write_all};
    let file = memory
        .open(name, true)
        .or_else(|_| memory.create(name))
        .unwrap();
    write_all(&*file, bytes, 0).unwrap();
}

#[test]
fn a_tail_knows_what_never_comes() {
    // removed by retention
    let memory_ = memory(&three());
    let mut tail = tailing(&memory_, 20);
    while tail.try_next().unwrap().is_some() {}
    memory_.take(&three()[2].name());
    assert_eq!(tail.try_next().unwrap_err().kind(), ErrorKind::JournalIo);
    // damaged, and others are there behind
    let mut segments = three();
    segments[0].bytes[64] ^= 1;
    let mut tail = tailing(&memory(&segments), 0);
    assert_eq!(
        tail.try_next().unwrap_err().kind(),
        ErrorKind::JournalCorrupt
    );
    // cut by a recovery, which went on below
    let [first, ..] = three();
    let memory_ = memory(&[first]);
    let mut tail = tailing(&memory_, 0);
    while tail.try_next().unwrap().is_some() {}
    let again = Build::new(4, 9).records(3, 4);
    memory_.put(&again.name(), &again.bytes);
    let error = tail.try_next().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::JournalIo, "it is whole");
    let text = "a recovery cut the journal at sequence 4, and it was read up to 10";
    assert!(error.to_string().contains(text), "{error}");
}

#[test]
fn a_reader_finds_the_ends() {
    let memory = memory(&three());
    let reader = JournalReader::with_storage(memory.storage(), Plain::<u64>::new()).unwrap();
    assert_eq!(
        (reader.first().unwrap().get(), reader.next().unwrap().get()),
        (0, 30)
    );
    assert_eq!(
        sequences(reader.replay(Sequence::new(25)).unwrap()),
        [25, 26, 27, 28, 29]
    );
    let since = time(1_700_000_000_000_025_500);
    assert_eq!(sequences(reader.replay_since(since).unwrap()), [27, 28, 29]);
    let error = JournalReader::with_storage(memory.storage(), Bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::JournalMismatch);
}

#[test]
fn an_inspection_shows_segments_and_frames() {
    let mut segments = three();
    segments[0].bytes[10] ^= 1;
    let inspection = Inspection::with_storage(memory(&segments).storage()).unwrap();
    let [first, second, third] = inspection.segments() else {
        panic!("three");
    };
    assert!(first.damage.is_some() && second.damage.is_none());
    assert_eq!((third.first.get(), third.event_bytes), (20, 8));
    assert_eq!(
        inspection.verify().unwrap_err().kind(),
        ErrorKind::JournalCorrupt
    );
    let mut frames = inspection.frames(second).unwrap();
    let mut kinds = Vec::new();
    while let Some(frame) = frames.next_frame().unwrap() {
        let records: Vec<_> = frames.records().map(Result::unwrap).collect();
        let is_record = frame.kind == FrameKind::Records;
        assert_eq!(
            records.len(),
            if is_record { frame.sequences.len() } else { 0 }
        );
        kinds.push(frame.kind);
    }
    assert_eq!(
        kinds,
        [FrameKind::Records, FrameKind::Abandoned, FrameKind::Records]
    );
    assert_eq!(frames.end_reason(), "no frame begins here");
    assert_eq!(
        inspection
            .frames(first)
            .unwrap()
            .next_frame()
            .unwrap()
            .unwrap()
            .sequences
            .len(),
        4,
        "behind a damaged header"
    );

    let whole = memory(&three());
    let before = whole.files();
    let report = Inspection::with_storage(whole.storage())
        .unwrap()
        .verify()
        .unwrap();
    assert_eq!(whole.files(), before);
    assert_eq!(report, open(&whole, Strict).unwrap().1);
}

/// A child has all open files of its parent until it runs its own program: a lock that is only closed is held by it a little longer.
#[test]
fn a_closed_journal_opens_again_while_children_are_started() {
    let folder = Folder::new();
    let children = std::thread::Builder::new().spawn(|| {
        for _ in 0..200 {
            let child = std::process::Command::new("true").spawn();
            child.unwrap().wait().unwrap();
        }
    });
    let children = children.unwrap();
    while !children.is_finished() {
        drop(crate::journal::storage::lock(&*folder.disk()).unwrap());
    }
    children.join().unwrap();
}

#[test]
fn a_directory_of_the_system_is_opened_by_one_at_a_time() {
    use crate::config::JournalConfig;
    use crate::journal::Journal;
    let path = std::env::temp_dir().join(format!("ringway-journal-{}", std::process::id()));
    let open = || {
        Journal::open(
            path.join("a/b"),
            JournalConfig::default(),
            Plain::<u64>::new(),
        )
    };
    let journal = open().unwrap();
    let error = open().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::JournalLocked, "{error}");
    drop(journal);
    for entry in std::fs::read_dir(path.join("a/b")).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap(); // of the journal that it began
    }
    for segment in three() {
        std::fs::write(path.join("a/b").join(segment.name()), &segment.bytes).unwrap();
    }
    let journal = open().unwrap();
    assert_eq!((journal.first().get(), journal.next().get()), (0, 30));
    assert_eq!(
        sequences(journal.replay(Sequence::new(20)).unwrap()),
        (20..30).collect::<Vec<_>>()
    );
    let since = time(1_700_000_000_000_025_001);
    assert_eq!(
        sequences(journal.replay_since(since).unwrap()),
        [27, 28, 29]
    );
    drop(journal);
    std::fs::remove_dir_all(path).unwrap();
}

/// Killed between making a segment and removing the one before it that has no event yet, or copied just then.
#[test]
fn a_segment_that_was_never_used_hides_no_other() {
    let salts = [0x1, 0x5555, 0xffff];
    for used in 0..salts.len() {
        let [a, b, c] = three();
        let twin = |at: usize| Build::new(30, salts[at]).watermark(30);
        let unused = (0..salts.len()).filter(|at| *at != used).map(twin);
        let twins: Vec<Build> = unused.chain([twin(used).records(4, 30)]).collect();
        let memory = memory(
            &[vec![a, b, c], twins]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>(),
        );
        let reader = JournalReader::with_storage(memory.storage(), Plain::<u64>::new()).unwrap();
        assert_eq!(reader.next().unwrap(), Sequence::new(34));
        for from in [25, 30, 32] {
            let replay = reader.replay(Sequence::new(from)).unwrap();
            assert_eq!(sequences(replay), (from..34).collect::<Vec<_>>());
            let mut tail = tailing(&memory, from);
            let read = std::iter::from_fn(|| tail.try_next().transpose());
            assert_eq!(sequences(read), (from..34).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_tail_waits_at_segments_that_are_not_used_yet() {
    let [a, b, c] = three();
    let twins = [1, 2].map(|salt| Build::new(30, salt).watermark(30));
    let [first, second] = twins;
    let memory = memory(&[a, b, c, first, second]);
    let mut tail = tailing(&memory, 29);
    assert!(tail.try_next().unwrap().is_some());
    assert_eq!(tail.try_next().unwrap(), None);
    assert_eq!(tail.try_next().unwrap(), None);
    for salt in [1, 2] {
        let memory = memory.copy();
        let mut tail = tailing(&memory, 30);
        assert_eq!(tail.try_next().unwrap(), None);
        let (name, bytes) = Build::new(30, salt).watermark(30).records(1, 30).file();
        let file = memory.storage().open(&name, true).unwrap();
        file.write_at(&bytes, 0).unwrap();
        let record = tail.try_next().unwrap().expect("it was written");
        assert_eq!(record.event, event(30));
    }
}
