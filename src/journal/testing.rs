//! What the tests of the journal share: a folder of their own, a storage that fails when told to, and what lies in segments.

use crate::journal::Recovered;
use crate::journal::format::{
    Content, FRAME_HEADER, FrameHeader, SEGMENT_HEADER, SegmentHeader, parse_segment_name,
    payload_crc, records,
};
use crate::journal::segment::Segment;
use crate::journal::storage::{Disk, File, Lock, Storage, read_full};
use crate::sync::ring_number;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::sync::Mutex;

/// A new folder, removed with everything in it.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let number = ring_number();
        let name = format!("ringway-journal-{}-{number}", process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a folder can be made");
        Self { path }
    }

    pub(crate) fn disk(&self) -> Arc<dyn Storage> {
        Arc::new(Disk::open(&self.path).expect("it is there"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// What a [`Failing`] storage was asked to do: the verb and the file's name.
type Call = (&'static str, String);

/// A storage that notes every change that is asked for, and fails those that `fails` says.
pub(crate) struct Failing {
    inner: Arc<dyn Storage>,
    calls: Arc<Calls>,
}

type Fails = Box<dyn Fn(&str, &str) -> bool + Send>;

pub(crate) struct Calls {
    pub(crate) made: Mutex<Vec<Call>>,
    fails: Mutex<Fails>,
    /// What it says; `None`: what there is.
    room: Mutex<Option<u64>>,
}

impl Calls {
    /// From now on these calls fail.
    pub(crate) fn fail(&self, which: impl Fn(&str, &str) -> bool + Send + 'static) {
        *self.fails.lock().expect("no test panics in it") = Box::new(which);
    }

    /// From now on there are so many bytes of room, it says.
    pub(crate) fn room(&self, bytes: u64) {
        *self.room.lock().expect("no test panics in it") = Some(bytes);
    }

    /// What was done since the last time.
    pub(crate) fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.made.lock().expect("no test panics in it"))
    }

    fn check(&self, verb: &'static str, name: &str) -> io::Result<()> {
        let mut made = self.made.lock().expect("no test panics in it");
        made.push((verb, name.to_owned()));
        if (self.fails.lock().expect("no test panics in it"))(verb, name) {
            return Err(io::Error::other("planted"));
        }
        Ok(())
    }
}

impl Failing {
    pub(crate) fn over(inner: Arc<dyn Storage>) -> (Arc<dyn Storage>, Arc<Calls>) {
        let calls = Arc::new(Calls {
            made: Mutex::default(),
            fails: Mutex::new(Box::new(|_, _| false)),
            room: Mutex::default(),
        });
        let storage = Arc::new(Self {
            inner,
            calls: calls.clone(),
        });
        (storage, calls)
    }

    fn file(&self, file: Arc<dyn File>, name: &str) -> Arc<dyn File> {
        Arc::new(FailingFile {
            inner: file,
            name: name.to_owned(),
            calls: self.calls.clone(),
        })
    }
}

impl Storage for Failing {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.calls.check("create", name)?;
        Ok(self.file(self.inner.create(name)?, name))
    }
    fn open(&self, name: &str, writable: bool) -> io::Result<Arc<dyn File>> {
        Ok(self.file(self.inner.open(name, writable)?, name))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.calls.check("rename", to)?;
        self.inner.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.calls.check("remove", name)?;
        self.inner.remove(name)
    }
    fn sync(&self) -> io::Result<()> {
        self.calls.check("sync directory", "")?;
        self.inner.sync()
    }
    fn room(&self) -> io::Result<u64> {
        let said = *self.calls.room.lock().expect("no test panics in it");
        said.map_or_else(|| self.inner.room(), Ok)
    }
    fn lock(&self) -> io::Result<Lock> {
        self.inner.lock()
    }
    fn path(&self, name: &str) -> PathBuf {
        self.inner.path(name)
    }
}

struct FailingFile {
    inner: Arc<dyn File>,
    /// The one that it was opened with.
    name: String,
    calls: Arc<Calls>,
}

impl File for FailingFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(bytes, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.calls.check("write", &self.name)?;
        self.inner.write_at(bytes, offset)
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.calls.check("truncate", &self.name)?;
        self.inner.truncate(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.calls.check("sync", &self.name)?;
        self.inner.sync()
    }
}

/// Of the journals in tests.
pub(crate) const ID: u64 = 77;

/// A segment as it lies on the disk.
pub(crate) struct Found {
    pub(crate) header: SegmentHeader,
    pub(crate) segment: Segment,
    pub(crate) frames: Vec<(FrameHeader, Vec<u8>)>,
    pub(crate) file_bytes: u64,
}

impl Found {
    /// How each frame begins and ends, and what it is.
    pub(crate) fn contents(&self) -> Vec<(Content, u64, u64)> {
        let frames = self.frames.iter().map(|(header, _)| header);
        let content = |header: &FrameHeader| (header.content, header.first, header.range().end);
        frames.map(content).collect()
    }
}

/// Every segment by name, with all frames that follow one another.
pub(crate) fn found(storage: &dyn Storage) -> Vec<Found> {
    let mut names = storage.list().expect("it can be listed");
    names.sort();
    let segments = names.iter().filter_map(|name| {
        let (first, salt) = parse_segment_name(name)?;
        let file = storage.open(name, false).expect("it is there");
        let file_bytes = file.len().expect("it has a length");
        let mut bytes = vec![0; file_bytes as usize];
        read_full(&*file, &mut bytes, 0).expect("it can be read");
        let header = bytes.first_chunk::<SEGMENT_HEADER>().expect("a header");
        let header = SegmentHeader::decode(header).expect("it is whole");
        assert_eq!(
            (header.first, header.salt, header.journal),
            (first, salt, ID)
        );
        let (mut at, mut end, mut newest_ns) = (SEGMENT_HEADER, first, 0);
        let mut frames = Vec::new();
        while let Some(header) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
            let Some(header) = FrameHeader::decode(header, salt) else {
                break;
            };
            let payload = &bytes[at + FRAME_HEADER..][..header.bytes as usize];
            assert_eq!(header.payload_crc, payload_crc(salt, payload));
            assert_eq!(header.first, end, "frames follow one another");
            frames.push((header, payload.to_vec()));
            at += header.frame_bytes() as usize;
            (end, newest_ns) = (header.range().end, header.unix_ns);
        }
        let segment = Segment {
            salt,
            first,
            end,
            bytes: at as u64,
            newest_ns,
        };
        Some(Found {
            header,
            segment,
            frames,
            file_bytes,
        })
    });
    segments.collect()
}

/// What a recovery finds.
pub(crate) fn recovered(storage: &dyn Storage) -> Recovered {
    let segments: Vec<Segment> = found(storage)
        .into_iter()
        .map(|found| found.segment)
        .collect();
    let follows = segments.windows(2).all(|pair| pair[0].end == pair[1].first);
    assert!(follows, "{segments:?}");
    Recovered {
        id: ID,
        next: segments.last().map_or(0, |segment| segment.end),
        segments,
    }
}

/// Every record with its sequence.
pub(crate) fn all_records(storage: &dyn Storage) -> Vec<(u64, Vec<u8>)> {
    let mut all = Vec::new();
    recovered(storage);
    for found in found(storage) {
        for (header, payload) in found.frames {
            let records = records(&payload, found.header.event_bytes);
            let records = records.map(|record| record.expect("it is whole").to_vec());
            all.extend((header.first..).zip(records));
        }
    }
    all
}
