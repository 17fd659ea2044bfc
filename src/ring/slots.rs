//! The slots of a ring, and the tokens that give access to them. All dereferences of slots stand in this file
//! and in [`walk`](super::walk), for the iterators that tokens give out.
//!
//! *Marks* (see [`lines`](super::lines)) publish sequences. Where one producer publishes in order a line's mark is a word, the *bound*:
//! every sequence of the line below it is published. It starts at 0 and only grows, so what an earlier lap left is below every sequence of
//! this one.
//!
//! Where several publish out of order each slot's mark is a byte, `lap << 1 | abandoned` modulo 256, the lap counting how often the ring
//! has come round. `abandoned` says that the slot's event is none: a producer gave its claim up. A mark is stored once in each lap, in the
//! order of laps: every claimed sequence is published or abandoned, and a producer claims a slot only when every reader has passed what it
//! held a lap ago, hence had seen that lap's mark. So a reader that awaits a sequence, having seen the slot's last one published, sees the
//! mark of the lap before or of this one, and a byte tells them apart: it starts as that of the lap before the first. Laps are compared as
//! numbers that wrap are, by the sign of their difference: so a member of a group that looks where others are done already, since it has an
//! old idea of what was taken, sees a later lap as published, and then fails to take it: what was taken only grows. That is so while it is
//! less than 64 laps behind, modulo 128. One that its system stopped between the two looks for 64 to 127 laps sees nothing, once: `try_read`
//! then answers that there is nothing, and whoever waits looks again from where the group is then. It does not sleep on that: had it
//! registered before, what was published in those laps has woken it.
//!
//! A sequence is *published* once it is marked, or *passed*: a single producer's position, stored before the mark, is above it
//! ([`single`](super::single)). So a writer's last access to a slot comes before it passes the sequence; only marks follow.
//!
//! A token is a range of sequences plus a promise. Minting one is `unsafe` and happens where the protocol proves the
//! promise; using one is safe:
//! * a [`WriteToken`] is the only token for its range;
//! * a [`ReadToken`] with [`Shared`] access excludes write tokens and exclusive read tokens for its range;
//! * a [`ReadToken`] with [`Exclusive`] access is the only token for its range.

use crate::error::Error;
use crate::ring::lines::{Lines, Marks, Place, View};
use crate::ring::walk::{Iter, IterMut};
use crate::sync::{Ordering, at};
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

/// In a byte.
const ABANDONED: u8 = 1;

/// The mark of a slot that is published in this lap.
#[inline(always)]
pub(super) fn mark_in(lap: u8) -> u8 {
    lap << 1
}

/// Whether a slot with this mark is published in this lap, or was in a later one.
#[inline(always)]
pub(super) fn is_published(mark: u8, lap: u8) -> bool {
    mark.wrapping_sub(mark_in(lap)) as i8 >= 0
}

/// Publishes a sequence; of a line with a word, all up to it.
///
/// # Safety
/// `place` is where these lines, with these marks, have the sequence.
#[inline(always)]
unsafe fn publish<T>(view: View<'_, T>, place: Place, sequence: u64, flag: u8) {
    match view.marks() {
        Marks::Word => {
            // SAFETY: the caller says that it is a line of these; their marks are words.
            let mark = unsafe { view.word(place) };
            // pairs: MARK (published)
            mark.store(sequence + 1, at("mark_release", Ordering::Release));
        }
        Marks::Bytes => {
            // SAFETY: the caller says that the sequence is there; their marks are bytes.
            let mark = unsafe { view.byte(place, sequence) };
            let value = mark_in(place.lap()) | flag;
            // pairs: MARK (published)
            mark.store(value, at("mark_release", Ordering::Release));
        }
    }
}

/// Publishes sequences of one line, all that are not yet and below the end; not none.
///
/// # Safety
/// `place` is where these lines, with these marks, have the sequences.
#[inline(always)]
unsafe fn publish_all<T>(view: View<'_, T>, place: Place, sequences: Range<u64>, flag: u8) {
    let count = match view.marks() {
        Marks::Word => 1,
        Marks::Bytes => sequences.end - sequences.start,
    };
    let first = sequences.end - count;
    for offset in 0..count {
        // SAFETY: the caller says that the sequence is there.
        unsafe { publish(view, place, first + offset, flag) };
    }
}

impl<T> Slots<T> {
    /// The line of a sequence that is about to be written, for whoever comes to that line.
    ///
    /// # Safety
    /// These are the marks of the slots.
    #[inline(always)]
    pub(crate) unsafe fn begin(&self, marks: Marks, sequence: u64) -> Place {
        // SAFETY: the caller says so.
        let view = unsafe { self.lines.view_as(marks) };
        let place = view.place(sequence);
        view.prefetch_line(place);
        place
    }

    /// The same for the line after `place`.
    ///
    /// # Safety
    /// These are the marks of the slots, and `place` is a line of theirs.
    #[inline(always)]
    pub(crate) unsafe fn begin_after(&self, marks: Marks, place: Place) -> Place {
        // SAFETY: the caller says so.
        let view = unsafe { self.lines.view_as(marks) };
        // SAFETY: the caller says that it is a line of theirs.
        let next = unsafe { view.place_after(place) };
        view.prefetch_line(next);
        next
    }

    /// Whether a sequence is in `place`, a line of these slots.
    #[inline(always)]
    pub(crate) fn is_in(&self, marks: Marks, place: Place, sequence: u64) -> bool {
        place.has(sequence, Lines::<T>::per_line(marks))
    }

    /// Slots for `capacity` events, which must be a power of two, filled by `event`.
    ///
    /// # Errors
    /// [`ErrorKind::CapacityTooLarge`](crate::ErrorKind::CapacityTooLarge) when they do not fit into memory.
    pub(crate) fn new(
        marks: Marks,
        capacity: u64,
        event: impl FnMut() -> T,
    ) -> Result<Self, Error> {
        Ok(Self {
            lines: Lines::new(marks, capacity, event)?,
        })
    }

    /// How many slots there are in so many bytes, more or less.
    pub(crate) fn events_in(&self, bytes: usize) -> u64 {
        self.lines.view().events_in(bytes)
    }

    /// How many consecutive sequences from `from` are published in its line, for whoever then looks properly.
    #[inline(always)]
    pub(crate) fn seem_published(&self, from: u64) -> u64 {
        let view = self.lines.view();
        let place = view.place(from);
        match view.marks() {
            // SAFETY: the place is a line of these, and their marks are words.
            // relaxed: a hint
            Marks::Word => unsafe { view.word(place) }
                .load(Ordering::Relaxed)
                .saturating_sub(from),
            Marks::Bytes => {
                let here = (place.end() - from).min(2);
                let is_published = |sequence: &u64| {
                    // SAFETY: the sequence is in this line, and their marks are bytes.
                    let mark = unsafe { view.byte(place, *sequence) };
                    // relaxed: a hint
                    is_published(mark.load(Ordering::Relaxed), place.lap())
                };
                (from..from + here).take_while(is_published).count() as u64
            }
        }
    }

    /// How many consecutive sequences from `from` are published, at most `most`; asked by whoever knows that those a lap before `from`
    /// were.
    #[inline(always)]
    pub(crate) fn published(&self, from: u64, most: u64) -> u64 {
        let view = self.lines.view();
        let published = match view.marks() {
            Marks::Word => by_words(view.known(Marks::Word), from..from + most),
            Marks::Bytes => by_bytes(view.known(Marks::Bytes), from..from + most),
        };
        published - from
    }
}

#[cfg(test)]
impl<T> Slots<T> {
    /// How many slots a line has, the line after that of `sequence`, and the same as it is found from there.
    pub(super) fn next_line(&self, sequence: u64) -> (u64, [Place; 2]) {
        let view = self.lines.view();
        let next = view.place(sequence + view.per_line());
        // SAFETY: the place is a line of these.
        let after = unsafe { view.place_after(view.place(sequence)) };
        (view.per_line(), [next, after])
    }
}

/// One above the last of consecutive sequences from the range's start that are published.
#[inline(always)]
fn by_words<T>(view: View<'_, T>, range: Range<u64>) -> u64 {
    let mut place = view.place(range.start);
    loop {
        // SAFETY: the place is a line of these, and their marks are words.
        let mark = unsafe { view.word(place) };
        // pairs: MARK (publish)
        let bound = mark.load(at("mark_acquire", Ordering::Acquire));
        // the end first: whoever waited for one event takes the same way wherever in a line that is
        if place.end() >= range.end || bound < place.end() {
            // an earlier lap's bound is below the line
            let least = range.start.max(place.end() - view.per_line());
            return bound.clamp(least, range.end);
        }
        // SAFETY: the place is a line of these.
        place = unsafe { view.place_after(place) };
    }
}

/// The same. An earlier lap's mark is that of the last one: what lies a whole lap ahead of the start was seen published in this walk.
#[inline(never)] // what stands at each place that reads stays small
fn by_bytes<T>(view: View<'_, T>, range: Range<u64>) -> u64 {
    let mut place = view.place(range.start);
    let mut next = range.start;
    let is_published = |place: Place, sequence| {
        // SAFETY: the sequence is in this line, and their marks are bytes.
        let mark = unsafe { view.byte(place, sequence) };
        // pairs: MARK (publish)
        let mark = mark.load(at("mark_acquire", Ordering::Acquire));
        is_published(mark, place.lap())
    };
    while next < range.end {
        let end = range.end.min(place.end());
        if end - next == view.per_line() {
            // a loop of constant length
            let start = place.end() - view.per_line();
            for slot in 0..view.per_line() {
                if !is_published(place, start + slot) {
                    return start + slot;
                }
            }
            next = end;
        }
        while next < end {
            if !is_published(place, next) {
                return next;
            }
            next += 1;
        }
        // SAFETY: the place is a line of these.
        place = unsafe { view.place_after(place) };
    }
    next
}

/// Whether a published sequence was abandoned, in a ring in which some are.
#[inline]
pub(super) fn is_abandoned<T>(view: View<'_, T>, sequence: u64) -> bool {
    match view.marks() {
        Marks::Word => false,
        Marks::Bytes => {
            // SAFETY: the place is that of the sequence, and their marks are bytes.
            let mark = unsafe { view.byte(view.place(sequence), sequence) };
            // relaxed: a reader's barrier has already acquired the mark, or a cursor that is behind it
            mark.load(Ordering::Relaxed) & ABANDONED != 0
        }
    }
}

#[inline(never)] // few rings have any
fn abandoned<T>(view: View<'_, T>, range: Range<u64>) -> u64 {
    range
        .filter(|&sequence| is_abandoned(view, sequence))
        .count() as u64
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
    /// These are the marks of the slots, and `place` is where they have `range.start`. Until a sequence is published, passed or marked, or
    /// the token is dropped, no other token covers its slot, nor will one be minted; what earlier tokens did to these slots
    /// happens before this call. Whoever passes sequences does so in `before`, or has no access to slots follow.
    #[inline(always)]
    pub(crate) unsafe fn mint(
        slots: &'r Slots<T>,
        marks: Marks,
        place: Place,
        range: Range<u64>,
    ) -> Self {
        // SAFETY: the caller says so.
        let view = unsafe { slots.lines.view_as(marks) };
        Self { view, range, place }
    }

    #[inline(always)]
    pub(crate) fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Lets `write` edit the only slot, then publishes it, `before` that with one above its sequence, and gives it up. The last access
    /// to the slot comes before `before`, which may pass it.
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
        let slot = unsafe { self.view.slot(self.place, sequence) };
        self.view.prefetch_slot(slot);
        slot.with_mut(|slot| {
            // SAFETY: this is the only token for its range, which `start` belongs to, and it is borrowed mutably.
            write(unsafe { &mut *slot });
        });
        before(sequence + 1);
        // SAFETY: the place is that of the first sequence.
        unsafe { publish(self.view, self.place, sequence, 0) };
        self.range.start += 1;
        sequence
    }

    /// Puts `events` into the slots, and publishes line by line; `before` that each time with one above what is then published:
    /// the last access to those slots comes before that, as in `publish_only`. Ends with the slots or with the events. If an iterator panics, what it had yielded is published. `marks`: those of the slots.
    #[inline(always)]
    pub(crate) fn fill(
        &mut self,
        marks: Marks,
        events: &mut impl Events<T>,
        mut before: impl FnMut(u64),
    ) {
        let view = self.view.known(marks);
        let whole = view.per_line();
        while !self.range.is_empty() {
            let (start, place) = (self.range.start, self.place);
            let count = self.range.end.min(place.end()) - start;
            let mut filling = Filling {
                token: self,
                view,
                place,
                start,
                next: start,
                before: &mut before,
            };
            let all = if count == whole {
                // loops of constant length, and of known places
                filling.start = place.end() - whole;
                filling.next = filling.start;
                events.put(&mut filling, whole) && filling.publish(whole)
            } else {
                events.put(&mut filling, count) && filling.publish(count)
            };
            if !all {
                return;
            }
            drop(filling);
            self.go_on();
        }
    }

    /// Publishes every sequence with what is in its slot.
    #[inline]
    pub(crate) fn publish_as_they_are(&mut self) {
        self.publish_all(0);
    }

    /// Publishes what is left as abandoned: readers step over it. For slots with a byte each.
    pub(crate) fn abandon(&mut self) {
        debug_assert_eq!(self.view.marks(), Marks::Bytes);
        self.publish_all(ABANDONED);
    }

    #[inline(always)]
    fn publish_all(&mut self, flag: u8) {
        while !self.range.is_empty() {
            let bound = self.range.end.min(self.place.end());
            // SAFETY: the place is that of the first sequence, and the bound is not above its end.
            unsafe { publish_all(self.view, self.place, self.range.start..bound, flag) };
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
    /// What the token has, at hand.
    view: View<'r, T>,
    place: Place,
    start: u64,
    /// Sequences of the token below this one are filled.
    next: u64,
    before: &'t mut B,
}

impl<T, B: FnMut(u64)> Filling<'_, '_, T, B> {
    /// Puts an event into the next slot, which must be the token's, and in its first line.
    #[inline(always)]
    fn put(&mut self, event: T) {
        debug_assert!(self.next < self.token.range.end && self.next < self.place.end());
        // SAFETY: the next slot is in this line.
        let slot = unsafe { self.view.slot(self.place, self.next) };
        self.view.prefetch_slot(slot);
        slot.with_mut(|slot| {
            // SAFETY: this is the only token for its range, which the slot is in, and it is borrowed mutably.
            unsafe { *slot = event };
        });
        self.next += 1;
    }

    /// Publishes what was filled, which is `count`; always `true`.
    #[inline(always)]
    fn publish(&mut self, count: u64) -> bool {
        debug_assert_eq!(self.start + count, self.next);
        let end = self.start + count;
        (self.before)(end);
        // SAFETY: what was filled is in this line, from the token's first sequence on.
        unsafe { publish_all(self.view, self.place, self.start..end, 0) };
        (self.start, self.token.range.start) = (end, end);
        true
    }
}

impl<T, B: FnMut(u64)> Drop for Filling<'_, '_, T, B> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.next > self.start {
            self.publish(self.next - self.start);
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
    /// every sequence of `range` was published, passed or marked, and that happens before this call.
    #[inline(always)]
    pub(crate) unsafe fn mint(slots: &'r Slots<T>, range: Range<u64>, gaps: bool) -> Self {
        let view = slots.lines.view();
        let mut live = range.end - range.start;
        if gaps {
            live -= abandoned(view, range.clone());
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
