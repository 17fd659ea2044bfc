//! What to do meanwhile: wait strategies, sleeping and waking.
//!
//! A [`Waiter`] belongs to one end and waits for a *look* to succeed: a closure that tries, and says which [`Signal`]
//! to watch when it cannot. Spinning strategies just look again. Sleeping ones use the eventcount of [`signal`]:
//! register, fence, look again, sleep; and whoever changes what others look at fences, then looks for sleepers.

pub(crate) mod context;
pub(crate) mod signal;

use crate::config::Wait;
use crate::ring::cursor::Counters;
use crate::sync::{Arc, Parker, fence, sleep, spin_loop, yield_now};
use signal::{Signal, Signals, Wakeup};
use std::task::{Context, Poll};
use std::time::Instant;

/// What a look found: the thing itself, or which signal to watch; `None`: look again at once.
pub(crate) type Look<R> = Result<R, Option<Signal>>;

/// How often `Adaptive` looks with a pause in between before it yields: it learns, between these, whether that pays.
const SPINS_MIN: u32 = 32;
const SPINS_MAX: u32 = 128;
/// How often it yields, then, before it parks.
const YIELDS: u32 = 8;
/// How often `Yield` pauses before it yields between looks.
const SPINS_BEFORE_YIELD: u32 = 64;
/// Spinning strategies read the clock once in so many looks.
const LOOKS_BETWEEN_CLOCK_READS: u32 = 32;

/// The one that waits: a strategy and an entry among the sleepers.
pub(crate) struct Waiter {
    signals: Arc<Signals>,
    entry: usize,
    parker: Parker,
    strategy: Wait,
    /// For `Adaptive`: how many looks are worth their pause now.
    spins: u32,
}

/// What a strategy does between two looks.
enum Pause {
    Spin,
    Yield,
    Sleep(std::time::Duration),
    Park,
}

impl Waiter {
    pub(crate) fn new(signals: &Arc<Signals>, strategy: Wait) -> Self {
        Self {
            signals: signals.clone(),
            entry: signals.add_waiter(),
            parker: Parker::new(),
            strategy,
            spins: SPINS_MAX,
        }
    }

    /// Another one that waits the same way.
    pub(crate) fn another(&self) -> Self {
        Self::new(&self.signals, self.strategy)
    }

    pub(crate) fn set_strategy(&mut self, strategy: Wait) {
        self.strategy = strategy;
    }

    /// Waits until `look` succeeds; `None` when the deadline passed first. It looks at least once.
    #[cold]
    pub(crate) fn wait<R>(
        &mut self,
        deadline: Option<Instant>,
        counters: &Counters,
        mut look: impl FnMut() -> Look<R>,
    ) -> Option<R> {
        counters.stalls.add(1);
        let mut round = 0_u32;
        loop {
            let watch = match look() {
                Ok(found) => {
                    self.learn(round);
                    return Some(found);
                }
                Err(watch) => watch,
            };
            let pause = if watch.is_some() {
                self.pause(round)
            } else {
                Pause::Spin
            };
            let reads_clock =
                !matches!(pause, Pause::Spin) || round.is_multiple_of(LOOKS_BETWEEN_CLOCK_READS);
            if let Some(deadline) = deadline.filter(|_| reads_clock)
                && Instant::now() >= deadline
            {
                return None;
            }
            match (pause, watch) {
                (Pause::Park, Some(signal)) => {
                    if let Some(found) = self.park(signal, deadline, counters, &mut look) {
                        return Some(found);
                    }
                }
                (Pause::Yield, _) => yield_now(),
                (Pause::Sleep(time), _) => {
                    sleep(deadline.map_or(time, |at| {
                        time.min(at.saturating_duration_since(Instant::now()))
                    }));
                }
                _ => spin_loop(),
            }
            round = round.wrapping_add(1);
        }
    }

    fn pause(&self, round: u32) -> Pause {
        match self.strategy {
            Wait::BusySpin => Pause::Spin,
            Wait::Yield if round < SPINS_BEFORE_YIELD => Pause::Spin,
            Wait::Yield => Pause::Yield,
            Wait::Backoff { spins, .. } if round < spins => Pause::Spin,
            Wait::Backoff { spins, yields, .. } if round - spins < yields => Pause::Yield,
            Wait::Backoff { sleep, .. } => Pause::Sleep(sleep),
            Wait::Park => Pause::Park,
            Wait::Adaptive if round < self.spins => Pause::Spin,
            Wait::Adaptive if round - self.spins < YIELDS => Pause::Yield,
            Wait::Adaptive => Pause::Park,
        }
    }

    /// Spinning that was enough is worth more next time; spinning that ended in sleep, less.
    fn learn(&mut self, round: u32) {
        if round <= self.spins {
            self.spins = (self.spins * 2).min(SPINS_MAX);
        } else if round > self.spins + YIELDS {
            self.spins = (self.spins / 2).max(SPINS_MIN);
        }
    }

    /// Sleeps once, unless a look after registering succeeds.
    fn park<R>(
        &mut self,
        signal: Signal,
        deadline: Option<Instant>,
        counters: &Counters,
        look: &mut impl FnMut() -> Look<R>,
    ) -> Option<R> {
        let signals = &self.signals;
        if !signals.arm(self.entry, signal, Wakeup::Thread(self.parker.unparker())) {
            yield_now(); // somebody is waking this entry right now: let them finish
            return None;
        }
        fence("sleeper_fence"); // pairs: SLEEP-FENCE (Signals::notify)
        let found = look();
        if matches!(found, Err(Some(watch)) if watch == signal) {
            counters.parks.add(1);
            self.parker.park(deadline);
        }
        signals.disarm(self.entry);
        found.ok()
    }

    /// The same for a task: registers its waker and looks again.
    pub(crate) fn poll<R>(
        &mut self,
        context: &mut Context<'_>,
        counters: &Counters,
        mut look: impl FnMut() -> Look<R>,
    ) -> Poll<R> {
        loop {
            let signal = match look() {
                Ok(found) => return Poll::Ready(found),
                Err(Some(signal)) if self.signals.is_watched(signal) => signal,
                // nobody looks for sleepers there, or the readers change just now: run again soon
                Err(_) => break,
            };
            if !self
                .signals
                .arm(self.entry, signal, Wakeup::Task(context.waker().clone()))
            {
                break;
            }
            fence("poll_fence"); // pairs: SLEEP-FENCE (Signals::notify)
            match look() {
                Ok(found) => {
                    self.signals.disarm(self.entry);
                    return Poll::Ready(found);
                }
                Err(Some(watch)) if watch == signal => {
                    counters.stalls.add(1);
                    counters.parks.add(1);
                    return Poll::Pending;
                }
                Err(_) => self.signals.disarm(self.entry),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Forgets a waker that [`poll`](Self::poll) registered.
    pub(crate) fn disarm(&self) {
        self.signals.disarm(self.entry);
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.signals.remove_waiter(self.entry);
    }
}
