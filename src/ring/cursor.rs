//! Cursors and counters: words that one owner writes and others read.
//!
//! The *position* of a cursor is an exclusive upper bound: everything below it is done. Flags stand above the position, so that
//! whoever compares positions masks them first and a `fetch_max` of a position cannot revive a retired cursor.
//!
//! The cursor of a tap says so in its word, with what producers may do with it and whether the tap is reading: an exchange of such a word
//! succeeds only while it is still that tap's, whoever had the entry before and will have it later. [`taps`](super::taps) has the rules.

use crate::sync::{AtomicU64, Ordering, at, step};
use std::sync::atomic::AtomicU64 as PlainAtomicU64;

/// The owner of this cursor touches no slot any more.
const RETIRED: u64 = 1 << 63;
/// The owner, a tap, is copying events from here on: nobody else changes the word.
const READING: u64 = 1 << 62;
/// Where a tap's [`Lag`] stands; 0 where the cursor is none's.
const LAG: u64 = 3 << 60;
/// Positions are below 2^60: 36 years of a thousand million events a second.
pub(crate) const POSITION: u64 = (1 << 60) - 1;
/// Nobody has this cursor; reads as retired.
const FREE: u64 = u64::MAX;
/// Somebody is making this cursor; reads as retired.
const TAKEN: u64 = u64::MAX - 1;

/// What a producer does with a tap's cursor that is in its way, while the tap is not reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lag {
    /// Moves it forward.
    Moves = 1,
    /// Waits for a while, then ends it.
    Evicts = 2,
    /// Ends it, until the tap joins again: it reads on elsewhere.
    Detaches = 3,
}

impl Lag {
    const fn of(word: u64) -> Option<Self> {
        match (word & LAG) >> 60 {
            1 => Some(Self::Moves),
            2 => Some(Self::Evicts),
            3 => Some(Self::Detaches),
            _ => None,
        }
    }

    const fn bits(self) -> u64 {
        (self as u64) << 60
    }
}

/// What a cursor said at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot(u64);

impl Snapshot {
    pub(crate) const fn living(position: u64) -> Self {
        Self(position)
    }

    #[inline(always)]
    pub(crate) fn position(self) -> u64 {
        if step("tap_unmasked") {
            self.0 & POSITION
        } else {
            self.0 & (POSITION | READING)
        }
    }

    #[inline(always)]
    pub(crate) const fn is_retired(self) -> bool {
        self.0 & RETIRED != 0
    }

    /// What may be done with it, if it is a living tap's.
    #[inline(always)]
    pub(crate) const fn lag(self) -> Option<Lag> {
        if self.is_retired() {
            None
        } else {
            Lag::of(self.0)
        }
    }

    /// Whether producers wait for it: it lives, and is no tap's that they move or detach.
    pub(crate) const fn holds_back(self) -> bool {
        !self.is_retired() && !matches!(self.lag(), Some(Lag::Moves | Lag::Detaches))
    }

    /// Whether it is a tap's that producers have ended, and that will join again.
    pub(crate) const fn is_detached(self) -> bool {
        self.is_retired() && matches!(Lag::of(self.0), Some(Lag::Detaches))
    }

    /// Whether it is a tap's that is copying events now.
    pub(crate) fn is_reading(self) -> bool {
        self.0 & READING != 0
    }
}

/// How far one reader is, and what it did: 128 bytes of its own, since processors fetch lines in pairs.
#[repr(align(128))]
pub(crate) struct Cursor {
    word: AtomicU64,
    pub(crate) counters: Counters,
}

impl Cursor {
    pub(crate) fn free() -> Self {
        Self {
            word: AtomicU64::new(FREE),
            counters: Counters::default(),
        }
    }

    /// Takes a free cursor; it still reads as retired.
    pub(crate) fn take(&self) -> bool {
        // pairs: LEFT (give_back)
        let taken = (self.word)
            .compare_exchange(FREE, TAKEN, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        if taken {
            self.counters.reset();
        }
        taken
    }

    /// For the owner of a retired cursor, whose last act this is: anybody may take it.
    pub(crate) fn give_back(&self) {
        // pairs: LEFT (take)
        self.word.swap(FREE, Ordering::AcqRel);
    }

    /// Makes a taken cursor living.
    pub(crate) fn insert(&self, position: u64) {
        // pairs: CURSOR (load)
        self.word.swap(position, Ordering::AcqRel);
    }

    /// For the owner, of a cursor that others may know already: everything below `position` is done, if that is further.
    pub(crate) fn raise(&self, position: u64) {
        // pairs: CURSOR (load)
        self.word.fetch_max(position, Ordering::AcqRel);
    }

    /// What its owner last stored. For the owner alone.
    #[inline(always)]
    pub(crate) fn own_position(&self) -> u64 {
        // relaxed: only the owner writes it
        self.word.load(Ordering::Relaxed) & POSITION
    }

    #[inline(always)]
    pub(crate) fn load(&self) -> Snapshot {
        // pairs: CURSOR (advance, retire): what the owner did to slots below the position happens before
        Snapshot(self.word.load(at("cursor_acquire", Ordering::Acquire)))
    }

    /// For the owner: everything below `position` is done.
    #[inline(always)]
    pub(crate) fn advance(&self, position: u64) {
        // pairs: CURSOR (load)
        self.word
            .store(position, at("cursor_release", Ordering::Release));
    }

    /// For the owner, when it touches no slot any more: the position stands for ever.
    pub(crate) fn retire(&self) {
        // pairs: CURSOR (load)
        self.word
            .fetch_or(RETIRED, at("retire_release", Ordering::AcqRel));
    }

    /// The same, at a position.
    pub(crate) fn retire_at(&self, position: u64) {
        // pairs: CURSOR (load)
        self.word
            .swap(position | RETIRED, at("retire_release", Ordering::AcqRel));
    }
}

/// The cursor of a tap.
impl Cursor {
    /// Makes a taken cursor a living tap's.
    pub(crate) fn insert_tap(&self, position: u64, lag: Lag) {
        // pairs: CURSOR (load)
        self.word.swap(position | lag.bits(), Ordering::AcqRel);
    }

    /// Makes a taken cursor that of a tap which has not joined yet.
    pub(crate) fn insert_detached(&self) {
        // pairs: CURSOR (load)
        self.word
            .swap(RETIRED | Lag::Detaches.bits(), Ordering::AcqRel);
    }

    /// For the owner, of a cursor that producers may know already, and move or end: it stands at `position`, if that is further.
    pub(crate) fn raise_tap(&self, position: u64, lag: Lag) {
        if !step("tap_raised_by_store") {
            self.word.swap(position | lag.bits(), Ordering::AcqRel); // pairs: CURSOR; a mutant
            return;
        }
        // pairs: CURSOR (load)
        self.word.fetch_max(position | lag.bits(), Ordering::AcqRel);
    }

    /// For the owner: nobody changes the word from now on, unless it has changed since it was seen.
    pub(crate) fn begin_reading(&self, seen: Snapshot) -> bool {
        if !step("tap_set_by_store") {
            self.word.swap(seen.0 | READING, Ordering::AcqRel); // pairs: TAP; a mutant
            return true;
        }
        // pairs: TAP (move_tap, end_tap): of the two exchanges one comes first, and the other fails
        let (won, lost) = (Ordering::AcqRel, Ordering::Relaxed);
        (self.word)
            .compare_exchange(seen.0, seen.0 | READING, won, lost)
            .is_ok()
    }

    /// For the owner, which is done with everything below `position`; `seen`: the word before it began to read.
    pub(crate) fn end_reading(&self, seen: Snapshot, position: u64) {
        // pairs: CURSOR (load): what the tap read happens before
        self.word.swap(
            (seen.0 & LAG) | position,
            at("tap_clear_release", Ordering::Release),
        );
    }

    /// For a producer: moves the cursor of a tap that is not reading, unless it has changed since it was seen.
    pub(crate) fn move_tap(&self, seen: Snapshot, position: u64) -> bool {
        // pairs: TAP (begin_reading), CURSOR (load): the tap sees all that was published a lap before, and what it did itself
        self.exchange(seen, (seen.0 & LAG) | position)
    }

    /// For a producer: the same, but the cursor holds nobody back any more.
    pub(crate) fn end_tap(&self, seen: Snapshot) -> bool {
        // pairs: TAP (begin_reading), CURSOR (load)
        self.exchange(seen, seen.0 | RETIRED)
    }

    fn exchange(&self, seen: Snapshot, word: u64) -> bool {
        // pairs: TAP (begin_reading), CURSOR (load)
        let (won, lost) = (Ordering::AcqRel, Ordering::Relaxed);
        (self.word)
            .compare_exchange(seen.0, word, won, lost)
            .is_ok()
    }
}

/// What one end did. Its owner alone writes, others may read at any time; they carry no protocol, so these are
/// plain atomics even under loom, and cost no model states.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) events: Counter,
    pub(crate) batches: Counter,
    /// Of several producers each: one above the last sequence that it published.
    pub(crate) position: Counter,
    /// How often it had to wait.
    pub(crate) stalls: Counter,
    /// How often it went to sleep.
    pub(crate) parks: Counter,
    /// How many sleepers it woke.
    pub(crate) wakes: Counter,
    /// How often it put a fence because others sleep now and then.
    pub(crate) fences: Counter,
    /// How many events its handler failed on.
    pub(crate) failures: Counter,
    /// Of a producer: how many events it dropped because the ring was full.
    pub(crate) dropped: Counter,
    /// Of a tap: how many sequences it was moved over.
    pub(crate) skipped: Counter,
}

impl Counters {
    /// For a new owner.
    fn reset(&self) {
        let Self {
            events,
            batches,
            position,
            stalls,
            parks,
            wakes,
            fences,
            failures,
            dropped,
            skipped,
        } = self;
        [
            events, batches, position, stalls, parks, wakes, fences, failures, dropped, skipped,
        ]
        .iter()
        .for_each(|counter| counter.set(0));
    }

    #[inline(always)]
    pub(crate) fn count_batch(&self, events: u64) {
        self.events.add(events);
        self.batches.add(1);
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counter(PlainAtomicU64);

impl Counter {
    /// A load and a store, not a locked instruction: there is one writer.
    #[inline(always)]
    pub(crate) fn add(&self, amount: u64) {
        // relaxed: a statistic with one writer
        let now = self.0.load(std::sync::atomic::Ordering::Relaxed);
        // relaxed: as above
        self.0.store(
            now.wrapping_add(amount),
            std::sync::atomic::Ordering::Relaxed,
        );
    }

    /// Counts one, and says how many those are now.
    pub(crate) fn next(&self) -> u64 {
        self.add(1);
        self.get()
    }

    #[inline(always)]
    pub(crate) fn set(&self, value: u64) {
        // relaxed: a statistic
        self.0.store(value, std::sync::atomic::Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        // relaxed: a statistic
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}
