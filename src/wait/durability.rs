//! How far a journal is, and waiting for it: two watermarks, and whoever wants one of them to rise.
//!
//! The watermarks are entries of the cursor table that the journal's stage moves: *written* is where it reads, *synced* stands beside.
//! Whoever waits for one sleeps as readers behind a stage do.
//!
//! **A request** for a sync is a write that may end the journal's own wait: under some policies it sleeps without a deadline.
//! So it is one read-modify-write of `requested`, and then a look for sleepers on each word that the journal sleeps on; the
//! journal looks at `requested` inside the look of its wait. What is requested is a position: served once *synced* has reached it, and not
//! before *written* is above *synced*.

use crate::config::Wait;
use crate::error::{DurabilityError, Error};
use crate::ring::cursor::Counters;
use crate::ring::numbering::Numbering;
use crate::ring::table::Entry;
use crate::sequence::Sequence;
use crate::sync::{Arc, AtomicU64, Ordering, step};
use crate::wait::context::is_inside;
use crate::wait::signal::{Signal, Signals};
use crate::wait::{Look, Waiter};
use crossbeam_utils::CachePadded;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc as PlainArc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Instant;

/// How sure it is that an event of a journal survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// The system has it: it survives the end of the process, however that ends.
    Written,
    /// The device has it: it survives a power failure.
    Synced,
}

/// How far the journal of a bus is: from [`Bus::durability`](crate::Bus::durability). Any number of threads may have clones of it.
///
/// ```
/// use ringway::{BusConfig, Journal, JournalConfig, Level, Plain, Topology};
/// # let path = std::env::temp_dir().join(format!("ringway-doc-durability-{}", std::process::id()));
/// let journal = Journal::open(&path, JournalConfig::default(), Plain::<u64>::new())?;
/// let mut topology = Topology::single(BusConfig::default(), || 0)?;
/// topology.stage("journal").journal(journal);
/// let (bus, mut producer) = topology.start()?;
/// let durability = bus.durability().expect("it has a journal");
///
/// let sequence = producer.publish(7)?;
/// durability.wait(sequence, Level::Synced)?;
/// assert!(durability.synced() > sequence);
/// # drop(producer);
/// # bus.shutdown()?;
/// # let _ = std::fs::remove_dir_all(path);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Durability {
    shared: PlainArc<Shared>,
}

struct Shared {
    written: Mark,
    synced: Mark,
    /// Every event below it shall be durable at once.
    requested: CachePadded<AtomicU64>,
    /// Where the journal sleeps.
    journal_sleeps: Box<[Signal]>,
    /// Set before the marks end.
    failure: OnceLock<PlainArc<Error>>,
    signals: Arc<Signals>,
    numbering: Numbering,
    /// Of the ring: nothing that is so far above what is written is published.
    capacity: u64,
    bus: usize,
    /// Events may stay unsynced while producers wait for room, which stages behind the journal keep.
    is_lazy: bool,
}

/// A watermark, and where those sleep that wait for it.
pub(crate) struct Mark {
    entry: PlainArc<Entry>,
    signal: Signal,
}

impl Mark {
    /// The entry of the cursor table with this index; somebody may sleep on it from now on.
    pub(crate) fn new(entry: &PlainArc<Entry>, index: usize, signals: &Signals) -> Self {
        let signal = Signal::cursor(index);
        signals.watch(signal);
        Self {
            entry: entry.clone(),
            signal,
        }
    }

    fn position(&self) -> u64 {
        self.entry.cursor.load().position()
    }
}

impl Durability {
    /// `journal_sleeps`: on which words the journal may sleep. `bus`: see [`is_inside`]. `is_lazy`: it lets what it has written wait for a while
    /// before it syncs, and stages that come after it wait as long.
    pub(crate) fn new(
        (written, synced): (Mark, Mark),
        journal_sleeps: Box<[Signal]>,
        signals: &Arc<Signals>,
        (numbering, capacity): (&Numbering, u64),
        bus: usize,
        is_lazy: bool,
    ) -> Self {
        Self {
            shared: PlainArc::new(Shared {
                written,
                synced,
                requested: CachePadded::new(AtomicU64::new(0)),
                journal_sleeps,
                failure: OnceLock::new(),
                signals: signals.clone(),
                numbering: numbering.clone(),
                capacity,
                bus,
                is_lazy,
            }),
        }
    }

    /// Every event below survives the end of the process.
    #[must_use]
    pub fn written(&self) -> Sequence {
        let Shared {
            numbering, written, ..
        } = &*self.shared;
        numbering.sequence(written.position())
    }

    /// Every event below survives a power failure.
    #[must_use]
    pub fn synced(&self) -> Sequence {
        let Shared {
            numbering, synced, ..
        } = &*self.shared;
        numbering.sequence(synced.position())
    }

    /// Waits until the event with this sequence, and so every one before it, is as durable as `level` says. With
    /// [`Level::Synced`] the journal syncs at once, whatever its policy is, and goes on to do so until that sequence is durable; for one that is
    /// further ahead than the ring is long, once it comes nearer.
    ///
    /// # Errors
    /// [`DurabilityError`], as soon as it is known that the sequence does not become durable.
    pub fn wait(&self, sequence: Sequence, level: Level) -> Result<(), DurabilityError> {
        self.wait_until(sequence, level, None)
    }

    /// [`wait`](Self::wait), no longer than `deadline`.
    ///
    /// # Errors
    /// [`DurabilityError`].
    pub fn wait_deadline(
        &self,
        sequence: Sequence,
        level: Level,
        deadline: Instant,
    ) -> Result<(), DurabilityError> {
        self.wait_until(sequence, level, Some(deadline))
    }

    /// [`wait`](Self::wait) for a task of any executor. It never answers `WouldDeadlock`: a handler of this bus that blocks on it may
    /// wait for itself.
    ///
    /// # Errors
    /// The future's output: [`DurabilityError`].
    pub fn wait_async(&self, sequence: Sequence, level: Level) -> DurabilityFuture {
        DurabilityFuture {
            wait: Some(AsyncWait {
                waiter: self.waiter(),
                position: self.position(sequence),
                durability: self.clone(),
                level,
                is_near: level == Level::Written,
            }),
        }
    }

    fn wait_until(
        &self,
        sequence: Sequence,
        level: Level,
        deadline: Option<Instant>,
    ) -> Result<(), DurabilityError> {
        let position = self.position(sequence);
        if let Ok(known) = self.look(position, level) {
            return known;
        }
        if is_inside(self.shared.bus) {
            return Err(DurabilityError::WouldDeadlock);
        }
        let wait = |position, level| {
            let look = || self.look(position, level);
            let found = self.waiter().wait(deadline, &Counters::default(), look);
            found.unwrap_or(Err(DurabilityError::TimedOut))
        };
        if level == Level::Synced {
            wait(self.near(position), Level::Written)?;
            self.request_below(position);
        }
        wait(position, level)
    }

    /// What must be written before a sync is asked for: for one that is never published the journal would sync after every batch, for ever.
    fn near(&self, position: u64) -> u64 {
        position.saturating_sub(self.shared.capacity)
    }

    /// What a mark must reach. What the journal had when it was opened is durable.
    fn position(&self, sequence: Sequence) -> u64 {
        (sequence.get().saturating_add(1)).saturating_sub(self.shared.numbering.first())
    }

    /// A device takes its time, so nobody spins for it.
    fn waiter(&self) -> Waiter {
        let wait = if cfg!(loom) {
            Wait::Park
        } else {
            Wait::Adaptive
        };
        Waiter::new(&self.shared.signals, wait)
    }

    /// Whether everything below `position` is durable, or never will be.
    fn look(&self, position: u64, level: Level) -> Look<Result<(), DurabilityError>> {
        let mark = match level {
            Level::Written => &self.shared.written,
            Level::Synced => &self.shared.synced,
        };
        let seen = mark.entry.cursor.load();
        if seen.position() >= position {
            Ok(Ok(()))
        } else if seen.is_retired() {
            Ok(Err(match self.shared.failure.get() {
                Some(error) => DurabilityError::Failed(error.clone()),
                None => DurabilityError::Ended,
            }))
        } else {
            Err(Some(mark.signal))
        }
    }

    /// A producer finds the ring full, and everything below `position` published: perhaps only a sync is missing.
    pub(crate) fn make_room(&self, position: u64) {
        if self.shared.is_lazy {
            self.request_below(position);
        }
    }

    /// Asks the journal to sync as soon as it has written anything below `position`.
    #[cold]
    pub(crate) fn request_below(&self, position: u64) {
        let Shared {
            requested,
            journal_sleeps,
            signals,
            ..
        } = &*self.shared;
        // relaxed: only that it need not be asked for again
        if requested.load(Ordering::Relaxed) >= position {
            return; // whoever asked wakes the journal
        }
        // pairs: REQUESTED (is_requested)
        requested.fetch_max(position, Ordering::AcqRel);
        if step("request_unnotified") {
            let counters = Counters::default();
            (journal_sleeps.iter()).for_each(|&signal| signals.notify(signal, &counters));
        }
    }

    /// For the journal: whether it shall make durable what is written and is not yet synced.
    pub(crate) fn is_requested(&self, written: u64, synced: u64) -> bool {
        // pairs: REQUESTED (request_below)
        written.min(self.shared.requested.load(Ordering::Acquire)) > synced
    }

    /// For the journal: everything below `position` is durable.
    pub(crate) fn advance_synced(&self, position: u64, counters: &Counters) {
        let Shared {
            synced, signals, ..
        } = &*self.shared;
        synced.entry.cursor.advance(position);
        if step("sync_unnotified") {
            signals.notify(synced.signal, counters);
        }
    }

    /// For the journal: it syncs nothing more; `failure`: comes first, so that whoever sees the end knows.
    pub(crate) fn end_synced(&self, counters: &Counters) {
        let Shared {
            synced, signals, ..
        } = &*self.shared;
        synced.entry.cursor.retire();
        if step("synced_end_unnotified") {
            signals.notify_early(synced.signal, counters);
        }
    }

    /// For the journal, before its marks end: why.
    pub(crate) fn fail(&self, error: PlainArc<Error>) {
        self.shared.failure.get_or_init(|| error);
    }
}

impl fmt::Debug for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durability")
            .field("written", &self.written())
            .field("synced", &self.synced())
            .finish_non_exhaustive()
    }
}

/// A wait for the journal: see [`Durability::wait_async`].
#[must_use = "a future does nothing unless it is polled"]
pub struct DurabilityFuture {
    /// `None`: there is no journal.
    wait: Option<AsyncWait>,
}

struct AsyncWait {
    durability: Durability,
    waiter: Waiter,
    position: u64,
    level: Level,
    /// A sync was asked for, if one is needed.
    is_near: bool,
}

impl DurabilityFuture {
    /// Of a bus without a journal.
    pub(crate) fn without_journal() -> Self {
        Self { wait: None }
    }
}

impl Future for DurabilityFuture {
    type Output = Result<(), DurabilityError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(AsyncWait {
            durability,
            waiter,
            position,
            level,
            is_near,
        }) = &mut self.wait
        else {
            return Poll::Ready(Err(DurabilityError::NoJournal));
        };
        if !*is_near {
            let near = durability.near(*position);
            let look = || durability.look(near, Level::Written);
            ready!(waiter.poll(context, &Counters::default(), look))?;
            durability.request_below(*position);
            *is_near = true;
        }
        waiter.poll(context, &Counters::default(), || {
            durability.look(*position, *level)
        })
    }
}

impl fmt::Debug for DurabilityFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurabilityFuture")
            .field("level", &self.wait.as_ref().map(|wait| wait.level))
            .finish_non_exhaustive()
    }
}
