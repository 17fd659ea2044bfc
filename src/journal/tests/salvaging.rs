//! What salvage keeps.

use super::build::{Build, JOURNAL, memory, open, open_twice, read, three};
use super::memory::Memory;
use crate::config::RecoveryMode::{Salvage, Strict};
use crate::error::ErrorKind;
use crate::journal::codec::{Codec, Plain};
use crate::journal::format::{FRAME_HEADER, SegmentHeader};

/// Salvages, and opens strictly what came of it: events and lost sequences.
fn salvage(memory: &Memory) -> (Vec<u64>, Vec<u64>) {
    let (recovered, recovery) = open(memory, Salvage).unwrap();
    let events = read(memory, &recovered);
    let (again, strict) = open_twice(memory).unwrap();
    assert_eq!(again, events);
    assert_eq!(
        (strict.lost.clone(), strict.next),
        (recovery.lost, recovery.next)
    );
    (
        events,
        strict
            .lost
            .iter()
            .flat_map(|range| {
                range
                    .iter()
                    .map(|sequence| sequence.get())
                    .collect::<Vec<_>>()
            })
            .collect(),
    )
}

fn all_but(lost: std::ops::Range<u64>) -> Vec<u64> {
    (0..30)
        .filter(|sequence| !(13..15).contains(sequence) && !lost.contains(sequence))
        .collect()
}

#[test]
fn every_whole_frame_is_kept_whatever_byte_is_damaged() {
    let original = three();
    for segment in 0..3 {
        for at in 0..original[segment].bytes.len() {
            let mut damaged = three();
            damaged[segment].bytes[at] ^= 0x40;
            let memory = memory(&damaged);
            let is_refused = open(&memory.copy(), Strict).is_err();
            let (events, lost) = salvage(&memory);
            if !is_refused {
                assert_eq!(lost, [], "{segment} {at}");
                continue;
            }
            let kept: Vec<(String, Vec<u8>)> = memory.files();
            let name = format!(".damaged-{}", damaged[segment].name());
            // where only a last frame is lost, the segment may stay
            let own =
                |file: &&(String, Vec<u8>)| file.0 == name || file.0 == damaged[segment].name();
            let still = kept.iter().find(own).expect("the damaged one is there");
            assert_eq!(still.1, damaged[segment].bytes);
            let frame = damaged[segment]
                .frames
                .iter()
                .rposition(|begin| *begin <= at);
            let lost_range = match (segment, frame) {
                (0, Some(0)) => 0..4,
                (0, Some(_)) => 4..10,
                (1, Some(0)) => 10..13,
                (1, Some(1)) => 13..15,
                (1, Some(_)) => 15..20,
                (2, Some(0)) => 20..25,
                _ => 0..0, // a segment's header, or a watermark
            };
            assert_eq!(
                lost,
                lost_range.clone().collect::<Vec<_>>(),
                "{segment} {at}"
            );
            assert_eq!(events, all_but(lost_range), "{segment} {at}");
        }
    }
}

#[test]
fn missing_segments_are_known_as_lost() {
    for (missing, lost) in [(0, 0..10), (1, 10..20)] {
        let segments = three();
        let memory = memory(&segments);
        memory.take(&segments[missing].name());
        assert_eq!(salvage(&memory), (all_but(lost.clone()), lost.collect()));
    }
}

#[test]
fn what_was_durable_behind_the_end_is_known_as_lost() {
    let mut only = Build::new(0, 1).records(4, 0).records(4, 4).watermark(8);
    let begin = only.frames[1] + FRAME_HEADER;
    only.bytes[begin] ^= 1;
    assert_eq!(
        salvage(&memory(&[only])),
        ((0..4).collect(), (4..8).collect())
    );
}

#[test]
fn doubles_are_taken_once() {
    let [first, second, third] = three();
    let double = Build::new(10, 7).records(10, 10);
    assert_eq!(salvage(&memory(&[first, second, third, double])).1, []);
}

#[test]
fn salvage_may_be_killed_at_any_moment() {
    let damaged = || {
        let mut segments = three();
        for (segment, at) in [(0, 70), (1, 10), (2, 70)] {
            segments[segment].bytes[at] ^= 1;
        }
        memory(&segments)
    };
    let whole = damaged();
    let expected = salvage(&whole);
    assert_eq!(expected.1, (0..4).chain(20..25).collect::<Vec<_>>());
    for killed in 0..whole.changes() {
        let memory = damaged();
        memory.kill_after(killed);
        if let Err(error) = open(&memory, Salvage) {
            assert_eq!(error.kind(), ErrorKind::JournalIo, "{error}");
        }
        let memory = memory.copy();
        assert_eq!(salvage(&memory), expected, "{killed}");
    }
}

#[test]
fn a_segment_of_another_journal_says_nothing_about_this_one() {
    let foreign = |first, salt| {
        Build::with(SegmentHeader {
            journal: JOURNAL + 1,
            salt,
            first,
            kept_from: first,
            codec: Plain::<u64>::new().id(),
            event_bytes: 8,
        })
        .records(3, first)
    };
    for other in [foreign(1_000_000, 1), foreign(0, 1), foreign(25, 1)] {
        let mut segments = three();
        segments[0].bytes[64 + FRAME_HEADER] ^= 1;
        let [a, b, c] = segments;
        let name = other.name();
        let memory = memory(&[a, b, c, other]);
        assert_eq!(salvage(&memory), (all_but(0..4), (0..4).collect()));
        assert_eq!(open(&memory, Strict).unwrap().0.id, JOURNAL);
        let there: Vec<String> = memory.files().into_iter().map(|file| file.0).collect();
        assert!(there.contains(&format!(".damaged-{name}")), "{there:?}");
    }
}
