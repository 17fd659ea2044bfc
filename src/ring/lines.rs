//! Where the events of a ring lie in memory: *lines*, each a mark word and the slots that the mark speaks for.
//!
//! This file knows addresses and nothing else: what marks mean, and who may touch a slot when, stands in
//! [`slots`](super::slots). References are formed to marks and to the cells of single slots, never to a whole line.
//!
//! In [`Shape::Lined`] several slots share a mark. Of small events a line is one cache line, with as many slots as fit beside the mark: the
//! transfer that tells a reader that events are there brings the events along, seven of eight bytes at a time. Of large events it is a
//! cache line for the mark and then eight slots. In [`Shape::Each`] every slot has a mark of its own right before it, which is what
//! producers need that finish out of order. Either way the number of lines is a power of two, so that a line is found by a mask.

use crate::error::{Error, ErrorKind};
use crate::sync::{AtomicU64, UnsafeCell};
use std::alloc::{Layout, alloc, dealloc};
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::slice;

/// What a processor moves between cores at once.
const CACHE_LINE: usize = 64;
/// What of it marks and small events may fill. Models have lines so short that two or four very small events make one.
const FILLED: usize = if cfg!(loom) { 12 } else { CACHE_LINE };
/// How many large events share a mark.
const LARGE_PER_LINE: u64 = if cfg!(loom) { 1 } else { 8 };
/// So many bytes ahead of where it writes a producer asks for cache lines.
const AHEAD: usize = 512;
/// For so many bytes of one event at most: beyond, the processor itself sees what is coming.
const AHEAD_MAX: usize = 8 * CACHE_LINE;

/// How many slots a mark speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One: several producers may publish out of order.
    Each,
    /// Several: one producer publishes in order.
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
    const SLOT: usize = size_of::<UnsafeCell<T>>();
    const ALIGN: usize = {
        let (mark, slot) = (align_of::<AtomicU64>(), align_of::<UnsafeCell<T>>());
        if mark > slot { mark } else { slot }
    };
    /// How many events fit beside their mark into one cache line.
    const FITTING: usize = {
        let mark = size_of::<u64>().next_multiple_of(align_of::<T>());
        match size_of::<T>() {
            0 => 0,
            size => FILLED.saturating_sub(mark) / size,
        }
    };
    /// Whether lines of several slots are one cache line.
    const SMALL: bool = Self::FITTING > 1;

    /// How many slots with marks of their own share a cache line, more or less.
    const TOGETHER: u64 = match CACHE_LINE / Self::stride(Shape::Each) {
        0 => 1,
        lines => 1 << lines.ilog2(),
    };

    /// How many slots a line has.
    const fn per_line(shape: Shape) -> u64 {
        match shape {
            Shape::Each => 1,
            Shape::Lined if Self::SMALL => Self::FITTING as u64,
            Shape::Lined => LARGE_PER_LINE,
        }
    }

    /// From a line's beginning to its first slot, in bytes.
    const fn first_slot(shape: Shape) -> usize {
        let mark = size_of::<AtomicU64>().next_multiple_of(align_of::<UnsafeCell<T>>());
        match shape {
            Shape::Lined if !Self::SMALL => mark.next_multiple_of(CACHE_LINE),
            _ => mark,
        }
    }

    /// From one line to the next, in bytes. A slot with a mark of its own is packed: padding costs more transfers than it saves.
    const fn stride(shape: Shape) -> usize {
        let used = Self::first_slot(shape) + Self::per_line(shape) as usize * Self::SLOT;
        match shape {
            Shape::Each => used.next_multiple_of(Self::ALIGN),
            Shape::Lined => used
                .next_multiple_of(CACHE_LINE)
                .next_multiple_of(Self::ALIGN),
        }
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
            let view = self.view();
            let slot = view.slot_in(view.place(self.made), self.made);
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

impl<T> Lines<T> {
    /// Drops the events, the last made first. If one panics, the rest is still there to be dropped.
    fn empty(&mut self) {
        while self.made > 0 {
            self.made -= 1;
            let view = self.view();
            let slot = view.slot_in(view.place(self.made), self.made);
            // SAFETY: this slot holds an event, counts as empty from now on, and nobody can reach it any more.
            unsafe { slot.drop_in_place() };
        }
    }
}

impl<T> Drop for Lines<T> {
    fn drop(&mut self) {
        struct Rest<'l, T>(&'l mut Lines<T>);

        impl<T> Drop for Rest<'_, T> {
            fn drop(&mut self) {
                self.0.empty();
                // SAFETY: it was allocated with this layout, and is not used again. Marks need no drop.
                unsafe { dealloc(self.0.first.as_ptr(), self.0.layout) };
            }
        }

        // an event whose drop panics costs neither the others nor the memory
        Rest(self).0.empty();
    }
}

/// A line, and how its slots are found without a division.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    mark: NonNull<AtomicU64>,
    /// Where the slot of sequence 0 would be if the line went back so far.
    origin: *mut u8,
    /// One above the line's last sequence.
    end: u64,
}

// SAFETY: these are addresses; whoever goes there argues for that.
unsafe impl Send for Place {}

impl Place {
    /// Of no line: no sequence comes right after it.
    pub(crate) const NOWHERE: Self = Self {
        mark: NonNull::dangling(),
        origin: ptr::null_mut(),
        end: u64::MAX,
    };

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
    #[inline(always)]
    pub(crate) fn shape(self) -> Shape {
        self.shape
    }

    /// Itself, of its own shape: from here on the compiler knows it.
    #[inline(always)]
    pub(crate) fn known(self, shape: Shape) -> Self {
        assert!(self.shape == shape, "lines keep their shape");
        Self { shape, ..self }
    }

    /// How many slots a line has.
    #[inline(always)]
    pub(crate) fn per_line(self) -> u64 {
        Lines::<T>::per_line(self.shape)
    }

    /// The number of the line that `sequence` is in; lines are numbered on from lap to lap.
    #[inline(always)]
    pub(crate) fn line_of(self, sequence: u64) -> u64 {
        // a division by either constant, not by whichever of them
        match self.shape {
            Shape::Each => sequence,
            Shape::Lined => sequence / Lines::<T>::per_line(Shape::Lined),
        }
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

    /// The line that `sequence` is in.
    #[inline(always)]
    pub(crate) fn place(self, sequence: u64) -> Place {
        let line = self.line_of(sequence);
        self.place_at(self.mark_at(line), line * self.per_line())
    }

    /// The line after `place`, without a division.
    ///
    /// # Safety
    /// `place` is a line of these lines, in this shape.
    #[inline(always)]
    pub(crate) unsafe fn place_after(self, place: Place) -> Place {
        // SAFETY: it is one stride from a line to the next, or to the end of the allocation.
        let next = unsafe { place.mark.byte_add(Lines::<T>::stride(self.shape)) };
        // SAFETY: the layout is that of the allocation.
        let end = unsafe { self.lines.first.add(self.lines.layout.size()) };
        let mark = if next == end.cast() {
            self.mark_at(0)
        } else {
            next
        };
        self.place_at(mark, place.end)
    }

    /// The line with this mark, which begins with the sequence `start`.
    #[inline(always)]
    fn place_at(self, mark: NonNull<AtomicU64>, start: u64) -> Place {
        let first = mark
            .cast::<u8>()
            .as_ptr()
            .wrapping_add(Lines::<T>::first_slot(self.shape));
        Place {
            mark,
            origin: first.wrapping_sub((start as usize).wrapping_mul(Lines::<T>::SLOT)),
            end: start + self.per_line(),
        }
    }

    /// The slot of a sequence that is in `place`.
    #[inline(always)]
    fn slot_in(self, place: Place, sequence: u64) -> *mut UnsafeCell<T> {
        place
            .origin
            .wrapping_add((sequence as usize).wrapping_mul(Lines::<T>::SLOT))
            .cast()
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
        // SAFETY: slots were made with the lines, which outlive the reference; what is in a cell is reached through its pointer only.
        let slot = unsafe { &*self.slot_in(place, sequence) };
        // SAFETY: as in `mark`, for a place is made from a line's number.
        (unsafe { place.mark.as_ref() }, slot)
    }

    /// The mark of a line.
    #[inline(always)]
    pub(crate) fn mark(self, line: u64) -> &'r AtomicU64 {
        // SAFETY: every line has a mark, made with the lines, which outlive the reference; a mark is only used as an atomic.
        unsafe { self.mark_at(line).as_ref() }
    }

    /// The slots of a range, in order.
    #[inline(always)]
    pub(crate) fn slots(self, range: &Range<u64>) -> Run<'r, T> {
        match self.shape {
            Shape::Each => self.known(Shape::Each).run(range),
            Shape::Lined => self.known(Shape::Lined).run(range),
        }
    }

    #[inline(always)]
    fn run(self, range: &Range<u64>) -> Run<'r, T> {
        let place = self.place(range.start);
        let end = range.end.min(place.end);
        Run {
            view: self,
            slot: self.slot_in(place, range.start),
            here: end - range.start,
            line: self.line_of(range.start) + 1,
            later: range.end - end,
            end: range.end,
        }
    }

    /// The first slot of a line.
    #[inline(always)]
    fn first_in(self, line: u64) -> *const UnsafeCell<T> {
        let first = self.at(self.offset(line) + Lines::<T>::first_slot(self.shape));
        first.cast().as_ptr()
    }

    /// Comes before the first slot of a line is written: asks for the cache lines of one that will be written soon, so that they have
    /// come from the readers' core by then. Of large events each asks for itself.
    #[inline(always)]
    pub(crate) fn prefetch_line(self, place: Place) {
        // of slots with marks of their own, once for those that share a cache line
        let due = match self.shape {
            Shape::Each => place.end.is_multiple_of(Lines::<T>::TOGETHER),
            Shape::Lined => true,
        };
        if due {
            prefetch_to_write(place.mark.cast().as_ptr(), AHEAD, CACHE_LINE);
        }
    }

    /// The same before a slot is written.
    #[inline(always)]
    pub(crate) fn prefetch_slot(self, slot: &UnsafeCell<T>) {
        if self.shape == Shape::Lined && !Lines::<T>::SMALL {
            prefetch_to_write(
                ptr::from_ref(slot).cast(),
                AHEAD,
                Lines::<T>::SLOT.min(AHEAD_MAX),
            );
        }
    }
}

/// Asks for the cache lines of `bytes` bytes, `ahead` of an address, to be written. They may lie beyond the allocation: it is a hint, and
/// nothing is accessed.
#[inline(always)]
fn prefetch_to_write(from: *const u8, ahead: usize, bytes: usize) {
    for line in (0..bytes).step_by(CACHE_LINE) {
        let line = from.wrapping_add(ahead + line);
        #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
        // SAFETY: a hint without effect on memory or flags, and a no-op for processors that do not know it; the compiler's own
        // intrinsic asks only to read unless all processors that it compiles for know it.
        unsafe {
            std::arch::asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
        }
        #[cfg(all(target_arch = "aarch64", not(any(miri, loom))))]
        // SAFETY: a hint without effect on memory or flags.
        unsafe {
            std::arch::asm!("prfm pstl1keep, [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
        }
        #[cfg(any(not(any(target_arch = "x86_64", target_arch = "aarch64")), miri, loom))]
        let _ = line;
    }
}

/// The slots of consecutive sequences.
pub(crate) struct Run<'r, T> {
    view: View<'r, T>,
    /// The next slot, if one is left in this line.
    slot: *const UnsafeCell<T>,
    /// How many are left in this line.
    here: u64,
    /// The next line's number.
    line: u64,
    /// How many slots there are from that line on.
    later: u64,
    /// Of the range.
    end: u64,
}

// SAFETY: it is what a view is: addresses of atomics and cells, and whoever reaches into a cell argues for that.
unsafe impl<T: Send> Send for Run<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Run<'_, T> {}

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

    /// The sequence of the next slot.
    #[inline(always)]
    pub(crate) fn sequence(&self) -> u64 {
        self.end - self.left()
    }

    /// Goes on to the next line; `false`: there is none.
    #[inline(always)]
    fn turn(&mut self) -> bool {
        if self.later == 0 {
            return false;
        }
        self.slot = self.view.first_in(self.line);
        self.here = self.later.min(self.view.per_line());
        self.later -= self.here;
        self.line += 1;
        true
    }

    /// What is left of this line.
    #[inline(always)]
    fn rest(&self) -> &'r [UnsafeCell<T>] {
        // SAFETY: a line's slots lie side by side, made with the lines, which outlive the reference; what is in a cell is reached
        // through its pointer only.
        unsafe { slice::from_raw_parts(self.slot, self.here as usize) }
    }

    /// `shape` is that of the lines.
    #[inline(always)]
    fn fold_lines<B>(
        mut self,
        shape: Shape,
        init: B,
        mut f: impl FnMut(B, &'r UnsafeCell<T>) -> B,
    ) -> B {
        self.view = self.view.known(shape);
        let whole = self.view.per_line();
        let mut folded = self.rest().iter().fold(init, &mut f);
        while self.later >= whole && self.turn() {
            self.here = whole; // as it is: now the compiler knows
            folded = self.rest().iter().fold(folded, &mut f);
        }
        if self.turn() {
            folded = self.rest().iter().fold(folded, &mut f);
        }
        folded
    }
}

impl<'r, T> Iterator for Run<'r, T> {
    type Item = &'r UnsafeCell<T>;

    #[inline(always)]
    fn next(&mut self) -> Option<&'r UnsafeCell<T>> {
        if self.here == 0 && !self.turn() {
            return None;
        }
        // SAFETY: there is one more slot in this line, made with the lines, which outlive the reference.
        let slot = unsafe { &*self.slot };
        self.slot = self.slot.wrapping_add(1);
        self.here -= 1;
        Some(slot)
    }

    /// Whole lines in loops of constant length.
    #[inline(always)]
    fn fold<B, F: FnMut(B, Self::Item) -> B>(self, init: B, f: F) -> B {
        match self.view.shape {
            Shape::Each => self.fold_lines(Shape::Each, init, f),
            Shape::Lined => self.fold_lines(Shape::Lined, init, f),
        }
    }
}
