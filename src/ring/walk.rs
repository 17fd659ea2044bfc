//! Walks through the slots of a token: the iterators that batches and claims give out.

use crate::ring::lines::{Run, View};
use crate::ring::slots::is_abandoned;
use crate::sync::UnsafeCell;
use std::marker::PhantomData;
use std::ops::Range;

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
        while self.abandoned > 0 {
            let slot = self.slots.next()?;
            let sequence = self.slots.sequence() - 1;
            if !is_abandoned(self.view, sequence) {
                return Some((sequence, slot));
            }
            self.abandoned -= 1;
        }
        let slot = self.slots.next()?;
        Some((self.slots.sequence() - 1, slot))
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
    /// Over the `live` events of a range.
    ///
    /// # Safety
    /// For `'b` a read token covers `range`, which is published and in the lines of `view`; either it has exclusive access, and is not
    /// shared between threads, or the event is `Sync`.
    #[inline(always)]
    pub(super) unsafe fn new(view: View<'b, T>, range: &Range<u64>, live: u64) -> Self {
        Self {
            walk: Walk::new(view, range, live),
            borrow: PhantomData,
        }
    }

    #[inline(always)]
    fn event(slot: &'b UnsafeCell<T>) -> &'b T {
        slot.with(|slot| {
            // SAFETY: a read token covers the slot, so nobody writes it meanwhile, and `&T` may be had on this thread.
            unsafe { &*slot }
        })
    }
}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Self {
            walk: self.walk.clone(),
            borrow: PhantomData,
        }
    }
}

/// Iterator over the events of an exclusive [`Batch`](crate::Batch) or the slots of a [`Claim`](crate::Claim); as [`Iter`], it is
/// fastest in `for_each` and `fold`.
pub struct IterMut<'b, T> {
    walk: Walk<'b, T>,
    borrow: PhantomData<&'b mut T>,
}

impl<'b, T> IterMut<'b, T> {
    /// Over the `live` events of a range.
    ///
    /// # Safety
    /// For `'b` the only token for `range` is borrowed mutably, and no other iterator over it lives; the range is in the lines of `view`.
    #[inline(always)]
    pub(super) unsafe fn new(view: View<'b, T>, range: &Range<u64>, live: u64) -> Self {
        Self {
            walk: Walk::new(view, range, live),
            borrow: PhantomData,
        }
    }

    #[inline(always)]
    #[expect(
        clippy::mut_from_ref,
        reason = "a cell, of which the token gives this iterator the only use"
    )]
    fn event(slot: &'b UnsafeCell<T>) -> &'b mut T {
        slot.with_mut(|slot| {
            // SAFETY: the only token for this slot is borrowed mutably, for this iterator alone, which visits each sequence once; a
            // range is never longer than the ring, so each has a slot of its own.
            unsafe { &mut *slot }
        })
    }
}

/// What both iterators do alike; `event`, of each, is all that tells them apart.
macro_rules! iterator {
    ($iter:ident, $event:ty) => {
        impl<'b, T> Numbered for $iter<'b, T> {
            type Event = $event;

            #[inline(always)]
            fn next_numbered(&mut self) -> Option<(u64, $event)> {
                let (sequence, slot) = self.walk.step()?;
                Some((sequence, Self::event(slot)))
            }

            #[inline(always)]
            fn has_more(&self) -> bool {
                self.walk.left() > 0
            }
        }

        impl<'b, T> Iterator for $iter<'b, T> {
            type Item = $event;

            #[inline(always)]
            fn next(&mut self) -> Option<$event> {
                self.next_numbered().map(|(_, event)| event)
            }

            #[inline]
            fn size_hint(&self) -> (usize, Option<usize>) {
                let left = self.walk.left() as usize;
                (left, Some(left))
            }

            #[inline(always)]
            fn fold<B, F: FnMut(B, $event) -> B>(self, init: B, mut f: F) -> B {
                self.walk
                    .fold(init, |folded, slot| f(folded, Self::event(slot)))
            }
        }

        impl<T> ExactSizeIterator for $iter<'_, T> {}

        impl<T> std::fmt::Debug for $iter<'_, T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($iter))
                    .field("left", &self.walk.left())
                    .finish_non_exhaustive()
            }
        }
    };
}

iterator!(Iter, &'b T);
iterator!(IterMut, &'b mut T);
