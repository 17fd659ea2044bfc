//! The bytes of version 1, as they were first written: they are read as they always were, and are still written so.

use super::build::{Build, open};
use super::memory::Memory;
use crate::config::RecoveryMode::Strict;
use crate::journal::codec::{Bytes, Codec, Plain};
use crate::journal::format::{Content, SegmentHeader};
use crate::journal::replay::Replay;
use std::path::PathBuf;
use std::sync::Arc;

fn fixed() -> [Build; 2] {
    let header = |first, salt| SegmentHeader {
        journal: 0x0102_0304_0506_0708,
        salt,
        first,
        kept_from: 0,
        codec: Plain::<u64>::new().id(),
        event_bytes: 8,
    };
    [
        Build::with(header(0, 0x1111_2222_3333_4444))
            .records(3, 0)
            .abandoned(2, 3)
            .watermark(5),
        Build::with(header(5, 0x5555_6666_7777_8888))
            .records(4, 5)
            .frame(Content::Lost, 1, 9, &[])
            .zeros(32),
    ]
}

fn variable() -> Build {
    Build::with(SegmentHeader {
        journal: 9,
        salt: 0x9999_aaaa_bbbb_cccc,
        first: 0,
        kept_from: 0,
        codec: Bytes.id(),
        event_bytes: 0,
    })
    .frame(Content::Records, 2, 0, b"\x01\0\0\0a\x03\0\0\0bcd")
}

fn golden(folder: &str, name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/golden/journal-v1").join(folder).join(name)
}

#[test]
fn the_encoder_still_writes_these_bytes() {
    let segments = fixed().into_iter().map(|segment| ("fixed", segment));
    for (folder, segment) in segments.chain([("variable", variable())]) {
        let path = golden(folder, &segment.name());
        let bytes =
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(bytes, segment.bytes, "{}", path.display());
    }
}

#[test]
fn the_decoder_still_reads_them() {
    let load = |folder: &str, segments: &[Build]| {
        let files = segments.iter().map(|segment| {
            (
                segment.name(),
                std::fs::read(golden(folder, &segment.name())).unwrap(),
            )
        });
        Memory::with(&files.collect::<Vec<_>>())
    };
    let memory = load("fixed", &fixed());
    let (recovered, recovery) = open(&memory, Strict).unwrap();
    assert_eq!((recovered.id, recovered.next), (0x0102_0304_0506_0708, 10));
    assert_eq!(recovery.lost.len(), 1);
    let replay = Replay::new(&memory.storage(), Arc::new(Plain::<u64>::new()), 0, 10).unwrap();
    let events: Vec<_> = replay
        .map(|record| record.unwrap())
        .map(|record| (record.sequence.get(), record.event))
        .collect();
    assert_eq!(
        events,
        [(0, 1), (1, 11), (2, 21), (5, 51), (6, 61), (7, 71), (8, 81)]
    );

    let memory = load("variable", &[variable()]);
    let replay = Replay::new(&memory.storage(), Arc::new(Bytes), 0, 2).unwrap();
    let events: Vec<_> = replay.map(|record| record.unwrap().event).collect();
    assert_eq!(events, [b"a".to_vec(), b"bcd".to_vec()]);
}
