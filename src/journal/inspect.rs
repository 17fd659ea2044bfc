//! Looking at a journal's files without knowing its events.

use crate::error::Error;
use crate::journal::examine::examine;
use crate::journal::format::{Content, FrameHeader, parse_segment_name, records, segment_name};
use crate::journal::names::{DAMAGED, LOCK, NEXT, POSITION, SPARE};
use crate::journal::positions::PositionStore;
use crate::journal::reader::open_directory;
use crate::journal::recovery::{Recovery, list_segments};
use crate::journal::replay::time;
use crate::journal::scan::{Frames, Shape, corrupt, io_error, segment_header};
use crate::journal::storage::Storage;
use crate::sequence::{Sequence, SequenceRange};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// A journal's files as they are, for tools: which segments, what their headers say, which frames. It changes nothing, takes no lock, and needs no codec.
///
/// ```
/// # let directory = std::env::temp_dir().join(format!("ringway-doc-inspect-{}", std::process::id()));
/// # let path = directory.as_path();
/// # let journal = ringway::Journal::open(path, ringway::JournalConfig::default(), ringway::Bytes)?;
/// use ringway::Inspection;
/// let inspection = Inspection::open(path)?;
/// for segment in inspection.segments() {
///     let mut frames = inspection.frames(segment)?;
///     while let Some(frame) = frames.next_frame()? {
///         println!("{} {:?} {:?}", frame.offset, frame.kind, frame.sequences);
///     }
///     println!("ends at {} because {}", frames.offset(), frames.end_reason());
/// }
/// let would_be = inspection.verify()?;
/// println!("opening it would go on with {}", would_be.next);
/// # drop(journal);
/// # let _ = std::fs::remove_dir_all(directory);
/// # Ok::<(), ringway::Error>(())
/// ```
pub struct Inspection {
    storage: Arc<dyn Storage>,
    segments: Vec<SegmentInfo>,
}

/// A segment's file, and what its header says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// The file.
    pub name: String,
    /// The sequence with which it begins.
    pub first: Sequence,
    /// Of the file, which may be longer than its frames.
    pub file_bytes: u64,
    /// What is wrong with the header; all fields below are 0 then.
    pub damage: Option<String>,
    /// The journal's id.
    pub journal: u64,
    /// The codec's id.
    pub codec: u64,
    /// Of every event; 0: it varies.
    pub event_bytes: u32,
    /// Earlier sequences were not to be kept any longer.
    pub kept_from: Sequence,
    salt: u64,
}

/// What the sequences of a frame are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameKind {
    /// Recorded events.
    Records,
    /// Abandoned by a producer.
    Abandoned,
    /// Lost to damage: the journal was salvaged.
    Lost,
    /// None: the frame only says what was durable.
    Watermark,
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameInfo {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length with header and padding.
    pub bytes: u64,
    /// What its sequences are.
    pub kind: FrameKind,
    /// Its sequences.
    pub sequences: SequenceRange,
    /// When it was written, everything below was durable.
    pub synced: Sequence,
    /// When it was written.
    pub time: SystemTime,
}

/// A file in a journal's directory that is no segment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OtherFile {
    /// The file.
    pub name: String,
    /// What it is there for.
    pub kind: FileKind,
    /// Its length.
    pub bytes: u64,
}

/// What a file that is no segment is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// Locked by the writer, as long as there is one.
    Lock,
    /// A segment that is being made.
    Unfinished,
    /// A segment that retention took out: its file is used again.
    Spare,
    /// A damaged segment, as it was before the journal was salvaged. It is never removed.
    Damaged,
    /// The position of a named consumer: see [`Inspection::positions`].
    Position,
    /// Another one whose name begins with a dot, as those that a journal makes do.
    Hidden,
    /// Not the journal's.
    Foreign,
}

impl Inspection {
    /// Reads the directory and all headers.
    ///
    /// # Errors
    /// [`JournalIo`](crate::ErrorKind::JournalIo): they cannot be read. [`JournalMismatch`](crate::ErrorKind::JournalMismatch): of another version.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::with_storage(open_directory(path.as_ref())?)
    }

    pub(crate) fn with_storage(storage: Arc<dyn Storage>) -> Result<Self, Error> {
        let mut listed = list_segments(&*storage)?;
        loop {
            let segments = listed.iter().map(|segment| look_at(&*storage, *segment));
            let segments = segments.collect::<Result<_, _>>();
            let before = std::mem::replace(&mut listed, list_segments(&*storage)?);
            // one that cannot be read may have been removed since it was listed
            if segments.is_ok() || listed == before {
                let segments = segments?;
                return Ok(Self { storage, segments });
            }
        }
    }

    /// By first sequence.
    #[must_use]
    pub fn segments(&self) -> &[SegmentInfo] {
        &self.segments
    }

    /// The frames of a segment.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn frames(&self, segment: &SegmentInfo) -> Result<FrameWalk, Error> {
        let file = self.storage.open(&segment.name, false);
        let whole = self
            .segments
            .iter()
            .find(|segment| segment.damage.is_none());
        let event_bytes = whole.map_or(0, |whole| whole.event_bytes);
        let frames =
            file.and_then(|file| Frames::new(file, segment.first.get(), segment.salt, event_bytes));
        let frames =
            frames.map_err(|error| io_error(&*self.storage, &segment.name, "read it", error))?;
        let storage = self.storage.clone();
        Ok(FrameWalk {
            storage,
            name: segment.name.clone(),
            event_bytes,
            frames,
            end_reason: String::new(),
        })
    }

    /// What [`Journal::open`](crate::Journal::open) would find: all frames are checked, nothing is changed.
    ///
    /// Beside a running writer it is what was there at one moment of the call, also if segments come and go meanwhile.
    ///
    /// # Errors
    /// What it would fail with. [`JournalIo`](crate::ErrorKind::JournalIo) too if segments come and go all the time.
    pub fn verify(&self) -> Result<Recovery, Error> {
        self.verify_with(|_, _| {})
    }

    /// The same; `seen` is called with every whole frame that is found, and the name of its segment: to count, and to tell how far it is.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub fn verify_with(&self, mut seen: impl FnMut(&str, &FrameInfo)) -> Result<Recovery, Error> {
        let whole = self
            .segments
            .iter()
            .find(|segment| segment.damage.is_none());
        let shape = whole.map_or(
            Shape {
                codec: 0,
                event_bytes: 0,
            },
            |whole| Shape {
                codec: whole.codec,
                event_bytes: whole.event_bytes,
            },
        );
        let mut recovery = examine(&*self.storage, shape, &mut |name, offset, header| {
            seen(name, &frame_info(header, offset));
        })?;
        self.positions().report(&mut recovery)?;
        Ok(recovery)
    }

    /// The files in the directory that are no segments, by name.
    ///
    /// # Errors
    /// [`JournalIo`](crate::ErrorKind::JournalIo): the directory cannot be read.
    pub fn other_files(&self) -> Result<Vec<OtherFile>, Error> {
        let names = self.storage.list();
        let mut names =
            names.map_err(|error| io_error(&*self.storage, "", "list the directory", error))?;
        names.retain(|name| parse_segment_name(name).is_none());
        names.sort_unstable();
        let mut files = Vec::new();
        for name in names {
            // what is gone since then is no file of it
            if let Ok(file) = self.storage.open(&name, false) {
                let bytes = file.len();
                let bytes =
                    bytes.map_err(|error| io_error(&*self.storage, &name, "read it", error))?;
                let kind = FileKind::of(&name);
                files.push(OtherFile { name, kind, bytes });
            }
        }
        Ok(files)
    }

    /// How far named consumers are, if their positions are kept in the journal's own directory.
    #[must_use]
    pub fn positions(&self) -> PositionStore {
        PositionStore::on(self.storage.clone())
    }
}

impl FileKind {
    fn of(name: &str) -> Self {
        match name {
            LOCK => Self::Lock,
            _ if name.starts_with(NEXT) => Self::Unfinished,
            _ if name.starts_with(SPARE) => Self::Spare,
            _ if name.starts_with(DAMAGED) => Self::Damaged,
            _ if name.starts_with(POSITION) => Self::Position,
            _ if name.starts_with('.') => Self::Hidden,
            _ => Self::Foreign,
        }
    }
}

fn look_at(storage: &dyn Storage, (first, salt): (u64, u64)) -> Result<SegmentInfo, Error> {
    let name = segment_name(first, salt);
    let failed = |error| io_error(storage, &name, "read it", error);
    let file = storage.open(&name, false).map_err(failed)?;
    let file_bytes = file.len().map_err(failed)?;
    let header = segment_header(storage, &name, &*file, (first, salt), None)?;
    Ok(SegmentInfo {
        first: Sequence::new(first),
        file_bytes,
        damage: header.err().map(String::from),
        journal: header.map_or(0, |header| header.journal),
        codec: header.map_or(0, |header| header.codec),
        event_bytes: header.map_or(0, |header| header.event_bytes),
        kept_from: Sequence::new(header.map_or(0, |header| header.kept_from)),
        salt,
        name,
    })
}

impl fmt::Debug for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspection")
            .field("segments", &self.segments)
            .finish_non_exhaustive()
    }
}

/// Walks the frames of a segment, from [`Inspection::frames`].
pub struct FrameWalk {
    storage: Arc<dyn Storage>,
    name: String,
    event_bytes: u32,
    frames: Frames,
    end_reason: String,
}

impl FrameWalk {
    /// The next frame, header and payload checked. `None`: no frame begins at [`offset`](Self::offset).
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next_frame(&mut self) -> Result<Option<FrameInfo>, Error> {
        let offset = self.frames.offset();
        let advanced = self.frames.advance(0);
        match advanced.map_err(|error| io_error(&*self.storage, &self.name, "read it", error))? {
            Ok(header) => Ok(Some(frame_info(&header, offset))),
            Err(stop) => {
                self.end_reason = stop.to_string();
                Ok(None)
            }
        }
    }

    /// The bytes of each event in the frame that was returned last.
    ///
    /// # Errors
    /// [`JournalCorrupt`](crate::ErrorKind::JournalCorrupt): they do not fill the frame.
    pub fn records(&self) -> impl Iterator<Item = Result<&[u8], Error>> {
        let records = records(self.frames.payload(), self.event_bytes);
        records.map(|record| {
            record.ok_or_else(|| {
                let (offset, sequence) = (self.frames.offset(), self.frames.expected());
                corrupt(
                    &*self.storage,
                    &self.name,
                    offset,
                    sequence,
                    "the records do not fill the frame before",
                )
            })
        })
    }

    /// Where the next frame begins.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.frames.offset()
    }

    /// The sequence with which it begins.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        Sequence::new(self.frames.expected())
    }

    /// Why the walk ended: at the end of a journal, or of a segment with a successor, that is as it should be.
    #[must_use]
    pub fn end_reason(&self) -> &str {
        &self.end_reason
    }
}

impl fmt::Debug for FrameWalk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameWalk")
            .field("segment", &self.name)
            .field("offset", &self.offset())
            .finish_non_exhaustive()
    }
}

fn frame_info(header: &FrameHeader, offset: u64) -> FrameInfo {
    FrameInfo {
        offset,
        bytes: header.frame_bytes(),
        kind: match header.content {
            Content::Records => FrameKind::Records,
            Content::Abandoned => FrameKind::Abandoned,
            Content::Lost => FrameKind::Lost,
            Content::Watermark => FrameKind::Watermark,
        },
        sequences: SequenceRange::new(header.range()),
        synced: Sequence::new(header.synced),
        time: time(header.unix_ns),
    }
}
