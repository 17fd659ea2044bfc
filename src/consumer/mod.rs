//! The reading ends: [`Consumer`], [`Worker`], [`AsyncConsumer`], and the [`Batch`] that each of them reads; and [`Tap`], which reads copies.

mod batch;
mod copies;
mod future;
mod late;
mod reader;
mod replaying;
#[cfg(feature = "stream")]
mod stream;
mod tap;
mod worker;

pub use batch::{Batch, Drain};
pub use copies::TapBatch;
pub use future::{AsyncConsumer, ReadFuture};
pub(crate) use late::{LateReaders, Seat};
pub(crate) use reader::{Reader, UpstreamNames};
pub(crate) use replaying::{Past, Replaying};
#[cfg(feature = "stream")]
pub use stream::EventStream;
pub(crate) use tap::{CHUNK, lag_of};
pub use tap::{Tap, TapReadFuture};
pub use worker::Worker;

use crate::error::{Ended, ReadDeadlineError, TryReadError};
use crate::ring::barrier::{Readable, Stop};
use crate::ring::slots::{Access, Shared};
use crate::sync::step;
use crate::wait::Waiter;
use crate::wait::pace::Pace;
use std::fmt;
use std::marker::PhantomData;
use std::task::{Context, Poll};
use std::time::Instant;

/// The reading end of a stage, on a thread of the user's own. It sees every event, in order.
///
/// What it has read and not yet freed holds producers back, and stages that depend on it wait for it: a [`Batch`] is freed when it
/// is dropped. A consumer made by a topology may be used before `start()`: it waits for the first event.
///
/// Dropping a consumer ends its stage: producers go on without it; stages that depend on it get what it had freed, then
/// end with [`Ended::Upstream`]. A consumer that has answered that has ended its own stage.
///
/// ```
/// let (mut tx, mut rx) = ringway::spsc::<String>(16);
/// std::thread::scope(|scope| {
///     scope.spawn(move || tx.publish_batch(["a".to_string(), "b".to_string()]));
///     let mut all = String::new();
///     while let Ok(mut batch) = rx.read() {
///         for event in batch.drain() {
///             all += &event;
///         }
///     }
///     assert_eq!(all, "ab");
/// });
/// ```
///
/// A batch must end before the next read:
///
/// ```compile_fail,E0499
/// let (mut tx, mut rx) = ringway::spsc::<u64>(4);
/// tx.publish_batch([1, 2]).unwrap();
/// let first = rx.read().unwrap();
/// let second = rx.read().unwrap();
/// drop(first);
/// ```
/// ```
/// let (mut tx, mut rx) = ringway::spsc::<u64>(4);
/// tx.publish_batch([1, 2]).unwrap();
/// let first = rx.read().unwrap();
/// drop(first);
/// let second = rx.try_read();
/// assert!(second.is_err());
/// ```
pub struct Consumer<T, A: Access = Shared> {
    reader: Reader<T>,
    waiter: Waiter,
    /// The next sequence to read. The stage's cursor is behind it while a batch lives.
    next: u64,
    /// The stage has ended because one that it depends on did, and this end has said so.
    retired: bool,
    access: PhantomData<A>,
}

/// Why [`Consumer::read_unless`] read nothing.
#[derive(Debug)]
pub(crate) enum Unread {
    /// Something else came up, or the deadline passed.
    Interrupted,
    Ended,
}

impl<T, A: Access> Consumer<T, A> {
    pub(crate) fn new(reader: Reader<T>, waiter: Waiter) -> Self {
        let next = reader.entry().cursor.own_position();
        Self {
            reader,
            waiter,
            next,
            retired: false,
            access: PhantomData,
        }
    }

    /// Reads what is there, at most `batch_max` events; never waits.
    ///
    /// # Errors
    /// [`TryReadError`].
    #[inline]
    pub fn try_read(&mut self) -> Result<Batch<'_, T, A>, TryReadError> {
        self.free_forgotten();
        match self.reader.look(self.next) {
            Ok(readable) => Ok(self.take(readable)),
            Err(Stop::Empty(_)) => Err(TryReadError::Empty),
            Err(stop) => Err(TryReadError::Ended(self.end(stop))),
        }
    }

    /// Reads what is there, at most `batch_max` events; waits for the first.
    ///
    /// Right behind producers it keeps a distance while events stream ([`tail_pauses`](crate::BusConfig::tail_pauses)). When it took several
    /// events, and all it might, the next read pauses first, and may then leave the last kilobyte of published events to the
    /// read after it, which takes those even if nothing more comes. So a loop that reads once a tick should
    /// [`try_read`](Self::try_read) until that answers `Empty`, or have `tail_pauses: 0`.
    ///
    /// # Errors
    /// [`Ended`], once everything that this stage gets was read.
    #[inline(always)] // what it returns is then never written to memory
    pub fn read(&mut self) -> Result<Batch<'_, T, A>, Ended> {
        let readable = self
            .readable(None)
            .map_err(ReadDeadlineError::without_deadline)?;
        Ok(self.take(readable))
    }

    /// [`read`](Self::read), waiting no longer than `deadline`. It does not pause to keep a distance from producers. So a loop of it
    /// alone runs as with `tail_pauses: 0`: in a stream of small events published one at a time that cost up to half of the rate;
    /// of those published in batches, nothing to a third.
    ///
    /// # Errors
    /// [`ReadDeadlineError`].
    #[inline]
    pub fn read_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<Batch<'_, T, A>, ReadDeadlineError> {
        let readable = self.readable(Some(deadline))?;
        Ok(self.take(readable))
    }

    #[inline(always)]
    fn readable(&mut self, deadline: Option<Instant>) -> Result<Readable, ReadDeadlineError> {
        self.free_forgotten();
        if deadline.is_none() {
            self.reader.keep_distance(|| self.next);
        }
        let mut most = self.reader.batch_max();
        loop {
            match self.reader.look_for(self.next, most) {
                Ok(readable) => return Ok(readable),
                Err(stop) => most = self.wait(stop, deadline)?,
            }
        }
    }

    /// Reads what is there; when that is nothing, waits for it, for the deadline, or for `interrupted`, which is asked at
    /// each look: whoever changes its answer then wakes those who sleep where this consumer does. It keeps no distance from producers.
    pub(crate) fn read_unless(
        &mut self,
        deadline: Option<Instant>,
        interrupted: impl Fn() -> bool,
    ) -> Result<Batch<'_, T, A>, Unread> {
        self.free_forgotten();
        let Self {
            reader,
            waiter,
            next,
            ..
        } = self;
        let look = || match reader.look(*next) {
            Err(Stop::Empty(_)) if interrupted() => Ok(None),
            found => found.map(Some),
        };
        let found = match look() {
            Err(Stop::Empty(_)) => {
                let counters = &reader.entry().cursor.counters;
                reader.wait(waiter, deadline, counters, look)
            }
            found => Some(found),
        };
        match found {
            Some(Ok(Some(readable))) => Ok(self.take(readable)),
            Some(Err(stop)) => {
                self.end(stop);
                Err(Unread::Ended)
            }
            None | Some(Ok(None)) => Err(Unread::Interrupted),
        }
    }

    /// [`read`](Self::read) at the pace of its stage. It keeps no distance from producers: where there are fewer tokens than events it is
    /// far behind them anyway.
    pub(crate) fn read_paced(&mut self, pace: &Pace) -> Result<Batch<'_, T, A>, Ended> {
        self.free_forgotten();
        loop {
            let Self {
                reader,
                waiter,
                next,
                ..
            } = self;
            let read = |most| {
                let readable = reader.look_for(*next, most)?;
                let end = readable.range().end;
                Ok((readable, end))
            };
            let stop = match pace.pass(|| *next, reader.batch_max(), read) {
                Ok(Ok(readable)) => return Ok(self.take(readable)),
                Ok(Err(stop)) => Some(stop),
                Err(early) => {
                    let counters = &reader.entry().cursor.counters;
                    pace.wait(waiter, early, counters, || reader.has_ended(*next));
                    // what has ended ends without a token
                    reader.look_for(*next, 1).err().filter(|stop| stop.is_end())
                }
            };
            if let Some(stop) = stop {
                self.wait(stop, None)
                    .map_err(ReadDeadlineError::without_deadline)?;
            }
        }
    }

    /// Waits until another look will find something. At most how much it should look for: a lone event is handed over at once, without a
    /// look at the line after it, which is still the producer's.
    #[cold]
    #[inline(never)]
    fn wait(&mut self, stop: Stop, deadline: Option<Instant>) -> Result<u64, ReadDeadlineError> {
        if stop.is_end() {
            return Err(ReadDeadlineError::Ended(self.end(stop)));
        }
        let Self {
            reader,
            waiter,
            next,
            ..
        } = self;
        let counters = &reader.entry().cursor.counters;
        if reader.may_glance()
            && let Some(seen) = waiter.glances(|| reader.glance(*next))
        {
            counters.stalls.add(1);
            return Ok(if seen == 1 { 1 } else { reader.batch_max() });
        }
        match reader.wait(waiter, deadline, counters, || reader.look(*next)) {
            None => Err(ReadDeadlineError::TimedOut),
            Some(Ok(_)) => Ok(reader.batch_max()),
            Some(Err(stop)) => Err(ReadDeadlineError::Ended(self.end(stop))),
        }
    }

    /// Nothing will come any more. Behind a stage that ended early this one ends too, at once: whoever holds it need not drop
    /// it for producers to go on.
    #[cold]
    fn end(&mut self, stop: Stop) -> Ended {
        if matches!(stop, Stop::Upstream(_)) && !std::mem::replace(&mut self.retired, true) {
            self.reader
                .retire(None, &self.reader.entry().cursor.counters);
        }
        self.reader.ended(stop)
    }

    /// For a task: registers its waker when there is nothing.
    fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<Result<Readable, Ended>> {
        self.free_forgotten();
        let Self {
            reader,
            waiter,
            next,
            ..
        } = self;
        let found = reader.poll(waiter, context, &reader.entry().cursor.counters, || {
            reader.look(*next)
        });
        found.map(|found| found.map_err(|stop| self.end(stop)))
    }

    /// What could be taken now, if anything.
    #[inline(always)]
    pub(crate) fn look(&self) -> Option<Readable> {
        self.reader.look(self.next).ok()
    }

    fn forget_waker(&self) {
        self.waiter.disarm();
    }

    /// How many published sequences are in front of this consumer; those of a batch that it holds are behind it.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.reader.lag(self.next)
    }

    /// Whether nothing will come any more, and everything was read.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.reader.has_ended(self.next)
    }

    /// A batch that was forgotten with `mem::forget` is freed now: no reference into it can be left.
    #[inline(always)]
    pub(crate) fn free_forgotten(&self) {
        let cursor = &self.reader.entry().cursor;
        if cursor.own_position() != self.next {
            cursor.advance(self.next);
            self.reader.station().notify(&cursor.counters);
        }
    }
}

impl<T, A: Access> Drop for Consumer<T, A> {
    fn drop(&mut self) {
        if !self.retired && step("retire_consumer") {
            self.reader
                .retire(None, &self.reader.entry().cursor.counters);
        }
    }
}

impl<T, A: Access> fmt::Debug for Consumer<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("next", &self.next)
            .field("lag", &self.lag())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::config::BusConfig;
    use std::time::{Duration, Instant};

    #[test]
    fn asking_whether_it_has_ended_changes_nothing_about_the_next_read() {
        let batch_max = BusConfig::default().batch_max;
        let (mut tx, mut rx) = crate::spsc::<u64>(8192);
        tx.publish_batch([0; 200]).expect("it is open");
        assert!(!rx.is_ended());
        assert_eq!(rx.read().expect("it is open").len(), 200);
        tx.publish_batch(vec![0; batch_max]).expect("it is open");
        assert!(!rx.is_ended());
        assert!(
            rx.read().expect("it is open").len() < batch_max,
            "in a stream it keeps its distance, asked or not"
        );

        let (mut tx, mut rx) = crate::spmc::<u64>(8192);
        tx.publish_batch([0; 200]).expect("it is open");
        assert!(!rx.is_ended());
        assert_eq!(rx.read().expect("it is open").len(), 200);
    }

    #[test]
    fn a_read_in_a_stream_leaves_the_last_events_to_the_next_unless_it_has_a_deadline() {
        let later = || Instant::now() + Duration::from_secs(20);
        let batch_max = BusConfig::default().batch_max;
        let (mut tx, mut rx) = crate::spsc::<u64>(8192);
        let mut publish = |count| tx.publish_batch(vec![0; count]).expect("it is open");
        publish(2);
        assert_eq!(rx.read().expect("it is open").len(), 2);
        publish(batch_max);
        let read = rx.read().expect("it is open").len();
        assert!(read < batch_max, "it has read all of them");
        let left = rx.read().expect("it is open").len();
        assert_eq!(read + left, batch_max, "nothing more came");
        publish(batch_max);
        let all = rx.read_deadline(later()).expect("it is open").len();
        assert_eq!(all, batch_max);
    }
}
