//! The reading end for async code.

use crate::consumer::{Batch, Consumer};
use crate::error::{Ended, TryReadError};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The reading end of a stage, for a task of any executor: it sleeps by registering the task's waker.
///
/// Dropping a [`read`](Self::read) future before it is ready has taken nothing.
///
/// ```
/// # fn block_on<F: Future>(future: F) -> F::Output {
/// #     let mut future = std::pin::pin!(future);
/// #     let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// #     loop {
/// #         if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) { return output }
/// #     }
/// # }
/// use ringway::{BusConfig, Topology};
/// let mut topology = Topology::single(BusConfig::default(), String::new)?;
/// let (_, mut lines) = topology.stage("lines").async_consumer();
/// let (bus, mut producer) = topology.start()?;
/// let read = async move {
///     let mut read = Vec::new();
///     while let Ok(batch) = lines.read().await {
///         read.extend(batch.iter().cloned());
///     }
///     read
/// };
/// producer.publish("one".into())?;
/// drop(producer);
/// assert_eq!(block_on(read), ["one"]);
/// bus.shutdown()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AsyncConsumer<T> {
    pub(super) consumer: Consumer<T>,
}

impl<T> AsyncConsumer<T> {
    pub(crate) fn new(consumer: Consumer<T>) -> Self {
        Self { consumer }
    }

    /// Reads what is there, at most `batch_max` events; the task sleeps until there is something.
    ///
    /// # Errors
    /// The future's output: [`Ended`], once everything that this stage gets was read.
    pub fn read(&mut self) -> ReadFuture<'_, T> {
        ReadFuture {
            consumer: Some(&mut self.consumer),
        }
    }

    /// Reads what is there; never waits.
    ///
    /// # Errors
    /// [`TryReadError`].
    pub fn try_read(&mut self) -> Result<Batch<'_, T>, TryReadError> {
        self.consumer.try_read()
    }

    /// How many published sequences are in front of this consumer.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.consumer.lag()
    }

    /// Whether nothing will come any more, and everything was read.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.consumer.is_ended()
    }
}

impl<T> fmt::Debug for AsyncConsumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncConsumer")
            .field(&self.consumer)
            .finish()
    }
}

/// A read that waits for events: see [`AsyncConsumer::read`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct ReadFuture<'c, T> {
    /// Taken when the future is ready.
    consumer: Option<&'c mut Consumer<T>>,
}

impl<'c, T> Future for ReadFuture<'c, T> {
    type Output = Result<Batch<'c, T>, Ended>;

    /// # Panics
    /// When polled after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let consumer = self.consumer.take().expect("polled after it was ready");
        match consumer.poll_readable(context) {
            Poll::Pending => {
                self.consumer = Some(consumer);
                Poll::Pending
            }
            Poll::Ready(found) => Poll::Ready(found.map(|readable| consumer.take(readable))),
        }
    }
}

impl<T> Drop for ReadFuture<'_, T> {
    fn drop(&mut self) {
        if let Some(consumer) = &self.consumer {
            consumer.forget_waker();
        }
    }
}
