//! The raw hand-off limit: two threads stream whole cache lines through a buffer, with one index store for a large batch.
//!
//! Plain moves are the point: the same loops over relaxed atomics are not vectorised, and a quarter slower.
#![expect(unsafe_code, reason = "threads hand plain memory to each other here")]

use crate::{CAPACITY, seats};
use ringway_harness::contest::{Sample, Task};
use ringway_harness::duo::{self, Timed};
use std::array;
use std::cell::UnsafeCell;
use std::hint;
use std::sync::atomic::{AtomicU64, Ordering};

/// Events of eight bytes in a line.
const WORDS: usize = 8;
/// As many bytes as a ring of events alone.
const LINES: usize = CAPACITY / WORDS;
/// Of all batch sizes from two to 64 in a buffer this one was the fastest, by little.
const BATCHES: usize = 8;
const BATCH_LINES: usize = LINES / BATCHES;
const BATCH_EVENTS: u64 = (BATCH_LINES * WORDS) as u64;

/// A batch of lines that belongs to one thread at a time.
#[repr(align(128))]
struct Batch(UnsafeCell<[[u64; WORDS]; BATCH_LINES]>);

// SAFETY: `Batch::write` and `Batch::wrong` are the only ways to its content, and their contract is one thread at a time.
unsafe impl Sync for Batch {}

impl Batch {
    const fn new() -> Self {
        Self(UnsafeCell::new([[0; WORDS]; BATCH_LINES]))
    }

    /// Writes consecutive numbers.
    ///
    /// # Safety
    ///
    /// No other thread touches the batch meanwhile.
    #[inline]
    unsafe fn write(&self, first: u64) {
        // SAFETY: nobody else has a reference to it, by this function's contract.
        let lines = unsafe { &mut *self.0.get() };
        for (line, first) in lines.iter_mut().zip((first..).step_by(WORDS)) {
            *line = array::from_fn(|word| first + word as u64);
        }
    }

    /// Which bits differ from consecutive numbers.
    ///
    /// # Safety
    ///
    /// No other thread writes the batch meanwhile.
    #[inline]
    unsafe fn wrong(&self, first: u64) -> u64 {
        // SAFETY: nobody writes it, by this function's contract.
        let lines = unsafe { &*self.0.get() };
        let mut wrong = 0;
        for (line, first) in lines.iter().zip((first..).step_by(WORDS)) {
            for (word, found) in line.iter().enumerate() {
                wrong |= found ^ (first + word as u64);
            }
        }
        wrong
    }
}

/// A word on a pair of lines of its own: the hardware fetches lines in pairs.
#[repr(align(128))]
struct Alone(AtomicU64);

/// Streams the events of `task`, in whole batches.
pub(crate) fn hand_off(task: Task) -> Result<Sample, ringway::Error> {
    let batches = task.events.div_ceil(BATCH_EVENTS);
    let buffer: Box<[Batch]> = (0..BATCHES).map(|_| Batch::new()).collect();
    let batch = |number: u64| &buffer[number as usize % BATCHES];
    let (written, read) = (Alone(AtomicU64::new(0)), Alone(AtomicU64::new(0)));
    let write = || {
        for number in 0..batches {
            // Acquire, with the reader's Release: what was there a lap ago has been read before it is overwritten.
            while number.saturating_sub(read.0.load(Ordering::Acquire)) >= BATCHES as u64 {
                hint::spin_loop();
            }
            // SAFETY: the reader has left this batch, a lap ago, and comes back only once `written` is above `number`.
            unsafe { batch(number).write(number * BATCH_EVENTS) };
            // Release, with the reader's Acquire: whoever sees this number sees the events.
            written.0.store(number + 1, Ordering::Release);
        }
        Ok(())
    };
    let check = || {
        let mut wrong = 0;
        for number in 0..batches {
            while written.0.load(Ordering::Acquire) <= number {
                hint::spin_loop();
            }
            // SAFETY: the writer has left this batch, and comes back only once `read` is above `number`.
            wrong |= unsafe { batch(number).wrong(number * BATCH_EVENTS) };
            read.0.store(number + 1, Ordering::Release);
        }
        if wrong == 0 {
            Ok(())
        } else {
            Err("a line was wrong".to_owned())
        }
    };
    let Timed { elapsed, faults } = duo::stream(&seats(), write, check)?;
    Ok(Sample::timed(batches * BATCH_EVENTS, elapsed, faults))
}
