//! What is known of a segment that is there.

use crate::journal::format::segment_name;

/// A segment and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) salt: u64,
    /// The sequences of its frames.
    pub(crate) first: u64,
    pub(crate) end: u64,
    /// Bytes of its header and frames; its file may be longer.
    pub(crate) bytes: u64,
    /// When its last frame was written, in nanoseconds since 1970; 0: it has none.
    pub(crate) newest_ns: u64,
}

impl Segment {
    pub(crate) fn name(&self) -> String {
        segment_name(self.first, self.salt)
    }
}
