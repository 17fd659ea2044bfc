//! What all reading ends have in common: a barrier in front of them, an entry in the cursor table, a way to wait.

use crate::consumer::late::Seat;
use crate::error::Ended;
use crate::ring::Ring;
use crate::ring::barrier::{Barrier, Distance, Readable, Stop, Upstream};
use crate::ring::cursor::Counters;
use crate::ring::group::Group;
use crate::ring::numbering::Numbering;
use crate::ring::table::Entry;
use crate::sync::{Arc, step};
use crate::wait::signal::{Signal, Signals};
use crate::wait::{Look, Waiter};
use std::sync::Arc as PlainArc;
use std::task::{Context, Poll};
use std::time::Instant;

/// The entries of the cursor table that a stage comes after, each with the name of its stage.
pub(crate) type UpstreamNames = Box<[(usize, Box<str>)]>;

/// A stage's entry in the cursor table, and what others watch that wait for it: all that the end of a batch has to do with.
pub(crate) struct Station {
    entry: PlainArc<Entry>,
    /// Of the entry.
    index: usize,
    signals: Arc<Signals>,
    numbering: Numbering,
}

impl Station {
    #[inline(always)]
    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The entry of a worker's stage is that of a group from the start.
    #[inline]
    pub(crate) fn group(&self) -> &Group {
        (self.entry.group()).expect("the entry of a worker is that of a group")
    }

    /// In the cursor table.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    pub(crate) fn numbering(&self) -> &Numbering {
        &self.numbering
    }

    #[inline(always)]
    fn signal(&self) -> Signal {
        Signal::cursor(self.index)
    }

    /// Wakes whoever waits for this stage. Comes after every change of its position.
    #[inline(always)]
    pub(crate) fn notify(&self, counters: &Counters) {
        self.signals.notify(self.signal(), counters);
    }
}

/// Where a reading end stands in the bus; how it waits stands beside it, so that both can be borrowed at once.
pub(crate) struct Reader<T> {
    ring: Arc<Ring<T>>,
    station: Station,
    barrier: Barrier,
    names: UpstreamNames,
    batch_max: u64,
    tail_pauses: u32,
    /// Of a reader that joined the running bus.
    _seat: Option<Seat>,
}

impl<T> Reader<T> {
    /// `after`: what it is gated on; none means the producers.
    pub(crate) fn new(
        ring: &Arc<Ring<T>>,
        signals: &Arc<Signals>,
        after: UpstreamNames,
        index: usize,
        batch_max: usize,
        tail_pauses: u32,
    ) -> Self {
        let upstream = match &*after {
            [] => Upstream::Producers,
            stages => Upstream::Stages(stages.iter().map(|(index, _)| *index).collect()),
        };
        let distance = Distance::new(ring, tail_pauses);
        Self {
            ring: ring.clone(),
            station: Station {
                entry: ring.core.table.entry(index).clone(),
                index,
                signals: signals.clone(),
                numbering: ring.core.numbering().clone(),
            },
            barrier: Barrier::new(upstream, distance),
            names: after,
            batch_max: batch_max as u64,
            tail_pauses,
            _seat: None,
        }
    }

    /// That of a reader that joined the running bus.
    pub(crate) fn seated(self, seat: Seat) -> Self {
        Self {
            _seat: Some(seat),
            ..self
        }
    }

    /// Another reader of the same stage.
    pub(crate) fn duplicate(&self) -> Self {
        Self::new(
            &self.ring,
            &self.station.signals,
            self.names.clone(),
            self.station.index,
            self.batch_max as usize,
            self.tail_pauses,
        )
    }

    #[inline(always)]
    pub(crate) fn ring(&self) -> &Arc<Ring<T>> {
        &self.ring
    }

    #[inline(always)]
    pub(crate) fn station(&self) -> &Station {
        &self.station
    }

    #[inline(always)]
    pub(crate) fn entry(&self) -> &Entry {
        self.station.entry()
    }

    #[inline(always)]
    pub(crate) fn batch_max(&self) -> u64 {
        self.batch_max
    }

    /// What may be read from `next` on.
    #[inline(always)]
    pub(crate) fn look(&self, next: u64) -> Result<Readable, Stop> {
        self.look_for(next, self.batch_max)
    }

    /// The same, at most `most`.
    #[inline(always)]
    pub(crate) fn look_for(&self, next: u64, most: u64) -> Result<Readable, Stop> {
        if self.entry().is_stopped() {
            return Err(Stop::Halted);
        }
        self.barrier.available(&self.ring, next, most)
    }

    /// Whether nothing will come any more at `next`.
    pub(crate) fn has_ended(&self, next: u64) -> bool {
        self.entry().is_stopped() || self.barrier.has_ended(&self.ring, next)
    }

    /// What one of `members` that divide events may take from `next` on: a fair share of all that is there,
    /// at most `most`.
    #[inline]
    pub(crate) fn look_for_share(
        &self,
        next: u64,
        members: u64,
        most: u64,
    ) -> Result<Readable, Stop> {
        if self.entry().is_stopped() {
            return Err(Stop::Halted);
        }
        (self.barrier).share(&self.ring, next, members.max(1), most)
    }

    /// Whether a glance tells anything.
    pub(crate) fn may_glance(&self) -> bool {
        self.barrier.is_behind_producers()
    }

    /// See [`Barrier::glance`].
    #[inline(always)]
    pub(crate) fn glance(&self, next: u64) -> u64 {
        self.barrier.glance(&self.ring, next)
    }

    /// Comes before the look of a reader that may wait: see [`Barrier::keep_distance`].
    #[inline(always)]
    pub(crate) fn keep_distance(&self, next: impl FnOnce() -> u64) {
        self.barrier.keep_distance(&self.ring.core, next);
    }

    /// How many published sequences are at `next` or above.
    pub(crate) fn lag(&self, next: u64) -> u64 {
        self.ring.core.position().saturating_sub(next)
    }

    /// Waits until `look` finds something, or the end; `None` when the deadline passed first.
    #[cold]
    pub(crate) fn wait<R>(
        &self,
        waiter: &mut Waiter,
        deadline: Option<Instant>,
        counters: &Counters,
        mut look: impl FnMut() -> Result<R, Stop>,
    ) -> Option<Result<R, Stop>> {
        waiter.wait(deadline, counters, || sort(look()))
    }

    /// The same for a task.
    pub(crate) fn poll<R>(
        &self,
        waiter: &mut Waiter,
        context: &mut Context<'_>,
        counters: &Counters,
        mut look: impl FnMut() -> Result<R, Stop>,
    ) -> Poll<Result<R, Stop>> {
        waiter.poll(context, counters, || sort(look()))
    }

    /// What a reader is told at its end.
    #[cold]
    pub(crate) fn ended(&self, stop: Stop) -> Ended {
        match stop {
            Stop::Drained => Ended::Drained,
            Stop::Halted => Ended::Halted,
            Stop::Upstream(index) => {
                let name = self
                    .names
                    .iter()
                    .find(|(entry, _)| *entry == index)
                    .map(|(_, name)| &**name);
                Ended::Upstream {
                    stage: name.unwrap_or_default().to_owned(),
                }
            }
            Stop::Empty(_) => unreachable!("nothing to read now is not an end"),
        }
    }

    /// This stage touches no slot any more; `at`: see [`Core::retire`](crate::ring::Core::retire). Wakes whoever it concerns.
    pub(crate) fn retire(&self, at: Option<u64>, counters: &Counters) {
        let Station { index, signals, .. } = &self.station;
        if self.ring.core.retire(*index, at) {
            signals.notify_all(counters);
        } else if step("retire_unnotified") {
            signals.notify_early(self.station.signal(), counters);
        }
    }

    /// The same of a tap, which no ring counts among its readers: producers go on without it. It has read everything below `next`, perhaps in
    /// a journal: then its cursor is behind, or where it has joined again. Where the cursor stands now.
    pub(crate) fn retire_tap(&self, next: i64) -> u64 {
        let cursor = &self.entry().cursor;
        let at = (cursor.load().position()).max(u64::try_from(next).unwrap_or(0));
        cursor.retire_at(at); // whatever producers have done meanwhile, it is over
        let signal = self.station.signal();
        self.station.signals.notify_early(signal, &cursor.counters);
        at
    }
}

/// Tells what to wait for from what is final.
fn sort<R>(found: Result<R, Stop>) -> Look<Result<R, Stop>> {
    match found {
        Ok(found) => Ok(Ok(found)),
        Err(Stop::Empty(behind)) => Err(Some(Signal::behind(behind))),
        Err(stop) => Ok(Err(stop)),
    }
}
