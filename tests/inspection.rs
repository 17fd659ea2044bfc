//! Looking at a journal beside its writer.

use ringway::{
    BusConfig, FileKind, Inspection, Journal, JournalConfig, Plain, Retention, Sequence,
    SyncPolicy, Topology,
};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A directory that is gone when the test is over.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let name = format!("ringway-inspection-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Also when an assertion fails.
struct SetWhenDropped<'f>(&'f AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Frames that are written and synced, segments that are begun, removed and used again while they are read: nothing of it is damage.
#[test]
fn a_journal_is_whole_while_it_is_written() {
    for (sync, segment_bytes) in [
        (SyncPolicy::EveryBatch, 4096),
        (SyncPolicy::Never, 4096),
        (SyncPolicy::EveryBatch, 1 << 20),
    ] {
        let directory = Directory::new(&format!("{sync:?}-{segment_bytes}"));
        let config = JournalConfig {
            sync,
            segment_bytes,
            write_bytes_max: 512,
            retention: Retention {
                bytes_max: Some(4 * segment_bytes),
                ..Retention::default()
            },
            ..JournalConfig::default()
        };
        let journal = Journal::open(&directory.0, config, Plain::<u64>::new()).unwrap();
        let mut topology = Topology::single(BusConfig::default(), || 0).unwrap();
        topology.stage("journal").journal(journal);
        let (bus, mut producer) = topology.start().unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let _done = SetWhenDropped(&done);
                let begun = Instant::now();
                let (mut looks, mut next) = (0, Sequence::new(0));
                while begun.elapsed() < Duration::from_secs(2) || looks == 0 {
                    let inspection = Inspection::open(&directory.0).unwrap();
                    let mut frames = 0;
                    let found = inspection.verify_with(|_, _| frames += 1).unwrap();
                    assert!(
                        found.first <= found.next && next <= found.next,
                        "{found:?}, {next}, {frames}"
                    );
                    assert!(found.lost.is_empty() && found.ignored.is_empty());
                    (next, looks) = (found.next, looks + 1);
                }
            });
            for number in 0.. {
                producer.publish(number).unwrap();
                if done.load(Ordering::Acquire) {
                    break;
                }
            }
        });
        drop(producer);
        bus.shutdown().unwrap();
        let inspection = Inspection::open(&directory.0).unwrap();
        assert_eq!(inspection.verify().unwrap().cut, None);
    }
}

#[test]
fn files_beside_the_segments_are_told_by_name() {
    let directory = Directory::new("files");
    let config = JournalConfig::default();
    let journal = Journal::open(&directory.0, config, Plain::<u64>::new()).unwrap();
    journal
        .positions()
        .store("reader", Sequence::new(0))
        .unwrap();
    drop(journal);
    for name in [".damaged-x", ".spare-x", ".strange", "notes.txt"] {
        std::fs::write(directory.0.join(name), "12345").unwrap();
    }
    let inspection = Inspection::open(&directory.0).unwrap();
    let files = inspection.other_files().unwrap();
    let kinds: Vec<(&str, FileKind)> = files
        .iter()
        .filter(|file| file.kind != FileKind::Unfinished)
        .map(|file| (&*file.name, file.kind))
        .collect();
    assert_eq!(
        kinds,
        [
            (".damaged-x", FileKind::Damaged),
            (".lock", FileKind::Lock),
            (".position-reader", FileKind::Position),
            (".spare-x", FileKind::Spare),
            (".strange", FileKind::Hidden),
            ("notes.txt", FileKind::Foreign)
        ]
    );
    let notes = files.iter().find(|file| file.name == "notes.txt").unwrap();
    assert_eq!(notes.bytes, 5);
    assert_eq!(inspection.positions().names().unwrap(), ["reader"]);
    assert_eq!(inspection.verify().unwrap().ignored, ["notes.txt"]);
}

/// What is written when a journal is opened is no event: it is not missed.
#[test]
fn a_journal_that_recorded_nothing_has_nothing_to_cut() {
    let directory = Directory::new("nothing");
    for events in [0, 3, 0, 0] {
        let config = JournalConfig::default();
        let journal = Journal::open(&directory.0, config, Plain::<u64>::new()).unwrap();
        assert_eq!(journal.recovery().cut, None);
        if events > 0 {
            let mut topology = Topology::single(BusConfig::default(), || 0).unwrap();
            topology.stage("journal").journal(journal);
            let (bus, mut producer) = topology.start().unwrap();
            producer.publish_slice(&vec![7; events]).unwrap();
            drop(producer);
            bus.shutdown().unwrap();
        }
        let inspection = Inspection::open(&directory.0).unwrap();
        assert_eq!(inspection.verify().unwrap().cut, None);
    }
}
