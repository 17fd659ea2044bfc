//! The slots of a ring, and the tokens that give access to them. All dereferences of slots stand in this file.
//!
//! A *line* is a mark word beside one event, so that one cache-line transfer hands over both. The mark of a line is
//! `(sequence + 1) << 1 | abandoned` of the event that was last published in it: 0 at first, and it only grows.
//! Equality with the mark of a sequence is the test for "published and not yet overwritten"; a flag bit *above* the number
//! would make a stale mark of the last lap look newer than a fresh one.
//!
//! A token is a range of sequences plus a promise. Minting one is `unsafe` and happens where the protocol proves the
//! promise; using one is safe:
//! * a [`WriteToken`] is the only token for its range;
//! * a [`ReadToken`] with [`Shared`] access excludes write tokens and exclusive read tokens for its range;
//! * a [`ReadToken`] with [`Exclusive`] access is the only token for its range.

use crate::error::{Error, ErrorKind};
use crate::sync::{AtomicU64, Ordering, UnsafeCell, at, step};
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

#[repr(C)] // the mark before the event, in one cache line where both fit
struct Line<T> {
    mark: AtomicU64,
    slot: UnsafeCell<T>,
}

/// The storage of a ring: a power of two of always-valid events.
pub(crate) struct Slots<T> {
    lines: Box<[Line<T>]>,
    /// `lines.len() - 1`; the length is a power of two.
    mask: u64,
}

// SAFETY: a slot is reached only through a token. Exclusive tokens (and write tokens) move a `&mut T` to the thread that holds
// them, which `T: Send` allows; shared read tokens hand out `&T` only where `T: Sync` (the bound stands at their methods).
unsafe impl<T: Send> Sync for Slots<T> {}

impl<T> Line<T> {
    #[inline(always)]
    fn publish(&self, sequence: u64, flag: u64) {
        // pairs: MARK (Slots::published)
        self.mark.store(
            mark_of(sequence) | flag,
            at("mark_release", Ordering::Release),
        );
    }
}

/// How many cache lines ahead a producer asks for the one that it will write: as many as it fills while one comes from another core.
const AHEAD: u64 = 8;

/// Asks for a cache line, to be written.
#[inline(always)]
fn prefetch_write<T>(at: &T) {
    #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
    // SAFETY: it is a hint: it reads and writes no memory, and cannot fault.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    let _ = at;
}

const fn mark_of(sequence: u64) -> u64 {
    (sequence + 1) << 1
}

const ABANDONED: u64 = 1;

impl<T> Slots<T> {
    /// `capacity`, rounded up to a power of two, slots filled by `event`.
    ///
    /// # Errors
    /// [`ErrorKind::CapacityTooLarge`] when they cannot be allocated.
    pub(crate) fn new(capacity: usize, mut event: impl FnMut() -> T) -> Result<Self, Error> {
        let too_large = || {
            let text = format!(
                "capacity is {capacity}: {} bytes a slot do not fit into memory; choose a smaller capacity",
                size_of::<Line<T>>()
            );
            Error::new(ErrorKind::CapacityTooLarge, text)
        };
        let capacity = capacity.checked_next_power_of_two().ok_or_else(too_large)?;
        let mut lines = Vec::new();
        lines.try_reserve_exact(capacity).map_err(|_| too_large())?;
        lines.extend((0..capacity).map(|_| Line {
            mark: AtomicU64::new(0),
            slot: UnsafeCell::new(event()),
        }));
        Ok(Self {
            lines: lines.into_boxed_slice(),
            mask: capacity as u64 - 1,
        })
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.mask + 1
    }

    #[inline(always)]
    fn line(&self, sequence: u64) -> &Line<T> {
        // SAFETY: `mask` is the length of `lines` less one, so the masked index is below the length.
        unsafe { self.lines.get_unchecked((sequence & self.mask) as usize) }
    }

    /// The lines' events that share a cache line, as a power of two.
    const TOGETHER: u64 = match 64 / size_of::<Line<T>>() as u64 {
        0 => 1,
        lines => 1 << lines.ilog2(),
    };

    /// For a producer that has just published `sequence`: asks for the cache line that it will write some events later.
    #[inline(always)]
    fn prefetch(&self, sequence: u64) {
        if sequence.is_multiple_of(Self::TOGETHER) {
            prefetch_write(self.line(sequence + AHEAD * Self::TOGETHER));
        }
    }

    /// How many consecutive sequences from `from` are published, at most `most`.
    #[inline]
    pub(crate) fn published(&self, from: u64, most: u64) -> u64 {
        let mut count = 0;
        while count < most {
            let line = self.line(from + count);
            // pairs: MARK (publish)
            let mark = line.mark.load(at("mark_acquire", Ordering::Acquire));
            let there = if step("mark_unmasked") {
                mark & !ABANDONED
            } else {
                mark
            };
            if there != mark_of(from + count) {
                break;
            }
            count += 1;
        }
        count
    }

    /// Whether a published sequence was abandoned.
    #[inline]
    fn is_abandoned(&self, sequence: u64) -> bool {
        // relaxed: a reader's barrier has already acquired the mark, or a cursor that is behind it
        self.line(sequence).mark.load(Ordering::Relaxed) & ABANDONED != 0
    }
}

/// Slots that one claim may write, until it publishes or abandons them.
pub(crate) struct WriteToken<'r, T> {
    slots: &'r Slots<T>,
    range: Range<u64>,
}

impl<'r, T> WriteToken<'r, T> {
    /// # Safety
    /// Until the token's sequences are published or it is dropped, no other token covers any slot of `range`, nor will
    /// one be minted; what earlier tokens did to these slots happens before this call.
    #[inline(always)]
    pub(crate) unsafe fn mint(slots: &'r Slots<T>, range: Range<u64>) -> Self {
        Self { slots, range }
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
        let line = self.slots.line(sequence);
        line.slot.with_mut(|slot| {
            // SAFETY: this is the only token for its range, which `start` belongs to, and it is borrowed mutably.
            write(unsafe { &mut *slot });
        });
        before(sequence + 1);
        line.publish(sequence, 0);
        self.slots.prefetch(sequence);
        self.range.start += 1;
        sequence
    }

    /// Publishes every sequence with what is in its slot.
    #[inline]
    pub(crate) fn publish_as_they_are(&mut self) {
        for sequence in self.range.by_ref() {
            self.slots.line(sequence).publish(sequence, 0);
        }
    }

    /// Publishes what is left as abandoned: readers step over it.
    pub(crate) fn abandon(&mut self) {
        for sequence in self.range.by_ref() {
            self.slots.line(sequence).publish(sequence, ABANDONED);
        }
    }

    /// The slots with what was last published in them.
    pub(crate) fn iter_mut(&mut self) -> IterMut<'_, T> {
        IterMut {
            slots: self.slots,
            walk: Walk::new(&self.range, self.range.end - self.range.start),
            borrow: PhantomData,
        }
    }
}

/// Slots that one reader may read, until it is dropped.
pub(crate) struct ReadToken<'r, T, A: Access> {
    slots: &'r Slots<T>,
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
        let mut live = range.end - range.start;
        if gaps {
            live -= range
                .clone()
                .filter(|&sequence| slots.is_abandoned(sequence))
                .count() as u64;
        }
        Self {
            slots,
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
    fn walk(&self) -> Walk {
        Walk::new(&self.range, self.live)
    }
}

impl<T: Sync> ReadToken<'_, T, Shared> {
    #[inline]
    pub(crate) fn iter(&self) -> Iter<'_, T> {
        Iter {
            slots: self.slots,
            walk: self.walk(),
            borrow: PhantomData,
        }
    }
}

impl<T> ReadToken<'_, T, Exclusive> {
    #[inline]
    pub(crate) fn iter(&self) -> Iter<'_, T> {
        Iter {
            slots: self.slots,
            walk: self.walk(),
            borrow: PhantomData,
        }
    }

    #[inline]
    pub(crate) fn iter_mut(&mut self) -> IterMut<'_, T> {
        IterMut {
            slots: self.slots,
            walk: self.walk(),
            borrow: PhantomData,
        }
    }
}

#[cfg(loom)]
impl<T, A: Access> Drop for ReadToken<'_, T, A> {
    /// References leave loom's closures, so look once more when they have all ended: a writer that came too early is seen.
    fn drop(&mut self) {
        for sequence in self.range.clone() {
            self.slots.line(sequence).slot.with(|_| ());
        }
    }
}

/// Visits the sequences of a range that carry events.
#[derive(Clone, Debug)]
struct Walk {
    next: u64,
    left: u64,
    /// Some sequence of the range is abandoned.
    gaps: bool,
}

impl Walk {
    #[inline]
    fn new(range: &Range<u64>, live: u64) -> Self {
        Self {
            next: range.start,
            left: live,
            gaps: live != range.end - range.start,
        }
    }

    #[inline(always)]
    fn step<T>(&mut self, slots: &Slots<T>) -> Option<u64> {
        if self.left == 0 {
            return None;
        }
        while self.gaps && slots.is_abandoned(self.next) {
            self.next += 1;
        }
        let sequence = self.next;
        self.next += 1;
        self.left -= 1;
        Some(sequence)
    }
}

/// Visits events with their sequences.
pub(crate) trait Numbered {
    type Event;

    fn next_numbered(&mut self) -> Option<(u64, Self::Event)>;

    /// Whether there are more.
    fn has_more(&self) -> bool;
}

/// Iterator over the events of a [`Batch`](crate::Batch).
#[derive(Debug)]
pub struct Iter<'b, T> {
    slots: &'b Slots<T>,
    walk: Walk,
    /// It goes to other threads only where `&T` may; `Slots` themselves may always.
    borrow: PhantomData<&'b T>,
}

impl<'b, T> Numbered for Iter<'b, T> {
    type Event = &'b T;

    #[inline(always)]
    fn next_numbered(&mut self) -> Option<(u64, &'b T)> {
        let sequence = self.walk.step(self.slots)?;
        let event = self.slots.line(sequence).slot.with(|slot| {
            // SAFETY: the iterator borrows a read token that covers `sequence`: nobody writes this slot meanwhile, and
            // the token's own `iter` asked for `T: Sync` or exclusive access.
            unsafe { &*slot }
        });
        Some((sequence, event))
    }

    #[inline(always)]
    fn has_more(&self) -> bool {
        self.walk.left > 0
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
        (self.walk.left as usize, Some(self.walk.left as usize))
    }
}

impl<T> ExactSizeIterator for Iter<'_, T> {}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Self {
            slots: self.slots,
            walk: self.walk.clone(),
            borrow: PhantomData,
        }
    }
}

/// Iterator over the events of an exclusive [`Batch`](crate::Batch) or the slots of a [`Claim`](crate::Claim).
#[derive(Debug)]
pub struct IterMut<'b, T> {
    slots: &'b Slots<T>,
    walk: Walk,
    borrow: PhantomData<&'b mut T>,
}

impl<'b, T> Numbered for IterMut<'b, T> {
    type Event = &'b mut T;

    #[inline(always)]
    fn next_numbered(&mut self) -> Option<(u64, &'b mut T)> {
        let sequence = self.walk.step(self.slots)?;
        let event = self.slots.line(sequence).slot.with_mut(|slot| {
            // SAFETY: the iterator borrows, mutably, the only token for `sequence`, and visits each sequence once; a range
            // is never longer than the ring, so each has a slot of its own.
            unsafe { &mut *slot }
        });
        Some((sequence, event))
    }

    #[inline(always)]
    fn has_more(&self) -> bool {
        self.walk.left > 0
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
        (self.walk.left as usize, Some(self.walk.left as usize))
    }
}

impl<T> ExactSizeIterator for IterMut<'_, T> {}

impl<T> std::fmt::Debug for Slots<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slots")
            .field("capacity", &self.capacity())
            .finish()
    }
}
