//! The pace of a smoothed stage: what its members share, and where they sleep while they have to wait.
//!
//! A member that may read something looks under the lock of the bucket, takes as much as there are tokens for, and pays when
//! it has it. So all members together keep the rate, whoever of them reads. A position is paid for once, by whoever comes
//! there first: members of a keyed group pass every position each, and the others pass for nothing what one has paid for.
//!
//! **Waiting.** With no token it waits until some are due, on a signal word that smoothed stages have among themselves: on that
//! of producers, or of a stage before it, each of their events would wake it for nothing. Who ends the bus looks for sleepers on every
//! word. Whoever changes the values counts `changes` up by RMW and looks for sleepers; who waits compares `changes` in its look.

use crate::config::{Smoothing, Wait};
use crate::pacer::Pacer;
use crate::ring::cursor::Counters;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering, step};
use crate::wait::signal::{Signal, Signals};
use crate::wait::{Look, Waiter};
use std::ops::DerefMut;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// How fast a stage may go.
pub(crate) struct Pace {
    bucket: Mutex<Bucket>,
    /// How often the values have changed.
    changes: AtomicU64,
    signals: Arc<Signals>,
    /// What those watch who wait for tokens.
    signal: Signal,
    origin: Instant,
}

/// What the stages of a topology keep to, in the order in which they were added.
#[derive(Default)]
pub(crate) struct Paces {
    /// Tells it from other topologies.
    pub(crate) topology: u64,
    /// Each stage's name, and its pace if it is smoothed.
    pub(crate) stages: Vec<(String, Option<Arc<Pace>>)>,
}

struct Bucket {
    pacer: Pacer,
    /// Every position below is paid for.
    paid: u64,
}

/// Why a stage reads nothing now: so many changes ago it was found that nothing is due before a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Early {
    due: u64,
    changes: u64,
}

impl Pace {
    /// `wait`: how its members wait.
    pub(crate) fn new(
        smoothing: Smoothing,
        signals: &Arc<Signals>,
        signal: Signal,
        wait: Wait,
    ) -> Self {
        if wait.parks() {
            signals.watch(signal);
        }
        Self {
            bucket: Mutex::new(Bucket {
                pacer: Pacer::new(smoothing, 0),
                paid: 0,
            }),
            changes: AtomicU64::new(0),
            signals: signals.clone(),
            signal,
            origin: Instant::now(),
        }
    }

    /// Swaps the values; whoever waits goes by the new ones.
    pub(crate) fn set(&self, smoothing: Smoothing) {
        let mut bucket = self.lock();
        bucket.pacer.change(smoothing, self.now());
        drop(bucket);
        // pairs: PACE (wait, pass)
        self.changes.fetch_add(1, Ordering::AcqRel);
        if step("pace_unnotified") {
            self.signals.notify(self.signal, &Counters::default());
        }
    }

    /// Lets `read` have as many positions from `next` on as are paid for or can be, at most `most`; it says which one follows those that
    /// it has taken. Never none: without a token, `Err`.
    pub(crate) fn pass<R, E>(
        &self,
        next: impl FnOnce() -> u64,
        most: u64,
        read: impl FnOnce(u64) -> Result<(R, u64), E>,
    ) -> Result<Result<R, E>, Early> {
        // pairs: PACE (set): comes first, so that a change meanwhile ends the wait
        let changes = self.changes.load(Ordering::Acquire);
        let mut bucket = self.lock();
        let next = next(); // no other member takes anything from here on
        let tokens = bucket.pacer.available(self.now());
        let may = bucket.paid.saturating_sub(next).saturating_add(tokens);
        if may == 0 {
            let due = bucket.pacer.due();
            return Err(Early { due, changes });
        }
        Ok(read(may.min(most)).map(|(found, end)| {
            let paid = bucket.paid.max(next);
            bucket.pacer.take(end.saturating_sub(paid));
            bucket.paid = paid.max(end);
            found
        }))
    }

    /// Waits until something is due, the values change, or `ended`: whoever brings that about wakes all.
    #[cold]
    pub(crate) fn wait(
        &self,
        waiter: &mut Waiter,
        Early { due, changes }: Early,
        counters: &Counters,
        ended: impl Fn() -> bool,
    ) {
        // loom has no time, and there is never a token more unless something changes
        let deadline = (!cfg!(loom)).then(|| self.origin + Duration::from_nanos(due));
        let look = || -> Look<()> {
            // pairs: PACE (set)
            if ended() || self.changes.load(Ordering::Acquire) != changes {
                Ok(())
            } else {
                Err(Some(self.signal))
            }
        };
        let _ = waiter.wait(deadline, counters, look); // whatever it was, the caller looks
    }

    /// Nanoseconds since the origin. In models a second passes with each change, and no time otherwise.
    fn now(&self) -> u64 {
        if cfg!(loom) {
            // pairs: PACE (set)
            return self.changes.load(Ordering::Acquire) * 1_000_000_000;
        }
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// A lock for a moment: nobody waits with it. Where somebody panicked with it nothing is half done.
    fn lock(&self) -> impl DerefMut<Target = Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
