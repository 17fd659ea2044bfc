//! What a producer may ask of the journal of its bus.

use crate::error::DurabilityError;
use crate::producer::{Producer, ProducerKind};
use crate::ring::Core;
use crate::sequence::Sequence;
use crate::wait::durability::{Durability, DurabilityFuture, Level};
use std::time::Instant;

impl<T, K: ProducerKind> Producer<T, K> {
    /// The same for a bus with a journal.
    pub(crate) fn with_durability(self, durability: Option<Durability>) -> Self {
        // a producer has a drop of its own, so it is not taken apart
        let mut producer = self;
        producer.durability = durability;
        producer
    }

    /// Waits until the event with this sequence is as durable as `level` says: see [`Durability::wait`].
    ///
    /// ```
    /// use ringway::{BusConfig, Journal, JournalConfig, Level, Plain, Topology};
    /// # let path = std::env::temp_dir().join(format!("ringway-doc-wait-durable-{}", std::process::id()));
    /// let journal = Journal::open(&path, JournalConfig::default(), Plain::<u64>::new())?;
    /// let mut topology = Topology::single(BusConfig::default(), || 0)?;
    /// topology.stage("journal").journal(journal);
    /// let (bus, mut producer) = topology.start()?;
    ///
    /// let sequence = producer.publish(7)?;
    /// producer.wait_durable(sequence, Level::Synced)?; // now a power failure does not take it
    /// # drop(producer);
    /// # bus.shutdown()?;
    /// # let _ = std::fs::remove_dir_all(path);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`DurabilityError`].
    pub fn wait_durable(&self, sequence: Sequence, level: Level) -> Result<(), DurabilityError> {
        self.durability()?.wait(sequence, level)
    }

    /// [`wait_durable`](Self::wait_durable), waiting no longer than `deadline`.
    ///
    /// # Errors
    /// [`DurabilityError`].
    pub fn wait_durable_deadline(
        &self,
        sequence: Sequence,
        level: Level,
        deadline: Instant,
    ) -> Result<(), DurabilityError> {
        self.durability()?.wait_deadline(sequence, level, deadline)
    }

    /// [`wait_durable`](Self::wait_durable) for a task: see [`Durability::wait_async`].
    ///
    /// # Errors
    /// The future's output: [`DurabilityError`].
    pub fn wait_durable_async(&self, sequence: Sequence, level: Level) -> DurabilityFuture {
        match &self.durability {
            Some(durability) => durability.wait_async(sequence, level),
            None => DurabilityFuture::without_journal(),
        }
    }

    fn durability(&self) -> Result<&Durability, DurabilityError> {
        self.durability.as_ref().ok_or(DurabilityError::NoJournal)
    }
}

/// The ring is full: stages behind a journal may keep it so that wait for a sync.
#[cold]
pub(super) fn make_room(durability: &Option<Durability>, core: &Core) {
    if let Some(durability) = durability {
        durability.make_room(core.position());
    }
}
