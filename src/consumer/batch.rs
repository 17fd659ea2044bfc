//! A range of readable events, freed when it is dropped.

use crate::consumer::Consumer;
use crate::consumer::reader::Station;
use crate::ring::barrier::Readable;
use crate::ring::cursor::Counters;
use crate::ring::slots::{Access, Exclusive, ReadToken, Shared};
use crate::ring::walk::{Iter, IterMut};
use crate::sequence::SequenceRange;
use crate::sync::step;
use std::fmt;
use std::ops::Range;

/// Consecutive sequences that one end may read now. Dropping it frees their slots: stages that come after see them, and
/// producers may use them again.
///
/// With [`Shared`] access it gives `&T`, and may be lent to scoped threads; with [`Exclusive`] access also `&mut T`, and
/// [`drain`](Self::drain) takes events out. Events that a producer abandoned are stepped over: [`len`](Self::len) can be smaller
/// than the number of [`sequences`](Self::sequences), and even 0.
///
/// ```compile_fail,E0277
/// fn needs_sync<T: Sync>() {}
/// needs_sync::<ringway::Batch<'static, u64, ringway::Exclusive>>();
/// ```
/// ```
/// fn needs_sync<T: Sync>() {}
/// needs_sync::<ringway::Batch<'static, u64, ringway::Shared>>();
/// ```
#[must_use = "a batch frees its slots when it is dropped"]
pub struct Batch<'c, T, A: Access = Shared> {
    // the order of fields is the order of drops: give the slots up, then say so
    token: ReadToken<'c, T, A>,
    freeing: Freeing<'c>,
}

/// What happens when a batch ends.
pub(super) struct Freeing<'c> {
    pub(super) station: &'c Station,
    pub(super) seat: Seat,
    /// Everything below is done then.
    pub(super) to: u64,
    pub(super) events: u64,
}

/// Who of the stage reads it.
pub(super) enum Seat {
    /// The only one.
    Cursor,
    /// The member with this number; `stopped`: it never finishes the event at `to`.
    Member { index: usize, stopped: bool },
}

impl<'c> Freeing<'c> {
    fn counters(&self) -> &'c Counters {
        match self.seat {
            Seat::Cursor => &self.station.entry().cursor.counters,
            Seat::Member { index, .. } => &self.station.group().member(index).counters,
        }
    }

    /// By itself, so that the end of a consumer's batch stays so small that it is inlined.
    #[inline(never)]
    fn free_share(&self, index: usize, stopped: bool) {
        let group = self.station.group();
        let counters = &group.member(index).counters;
        counters.count_batch(self.events);
        if stopped {
            group.hold(index, self.to);
        } else {
            group.release(index);
        }
        self.notify(counters);
    }

    #[inline(always)]
    fn notify(&self, counters: &Counters) {
        if step("free_unnotified") {
            self.station.notify(counters);
        }
    }
}

impl Drop for Freeing<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        match self.seat {
            Seat::Cursor => {
                let cursor = &self.station.entry().cursor;
                cursor.counters.count_batch(self.events);
                cursor.advance(self.to);
                self.notify(&cursor.counters);
            }
            Seat::Member { index, stopped } => self.free_share(index, stopped),
        }
    }
}

impl<T, A: Access> Consumer<T, A> {
    /// Makes a batch of what the barrier granted.
    #[inline(always)]
    pub(crate) fn take(&mut self, readable: Readable) -> Batch<'_, T, A> {
        let range = readable.range();
        assert_eq!(range.start, self.next, "what may be read is read once");
        self.next = range.end;
        let ring = self.reader.ring();
        // SAFETY: the barrier saw every sequence of `range` published, or passed by the only producer or every upstream stage (Acquire). No producer
        // writes these slots before this stage's cursor has passed them, and it stays at or below `range.start` until the
        // batch ends: the consumer is borrowed mutably so long, so no second batch of it lives. With exclusive access no
        // other stage reads or edits them meanwhile: a bus starts only if every other stage comes before or after
        // one that edits (`topology::graph`), and the ends made without a topology are alone.
        let token = unsafe { ReadToken::mint(&ring.slots, range.clone(), ring.core.has_gaps()) };
        let freeing = Freeing {
            station: self.reader.station(),
            seat: Seat::Cursor,
            to: range.end,
            events: token.live(),
        };
        Batch { token, freeing }
    }
}

impl<'c, T, A: Access> Batch<'c, T, A> {
    pub(super) fn new(token: ReadToken<'c, T, A>, freeing: Freeing<'c>) -> Self {
        Self { token, freeing }
    }

    /// How many events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.token.live() as usize
    }

    /// Whether every sequence of it was abandoned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sequences, abandoned ones included.
    #[must_use]
    pub fn sequences(&self) -> SequenceRange {
        self.freeing.station.numbering().range(self.token.range())
    }

    /// The same as positions in the ring.
    pub(crate) fn range(&self) -> Range<u64> {
        self.token.range()
    }

    /// What whoever reads it has done.
    pub(crate) fn counters(&self) -> &'c Counters {
        self.freeing.counters()
    }

    /// The stage ends, and the event at `position` and those after it are not done; `events` were.
    pub(crate) fn stop_at(&mut self, position: u64, events: u64) {
        self.freeing.to = position;
        self.freeing.events = events;
        if let Seat::Member { stopped, .. } = &mut self.freeing.seat {
            *stopped = true;
        }
    }
}

impl<T: Sync> Batch<'_, T, Shared> {
    /// The events, in order.
    #[inline]
    pub fn iter(&self) -> Iter<'_, T> {
        self.token.iter()
    }
}

impl<T> Batch<'_, T, Exclusive> {
    /// The events, in order.
    #[inline]
    pub fn iter(&self) -> Iter<'_, T> {
        self.token.iter()
    }

    /// The events, in order, to be edited.
    #[inline]
    pub fn iter_mut(&mut self) -> IterMut<'_, T> {
        self.token.iter_mut()
    }

    /// Takes the events out, in order, and leaves defaults in their slots; so nothing stays alive in the ring. What the iterator
    /// has not yielded when it is dropped stays in the batch.
    #[inline]
    pub fn drain(&mut self) -> Drain<'_, T>
    where
        T: Default,
    {
        Drain {
            events: self.token.iter_mut(),
        }
    }
}

impl<'b, T: Sync> IntoIterator for &'b Batch<'_, T, Shared> {
    type Item = &'b T;
    type IntoIter = Iter<'b, T>;

    #[inline]
    fn into_iter(self) -> Iter<'b, T> {
        self.iter()
    }
}

impl<'b, T> IntoIterator for &'b Batch<'_, T, Exclusive> {
    type Item = &'b T;
    type IntoIter = Iter<'b, T>;

    #[inline]
    fn into_iter(self) -> Iter<'b, T> {
        self.iter()
    }
}

impl<'b, T> IntoIterator for &'b mut Batch<'_, T, Exclusive> {
    type Item = &'b mut T;
    type IntoIter = IterMut<'b, T>;

    #[inline]
    fn into_iter(self) -> IterMut<'b, T> {
        self.iter_mut()
    }
}

impl<T, A: Access> fmt::Debug for Batch<'_, T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("sequences", &self.sequences())
            .field("len", &self.len())
            .finish()
    }
}

/// Iterator that takes events out of their slots: see [`Batch::drain`].
#[derive(Debug)]
pub struct Drain<'b, T> {
    events: IterMut<'b, T>,
}

impl<T: Default> Iterator for Drain<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.events.next().map(std::mem::take)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.events.size_hint()
    }
}

impl<T: Default> ExactSizeIterator for Drain<'_, T> {}
