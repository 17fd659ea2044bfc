//! Cursors that come and go while the ring runs.
//!
//! **Join.** Insert a cursor at the *join position*, `fence(SeqCst)`, find that position again, and raise the cursor to it.
//! **Refresh** (a producer's, [`table`](super::table)): load the version, read the cursors, `fence(SeqCst)`, load the version again; if it
//! has changed the old limit stands.
//!
//! Of the two fences one comes first. If it is the join's, the refresh finds another version than before, or had found the cursor. If it is
//! the refresh's, the second look at the join position sees all that the producer had seen. So whoever missed the cursor goes on below that
//! position plus the capacity, and overwrites nothing at or above it. What the first position was does not matter: it is too low at worst.
//!
//! **The join position** is no lower than the least cursor that a producer may have seen before its fence.
//! Behind a *single producer* it is that one's position, which is raised before the mark, and counts in its own limit: that is never further
//! from it than the capacity, so this holds where nobody reads.
//! Where *several publish* it is the first sequence that is not published: readers have seen the marks of all that they have passed, so
//! whoever joins behind a refresh's fence sees them too. It looks at the last claims, as many as the capacity says; what comes before those
//! is published, or they would not have been granted.
//!
//! The claim counter would not do in its place. Where several publish, a cursor says more than that its reader is done: that whoever
//! wrote what is below it is done as well. Below the claim counter claims may still be in progress; once all other readers have left, a producer that relied on
//! such a cursor would write beside the one that claimed the slot a lap ago. So every limit keeps this promise: *all that is below it, less
//! the capacity, is published*. Cursors keep it because readers have seen marks, the new one too; and without a reader that
//! [counts](Core::count_reader) there is no claim, for the last one closes the ring before its cursor reads as retired. Where producers
//! go on unread, each looks at the marks itself before it raises its limit: then the promise needs no reader at all.
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
    /// It reads from here on; all that is below is published.
    pub(crate) position: u64,
}

impl<T> Ring<T> {
    /// Adds a cursor to a joinable ring that runs; `None` when the table is full. It holds producers back, and counts for nothing else.
    /// The caller wakes whoever waits for it, since its position has moved.
    pub(crate) fn join(&self) -> Option<Joined> {
        let core = &self.core;
        debug_assert!(core.table.is_joinable(), "a refresh would not see it");
        let first = self.published_from(0);
        let index = core.table.insert(first, false)?;
        fence("join_fence"); // pairs: JOIN-FENCE (Table::refresh)
        let position = if step("join_unrepeated") {
            self.published_from(first)
        } else {
            first
        };
        core.table.entry(index).cursor.raise(position);
        Some(Joined { index, position })
    }

    /// How far everything is published; asked by whoever knows that it is up to `known`.
    pub(super) fn published_from(&self, known: u64) -> u64 {
        let position = self.core.position();
        if self.core.kind() == Kind::Single || !step("join_at_claimed") {
            return position;
        }
        // claims prove that what is further back is published, and hand it on
        let from = position.saturating_sub(self.core.capacity()).max(known);
        from + self.slots.published(from, position.saturating_sub(from))
    }
}

impl Core {
    /// A reader that has joined counts from now on: the ring stays open while it is there. `false`: nobody counted any more, and the
    /// ring has closed for good.
    pub(crate) fn count_reader(&self) -> bool {
        let living = &self.readers_living;
        // pairs: READERS (retire)
        let mut now = living.load(Ordering::Acquire);
        while now > 0 || self.goes_on_unread() || !step("count_uncounted") {
            // pairs: READERS (retire)
            match living.compare_exchange(now, now + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }
}
