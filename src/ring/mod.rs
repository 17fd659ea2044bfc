//! The ring: *how far* may each end go. It never waits; [`wait`](crate::wait) says what to do meanwhile.
//!
//! * [`lines`]: where events lie in memory, and the marks that publish them; [`prefetch`]: to have them there in time.
//! * [`slots`]: always-valid events; who may touch one, and what marks say; [`walk`]: iterators over them.
//! * [`cursor`], [`table`], [`group`]: how far each reader is, and so how far producers may go; [`join`]: how readers come and go meanwhile;
//!   [`numbering`]: what positions are called outside.
//! * [`sequencer`], [`single`], [`multi`]: who gets which sequences.
//! * [`taps`], [`patience`]: readers that producers do not wait for, or only for so long.
//! * [`barrier`]: how far a reader may go.
//!
//! **A hand-off.** A producer proves that every reader has passed what a slot held a lap ago (cursors, Acquire), writes the
//! event, and stores the mark of the slot, or of its line (Release). A reader that is gated on producers loads marks (Acquire) until one
//! says that something is not published; far enough behind a single producer it goes by that one's position instead, which is stored
//! between event and mark (Release). One that is gated on other stages loads their cursors (Acquire). When it has finished with the
//! events it stores its own cursor (Release).
//!
//! **The end.** Closing fixes the *closing sequence*: in a multi-producer ring by a bit that an RMW sets in the claim counter, so
//! that no later claim succeeds; in a single-producer ring by the producer itself, at its next call or its drop.
//! Readers that find nothing more look at the status word first, and at the closing sequence only once that says
//! closing, so that an idle reader does not pull the producers' line away.

pub(crate) mod barrier;
pub(crate) mod cursor;
pub(crate) mod group;
pub(crate) mod join;
pub(crate) mod lines;
pub(crate) mod multi;
pub(crate) mod numbering;
mod patience;
mod prefetch;
pub(crate) mod sequencer;
pub(crate) mod single;
pub(crate) mod slots;
pub(crate) mod table;
mod taps;
#[cfg(test)]
mod tests;
pub(crate) mod walk;

use crate::error::Error;
use crate::sync::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, at, ring_number, step};
use crossbeam_utils::CachePadded;
use cursor::{Counter, Counters, POSITION};
use lines::Marks;
use numbering::Numbering;
use slots::Slots;
use std::sync::{Arc as PlainArc, Mutex as PlainMutex, OnceLock, PoisonError};
use table::Table;

/// In `head`: no sequence at or above the position will ever be given out.
const CLOSED: u64 = 1 << 63;

const OPEN: u8 = 0;
const CLOSING: u8 = 1;
const HALTED: u8 = 2;

/// Who may produce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Single,
    Multi,
}

impl Kind {
    /// What publishes an event of such a ring.
    pub(crate) const fn marks(self) -> Marks {
        match self {
            Self::Single => Marks::Word,
            Self::Multi => Marks::Bytes,
        }
    }
}

/// Events and everything that says who may touch them.
pub(crate) struct Ring<T> {
    pub(crate) slots: Slots<T>,
    pub(crate) core: Core,
}

/// The part of a ring that does not depend on the event type.
pub(crate) struct Core {
    /// Multi: the claim counter. Single: the published position, which its producer raises after each write, before the mark. With the
    /// closed bit.
    head: CachePadded<AtomicU64>,
    /// Written when the bus ends; until then in everybody's cache.
    status: CachePadded<Status>,
    pub(crate) table: Table,
    numbering: Numbering,
    /// What each living producer did. A lock that nobody takes to publish: statistics, outside the protocol.
    producers: PlainMutex<Vec<PlainArc<CachePadded<Counters>>>>,
    /// How many events producers that are gone dropped; written under that lock.
    dropped: Counter,
    producers_living: AtomicUsize,
    /// Living readers, those that have joined once they count. Whoever takes it to 0 closes the ring for good.
    readers_living: AtomicUsize,
    /// The thread that last used a single producer; 0 before.
    last_user: AtomicU64,
    id: usize,
    capacity: u64,
    kind: Kind,
    /// Producers go on when nobody reads.
    unread: OnceLock<()>,
}

struct Status {
    state: AtomicU8,
    /// Whether anything was ever abandoned. Raised before the abandoned mark, so whoever has seen the mark sees it.
    gaps: AtomicBool,
}

impl<T> Ring<T> {
    /// A ring with slots made by `event`, and room for `cursors` readers; `joinable`: some of them may come while it runs.
    pub(crate) fn new(
        kind: Kind,
        capacity: usize,
        cursors: usize,
        joinable: bool,
        event: impl FnMut() -> T,
    ) -> Result<Self, Error> {
        let capacity = (capacity as u64).next_power_of_two();
        let slots = Slots::new(kind.marks(), capacity, event)?;
        let core = Core {
            head: CachePadded::new(AtomicU64::new(0)),
            status: CachePadded::new(Status {
                state: AtomicU8::new(OPEN),
                gaps: AtomicBool::new(false),
            }),
            table: Table::new(cursors, joinable),
            numbering: Numbering::default(),
            producers: PlainMutex::default(),
            dropped: Counter::default(),
            producers_living: AtomicUsize::new(0),
            readers_living: AtomicUsize::new(0),
            last_user: AtomicU64::new(0),
            id: ring_number(),
            capacity,
            kind,
            unread: OnceLock::new(),
        };
        Ok(Self { slots, core })
    }
}

impl Core {
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Producers go on when nobody reads, where the ring would else close for good. Said before anybody uses it.
    pub(crate) fn go_on_unread(&self) {
        self.unread.get_or_init(|| ());
    }

    pub(crate) fn goes_on_unread(&self) -> bool {
        self.unread.get().is_some()
    }

    pub(crate) fn numbering(&self) -> &Numbering {
        &self.numbering
    }

    /// A number that no other ring of this process ever has. Its address would not do: a forgotten claim outlives the ring, and would
    /// count for the next one that stands there.
    pub(crate) fn id(&self) -> usize {
        self.id
    }

    /// How far producers are: every published sequence is below, and a single producer has published all that is.
    pub(crate) fn position(&self) -> u64 {
        // pairs: HEAD (claim_from), PASSED (pass, seal)
        self.head.load(at("passed_acquire", Ordering::Acquire)) & POSITION
    }

    /// The next sequence, asked by the only producer; with the closed bit.
    #[inline(always)]
    fn own_head(&self) -> u64 {
        // relaxed: only the caller writes it
        self.head.load(Ordering::Relaxed)
    }

    /// The next sequence, asked by the only producer.
    #[inline(always)]
    fn own_position(&self) -> u64 {
        self.own_head() & POSITION
    }

    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        // pairs: STATUS (raise)
        self.status.state.load(Ordering::Acquire) == OPEN
    }

    #[inline(always)]
    pub(crate) fn is_halted(&self) -> bool {
        // pairs: STATUS (raise)
        self.status.state.load(Ordering::Acquire) == HALTED
    }

    /// The closing sequence, once it stands.
    pub(crate) fn closing(&self) -> Option<u64> {
        if self.is_open() {
            return None;
        }
        // pairs: HEAD (end), PASSED (seal)
        let head = self.head.load(Ordering::Acquire);
        (head & CLOSED != 0).then_some(head & POSITION)
    }

    /// No more events: at once in a multi-producer ring, at its producer's next call in a single-producer one.
    /// The caller wakes everybody.
    pub(crate) fn close(&self) {
        self.end(CLOSING);
    }

    /// The same, and readers stop where they are.
    pub(crate) fn halt(&self) {
        self.end(HALTED);
    }

    fn end(&self, state: u8) {
        if self.kind == Kind::Multi && step("close_by_store") {
            // pairs: HEAD (closing, claim): claims before it are in the closing sequence, claims after it fail
            self.head.fetch_or(CLOSED, Ordering::AcqRel);
        } else if self.kind == Kind::Multi {
            self.head.swap(self.position() | CLOSED, Ordering::AcqRel); // pairs: HEAD; a mutant
        }
        // pairs: STATUS (is_open, is_halted)
        self.status.state.fetch_max(state, Ordering::AcqRel);
    }

    /// The only producer of a single-producer ring will publish nothing more.
    fn seal(&self, position: u64) {
        // pairs: PASSED (position, closing)
        self.head.store(position | CLOSED, Ordering::Release);
        // pairs: STATUS (is_open)
        self.status.state.fetch_max(CLOSING, Ordering::AcqRel);
    }

    #[inline]
    pub(crate) fn has_gaps(&self) -> bool {
        // relaxed: raised before the abandoned mark was released, and the caller has acquired that mark or what came after it
        self.status.gaps.load(Ordering::Relaxed)
    }

    fn note_gap(&self) {
        // relaxed: the mark's Release store comes after it
        self.status.gaps.store(true, Ordering::Relaxed);
    }

    /// The bus never starts: whoever reads ends at once.
    pub(crate) fn never_start(&self) {
        self.seal(0);
    }

    /// Adds a reader at the position where producers are; `shared`: a group's. The table's entry, and whether it fits: a topology
    /// with one that does not fit never starts.
    pub(crate) fn add_reader(&self, shared: bool) -> (usize, bool) {
        // relaxed: `hold_open` keeps the count from reaching 0 while readers are added
        self.readers_living.fetch_add(1, Ordering::Relaxed);
        match self.table.insert(self.position(), shared) {
            Some(index) => (index, true),
            None => (self.table.insert_beyond(self.position(), shared), false),
        }
    }

    /// Adds a cursor that others may read and that holds nobody back: no reader's.
    pub(crate) fn add_watermark(&self) -> (usize, bool) {
        match self.table.insert_beside(self.position()) {
            Some(index) => (index, true),
            None => (self.table.insert_beyond(self.position(), false), false),
        }
    }

    /// While readers are still being added none of them is the last: one that leaves early does not close the ring.
    pub(crate) fn hold_open(&self) {
        // relaxed: as in add_reader
        self.readers_living.fetch_add(1, Ordering::Relaxed);
    }

    /// All readers are there: the ring closes when the last one leaves, or now if all have left.
    pub(crate) fn let_go(&self) {
        // pairs: READERS (retire)
        if self.readers_living.fetch_sub(1, Ordering::AcqRel) == 1 && !self.goes_on_unread() {
            self.close();
        }
    }

    /// A reader touches no slot any more; `at`: where a group ends, else its cursor stands where it last was. Returns
    /// whether it was the last reader, and the ring has closed. The caller wakes everybody who may wait for the cursor, or for the end.
    ///
    /// The last one closes the ring *before* its cursor reads as retired: a producer that finds no reader left must not get a claim, for
    /// its limit would no longer say that the slots' last writers are done. Where producers go on unread each of them looks at marks for that.
    pub(crate) fn retire(&self, index: usize, at: Option<u64>) -> bool {
        let cursor = &self.table.entry(index).cursor;
        let retire = || match at {
            None => cursor.retire(),
            Some(position) => cursor.retire_at(position),
        };
        if !step("retire_before_close") {
            retire();
        }
        // pairs: READERS (itself): the last one sees what all others did
        let last = self.readers_living.fetch_sub(1, Ordering::AcqRel) == 1;
        let last = last && !self.goes_on_unread();
        if last {
            self.close();
        }
        if step("retire_before_close") {
            retire();
        }
        last
    }

    /// One more producer, beside one that lives.
    pub(crate) fn add_producer(&self) -> PlainArc<CachePadded<Counters>> {
        // relaxed: as a reference count's clone
        self.producers_living.fetch_add(1, Ordering::Relaxed);
        self.list_producer()
    }

    /// One more producer, for somebody who has none. `None`: the last one is gone, and whoever took the count to 0 closes the ring.
    pub(crate) fn join_producers(&self) -> Option<PlainArc<CachePadded<Counters>>> {
        let living = &self.producers_living;
        // relaxed: the exchange below decides
        let mut now = living.load(Ordering::Relaxed);
        while now > 0 || !step("producer_from_none") {
            if !step("producer_by_add") {
                living.fetch_add(1, Ordering::Relaxed); // relaxed: a mutant
                return Some(self.list_producer());
            }
            // relaxed: as a reference count's upgrade: it takes nothing over from those that live, and what others gave up
            // (PRODUCERS) passes through any read-modify-write to the last one
            let raised =
                living.compare_exchange(now, now + 1, Ordering::Relaxed, Ordering::Relaxed);
            match raised {
                Ok(_) => return Some(self.list_producer()),
                Err(other) => now = other,
            }
        }
        None
    }

    fn list_producer(&self) -> PlainArc<CachePadded<Counters>> {
        let counters = PlainArc::default();
        self.producers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(PlainArc::clone(&counters));
        counters
    }

    /// A producer is gone; returns whether it was the last.
    pub(crate) fn drop_producer(&self, counters: &PlainArc<CachePadded<Counters>>) -> bool {
        let mut all = self
            .producers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| !PlainArc::ptr_eq(one, counters));
        self.dropped.add(counters.dropped.get());
        drop(all);
        // pairs: PRODUCERS (itself): whoever closes comes after every other producer's claims
        self.producers_living.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// What each living producer did.
    pub(crate) fn producers(&self) -> Vec<PlainArc<CachePadded<Counters>>> {
        self.producers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many events producers dropped because the ring was full, those that are gone included.
    pub(crate) fn dropped(&self) -> u64 {
        let all = self
            .producers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let living: u64 = all.iter().map(|counters| counters.dropped.get()).sum();
        self.dropped.get() + living
    }

    pub(crate) fn has_producers(&self) -> bool {
        // relaxed: a question about this moment
        self.producers_living.load(Ordering::Relaxed) > 0
    }

    /// Notes which thread uses the single producer.
    pub(crate) fn note_user(&self, thread: u64) {
        // relaxed: only its own value is looked at, by the thread that may have stored it
        self.last_user.store(thread, Ordering::Relaxed);
    }

    pub(crate) fn last_user(&self) -> u64 {
        // relaxed: as in note_user
        self.last_user.load(Ordering::Relaxed)
    }
}

impl<T> std::fmt::Debug for Ring<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("capacity", &self.core.capacity)
            .field("kind", &self.core.kind)
            .finish_non_exhaustive()
    }
}
