//! A growing set of entries that are taken and given back, for ends that can be cloned without limit.
//!
//! Entries stand in chunks that are appended, each twice as long as the one before, and never move or go away;
//! so whoever scans them needs no lock. A scan covers every entry below the highest ever taken: an entry that
//! was given back must read as idle.

use crate::sync::{AtomicBool, AtomicUsize, Ordering};
use std::sync::OnceLock;

/// Entries in the first chunk.
const FIRST: usize = 4;
/// 4 + 8 + .. entries in 26 chunks: more than 2^28.
const CHUNKS: usize = 26;

pub(crate) struct Registry<E> {
    chunks: [OnceLock<Box<[Seat<E>]>>; CHUNKS],
    /// One above the highest index ever taken; only grows.
    used: AtomicUsize,
}

struct Seat<E> {
    taken: AtomicBool,
    entry: E,
}

impl<E: Default> Registry<E> {
    pub(crate) fn new() -> Self {
        let chunks = [const { OnceLock::new() }; CHUNKS];
        // every registry gets an entry, and whoever has the registry has the first chunk
        chunks[0].get_or_init(|| Self::chunk(0));
        Self {
            chunks,
            used: AtomicUsize::new(0),
        }
    }

    /// Takes a free entry, as its last owner left it, or a fresh one.
    ///
    /// # Panics
    /// With more than 2^28 entries in use: counters elsewhere would come near their limits.
    pub(crate) fn take(&self) -> usize {
        for index in 0.. {
            let seat = self.seat_or_grow(index);
            // pairs: SEAT (the last owner's give_back)
            if seat
                .taken
                .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
            {
                // pairs: SEATS (len)
                self.used.fetch_max(index + 1, Ordering::AcqRel);
                return index;
            }
        }
        unreachable!("seat_or_grow panics before the indices run out")
    }

    /// Gives an entry back; its content must already read as idle.
    pub(crate) fn give_back(&self, index: usize) {
        // pairs: SEAT (take)
        self.seat(index).taken.swap(false, Ordering::Release);
    }

    fn seat_or_grow(&self, index: usize) -> &Seat<E> {
        let (chunk, offset) = place(index);
        assert!(chunk < CHUNKS, "more than 2^28 ends of one kind on one bus");
        &self.chunks[chunk].get_or_init(|| Self::chunk(chunk))[offset]
    }

    fn chunk(number: usize) -> Box<[Seat<E>]> {
        let seat = |_| Seat {
            taken: AtomicBool::new(false),
            entry: E::default(),
        };
        (0..FIRST << number).map(seat).collect()
    }
}

impl<E> Registry<E> {
    /// One above the highest index ever taken.
    pub(crate) fn len(&self) -> usize {
        // pairs: SEATS (take)
        self.used.load(Ordering::Acquire)
    }

    /// The entry at an index that was taken, now or earlier.
    pub(crate) fn entry(&self, index: usize) -> &E {
        &self.seat(index).entry
    }

    /// Every entry ever taken.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &E> {
        (0..self.len()).map(|index| self.entry(index))
    }

    fn seat(&self, index: usize) -> &Seat<E> {
        let (chunk, offset) = place(index);
        let seats = self.chunks[chunk]
            .get()
            .expect("an index below `used` has its chunk");
        &seats[offset]
    }
}

/// Chunk `c` holds the indices from `FIRST · (2^c − 1)`.
const fn place(index: usize) -> (usize, usize) {
    let chunk = (index / FIRST + 1).ilog2() as usize;
    (chunk, index - FIRST * ((1 << chunk) - 1))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_index_has_one_place() {
        let mut expected = 0;
        for chunk in 0..6 {
            for offset in 0..FIRST << chunk {
                assert_eq!(place(expected), (chunk, offset));
                expected += 1;
            }
        }
    }

    #[test]
    fn entries_are_reused_and_scanned_up_to_the_highest() {
        let registry = Registry::<u64>::new();
        let taken: Vec<_> = (0..20).map(|_| registry.take()).collect();
        assert_eq!(taken, (0..20).collect::<Vec<_>>());
        registry.give_back(3);
        assert_eq!(registry.take(), 3);
        assert_eq!(registry.iter().count(), 20);
    }
}
