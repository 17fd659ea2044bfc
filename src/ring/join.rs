//! Cursors that come and go while the ring runs.
//!
//! **Join.** Insert a cursor at the *join position*, `fence(SeqCst)`, read that position again, and raise the cursor to it. The join
//! position is a counter that is raised before the mark it belongs to: the claim counter, or a single producer's position.
//! **Refresh** (a producer's, [`table`](super::table)): load the version, read the cursors, `fence(SeqCst)`, load the version again; if it
//! has changed the old limit stands.
//!
//! Of the two fences one comes first. If it is the join's, the refresh finds another version than before, or had found the cursor. If it is
//! the refresh's, the second look at the join position sees all that the producer had seen of it, and no limit is further from that than
//! the capacity: it counts the producers' own position among the cursors, so this holds where nobody reads. So whoever missed the cursor
//! goes on below the position plus the capacity, and overwrites nothing at or above it. What the first position was does not matter: it is
//! too low at worst.
//!
//! **What a limit proves.** Where several producers publish, a cursor says more than that its reader is done: that whoever wrote what is
//! below it is done as well, because the reader has seen the marks. A cursor that has just joined has seen none, and below it claims may
//! still be in progress. So it is no proof until it is [settled](Ring::is_settled): every mark below it was seen. Until then it holds producers back,
//! and does not [count](Core::count_reader) among the readers that keep the ring open. The last of those that count closes the ring before
//! its cursor reads as retired, so no claim ever rests on cursors that prove nothing. That the new reader has seen the marks before it
//! counts is handed over by the count: whoever leaves later has it from there, and producers have it from that one's retirement.
//!
//! **Leave.** A reader that left retires its cursor, as every stage does. Its entry is taken again once its handle is dropped
//! ([`Entry::give_back`](super::table::Entry::give_back)): nobody else knows the index by then but sleepers, and producers that look whether
//! the cursor that held them back has moved. To those it has: a cursor that another one has taken at the very same position holds them
//! back as well. Entries of a graph's stages are not given back: others come after them.

use crate::ring::{Core, Kind, Ring};
use crate::sync::{Ordering, fence, step};

/// A cursor that has joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    /// Of its entry.
    pub(crate) index: usize,
    /// It reads from here on. What is below may still be being written.
    pub(crate) position: u64,
}

impl<T> Ring<T> {
    /// Adds a cursor to a joinable ring that runs; `None` when the table is full. It holds producers back, and counts for nothing else.
    /// The caller wakes whoever waits for it, since its position has moved.
    pub(crate) fn join(&self) -> Option<Joined> {
        let core = &self.core;
        debug_assert!(core.table.is_joinable(), "a refresh would not see it");
        let first = self.join_position();
        let index = core.table.insert(first, false)?;
        fence("join_fence"); // pairs: JOIN-FENCE (Table::refresh)
        let position = if step("join_unrepeated") {
            self.join_position()
        } else {
            first
        };
        core.table.entry(index).cursor.raise(position);
        Some(Joined { index, position })
    }

    fn join_position(&self) -> u64 {
        let position = self.core.position();
        if step("join_at_published") {
            position
        } else {
            self.settled_below(position)
        }
    }

    /// Whether all who write below `position` are done.
    pub(crate) fn is_settled(&self, position: u64) -> bool {
        self.core.kind() == Kind::Single || self.settled_below(position) == position
    }

    /// How far up to `position`, which is not above the join position, everything is published. Further back than the capacity
    /// it is: there were proofs of that for what was claimed next, and the claims hand them on.
    fn settled_below(&self, position: u64) -> u64 {
        let from = position.saturating_sub(self.core.capacity());
        from + self.slots.published(from, position - from)
    }
}

impl Core {
    /// A reader that has joined, and is settled, counts from now on: the ring stays open while it is there. `false`: nobody counted any
    /// more, and the ring has closed for good.
    pub(crate) fn count_reader(&self) -> bool {
        let living = &self.readers_living;
        // pairs: READERS (retire)
        let mut now = living.load(Ordering::Acquire);
        while now > 0 {
            // pairs: READERS (retire): what it has seen of marks
            match living.compare_exchange(now, now + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }
}
