//! A running bus: how it is watched and how it ends.

mod subscribe;
mod tap;
mod weak;

pub(crate) use subscribe::Terms;
pub(crate) use weak::WeakBus;

use crate::consumer::LateReaders;
use crate::error::{Error, ErrorKind};
use crate::journal::replay::{Archive, Replay};
use crate::pressure::{PressureReport, Watch};
use crate::ring::cursor::Counters;
use crate::ring::{Kind, Ring};
use crate::sequence::Sequence;
use crate::stage::{Failure, Roster};
use crate::stats::{BusStats, ProducerStats, StageStats, TapStats};
use crate::sync::{Arc, thread_number};
use crate::wait::context::is_inside;
use crate::wait::durability::Durability;
use crate::wait::pace::Paces;
use crate::wait::signal::Signals;
use std::fmt;
use std::sync::{Arc as PlainArc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// Each stage's name, and its entries in the cursor table.
type NamedStages = Vec<(String, Box<[usize]>)>;

/// A running bus. Dropping it lets the bus run on: stages drain after the last producer is gone, and their threads end.
///
/// * [`close`](Self::close): no more events; stages deliver what was published and end, in the order of the graph. Dropping
///   the last producer does the same.
/// * [`halt`](Self::halt): every stage stops after the event at hand.
/// * [`join`](Self::join) waits for the end; [`shutdown`](Self::shutdown) is close, then join.
///
/// A multi-producer bus closes at once: a publish that answered `Ok` is delivered to every stage that still lives, later ones answer
/// `Closed`. A single-producer bus closes when its producer takes notice: at its next call, or its drop.
pub struct Bus<T> {
    /// Who watches it; the first field, so that it lets go of the ring while the bus still has it.
    pub(crate) watch: Option<Watch>,
    pub(crate) ring: Arc<Ring<T>>,
    pub(crate) signals: Arc<Signals>,
    pub(crate) roster: PlainArc<Roster>,
    pub(crate) threads: Mutex<Vec<JoinHandle<()>>>,
    pub(crate) members: PlainArc<Members>,
    pub(crate) warnings: Vec<Error>,
    /// How far its journal is.
    pub(crate) durability: Option<Durability>,
    /// What its journal holds.
    pub(crate) archive: Option<Archive<T>>,
    /// How fast its stages may go.
    pub(crate) paces: Paces,
}

/// Who reads a bus, and on which terms others join it.
#[derive(Debug)]
pub(crate) struct Members {
    pub(crate) stages: NamedStages,
    /// The same of taps.
    pub(crate) taps: NamedStages,
    /// Readers that joined since.
    pub(crate) late: PlainArc<LateReaders>,
    pub(crate) terms: Terms,
}

impl<T: Send + 'static> Bus<T> {
    /// How many events the ring holds: the configured capacity, rounded up to a power of two.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.ring.core.capacity() as usize
    }

    /// What `start()` found questionable and did anyway: threads that do not fit the machine.
    #[must_use]
    pub fn warnings(&self) -> &[Error] {
        &self.warnings
    }

    /// What the bus has done so far. Costs a few cache-line reads a stage, and the bus next to nothing.
    #[must_use]
    pub fn stats(&self) -> BusStats {
        let core = &self.ring.core;
        let stages = self
            .members
            .stages
            .iter()
            .map(|(name, entries)| StageStats::of(core, name, entries))
            .chain(
                self.members
                    .late
                    .each(false, |name, entry| StageStats::of(core, name, &[entry])),
            )
            .collect();
        BusStats {
            capacity: self.capacity(),
            stages,
            taps: (self.members.taps.iter())
                .map(|(name, entries)| TapStats::of(core, name, entries[0]))
                .chain(
                    (self.members.late).each(true, |name, entry| TapStats::of(core, name, entry)),
                )
                .collect(),
            producers: core
                .producers()
                .iter()
                .map(|counters| ProducerStats::of(core, counters))
                .collect(),
            dropped: core.dropped(),
            position: core.numbering().sequence(core.position()).get(),
        }
    }

    /// How full the ring was, and which stage kept it so, when the thread that [watches](crate::BusConfig::pressure) last looked: at most 10 ms
    /// ago, if it got a core and no callback keeps it. `None`: nobody watches. Costs the bus nothing.
    #[must_use]
    pub fn pressure(&self) -> Option<PressureReport> {
        self.watch.as_ref().map(Watch::report)
    }

    /// How far its journal is, if it has one; and waiting for it.
    #[must_use]
    pub fn durability(&self) -> Option<Durability> {
        self.durability.clone()
    }

    /// The events that its journal holds, from `from` up to what is *written* at this moment; read beside the running bus, on the caller's thread.
    /// While the replay lives, retention removes nothing of it.
    ///
    /// # Errors
    /// [`JournalMisplaced`](ErrorKind::JournalMisplaced): there is no journal.
    /// [`InvalidConfig`](ErrorKind::InvalidConfig): `from` is above what is written, or removed already.
    /// [`JournalIo`](ErrorKind::JournalIo).
    pub fn replay(&self, from: Sequence) -> Result<Replay<T>, Error> {
        let (Some(archive), Some(durability)) = (&self.archive, &self.durability) else {
            let text = "the bus has no journal to replay: give it one with topology.stage(name).journal(journal)";
            return Err(Error::new(ErrorKind::JournalMisplaced, text));
        };
        archive.replay(from.get(), durability.written().get())
    }

    /// No more events; what was published is delivered. Returns at once, and may be called more than once.
    pub fn close(&self) {
        self.ring.core.close();
        self.wake_everybody();
    }

    /// Every stage stops after the event at hand; what is left in the ring is not delivered. Returns at once.
    pub fn halt(&self) {
        self.ring.core.halt();
        self.wake_everybody();
    }

    fn wake_everybody(&self) {
        self.signals.notify_all(&Counters::default());
    }

    /// Waits until every managed stage has ended; readers that the user holds are not waited for.
    ///
    /// # Errors
    /// [`StageFailed`](ErrorKind::StageFailed): a handler failed, under [`Halt`](crate::OnPanic::Halt) or
    /// [`Retire`](crate::OnPanic::Retire); the text says which stage, at which sequence, and why, and
    /// [`source`](std::error::Error::source) is its error. [`Halted`](ErrorKind::Halted): the bus was halted; see
    /// [`discarded`](Error::discarded). [`WouldDeadlock`](ErrorKind::WouldDeadlock): called from a thread of this bus, or
    /// from the one that made or last used its living single producer (one that was moved to another thread counts as that
    /// thread's from its first call there); nothing was waited for, and the bus runs on, detached.
    pub fn join(self) -> Result<(), Error> {
        self.join_until(None)
    }

    /// [`join`](Self::join), waiting no longer than `deadline`.
    ///
    /// # Errors
    /// Those of [`join`](Self::join), and [`TimedOut`](ErrorKind::TimedOut): the text names the threads that still run.
    pub fn join_deadline(&self, deadline: Instant) -> Result<(), Error> {
        self.join_until(Some(deadline))
    }

    /// Closes the bus, and waits until every managed stage has delivered what was published.
    ///
    /// # Errors
    /// Those of [`join`](Self::join).
    pub fn shutdown(self) -> Result<(), Error> {
        self.refuse_self()?;
        self.close();
        self.join()
    }

    /// [`shutdown`](Self::shutdown), waiting no longer than `deadline`.
    ///
    /// # Errors
    /// Those of [`join_deadline`](Self::join_deadline).
    pub fn shutdown_deadline(&self, deadline: Instant) -> Result<(), Error> {
        self.refuse_self()?;
        self.close();
        self.join_deadline(deadline)
    }

    fn join_until(&self, deadline: Option<Instant>) -> Result<(), Error> {
        self.refuse_self()?;
        let running = self.roster.wait(deadline);
        if !running.is_empty() {
            let text = format!(
                "the deadline passed and {} still run: {}",
                running.len(),
                running.join(", ")
            );
            return Err(Error::new(ErrorKind::TimedOut, text));
        }
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        // a handler's panic was caught and is in the roster; this is one outside of handlers, in a panic payload's own drop
        let died = threads
            .into_iter()
            .filter_map(|thread| thread.join().err())
            .count();
        self.outcome(died)
    }

    /// Waiting on this thread would wait for itself.
    fn refuse_self(&self) -> Result<(), Error> {
        let core = &self.ring.core;
        let uses_producer = core.kind() == Kind::Single
            && self.roster.is_running()
            && !core.is_halted()
            && core.has_producers()
            && core.closing().is_none()
            && core.last_user() == thread_number();
        let text = if is_inside(self.ring.core.id()) {
            "called from a thread of this bus, or while it holds a claim: it would wait for itself"
        } else if uses_producer {
            "called from the thread that made or last used the bus's living producer: drop the producer first, or call from another thread"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::WouldDeadlock, text))
    }

    /// How it ended.
    fn outcome(&self, died: usize) -> Result<(), Error> {
        let halted = self.ring.core.is_halted();
        let discarded = self
            .stats()
            .stages
            .iter()
            .map(|stage| stage.lag)
            .max()
            .unwrap_or(0);
        let failures = self.roster.failures();
        let error = match failures.first() {
            Some(first) => failed(first, failures.len() - 1),
            None if died > 0 => Error::new(
                ErrorKind::StageFailed,
                format!("{died} stage threads died outside their handlers"),
            ),
            None if halted => Error::new(
                ErrorKind::Halted,
                format!("halted: {discarded} sequences did not pass every stage"),
            ),
            None => return Ok(()),
        };
        Err(if halted {
            error.with_discarded(discarded)
        } else {
            error
        })
    }
}

fn failed(first: &Failure, others: usize) -> Error {
    let mut text = format!("stage `{}` failed", first.stage);
    if let Some(sequence) = first.sequence {
        text += &format!(" at sequence {sequence}");
    }
    text += &format!(": {}", first.cause);
    if others > 0 {
        text += &format!(" (and {others} more failures)");
    }
    Error::new(ErrorKind::StageFailed, text)
        .with_stage(&first.stage)
        .with_source(first.cause.clone())
}

impl<T> fmt::Debug for Bus<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus")
            .field("ring", &self.ring)
            .field("stages", &self.members.stages)
            .finish_non_exhaustive()
    }
}
