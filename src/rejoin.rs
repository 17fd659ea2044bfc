//! Where a tap reads that was detached: the journal of its bus. So ring and journal need not know each other.

use crate::consumer::Past;
use crate::error::{Error, ErrorKind};
use crate::journal::pins::Pin;
use crate::journal::reader::Tail;
use crate::journal::replay::{Archive, Record};
use std::ops::Range;

/// The pin follows the tap in steps of so many sequences: each takes a lock, which is held while a segment is removed.
const STEP: u64 = 1024;

/// A tap that has no journal to read on in.
pub(crate) fn misplaced(tap: &str, why: &str) -> Error {
    let text = format!("tap `{tap}` reads on in the journal when it lags, and {why}");
    Error::new(ErrorKind::JournalMisplaced, text).with_stage(tap)
}

/// A journal, for one tap.
pub(crate) struct Recorded<T> {
    archive: Archive<T>,
    /// Keeps what the tap may have to read.
    pin: Pin,
    pinned: u64,
    /// While the tap reads here.
    tail: Option<Tail<T>>,
    /// A record that was read and may not be given out yet.
    held: Option<Record<T>>,
}

impl<T: 'static> Recorded<T> {
    /// For a tap that has read everything below `from`.
    pub(crate) fn new(archive: &Archive<T>, from: u64) -> Self {
        Self {
            archive: archive.clone(),
            pin: archive.pin(from),
            pinned: from,
            tail: None,
            held: None,
        }
    }
}

/// The next record of a journal in which everything is written that matters.
fn next_of<T: 'static>(tail: &mut Tail<T>) -> Result<Option<Record<T>>, Error> {
    match tail.try_next()? {
        // that was said of the file as it was when it was last looked at, perhaps
        None => tail.try_next(),
        found => Ok(found),
    }
}

impl<T: Send + 'static> Past<T> for Recorded<T> {
    fn read(&mut self, range: Range<u64>, most: usize, events: &mut Vec<T>) -> Result<u64, Error> {
        let mut next = range.start;
        // put back when all went well
        let (tail, mut held) = (self.tail.take(), self.held.take());
        let mut tail = tail.unwrap_or_else(|| self.archive.tail(next));
        while events.len() < most && next < range.end {
            let record = match held.take() {
                None => next_of(&mut tail)?,
                held => held,
            };
            match record {
                Some(record) if record.sequence.get() < range.end => {
                    next = record.sequence.get() + 1;
                    events.push(record.event);
                }
                // what is left was abandoned
                later => (next, held) = (range.end, later),
            }
        }
        (self.tail, self.held) = (Some(tail), held);
        Ok(next)
    }

    fn pass(&mut self, sequence: u64, leaves: bool) {
        if leaves {
            (self.tail, self.held) = (None, None);
        }
        if sequence - self.pinned >= STEP {
            self.pinned = sequence;
            self.pin.advance(sequence);
        }
    }
}
