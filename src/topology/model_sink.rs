//! For the models in `loom-tests`: a journal that is not on any device, and one that is read back.

use crate::config::{OnJournalError, OnLag, SyncPolicy};
use crate::consumer::{Past, Tap};
use crate::error::{Error, ErrorKind};
use crate::recorder::{Policy, Sink};
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::topology::{Stage, StageBuilder};
use std::ops::Range;

/// Counts what was synced, in a word that orders nothing by itself.
#[derive(Debug)]
pub struct ModelSink {
    /// How much is on the device that there is none of.
    pub device: Arc<AtomicU64>,
    /// On which sync it fails, from 1.
    pub fails_at: Option<u64>,
    written: u64,
    synced: u64,
    syncs: u64,
}

impl ModelSink {
    /// One that never fails, unless `fails_at` says so.
    #[must_use]
    pub fn new(device: &Arc<AtomicU64>, fails_at: Option<u64>) -> Self {
        Self {
            device: device.clone(),
            fails_at,
            written: 0,
            synced: 0,
            syncs: 0,
        }
    }
}

impl Sink for ModelSink {
    type Event = u64;

    fn written(&self) -> u64 {
        self.written
    }

    fn synced(&self) -> u64 {
        self.synced
    }

    fn record<'e>(&mut self, _: u64, _: impl Iterator<Item = &'e u64>) -> Result<(), Error>
    where
        u64: 'e,
    {
        Ok(())
    }

    fn flush(&mut self, below: u64) -> Result<(), Error> {
        self.written = below;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.syncs += 1;
        if self.fails_at == Some(self.syncs) {
            return Err(Error::new(ErrorKind::JournalIo, "it fails"));
        }
        self.synced = self.written;
        // relaxed: what the watermark hands over is to be seen
        self.device.store(self.synced, Ordering::Relaxed);
        Ok(())
    }

    fn note_synced(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// A stage that records every event in `sink`.
pub fn record(
    stage: StageBuilder<'_, u64>,
    sink: ModelSink,
    sync: SyncPolicy,
    on_error: OnJournalError,
) -> Stage {
    stage.record(sink, Policy { sync, on_error })
}

/// What a stage has read, as a journal that has written it would have it: each event is one above its sequence.
#[derive(Debug)]
pub struct ModelPast {
    /// So much the stage has read, in a word that orders nothing by itself.
    pub written: Arc<AtomicU64>,
    /// Told of whatever is read back.
    pub reads: fn(),
}

impl Past<u64> for ModelPast {
    fn read(
        &mut self,
        range: Range<u64>,
        most: usize,
        events: &mut Vec<u64>,
    ) -> Result<u64, Error> {
        // relaxed: what the stage's cursor hands over is to be seen
        let written = self.written.load(Ordering::Relaxed);
        assert!(range.end <= written, "{range:?} of {written} written");
        (self.reads)();
        events.extend(range.clone().map(|sequence| sequence + 1).take(most));
        Ok(range.end.min(range.start + most as u64))
    }

    fn pass(&mut self, _: u64, _: bool) {}
}

/// A tap that replays `journal`, which is a stage like any other.
pub fn replaying(stage: StageBuilder<'_, u64>, journal: Stage, past: ModelPast) -> Tap<u64> {
    stage.plan.journal = Some(journal.index);
    stage.tap_with(OnLag::Replay, Some(past))
}
