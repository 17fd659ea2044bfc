//! What a tap has read.

use crate::sequence::SequenceRange;
use std::fmt;

/// Copies of consecutive events, and how many were skipped before them. It holds no producer back: keep it as long as you like.
///
/// Copies are dropped with it, but for those that were taken out: [`drain`](Self::drain), [`into_vec`](Self::into_vec).
#[must_use = "copies are dropped with their batch"]
pub struct TapBatch<'t, T> {
    pub(super) copies: &'t mut Vec<T>,
    pub(super) sequences: SequenceRange,
    pub(super) skipped: u64,
}

impl<T> TapBatch<'_, T> {
    /// How many sequences between the batch before and this one the tap was moved over, because it lagged; those that producers abandoned
    /// count too. What comes after the last batch is in none: [`Tap::skipped`](crate::Tap::skipped) has it.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// How many copies there are; fewer than sequences where producers abandoned some, or where copies were taken out.
    #[must_use]
    pub fn len(&self) -> usize {
        self.copies.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }

    /// The sequences that it covers.
    #[must_use]
    pub fn sequences(&self) -> SequenceRange {
        self.sequences.clone()
    }

    /// The copies, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.copies.iter()
    }

    /// Takes the copies out, in order; what the iterator has not yielded is dropped with it. The tap uses the memory again.
    pub fn drain(&mut self) -> std::vec::Drain<'_, T> {
        self.copies.drain(..)
    }

    /// The copies, and the memory they are in: the next read allocates anew.
    #[must_use]
    pub fn into_vec(self) -> Vec<T> {
        std::mem::take(self.copies)
    }
}

impl<T> Drop for TapBatch<'_, T> {
    fn drop(&mut self) {
        self.copies.clear();
    }
}

impl<'b, T> IntoIterator for &'b TapBatch<'_, T> {
    type Item = &'b T;
    type IntoIter = std::slice::Iter<'b, T>;

    fn into_iter(self) -> std::slice::Iter<'b, T> {
        self.iter()
    }
}

impl<T> fmt::Debug for TapBatch<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TapBatch")
            .field("sequences", &self.sequences)
            .field("len", &self.len())
            .field("skipped", &self.skipped)
            .finish()
    }
}
