//! The writing end of lanes.

use crate::config::Wait;
use crate::error::{
    BatchError, ClaimError, Error, PublishDeadlineError, PublishError, TryPublishError,
};
use crate::lanes::Hub;
use crate::producer::{Claim, Producer, PublishFuture, Single};
use crate::sequence::Sequence;
use crate::sync::Arc;
use std::fmt;
use std::time::Instant;

/// A writing end of [`lanes`](crate::lanes()): the only producer of its lane. Cloning it opens a lane, or takes a free one.
///
/// Its verbs are those of a [`Producer`], and so are their errors, but for these:
/// * sequences number the events of one lane; they go on where the lane's last producer stopped;
/// * `Full` means that this lane is full, whatever room there is in others;
/// * `Closed` means that the consumer is gone;
/// * `WouldDeadlock` is never answered: a thread that has both ends, and publishes into a full lane, waits for itself.
///
/// Dropping it leaves what it has published to the consumer. The lanes close when the last one is dropped.
///
/// ```
/// let (mut one, mut rx) = ringway::lanes::<u64>(2);
/// let mut two = one.clone(); // a lane of its own, with room for 2
/// two.publish_slice(&[20, 21])?;
/// one.publish(10)?;
/// assert!(two.try_publish(22).is_err()); // full
/// drop(two);
/// let mut three = one.clone(); // takes the lane of `two`, where two events are still to be read
/// assert!(three.try_publish(30).is_err());
/// assert_eq!(rx.lag(), 3);
/// # while rx.try_read().is_ok() {}
/// three.publish(30)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// One producer serves one thread at a time; two claims of one lane cannot be held together:
///
/// ```compile_fail,E0499
/// let (mut tx, _rx) = ringway::lanes::<u64>(4);
/// let (one, two) = (tx.claim(1).unwrap(), tx.claim(1).unwrap());
/// one.publish();
/// ```
/// ```
/// let (mut tx, _rx) = ringway::lanes::<u64>(4);
/// let mut other = tx.clone();
/// let (one, two) = (tx.claim(1).unwrap(), other.claim(1).unwrap());
/// one.publish();
/// ```
pub struct LaneProducer<T> {
    // the order of fields is the order of drops: the lane is free once its producer is gone
    producer: Producer<T, Single>,
    seat: Seat<T>,
    wait: Wait,
}

/// A taken place in the table of lanes.
struct Seat<T> {
    hub: Arc<Hub<T>>,
    index: usize,
}

impl<T> Drop for Seat<T> {
    fn drop(&mut self) {
        self.hub.lanes.give_back(self.index);
    }
}

impl<T> LaneProducer<T> {
    /// Whoever has the seat is the only producer of its lane; what the last one did happens before (SEAT, ENDS).
    pub(super) fn open(hub: &Arc<Hub<T>>) -> Result<Self, Error> {
        let seat = Seat {
            hub: hub.clone(),
            index: hub.lanes.take(),
        };
        let lane = hub.open(seat.index)?;
        let wait = hub.config.wait;
        Ok(Self {
            producer: Producer::apart(&lane.ring, &lane.signals, &hub.signals, wait),
            seat,
            wait,
        })
    }

    /// How many events this lane holds: the configured capacity, rounded up to a power of two.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.producer.capacity()
    }

    /// How many events could be published now without waiting.
    #[must_use]
    pub fn free(&self) -> usize {
        self.producer.free()
    }

    /// How many events [`publish_or_drop`](Self::publish_or_drop) of this producer has dropped; a clone counts its own.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.producer.dropped()
    }

    /// Whether the consumer is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.producer.is_closed()
    }

    /// Changes how this producer, and those cloned from it later, wait.
    ///
    /// # Errors
    /// As [`Producer::set_wait`], for a strategy that parks where the lanes were [made](crate::lanes_with) with one that does not.
    pub fn set_wait(&mut self, wait: Wait) -> Result<(), Error> {
        self.producer.set_wait(wait)?;
        self.wait = wait;
        Ok(())
    }
}

/// The verbs of [`Producer`].
macro_rules! verbs {
    ($($name:ident$(<$($generic:ident),+>)?($($argument:ident: $type:ty),*) -> $result:ty, $error:ident
        $(where $($bounded:ty: $bound:path),+)?;)*) => {
        impl<T> LaneProducer<T> {
            $(
                #[doc = concat!("[`Producer::", stringify!($name), "`] into this lane.")]
                ///
                /// # Errors
                #[doc = concat!("[`", stringify!($error), "`].")]
                #[inline]
                pub fn $name$(<$($generic),+>)?(&mut self, $($argument: $type),*) -> $result
                $(where $($bounded: $bound),+)?
                {
                    self.producer.$name($($argument),*)
                }
            )*
        }
    };
}

verbs! {
    publish(event: T) -> Result<Sequence, PublishError<T>>, PublishError;
    try_publish(event: T) -> Result<Sequence, TryPublishError<T>>, TryPublishError;
    publish_or_drop(event: T) -> Result<Option<Sequence>, PublishError<T>>, PublishError;
    publish_deadline(event: T, deadline: Instant) -> Result<Sequence, PublishDeadlineError<T>>, PublishDeadlineError;
    publish_with(write: impl FnOnce(&mut T)) -> Result<Sequence, PublishError<()>>, PublishError;
    try_publish_with(write: impl FnOnce(&mut T)) -> Result<Sequence, TryPublishError<()>>, TryPublishError;
    publish_with_deadline(write: impl FnOnce(&mut T), deadline: Instant) -> Result<Sequence, PublishDeadlineError<()>>, PublishDeadlineError;
    publish_batch(events: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>) -> Result<usize, BatchError>, BatchError;
    try_publish_batch(events: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>) -> Result<usize, BatchError>, BatchError;
    publish_batch_deadline(events: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>, deadline: Instant) -> Result<usize, BatchError>, BatchError;
    publish_slice(events: &[T]) -> Result<usize, BatchError>, BatchError where T: Copy;
    try_publish_slice(events: &[T]) -> Result<usize, BatchError>, BatchError where T: Copy;
    publish_slice_deadline(events: &[T], deadline: Instant) -> Result<usize, BatchError>, BatchError where T: Copy;
    claim(count: usize) -> Result<Claim<'_, T>, ClaimError>, ClaimError;
    try_claim(count: usize) -> Result<Claim<'_, T>, ClaimError>, ClaimError;
    claim_deadline(count: usize, deadline: Instant) -> Result<Claim<'_, T>, ClaimError>, ClaimError;
}

impl<T> LaneProducer<T> {
    /// [`Producer::publish_async`] into this lane.
    ///
    /// # Errors
    /// The future's output: [`PublishError::Closed`] with the event.
    pub fn publish_async(&mut self, event: T) -> PublishFuture<'_, T> {
        self.producer.publish_async(event)
    }
}

impl<T> Clone for LaneProducer<T> {
    /// Takes a free lane, or makes one: its slots are allocated and filled with defaults.
    ///
    /// # Panics
    /// When a new lane does not fit into memory.
    fn clone(&self) -> Self {
        let opened = Self::open(&self.seat.hub).and_then(|mut lane| {
            lane.set_wait(self.wait)?;
            Ok(lane)
        });
        opened.unwrap_or_else(|error| panic!("{error}"))
    }
}

impl<T> Drop for LaneProducer<T> {
    fn drop(&mut self) {
        self.seat.hub.leave();
    }
}

impl<T> fmt::Debug for LaneProducer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneProducer")
            .field("lane", &self.seat.index)
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
