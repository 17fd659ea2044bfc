//! Sequences number events; ranges of them are half-open.

use std::fmt;
use std::ops::Range;

/// The number of an event: from 0, below 2^62, given once and never reused.
///
/// ```
/// let (mut tx, _rx) = ringway::spsc::<u64>(8);
/// assert_eq!(tx.publish(7)?.get(), 0);
/// assert_eq!(tx.publish(8)?.get(), 1);
/// # Ok::<(), ringway::PublishError<u64>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(u64);

impl Sequence {
    /// The sequence with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Consecutive sequences, from `start` up to and without `end`.
///
/// ```
/// let (mut tx, mut rx) = ringway::spsc::<u64>(8);
/// tx.publish_slice(&[1, 2, 3]).unwrap();
/// let sequences = rx.read()?.sequences();
/// assert_eq!((sequences.start().get(), sequences.end().get(), sequences.len()), (0, 3, 3));
/// # Ok::<(), ringway::Ended>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SequenceRange {
    start: u64,
    end: u64,
}

impl SequenceRange {
    pub(crate) const fn new(range: Range<u64>) -> Self {
        Self {
            start: range.start,
            end: range.end,
        }
    }

    /// The first sequence.
    #[must_use]
    pub const fn start(&self) -> Sequence {
        Sequence(self.start)
    }

    /// One above the last sequence.
    #[must_use]
    pub const fn end(&self) -> Sequence {
        Sequence(self.end)
    }

    /// How many sequences.
    #[must_use]
    pub const fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether `sequence` is one of them.
    #[must_use]
    pub const fn contains(&self, sequence: Sequence) -> bool {
        self.start <= sequence.0 && sequence.0 < self.end
    }

    /// Each of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Sequence> + use<> {
        let start = self.start;
        (0..self.len()).map(move |offset| Sequence(start + offset as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_half_open() {
        let range = SequenceRange::new(3..5);
        assert_eq!(range.iter().map(Sequence::get).collect::<Vec<_>>(), [3, 4]);
        assert!(range.contains(Sequence::new(3)) && !range.contains(Sequence::new(5)));
        assert!(SequenceRange::new(4..4).is_empty());
    }
}
