//! The stage of a journal: it hands what it reads to the journal's writer, and says how far that is durable.
//!
//! Its loop is its own, over a consumer with a deadline: read a batch, record its events, flush them with one write, free the batch; then
//! sync if the policy, the ring or a request says so. The cursor that holds producers back is that of *written*: it moves when the
//! batch is freed, after its write. *Synced* stands beside it and moves after a sync that succeeded: never above what was written
//! when the sync began.
//!
//! What comes during a sync is the next batch, so many events share a sync where syncs are slow (group commit).
//!
//! **The end.** A closed bus is synced as soon as everything is written: stages behind the journal wait for that. When the journal
//! fails, neither watermark moves any more: stages behind it drain to where theirs stands.

use crate::config::{OnJournalError, SyncPolicy};
use crate::consumer::{Batch, Consumer, Unread};
use crate::error::{Error, ErrorKind};
use crate::journal::Parts;
use crate::journal::codec::Codec;
use crate::ring::cursor::Counters;
use crate::ring::walk::Numbered;
use crate::stage::{Failure, Job, panic_text};
use crate::wait::context::Inside;
use crate::wait::durability::Durability;
use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So long nothing has come when the journal notes how far it is synced: not between the syncs of events that come one at a time, each of which
/// notes what those before it did.
const IDLE: Duration = Duration::from_millis(10);

/// Where events are recorded: a journal's writer, whose methods these are.
pub(crate) trait Sink: Send + 'static {
    type Event: Send + Sync + 'static;

    fn written(&self) -> u64;
    fn synced(&self) -> u64;
    fn record<'e>(
        &mut self,
        first: u64,
        events: impl Iterator<Item = &'e Self::Event>,
    ) -> Result<(), Error>
    where
        Self::Event: 'e;
    fn flush(&mut self, below: u64) -> Result<(), Error>;
    fn sync(&mut self) -> Result<(), Error>;
    fn note_synced(&mut self) -> Result<(), Error>;

    /// Nothing comes any more, and all is synced.
    fn close(&mut self) -> Result<(), Error> {
        self.note_synced()
    }
}

impl<C: Codec> Sink for Parts<C>
where
    C::Event: Send + Sync + 'static,
{
    type Event = C::Event;

    fn written(&self) -> u64 {
        self.writer.written()
    }

    fn synced(&self) -> u64 {
        self.writer.synced()
    }

    fn record<'e>(
        &mut self,
        first: u64,
        events: impl Iterator<Item = &'e C::Event>,
    ) -> Result<(), Error>
    where
        C::Event: 'e,
    {
        self.writer.record(first, events)
    }

    fn flush(&mut self, below: u64) -> Result<(), Error> {
        self.writer.flush(below)
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.writer.sync()
    }

    fn note_synced(&mut self) -> Result<(), Error> {
        self.writer.note_synced()
    }

    fn close(&mut self) -> Result<(), Error> {
        self.writer.close()
    }
}

/// How a sink is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) sync: SyncPolicy,
    pub(crate) on_error: OnJournalError,
}

/// What the thread of the journal's stage runs.
pub(crate) struct Recorder<S: Sink> {
    /// The stage's place in the bus. What it says of a handler that fails does not matter: there is none.
    job: Job<S::Event>,
    consumer: Consumer<S::Event>,
    progress: Progress<S>,
}

/// How far the sink is. Positions are the ring's.
struct Progress<S> {
    sink: S,
    policy: Policy,
    durability: Durability,
    /// The sequence of position 0.
    first: u64,
    /// Above this many events a sync does not wait for its time: producers would soon wait for it.
    unsynced_max: u64,
    written: u64,
    synced: u64,
    /// When the oldest event that is not synced must be; for the policy that says so.
    due: Option<Instant>,
    /// When to note how far it is synced, if nothing comes before.
    note: Option<Instant>,
    counters: Counters,
}

impl<S> Drop for Progress<S> {
    /// However the thread ends: nobody waits for a sync that never comes.
    fn drop(&mut self) {
        self.durability.end_synced(&self.counters);
    }
}

impl<S: Sink> Recorder<S> {
    pub(crate) fn new(
        job: Job<S::Event>,
        consumer: Consumer<S::Event>,
        sink: S,
        policy: Policy,
        durability: Durability,
    ) -> Self {
        let core = &job.ring.core;
        let (first, unsynced_max) = (core.numbering().first(), core.capacity() / 2);
        Self {
            progress: Progress {
                sink,
                policy,
                durability,
                first,
                unsynced_max,
                written: 0,
                synced: 0,
                due: None,
                note: None,
                counters: Counters::default(),
            },
            job,
            consumer,
        }
    }

    /// Records to the end of the bus, or of the journal.
    pub(crate) fn run(mut self) {
        let inside = Inside::enter(self.job.bus);
        let (consumer, progress) = (&mut self.consumer, &mut self.progress);
        let outcome = progress.follow(consumer);
        if let Err(error) = outcome {
            self.failed(error);
        }
        let Self {
            progress, consumer, ..
        } = self;
        drop(progress); // the synced watermark ends first: it is never above the other one
        drop(consumer);
        drop(inside);
    }

    #[cold]
    fn failed(&self, error: Error) {
        let job = &self.job;
        let error = Arc::new(error);
        self.progress.durability.fail(error.clone());
        if self.progress.policy.on_error == OnJournalError::Halt {
            job.ring.core.halt();
        }
        job.roster.fail(Failure {
            stage: job.stage.clone(),
            sequence: None, // the error says where
            cause: error,
        });
        job.signals.notify_all(&self.progress.counters);
    }
}

impl<S: Sink> Progress<S> {
    /// Until when to wait for events.
    fn deadline(&self) -> Option<Instant> {
        self.due.or(self.note)
    }

    /// Whether what is written must not wait any longer to be synced.
    fn must_sync(&self) -> bool {
        let unsynced = self.written - self.synced;
        if unsynced == 0 {
            return false;
        }
        let asks = match self.policy.sync {
            SyncPolicy::EveryBatch => true,
            SyncPolicy::Interval(_) => {
                unsynced >= self.unsynced_max || self.due.is_some_and(|due| Instant::now() >= due)
            }
            SyncPolicy::Never => false,
        };
        asks || self.is_requested()
    }

    fn is_requested(&self) -> bool {
        self.durability.is_requested(self.written, self.synced)
    }

    fn follow(&mut self, consumer: &mut Consumer<S::Event>) -> Result<(), Error> {
        loop {
            let interrupted = || self.is_requested();
            match consumer.read_unless(self.deadline(), interrupted) {
                Ok(batch) => self.record(batch)?,
                Err(Unread::Interrupted) => self.note_when_idle()?,
                Err(Unread::Ended) => break,
            }
            if self.must_sync() {
                self.sync()?;
            }
        }
        if self.written > self.synced {
            self.sync()?;
        }
        self.sink.close()
    }

    /// Records a batch. When that fails it ends where the sink was when it last wrote.
    fn record(&mut self, mut batch: Batch<'_, S::Event>) -> Result<(), Error> {
        let range = batch.range();
        let (sink, first) = (&mut self.sink, self.first);
        let write = || {
            if batch.len() as u64 == range.end - range.start {
                sink.record(first + range.start, batch.iter())?;
            } else {
                let mut events = batch.iter();
                while let Some((position, event)) = events.next_numbered() {
                    sink.record(first + position, iter::once(event))?;
                }
            }
            sink.flush(first + range.end)
        };
        // a codec is the user's
        let outcome = catch_unwind(AssertUnwindSafe(write)).unwrap_or_else(|panic| {
            let text = format!("the journal's codec panicked: {}", panic_text(panic));
            Err(Error::new(ErrorKind::Codec, text))
        });
        if let Err(error) = outcome {
            let written = self.sink.written().saturating_sub(first);
            self.written = written.clamp(range.start, range.end);
            batch.stop_at(self.written, 0);
            return Err(error);
        }
        if let SyncPolicy::Interval(interval) = self.policy.sync {
            self.due.get_or_insert_with(|| Instant::now() + interval);
        }
        self.written = range.end;
        self.note = None;
        drop(batch); // comes after the write: producers use the slots again
        Ok(())
    }

    /// Makes durable what is written.
    fn sync(&mut self) -> Result<(), Error> {
        self.sink.sync()?;
        let synced = self.sink.synced().saturating_sub(self.first);
        self.synced = synced.clamp(self.synced, self.written);
        self.due = None;
        self.note = (!cfg!(loom)).then(|| Instant::now() + IDLE);
        self.durability.advance_synced(self.synced, &self.counters);
        Ok(())
    }

    fn note_when_idle(&mut self) -> Result<(), Error> {
        if self.note.is_some_and(|at| Instant::now() >= at) {
            self.note = None;
            self.sink.note_synced()?;
        }
        Ok(())
    }
}
