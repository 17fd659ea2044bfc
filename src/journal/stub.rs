//! Stands in for the real thing, which recovers what is there, until that is: nothing is.

use crate::config::JournalConfig;
use crate::error::Error;
use crate::journal::Recovered;
use crate::journal::codec::Codec;
use crate::journal::storage::{Disk, Storage};
use crate::journal::writer::Writer;
use std::path::Path;
use std::sync::Arc;

/// A journal that was opened.
pub struct Journal<C: Codec> {
    storage: Arc<dyn Storage>,
    config: JournalConfig,
    codec: Arc<C>,
    recovered: Recovered,
}

impl<C: Codec> Journal<C> {
    /// Opens it.
    ///
    /// # Errors
    /// See [`ErrorKind`](crate::ErrorKind).
    pub fn open(path: impl AsRef<Path>, config: JournalConfig, codec: C) -> Result<Self, Error> {
        config.validate()?;
        let storage = Disk::create(path.as_ref())
            .map_err(|error| Error::new(crate::error::ErrorKind::JournalIo, error.to_string()))?;
        Ok(Self {
            storage: Arc::new(storage),
            config,
            codec: Arc::new(codec),
            recovered: Recovered {
                id: 0,
                segments: Vec::new(),
                next: 0,
            },
        })
    }

    pub(crate) fn config(&self) -> &JournalConfig {
        &self.config
    }

    /// The writing end, for the stage that takes the journal.
    pub(crate) fn into_writer(self) -> Result<Writer<C>, Error> {
        Writer::new(&self.storage, &self.config, &self.codec, &self.recovered)
    }
}

impl<C: Codec> std::fmt::Debug for Journal<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}
