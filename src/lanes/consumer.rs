//! The reading end of lanes.

use crate::consumer::Batch;
use crate::error::{Ended, ReadDeadlineError, TryReadError};
use crate::lanes::Hub;
use crate::lanes::merge::{Found, Merge};
use crate::ring::cursor::Counters;
use crate::ring::slots::Exclusive;
use crate::sync::Arc;
use crate::wait::signal::Signal;
use crate::wait::{Look, Waiter};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

/// The reading end of [`lanes`](crate::lanes()): it reads lanes in turn, at most a batch of each.
///
/// A [`Batch`] has events of one lane, in the order in which its producer published them; its sequences are that lane's. The order of
/// batches says nothing about which was published first. Lanes that are not used cost next to nothing.
///
/// It ends when the last [`LaneProducer`](crate::LaneProducer) is gone and all lanes are read. Dropping it closes the lanes.
///
/// ```
/// let (mut tx, mut rx) = ringway::lanes::<String>(16);
/// std::thread::scope(|scope| {
///     let mut other = tx.clone();
///     scope.spawn(move || tx.publish_batch(["a".to_string(), "b".to_string()]));
///     scope.spawn(move || other.publish("c".to_string()));
///     let mut all = String::new();
///     while let Ok(mut batch) = rx.read() {
///         for event in batch.drain() {
///             all += &event;
///         }
///     }
///     assert!(["abc", "acb", "cab"].contains(&&*all));
/// });
/// ```
///
/// A batch must end before the next read:
///
/// ```compile_fail,E0499
/// let (mut tx, mut rx) = ringway::lanes::<u64>(4);
/// tx.publish_batch([1, 2]).unwrap();
/// let first = rx.read().unwrap();
/// let second = rx.try_read();
/// drop(first);
/// ```
/// ```
/// let (mut tx, mut rx) = ringway::lanes::<u64>(4);
/// tx.publish_batch([1, 2]).unwrap();
/// let first = rx.read().unwrap();
/// drop(first);
/// let second = rx.try_read();
/// assert!(second.is_err());
/// ```
pub struct LaneConsumer<T> {
    merge: Merge<T>,
    waiter: Waiter,
    counters: Counters,
}

impl<T> LaneConsumer<T> {
    pub(super) fn new(hub: Arc<Hub<T>>) -> Self {
        Self {
            waiter: Waiter::new(&hub.signals, hub.config.wait),
            merge: Merge::new(hub),
            counters: Counters::default(),
        }
    }

    /// Reads what is there in the next lane that has anything, at most [`batch_max`](crate::BusConfig::batch_max) events; never waits.
    ///
    /// # Errors
    /// [`TryReadError`]: it has looked at every lane.
    #[inline]
    pub fn try_read(&mut self) -> Result<Batch<'_, T, Exclusive>, TryReadError> {
        self.merge.free_forgotten();
        let found = self.merge.look(false)?;
        Ok(self.merge.take(found))
    }

    /// The same; waits for the first event. While events stream it pauses ([`tail_pauses`](crate::BusConfig::tail_pauses)) when it has
    /// looked at every busy lane and taken all there was.
    ///
    /// # Errors
    /// [`Ended`], once all producers are gone and everything was read.
    #[inline]
    pub fn read(&mut self) -> Result<Batch<'_, T, Exclusive>, Ended> {
        self.read_until(None)
            .map_err(ReadDeadlineError::without_deadline)
    }

    /// [`read`](Self::read), waiting no longer than `deadline`. It does not pause.
    ///
    /// # Errors
    /// [`ReadDeadlineError`].
    #[inline]
    pub fn read_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<Batch<'_, T, Exclusive>, ReadDeadlineError> {
        self.read_until(Some(deadline))
    }

    #[inline]
    fn read_until(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<Batch<'_, T, Exclusive>, ReadDeadlineError> {
        self.merge.free_forgotten();
        let found = match self.merge.look(deadline.is_none()) {
            Ok(found) => found,
            Err(_) => self.wait(deadline)?,
        };
        Ok(self.merge.take(found))
    }

    #[cold]
    #[inline(never)]
    fn wait(&mut self, deadline: Option<Instant>) -> Result<Found, ReadDeadlineError> {
        let Self {
            merge,
            waiter,
            counters,
        } = self;
        match waiter.wait(deadline, counters, || sort(merge.look(false))) {
            None => Err(ReadDeadlineError::TimedOut),
            Some(found) => found.map_err(ReadDeadlineError::Ended),
        }
    }

    /// For a task: registers its waker when there is nothing.
    fn poll_found(&mut self, context: &mut Context<'_>) -> Poll<Result<Found, Ended>> {
        let Self {
            merge,
            waiter,
            counters,
        } = self;
        merge.free_forgotten();
        waiter.poll(context, counters, || sort(merge.look(false)))
    }

    /// [`read`](Self::read) for a task of any executor, which sleeps until there is something. Dropping the future before it is ready has
    /// taken nothing.
    ///
    /// Where the lanes were [made](crate::lanes_with) with a strategy that does not park nobody looks for sleepers, so the task asks
    /// to be polled again at once.
    ///
    /// # Errors
    /// The future's output: as [`read`](Self::read).
    pub fn read_async(&mut self) -> LaneReadFuture<'_, T> {
        LaneReadFuture {
            consumer: Some(self),
        }
    }

    /// How many published events are to be read, in all lanes. Looks at every lane.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.merge.lag()
    }

    /// Whether nothing will come any more, and everything was read. Looks at every lane.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.merge.hub.has_ended() && self.lag() == 0
    }
}

/// Tells what to wait for from what is final.
fn sort(found: Result<Found, TryReadError>) -> Look<Result<Found, Ended>> {
    match found {
        Ok(found) => Ok(Ok(found)),
        Err(TryReadError::Empty) => Err(Some(Signal::PUBLISHED)),
        Err(TryReadError::Ended(ended)) => Ok(Err(ended)),
    }
}

impl<T> fmt::Debug for LaneConsumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneConsumer")
            .field("lag", &self.lag())
            .finish_non_exhaustive()
    }
}

/// A read that waits for events: see [`LaneConsumer::read_async`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct LaneReadFuture<'c, T> {
    /// Taken when the future is ready.
    consumer: Option<&'c mut LaneConsumer<T>>,
}

impl<'c, T> Future for LaneReadFuture<'c, T> {
    type Output = Result<Batch<'c, T, Exclusive>, Ended>;

    /// # Panics
    /// When polled after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let consumer = self.consumer.take().expect("polled after it was ready");
        match consumer.poll_found(context) {
            Poll::Pending => {
                self.consumer = Some(consumer);
                Poll::Pending
            }
            Poll::Ready(found) => Poll::Ready(found.map(|found| consumer.merge.take(found))),
        }
    }
}

impl<T> Drop for LaneReadFuture<'_, T> {
    fn drop(&mut self) {
        if let Some(consumer) = &self.consumer {
            consumer.waiter.disarm();
        }
    }
}
