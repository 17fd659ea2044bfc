//! What to do meanwhile: wait strategies, sleeping and waking.
//!
//! A [`Waiter`] belongs to one end and waits for a *look* to succeed: a closure that tries, and says which [`Signal`]
//! to watch when it cannot. Spinning strategies just look again. Sleeping ones use the eventcount of [`signal`]:
//! register, fence, look again, sleep; and whoever changes what others look at looks for sleepers afterwards.

pub(crate) mod context;
pub(crate) mod durability;
pub(crate) mod pace;
pub(crate) mod signal;

use crate::config::Wait;
use crate::ring::cursor::Counters;
use crate::sync::{Arc, Parker, fence, sleep, spin_loop, yield_now};
use signal::{Signal, Signals, Wakeup};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// What a look found: the thing itself, or which signal to watch; `None`: none, look again soon.
pub(crate) type Look<R> = Result<R, Option<Signal>>;

/// How often `Adaptive` looks with a pause in between before it yields: it learns, between these, whether that pays.
const SPINS_MIN: u32 = 32;
const SPINS_MAX: u32 = 128;
/// How often it yields, then, before it parks.
const YIELDS: u32 = 8;
/// How often `Yield` pauses before it yields between looks.
const SPINS_BEFORE_YIELD: u32 = 64;
/// The longest sleep where the system has just refused what would make sure that somebody wakes it.
const UNSURE_SLEEP: Duration = Duration::from_millis(1);
/// How often a reader only glances before it waits in earnest. None in models: a glance proves nothing, the whole look that they check
/// comes after it, and whoever parks, as readers do in most of them, does not glance. So no model looks for one event alone because a
/// glance saw just one; tests do.
const GLANCES: u32 = if cfg!(loom) { 0 } else { 32 };
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
    Sleep(Duration),
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

    /// What comes before a wait of whoever spins at first: what `glance`, which is cheap, saw if it was not nothing.
    #[inline(always)]
    pub(crate) fn glances(&self, mut glance: impl FnMut() -> u64) -> Option<u64> {
        if self.strategy == Wait::Park {
            return None;
        }
        (0..GLANCES).find_map(|_| {
            spin_loop();
            Some(glance()).filter(|seen| *seen > 0)
        })
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
        let (mut round, mut slept) = (0_u32, false);
        loop {
            let watch = match look() {
                Ok(found) => {
                    self.learn(round);
                    if !slept {
                        self.signals.calm();
                    }
                    return Some(found);
                }
                Err(watch) => watch,
            };
            let pause = match self.pause(round) {
                Pause::Park if watch.is_none() => Pause::Yield, // nobody would wake it
                pause => pause,
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
                    slept = true;
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
        let wakeup = Wakeup::Thread(self.parker.unparker());
        let Some(armed) = signals.arm(self.entry, signal, wakeup) else {
            yield_now(); // somebody is waking this entry right now: let them finish
            return None;
        };
        fence("sleeper_fence"); // pairs: SLEEP-FENCE (Signals::notify)
        let deadline = if signals.settle(&armed) {
            deadline
        } else {
            let soon = Instant::now() + UNSURE_SLEEP;
            Some(deadline.map_or(soon, |deadline| deadline.min(soon)))
        };
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
                Ok(found) => {
                    self.signals.calm();
                    return Poll::Ready(found);
                }
                Err(Some(signal)) if self.signals.is_watched(signal) => signal,
                // nobody looks for sleepers there, or the readers change just now: run again soon
                Err(_) => break,
            };
            let wakeup = Wakeup::Task(context.waker().clone());
            let Some(armed) = self.signals.arm(self.entry, signal, wakeup) else {
                break;
            };
            fence("poll_fence"); // pairs: SLEEP-FENCE (Signals::notify)
            let sure = self.signals.settle(&armed);
            match look() {
                Ok(found) => {
                    self.signals.disarm(self.entry);
                    return Poll::Ready(found);
                }
                Err(Some(watch)) if watch == signal && sure => {
                    counters.stalls.add(1);
                    counters.parks.add(1);
                    return Poll::Pending;
                }
                Err(_) => self.signals.disarm(self.entry),
            }
            if !sure {
                break;
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::{AtomicU64, Ordering, barrier_everywhere, has_barrier_everywhere};
    use crossbeam_utils::CachePadded;
    use std::thread;

    const ROUNDS: u64 = if cfg!(miri) { 20 } else { 20_000 };
    /// Longer than any machine takes for one hand-off: a wake-up that was lost shows as a wait that gives up.
    const LOST: Duration = Duration::from_secs(20);

    /// How sleepers fence for all; it answers whether it did.
    type Barrier = Option<fn() -> bool>;

    /// One end of a ball game: a number each way.
    struct Side<'s> {
        throws: &'s AtomicU64,
        catches: &'s AtomicU64,
        thrown: Signal,
        caught: Signal,
        counters: Counters,
        waiter: Waiter,
    }

    impl Side<'_> {
        fn throw(&self, number: u64) {
            self.throws.store(number, Ordering::Release);
            self.waiter.signals.notify(self.thrown, &self.counters);
        }

        fn catch(&mut self, number: u64) {
            let look = || match self.catches.load(Ordering::Acquire) {
                now if now >= number => Ok(()),
                _ => Err(Some(self.caught)),
            };
            let deadline = Some(Instant::now() + LOST);
            let found = self.waiter.wait(deadline, &self.counters, look);
            assert!(found.is_some(), "the wake-up for {number} was lost");
        }
    }

    /// Every number is handed over and answered; the pauses between move the moment at which each side goes to sleep.
    fn play(barrier: Barrier, strategy: Wait, calms: bool) {
        let signals = Arc::new(Signals::with_barrier(1, barrier));
        let (ping, pong) = (AtomicU64::new(0), AtomicU64::new(0));
        let sides = [
            (&ping, &pong, Signal::PUBLISHED, Signal::cursor(0)),
            (&pong, &ping, Signal::cursor(0), Signal::PUBLISHED),
        ];
        let [mut first, mut second] = sides.map(|(throws, catches, thrown, caught)| {
            signals.watch(thrown);
            Side {
                throws,
                catches,
                thrown,
                caught,
                counters: Counters::default(),
                waiter: Waiter::new(&signals, strategy),
            }
        });
        thread::scope(|scope| {
            scope.spawn(move || {
                for number in 1..=ROUNDS {
                    (0..number % 61).for_each(|_| spin_loop());
                    first.throw(number);
                    if calms {
                        first.waiter.signals.calm_all();
                    }
                    first.catch(number);
                }
            });
            scope.spawn(move || {
                for number in 1..=ROUNDS {
                    second.catch(number);
                    (0..number % 67).for_each(|_| spin_loop());
                    second.throw(number);
                }
            });
        });
    }

    /// One goes to sleep at the very moment at which the other one publishes: both start from a word that they spin on.
    fn meet(barrier: Barrier) {
        let signals = Arc::new(Signals::with_barrier(0, barrier));
        signals.watch(Signal::PUBLISHED);
        let [ready, number] = [0, 0].map(|start| CachePadded::new(AtomicU64::new(start)));
        thread::scope(|scope| {
            scope.spawn(|| {
                let counters = Counters::default();
                for round in 1..=ROUNDS {
                    while ready.load(Ordering::Acquire) < round {
                        spin_loop();
                    }
                    (0..round % 7).for_each(|_| spin_loop());
                    // has the word at hand, so that the look below can overtake the store
                    signals.notify(Signal::PUBLISHED, &counters);
                    number.store(round, Ordering::Release);
                    signals.notify(Signal::PUBLISHED, &counters);
                }
            });
            let (counters, mut waiter) = (Counters::default(), Waiter::new(&signals, Wait::Park));
            for round in 1..=ROUNDS {
                signals.calm_all();
                ready.store(round, Ordering::Release);
                (0..round % 11).for_each(|_| spin_loop());
                let look = || match number.load(Ordering::Acquire) {
                    now if now == round => Ok(()),
                    _ => Err(Some(Signal::PUBLISHED)),
                };
                let found = waiter.wait(Some(Instant::now() + LOST), &counters, look);
                assert!(found.is_some(), "the wake-up of round {round} was lost");
            }
        });
    }

    #[test]
    fn no_wake_up_is_lost_where_wakers_fence() {
        meet(None);
        play(None, Wait::Park, false);
        play(None, Wait::Adaptive, false);
    }

    #[test]
    fn no_wake_up_is_lost_where_sleepers_put_a_barrier() {
        if has_barrier_everywhere() {
            let barrier: Barrier = Some(barrier_everywhere);
            meet(barrier);
            play(barrier, Wait::Park, false);
            play(barrier, Wait::Park, true); // a barrier for nearly every sleep
            play(barrier, Wait::Adaptive, true);
        }
    }

    #[test]
    fn no_wake_up_is_lost_where_a_barrier_is_refused_that_was_granted_before() {
        static PUT: AtomicU64 = AtomicU64::new(0);
        // as the system's, but a hundred times in each run
        let barrier: Barrier =
            Some(|| PUT.fetch_add(1, Ordering::Relaxed) % 101 < 100 && barrier_everywhere());
        meet(barrier);
        play(barrier, Wait::Park, false);
        play(barrier, Wait::Park, true);
        play(barrier, Wait::Adaptive, true);
    }

    #[test]
    fn a_word_that_somebody_slept_on_while_others_were_calmed_is_calmed_later() {
        let signals = Arc::new(Signals::with_barrier(1, Some(|| true)));
        let (words, counters) = ([Signal::PUBLISHED, Signal::cursor(0)], Counters::default());
        words.iter().for_each(|&word| signals.watch(word));
        let waiters = words.map(|word| {
            let waiter = Waiter::new(&signals, Wait::Park);
            let wakeup = Wakeup::Thread(waiter.parker.unparker());
            let armed = signals.arm(waiter.entry, word, wakeup).expect("no waker");
            assert!(signals.settle(&armed));
            waiter
        });
        let are_fenced = || words.map(|word| signals.is_fenced(word));
        signals.notify(words[0], &counters);
        signals.calm_all();
        assert_eq!(are_fenced(), [false, true], "somebody sleeps on the other");
        signals.notify(words[1], &counters);
        thread::sleep(Duration::from_nanos(signal::CALM_NANOS));
        waiters.iter().for_each(|waiter| waiter.signals.calm());
        assert_eq!(are_fenced(), [false, false]);
    }

    #[test]
    fn a_refusal_makes_all_fence_and_after_a_while_sleepers_sleep_as_without_a_barrier() {
        static ASKED: AtomicU64 = AtomicU64::new(0);
        let signals = Arc::new(Signals::with_barrier(
            1,
            Some(|| {
                ASKED.fetch_add(1, Ordering::Relaxed);
                false
            }),
        ));
        let (words, counters) = ([Signal::PUBLISHED, Signal::cursor(0)], Counters::default());
        words.iter().for_each(|&word| signals.watch(word));
        let waiter = Waiter::new(&signals, Wait::Park);
        let settles = |word| {
            let wakeup = Wakeup::Thread(waiter.parker.unparker());
            let armed = signals.arm(waiter.entry, word, wakeup).expect("no waker");
            let sure = signals.settle(&armed);
            waiter.disarm();
            sure
        };
        assert!(!settles(words[0]), "the sleeper looks again by itself");
        words
            .iter()
            .for_each(|&word| signals.notify(word, &counters));
        assert!(!settles(words[0]) && !settles(words[1]), "it is too early");
        assert!(words.iter().all(|&word| signals.is_fenced(word)));
        thread::sleep(Duration::from_nanos(signal::GRACE_NANOS));
        assert!(settles(words[0]) && settles(words[1]));
        words
            .iter()
            .for_each(|&word| signals.notify(word, &counters));
        signals.calm_all();
        assert!(words.iter().all(|&word| signals.is_fenced(word)));
        assert!(settles(words[0]) && settles(words[1]));
        assert_eq!(ASKED.load(Ordering::Relaxed), 1, "nobody asks again");
    }
}
