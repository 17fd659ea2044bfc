//! Who is reading a journal that is being written: what they read is not removed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The least sequence that each running replay may still read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pins {
    sequences: Arc<Mutex<Vec<u64>>>,
}

/// Keeps everything from its sequence on, as long as it lives.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Pins,
    sequence: u64,
}

impl Pins {
    /// Comes before the look at which segments there are.
    pub(crate) fn pin(&self, sequence: u64) -> Pin {
        self.lock().push(sequence);
        Pin {
            pins: self.clone(),
            sequence,
        }
    }

    fn swap(&self, from: u64, to: u64) {
        if let Some(sequence) = self.lock().iter_mut().find(|one| **one == from) {
            *sequence = to;
        }
    }

    /// No pin is added while this lives: a segment is removed under it.
    pub(crate) fn hold(&self) -> Held<'_> {
        Held(self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u64>> {
        self.sequences
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pin {
    /// Nothing below `sequence` is read any more.
    pub(crate) fn advance(&mut self, sequence: u64) {
        self.pins.swap(self.sequence, sequence);
        self.sequence = sequence;
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut all = self.pins.lock();
        if let Some(at) = all.iter().position(|one| *one == self.sequence) {
            all.swap_remove(at);
        }
    }
}

/// The pins, which stay as they are.
pub(crate) struct Held<'p>(MutexGuard<'p, Vec<u64>>);

impl Held<'_> {
    /// What somebody may read begins here.
    pub(crate) fn least(&self) -> Option<u64> {
        self.0.iter().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_those_that_live() {
        let pins = Pins::default();
        assert_eq!(pins.hold().least(), None);
        let (first, second, same) = (pins.pin(7), pins.pin(3), pins.pin(3));
        assert_eq!(pins.hold().least(), Some(3));
        drop(second);
        assert_eq!(pins.hold().least(), Some(3));
        drop(same);
        assert_eq!(pins.hold().least(), Some(7));
        let mut moving = pins.pin(1);
        moving.advance(5);
        assert_eq!(pins.hold().least(), Some(5));
        moving.advance(9);
        assert_eq!(pins.hold().least(), Some(7));
        drop(moving);
        drop(first);
        assert_eq!(pins.hold().least(), None);
    }
}
