//! The verb that makes a stage a journal's.

#[cfg(all(test, not(loom)))]
mod disks;
#[cfg(all(test, not(loom)))]
mod failures;
#[cfg(all(test, not(loom)))]
mod tests;

use crate::config::{BATCH_MAX, SyncPolicy};
use crate::consumer::Consumer;
use crate::error::{Error, ErrorKind};
use crate::journal::Journal;
use crate::journal::codec::Codec;
use crate::recorder::{Policy, Recorder, Sink};
use crate::ring::numbering::Numbering;
use crate::topology::Stage;
use crate::topology::builder::{Runs, StageBuilder};
use crate::wait::durability::{Durability, Mark};
use crate::wait::signal::Signal;

impl<T: Send + Sync + 'static> StageBuilder<'_, T> {
    /// Writes every event to `journal`, on a thread of its own. The numbers of events go on where the journal ends.
    ///
    /// Stages that come [`after`](Self::after) it see only what is as durable as its [`SyncPolicy`](crate::SyncPolicy) says; all
    /// others run ahead of it. Producers wait for what is *written*, not for what is synced: the journal has copied it. It takes as
    /// many events at a time as there are, up to a quarter of the ring, whatever [`batch_max`](Self::batch_max) says, and
    /// [`on_panic`](Self::on_panic) does not concern it: [`OnJournalError`](crate::OnJournalError) says what follows when it fails.
    /// It counts as two stages in [`stages_max`](crate::BusConfig::stages_max). A topology has at most one journal.
    ///
    /// ```
    /// use ringway::{BusConfig, Journal, JournalConfig, Plain, Topology};
    /// # let path = std::env::temp_dir().join(format!("ringway-doc-journal-{}", std::process::id()));
    /// let journal = Journal::open(&path, JournalConfig::default(), Plain::<u64>::new())?;
    /// let mut topology = Topology::single(BusConfig::default(), || 0)?;
    /// let durable = topology.stage("journal").journal(journal);
    /// let (_, mut confirmed) = topology.stage("confirm").after([durable]).consumer();
    /// let (bus, mut producer) = topology.start()?;
    /// producer.publish(7)?;
    /// assert!(confirmed.read()?.iter().eq(&[7])); // it is on disk
    /// # drop(producer);
    /// # bus.shutdown()?;
    /// # let _ = std::fs::remove_dir_all(path);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn journal<C: Codec<Event = T>>(self, journal: Journal<C>) -> Stage {
        let parts = journal.into_parts();
        let policy = Policy {
            sync: parts.config.sync,
            on_error: parts.config.on_error,
        };
        self.plan.archive = Some(parts.archive());
        self.record(parts, policy)
    }

    /// Records every event in `sink`.
    pub(crate) fn record(mut self, sink: impl Sink<Event = T>, policy: Policy) -> Stage {
        if self.smoothing.is_some() {
            let name = &self.name;
            let text = format!(
                "stage `{name}` is smoothed, but a journal keeps no rate: smooth a stage that comes after it"
            );
            let error = Error::new(ErrorKind::InvalidConfig, text).with_stage(name);
            self.plan.note(error);
        }
        self.begin_numbering(sink.written());
        self.batch_max = (self.plan.ring.core.capacity() as usize / 4).clamp(1, BATCH_MAX);
        let (stage, reader, waiter) = self.one(false, Runs::Managed);
        self.plan.journal = Some(stage.index);
        let durability = self.durability(stage, policy.sync);
        let consumer = Consumer::new(reader, waiter);
        let recorder = Recorder::new(self.job(stage), consumer, sink, policy, durability);
        self.plan_thread(None, move || recorder.run());
        stage
    }

    fn begin_numbering(&mut self, first: u64) {
        let name = &self.name;
        if self.plan.durability.is_some() {
            let text = format!("stage `{name}` is a second journal: a topology has at most one");
            let error = Error::new(ErrorKind::JournalMisplaced, text).with_stage(name);
            self.plan.note(error);
        } else if first >= Numbering::FIRST_END {
            let accepted = format_args!("below {}", Numbering::FIRST_END);
            let error = Error::out_of_range("the journal's next sequence", first, accepted);
            self.plan.note(error.with_stage(name));
        } else {
            self.plan.ring.core.numbering().begin_at(first);
        }
    }

    /// Adds the entry of what is synced, and says on which of the two those wait that come after the journal.
    fn durability(&mut self, stage: Stage, sync: SyncPolicy) -> Durability {
        let (synced, fits) = self.plan.ring.core.add_watermark();
        self.check_fits(fits);
        let sleeps = match &*self.upstream() {
            [] => [Signal::PUBLISHED].into(),
            stages => (stages.iter())
                .map(|(entry, _)| Signal::cursor(*entry))
                .collect(),
        };
        let plan = &mut *self.plan;
        let written = plan.entries[stage.index][0];
        if sync != SyncPolicy::Never {
            plan.gates[stage.index] = [synced].into();
        }
        let (core, signals) = (&plan.ring.core, &plan.signals);
        let mark = |index| Mark::new(core.table.entry(index), index, signals);
        let durability = Durability::new(
            (mark(written), mark(synced)),
            sleeps,
            signals,
            (core.numbering(), core.capacity()),
            core.id(),
            matches!(sync, SyncPolicy::Interval(_)),
        );
        plan.durability = Some(durability.clone());
        durability
    }
}
