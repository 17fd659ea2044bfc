//! What is known of a segment that is there.

use crate::journal::format::{seed, segment_name};
use std::hash::{BuildHasher, RandomState};
use std::time::SystemTime;

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

/// A number that nobody else has had, for all we know.
pub(crate) fn random() -> u64 {
    // the keys are the system's random numbers and differ from call to call
    RandomState::new().hash_one(0)
}

/// The salt of a segment in a file that was one with the salt `old`, or was none.
pub(crate) fn fresh_salt(old: Option<u64>) -> u64 {
    loop {
        let salt = random();
        if old.is_none_or(|old| seed(old) != seed(salt)) {
            return salt;
        }
    }
}

/// Nanoseconds since 1970 by the system's clock; 0 before that.
pub(crate) fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}
