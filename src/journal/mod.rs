//! The journal: events in segment files. It knows nothing of rings and topologies.
//!
//! * [`format`]: the bytes, pure; [`codec`]: events as bytes; [`storage`]: what is asked of a file system; [`segment`]: a file of frames.
//! * [`writer`]: the writing end. [`scan`]: frames out of a file. [`recovery`], [`decision`], [`renew`], [`salvage`]: what is in a
//!   directory, what of it is durable, and what to do about damage.
//! * [`replay`], [`reader`], [`inspect`]: reading it back: as its owner, beside it, without its codec. [`examine`]: what opening it would find.

pub(crate) mod chain;
pub(crate) mod codec;
pub(crate) mod decision;
mod examine;
pub(crate) mod format;
pub(crate) mod inspect;
pub(crate) mod names;
pub(crate) mod pins;
pub(crate) mod positions;
pub(crate) mod reader;
pub(crate) mod recovery;
mod renew;
pub(crate) mod replay;
pub(crate) mod retention;
pub(crate) mod salvage;
pub(crate) mod scan;
pub(crate) mod segment;
#[cfg(test)]
pub(crate) mod sim;
pub(crate) mod storage;
pub(crate) mod supply;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod writer;

use crate::config::JournalConfig;
use crate::error::{Error, ErrorKind};
use crate::journal::codec::Codec;
use crate::journal::positions::PositionStore;
use crate::journal::recovery::{Recovery, recover};
use crate::journal::replay::{Archive, Replay, sequence_since};
use crate::journal::segment::Segment;
use crate::journal::storage::{Disk, Lock, Storage, lock};
use crate::journal::writer::Writer;
use crate::sequence::Sequence;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// What a journal's directory holds, after recovery: all of it is durable.
#[derive(Clone, Debug)]
pub(crate) struct Recovered {
    /// The journal's id.
    pub(crate) id: u64,
    /// Oldest first; each begins where the one before it ends. One without frames is there only by itself, to say where the numbers go on.
    pub(crate) segments: Vec<Segment>,
    /// The sequence of the next record.
    pub(crate) next: u64,
}

/// Events on disk: opened, replayed, then given to a topology, whose events it records.
///
/// One at a time, in one process, writes to a directory; [`JournalReader`](crate::JournalReader) reads beside it.
///
/// ```
/// # let directory = std::env::temp_dir().join(format!("ringway-doc-journal-{}", std::process::id()));
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
pub struct Journal<C: Codec> {
    parts: Parts<C>,
    recovered: Recovered,
    recovery: Recovery,
}

/// What a journal is made of.
pub(crate) struct Parts<C: Codec> {
    pub(crate) writer: Writer<C>,
    pub(crate) codec: Arc<C>,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) config: JournalConfig,
    /// Held for as long as the writer lives, which is dropped before it.
    _lock: Lock,
}

impl<C: Codec> Parts<C> {
    /// What can be read while the writer goes on.
    pub(crate) fn archive(&self) -> Archive<C::Event> {
        Archive::new(&self.storage, self.codec.clone(), self.writer.pins())
    }
}

impl<C: Codec> Journal<C> {
    /// Opens the journal in this directory, or begins one, with its directory. Every frame is checked; an unsynced end that a crash left is
    /// cut off: see [`recovery`](Self::recovery).
    ///
    /// # Errors
    /// * [`InvalidConfig`](crate::ErrorKind::InvalidConfig).
    /// * [`JournalLocked`](crate::ErrorKind::JournalLocked): it is open already.
    /// * [`JournalMismatch`](crate::ErrorKind::JournalMismatch): it was made with another codec, or by a newer version.
    /// * [`JournalCorrupt`](crate::ErrorKind::JournalCorrupt): it is damaged below what was durable: nothing is changed; see
    ///   [`RecoveryMode::Salvage`](crate::RecoveryMode::Salvage).
    /// * [`JournalIo`](crate::ErrorKind::JournalIo): the system refused.
    pub fn open(path: impl AsRef<Path>, config: JournalConfig, codec: C) -> Result<Self, Error> {
        config.validate()?;
        let path = path.as_ref();
        let disk = Disk::create(path).map_err(|error| {
            let text = format!(
                "{}: cannot make or open the directory: {error}",
                path.display()
            );
            Error::new(ErrorKind::JournalIo, text).with_source(Arc::new(error))
        })?;
        Self::with_storage(Arc::new(disk), config, codec)
    }

    pub(crate) fn with_storage(
        storage: Arc<dyn Storage>,
        config: JournalConfig,
        codec: C,
    ) -> Result<Self, Error> {
        let lock = lock(&*storage)?;
        let codec = Arc::new(codec);
        let (recovered, mut recovery) =
            recover(&storage, codec.id(), codec.event_bytes(), config.recovery)?;
        PositionStore::on(storage.clone()).report(&mut recovery)?;
        let writer = Writer::new(&storage, &config, &codec, &recovered)?;
        let parts = Parts {
            writer,
            codec,
            storage,
            config,
            _lock: lock,
        };
        Ok(Self {
            parts,
            recovered,
            recovery,
        })
    }

    /// The first sequence that is there; [`next`](Self::next) if there is none.
    #[must_use]
    pub fn first(&self) -> Sequence {
        let first = self.recovered.segments.first();
        Sequence::new(first.map_or(self.recovered.next, |first| first.first))
    }

    /// The sequence of the next event.
    #[must_use]
    pub fn next(&self) -> Sequence {
        Sequence::new(self.recovered.next)
    }

    /// What opening it found and did.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// The recorded events from `from` on.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig): `from` is not between [`first`](Self::first) and [`next`](Self::next).
    /// [`JournalIo`](crate::ErrorKind::JournalIo).
    pub fn replay(&self, from: Sequence) -> Result<Replay<C::Event>, Error> {
        let archive = self.parts.archive();
        archive.replay(from.get(), self.recovered.next)
    }

    /// The events that were written at `since` or later, if the clock never went back; events that were written together have one time.
    ///
    /// # Errors
    /// [`JournalIo`](crate::ErrorKind::JournalIo).
    pub fn replay_since(&self, since: SystemTime) -> Result<Replay<C::Event>, Error> {
        let Parts { storage, codec, .. } = &self.parts;
        let from = sequence_since(storage, &**codec, since, self.recovered.next)?;
        self.parts.archive().replay(from, self.recovered.next)
    }

    /// How far named consumers are, kept beside the events: see [`Retention::consumed`](crate::Retention::consumed).
    #[must_use]
    pub fn positions(&self) -> PositionStore {
        PositionStore::on(self.parts.storage.clone())
    }

    /// For the bus.
    pub(crate) fn into_parts(self) -> Parts<C> {
        self.parts
    }
}

impl<C: Codec> fmt::Debug for Journal<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.parts.storage.path("");
        f.debug_struct("Journal")
            .field("path", &path)
            .field("recovery", &self.recovery)
            .finish_non_exhaustive()
    }
}
