//! What recovery makes of every damage.

use super::build::{Build, JOURNAL, memory, open, open_twice, read, three};
use super::memory::Memory;
use crate::config::RecoveryMode::Strict;
use crate::error::ErrorKind;
use crate::journal::codec::{Codec, Plain};
use crate::journal::format::{FRAME_HEADER, SEGMENT_HEADER, SegmentHeader, segment_name};
use crate::journal::recovery::recover;
use crate::journal::sim::{Plan, SimStorage};
use crate::journal::storage::Storage;
use crate::journal::testing::Failing;
use std::sync::Arc;

/// 0 to `end` without the abandoned ones.
fn below(end: u64) -> Vec<u64> {
    (0..end)
        .filter(|sequence| !(13..15).contains(sequence))
        .collect()
}

/// The frames below `synced` and where they lie, so that a test knows what must not be lost.
const SYNCED: u64 = 25;

#[test]
fn a_whole_journal_is_taken_as_it_is() {
    let memory = memory(&three());
    let (events, recovery) = open_twice(&memory).unwrap();
    assert_eq!(events, below(30));
    assert_eq!(
        (recovery.first.get(), recovery.next.get(), recovery.segments),
        (0, 30, 3)
    );
    assert_eq!(recovery.cut, None);
    let (recovered, _) = open(&memory, Strict).unwrap();
    assert_eq!(recovered.id, JOURNAL);
    assert_eq!(recovered.segments[2].newest_ns, 1_700_000_000_000_027_000);
}

/// A sync that fails may leave bytes that can be read and that no later sync writes.
#[test]
fn what_no_watermark_covers_is_written_again_and_nothing_else() {
    let codec = Plain::<u64>::new();
    let written = |segments: &[Build]| {
        let memory = memory(segments);
        let before = memory.files();
        let (storage, calls) = Failing::over(memory.storage());
        recover(&storage, codec.id(), codec.event_bytes(), Strict).unwrap();
        let all = memory.files();
        assert!(all.iter().zip(&before).all(|(after, before)| {
            before.1.starts_with(&after.1) // nothing but the zeros behind it went
        }));
        let calls = calls.take();
        let sync = |name: &str| {
            calls
                .iter()
                .rposition(|call| *call == ("sync", name.into()))
        };
        for (at, (verb, name)) in calls.iter().enumerate() {
            assert!(*verb != "write" || sync(name) > Some(at), "{calls:?}");
        }
        let writes = calls.into_iter().filter(|(verb, _)| *verb == "write");
        writes.map(|(_, name)| name).collect::<Vec<_>>()
    };
    let [first, second, third] = three();
    let last = third.name();
    assert_eq!(written(&three()), [last]);
    assert_eq!(written(&[first, second, third.watermark(30)]), [""; 0]);
    // the watermark of the last one covers a part of the one before it
    let [first, second, _] = three();
    let end = Build::new(20, 0xa3).records(2, 17);
    let (before, end_name) = (second.name(), end.name());
    let names = [before.clone(), end_name.clone(), end_name.clone()];
    assert_eq!(written(&[first, second, end]), names, "and a header");
}

#[test]
fn an_empty_directory_is_a_new_journal() {
    let memory = Memory::default();
    memory.put("notes.txt", b"x");
    memory.put(".next-1", b"x");
    memory.put(".spare-1", b"x");
    let (recovered, recovery) = open(&memory, Strict).unwrap();
    assert_eq!((recovered.next, recovered.segments.len()), (0, 0));
    assert_eq!(recovery.ignored, ["notes.txt"]);
    let left: Vec<String> = memory.files().into_iter().map(|(name, _)| name).collect();
    assert_eq!(left, [".spare-1", "notes.txt"]);
    assert_ne!(recovered.id, open(&memory, Strict).unwrap().0.id, "random");
}

/// The last segment's file ends after each of its bytes.
#[test]
fn a_tail_may_be_torn_at_every_byte() {
    let [first, second, third] = three();
    let (begins, ends) = (third.frames.clone(), third.ends());
    let sequences = [25, 25, 27, 30];
    for len in 0..third.bytes.len() {
        let torn = memory(&[Build::new(0, 1)]);
        torn.take(&segment_name(0, 1));
        for whole in [&first, &second] {
            torn.put(&whole.name(), &whole.bytes);
        }
        torn.put(&third.name(), &third.bytes[..len]);
        let whole = ends.iter().take_while(|end| **end <= len).count();
        // the last frame's zeros are no part of it
        let whole = if len >= begins[3] + FRAME_HEADER + 24 + 8 {
            4
        } else {
            whole
        };
        let next = if whole == 0 { 20 } else { sequences[whole - 1] };
        let known = if len >= begins[2] + FRAME_HEADER || len >= ends[1] {
            SYNCED
        } else {
            20
        };
        match open_twice(&torn) {
            Ok((events, recovery)) => {
                assert!(next >= known, "{len}");
                assert_eq!(events, below(next), "{len}");
                assert_eq!(recovery.next.get(), next, "{len}");
            }
            Err(error) => panic!("{len}: {error}"),
        }
    }
}

#[test]
fn zeros_behind_or_over_the_tail() {
    for from in 0..3 {
        let [first, second, mut third] = three();
        let begin = third.frames[from + 1];
        third.bytes[begin..].fill(0);
        let (events, recovery) = open_twice(&memory(&[first, second, third])).unwrap();
        assert_eq!(events, below([25, 25, 27][from]));
        assert_eq!(recovery.cut, None, "nothing but zeros was cut");
    }
}

/// Each byte is flipped in turn: either it is refused, with the place, or nothing that was durable is missing, and whatever is there is right.
#[test]
fn every_flipped_byte_is_found_or_does_not_matter() {
    let original = three();
    let mut refused = 0;
    for segment in 0..3 {
        for at in 0..original[segment].bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = three();
                damaged[segment].bytes[at] ^= flip;
                let memory = memory(&damaged);
                let before = memory.files();
                match open_twice(&memory) {
                    Ok((events, recovery)) => {
                        let next = recovery.next.get();
                        assert!(next >= SYNCED, "{segment} {at}: nothing durable is lost");
                        assert_eq!(events, below(next), "{segment} {at}");
                        if next < 30 {
                            let cut = recovery.cut.expect("it is reported");
                            assert_eq!(
                                (cut.segment, cut.sequence.get()),
                                (damaged[2].name(), next)
                            );
                            assert!(at as u64 >= cut.offset && segment == 2);
                        }
                    }
                    Err(error) => {
                        refused += 1;
                        assert_eq!(error.kind(), ErrorKind::JournalCorrupt);
                        assert_eq!(memory.files(), before, "nothing was changed");
                        let text = error.to_string();
                        assert!(text.contains(&damaged[segment].name()), "{text}");
                        let frames = &damaged[segment].frames;
                        let begin = frames
                            .iter()
                            .rfind(|begin| **begin <= at)
                            .copied()
                            .unwrap_or(0);
                        assert!(
                            text.contains(&format!("at offset {begin}, sequence ")),
                            "{at}: {text}"
                        );
                    }
                }
            }
        }
    }
    assert!(refused > 1000, "{refused}");
}

#[test]
fn a_missing_segment_is_found() {
    for (missing, is_refused) in [(0, true), (1, true), (2, false)] {
        let segments = three();
        let memory = memory(&segments);
        memory.take(&segments[missing].name());
        match open_twice(&memory) {
            Ok((events, _)) => {
                assert!(!is_refused);
                assert_eq!(events, below(20), "nobody can know of what was behind");
            }
            Err(error) => {
                assert!(is_refused);
                assert_eq!(error.kind(), ErrorKind::JournalCorrupt);
            }
        }
    }
}

#[test]
fn a_later_segment_behind_an_unsynced_gap_is_removed() {
    let [first, ..] = three();
    let later = Build::new(12, 5).records(3, 4);
    let (events, recovery) = open_twice(&memory(&[first, later])).unwrap();
    assert_eq!(events, below(10));
    let cut = recovery.cut.unwrap();
    assert_eq!(
        (cut.sequence.get(), cut.bytes),
        (10, (SEGMENT_HEADER + FRAME_HEADER + 32) as u64)
    );
}

#[test]
fn doubles_and_overlaps_are_refused() {
    for double in [
        Build::new(10, 7).records(10, 10),
        Build::new(10, 0xff).records(3, 0),
        Build::new(15, 7).records(5, 0),
        Build::new(0, 7).records(30, 0),
    ] {
        let [first, second, third] = three();
        let memory = memory(&[first, second, third, double]);
        let before = memory.files();
        let error = open(&memory, Strict).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::JournalCorrupt);
        assert_eq!(memory.files(), before);
    }
}

#[test]
fn segments_that_were_made_and_never_used_are_removed() {
    for (first, salt) in [
        (10, 0),
        (10, 0xff),
        (20, 0),
        (20, 0xff),
        (0, 0),
        (0, 0xff),
        (30, 1),
    ] {
        let [one, two, three] = three();
        let husk = Build::new(first, salt).zeros(100);
        let name = husk.name();
        let memory = memory(&[one, two, three, husk]);
        let (events, recovery) = open_twice(&memory).unwrap();
        assert_eq!((events, recovery.cut), (below(30), None), "{name}");
        assert!(memory.files().iter().all(|(other, _)| *other != name));
    }
}

#[test]
fn empty_and_garbage_files() {
    let garbage: Vec<u8> = (0..5000_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    for bytes in [&[][..], &[0; 40], &[0; 4096], &garbage] {
        // at the end it may be a segment that was never synced; elsewhere the next segment shows what it is
        let end = memory(&three());
        end.put(&segment_name(30, 9), bytes);
        assert_eq!(open_twice(&end).unwrap().0, below(30));
        let alone = Memory::with(&[(segment_name(0, 9), bytes.to_vec())]);
        assert_eq!(open_twice(&alone).unwrap().0, []);
        let alone = Memory::with(&[(segment_name(7, 9), bytes.to_vec())]);
        assert_eq!(
            open(&alone, Strict).unwrap_err().kind(),
            ErrorKind::JournalCorrupt
        );
        for segment in 0..3 {
            let segments = three();
            let damaged = memory(&segments);
            damaged.put(&segments[segment].name(), bytes);
            match open_twice(&damaged) {
                Ok((events, _)) => {
                    assert_eq!((segment, events), (2, below(20)), "no trace of it is left")
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::JournalCorrupt),
            }
        }
    }
}

#[test]
fn the_first_record_may_be_the_damaged_one() {
    let payload = SEGMENT_HEADER + FRAME_HEADER;
    let mut unsynced = Build::new(0, 1).records(2, 0).records(2, 0);
    unsynced.bytes[payload] ^= 1;
    let (events, recovery) = open_twice(&memory(&[unsynced])).unwrap();
    assert_eq!(events, []);
    assert_eq!(recovery.cut.unwrap().sequence.get(), 0);

    let mut synced = Build::new(0, 1).records(2, 0).records(2, 1);
    synced.bytes[payload] ^= 1;
    let error = open(&memory(&[synced]), Strict).unwrap_err().to_string();
    assert!(
        error.contains("at offset 64, sequence 0: the payload"),
        "{error}"
    );
    assert!(error.contains("below 1 had been durable"), "{error}");
}

#[test]
fn frames_of_a_files_earlier_life_do_not_come_back() {
    let earlier = Build::new(0, 0xdead)
        .records(4, 0)
        .records(4, 4)
        .records(4, 8)
        .records(4, 12);
    let mut recycled = Build::new(0, 1).records(4, 0);
    recycled
        .bytes
        .extend_from_slice(&earlier.bytes[recycled.bytes.len()..]);
    let (events, recovery) = open_twice(&memory(&[recycled])).unwrap();
    assert_eq!(events, below(4), "and their `synced` counts for nothing");
    assert!(recovery.cut.is_some());
}

#[test]
fn what_retention_removed_is_not_missing() {
    let kept = || {
        [
            Build::kept_from(10, 2, 10).records(5, 10),
            Build::kept_from(15, 3, 10).records(5, 15),
        ]
    };
    let (events, recovery) = open_twice(&memory(&kept())).unwrap();
    assert_eq!((events, recovery.first.get()), ((10..20).collect(), 10));

    // one removal was forgotten by the system, a later one was not
    let [one, two] = kept();
    let old = Build::new(0, 1).records(5, 0);
    let forgotten = memory(&[old, one, two]);
    let (events, recovery) = open_twice(&forgotten).unwrap();
    assert_eq!((events, recovery.first.get()), ((10..20).collect(), 10));
    assert_eq!(forgotten.files().len(), 2);

    // still there though nobody needs them
    let [one, two] = kept();
    let old = Build::new(0, 1).records(10, 0);
    assert_eq!(
        open_twice(&memory(&[old, one, two])).unwrap().0,
        (0..20).collect::<Vec<_>>()
    );

    // damage in them is damage
    let [one, two] = kept();
    let mut old = Build::new(0, 1).records(4, 0).records(6, 0);
    old.bytes[70] ^= 1;
    assert_eq!(
        open(&memory(&[old, one, two]), Strict).unwrap_err().kind(),
        ErrorKind::JournalCorrupt
    );

    let late = Build::kept_from(15, 3, 10).records(5, 15);
    let error = open(&memory(&[late]), Strict).unwrap_err().to_string();
    assert!(
        error.contains("sequence 15") && error.contains("from sequence 10 on, are missing"),
        "{error}"
    );
}

#[test]
fn the_numbers_go_on_though_all_is_cut() {
    let mut only = Build::kept_from(10, 2, 10).records(5, 10);
    only.bytes[64] ^= 1;
    let memory = memory(&[only]);
    for _ in 0..2 {
        let (recovered, _) = open(&memory, Strict).unwrap();
        assert_eq!(
            (recovered.next, recovered.id, recovered.segments.len()),
            (10, JOURNAL, 1)
        );
    }
    let next = Build::kept_from(10, 1, 10).records(2, 10);
    memory.put(&next.name(), &next.bytes);
    assert_eq!(open_twice(&memory).unwrap().0, [10, 11]);
    assert_eq!(memory.files().len(), 1, "the other had no frame");
}

#[test]
fn another_codec_size_version_or_journal() {
    let header = SegmentHeader {
        journal: JOURNAL,
        salt: 1,
        first: 0,
        kept_from: 0,
        codec: Plain::<u64>::new().id(),
        event_bytes: 8,
    };
    for other in [
        SegmentHeader { codec: 1, ..header },
        SegmentHeader {
            event_bytes: 0,
            ..header
        },
    ] {
        let error = open(&memory(&[Build::with(other)]), Strict).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::JournalMismatch, "{error}");
    }
    let mut newer = header.encode();
    newer[8] = 2;
    let crc = crc32c::crc32c(&newer[..60]);
    newer[60..].copy_from_slice(&crc.to_le_bytes());
    let error = open(
        &Memory::with(&[(segment_name(0, 1), newer.to_vec())]),
        Strict,
    )
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::JournalMismatch, "{error}");
    let [first, ..] = three();
    let foreign = Build::with(SegmentHeader {
        first: 10,
        journal: 5,
        ..header
    })
    .records(2, 0);
    let error = open(&memory(&[first, foreign]), Strict).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::JournalCorrupt, "{error}");
}

/// It is killed after each change that it makes, and opened again; and again.
#[test]
fn recovery_may_be_killed_at_any_moment() {
    let damaged = || {
        let [first, second, mut third] = three();
        let begin = third.frames[2] + FRAME_HEADER;
        third.bytes[begin] ^= 1;
        let fourth = Build::new(30, 0xa4).records(5, 25).records(5, 25);
        let fifth = Build::new(40, 0xa5).records(5, 25).zeros(64);
        let memory = memory(&[first, second, third, fourth, fifth]);
        memory.put(".next-1", b"unfinished");
        memory
    };
    let whole = damaged();
    let (recovered, _) = open(&whole, Strict).unwrap();
    assert_eq!(read(&whole, &recovered), below(25));
    let changes = whole.changes();
    assert!(changes > 8);
    for killed in 0..changes {
        let memory = damaged();
        memory.kill_after(killed);
        assert_eq!(
            open(&memory, Strict).unwrap_err().kind(),
            ErrorKind::JournalIo
        );
        let memory = memory.copy();
        for again in 0..changes {
            let memory = memory.copy();
            memory.kill_after(again);
            let _ = open(&memory, Strict);
            let memory = memory.copy();
            assert_eq!(
                open_twice(&memory).unwrap().0,
                below(25),
                "{killed} {again}"
            );
            assert_eq!(memory.files(), whole.files());
        }
    }
}

/// What a header allows to be missing is there for as long as the header itself may get lost.
#[test]
fn the_front_is_removed_only_once_the_header_that_allows_it_is_durable() {
    let codec = Plain::<u64>::new();
    let recovers = |sim: &SimStorage| {
        let storage: Arc<dyn Storage> = Arc::new(sim.clone());
        recover(&storage, codec.id(), codec.event_bytes(), Strict)
    };
    // the last frame of the first segment was in a sync that failed, and the system has dropped it; those of the last it still has
    let left = Build::new(0, 1).records(2, 0);
    let next = Build::new(4, 2).records(2, 2);
    let allows = Build::kept_from(6, 3, 4);
    let mut removed = 0;
    for seed in 0..600 {
        let sim = SimStorage::new(seed);
        for (build, is_synced) in [(&left, true), (&next, true), (&allows, false)] {
            let file = sim.create(&build.name()).unwrap();
            file.write_at(&build.bytes, 0).unwrap();
            if is_synced {
                file.sync().unwrap();
            }
        }
        Storage::sync(&sim).unwrap();
        sim.plan(Plan {
            power_off: Some(seed % 60),
            ..Plan::default()
        });
        let done = recovers(&sim);
        let after = sim.crash(seed);
        let (recovered, _) = recovers(&after).unwrap_or_else(|error| {
            panic!("power failed in call {}, seed {seed}: {error}", seed % 60)
        });
        if let Ok((reported, _)) = done {
            assert_eq!(recovered.next, reported.next);
            removed += 1;
        }
    }
    assert!((20..580).contains(&removed), "{removed}");
}
