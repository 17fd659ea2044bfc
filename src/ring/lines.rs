//! Where the events of a ring lie in memory: *lines*, each a mark word and the slots that the mark speaks for.
//!
//! This file knows addresses and nothing else: what marks mean, and who may touch a slot when, stands in
//! [`slots`](super::slots). References are formed to marks and to the cells of single slots, never to a whole line.
//!
//! A line of [`Shape::Lined`] is one cache line with as many slots as fit beside the mark: the transfer that tells a reader that
//! events are there brings the events along, seven of eight bytes at a time. With [`Shape::Each`] every slot has a mark of its own, which is what
//! producers need that finish out of order. Either way the number of lines is a power of two, so that a line is found by a mask.

use crate::error::{Error, ErrorKind};
use crate::sync::{AtomicU64, UnsafeCell};
use std::alloc::{Layout, alloc, dealloc};
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;

/// What a processor moves between cores at once.
const CACHE_LINE: usize = 64;
/// What of it marks and events may fill. Models have the shortest lines with which two or four small events make one.
const FILLED: usize = if cfg!(loom) { 12 } else { CACHE_LINE };
/// How far ahead of the line that it begins to write a producer asks for lines: eight to twelve were best, by measurement.
const LINES_AHEAD: u64 = 8;

/// How many slots a mark speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One: several producers may publish out of order.
    Each,
    /// As many as fit into its cache line: one producer publishes in order.
    Lined,
}

/// The memory of a ring, and every event in it.
pub(crate) struct Lines<T> {
    first: NonNull<u8>,
    layout: Layout,
    /// The number of lines less one.
    mask: u64,
    shape: Shape,
    /// How many slots hold an event: all, once it is made.
    made: u64,
    events: PhantomData<T>,
}

// SAFETY: the events are owned by the lines, so they go where their type may go; the rest is addresses and atomics.
unsafe impl<T: Send> Send for Lines<T> {}
// SAFETY: sharing lines gives access to atomics and to cells; whoever reaches into a cell argues for that.
unsafe impl<T: Send> Sync for Lines<T> {}

impl<T> Lines<T> {
    /// How many slots fit beside the mark in one cache line; 1 for an event that is too large, aligned more strictly than the
    /// mark, or without a size.
    pub(crate) const PER_LINE: u64 = {
        let beside = FILLED - size_of::<u64>();
        if size_of::<T>() == 0 || align_of::<T>() > align_of::<u64>() || size_of::<T>() > beside {
            1
        } else {
            (beside / size_of::<T>()) as u64
        }
    };
    const SLOT: usize = size_of::<UnsafeCell<T>>();
    /// From a line's beginning to its first slot.
    const FIRST_SLOT: usize = size_of::<AtomicU64>().next_multiple_of(align_of::<UnsafeCell<T>>());
    const ALIGN: usize = {
        let (mark, slot) = (align_of::<AtomicU64>(), align_of::<UnsafeCell<T>>());
        if mark > slot { mark } else { slot }
    };

    const fn per_line(shape: Shape) -> u64 {
        match shape {
            Shape::Each => 1,
            Shape::Lined => Self::PER_LINE,
        }
    }

    /// From one line to the next, in bytes. A line with one slot is packed: padding would cost more transfers than it saves.
    const fn stride(shape: Shape) -> usize {
        let per_line = Self::per_line(shape) as usize;
        let align = if per_line == 1 {
            Self::ALIGN
        } else {
            CACHE_LINE
        };
        (Self::FIRST_SLOT + per_line * Self::SLOT).next_multiple_of(align)
    }

    /// At least `capacity` slots, which must be a power of two, each filled by `event`.
    ///
    /// # Errors
    /// [`ErrorKind::CapacityTooLarge`] when they do not fit into memory.
    pub(crate) fn new(
        shape: Shape,
        capacity: u64,
        event: impl FnMut() -> T,
    ) -> Result<Self, Error> {
        debug_assert!(capacity.is_power_of_two());
        let stride = Self::stride(shape);
        let count = capacity.div_ceil(Self::per_line(shape)).next_power_of_two();
        let layout = (count as usize)
            .checked_mul(stride)
            .and_then(|bytes| Layout::from_size_align(bytes, CACHE_LINE.max(Self::ALIGN)).ok())
            .ok_or_else(|| too_large(capacity, stride))?;
        // SAFETY: the size is not 0: a line holds at least its mark.
        let first = unsafe { alloc(layout) };
        let first = NonNull::new(first).ok_or_else(|| too_large(capacity, stride))?;
        let mut lines = Self {
            first,
            layout,
            mask: count - 1,
            shape,
            made: 0,
            events: PhantomData,
        };
        for line in 0..count {
            let mark = lines.view().mark_at(line);
            // SAFETY: the place of a mark lies in the memory allocated above, is aligned, and nobody else knows it yet.
            unsafe { mark.write(AtomicU64::new(0)) };
        }
        lines.fill(count * Self::per_line(shape), event);
        Ok(lines)
    }

    /// By itself, since its frame holds an event, and comes only after there was memory for so many.
    #[inline(never)]
    fn fill(&mut self, slots: u64, mut event: impl FnMut() -> T) {
        while self.made < slots {
            let slot = self.view().slot_at(self.made);
            // SAFETY: the place of a slot lies in the memory of the lines and is aligned; each is written once, and nobody else
            // knows it yet.
            unsafe { slot.write(UnsafeCell::new(event())) };
            self.made += 1;
        }
    }

    /// Lines as they are.
    #[inline(always)]
    pub(crate) fn view(&self) -> View<'_, T> {
        View {
            lines: self,
            shape: self.shape,
        }
    }

    /// The same for whoever knows their shape, so that no instruction has to ask for it.
    ///
    /// # Safety
    /// `shape` is the one they were made with.
    #[inline(always)]
    pub(crate) unsafe fn view_as(&self, shape: Shape) -> View<'_, T> {
        debug_assert_eq!(shape, self.shape);
        View { lines: self, shape }
    }
}

fn too_large(capacity: u64, stride: usize) -> Error {
    let text = format!(
        "capacity is {capacity}: lines of {stride} bytes for so many events do not fit into memory; choose a smaller capacity"
    );
    Error::new(ErrorKind::CapacityTooLarge, text)
}

impl<T> Drop for Lines<T> {
    fn drop(&mut self) {
        for sequence in 0..self.made {
            let slot = self.view().slot_at(sequence);
            // SAFETY: the first `made` slots hold an event, and nobody can reach one any more.
            unsafe { slot.drop_in_place() };
        }
        // SAFETY: it was allocated with this layout, and is not used again. Marks need no drop.
        unsafe { dealloc(self.first.as_ptr(), self.layout) };
    }
}

/// A line, and how its slots are found without a division: by offsets in bytes, from the beginning of the first line.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    mark: usize,
    /// Where the slot of sequence 0 would be if the line went back so far.
    origin: usize,
    /// One above the line's last sequence.
    end: u64,
}

impl Place {
    /// One above the line's last sequence.
    #[inline(always)]
    pub(crate) fn end(self) -> u64 {
        self.end
    }
}

/// Lines of a known shape.
pub(crate) struct View<'r, T> {
    lines: &'r Lines<T>,
    shape: Shape,
}

impl<T> Clone for View<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for View<'_, T> {}

impl<'r, T> View<'r, T> {
    /// How many slots a line has.
    #[inline(always)]
    pub(crate) fn per_line(self) -> u64 {
        Lines::<T>::per_line(self.shape)
    }

    /// The number of the line that `sequence` is in; lines are numbered on from lap to lap.
    #[inline(always)]
    pub(crate) fn line_of(self, sequence: u64) -> u64 {
        sequence / self.per_line()
    }

    /// From the first line's beginning to that of `line`, in bytes.
    #[inline(always)]
    fn offset(self, line: u64) -> usize {
        (line & self.lines.mask) as usize * Lines::<T>::stride(self.shape)
    }

    #[inline(always)]
    fn at(self, offset: usize) -> NonNull<u8> {
        // SAFETY: offsets come from `offset`, plus what is within a line: they are below the allocation's size, since a masked
        // line number is below the number of lines.
        unsafe { self.lines.first.add(offset) }
    }

    #[inline(always)]
    fn mark_at(self, line: u64) -> NonNull<AtomicU64> {
        self.at(self.offset(line)).cast()
    }

    #[inline(always)]
    fn slot_offset(self, sequence: u64) -> usize {
        let line = self.line_of(sequence);
        let slot = (sequence - line * self.per_line()) as usize;
        self.offset(line) + Lines::<T>::FIRST_SLOT + slot * Lines::<T>::SLOT
    }

    #[inline(always)]
    fn slot_at(self, sequence: u64) -> NonNull<UnsafeCell<T>> {
        self.at(self.slot_offset(sequence)).cast()
    }

    /// The line that `sequence` is in.
    #[inline(always)]
    pub(crate) fn place(self, sequence: u64) -> Place {
        let line = self.line_of(sequence);
        let mark = self.offset(line);
        let before = (line * self.per_line()) as usize;
        Place {
            mark,
            origin: (mark + Lines::<T>::FIRST_SLOT)
                .wrapping_sub(before.wrapping_mul(Lines::<T>::SLOT)),
            end: (line + 1) * self.per_line(),
        }
    }

    /// The mark of a line, and the slot of a sequence in it.
    ///
    /// # Safety
    /// `place` is where these lines, in this shape, have `sequence`.
    #[inline(always)]
    pub(crate) unsafe fn at_place(
        self,
        place: Place,
        sequence: u64,
    ) -> (&'r AtomicU64, &'r UnsafeCell<T>) {
        debug_assert_eq!(self.line_of(sequence), self.line_of(place.end - 1));
        let slot = (sequence as usize).wrapping_mul(Lines::<T>::SLOT);
        let slot = self.slot_from(place.origin.wrapping_add(slot));
        // SAFETY: as in `mark`, for a place is made from a line's number.
        (unsafe { self.at(place.mark).cast().as_ref() }, slot)
    }

    /// The mark of a line.
    #[inline(always)]
    pub(crate) fn mark(self, line: u64) -> &'r AtomicU64 {
        // SAFETY: every line has a mark, made with the lines, which outlive the reference; a mark is only used as an atomic.
        unsafe { self.mark_at(line).as_ref() }
    }

    #[inline(always)]
    fn slot_from(self, offset: usize) -> &'r UnsafeCell<T> {
        // SAFETY: offsets of slots are those of cells that were made with the lines, which outlive the reference; what is in a
        // cell is reached through its pointer only.
        unsafe { self.at(offset).cast().as_ref() }
    }

    /// The slots of a range, in order.
    #[inline(always)]
    pub(crate) fn slots(self, range: &Range<u64>) -> Run<'r, T> {
        let len = range.end - range.start;
        let line = self.line_of(range.start);
        let slot = range.start - line * self.per_line();
        let here = len.min(self.per_line() - slot);
        Run {
            view: self,
            offset: self.slot_offset(range.start),
            here,
            later: len - here,
            line: line + 1,
        }
    }

    /// Whoever begins to write the line of `sequence` asks for one that it will write soon, so that it has come from the readers' core
    /// by then.
    #[inline(always)]
    pub(crate) fn prefetch_ahead_of(self, sequence: u64) {
        prefetch_to_write(self.at(self.offset(self.line_of(sequence) + LINES_AHEAD)));
    }
}

/// Asks for a cache line, to be written.
#[inline(always)]
fn prefetch_to_write(line: NonNull<u8>) {
    #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
    // SAFETY: a hint without effect on memory or flags; the compiler's own intrinsic asks for reading on processors that
    // need not know this instruction, which those without it take for a no-op.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) line.as_ptr(), options(nostack, preserves_flags, readonly));
    }
    #[cfg(all(target_arch = "aarch64", not(any(miri, loom))))]
    // SAFETY: a hint without effect on memory or flags.
    unsafe {
        std::arch::asm!("prfm pstl1keep, [{}]", in(reg) line.as_ptr(), options(nostack, preserves_flags, readonly));
    }
    #[cfg(any(not(any(target_arch = "x86_64", target_arch = "aarch64")), miri, loom))]
    let _ = line;
}

/// The slots of consecutive sequences.
pub(crate) struct Run<'r, T> {
    view: View<'r, T>,
    /// Of the next slot in this line.
    offset: usize,
    /// How many slots of this line are left.
    here: u64,
    /// How many slots of later lines.
    later: u64,
    /// The number of the next line.
    line: u64,
}

impl<T> Clone for Run<'_, T> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<'r, T> Run<'r, T> {
    /// How many slots are left.
    #[inline(always)]
    pub(crate) fn left(&self) -> u64 {
        self.here + self.later
    }

    /// Goes on to the next line, which there must be.
    #[inline(always)]
    fn turn(&mut self) {
        self.here = self.later.min(self.view.per_line());
        self.later -= self.here;
        self.offset = self.view.offset(self.line) + Lines::<T>::FIRST_SLOT;
        self.line += 1;
    }

    #[inline(always)]
    fn step(&mut self) -> &'r UnsafeCell<T> {
        let slot = self.view.slot_from(self.offset);
        self.offset += Lines::<T>::SLOT;
        self.here -= 1;
        slot
    }
}

impl<'r, T> Iterator for Run<'r, T> {
    type Item = &'r UnsafeCell<T>;

    #[inline(always)]
    fn next(&mut self) -> Option<&'r UnsafeCell<T>> {
        if self.here == 0 {
            if self.later == 0 {
                return None;
            }
            self.turn();
        }
        Some(self.step())
    }

    /// Whole lines in loops of constant length.
    #[inline(always)]
    fn fold<B, F: FnMut(B, Self::Item) -> B>(mut self, init: B, mut f: F) -> B {
        let mut folded = init;
        loop {
            if Lines::<T>::PER_LINE > 1 && self.here == Lines::<T>::PER_LINE {
                for _ in 0..Lines::<T>::PER_LINE {
                    folded = f(folded, self.step());
                }
            } else {
                while self.here > 0 {
                    folded = f(folded, self.step());
                }
            }
            if self.later == 0 {
                return folded;
            }
            self.turn();
        }
    }
}
