//! Signals: where sleepers and those who wake them meet.
//!
//! There is one signal word for the producers' position and one for each cursor. A word says whether anybody may ever sleep on
//! it (*watched*, set before the bus starts) and whether somebody does (*armed*). Who sleeps stands in entries, one for
//! each end.
//!
//! **Sleep**: put the thread or waker into the own entry, set *armed* by RMW, `fence(SeqCst)`, look again, sleep.
//! **Wake**: change what sleepers look at, and if the word is watched: `fence(SeqCst)`, look at the word; if it is armed, clear
//! it by RMW and wake every entry that watches it. Of the two fences one comes first: either the sleeper's second look
//! sees the change, or the look at the word sees *armed*. A sleeper that finds nothing after waking registers
//! anew, so that a waker who saw the word cleared by another one has nothing to do.
//!
//! **Entries.** The thread or waker stands in a mutex that is only tried, by whoever the entry's state admits: its owner
//! takes `IDLE` to `BUSY`; wakers add `WAKING`, and the one that found `IDLE` takes what is there. A waker that found `BUSY`
//! leaves it to the owner, who sees `WAKING` when it is done and does not sleep. So nobody ever waits for the mutex.

use crate::registry::Registry;
use crate::ring::cursor::Counters;
use crate::sync::{
    AtomicU32, AtomicUsize, Mutex, Ordering, TryLockError, Unparker, at, drop_quietly, fence, step,
};
use crossbeam_utils::CachePadded;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

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

pub(crate) struct Signals {
    /// Of the producers: by itself, so that a publication finds it without a look into the list.
    published: CachePadded<AtomicU32>,
    cursors: Box<[CachePadded<AtomicU32>]>,
    waiters: Registry<CachePadded<Entry>>,
}

/// How to wake a sleeper.
#[derive(Debug)]
pub(crate) enum Wakeup {
    Thread(Unparker),
    Task(Waker),
}

const IDLE: u32 = 0;
/// The owner is changing the entry.
const BUSY: u32 = 1;
/// Somebody is taking what stands in the entry, or wants the owner to know that it is awake.
const WAKING: u32 = 2;

struct Entry {
    state: AtomicU32,
    /// Which signal the sleeper watches.
    watches: AtomicUsize,
    sleeper: Mutex<Option<Wakeup>>,
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            state: AtomicU32::new(IDLE),
            watches: AtomicUsize::new(0),
            sleeper: Mutex::new(None),
        }
    }
}

impl Entry {
    /// For whoever the state admits, so nobody else is there. A panicking waker leaves nothing half done.
    fn replace(&self, sleeper: Option<Wakeup>) -> Option<Wakeup> {
        match self.sleeper.try_lock() {
            Ok(mut held) => std::mem::replace(&mut *held, sleeper),
            Err(TryLockError::Poisoned(held)) => {
                std::mem::replace(&mut *held.into_inner(), sleeper)
            }
            Err(TryLockError::WouldBlock) => unreachable!("the entry's state admits one"),
        }
    }

    /// For the owner: changes what stands in the entry. `false`: a waker is at work; nothing stands in it then.
    fn set(&self, sleeper: Option<Wakeup>) -> bool {
        // pairs: ENTRY (wake)
        if self
            .state
            .compare_exchange(IDLE, BUSY, Ordering::AcqRel, Ordering::Acquire)
            .is_err()
        {
            return false;
        }
        drop_quietly(self.replace(sleeper));
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
        let sleeper = self.replace(None);
        // pairs: ENTRY (set)
        self.state.fetch_and(!WAKING, Ordering::AcqRel);
        match sleeper {
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
        let word = || CachePadded::new(AtomicU32::new(0));
        Self {
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
        // pairs: WATCH (notify_early); whoever runs later sees it because the bus was started after it
        self.word(signal).fetch_or(WATCHED, Ordering::AcqRel);
    }

    #[inline(always)] // each publication asks, also where nothing is inlined across crates
    pub(crate) fn is_watched(&self, signal: Signal) -> bool {
        // relaxed: set before the bus started
        self.word(signal).load(Ordering::Relaxed) & WATCHED != 0
    }

    /// Wakes whoever sleeps on `signal`. Comes after every write that may let them go on.
    #[inline(always)]
    pub(crate) fn notify(&self, signal: Signal, counters: &Counters) {
        if self.is_watched(signal) {
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

    #[inline]
    fn look_for_sleepers(&self, signal: Signal, counters: &Counters) {
        fence("notify_fence"); // pairs: SLEEP-FENCE (Waiter::park, Waiter::poll)
        // relaxed: the fence orders it
        if self.word(signal).load(Ordering::Relaxed) & ARMED != 0 {
            counters.wakes.add(self.wake_sleepers(signal));
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

    /// Registers a sleeper; `false`: it was woken meanwhile, look again.
    pub(crate) fn arm(&self, entry: usize, signal: Signal, wakeup: Wakeup) -> bool {
        let entry = self.waiters.entry(entry);
        // relaxed: the RMW on the word below publishes it
        entry.watches.store(signal.0, Ordering::Relaxed);
        let armed = entry.set(Some(wakeup));
        // pairs: ARMED (wake_sleepers)
        self.word(signal)
            .fetch_or(ARMED, at("armed_release", Ordering::AcqRel));
        armed
    }

    /// Nobody need wake this one any more.
    pub(crate) fn disarm(&self, entry: usize) {
        // a waker at work takes the sleeper itself; at worst it wakes a thread that is awake
        self.waiters.entry(entry).set(None);
    }
}
