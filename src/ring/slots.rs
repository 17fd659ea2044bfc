//! The slots of a ring, and the tokens that give access to them. All dereferences of slots stand in this file
//! and in [`walk`](super::walk), for the iterators that tokens give out.
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
use crate::ring::lines::{Lines, Place, Shape, View};
use crate::ring::walk::{Iter, IterMut};
use crate::sync::{AtomicU64, Ordering, at};
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

    /// The same for the line after `place`.
    ///
    /// # Safety
    /// `shape` is that of the slots, and `place` a line of theirs.
    #[inline(always)]
    pub(crate) unsafe fn begin_after(&self, shape: Shape, place: Place) -> Place {
        // SAFETY: the caller says that this is their shape.
        let view = unsafe { self.lines.view_as(shape) };
        // SAFETY: the caller says that it is a line of theirs.
        let next = unsafe { view.place_after(place) };
        view.prefetch_line(next);
        next
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

    /// How many consecutive sequences from `from` are published in its line, for whoever then looks properly.
    #[inline(always)]
    pub(crate) fn seem_published(&self, from: u64) -> u64 {
        let view = self.lines.view();
        // relaxed: a hint
        let mark = view.mark(view.line_of(from)).load(Ordering::Relaxed);
        (mark >> 1).saturating_sub(from)
    }

    /// How many consecutive sequences from `from` are published, at most `most`.
    #[inline(always)]
    pub(crate) fn published(&self, from: u64, most: u64) -> u64 {
        let view = self.lines.view();
        match view.shape() {
            Shape::Each => published(view.known(Shape::Each), from, most),
            Shape::Lined => published(view.known(Shape::Lined), from, most),
        }
    }
}

#[inline(always)]
fn published<T>(view: View<'_, T>, from: u64, most: u64) -> u64 {
    let end = from + most;
    let mut line = view.line_of(from);
    let mut start = line * view.per_line();
    loop {
        // pairs: MARK (publish)
        let mark = view.mark(line).load(at("mark_acquire", Ordering::Acquire));
        let line_end = start + view.per_line();
        // the end first: whoever waited for one event takes the same way wherever in a line that is
        if end <= line_end || mark < line_end << 1 {
            // an earlier lap's bound is below the line
            return (mark >> 1).min(end).max(start.max(from)) - from;
        }
        (line, start) = (line + 1, line_end);
    }
}

/// Whether a published sequence was abandoned, in a ring in which some are.
#[inline]
pub(super) fn is_abandoned<T>(view: View<'_, T>, sequence: u64) -> bool {
    let mark = view.mark(view.line_of(sequence));
    // relaxed: a reader's barrier has already acquired the mark, or a cursor that is behind it
    mark.load(Ordering::Relaxed) & ABANDONED != 0
}

/// Slots that one claim may write, until it publishes or abandons them.
pub(crate) struct WriteToken<'r, T> {
    view: View<'r, T>,
    range: Range<u64>,
    /// Of the first sequence, if there is one.
    place: Place,
}

impl<'r, T> WriteToken<'r, T> {
    /// # Safety
    /// `shape` is that of the slots, and `place` where they have `range.start`. Until the token's sequences are published or it is
    /// dropped, no other token covers any slot of `range`, nor will one be minted; what earlier tokens did to these slots
    /// happens before this call.
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

    /// Lets `write` edit the only slot, then publishes it, `before` that with one above its sequence, and gives it up.
    /// Returns the sequence.
    #[inline(always)]
    pub(crate) fn publish_only(
        &mut self,
        write: impl FnOnce(&mut T),
        before: impl FnOnce(u64),
    ) -> u64 {
        debug_assert_eq!(self.range.end - self.range.start, 1);
        let sequence = self.range.start;
        // SAFETY: the place is that of the first sequence.
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

    /// Puts `events` into the slots, and publishes line by line; `before` that each time with one above what is then published.
    /// Ends with the slots or with the events. If an iterator panics, what it had yielded is published. `shape`: that of the slots.
    #[inline(always)]
    pub(crate) fn fill(
        &mut self,
        shape: Shape,
        events: &mut impl Events<T>,
        mut before: impl FnMut(u64),
    ) {
        self.view = self.view.known(shape);
        let whole = self.view.per_line();
        while !self.range.is_empty() {
            let count = self.range.end.min(self.place.end()) - self.range.start;
            let mut filling = Filling {
                next: self.range.start,
                token: self,
                before: &mut before,
            };
            // a loop of constant length
            let all = if count == whole {
                events.put(&mut filling, whole)
            } else {
                events.put(&mut filling, count)
            };
            drop(filling);
            if !all {
                return;
            }
            self.go_on();
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
            let bound = self.range.end.min(self.place.end());
            // SAFETY: the place is that of the first sequence.
            let (mark, _) = unsafe { self.view.at_place(self.place, self.range.start) };
            publish(mark, bound, flag);
            self.range.start = bound;
            self.go_on();
        }
    }

    /// Comes after the last slot of the first line was given up.
    #[inline(always)]
    fn go_on(&mut self) {
        if !self.range.is_empty() {
            // SAFETY: the place is a line of these, from when the token was minted.
            self.place = unsafe { self.view.place_after(self.place) };
            self.view.prefetch_line(self.place);
        }
    }

    /// The slots with what was last published in them.
    pub(crate) fn iter_mut(&mut self) -> IterMut<'_, T> {
        let all = self.range.end - self.range.start;
        // SAFETY: this is the only token for its range, and it is borrowed mutably.
        unsafe { IterMut::new(self.view, &self.range, all) }
    }
}

/// What a claim is filled with.
pub(crate) trait Events<T> {
    /// How many there are; an iterator may be wrong.
    fn left(&self) -> usize;

    /// Puts the next `count` into a line, which has so many slots left; `false`: there were fewer.
    fn put<B: FnMut(u64)>(&mut self, line: &mut Filling<'_, '_, T, B>, count: u64) -> bool;
}

/// What an iterator yields.
pub(crate) struct Yielded<I>(pub(crate) I);

impl<T, I: ExactSizeIterator<Item = T>> Events<T> for Yielded<I> {
    #[inline(always)]
    fn left(&self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    fn put<B: FnMut(u64)>(&mut self, line: &mut Filling<'_, '_, T, B>, count: u64) -> bool {
        (0..count).all(|_| self.0.next().map(|event| line.put(event)).is_some())
    }
}

/// Copies of what is in a slice.
pub(crate) struct Copied<'e, T>(pub(crate) &'e [T]);

impl<T: Copy> Events<T> for Copied<'_, T> {
    #[inline(always)]
    fn left(&self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    fn put<B: FnMut(u64)>(&mut self, line: &mut Filling<'_, '_, T, B>, count: u64) -> bool {
        let Some((now, later)) = self.0.split_at_checked(count as usize) else {
            return false;
        };
        now.iter().for_each(|event| line.put(*event));
        self.0 = later;
        true
    }
}

/// A line that is being filled: published when this is dropped, as far as it was filled.
pub(crate) struct Filling<'t, 'r, T, B: FnMut(u64)> {
    token: &'t mut WriteToken<'r, T>,
    /// Sequences of the token below this one are filled.
    next: u64,
    before: &'t mut B,
}

impl<T, B: FnMut(u64)> Filling<'_, '_, T, B> {
    /// Puts an event into the next slot, which must be the token's, and in its first line.
    #[inline(always)]
    fn put(&mut self, event: T) {
        debug_assert!(self.next < self.token.range.end && self.next < self.token.place.end());
        // SAFETY: the next slot is in this line.
        let (_, slot) = unsafe { self.token.view.at_place(self.token.place, self.next) };
        self.token.view.prefetch_slot(slot);
        slot.with_mut(|slot| {
            // SAFETY: this is the only token for its range, which the slot is in, and it is borrowed mutably.
            unsafe { *slot = event };
        });
        self.next += 1;
    }
}

impl<T, B: FnMut(u64)> Drop for Filling<'_, '_, T, B> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.next > self.token.range.start {
            (self.before)(self.next);
            // SAFETY: the line's last sequence is in it.
            let (mark, _) = unsafe { self.token.view.at_place(self.token.place, self.next - 1) };
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
    #[inline(always)]
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
}

impl<T: Sync> ReadToken<'_, T, Shared> {
    #[inline]
    pub(crate) fn iter(&self) -> Iter<'_, T> {
        // SAFETY: this token covers the range, with shared access to events that are `Sync`.
        unsafe { Iter::new(self.view, &self.range, self.live) }
    }
}

impl<T> ReadToken<'_, T, Exclusive> {
    #[inline]
    pub(crate) fn iter(&self) -> Iter<'_, T> {
        // SAFETY: this token covers the range, with exclusive access, and stays on its thread.
        unsafe { Iter::new(self.view, &self.range, self.live) }
    }

    #[inline]
    pub(crate) fn iter_mut(&mut self) -> IterMut<'_, T> {
        // SAFETY: this is the only token for its range, and it is borrowed mutably.
        unsafe { IterMut::new(self.view, &self.range, self.live) }
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
