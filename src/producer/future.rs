//! A publication that waits as a task.

use crate::error::PublishError;
use crate::producer::publish::{Room, look_for_room};
use crate::producer::{Producer, ProducerKind, Single};
use crate::sequence::Sequence;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A publication that waits for room: see [`Producer::publish_async`].
#[must_use = "a future does nothing unless it is polled"]
pub struct PublishFuture<'p, T, K: ProducerKind = Single> {
    pub(super) producer: &'p mut Producer<T, K>,
    /// Taken when the future is ready.
    pub(super) event: Option<T>,
}

// The event is moved out, never pinned.
impl<T, K: ProducerKind> Unpin for PublishFuture<'_, T, K> {}

impl<T, K: ProducerKind> Future for PublishFuture<'_, T, K> {
    type Output = Result<Sequence, PublishError<T>>;

    /// # Panics
    /// When polled after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(self.event.is_some(), "polled after it was ready"); // before a slot is claimed, which would stay unpublished
        self.producer.note_thread();
        let Producer {
            sequencer,
            ring,
            waiter,
            counters,
            durability,
            ..
        } = &mut *self.producer;
        let found = waiter.poll(context, counters, || {
            look_for_room(sequencer, ring, durability, 1, 1, None)
        });
        let grant = match ready!(found) {
            Room::Granted(grant) => Ok(grant),
            Room::Closed => Err(()),
            Room::HeldUntil(_) => {
                // nobody wakes a task at a time: it runs again soon
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        };
        let event = self.event.take().expect("polled after it was ready");
        Poll::Ready(match grant {
            Ok(grant) => Ok(self.producer.fill_one(grant, event)),
            Err(()) => {
                self.producer.tell_sealed();
                Err(PublishError::Closed(event))
            }
        })
    }
}

impl<T, K: ProducerKind> Drop for PublishFuture<'_, T, K> {
    fn drop(&mut self) {
        self.producer.waiter.disarm();
    }
}

impl<T, K: ProducerKind> fmt::Debug for PublishFuture<'_, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishFuture")
            .field("producer", &self.producer)
            .finish_non_exhaustive()
    }
}
