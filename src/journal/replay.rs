//! Reading a journal back.

use crate::error::{Error, ErrorKind, StageError};
use crate::journal::codec::Codec;
use crate::journal::format::{Content, next_record, segment_name};
use crate::journal::pins::{Pin, Pins};
use crate::journal::reader::Tail;
use crate::journal::recovery::list_segments;
use crate::journal::scan::{Frames, Shape, Stop, corrupt, io_error, segment_header};
use crate::journal::storage::Storage;
use crate::sequence::Sequence;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An event of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record<T> {
    /// Its number.
    pub sequence: Sequence,
    /// When it was written: of events that were written together, the same.
    pub time: SystemTime,
    /// What was recorded.
    pub event: T,
}

/// The events of a journal in order, from [`Journal::replay`](crate::Journal::replay). Sequences without an event, abandoned or lost, are stepped over.
///
/// It ends after the first error.
///
/// ```
/// # let directory = std::env::temp_dir().join(format!("ringway-doc-replay-{}", std::process::id()));
/// # let path = directory.as_path();
/// use ringway::{Journal, JournalConfig, Plain};
/// let journal = Journal::open(path, JournalConfig::default(), Plain::<u64>::new())?;
/// let mut sum = 0;
/// for record in journal.replay(journal.first())? {
///     sum += record?.event;
/// }
/// # assert_eq!(sum, 0);
/// # drop(journal);
/// # let _ = std::fs::remove_dir_all(directory);
/// # Ok::<(), ringway::Error>(())
/// ```
pub struct Replay<T> {
    storage: Arc<dyn Storage>,
    /// First sequence and salt.
    segments: Vec<(u64, u64)>,
    /// `None` when it has ended.
    records: Option<Records<T>>,
    end: u64,
    skipped: u64,
    /// See [`successor`].
    turns: (u64, usize),
    /// Of a journal that is being written.
    pin: Option<Pin>,
}

/// A journal that can be read while it is written.
pub(crate) struct Archive<T> {
    storage: Arc<dyn Storage>,
    codec: Arc<dyn Codec<Event = T>>,
    pins: Pins,
}

impl<T> Clone for Archive<T> {
    fn clone(&self) -> Self {
        Self {
            storage: self.storage.clone(),
            codec: self.codec.clone(),
            pins: self.pins.clone(),
        }
    }
}

/// An [`Archive`] as somebody knows it who keeps neither storage nor codec: the writer has both while it lives.
pub(crate) struct WeakArchive<T> {
    storage: Weak<dyn Storage>,
    codec: Weak<dyn Codec<Event = T>>,
    pins: Pins,
}

impl<T> WeakArchive<T> {
    /// `None`: nobody has the journal open any more.
    pub(crate) fn upgrade(&self) -> Option<Archive<T>> {
        Some(Archive {
            storage: self.storage.upgrade()?,
            codec: self.codec.upgrade()?,
            pins: self.pins.clone(),
        })
    }
}

impl<T: 'static> Archive<T> {
    pub(crate) fn downgrade(&self) -> WeakArchive<T> {
        WeakArchive {
            storage: Arc::downgrade(&self.storage),
            codec: Arc::downgrade(&self.codec),
            pins: self.pins.clone(),
        }
    }

    pub(crate) fn new(
        storage: &Arc<dyn Storage>,
        codec: Arc<dyn Codec<Event = T>>,
        pins: &Pins,
    ) -> Self {
        Self {
            storage: storage.clone(),
            codec,
            pins: pins.clone(),
        }
    }

    /// Keeps everything from `from` on.
    pub(crate) fn pin(&self, from: u64) -> Pin {
        self.pins.pin(from)
    }

    /// From `from` on, also what is yet to be written.
    pub(crate) fn tail(&self, from: u64) -> Tail<T> {
        Tail::new(self.storage.clone(), self.codec.clone(), from)
    }

    /// The first sequence that is there; `None`: there is none.
    pub(crate) fn first(&self) -> Result<Option<u64>, Error> {
        let segments = list_segments(&*self.storage)?;
        Ok(segments.first().map(|(first, _)| *first))
    }

    /// From `from` up to `end`, below which everything is written; no segment of that is removed meanwhile.
    pub(crate) fn replay(&self, from: u64, end: u64) -> Result<Replay<T>, Error> {
        let pin = self.pins.pin(from);
        let mut replay = Replay::new(&self.storage, self.codec.clone(), from, end)?;
        replay.pin = Some(pin);
        Ok(replay)
    }
}

impl<T: 'static> Replay<T> {
    /// From `from` up to `end`, below which everything is written.
    pub(crate) fn new(
        storage: &Arc<dyn Storage>,
        codec: Arc<dyn Codec<Event = T>>,
        from: u64,
        end: u64,
    ) -> Result<Self, Error> {
        let segments = list_segments(&**storage)?;
        let first = segments.first().map_or(end, |(first, _)| *first).min(end);
        if !(first..=end).contains(&from) {
            return Err(Error::out_of_range(
                "from",
                from,
                format_args!("{first} to {end}"),
            ));
        }
        let at = segments.iter().rposition(|(first, _)| *first <= from);
        let records = match at.filter(|_| from < end) {
            Some(at) => Some(Records::open(storage, codec, segments[at], from)?),
            None => None,
        };
        Ok(Self {
            storage: storage.clone(),
            segments,
            records,
            end,
            skipped: 0,
            turns: (0, 0),
            pin: None,
        })
    }

    /// How many sequences had no event, up to here.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped + self.records.as_ref().map_or(0, |records| records.skipped)
    }

    /// `Ok(None)`: it has ended.
    fn read(&mut self) -> Result<Option<Record<T>>, Error> {
        while let Some(records) = &mut self.records {
            if records.left > 0 {
                if records.sequence >= self.end {
                    return Ok(None);
                }
                return records.decode(&*self.storage).map(Some);
            }
            if records.frames.expected() >= self.end {
                return Ok(None);
            }
            let Some(stop) = records.next_frame(&*self.storage)? else {
                continue;
            };
            match records.successor(&self.segments, &mut self.turns) {
                Some(next) => records.roll(&self.storage, next)?,
                None => return Err(records.stopped(&*self.storage, stop)),
            }
        }
        Ok(None)
    }
}

impl<T: 'static> Iterator for Replay<T> {
    type Item = Result<Record<T>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read();
        if !matches!(read, Ok(Some(_))) {
            self.skipped = self.skipped();
            self.records = None;
            self.pin = None;
        }
        read.transpose()
    }
}

impl<T: 'static> std::iter::FusedIterator for Replay<T> {}

impl<T> fmt::Debug for Replay<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let next = self.records.as_ref().map(|records| records.sequence);
        f.debug_struct("Replay")
            .field("next", &next)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// The records of one segment after the other.
pub(crate) struct Records<T> {
    codec: Arc<dyn Codec<Event = T>>,
    event_bytes: u32,
    pub(crate) frames: Frames,
    pub(crate) first: u64,
    pub(crate) salt: u64,
    /// Records below are not wanted.
    from: u64,
    /// Of the current frame: how many records are left, where the next one begins in the payload, its sequence, and when it was written.
    pub(crate) left: u64,
    at: usize,
    pub(crate) sequence: u64,
    time: SystemTime,
    pub(crate) skipped: u64,
}

impl<T: 'static> Records<T> {
    /// The segment `first`, `salt`, from `from` on.
    pub(crate) fn open(
        storage: &Arc<dyn Storage>,
        codec: Arc<dyn Codec<Event = T>>,
        segment: (u64, u64),
        from: u64,
    ) -> Result<Self, Error> {
        let event_bytes = codec.event_bytes();
        Ok(Self {
            frames: open_frames(storage, segment, &*codec)?,
            codec,
            event_bytes,
            first: segment.0,
            salt: segment.1,
            from,
            left: 0,
            at: 0,
            sequence: from,
            time: UNIX_EPOCH,
            skipped: 0,
        })
    }

    /// Goes on with another segment.
    pub(crate) fn roll(
        &mut self,
        storage: &Arc<dyn Storage>,
        segment: (u64, u64),
    ) -> Result<(), Error> {
        self.frames = open_frames(storage, segment, &*self.codec)?;
        (self.first, self.salt) = segment;
        Ok(())
    }

    /// The segment to go on with where no frame of this one begins. A segment that was made and never used may stand beside the one of the same first
    /// sequence that was: so each of these has its turn, once, this one last as it may have grown. `turns`: the sequence, and how many had one.
    pub(crate) fn successor(
        &self,
        segments: &[(u64, u64)],
        turns: &mut (u64, usize),
    ) -> Option<(u64, u64)> {
        let expected = self.frames.expected();
        let begins = |segment: &(u64, u64)| segment.0 == expected;
        let from = segments.iter().position(begins)?;
        let twins = &segments[from..=segments.iter().rposition(begins)?];
        let own = (self.first, self.salt);
        let Some(at) = twins.iter().position(|twin| *twin == own) else {
            return twins.last().copied();
        };
        let had = if turns.0 == expected { turns.1 } else { 0 };
        *turns = (expected, had + 1);
        (twins.len() > 1 && had < twins.len()).then(|| twins[(at + 1) % twins.len()])
    }

    fn name(&self) -> String {
        segment_name(self.first, self.salt)
    }

    /// Takes the next frame. `Some`: there is none.
    pub(crate) fn next_frame(&mut self, storage: &dyn Storage) -> Result<Option<Stop>, Error> {
        let advanced = self.frames.advance(self.from);
        let header =
            match advanced.map_err(|error| io_error(storage, &self.name(), "read it", error))? {
                Ok(header) => header,
                Err(stop) => return Ok(Some(stop)),
            };
        let end = header.range().end;
        if header.count == 0 || end <= self.from {
            return Ok(None);
        }
        self.sequence = header.first.max(self.from);
        if header.content != Content::Records {
            self.skipped += end - self.sequence;
            self.sequence = end;
            return Ok(None);
        }
        self.time = time(header.unix_ns);
        (self.left, self.at) = (header.count, 0);
        if self.event_bytes == 0 {
            for sequence in header.first..self.sequence {
                self.cut_record(storage, sequence)?;
            }
        } else {
            let skipped = self.sequence - header.first;
            self.at = (skipped * u64::from(self.event_bytes)) as usize; // within the payload, which was found to hold `count` of them
            self.left -= skipped;
        }
        Ok(None)
    }

    /// Decodes the next record of the current frame.
    #[inline]
    pub(crate) fn decode(&mut self, storage: &dyn Storage) -> Result<Record<T>, Error> {
        let sequence = self.sequence;
        let record = self.cut_record(storage, sequence)?;
        let bytes = &self.frames.payload()[record];
        let event = match self.codec.decode(bytes) {
            Ok(event) => event,
            Err(error) => return Err(self.undecoded(storage, sequence, error)),
        };
        self.sequence += 1;
        Ok(Record {
            sequence: Sequence::new(sequence),
            time: self.time,
            event,
        })
    }

    /// Where the next record is in the payload.
    #[inline]
    fn cut_record(&mut self, storage: &dyn Storage, sequence: u64) -> Result<Range<usize>, Error> {
        let payload = self.frames.payload();
        let rest = payload.get(self.at..).unwrap_or_default();
        let Some((record, rest)) = next_record(rest, self.event_bytes) else {
            return Err(self.misfit(storage, sequence));
        };
        let end = payload.len() - rest.len();
        if self.left == 1 && !rest.is_empty() {
            return Err(self.misfit(storage, sequence));
        }
        let range = end - record.len()..end;
        self.at = end;
        self.left -= 1;
        Ok(range)
    }

    #[cold]
    fn misfit(&self, storage: &dyn Storage, sequence: u64) -> Error {
        let why = "the records do not fill their frame";
        corrupt(storage, &self.name(), self.frames.offset(), sequence, why)
    }

    #[cold]
    fn undecoded(&self, storage: &dyn Storage, sequence: u64, error: StageError) -> Error {
        let path = storage.path(&self.name());
        let text = format!(
            "{}: the codec cannot decode sequence {sequence}: {error}",
            path.display()
        );
        Error::new(ErrorKind::Codec, text).with_source(Arc::from(error))
    }

    /// No frame begins where one must.
    pub(crate) fn stopped(&self, storage: &dyn Storage, stop: Stop) -> Error {
        let (offset, sequence) = (self.frames.offset(), self.frames.expected());
        match list_segments(storage) {
            Err(error) => error,
            Ok(segments) if !segments.contains(&(self.first, self.salt)) => self.removed(storage),
            Ok(_) => corrupt(storage, &self.name(), offset, sequence, stop),
        }
    }

    /// No frame begins here, and a later segment begins with `later`.
    pub(crate) fn cut_or_damaged(&self, storage: &dyn Storage, stop: Stop, later: u64) -> Error {
        let (offset, sequence) = (self.frames.offset(), self.frames.expected());
        if later >= sequence {
            let why = format!("{stop}, and a later segment begins with {later}");
            return corrupt(storage, &self.name(), offset, sequence, why);
        }
        let path = storage.path(&self.name());
        let text = format!(
            "{}: a recovery cut the journal at sequence {later}, and it was read up to {sequence}",
            path.display()
        );
        Error::new(ErrorKind::JournalIo, text)
    }

    /// Retention was faster.
    pub(crate) fn removed(&self, storage: &dyn Storage) -> Error {
        let sequence = self.frames.expected();
        let path = storage.path(&self.name());
        let text = format!(
            "{}: the segment was removed by retention while sequence {sequence} was to be read from it",
            path.display()
        );
        Error::new(ErrorKind::JournalIo, text)
    }
}

fn open_frames<T: 'static>(
    storage: &Arc<dyn Storage>,
    (first, salt): (u64, u64),
    codec: &dyn Codec<Event = T>,
) -> Result<Frames, Error> {
    let name = segment_name(first, salt);
    let file = storage
        .open(&name, false)
        .map_err(|error| io_error(&**storage, &name, "open it", error))?;
    let shape = Shape {
        codec: codec.id(),
        event_bytes: codec.event_bytes(),
    };
    if let Err(why) = segment_header(&**storage, &name, &*file, (first, salt), Some(shape))? {
        return Err(corrupt(&**storage, &name, 0, first, why));
    }
    Frames::new(file, first, salt, codec.event_bytes())
        .map_err(|error| io_error(&**storage, &name, "read it", error))
}

/// The first sequence that was written at `since` or later, or `end`. It trusts that the clock never went back.
pub(crate) fn sequence_since<T: 'static>(
    storage: &Arc<dyn Storage>,
    codec: &dyn Codec<Event = T>,
    since: SystemTime,
    end: u64,
) -> Result<u64, Error> {
    let since = since
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    let segments = list_segments(&**storage)?;
    // the last segment that begins before it, then its frames by their headers, and the next segment's first
    let mut from = end;
    for segment in segments.into_iter().rev().filter(|(first, _)| *first < end) {
        let mut frames = open_frames(storage, segment, codec)?;
        let mut is_first = true;
        loop {
            let name = segment_name(segment.0, segment.1);
            let advanced = frames.advance(u64::MAX);
            let Ok(frame) =
                advanced.map_err(|error| io_error(&**storage, &name, "read it", error))?
            else {
                break;
            };
            if frame.count == 0 {
                continue;
            }
            if u128::from(frame.unix_ns) >= since {
                from = from.min(frame.first);
                break;
            }
            is_first = false;
        }
        if !is_first {
            break;
        }
    }
    Ok(from.min(end))
}

pub(crate) fn time(unix_ns: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(unix_ns)
}
