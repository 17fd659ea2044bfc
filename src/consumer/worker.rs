//! A member of a work-sharing group.

use crate::consumer::batch::{Batch, Freeing, Seat};
use crate::consumer::reader::Reader;
use crate::error::{Ended, ReadDeadlineError, TryReadError};
use crate::ring::barrier::{Readable, Stop};
use crate::ring::cursor::Counters;
use crate::ring::group::Group;
use crate::ring::slots::{Access, ReadToken, Shared};
use crate::sync::step;
use crate::wait::Waiter;
use crate::wait::pace::Pace;
use std::fmt;
use std::marker::PhantomData;
use std::time::Instant;

/// A member of a stage whose events are divided among its members: each event goes to exactly one. Cloning it adds a member,
/// dropping it takes one away; what it held is finished first. When the last one leaves, the stage ends.
///
/// There is no order between members. Work is divided by need: each takes a fair share of what is there, at most `batch_max` events
/// at a time. Slots are freed up to the oldest event that some member still holds.
///
/// ```
/// let (mut tx, rx) = ringway::spmc::<u64>(64);
/// let workers: Vec<_> = (0..3).map(|_| rx.clone()).collect();
/// drop(rx);
/// let total: u64 = std::thread::scope(|scope| {
///     let workers: Vec<_> = workers
///         .into_iter()
///         .map(|mut rx| scope.spawn(move || {
///             let mut sum = 0;
///             while let Ok(batch) = rx.read() {
///                 sum += batch.iter().sum::<u64>();
///             }
///             sum
///         }))
///         .collect();
///     tx.publish_slice(&(0..1000).collect::<Vec<_>>()).unwrap();
///     drop(tx);
///     workers.into_iter().map(|worker| worker.join().unwrap()).sum()
/// });
/// assert_eq!(total, 499_500);
/// ```
pub struct Worker<T, A: Access = Shared> {
    reader: Reader<T>,
    waiter: Waiter,
    member: usize,
    /// The stage has ended because one that it depends on did; this end has said so, and is no member any more.
    left: Option<Stop>,
    access: PhantomData<A>,
}

/// Sequences that the group has given to this member alone.
struct Share(Readable);

impl<T, A: Access> Worker<T, A> {
    /// The first member of a group; every other one is its clone.
    pub(crate) fn new(reader: Reader<T>, waiter: Waiter) -> Self {
        let member = group(&reader).enter();
        Self {
            reader,
            waiter,
            member,
            left: None,
            access: PhantomData,
        }
    }

    /// Reads a share of what is there; never waits.
    ///
    /// # Errors
    /// [`TryReadError`]. Behind many producers it may answer `Empty` with events there when its thread was stopped in this very call while
    /// the ring came round 64 times or more; the next call finds them.
    #[inline]
    pub fn try_read(&mut self) -> Result<Batch<'_, T, A>, TryReadError> {
        match self.look() {
            Ok(share) => Ok(self.take(share)),
            Err(Stop::Empty(_)) => Err(TryReadError::Empty),
            Err(stop) => Err(TryReadError::Ended(self.end(stop))),
        }
    }

    /// Reads a share of what is there; waits for the first event. It keeps a distance from producers as
    /// [`Consumer::read`](crate::Consumer::read) does.
    ///
    /// # Errors
    /// [`Ended`], once everything that this stage gets was taken by its members.
    #[inline]
    pub fn read(&mut self) -> Result<Batch<'_, T, A>, Ended> {
        let share = self
            .share(None)
            .map_err(ReadDeadlineError::without_deadline)?;
        Ok(self.take(share))
    }

    /// [`read`](Self::read), waiting no longer than `deadline`. It does not pause to keep a distance from producers.
    ///
    /// # Errors
    /// [`ReadDeadlineError`].
    #[inline]
    pub fn read_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<Batch<'_, T, A>, ReadDeadlineError> {
        let share = self.share(Some(deadline))?;
        Ok(self.take(share))
    }

    #[inline]
    fn share(&mut self, deadline: Option<Instant>) -> Result<Share, ReadDeadlineError> {
        if deadline.is_none() {
            self.reader.keep_distance(|| group(&self.reader).claimed());
        }
        self.look().or_else(|stop| self.wait(stop, deadline))
    }

    /// [`read`](Self::read) at the pace of the stage, which its members share.
    pub(crate) fn read_paced(&mut self, pace: &Pace) -> Result<Batch<'_, T, A>, Ended> {
        if let Some(stop) = self.left {
            return Err(self.reader.ended(stop));
        }
        self.free_forgotten();
        loop {
            let Self {
                reader,
                waiter,
                member,
                ..
            } = self;
            let group = group(reader);
            let counters = &group.member(*member).counters;
            let read = |most| {
                let share = look(reader, *member, most)?;
                let end = share.0.range().end;
                Ok((share, end))
            };
            let stop = match pace.pass(|| group.claimed(), reader.batch_max(), read) {
                Ok(Ok(share)) => return Ok(self.take(share)),
                Ok(Err(stop)) => {
                    let look = || reader.look_for_share(group.claimed(), 1, 1);
                    match stop {
                        Stop::Empty(_) => reader.wait(waiter, None, counters, look),
                        stop => Some(Err(stop)),
                    }
                }
                Err(early) => {
                    let has_ended = || reader.has_ended(group.claimed());
                    pace.wait(waiter, early, counters, has_ended);
                    // what has ended ends without a token
                    Some(reader.look_for_share(group.claimed(), 1, 1))
                }
            };
            if let Some(Err(stop)) = stop
                && stop.is_end()
            {
                return Err(self.end(stop));
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn wait(&mut self, stop: Stop, deadline: Option<Instant>) -> Result<Share, ReadDeadlineError> {
        if stop.is_end() {
            return Err(ReadDeadlineError::Ended(self.end(stop)));
        }
        let Self {
            reader,
            waiter,
            member,
            ..
        } = self;
        let counters = &group(reader).member(*member).counters;
        let most = reader.batch_max();
        match reader.wait(waiter, deadline, counters, || look(reader, *member, most)) {
            None => Err(ReadDeadlineError::TimedOut),
            Some(found) => found.map_err(|stop| ReadDeadlineError::Ended(self.end(stop))),
        }
    }

    #[inline(always)]
    fn look(&self) -> Result<Share, Stop> {
        if let Some(stop) = self.left {
            return Err(stop);
        }
        self.free_forgotten();
        look(&self.reader, self.member, self.reader.batch_max())
    }

    /// Nothing will come any more. Behind a stage that ended early this member leaves at once: whoever holds it need not drop
    /// it for producers to go on.
    #[cold]
    fn end(&mut self, stop: Stop) -> Ended {
        if matches!(stop, Stop::Upstream(_)) && self.left.is_none() {
            self.leave();
            self.left = Some(stop);
        }
        self.reader.ended(stop)
    }

    fn leave(&mut self) {
        let group = group(&self.reader);
        // only a member that failed, or was halted, leaves an event unfinished; a forgotten batch counts as finished
        let keeps = self.reader.entry().is_stopped() || self.reader.ring().core.is_halted();
        // not the member's own counters: the seat may be somebody else's by then
        let counters = &Counters::default();
        match group.leave(self.member, keeps && group.member(self.member).holds()) {
            Some(position) => self.reader.retire(Some(position), counters),
            None => self.reader.station().notify(counters),
        }
    }

    /// A batch that was forgotten with `mem::forget` is freed now: no reference into it can be left.
    #[inline(always)]
    fn free_forgotten(&self) {
        let group = group(&self.reader);
        if group.member(self.member).holds() {
            group.release(self.member);
            let counters = &group.member(self.member).counters;
            self.reader.station().notify(counters);
        }
    }

    #[inline]
    fn take(&mut self, share: Share) -> Batch<'_, T, A> {
        let range = share.0.range();
        let ring = self.reader.ring();
        // SAFETY: the barrier saw every sequence of the share published, or passed by the only producer or every upstream stage (Acquire),
        // and `Group::claim` gave the share to this member alone. No producer or later stage passes it before the frontier of the group does,
        // and that stays at or below its start while this member holds it, that is until the batch ends: the
        // worker is borrowed mutably so long. With exclusive access the group is the only stage (`spmc`, `mpmc`).
        let token = unsafe { ReadToken::mint(&ring.slots, range.clone(), ring.core.has_gaps()) };
        let freeing = Freeing {
            station: self.reader.station(),
            seat: Seat::Member {
                index: self.member,
                stopped: false,
            },
            to: range.end,
            events: token.live(),
        };
        Batch::new(token, freeing)
    }

    /// How many published sequences no member has taken.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.reader.lag(group(&self.reader).claimed())
    }

    /// Whether nothing will come any more, and everything was taken.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.reader.has_ended(group(&self.reader).claimed())
    }
}

#[inline]
fn group<T>(reader: &Reader<T>) -> &Group {
    reader.station().group()
}

/// Takes a fair share of what is there for a member, at most `most`.
#[inline]
fn look<T>(reader: &Reader<T>, member: usize, most: u64) -> Result<Share, Stop> {
    let group = group(reader);
    let mut start = group.claimed();
    loop {
        let readable = reader.look_for_share(start, group.living(), most)?;
        match group.claim(member, readable.range()) {
            Ok(()) => return Ok(Share(readable)),
            Err(now) => {
                start = now;
                // what it held for a moment may have held others back
                if step("lost_claim_unnotified") {
                    reader.station().notify(&group.member(member).counters);
                }
            }
        }
    }
}

impl<T, A: Access> Clone for Worker<T, A> {
    fn clone(&self) -> Self {
        let (reader, waiter) = (self.reader.duplicate(), self.waiter.another());
        match self.left {
            None => Self::new(reader, waiter),
            // a group that was left stays ended: the clone is no member either
            left => Self {
                reader,
                waiter,
                member: self.member,
                left,
                access: PhantomData,
            },
        }
    }
}

impl<T, A: Access> Drop for Worker<T, A> {
    fn drop(&mut self) {
        if self.left.is_none() {
            self.leave();
        }
    }
}

impl<T, A: Access> fmt::Debug for Worker<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("member", &self.member)
            .field("lag", &self.lag())
            .finish_non_exhaustive()
    }
}
