//! Reading a journal that another process may be writing.

use crate::error::{Error, ErrorKind};
use crate::journal::codec::Codec;
use crate::journal::format::segment_name;
use crate::journal::recovery::list_segments;
use crate::journal::replay::{Record, Records, Replay, sequence_since};
use crate::journal::scan::{Frames, Shape, io_error, segment_header};
use crate::journal::storage::{Disk, Storage};
use crate::sequence::Sequence;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// Reads a journal's files without being its writer: beside a running one, in another process, or a copy. It changes no file and takes no lock.
///
/// What it reads is *written*, not necessarily durable: when the power fails, the writer may come back with fewer events than were read here.
///
/// ```
/// # let directory = std::env::temp_dir().join(format!("ringway-doc-reader-{}", std::process::id()));
/// # let path = directory.as_path();
/// use ringway::{Journal, JournalConfig, JournalReader, Plain};
/// let journal = Journal::open(path, JournalConfig::default(), Plain::<u64>::new())?;
/// let reader = JournalReader::open(path, Plain::<u64>::new())?;
/// assert_eq!(reader.replay(reader.first()?)?.count(), 0);
/// let mut tail = reader.tail(reader.next()?)?;
/// assert_eq!(tail.try_next()?, None, "nothing was written yet");
/// # drop(journal);
/// # let _ = std::fs::remove_dir_all(directory);
/// # Ok::<(), ringway::Error>(())
/// ```
pub struct JournalReader<C> {
    storage: Arc<dyn Storage>,
    codec: Arc<C>,
}

impl<C: Codec> JournalReader<C> {
    /// Reads the journal in this directory.
    ///
    /// # Errors
    /// [`JournalIo`](crate::ErrorKind::JournalIo): there is no such directory. [`JournalMismatch`](crate::ErrorKind::JournalMismatch): it was made
    /// with another codec.
    pub fn open(path: impl AsRef<Path>, codec: C) -> Result<Self, Error> {
        Self::with_storage(open_directory(path.as_ref())?, codec)
    }

    pub(crate) fn with_storage(storage: Arc<dyn Storage>, codec: C) -> Result<Self, Error> {
        let shape = Shape {
            codec: codec.id(),
            event_bytes: codec.event_bytes(),
        };
        if let Some((first, salt)) = list_segments(&*storage)?.last() {
            let name = segment_name(*first, *salt);
            let file = storage
                .open(&name, false)
                .map_err(|error| io_error(&*storage, &name, "open it", error))?;
            let _ = segment_header(&*storage, &name, &*file, (*first, *salt), Some(shape))?;
        }
        Ok(Self {
            storage,
            codec: Arc::new(codec),
        })
    }

    /// The first sequence that is there now.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn first(&self) -> Result<Sequence, Error> {
        let segments = list_segments(&*self.storage)?;
        Ok(Sequence::new(
            segments.first().map_or(0, |(first, _)| *first),
        ))
    }

    /// One above the last sequence that is there now: where the last segment's frames end.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn next(&self) -> Result<Sequence, Error> {
        let segments = list_segments(&*self.storage)?;
        let last = segments.last().map_or(0, |(first, _)| *first);
        let mut next = last;
        // beside the one that is used another may stand that never was
        for (_, salt) in segments.iter().filter(|(first, _)| *first == last) {
            let name = segment_name(last, *salt);
            let failed = |error| io_error(&*self.storage, &name, "read it", error);
            let file = self.storage.open(&name, false).map_err(failed)?;
            let mut frames =
                Frames::new(file, last, *salt, self.codec.event_bytes()).map_err(failed)?;
            while frames.advance(0).map_err(failed)?.is_ok() {}
            next = next.max(frames.expected());
        }
        Ok(Sequence::new(next))
    }

    /// The events from `from` up to [`next`](Self::next).
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig): `from` is not between [`first`](Self::first) and [`next`](Self::next).
    pub fn replay(&self, from: Sequence) -> Result<Replay<C::Event>, Error> {
        Replay::new(
            &self.storage,
            self.codec.clone(),
            from.get(),
            self.next()?.get(),
        )
    }

    /// The events that were written at `since` or later, if the clock never went back; as exact as the times of [`Record`]s.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn replay_since(&self, since: SystemTime) -> Result<Replay<C::Event>, Error> {
        let end = self.next()?.get();
        let from = sequence_since(&self.storage, &*self.codec, since, end)?;
        Replay::new(&self.storage, self.codec.clone(), from, end)
    }

    /// The events from `from` on, also those that are yet to be written. `from` may be any sequence that is not yet removed.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig): `from` is below [`first`](Self::first).
    pub fn tail(&self, from: Sequence) -> Result<Tail<C::Event>, Error> {
        let (from, first) = (from.get(), self.first()?.get());
        if from < first {
            return Err(Error::out_of_range(
                "from",
                from,
                format_args!("{first} and above"),
            ));
        }
        Ok(Tail::new(self.storage.clone(), self.codec.clone(), from))
    }
}

impl<C> fmt::Debug for JournalReader<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalReader")
            .field("path", &self.storage.path(""))
            .finish_non_exhaustive()
    }
}

pub(crate) fn open_directory(path: &Path) -> Result<Arc<dyn Storage>, Error> {
    match Disk::open(path) {
        Ok(disk) => Ok(Arc::new(disk)),
        Err(error) => {
            let text = format!("{}: cannot open the directory: {error}", path.display());
            Err(Error::new(ErrorKind::JournalIo, text).with_source(Arc::new(error)))
        }
    }
}

/// Follows a journal that is being written, from [`JournalReader::tail`]. Each poll of an idle one reads the end of a file and lists the directory.
pub struct Tail<T> {
    storage: Arc<dyn Storage>,
    codec: Arc<dyn Codec<Event = T>>,
    from: u64,
    /// `None`: the segment in which it begins is not there yet.
    records: Option<Records<T>>,
}

impl<T: 'static> Tail<T> {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        codec: Arc<dyn Codec<Event = T>>,
        from: u64,
    ) -> Self {
        Self {
            storage,
            codec,
            from,
            records: None,
        }
    }

    /// The next event. `None`: it is not written yet, or in part.
    ///
    /// # Errors
    /// [`JournalCorrupt`](crate::ErrorKind::JournalCorrupt): later events are there, and this one is not.
    /// [`JournalIo`](crate::ErrorKind::JournalIo): retention removed the segment before it was read, or the writer came back and had to cut off what was read
    /// here and was not durable, or the system refused.
    /// [`Codec`](crate::ErrorKind::Codec): the event cannot be decoded; the next call goes on behind it.
    pub fn try_next(&mut self) -> Result<Option<Record<T>>, Error> {
        let (mut looked_again, mut turns) = (false, (0, 0));
        loop {
            let Some(records) = &mut self.records else {
                let segments = list_segments(&*self.storage)?;
                let Some(segment) = segments.into_iter().rfind(|(first, _)| *first <= self.from)
                else {
                    return Ok(None);
                };
                self.records = Some(Records::open(
                    &self.storage,
                    self.codec.clone(),
                    segment,
                    self.from,
                )?);
                continue;
            };
            if records.left > 0 {
                let sequence = records.sequence;
                let record = records.decode(&*self.storage);
                records.sequence = sequence + 1;
                return record.map(Some);
            }
            let Some(stop) = records.next_frame(&*self.storage)? else {
                looked_again = false;
                continue;
            };
            let own = (records.first, records.salt);
            let name = segment_name(own.0, own.1);
            let failed = |error| io_error(&*self.storage, &name, "read it", error);
            let segments = list_segments(&*self.storage)?;
            if let Some(next) = records.successor(&segments, &mut turns) {
                records.roll(&self.storage, next)?;
                continue;
            }
            if !segments.contains(&own) {
                return Err(records.removed(&*self.storage));
            }
            records.frames.refresh().map_err(failed)?;
            let Some(later) = segments
                .iter()
                .find(|other| **other > own && other.0 != own.0)
            else {
                return Ok(None);
            };
            if looked_again {
                return Err(records.cut_or_damaged(&*self.storage, stop, later.0));
            }
            looked_again = true; // it was written between the two looks, perhaps
        }
    }

    /// Every sequence below was given out, or has no event: what is not there above is not written, or lost.
    pub(crate) fn reached(&self) -> u64 {
        match &self.records {
            None => self.from,
            Some(records) if records.left > 0 => records.sequence,
            Some(records) => records.frames.expected().max(self.from),
        }
    }

    /// How many sequences had no event, up to here.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.records.as_ref().map_or(0, |records| records.skipped)
    }
}

impl<T> fmt::Debug for Tail<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let next = self
            .records
            .as_ref()
            .map_or(self.from, |records| records.sequence);
        f.debug_struct("Tail")
            .field("next", &next)
            .finish_non_exhaustive()
    }
}
