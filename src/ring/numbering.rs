//! From positions to sequences: a ring counts from 0, a journal that was there before goes on where it ended.

use crate::sequence::{Sequence, SequenceRange};
use std::ops::Range;
use std::sync::{Arc as PlainArc, OnceLock};

/// What a ring's position 0 is called outside: shared by all who tell others of sequences. It is set before the bus starts, so before
/// anybody has a sequence to tell of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbering {
    first: PlainArc<OnceLock<u64>>,
}

impl Numbering {
    /// First sequences are below: what is left is more than any bus ever publishes, and their sum stays below 2^62.
    pub(crate) const FIRST_END: u64 = 1 << 61;

    /// Sequences go on from `first`. At most one sets it.
    pub(crate) fn begin_at(&self, first: u64) {
        let set = self.first.set(first);
        debug_assert!(set.is_ok() && first < Self::FIRST_END);
    }

    /// The sequence of position 0.
    #[inline]
    pub(crate) fn first(&self) -> u64 {
        self.first.get().copied().unwrap_or(0)
    }

    #[inline]
    pub(crate) fn sequence(&self, position: u64) -> Sequence {
        Sequence::new(self.first() + position)
    }

    #[inline]
    pub(crate) fn range(&self, positions: Range<u64>) -> SequenceRange {
        let first = self.first();
        SequenceRange::new(first + positions.start..first + positions.end)
    }
}
