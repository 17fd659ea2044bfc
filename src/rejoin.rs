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
    /// What was read, or found, and is told later: a record beyond what may be given out yet, or an error behind what was.
    held: Option<Result<Record<T>, Error>>,
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

/// The next record of a journal in which everything below `end` is written; `None`: that has no event any more.
///
/// A tail says of records that are damaged, or gone, what it says of those that are yet to be written: that there is nothing. How far it has
/// come tells the one from the other.
fn next_of<T: 'static>(tail: &mut Tail<T>, end: u64) -> Result<Option<Record<T>>, Error> {
    // the first answer is of the file as it was when it was last looked at, perhaps
    for _ in 0..2 {
        if let Some(record) = tail.try_next()? {
            return Ok(Some(record));
        }
        if tail.reached() >= end {
            return Ok(None);
        }
    }
    let text = format!(
        "sequence {} was written, and the journal does not have it: its files are damaged, or gone",
        tail.reached()
    );
    Err(Error::new(ErrorKind::JournalCorrupt, text))
}

impl<T: Send + 'static> Past<T> for Recorded<T> {
    fn read(&mut self, range: Range<u64>, most: usize, events: &mut Vec<T>) -> Result<u64, Error> {
        let mut next = range.start;
        // put back when all went well
        let (tail, mut held) = (self.tail.take(), self.held.take());
        let mut tail = tail.unwrap_or_else(|| self.archive.tail(next));
        while events.len() < most && next < range.end {
            let found = match held.take() {
                None => next_of(&mut tail, range.end),
                Some(held) => held.map(Some),
            };
            match found {
                Ok(Some(record)) if record.sequence.get() < range.end => {
                    next = record.sequence.get() + 1;
                    events.push(record.event);
                }
                // what is left was abandoned
                Ok(later) => (next, held) = (range.end, later.map(Ok)),
                Err(error) if next == range.start => return Err(error),
                // what was read comes first
                Err(error) => {
                    held = Some(Err(error));
                    break;
                }
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
