//! Signals: where sleepers and those who wake them meet.
//!
//! There is one signal word for the producers' position and one for each cursor. A word says whether anybody may ever sleep on
//! it (*watched*, set before the bus starts) and whether somebody does (*armed*). Who sleeps stands in entries, one for
//! each end.
//!
//! **Sleep**: put the thread or waker into the own entry, set *armed* by RMW, `fence(SeqCst)`, look again, sleep.
//! **Wake**: change what sleepers look at, `fence(SeqCst)`, look at the word; if it is armed, clear
//! it by RMW and wake every entry that watches it. Of the two fences one comes first: either the sleeper's second look
//! sees the change, or the look at the word sees *armed*. A sleeper that finds nothing after waking registers
//! anew, so that a waker who saw the word cleared by another one has nothing to do.
//!
//! **The waker's fence is left out** while nobody sleeps, where the system can put a barrier into every running thread
//! ([`barrier_everywhere`]). The word says so: wakers fence where it is *fenced*. Whoever is about to sleep
//! sets *armed* and *fenced* at once; if it was *fenced* by its doing it puts the barrier, and then sets *settled*. A waker whose
//! look came before the barrier has made its change before it too, so whoever looks after the barrier sees the
//! change; one whose look comes after it sees *fenced*, and fences. Who finds the word *fenced* and not yet *settled*
//! puts a barrier of its own; who finds it *settled* needs only its fence. So the barrier, which interrupts other
//! cores, is put once, and wakers fence from then on: until nobody has gone to sleep for a while, and somebody whose wait did
//! without or who has fenced often [calms](Signals::calm) the words. A word may be calmed only when it is *settled*, so each time there is
//! one who may settle it. Without such a barrier words are fenced and settled from the start, and for ever.
//!
//! **A barrier that is refused later** (a filter that the process put on itself, no memory): whoever is told so makes every word
//! *fenced* for good, and then notes the time. Such a word is never calmed and nobody asks for a barrier again, so
//! wakers fence from then on. Only what they changed just before they could know may still be on its way to the others, and
//! no word tells when it has arrived. So until a [grace](GRACE_NANOS) has passed sleepers look again by themselves; then
//! they settle the word, and all is as without a barrier.
//!
//! **Entries.** The thread or waker stands in a mutex that is only tried, by whoever the entry's state admits: its owner
//! takes `IDLE` to `BUSY`; wakers add `WAKING`, and the one that found `IDLE` takes what is there. A waker that found `BUSY`
//! leaves it to the owner, who sees `WAKING` when it is done and does not sleep. So nobody ever waits for the mutex.

use crate::registry::Registry;
use crate::ring::cursor::Counters;
use crate::sync::{
    AtomicU32, AtomicU64, AtomicUsize, Mutex, Ordering, TryLockError, Unparker, at,
    barrier_everywhere, compiler_fence, drop_quietly, fence, has_barrier_everywhere, step,
};
use crossbeam_utils::CachePadded;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;
use std::time::Instant;

/// One word that ends may sleep on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signal(usize);

impl Signal {
    /// Producers published something, or closed.
    pub(crate) const PUBLISHED: Self = Self(0);

    /// The entry of the cursor table moved, or ended.
    pub(crate) const fn cursor(index: usize) -> Self {
        Self(index + 1)
    }

    /// What a reader watches that is behind this entry of the table, or behind the producers.
    pub(crate) fn behind(cursor: Option<usize>) -> Self {
        cursor.map_or(Self::PUBLISHED, Self::cursor)
    }
}

/// In a signal word: somebody may sleep on it some day.
const WATCHED: u32 = 1;
/// In a signal word: somebody sleeps on it, or is about to.
const ARMED: u32 = 2;
/// In a signal word: whoever changes what is looked at here fences before it looks for sleepers.
const FENCED: u32 = 4;
/// In a signal word: all of them know that.
const SETTLED: u32 = 8;
/// In a signal word: it stays fenced, because the system has refused the barrier.
const FOR_GOOD: u32 = 16;

/// So long after the last sleep wakers are spared their fence: about what a barrier costs all in all, in fences.
pub(super) const CALM_NANOS: u64 = 100_000;

/// So long after a refusal whatever was changed without a fence before it is seen by all. A store leaves its core in far less than a
/// microsecond, and at the latest when its thread is interrupted.
pub(super) const GRACE_NANOS: u64 = 100_000_000;

/// Whoever fences asks once in so many times whether it is still needed.
const FENCES_BETWEEN_CALMS: u64 = 256;

pub(crate) struct Signals {
    /// With what sleepers do the fencing for all, where the system has it; it answers whether it was put.
    barrier: Option<fn() -> bool>,
    /// When it was first refused, in nanoseconds since the origin; 0: it never was.
    refused: AtomicU64,
    origin: Instant,
    /// When somebody last went to sleep, or a word was last found that could not be calmed yet, in nanoseconds since the origin;
    /// 0: all words are calm, or will never be.
    slept: CachePadded<AtomicU64>,
    /// Of the producers: by itself, so that a publication finds it without a look into the list.
    published: CachePadded<AtomicU32>,
    cursors: Box<[CachePadded<AtomicU32>]>,
    waiters: Registry<CachePadded<Sleeper>>,
}

/// How to wake a sleeper.
#[derive(Debug)]
pub(crate) enum Wakeup {
    Thread(Unparker),
    Task(Waker),
}

/// That a sleeper is registered, and what the word said before.
#[must_use]
pub(crate) struct Armed {
    signal: Signal,
    before: u32,
}

const IDLE: u32 = 0;
/// The owner is changing the entry.
const BUSY: u32 = 1;
/// Somebody is taking what stands in the entry, or wants the owner to know that it is awake.
const WAKING: u32 = 2;

struct Sleeper {
    state: AtomicU32,
    /// Which signal the sleeper watches.
    watches: AtomicUsize,
    wakeup: Mutex<Option<Wakeup>>,
}

impl Default for Sleeper {
    fn default() -> Self {
        Self {
            state: AtomicU32::new(IDLE),
            watches: AtomicUsize::new(0),
            wakeup: Mutex::new(None),
        }
    }
}

impl Sleeper {
    /// For whoever the state admits, so nobody else is there. A panicking waker leaves nothing half done.
    fn replace(&self, wakeup: Option<Wakeup>) -> Option<Wakeup> {
        match self.wakeup.try_lock() {
            Ok(mut held) => std::mem::replace(&mut *held, wakeup),
            Err(TryLockError::Poisoned(held)) => std::mem::replace(&mut *held.into_inner(), wakeup),
            Err(TryLockError::WouldBlock) => unreachable!("the entry's state admits one"),
        }
    }

    /// For the owner: changes what stands in the entry. `false`: a waker is at work; nothing stands in it then.
    fn set(&self, wakeup: Option<Wakeup>) -> bool {
        // pairs: ENTRY (wake)
        if self
            .state
            .compare_exchange(IDLE, BUSY, Ordering::AcqRel, Ordering::Acquire)
            .is_err()
        {
            return false;
        }
        drop_quietly(self.replace(wakeup));
        // pairs: ENTRY (wake)
        if self
            .state
            .compare_exchange(BUSY, IDLE, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
        {
            return true;
        }
        drop_quietly(self.replace(None));
        // pairs: ENTRY (wake)
        self.state.swap(IDLE, Ordering::AcqRel);
        false
    }

    /// Wakes the sleeper, if there is one.
    fn wake(&self) -> bool {
        // pairs: ENTRY (set)
        if self.state.fetch_or(WAKING, Ordering::AcqRel) != IDLE {
            return false;
        }
        let wakeup = self.replace(None);
        // pairs: ENTRY (set)
        self.state.fetch_and(!WAKING, Ordering::AcqRel);
        match wakeup {
            None => return false,
            Some(Wakeup::Thread(thread)) => thread.unpark(),
            // a panic of a waker is its task's affair: the other sleepers must be woken, and this may run in a drop
            Some(Wakeup::Task(waker)) => {
                drop_quietly(catch_unwind(AssertUnwindSafe(|| waker.wake())))
            }
        }
        true
    }
}

impl Signals {
    /// Words for producers and for `cursors` entries of the cursor table.
    pub(crate) fn new(cursors: usize) -> Self {
        let barrier: fn() -> bool = barrier_everywhere;
        Self::with_barrier(cursors, has_barrier_everywhere().then_some(barrier))
    }

    pub(super) fn with_barrier(cursors: usize, barrier: Option<fn() -> bool>) -> Self {
        let word = || CachePadded::new(AtomicU32::new(0));
        Self {
            barrier,
            refused: AtomicU64::new(0),
            origin: Instant::now(),
            slept: CachePadded::new(AtomicU64::new(0)),
            published: word(),
            cursors: (0..cursors).map(|_| word()).collect(),
            waiters: Registry::new(),
        }
    }

    #[inline(always)]
    fn word(&self, signal: Signal) -> &AtomicU32 {
        match signal {
            Signal::PUBLISHED => &self.published,
            Signal(cursor) => &self.cursors[cursor - 1],
        }
    }

    /// Somebody may sleep on `signal` from now on. Comes before anybody changes what is looked at there.
    pub(crate) fn watch(&self, signal: Signal) {
        let flags = if self.barrier.is_some() {
            WATCHED
        } else {
            WATCHED | FENCED | SETTLED
        };
        // pairs: WATCH (notify_early); whoever runs later sees it because the bus was started after it
        self.word(signal).fetch_or(flags, Ordering::AcqRel);
    }

    /// The same on a bus that runs. With the barrier a sleeper makes the word fenced itself. Without, whoever changes what is looked at
    /// may not know at once that it must fence: so it is as after a refusal, and sleepers look again by themselves for a while.
    pub(crate) fn watch_late(&self, signal: Signal) {
        if self.barrier.is_some() {
            // pairs: WATCH (notify_early)
            self.word(signal).fetch_or(WATCHED, Ordering::AcqRel);
            return;
        }
        // pairs: WATCH (notify_early), SETTLED (arm)
        let before = (self.word(signal)).fetch_or(WATCHED | FENCED | FOR_GOOD, Ordering::AcqRel);
        if before & SETTLED == 0 {
            // pairs: REFUSED (settle): the word is fenced before it
            self.refused.fetch_max(self.now(), Ordering::AcqRel);
        }
    }

    #[inline(always)] // each publication asks, also where nothing is inlined across crates
    pub(crate) fn is_watched(&self, signal: Signal) -> bool {
        // relaxed: set before the bus started
        self.word(signal).load(Ordering::Relaxed) & WATCHED != 0
    }

    /// Wakes whoever sleeps on `signal`. Comes after every write that may let them go on. One test of one word, whoever may sleep.
    #[inline(always)]
    pub(crate) fn notify(&self, signal: Signal, counters: &Counters) {
        compiler_fence(); // pairs: SLEEP-FENCE (Signals::settle): the change comes before the look
        // relaxed: as above
        if self.word(signal).load(Ordering::Relaxed) & (ARMED | FENCED) != 0 {
            self.look_for_sleepers(signal, counters);
        }
    }

    /// The same where it may come before the bus starts: a consumer is dropped while another stage is being added. Of this look
    /// and of [`watch`](Self::watch) one comes first, for both are read-modify-writes: either this sees the word watched, or
    /// whoever may sleep sees the change.
    #[cold]
    pub(crate) fn notify_early(&self, signal: Signal, counters: &Counters) {
        // pairs: WATCH (watch)
        if self.word(signal).fetch_or(0, Ordering::AcqRel) & WATCHED != 0 {
            self.look_for_sleepers(signal, counters);
        }
    }

    #[cold]
    #[inline(never)]
    fn look_for_sleepers(&self, signal: Signal, counters: &Counters) {
        fence("notify_fence"); // pairs: SLEEP-FENCE (Waiter::park, Waiter::poll)
        // relaxed: the fence orders it
        if self.word(signal).load(Ordering::Relaxed) & ARMED != 0 {
            counters.wakes.add(self.wake_sleepers(signal));
        } else if counters.fences.next().is_multiple_of(FENCES_BETWEEN_CALMS) {
            self.calm(); // perhaps nobody waits at all any more
        }
    }

    #[cold]
    fn wake_sleepers(&self, signal: Signal) -> u64 {
        // pairs: ARMED (arm): what stands in the entries
        if self
            .word(signal)
            .fetch_and(!ARMED, at("armed_acquire", Ordering::AcqRel))
            & ARMED
            == 0
        {
            return 0; // another waker has taken it, and wakes them
        }
        let most = if step("one_woken") { usize::MAX } else { 1 };
        self.waiters
            .iter()
            // relaxed: written before the word was armed; an entry that watches something else by now has looked again
            .filter(|entry| entry.watches.load(Ordering::Relaxed) == signal.0 && entry.wake())
            .take(most)
            .count() as u64
    }

    /// Wakes everybody, on whatever they sleep: the bus ends.
    pub(crate) fn notify_all(&self, counters: &Counters) {
        for index in (0..=self.cursors.len()).filter(|_| step("end_unnotified")) {
            self.notify_early(Signal(index), counters);
        }
    }

    pub(crate) fn add_waiter(&self) -> usize {
        self.waiters.take()
    }

    pub(crate) fn remove_waiter(&self, entry: usize) {
        self.disarm(entry);
        self.waiters.give_back(entry);
    }

    /// Registers a sleeper; `None`: it was woken meanwhile, look again. A fence, [`settle`](Self::settle) and another look
    /// come next.
    pub(crate) fn arm(&self, entry: usize, signal: Signal, wakeup: Wakeup) -> Option<Armed> {
        let entry = self.waiters.entry(entry);
        // relaxed: the RMW on the word below publishes it
        entry.watches.store(signal.0, Ordering::Relaxed);
        if !entry.set(Some(wakeup)) {
            return None; // the word stays as it is: whoever makes it fenced must go on to settle it
        }
        // pairs: ARMED (wake_sleepers), SETTLED (settle)
        let before = self
            .word(signal)
            .fetch_or(ARMED | FENCED, at("armed_release", Ordering::AcqRel));
        Some(Armed { signal, before })
    }

    /// Makes sure that whoever changes something from now on sees the sleeper, or else the sleeper, which looks now, the
    /// change. `false`: the system refuses to, so the sleeper must look again by itself.
    pub(crate) fn settle(&self, armed: &Armed) -> bool {
        if self.barrier.is_some() {
            // pairs: SLEPT (calm_all): the word was fenced before
            self.slept.store(self.now(), Ordering::Release);
        }
        if armed.before & SETTLED != 0 {
            return true;
        }
        // pairs: REFUSED (refuse)
        let refused = self.refused.load(Ordering::Acquire);
        if refused != 0 {
            let sure = self.now().saturating_sub(refused) >= GRACE_NANOS;
            if sure {
                // pairs: SETTLED (arm): the word has been fenced since before the grace, and stays so
                self.word(armed.signal).fetch_or(SETTLED, Ordering::AcqRel);
            }
            return sure;
        }
        if !self.barrier.is_some_and(|barrier| barrier()) {
            self.refuse();
            return false;
        }
        if armed.before & FENCED == 0 {
            // pairs: SETTLED (arm): the barrier came before it
            self.word(armed.signal).fetch_or(SETTLED, Ordering::AcqRel);
        }
        true
    }

    /// The system refuses the barrier: wakers fence from now on, for ever.
    #[cold]
    fn refuse(&self) {
        for index in 0..=self.cursors.len() {
            // pairs: SETTLED (arm); from now on the exchange of `calm_all` fails
            self.word(Signal(index))
                .fetch_or(FENCED | FOR_GOOD, Ordering::AcqRel);
        }
        // pairs: REFUSED (settle): every word is fenced before it. When it fails another one's time counts
        let (noted, known) = (Ordering::AcqRel, Ordering::Acquire);
        let _ = (self.refused).compare_exchange(0, self.now(), noted, known);
    }

    /// Somebody's wait did without sleep: spares those who look for sleepers their fence, if nobody has slept for a while.
    #[inline]
    pub(crate) fn calm(&self) {
        // relaxed: a hint
        let slept = self.slept.load(Ordering::Relaxed);
        if slept != 0 && self.now().saturating_sub(slept) >= CALM_NANOS {
            self.calm_all();
        }
    }

    #[cold]
    pub(super) fn calm_all(&self) {
        // pairs: SLEPT (settle): the words of whoever slept until then are seen fenced
        let slept = self.slept.load(Ordering::Acquire);
        let mut stays_fenced = false;
        for index in 0..=self.cursors.len() {
            let word = self.word(Signal(index));
            // relaxed: a hint, which the exchange confirms
            let now = word.load(Ordering::Relaxed);
            if now & (FENCED | FOR_GOOD) != FENCED {
                continue; // calm already, or never to be
            }
            let calm = now & !(FENCED | SETTLED);
            // pairs: SETTLED (arm); when it fails somebody sleeps, or is about to
            let exchange = || word.compare_exchange(now, calm, Ordering::AcqRel, Ordering::Relaxed);
            stays_fenced |= now & (SETTLED | ARMED) != SETTLED || exchange().is_err();
        }
        // what stays fenced is calmed another time: nobody need sleep again before
        let next = if stays_fenced { self.now() } else { 0 };
        // relaxed: a hint; when it fails somebody has gone to sleep meanwhile, or has done the same
        let _ = (self.slept).compare_exchange(slept, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn is_fenced(&self, signal: Signal) -> bool {
        self.word(signal).load(Ordering::Acquire) & FENCED != 0 // pairs: SETTLED; a test
    }

    fn now(&self) -> u64 {
        (self.origin.elapsed().as_nanos() as u64).max(1)
    }

    /// Nobody need wake this one any more.
    pub(crate) fn disarm(&self, entry: usize) {
        // a waker at work takes the sleeper itself; at worst it wakes a thread that is awake
        self.waiters.entry(entry).set(None);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_that_a_waker_keeps_from_registering_leaves_the_word_as_it_is() {
        let signals = Signals::with_barrier(0, Some(|| true));
        signals.watch(Signal::PUBLISHED);
        let entry = signals.add_waiter();
        let arm = || {
            let wakeup = Wakeup::Task(Waker::noop().clone());
            signals.arm(entry, Signal::PUBLISHED, wakeup)
        };
        let state = &signals.waiters.entry(entry).state;
        state.fetch_or(WAKING, Ordering::AcqRel); // pairs: ENTRY (set); as one that takes the sleeper of another word
        assert!(arm().is_none());
        assert!(!signals.is_fenced(Signal::PUBLISHED), "nobody settles it");
        state.fetch_and(!WAKING, Ordering::AcqRel); // pairs: ENTRY (set)
        assert!(signals.settle(&arm().expect("no waker")));
        signals.notify(Signal::PUBLISHED, &Counters::default());
        signals.calm_all();
        assert!(!signals.is_fenced(Signal::PUBLISHED));
    }
}
