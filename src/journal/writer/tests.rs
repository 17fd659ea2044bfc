//! What lies in the files after each thing that a writer is told, and after each that fails.

use super::*;
use crate::config::{RecoveryMode, Retention, SyncPolicy};
use crate::journal::codec::{Bytes, Plain};
use crate::journal::format::{ALIGN, parse_segment_name, records};
use crate::journal::positions::PositionStore;
use crate::journal::recovery::recover;
use crate::journal::testing::{Failing, Folder, Found, ID, all_records, found, recovered};
use crate::sequence::Sequence;
use std::iter::once;

fn config(sync: SyncPolicy) -> JournalConfig {
    let config = JournalConfig {
        segment_bytes: 4096,
        write_bytes_max: 512,
        sync,
        ..JournalConfig::default()
    };
    config.validate().expect("the tests' config is valid");
    config
}

fn nothing() -> Recovered {
    Recovered {
        id: ID,
        segments: Vec::new(),
        next: 0,
    }
}

fn open<C: Codec>(storage: &Arc<dyn Storage>, config: &JournalConfig, codec: C) -> Writer<C> {
    Writer::new(storage, config, &Arc::new(codec), &nothing()).expect("it opens")
}

#[test]
fn a_frame_is_these_bytes() {
    let folder = Folder::new();
    let storage = folder.disk();
    let mut writer = open(&storage, &config(SyncPolicy::Never), Bytes);
    let before = storage.unix_ns();
    writer.record(0, once(&b"ab".to_vec())).unwrap();
    writer.record(1, once(&Vec::new())).unwrap();
    assert_eq!(writer.written(), 0, "it is only recorded");
    writer.flush(2).unwrap();
    assert_eq!((writer.written(), writer.synced()), (2, 0));
    let found = found(&*storage).remove(0);
    let expected = SegmentHeader {
        journal: ID,
        salt: found.segment.salt,
        first: 0,
        kept_from: 0,
        codec: Bytes.id(),
        event_bytes: 0,
    };
    assert_eq!(found.header, expected);
    let payload = [2, 0, 0, 0, b'a', b'b', 0, 0, 0, 0];
    let frame = FrameHeader {
        content: Content::Records,
        bytes: 10,
        count: 2,
        first: 0,
        synced: 0,
        unix_ns: found.frames[0].0.unix_ns,
        payload_crc: payload_crc(expected.salt, &payload),
    };
    assert!((before..=storage.unix_ns()).contains(&frame.unix_ns));
    let mut bytes = expected.encode().to_vec();
    bytes.extend_from_slice(&frame.encode(expected.salt));
    bytes.extend_from_slice(&payload);
    bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
    let file = std::fs::read(storage.path(&found.segment.name())).unwrap();
    assert!(file.starts_with(&bytes), "{:?}", file.get(..bytes.len()));
    let is_reserved = file[bytes.len()..].iter().all(|byte| *byte == 0);
    assert!(is_reserved, "something comes after the frame");
}

#[test]
fn a_write_begins_when_enough_has_gathered() {
    let folder = Folder::new();
    let storage = folder.disk();
    let mut writer = open(&storage, &config(SyncPolicy::Never), Plain::<u64>::new());
    for sequence in 0..64 {
        assert_eq!(writer.written(), 0);
        writer.record(sequence, once(&(sequence * 3))).unwrap();
    }
    assert_eq!(writer.written(), 64, "512 bytes are there");
    writer.flush(64).unwrap();
    let (header, payload) = &found(&*storage)[0].frames[0];
    assert_eq!((header.count, payload.len()), (64, 512));
    let events = records(payload, 8).map(|record| record.expect("it is whole"));
    assert!(events.eq((0..64_u64).map(|event| (event * 3).to_le_bytes())));
}

#[test]
fn what_was_left_out_was_abandoned_and_watermarks_are_noted_once() {
    let folder = Folder::new();
    let storage = folder.disk();
    let mut writer = open(
        &storage,
        &config(SyncPolicy::EveryBatch),
        Plain::<u64>::new(),
    );
    writer.flush(0).unwrap();
    writer.note_synced().unwrap();
    writer.record(2, once(&2)).unwrap();
    writer.record(3, once(&3)).unwrap();
    writer.record(7, once(&7)).unwrap();
    assert_eq!(writer.written(), 7);
    writer.flush(9).unwrap();
    writer.flush(5).unwrap();
    assert_eq!((writer.written(), writer.synced()), (9, 0));
    writer.note_synced().unwrap();
    writer.sync().unwrap();
    assert_eq!(writer.synced(), 9);
    for _ in 0..2 {
        writer.note_synced().unwrap();
        writer.sync().unwrap();
    }
    writer.record(9, once(&9)).unwrap();
    writer.flush(10).unwrap();
    let found = &found(&*storage)[0];
    use Content::{Abandoned, Records, Watermark};
    let expected = [
        (Abandoned, 0, 2),
        (Records, 2, 4),
        (Abandoned, 4, 7),
        (Records, 7, 8),
        (Abandoned, 8, 9),
        (Watermark, 9, 9),
        (Records, 9, 10),
    ];
    assert_eq!(found.contents(), expected);
    let synced = found.frames.iter().map(|(header, _)| header.synced);
    assert!(synced.eq([0, 0, 0, 0, 0, 9, 9]));
    let error = writer.record(3, once(&3)).unwrap_err();
    assert!(error.to_string().contains("sequence 3"), "{error}");
}

#[test]
fn segments_follow_one_another_and_are_synced_in_order() {
    let interval = SyncPolicy::Interval(std::time::Duration::from_secs(1));
    for policy in [SyncPolicy::Never, SyncPolicy::EveryBatch, interval] {
        let folder = Folder::new();
        let (storage, calls) = Failing::over(folder.disk());
        let mut writer = open(&storage, &config(policy), Plain::<[u8; 100]>::new());
        for sequence in 0..200 {
            writer
                .record(sequence, once(&[sequence as u8; 100]))
                .unwrap();
        }
        writer.flush(200).unwrap();
        assert_eq!((writer.written(), writer.synced()), (200, 0));
        drop(calls.take());
        writer.sync().unwrap();
        assert_eq!(writer.synced(), 200);
        let found = found(&*storage);
        assert!(found.len() > 4, "{policy:?}");
        for found in &found {
            assert!(found.segment.bytes <= 4096);
            // a growing file, where nothing is prepared or it was not ready
            let grows = found.file_bytes == found.segment.bytes;
            assert!(grows || found.file_bytes == 4096 && policy != SyncPolicy::Never);
        }
        // segments are known by the names under which they were made, so only the order of kinds is seen
        let calls = calls.take();
        let of_writer: Vec<&str> = calls
            .iter()
            .map(|(verb, _)| *verb)
            .filter(|verb| verb.starts_with("sync"))
            .collect();
        let names = of_writer.iter().position(|verb| *verb == "sync directory");
        assert!(names >= Some(found.len()), "files first: {calls:?}");
        drop(writer);
        let left = storage.list().unwrap();
        assert!(left.iter().all(|name| !name.starts_with('.')), "{left:?}");
        let all = all_records(&*storage);
        assert!(
            all.into_iter()
                .eq((0..200).map(|sequence| (sequence, vec![sequence as u8; 100])))
        );
    }
}

#[test]
fn more_unsynced_segments_than_files_may_be_open() {
    let folder = Folder::new();
    let storage = folder.disk();
    let mut writer = open(
        &storage,
        &config(SyncPolicy::Never),
        Plain::<[u8; 2000]>::new(),
    );
    for sequence in 0..60 {
        writer.record(sequence, once(&[1; 2000])).unwrap();
    }
    assert_eq!(
        found(&*storage).len(),
        60,
        "two and their frames do not fit into one"
    );
    writer.sync().unwrap();
    assert_eq!(writer.synced(), 60);
}

#[test]
fn a_large_event_gets_a_long_segment() {
    for policy in [SyncPolicy::Never, SyncPolicy::EveryBatch] {
        let folder = Folder::new();
        let storage = folder.disk();
        let mut writer = open(&storage, &config(policy), Bytes);
        let sizes = [10_000, 5, 5000, 4000, 0, 9000, 20_000, 1];
        for (sequence, size) in sizes.into_iter().enumerate() {
            let event = vec![sequence as u8; size];
            writer.record(sequence as u64, once(&event)).unwrap();
        }
        writer.flush(sizes.len() as u64).unwrap();
        let usual = usual_bytes(512);
        assert!(writer.buffer.capacity() <= usual, "it was given back");
        writer.sync().unwrap();
        let all = all_records(&*storage);
        let expected = sizes.into_iter().enumerate();
        let expected =
            expected.map(|(sequence, size)| (sequence as u64, vec![sequence as u8; size]));
        assert!(all.into_iter().eq(expected), "{policy:?}");
    }
}

#[test]
fn what_is_too_much_for_a_frame_is_two() {
    let folder = Folder::new();
    let storage = folder.disk();
    let mut writer = open(&storage, &config(SyncPolicy::Never), Bytes);
    writer.payload_max = 600;
    writer.record(0, once(&vec![0; 400])).unwrap();
    writer.record(1, once(&vec![1; 596])).unwrap();
    assert_eq!(writer.written(), 2);
    writer.record(2, once(&vec![2; 10])).unwrap();
    let error = writer.record(3, once(&vec![3; 597])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
    assert!(error.to_string().contains("sequence 3"), "{error}");
    assert_eq!(writer.written(), 3);
    use Content::Records;
    let expected = [(Records, 0, 1), (Records, 1, 2), (Records, 2, 3)];
    assert_eq!(found(&*storage)[0].contents(), expected);
}

/// Fails in the way that the event says.
struct Failer(u32);

impl Codec for Failer {
    type Event = &'static str;
    fn id(&self) -> u64 {
        1
    }
    fn event_bytes(&self) -> u32 {
        self.0
    }
    fn encode(&self, event: &&'static str, bytes: &mut Vec<u8>) -> Result<(), StageError> {
        bytes.extend_from_slice(&[9; 4]);
        match *event {
            "error" => return Err("planted".into()),
            "panic" => panic!("planted"),
            "number" => std::panic::panic_any(1),
            "long" => bytes.push(9),
            "short" => bytes.truncate(bytes.len() - 1),
            "shrink" => bytes.clear(),
            _ => {}
        }
        Ok(())
    }
    fn decode(&self, _: &[u8]) -> Result<&'static str, StageError> {
        Ok("")
    }
}

#[test]
fn a_codec_that_fails_is_named_and_nothing_of_its_event_is_written() {
    for event_bytes in [0, 4] {
        for failure in ["error", "panic", "number", "long", "short", "shrink"] {
            if event_bytes == 0 && ["long", "short"].contains(&failure) {
                continue;
            }
            let folder = Folder::new();
            let storage = folder.disk();
            let mut writer = open(&storage, &config(SyncPolicy::Never), Failer(event_bytes));
            writer.record(0, once(&"fine")).unwrap();
            writer.record(1, once(&"fine")).unwrap();
            let error = writer.record(2, once(&failure)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Codec);
            assert!(error.to_string().contains("sequence 2"), "{error}");
            let told =
                !["error", "panic"].contains(&failure) || error.to_string().contains("planted");
            assert!(told, "{error}");
            // of a buffer that the codec has destroyed nothing is written
            let whole = if failure == "shrink" { 0 } else { 2 };
            assert_eq!(writer.written(), whole, "{failure}");
            let again = writer.flush(3).unwrap_err();
            assert_eq!(again.kind(), ErrorKind::Codec);
            assert!(again.to_string().contains("failed already"), "{again}");
            assert!(writer.record(3, once(&"fine")).is_err() && writer.sync().is_err());
            assert_eq!((writer.written(), writer.synced()), (whole, 0));
            let all = all_records(&*storage);
            assert!(
                all.into_iter()
                    .eq((0..whole).map(|sequence| (sequence, vec![9; 4])))
            );
        }
    }
}

#[test]
fn after_a_failed_call_nothing_more_is_tried() {
    for broken in ["write", "sync", "sync directory", "rename", "create"] {
        let folder = Folder::new();
        let (storage, calls) = Failing::over(folder.disk());
        let mut writer = open(&storage, &config(SyncPolicy::Never), Plain::<u64>::new());
        writer.record(0, once(&0)).unwrap();
        writer.flush(1).unwrap();
        writer.sync().unwrap();
        calls.fail(move |verb, _| verb == broken);
        let mut run = || {
            for sequence in writer.written().. {
                writer.record(sequence, once(&sequence))?;
                writer.flush(sequence + 1)?;
                if sequence % 100 == 99 {
                    writer.sync()?;
                }
            }
            Ok::<(), Error>(())
        };
        let error = run().expect_err("sooner or later");
        assert_eq!(error.kind(), ErrorKind::JournalIo);
        let path = folder.path.display().to_string();
        assert!(error.to_string().contains(&path), "{error}");
        assert!(error.to_string().contains("planted"), "{error}");
        for word in ["sequence ", "offset "] {
            assert!(error.to_string().contains(word), "{broken}: {error}");
        }
        if broken == "write" {
            assert!(
                error.to_string().contains("sequence 1 at offset 128"),
                "{error}"
            );
        }
        assert_eq!(writer.synced(), 1, "{broken}");
        let written = writer.written();
        calls.fail(|_, _| false);
        calls.take();
        for again in [
            writer.record(written, once(&0)),
            writer.flush(written + 1),
            writer.sync(),
            writer.note_synced(),
        ] {
            let again = again.unwrap_err().to_string();
            assert!(
                again.contains("failed already: ") && again.contains("planted"),
                "{again}"
            );
        }
        assert!(calls.take().is_empty(), "no call was made");
        assert_eq!((writer.written(), writer.synced()), (written, 1));
        assert_eq!(all_records(&*storage).len() as u64, written, "{broken}");
    }
}

#[test]
fn without_prepared_segments_nothing_is_lost() {
    for broken in ["create", "write", "sync", "sync directory"] {
        let folder = Folder::new();
        let (storage, calls) = Failing::over(folder.disk());
        let preparer = std::thread::current().id();
        calls.fail(move |verb, _| verb == broken && std::thread::current().id() != preparer);
        let mut config = config(SyncPolicy::EveryBatch);
        config.retention.bytes_max = Some(3 * 4096);
        let mut writer = open(&storage, &config, Plain::<u64>::new());
        for sequence in 0..4000 {
            writer.record(sequence, once(&sequence)).unwrap();
        }
        writer.flush(4000).unwrap();
        writer.sync().unwrap();
        drop(writer);
        let all = all_records(&*storage);
        let first = all[0].0;
        assert!(first > 0 && first < 4000, "{broken}: some are removed");
        assert!(
            all.into_iter()
                .eq((first..4000).map(|at| (at, at.to_le_bytes().to_vec())))
        );
    }
}

/// Each name is durably gone before the next one goes; `allowed`: by the header before that of the segment that grows, which is durable.
fn removed_in_order(calls: &[(&str, String)], allowed: bool) {
    // removed, or renamed to be used again
    let is_gone = |verb: &str, name: &str| {
        verb == "remove" && !name.starts_with('.') || verb == "rename" && name.starts_with(".spare")
    };
    let (mut names_synced, mut begun, mut removed) = (true, Vec::new(), 0);
    for (verb, name) in calls {
        match *verb {
            "create" => begun.push((name, false)),
            "sync" => {
                (begun.iter_mut().filter(|file| file.0 == name)).for_each(|file| file.1 = true)
            }
            "sync directory" => names_synced = true,
            "remove" | "rename" if is_gone(verb, name) => {
                assert!(names_synced, "{calls:?}");
                names_synced = false;
                removed += 1;
                assert!(!allowed || begun[begun.len() - 2].1, "{calls:?}");
            }
            _ => {}
        }
    }
    assert!(removed > 0);
}

#[test]
fn what_retention_allows_goes_one_segment_after_the_other() {
    for policy in [SyncPolicy::Never, SyncPolicy::EveryBatch] {
        let folder = Folder::new();
        let (storage, calls) = Failing::over(folder.disk());
        let mut config = config(policy);
        config.retention.bytes_max = Some(4 * 4096);
        let mut writer = open(&storage, &config, Plain::<u64>::new());
        let positions = PositionStore::on(folder.disk());
        let mut sequence = 0;
        let mut write = |writer: &mut Writer<_>, count: u64| {
            for at in sequence..sequence + count {
                writer.record(at, once(&at)).unwrap();
            }
            sequence += count;
            writer.flush(sequence).unwrap();
        };
        write(&mut writer, 10_000);
        let first = |storage: &dyn Storage| {
            let found = found(storage);
            let kept = found.iter().map(|found| found.header.kept_from).max();
            assert!(
                Some(found[0].segment.first) <= kept,
                "the front is known to be gone"
            );
            (found[0].segment.first, found.len())
        };
        removed_in_order(&calls.take(), policy == SyncPolicy::Never);
        let (kept, count) = first(&*storage);
        assert!(
            kept > 0 && (2..=4).contains(&count),
            "{policy:?}: {count} segments"
        );
        let pin = writer.pins().pin(kept);
        write(&mut writer, 5000);
        assert_eq!(first(&*storage).0, kept, "{policy:?}: somebody reads there");
        positions.store("slow", Sequence::new(kept)).unwrap();
        drop(pin);
        write(&mut writer, 5000);
        assert_eq!(
            first(&*storage).0,
            kept,
            "{policy:?}: somebody is still there"
        );
        calls.take();
        positions.remove("slow").unwrap();
        write(&mut writer, 5000);
        let (later, count) = first(&*storage);
        assert!(later > kept && count <= 4, "{policy:?}: {count} segments");
        // an older header allowed this already
        removed_in_order(&calls.take(), false);
        all_records(&*storage);
    }
}

#[test]
fn a_segment_that_cannot_be_removed_stays() {
    let folder = Folder::new();
    let (storage, calls) = Failing::over(folder.disk());
    let mut config = config(SyncPolicy::Never);
    config.retention = Retention {
        bytes_max: Some(4096),
        ..Retention::default()
    };
    let mut writer = open(&storage, &config, Plain::<u64>::new());
    calls.fail(|verb, _| verb == "remove");
    for sequence in 0..5000 {
        writer.record(sequence, once(&sequence)).unwrap();
    }
    assert_eq!(found(&*storage)[0].segment.first, 0);
    calls.fail(|_, _| false);
    for sequence in 5000..6000 {
        writer.record(sequence, once(&sequence)).unwrap();
    }
    assert_eq!(
        found(&*storage).len(),
        3,
        "two, and the one that is decided about next"
    );
}

#[test]
fn opening_again_goes_on_in_a_new_segment_that_says_what_is_durable() {
    for policy in [SyncPolicy::Never, SyncPolicy::EveryBatch] {
        let folder = Folder::new();
        let storage = folder.disk();
        for name in [".next-0", ".spare-1", "mine"] {
            storage.create(name).unwrap();
        }
        let codec = Arc::new(Plain::<u64>::new());
        for run in 0..4 {
            let before = recovered(&*storage);
            let mut writer = Writer::new(&storage, &config(policy), &codec, &before).unwrap();
            assert_eq!(
                (writer.written(), writer.synced()),
                (before.next, before.next)
            );
            // every second run records nothing
            if run % 2 == 0 {
                writer.record(before.next, once(&run)).unwrap();
                writer.flush(before.next + 1).unwrap();
            }
            writer.sync().unwrap();
            writer.note_synced().unwrap();
        }
        let found = found(&*storage);
        use Content::{Records, Watermark};
        let expected = [
            vec![(Records, 0, 1), (Watermark, 1, 1)],
            vec![(Watermark, 1, 1), (Records, 1, 2), (Watermark, 2, 2)],
            vec![(Watermark, 2, 2)],
        ];
        let contents: Vec<_> = found.iter().map(Found::contents).collect();
        assert_eq!(contents, expected, "empty segments are replaced");
        assert_eq!(found[2].frames[0].0.synced, 2);
        let mut names = storage.list().unwrap();
        names.retain(|name| parse_segment_name(name).is_none());
        assert_eq!(names, ["mine"]);
    }
}

#[test]
fn a_recycled_segment_shows_nothing_of_its_earlier_life() {
    let folder = Folder::new();
    let storage = folder.disk();
    let mut config = config(SyncPolicy::EveryBatch);
    config.retention.bytes_max = Some(4096);
    let mut writer = open(&storage, &config, Plain::<u64>::new());
    for sequence in 0..20_000 {
        writer.record(sequence, once(&sequence)).unwrap();
        if sequence % 64 == 63 {
            writer.sync().unwrap();
        }
    }
    writer.flush(20_000).unwrap();
    let all = all_records(&*storage);
    let first = all[0].0;
    assert!(
        all.into_iter()
            .eq((first..20_000).map(|at| (at, at.to_le_bytes().to_vec())))
    );
}

#[test]
fn after_a_clean_end_nothing_is_cut_of_a_recycled_file() {
    let folder = Folder::new();
    let storage = folder.disk();
    let mut config = config(SyncPolicy::EveryBatch);
    config.retention.bytes_max = Some(4096);
    let mut writer = open(&storage, &config, Bytes);
    for sequence in 0..2000 {
        writer.record(sequence, once(&vec![7; 40])).unwrap();
        if sequence % 32 == 31 {
            writer.sync().unwrap();
        }
    }
    writer.flush(2000).unwrap();
    writer.sync().unwrap();
    writer.close().unwrap();
    drop(writer);
    let (_, recovery) = recover(&storage, Bytes.id(), 0, RecoveryMode::Strict).unwrap();
    assert_eq!((recovery.next.get(), recovery.cut), (2000, None));
}
