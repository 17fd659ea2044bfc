//! Where the events of a ring lie in memory: *lines*, each of marks and the slots that they speak for.
//!
//! This file knows addresses and nothing else: what marks mean, and who may touch a slot when, stands in
//! [`slots`](super::slots). References are formed to marks and to the cells of single slots, never to a whole line.
//!
//! Of small events a line is one cache line, eight bytes for marks and as many slots as fit beside them: the transfer that tells a reader
//! that events are there brings the events along, seven of eight bytes at a time. Of large events it is a cache line for the marks and
//! then eight slots. Its marks are one word, or a byte for each slot: see [`Marks`]. The number of lines is a power of two, so that a line
//! is found by a mask.

use crate::error::{Error, ErrorKind};
use crate::ring::prefetch::{CACHE_LINE, prefetch_to_write};
use crate::sync::{AtomicU8, AtomicU64, UnsafeCell};
use std::alloc::{Layout, alloc, dealloc};
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::slice;

/// What of it marks and small events may fill. Models have lines so short that two or four very small events make one.
const FILLED: usize = if cfg!(loom) { 12 } else { CACHE_LINE };
/// The most slots in a line that have a byte each for a mark: so many bytes has the word that they stand in the place of.
const BYTES: usize = size_of::<u64>();
/// How many large events a line has.
const LARGE_PER_LINE: u64 = if cfg!(loom) { 1 } else { BYTES as u64 };
/// So many bytes ahead of where it writes a producer asks for cache lines. As many follow the last line, unused: what it asks for there
/// would else be taken away from whoever has that memory, such as the next lane.
const AHEAD: usize = 512;
/// For so many bytes of one event at most: beyond, the processor itself sees what is coming.
const AHEAD_MAX: usize = 8 * CACHE_LINE;

/// What a byte says of a slot that was never published: a lap before the first one.
const BEFORE: u8 = 0xfe;

/// What the marks of a line are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marks {
    /// One word for all its slots: one producer publishes in order.
    Word,
    /// A byte for each slot: several producers publish out of order.
    Bytes,
}

/// The memory of a ring, and every event in it.
pub(crate) struct Lines<T> {
    first: NonNull<u8>,
    /// How much of it lines fill.
    pub(super) bytes: usize,
    layout: Layout,
    /// The number of lines less one.
    mask: u64,
    /// Of how many bits that is.
    mask_bits: u32,
    marks: Marks,
    /// How many slots hold an event: all, once it is made.
    made: u64,
    /// Invariant in `T`, as a cell is: events go in and out through shared references.
    events: PhantomData<UnsafeCell<T>>,
}

// SAFETY: the events are owned by the lines, so they go where their type may go; the rest is addresses and atomics. Every end of a
// ring reaches its events through these lines, and so is invariant in their type: none can put in an event that lives shorter
// than what another one, on whatever thread, takes out.
unsafe impl<T: Send> Send for Lines<T> {}
// SAFETY: sharing lines gives access to atomics and to cells; whoever reaches into a cell argues for that.
unsafe impl<T: Send> Sync for Lines<T> {}

impl<T> Lines<T> {
    const SLOT: usize = size_of::<UnsafeCell<T>>();
    const ALIGN: usize = {
        let (mark, slot) = (align_of::<AtomicU64>(), align_of::<UnsafeCell<T>>());
        if mark > slot { mark } else { slot }
    };
    /// How many events fit beside the marks into one cache line.
    const FITTING: usize = {
        let marks = size_of::<u64>().next_multiple_of(align_of::<T>());
        match size_of::<T>() {
            0 => 0,
            size => FILLED.saturating_sub(marks) / size,
        }
    };
    /// Whether lines are one cache line.
    const SMALL: bool = Self::FITTING > 1;

    /// From a line's beginning to its first slot, in bytes. A model's atomics are larger than what they stand for.
    const FIRST_SLOT: usize = {
        let (word, bytes) = (size_of::<AtomicU64>(), BYTES * size_of::<AtomicU8>());
        let marks = if word > bytes { word } else { bytes };
        let first = marks.next_multiple_of(align_of::<UnsafeCell<T>>());
        if Self::SMALL {
            first
        } else {
            first.next_multiple_of(CACHE_LINE)
        }
    };

    /// How many slots a line has.
    pub(crate) const fn per_line(marks: Marks) -> u64 {
        match marks {
            _ if !Self::SMALL => LARGE_PER_LINE,
            Marks::Bytes if Self::FITTING > BYTES => BYTES as u64,
            _ => Self::FITTING as u64,
        }
    }

    /// Whether it is the same number with either.
    const ALIKE: bool = Self::per_line(Marks::Word) == Self::per_line(Marks::Bytes);

    /// Whether a line has an address for each of its bytes; what is computed of lines that were made does not overflow then.
    const ADDRESSABLE: bool = {
        let rest = Self::FIRST_SLOT + Self::ALIGN + CACHE_LINE + AHEAD;
        Self::SLOT <= (isize::MAX as usize - rest) / LARGE_PER_LINE as usize
    };

    /// From one line to the next, in bytes.
    const fn stride(marks: Marks) -> usize {
        (Self::FIRST_SLOT + Self::per_line(marks) as usize * Self::SLOT)
            .next_multiple_of(CACHE_LINE)
            .next_multiple_of(Self::ALIGN)
    }

    /// At least `capacity` slots, which must be a power of two, each filled by `event`.
    ///
    /// # Errors
    /// [`ErrorKind::CapacityTooLarge`] when they do not fit into memory.
    pub(crate) fn new(
        marks: Marks,
        capacity: u64,
        event: impl FnMut() -> T,
    ) -> Result<Self, Error> {
        debug_assert!(capacity.is_power_of_two());
        if !Self::ADDRESSABLE {
            return Err(Self::too_large(capacity));
        }
        let count = capacity.div_ceil(Self::per_line(marks)).next_power_of_two();
        let align = CACHE_LINE.max(Self::ALIGN);
        let (bytes, layout) = (count as usize)
            .checked_mul(Self::stride(marks))
            .and_then(|bytes| Some((bytes, bytes.checked_add(AHEAD)?)))
            .and_then(|(bytes, all)| Some((bytes, Layout::from_size_align(all, align).ok()?)))
            .ok_or_else(|| Self::too_large(capacity))?;
        // SAFETY: the size is not 0: a line holds at least its marks.
        let first = unsafe { alloc(layout) };
        let first = NonNull::new(first).ok_or_else(|| Self::too_large(capacity))?;
        let mut lines = Self {
            first,
            bytes,
            layout,
            mask: count - 1,
            mask_bits: count.ilog2(),
            marks,
            made: 0,
            events: PhantomData,
        };
        for line in 0..count {
            lines.view().begin_marks(line);
        }
        lines.fill(count * Self::per_line(marks), event);
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
            marks: self.marks,
        }
    }

    /// The same for whoever knows what their marks are, so that no instruction has to ask for it.
    ///
    /// # Safety
    /// They were made with `marks`.
    #[inline(always)]
    pub(crate) unsafe fn view_as(&self, marks: Marks) -> View<'_, T> {
        debug_assert_eq!(marks, self.marks);
        View { lines: self, marks }
    }
}

impl<T> Lines<T> {
    #[cold]
    fn too_large(capacity: u64) -> Error {
        let text = format!(
            "capacity is {capacity}: so many events of {} bytes do not fit into memory; choose a smaller capacity",
            size_of::<T>()
        );
        Error::new(ErrorKind::CapacityTooLarge, text)
    }

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

/// A line in one lap, and how its slots are found without a division.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where its marks are.
    line: NonNull<u8>,
    /// Where the slot of sequence 0 would be if the line went back so far.
    origin: *mut u8,
    /// One above the line's last sequence.
    end: u64,
    /// How often the ring has come round, modulo 256; 0 where marks are words, which do not tell.
    lap: u8,
}

// SAFETY: these are addresses; whoever goes there argues for that.
unsafe impl Send for Place {}
// SAFETY: as above.
unsafe impl Sync for Place {}

impl Place {
    /// Of no line: no sequence comes right after it.
    pub(crate) const NOWHERE: Self = Self {
        line: NonNull::dangling(),
        origin: ptr::null_mut(),
        end: u64::MAX,
        lap: 0,
    };

    /// One above the line's last sequence.
    #[inline(always)]
    pub(crate) fn end(self) -> u64 {
        self.end
    }

    /// Whether it is where lines of `per_line` slots have this sequence.
    #[inline(always)]
    pub(crate) fn has(self, sequence: u64, per_line: u64) -> bool {
        self.end.wrapping_sub(sequence).wrapping_sub(1) < per_line
    }

    /// See the field.
    #[inline(always)]
    pub(crate) fn lap(self) -> u8 {
        self.lap
    }
}

/// Lines with known marks.
pub(crate) struct View<'r, T> {
    lines: &'r Lines<T>,
    marks: Marks,
}

impl<T> Clone for View<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for View<'_, T> {}

impl<'r, T> View<'r, T> {
    #[inline(always)]
    pub(crate) fn marks(self) -> Marks {
        self.marks
    }

    /// Itself, with its own marks: from here on the compiler knows them.
    #[inline(always)]
    pub(crate) fn known(self, marks: Marks) -> Self {
        assert!(self.marks == marks, "lines keep their marks");
        Self { marks, ..self }
    }

    /// How many slots a line has.
    #[inline(always)]
    pub(crate) fn per_line(self) -> u64 {
        Lines::<T>::per_line(self.marks)
    }

    /// How many slots there are in so many bytes, more or less.
    pub(crate) fn events_in(self, bytes: usize) -> u64 {
        bytes as u64 * self.per_line() / Lines::<T>::stride(self.marks) as u64
    }

    /// The number of the line that `sequence` is in; lines are numbered on from lap to lap.
    #[inline(always)]
    pub(crate) fn line_of(self, sequence: u64) -> u64 {
        // a division by either constant, not by whichever of them
        match self.marks {
            Marks::Word => sequence / Lines::<T>::per_line(Marks::Word),
            Marks::Bytes => sequence / Lines::<T>::per_line(Marks::Bytes),
        }
    }

    /// Where the marks of `line` are.
    #[inline(always)]
    fn line_at(self, line: u64) -> NonNull<u8> {
        let offset = (line & self.lines.mask) as usize * Lines::<T>::stride(self.marks);
        // SAFETY: it is in the allocation, since a masked line number is below the number of lines.
        unsafe { self.lines.first.add(offset) }
    }

    /// The line that `sequence` is in.
    #[inline(always)]
    pub(crate) fn place(self, sequence: u64) -> Place {
        let line = self.line_of(sequence);
        let lap = match self.marks {
            Marks::Word => 0,
            Marks::Bytes => line >> self.lines.mask_bits,
        };
        self.place_at(self.line_at(line), line * self.per_line(), lap as u8)
    }

    /// The line after `place`, without a division.
    ///
    /// # Safety
    /// `place` is a line of these lines, with these marks.
    #[inline(always)]
    pub(crate) unsafe fn place_after(self, place: Place) -> Place {
        // SAFETY: it is one stride from a line to the next, or to the end of the last.
        let next = unsafe { place.line.add(Lines::<T>::stride(self.marks)) };
        // SAFETY: so much of the allocation lines fill.
        let end = unsafe { self.lines.first.add(self.lines.bytes) };
        if next == end {
            let round = u8::from(self.marks == Marks::Bytes);
            self.place_at(self.line_at(0), place.end, place.lap.wrapping_add(round))
        } else {
            self.place_at(next, place.end, place.lap)
        }
    }

    /// The line at this address, which begins with the sequence `start`.
    #[inline(always)]
    fn place_at(self, line: NonNull<u8>, start: u64, lap: u8) -> Place {
        let first = line.as_ptr().wrapping_add(Lines::<T>::FIRST_SLOT);
        Place {
            line,
            origin: first.wrapping_sub((start as usize).wrapping_mul(Lines::<T>::SLOT)),
            end: start + self.per_line(),
            lap,
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

    /// The slot of a sequence.
    ///
    /// # Safety
    /// `place` is where these lines, with these marks, have `sequence`.
    #[inline(always)]
    pub(crate) unsafe fn slot(self, place: Place, sequence: u64) -> &'r UnsafeCell<T> {
        debug_assert_eq!(self.line_of(sequence), self.line_of(place.end - 1));
        // SAFETY: slots were made with the lines, which outlive the reference; what is in a cell is reached through its pointer only.
        unsafe { &*self.slot_in(place, sequence) }
    }

    /// Makes the marks of a line that nobody else knows yet: nothing of it is published.
    fn begin_marks(self, line: u64) {
        let line = self.line_at(line);
        match self.marks {
            // SAFETY: a line has room for a word, aligned, before its first slot.
            Marks::Word => unsafe { line.cast().write(AtomicU64::new(0)) },
            Marks::Bytes => (0..BYTES).for_each(|slot| {
                let mark = line.cast::<AtomicU8>().as_ptr().wrapping_add(slot);
                // SAFETY: and as well for so many bytes.
                unsafe { mark.write(AtomicU8::new(BEFORE)) };
            }),
        }
    }

    /// The mark of all slots of a line.
    ///
    /// # Safety
    /// These lines have words for marks, and `place` is one of them.
    #[inline(always)]
    pub(crate) unsafe fn word(self, place: Place) -> &'r AtomicU64 {
        debug_assert_eq!(self.marks, Marks::Word);
        // SAFETY: such a line begins with a word, made with the lines, which outlive the reference; it is only used as an atomic.
        unsafe { place.line.cast().as_ref() }
    }

    /// The mark of one slot.
    ///
    /// # Safety
    /// These lines have bytes for marks, and `place` is where they have `sequence`.
    #[inline(always)]
    pub(crate) unsafe fn byte(self, place: Place, sequence: u64) -> &'r AtomicU8 {
        debug_assert_eq!(self.marks, Marks::Bytes);
        let slot = sequence + self.per_line() - place.end;
        debug_assert!(slot < self.per_line());
        let mark = place.line.cast::<AtomicU8>().as_ptr();
        // SAFETY: such a line begins with a byte for each slot, made with the lines, which outlive the reference; it is only used as an
        // atomic.
        unsafe { &*mark.wrapping_add(slot as usize) }
    }

    /// The slots of a range, in order.
    #[inline(always)]
    pub(crate) fn slots(self, range: &Range<u64>) -> Run<'r, T> {
        match self.marks {
            _ if Lines::<T>::ALIKE => self.run(range),
            marks @ Marks::Word => self.known(marks).run(range),
            marks @ Marks::Bytes => self.known(marks).run(range),
        }
    }

    #[inline(always)]
    fn run(self, range: &Range<u64>) -> Run<'r, T> {
        let line = self.line_of(range.start);
        let start = line * self.per_line();
        let end = range.end.min(start + self.per_line());
        Run {
            view: self,
            here: self.slots_in(line, range.start - start, end - range.start),
            line: line + 1,
            later: range.end - end,
            end: range.end,
        }
    }

    /// `count` slots of a line, after the first `skip`.
    #[inline(always)]
    fn slots_in(self, line: u64, skip: u64, count: u64) -> slice::Iter<'r, UnsafeCell<T>> {
        assert!(skip + count <= self.per_line(), "a line is no longer");
        let skipped = Lines::<T>::FIRST_SLOT + skip as usize * Lines::<T>::SLOT;
        let first = self.line_at(line).as_ptr().wrapping_add(skipped).cast();
        // SAFETY: a line's slots lie side by side, made with the lines, which outlive the reference, and it has so many; what is in a
        // cell is reached through its pointer only.
        unsafe { slice::from_raw_parts(first, count as usize) }.iter()
    }

    /// Comes before the first slot of a line is written: asks for the cache lines of one that will be written soon, so that they have
    /// come from the readers' core by then. Of large events each asks for itself. In the last lines it asks for nothing of use, and the
    /// first ones of a lap are not asked for: a look at where the ring ends would cost more.
    #[inline(always)]
    pub(crate) fn prefetch_line(self, place: Place) {
        prefetch_to_write(place.line.as_ptr(), AHEAD, CACHE_LINE);
    }

    /// The same before a slot is written.
    #[inline(always)]
    pub(crate) fn prefetch_slot(self, slot: &UnsafeCell<T>) {
        if !Lines::<T>::SMALL {
            prefetch_to_write(
                ptr::from_ref(slot).cast(),
                AHEAD,
                Lines::<T>::SLOT.min(AHEAD_MAX),
            );
        }
    }
}

/// The slots of consecutive sequences.
pub(crate) struct Run<'r, T> {
    view: View<'r, T>,
    /// What is left of this line.
    here: slice::Iter<'r, UnsafeCell<T>>,
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
        Self {
            here: self.here.clone(),
            ..*self
        }
    }
}

impl<'r, T> Run<'r, T> {
    /// How many slots are left.
    #[inline(always)]
    pub(crate) fn left(&self) -> u64 {
        self.here.len() as u64 + self.later
    }

    /// The sequence of the next slot.
    #[inline(always)]
    pub(crate) fn sequence(&self) -> u64 {
        self.end - self.left()
    }

    /// Goes on to the next line, with no slots if there is none.
    #[inline(always)]
    fn turn(&mut self) {
        let count = self.later.min(self.view.per_line());
        self.here = self.view.slots_in(self.line, 0, count);
        self.later -= count;
        self.line += 1;
    }

    /// Itself, as in [`View::known`].
    #[inline(always)]
    fn known(self, marks: Marks) -> Self {
        Self {
            view: self.view.known(marks),
            ..self
        }
    }

    /// Whole lines in loops of constant length, where the compiler knows how many slots a line has.
    #[inline(always)]
    fn fold_lines<B>(mut self, init: B, mut f: impl FnMut(B, &'r UnsafeCell<T>) -> B) -> B {
        let whole = self.view.per_line();
        let mut folded = self.here.fold(init, &mut f);
        while self.later >= whole {
            // the compiler knows how many these are
            let slots = self.view.slots_in(self.line, 0, whole);
            folded = slots.fold(folded, &mut f);
            self.later -= whole;
            self.line += 1;
        }
        let slots = self.view.slots_in(self.line, 0, self.later);
        slots.fold(folded, &mut f)
    }
}

impl<'r, T> Iterator for Run<'r, T> {
    type Item = &'r UnsafeCell<T>;

    #[inline(always)]
    fn next(&mut self) -> Option<&'r UnsafeCell<T>> {
        self.here.next().or_else(|| {
            self.turn();
            self.here.next()
        })
    }

    #[inline(always)]
    fn fold<B, F: FnMut(B, Self::Item) -> B>(self, init: B, f: F) -> B {
        match self.view.marks {
            _ if Lines::<T>::ALIKE => self.fold_lines(init, f),
            marks @ Marks::Word => self.known(marks).fold_lines(init, f),
            marks @ Marks::Bytes => self.known(marks).fold_lines(init, f),
        }
    }
}
