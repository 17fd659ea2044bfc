//! The slots of a ring, and the tokens that give access to them. All dereferences of slots stand in this file.
//!
//! The *mark* of a line (see [`lines`](super::lines)) is `bound << 1 | abandoned`: every sequence of the line below the bound is
//! published. It starts at 0 and only grows, so what an earlier lap left is below every sequence of this one. Where each slot has a mark
//! of its own, `abandoned` says that its event is none: a producer gave its claim up. The flag stands *below* the bound, where it cannot
//! make a mark of the last lap look newer than a fresh one.
//!
//! A token is a range of sequences plus a promise. Minting one is `unsafe` and happens where the protocol proves the
//! promise; using one is safe:
//! * a [`WriteToken`] is the only token for its range;
//! * a [`ReadToken`] with [`Shared`] access excludes write tokens and exclusive read tokens for its range;
//! * a [`ReadToken`] with [`Exclusive`] access is the only token for its range.

use crate::error::Error;
use crate::ring::lines::{Lines, Place, Run, Shape, View};
use crate::sync::{AtomicU64, Ordering, UnsafeCell, at};
use std::marker::PhantomData;
use std::ops::Range;

/// Readers may look at events at the same time as others (`&T`).
#[derive(Debug)]
pub enum Shared {}

/// One reader at a time has an event to itself: it may edit it, or take it out (`&mut T`).
#[derive(Debug)]
pub struct Exclusive(PhantomData<std::cell::Cell<()>>); // never shared between threads, so neither is a batch

/// How a reader may use events: [`Shared`] or [`Exclusive`]. Sealed.
pub trait Access: sealed::Sealed + 'static {}
impl Access for Shared {}
impl Access for Exclusive {}

mod sealed {
    #[allow(unnameable_types, reason = "that is what seals it")]
    pub trait Sealed {}
    impl Sealed for super::Shared {}
    impl Sealed for super::Exclusive {}
}

/// The slots of a ring, at least as many as its capacity says, and the marks that publish them.
pub(crate) struct Slots<T> {
    lines: Lines<T>,
}

const ABANDONED: u64 = 1;

/// Publishes the sequences of a line below `bound`.
#[inline(always)]
fn publish(mark: &AtomicU64, bound: u64, flag: u64) {
    // pairs: MARK (Slots::published)
    mark.store(bound << 1 | flag, at("mark_release", Ordering::Release));
}

impl<T> Slots<T> {
    /// The line of a sequence that is about to be written, by whoever has begun with its line's first slot, or just begins.
    ///
    /// # Safety
    /// `shape` is that of the slots.
    #[inline(always)]
    pub(crate) unsafe fn begin(&self, shape: Shape, sequence: u64) -> Place {
        // SAFETY: the caller says that this is their shape.
        let view = unsafe { self.lines.view_as(shape) };
        let place = view.place(sequence);
        view.prefetch_line(place);
        place
    }

    /// Slots for `capacity` events, which must be a power of two, filled by `event`.
    ///
    /// # Errors
    /// [`ErrorKind::CapacityTooLarge`](crate::ErrorKind::CapacityTooLarge) when they do not fit into memory.
    pub(crate) fn new(
        shape: Shape,
        capacity: u64,
        event: impl FnMut() -> T,
    ) -> Result<Self, Error> {
        Ok(Self {
            lines: Lines::new(shape, capacity, event)?,
        })
    }

    /// Whether a sequence is published, for whoever then looks properly.
    #[inline(always)]
    pub(crate) fn seems_published(&self, sequence: u64) -> bool {
        let view = self.lines.view();
        // relaxed: a hint
        let mark = view.mark(view.line_of(sequence)).load(Ordering::Relaxed);
        mark >> 1 > sequence
    }

    /// How many consecutive sequences from `from` are published, at most `most`.
    #[inline]
    pub(crate) fn published(&self, from: u64, most: u64) -> u64 {
        let view = self.lines.view();
        let (mut line, mut known) = (view.line_of(from), from);
        let mut line_end = line * view.per_line();
        while known < from + most {
            // pairs: MARK (publish)
            let mark = view.mark(line).load(at("mark_acquire", Ordering::Acquire));
            let bound = mark >> 1;
            line += 1;
            line_end += view.per_line();
            if bound < line_end {
                known = known.max(bound);
                break;
            }
            known = line_end;
        }
        known.min(from + most) - from
    }
}

/// Whether a published sequence was abandoned, in a ring in which some are.
#[inline]
fn is_abandoned<T>(view: View<'_, T>, sequence: u64) -> bool {
    let mark = view.mark(view.line_of(sequence));
    // relaxed: a reader's barrier has already acquired the mark, or a cursor that is behind it
    mark.load(Ordering::Relaxed) & ABANDONED != 0
}

/// Slots that one claim may write, until it publishes or abandons them.
pub(crate) struct WriteToken<'r, T> {
    view: View<'r, T>,
    range: Range<u64>,
    /// Of the first sequence.
    place: Place,
}

impl<'r, T> WriteToken<'r, T> {
    /// # Safety
    /// `shape` is that of the slots, and `place` where they have `range.start`. Until the token's sequences are published or it is dropped, no other token covers any slot of
    /// `range`, nor will one be minted; what earlier tokens did to these slots happens before this call.
    #[inline(always)]
    pub(crate) unsafe fn mint(
        slots: &'r Slots<T>,
        shape: Shape,
        place: Place,
        range: Range<u64>,
    ) -> Self {
        // SAFETY: the caller says that this is their shape.
        let view = unsafe { slots.lines.view_as(shape) };
        Self { view, range, place }
    }

    #[inline(always)]
    pub(crate) fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Lets `write` edit the first slot, then publishes it, `before` that with one above its sequence, and gives it up. The token
    /// must not be empty. Returns the sequence.
    #[inline(always)]
    pub(crate) fn publish_first(
        &mut self,
        write: impl FnOnce(&mut T),
        before: impl FnOnce(u64),
    ) -> u64 {
        debug_assert!(!self.range.is_empty());
        let sequence = self.range.start;
        // SAFETY: the place is that of the first sequence: it was when the token was minted, and this is the only time.
        let (mark, slot) = unsafe { self.view.at_place(self.place, sequence) };
        self.view.prefetch_slot(slot);
        slot.with_mut(|slot| {
            // SAFETY: this is the only token for its range, which `start` belongs to, and it is borrowed mutably.
            write(unsafe { &mut *slot });
        });
        before(sequence + 1);
        publish(mark, sequence + 1, 0);
        self.range.start += 1;
        sequence
    }

    /// Puts what `events` yields into the slots, and publishes it: whole lines at once, others event by event; `before` that
    /// each time with one above what is then published. Ends with the slots or with the events. If `events` panics, what it had
    /// yielded is published.
    #[inline(always)]
    pub(crate) fn fill(
        &mut self,
        mut events: impl Iterator<Item = T>,
        mut before: impl FnMut(u64),
    ) {
        let (view, whole) = (self.view, self.view.per_line());
        while !self.range.is_empty() {
            let start = self.range.start;
            let place = view.place(start);
            view.prefetch_line(place);
            let end = self.range.end.min(place.end());
            let at_once = if end - start == whole { whole } else { 1 };
            while self.range.start < end {
                let mut filling = Filling {
                    place,
                    next: self.range.start,
                    token: self,
                    before: &mut before,
                };
                // a loop of constant length
                let all = if at_once == whole {
                    (0..whole).all(|_| filling.put(&mut events))
                } else {
                    filling.put(&mut events)
                };
                drop(filling);
                if !all {
                    return;
                }
            }
        }
    }

    /// Publishes every sequence with what is in its slot.
    #[inline]
    pub(crate) fn publish_as_they_are(&mut self) {
        self.publish_all(0);
    }

    /// Publishes what is left as abandoned: readers step over it. For slots with a mark each.
    pub(crate) fn abandon(&mut self) {
        debug_assert_eq!(self.view.per_line(), 1);
        self.publish_all(ABANDONED);
    }

    #[inline(always)]
    fn publish_all(&mut self, flag: u64) {
        while !self.range.is_empty() {
            let line = self.view.line_of(self.range.start);
            let bound = self.range.end.min((line + 1) * self.view.per_line());
            publish(self.view.mark(line), bound, flag);
            self.range.start = bound;
        }
    }

    /// The slots with what was last published in them.
    pub(crate) fn iter_mut(&mut self) -> IterMut<'_, T> {
        IterMut {
            walk: Walk::new(self.view, &self.range, self.range.end - self.range.start),
            borrow: PhantomData,
        }
    }
}

/// A line that is being filled: published when this is dropped, as far as it was filled.
struct Filling<'t, 'r, T, B: FnMut(u64)> {
    token: &'t mut WriteToken<'r, T>,
    place: Place,
    /// Sequences of the token below this one are filled.
    next: u64,
    before: &'t mut B,
}

impl<T, B: FnMut(u64)> Filling<'_, '_, T, B> {
    /// Puts one event into the next slot, which must be the token's, and in the line; `false`: there was none.
    #[inline(always)]
    fn put(&mut self, events: &mut impl Iterator<Item = T>) -> bool {
        debug_assert!(self.next < self.token.range.end && self.next < self.place.end());
        let Some(event) = events.next() else {
            return false;
        };
        // SAFETY: the next slot is in this line.
        let (_, slot) = unsafe { self.token.view.at_place(self.place, self.next) };
        self.token.view.prefetch_slot(slot);
        slot.with_mut(|slot| {
            // SAFETY: this is the only token for its range, which the slot is in, and it is borrowed mutably.
            unsafe { *slot = event };
        });
        self.next += 1;
        true
    }
}

impl<T, B: FnMut(u64)> Drop for Filling<'_, '_, T, B> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.next > self.token.range.start {
            (self.before)(self.next);
            // SAFETY: the line's last sequence is in it.
            let (mark, _) = unsafe { self.token.view.at_place(self.place, self.next - 1) };
            publish(mark, self.next, 0);
            self.token.range.start = self.next;
        }
    }
}

/// Slots that one reader may read, until it is dropped.
pub(crate) struct ReadToken<'r, T, A: Access> {
    view: View<'r, T>,
    range: Range<u64>,
    /// How many sequences of `range` carry events: all but the abandoned ones.
    live: u64,
    access: PhantomData<A>,
}

impl<'r, T, A: Access> ReadToken<'r, T, A> {
    /// `gaps`: whether anything was ever abandoned in this ring before `range` was published.
    ///
    /// # Safety
    /// While the token lives no other token covers any slot of `range`, but that several with [`Shared`] access may;
    /// every sequence of `range` was published, and that happens before this call.
    #[inline]
    pub(crate) unsafe fn mint(slots: &'r Slots<T>, range: Range<u64>, gaps: bool) -> Self {
        let view = slots.lines.view();
        let mut live = range.end - range.start;
        if gaps {
            live -= range
                .clone()
                .filter(|&sequence| is_abandoned(view, sequence))
                .count() as u64;
        }
        Self {
            view,
            range,
            live,
            access: PhantomData,
        }
    }

    pub(crate) fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// How many events there are.
    #[inline]
    pub(crate) fn live(&self) -> u64 {
        self.live
    }

    #[inline]
    fn walk(&self) -> Walk<'_, T> {
        Walk::new(self.view, &self.range, self.live)
    }
}

impl<T: Sync> ReadToken<'_, T, Shared> {
    #[inline]
    pub(crate) fn iter(&self) -> Iter<'_, T> {
        Iter {
            walk: self.walk(),
            borrow: PhantomData,
        }
    }
}

impl<T> ReadToken<'_, T, Exclusive> {
    #[inline]
    pub(crate) fn iter(&self) -> Iter<'_, T> {
        Iter {
            walk: self.walk(),
            borrow: PhantomData,
        }
    }

    #[inline]
    pub(crate) fn iter_mut(&mut self) -> IterMut<'_, T> {
        IterMut {
            walk: self.walk(),
            borrow: PhantomData,
        }
    }
}

#[cfg(loom)]
impl<T, A: Access> Drop for ReadToken<'_, T, A> {
    /// References leave loom's closures, so look once more when they have all ended: a writer that came too early is seen.
    fn drop(&mut self) {
        for slot in self.view.slots(&self.range) {
            slot.with(|_| ());
        }
    }
}

/// Visits the slots of a range that carry events.
struct Walk<'r, T> {
    view: View<'r, T>,
    slots: Run<'r, T>,
    /// How many of the slots left carry none.
    abandoned: u64,
}

impl<T> Clone for Walk<'_, T> {
    fn clone(&self) -> Self {
        Self {
            slots: self.slots.clone(),
            ..*self
        }
    }
}

impl<'r, T> Walk<'r, T> {
    #[inline(always)]
    fn new(view: View<'r, T>, range: &Range<u64>, live: u64) -> Self {
        let slots = view.slots(range);
        Self {
            view,
            abandoned: slots.left() - live,
            slots,
        }
    }

    /// How many events are left.
    #[inline(always)]
    fn left(&self) -> u64 {
        self.slots.left() - self.abandoned
    }

    #[inline(always)]
    fn step(&mut self) -> Option<(u64, &'r UnsafeCell<T>)> {
        loop {
            let slot = self.slots.next()?;
            let sequence = self.slots.sequence() - 1;
            if self.abandoned == 0 || !is_abandoned(self.view, sequence) {
                return Some((sequence, slot));
            }
            self.abandoned -= 1;
        }
    }

    #[inline(always)]
    fn fold<B>(mut self, init: B, mut f: impl FnMut(B, &'r UnsafeCell<T>) -> B) -> B {
        if self.abandoned == 0 {
            return self.slots.fold(init, f);
        }
        let mut folded = init;
        while let Some((_, slot)) = self.step() {
            folded = f(folded, slot);
        }
        folded
    }
}

/// Visits events with their sequences.
pub(crate) trait Numbered {
    type Event;

    fn next_numbered(&mut self) -> Option<(u64, Self::Event)>;

    /// Whether there are more.
    fn has_more(&self) -> bool;
}

/// Iterator over the events of a [`Batch`](crate::Batch). Its `for_each` and `fold`, and what is made of them, go through
/// whole cache lines at a time; they are faster than a `for` loop.
pub struct Iter<'b, T> {
    walk: Walk<'b, T>,
    /// It goes to other threads only where `&T` may; slots themselves may always.
    borrow: PhantomData<&'b T>,
}

impl<'b, T> Iter<'b, T> {
    #[inline(always)]
    fn event(slot: &'b UnsafeCell<T>) -> &'b T {
        slot.with(|slot| {
            // SAFETY: the iterator borrows a read token that covers the slot: nobody writes it meanwhile, and the token's own
            // `iter` asked for `T: Sync` or exclusive access.
            unsafe { &*slot }
        })
    }
}

impl<'b, T> Numbered for Iter<'b, T> {
    type Event = &'b T;

    #[inline(always)]
    fn next_numbered(&mut self) -> Option<(u64, &'b T)> {
        let (sequence, slot) = self.walk.step()?;
        Some((sequence, Self::event(slot)))
    }

    #[inline(always)]
    fn has_more(&self) -> bool {
        self.walk.left() > 0
    }
}

impl<'b, T> Iterator for Iter<'b, T> {
    type Item = &'b T;

    #[inline(always)]
    fn next(&mut self) -> Option<&'b T> {
        self.next_numbered().map(|(_, event)| event)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.walk.left() as usize;
        (left, Some(left))
    }

    #[inline(always)]
    fn fold<B, F: FnMut(B, &'b T) -> B>(self, init: B, mut f: F) -> B {
        self.walk
            .fold(init, |folded, slot| f(folded, Self::event(slot)))
    }
}

impl<T> ExactSizeIterator for Iter<'_, T> {}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Self {
            walk: self.walk.clone(),
            borrow: PhantomData,
        }
    }
}

impl<T> std::fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Iter")
            .field("left", &self.walk.left())
            .finish_non_exhaustive()
    }
}

/// Iterator over the events of an exclusive [`Batch`](crate::Batch) or the slots of a [`Claim`](crate::Claim); as [`Iter`], it is
/// fastest in `for_each` and `fold`.
pub struct IterMut<'b, T> {
    walk: Walk<'b, T>,
    borrow: PhantomData<&'b mut T>,
}

impl<'b, T> IterMut<'b, T> {
    #[inline(always)]
    #[expect(
        clippy::mut_from_ref,
        reason = "a cell, of which the token gives this iterator the only use"
    )]
    fn event(slot: &'b UnsafeCell<T>) -> &'b mut T {
        slot.with_mut(|slot| {
            // SAFETY: the iterator borrows, mutably, the only token for this slot, and visits each sequence once; a range
            // is never longer than the ring, so each has a slot of its own.
            unsafe { &mut *slot }
        })
    }
}

impl<'b, T> Numbered for IterMut<'b, T> {
    type Event = &'b mut T;

    #[inline(always)]
    fn next_numbered(&mut self) -> Option<(u64, &'b mut T)> {
        let (sequence, slot) = self.walk.step()?;
        Some((sequence, Self::event(slot)))
    }

    #[inline(always)]
    fn has_more(&self) -> bool {
        self.walk.left() > 0
    }
}

impl<'b, T> Iterator for IterMut<'b, T> {
    type Item = &'b mut T;

    #[inline(always)]
    fn next(&mut self) -> Option<&'b mut T> {
        self.next_numbered().map(|(_, event)| event)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.walk.left() as usize;
        (left, Some(left))
    }

    #[inline(always)]
    fn fold<B, F: FnMut(B, &'b mut T) -> B>(self, init: B, mut f: F) -> B {
        self.walk
            .fold(init, |folded, slot| f(folded, Self::event(slot)))
    }
}

impl<T> ExactSizeIterator for IterMut<'_, T> {}

impl<T> std::fmt::Debug for IterMut<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IterMut")
            .field("left", &self.walk.left())
            .finish_non_exhaustive()
    }
}
