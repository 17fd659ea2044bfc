//! The journal: events in segment files. It knows nothing of rings and topologies.
//!
//! * [`format`]: the bytes, pure; [`codec`]: events as bytes; [`storage`]: what is asked of a file system; [`segment`]: a file of frames.
//! * [`writer`]: the writing end. [`recovery`]: what is in a directory, and what to do about damage. [`replay`]: reading it back.
//! * [`positions`]: how far named consumers are. [`retention`]: which segments may go.

pub(crate) mod chain;
pub(crate) mod codec;
pub(crate) mod format;
pub(crate) mod positions;
pub(crate) mod retention;
pub(crate) mod segment;
#[cfg(test)]
pub(crate) mod sim;
pub(crate) mod storage;
pub(crate) mod stub;
pub(crate) mod supply;
#[cfg(test)]
mod testing;
pub(crate) mod writer;

use crate::journal::segment::Segment;

/// What a journal's directory holds, after recovery: all of it is durable.
#[derive(Clone, Debug)]
pub(crate) struct Recovered {
    /// The journal's id.
    pub(crate) id: u64,
    /// Oldest first; each begins where the one before it ends.
    pub(crate) segments: Vec<Segment>,
    /// The sequence of the next record.
    pub(crate) next: u64,
}
