//! A single-producer ring whose events lie in one of several layouts: no waiting, no end, no late readers.
//!
//! Events stand in *lines* of [`Layout::EVENTS`] with one mark word each, the exclusive upper bound of what is published there. A
//! layout without marks publishes by one cursor of its own instead. Everything else is the same for all, so that what differs
//! is where the word lies that says "published".

use std::cell::UnsafeCell;
use std::hint;
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const CACHE_LINE: usize = 64;

/// Its number, and words that follow from that.
pub(crate) type Event<const W: usize> = [u64; W];

/// Where events of type `T` and what publishes them lie; all in bytes but the first.
pub(crate) trait Layout<T>: 'static {
    /// How many share a line.
    const EVENTS: u64;
    /// From a line's beginning to its first event.
    const FIRST: usize;
    /// From one line to the next.
    const STRIDE: usize;
    /// Whether lines have marks.
    const MARKED: bool = true;
}

/// Events alone, side by side, and a published cursor elsewhere. Its lines are only what loops of constant length go over.
pub(crate) struct Cursor;

impl<T> Layout<T> for Cursor {
    const EVENTS: u64 = 8;
    const FIRST: usize = 0;
    const STRIDE: usize = 8 * size_of::<T>();
    const MARKED: bool = false;
}

/// A mark right before each event, packed.
pub(crate) struct Stamp;

impl<T> Layout<T> for Stamp {
    const EVENTS: u64 = 1;
    const FIRST: usize = 8;
    const STRIDE: usize = 8 + size_of::<T>();
}

/// A mark and what fits beside it in one cache line; of large events one, in as many as it needs.
pub(crate) struct Line;

impl<T> Layout<T> for Line {
    const EVENTS: u64 = match (CACHE_LINE - 8) / size_of::<T>() {
        0 => 1,
        fitting => fitting as u64,
    };
    const FIRST: usize = 8;
    const STRIDE: usize =
        (8 + <Self as Layout<T>>::EVENTS as usize * size_of::<T>()).next_multiple_of(CACHE_LINE);
}

/// A cache line for the mark, then `N` events.
pub(crate) struct Header<const N: u64>;

impl<T, const N: u64> Layout<T> for Header<N> {
    const EVENTS: u64 = N;
    const FIRST: usize = CACHE_LINE;
    const STRIDE: usize = CACHE_LINE + (N as usize * size_of::<T>()).next_multiple_of(CACHE_LINE);
}

#[repr(align(128))]
#[derive(Default)]
struct Padded(AtomicU64);

/// Two cache lines of zeros, which are marks of nothing and events.
#[repr(align(128))]
struct Block(#[expect(dead_code, reason = "reached by address")] UnsafeCell<[u64; 16]>);

struct Ring<T, L> {
    memory: Box<[Block]>,
    mask: u64,
    /// Without marks: the exclusive upper bound of what is published.
    published: Padded,
    /// The exclusive upper bound of what was read.
    read: Padded,
    layout: PhantomData<fn(T, L)>,
}

// SAFETY: events are reached through the two ends only, which hand them over by marks or cursors; `T` is plain data.
unsafe impl<T: Send, L> Sync for Ring<T, L> {}
// SAFETY: as above.
unsafe impl<T: Send, L> Send for Ring<T, L> {}

impl<T, L: Layout<T>> Ring<T, L> {
    fn line(&self, line: u64) -> *mut u8 {
        let offset = (line & self.mask) as usize * L::STRIDE;
        self.memory
            .as_ptr()
            .cast::<u8>()
            .cast_mut()
            .wrapping_add(offset)
    }

    #[inline(always)]
    fn mark(&self, line: *mut u8) -> *const AtomicU64 {
        if L::MARKED {
            line.cast_const().cast()
        } else {
            &raw const self.published.0
        }
    }
}

/// What the ends do beyond the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tuning {
    /// So many bytes ahead of what it writes the producer asks for cache lines; 0: it does not.
    pub(crate) ahead: usize,
    /// So many pauses the consumer makes once it has caught up with a stream.
    pub(crate) pauses: u32,
}

/// Both ends of a ring for at least `capacity` events. All bits zero must be a `T`: `T` is an array of words.
pub(crate) fn ring<const W: usize, L: Layout<Event<W>>>(
    capacity: u64,
    tuning: Tuning,
) -> (Producer<Event<W>, L>, Consumer<Event<W>, L>) {
    let lines = capacity.div_ceil(L::EVENTS).next_power_of_two();
    let blocks = (lines as usize * L::STRIDE).div_ceil(size_of::<Block>());
    let ring = Arc::new(Ring {
        memory: (0..blocks).map(|_| Block(UnsafeCell::default())).collect(),
        mask: lines - 1,
        published: Padded::default(),
        read: Padded::default(),
        layout: PhantomData,
    });
    let producer = Producer {
        next: 0,
        limit: 0,
        stop: 0,
        slot: ptr::null_mut(),
        mark: ptr::null(),
        capacity: lines * L::EVENTS,
        ahead: tuning.ahead,
        ring: ring.clone(),
    };
    let consumer = Consumer {
        next: 0,
        at_tail: false,
        pauses: tuning.pauses,
        ring,
    };
    (producer, consumer)
}

pub(crate) struct Producer<T, L> {
    next: u64,
    /// The consumer is known to have read what was a lap below.
    limit: u64,
    /// The end of this line, or the limit.
    stop: u64,
    /// Of `next`, and what publishes it, while it is below `stop`.
    slot: *mut T,
    mark: *const AtomicU64,
    capacity: u64,
    ahead: usize,
    ring: Arc<Ring<T, L>>,
}

// SAFETY: its pointers lead into the ring, which it holds, and which may be shared.
unsafe impl<T: Send, L> Send for Producer<T, L> {}

impl<T: Copy, L: Layout<T>> Producer<T, L> {
    /// Goes on to the next line, or waits for room in this one.
    #[inline]
    fn turn(&mut self) {
        if !L::MARKED && self.next == self.limit && self.limit > 0 {
            self.publish(); // what a batch has already written
        }
        while self.next == self.limit {
            // with the consumer's Release: it has read what is overwritten
            self.limit = self.ring.read.0.load(Ordering::Acquire) + self.capacity;
            if self.next == self.limit {
                hint::spin_loop();
            }
        }
        let (number, place) = (self.next / L::EVENTS, (self.next % L::EVENTS) as usize);
        let line = self.ring.line(number);
        self.mark = self.ring.mark(line);
        self.slot = line.wrapping_add(L::FIRST).cast::<T>().wrapping_add(place);
        self.stop = self.limit.min((number + 1) * L::EVENTS);
        if place == 0 {
            // small events come with their mark, large ones ask for themselves
            let bytes = if Self::small() { L::STRIDE } else { L::FIRST };
            self.prefetch(line, bytes);
        }
    }

    const fn small() -> bool {
        L::MARKED && L::EVENTS > 1 && L::STRIDE <= 2 * CACHE_LINE
    }

    /// Asks for the cache lines that begin in so many bytes, `ahead` of them.
    #[inline(always)]
    fn prefetch(&self, from: *mut u8, bytes: usize) {
        let mut offset = from.align_offset(CACHE_LINE);
        while self.ahead > 0 && offset < bytes {
            prefetch_to_write(from.wrapping_add(self.ahead + offset));
            offset += CACHE_LINE;
        }
    }

    #[inline(always)]
    fn write(&mut self, event: T) {
        if !Self::small() {
            let before = if L::EVENTS == 1 { L::FIRST } else { 0 };
            let from = self.slot.cast::<u8>().wrapping_sub(before);
            self.prefetch(from, before + size_of::<T>());
        }
        // SAFETY: `turn` has found the slot of `next` in memory, the consumer had read it, and looks at it again only once
        // it is published.
        unsafe { self.slot.write(event) };
        self.slot = self.slot.wrapping_add(1);
        self.next += 1;
    }

    /// Everything below `next`.
    #[inline(always)]
    fn publish(&self) {
        // SAFETY: `turn` has found it, in memory or in the ring, and it is used as an atomic only.
        unsafe { &*self.mark }.store(self.next, Ordering::Release);
    }

    #[inline(always)]
    pub(crate) fn put(&mut self, event: T) {
        if self.next == self.stop {
            self.turn();
        }
        self.write(event);
        self.publish();
    }

    /// Those of `numbers`, in order, each line published at once.
    #[inline(always)]
    pub(crate) fn put_all(&mut self, mut numbers: Range<u64>, event: impl Fn(u64) -> T) {
        while !numbers.is_empty() {
            if self.next == self.stop {
                self.turn();
            }
            let count = (self.stop - self.next).min(numbers.end - numbers.start);
            if count == L::EVENTS {
                (0..L::EVENTS).for_each(|n| self.write(event(numbers.start + n)));
            } else {
                (0..count).for_each(|n| self.write(event(numbers.start + n)));
            }
            numbers.start += count;
            if L::MARKED {
                self.publish();
            }
        }
        self.publish();
    }
}

pub(crate) struct Consumer<T, L> {
    next: u64,
    /// The last read took several events, and all there were.
    at_tail: bool,
    pauses: u32,
    ring: Arc<Ring<T, L>>,
}

impl<T, L: Layout<T>> Consumer<T, L> {
    /// Shows what is there, at most `most` events, to `see`; none if there is none.
    #[inline(always)]
    pub(crate) fn read(&mut self, most: u64, mut see: impl FnMut(&T)) {
        if self.at_tail {
            (0..self.pauses).for_each(|_| hint::spin_loop());
        }
        let end = self.published(self.next + most);
        self.at_tail = end - self.next > 1 && end - self.next < most;
        if end == self.next {
            return hint::spin_loop();
        }
        while self.next < end {
            let (number, place) = (self.next / L::EVENTS, (self.next % L::EVENTS) as usize);
            let first = self.ring.line(number).wrapping_add(L::FIRST).cast::<T>();
            // SAFETY: the events from here to `end` in this line are in memory, were published, and the producer comes back to
            // them only once `read` says so.
            let event = |place: usize| unsafe { &*first.wrapping_add(place) };
            let count = (end - self.next).min(L::EVENTS - place as u64);
            if count == L::EVENTS {
                (0..L::EVENTS as usize).for_each(|place| see(event(place)));
            } else {
                (place..place + count as usize).for_each(|place| see(event(place)));
            }
            self.next += count;
        }
        // with the producer's Acquire: what was read may be overwritten
        self.ring.read.0.store(end, Ordering::Release);
    }

    /// The end of what is published, at most `most`.
    #[inline(always)]
    fn published(&self, most: u64) -> u64 {
        let (mut known, mut number) = (self.next, self.next / L::EVENTS);
        while known < most {
            let mark = self.ring.mark(self.ring.line(number));
            // SAFETY: it is in memory or in the ring, and is used as an atomic only.
            let bound = unsafe { &*mark }.load(Ordering::Acquire); // with the producer's Release: the events are there
            number += 1;
            if !L::MARKED || bound < number * L::EVENTS {
                known = known.max(bound); // of the last lap, or of this one
                break;
            }
            known = number * L::EVENTS;
        }
        known.min(most)
    }
}

/// Asks for a cache line, to be written. It may lie beyond the memory: it is a hint, and nothing is accessed.
#[inline(always)]
fn prefetch_to_write(line: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint without effect on memory or flags, and a no-op for processors that do not know it.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint without effect on memory or flags.
    unsafe {
        std::arch::asm!("prfm pstl1keep, [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = line;
}
