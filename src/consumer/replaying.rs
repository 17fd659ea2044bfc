//! The journal, as a tap sees it that was detached.

use crate::consumer::reader::{Reader, UpstreamNames};
use crate::error::{Ended, Error};
use crate::ring::barrier::{Barrier, Distance, Stop, Upstream};
use std::ops::Range;

/// Behind the journal's stage so much is asked for at most: more than any ring holds.
const MOST: u64 = 1 << 40;

/// What was published, as a journal has it: implemented where journals and rings meet.
pub(crate) trait Past<T>: Send {
    /// Appends events to `events`, until there are `most`, or all of these sequences, which are written, were looked at. One above
    /// the last of those; what is between them and was appended has no event. It fails
    /// only before it has appended anything; when it does, or panics, the next call begins anew.
    fn read(&mut self, range: Range<u64>, most: usize, events: &mut Vec<T>) -> Result<u64, Error>;

    /// Nothing below is read any more; `leaves`: nor is anything else for a while.
    fn pass(&mut self, sequence: u64, leaves: bool);
}

/// What a tap has that replays.
pub(crate) struct Replaying<T> {
    past: Box<dyn Past<T>>,
    /// Behind all that the tap comes after, and the journal's stage: what these have passed is written, and may be read.
    barrier: Barrier,
    /// The entry of the journal's stage, and its name.
    journal: (usize, Box<str>),
}

impl<T> Replaying<T> {
    /// For a tap that comes `after` these.
    pub(crate) fn new(
        past: impl Past<T> + 'static,
        after: &UpstreamNames,
        journal: (usize, &str),
    ) -> Self {
        let stages = after.iter().map(|(index, _)| *index);
        let stages = stages.chain([journal.0]).collect();
        Self {
            past: Box::new(past),
            barrier: Barrier::new(Upstream::Stages(stages), Distance::NONE),
            journal: (journal.0, journal.1.into()),
        }
    }

    /// How far the journal may be read from `expected` on: above that.
    pub(super) fn written(&self, reader: &Reader<T>, expected: i64) -> Result<i64, Stop> {
        let ring = reader.ring();
        match u64::try_from(expected) {
            Ok(position) => {
                let readable = self.barrier.available(ring, position, MOST)?;
                Ok(readable.range().end as i64)
            }
            Err(_) if ring.core.is_halted() => Err(Stop::Halted),
            Err(_) => Ok(0), // before this bus
        }
    }

    pub(super) fn has_ended(&self, reader: &Reader<T>, expected: i64) -> bool {
        self.written(reader, expected).is_err_and(Stop::is_end)
    }

    pub(super) fn read(
        &mut self,
        range: Range<u64>,
        most: usize,
        events: &mut Vec<T>,
    ) -> Result<u64, Error> {
        let next = self.past.read(range, most, events)?;
        self.past.pass(next, false);
        Ok(next)
    }

    /// The tap has read the ring, up to this sequence.
    pub(super) fn read_ring(&mut self, next: u64) {
        self.past.pass(next, true);
    }

    /// What ends the tap, if it is the journal's end.
    pub(super) fn ended(&self, stop: Stop) -> Option<Ended> {
        (stop == Stop::Upstream(self.journal.0)).then(|| Ended::Upstream {
            stage: self.journal.1.to_string(),
        })
    }
}
