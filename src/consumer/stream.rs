//! Events as a stream of copies, for combinators that want one.

use crate::consumer::{AsyncConsumer, Consumer, Tap};
use crate::error::Ended;
use futures_core::{FusedStream, Stream};
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The events of an async stage or of a tap, each a copy of its own: from [`AsyncConsumer::into_stream`] or [`Tap::into_stream`].
///
/// A stream's items outlive the call that yields them, and so cannot be references into the ring. When it has none left it copies
/// the next batch, at most [`batch_max`](crate::StageBuilder::batch_max) events (of a tap 64), and frees their slots at once. So
///
/// * an event costs a `clone` and a place in a buffer, which grows up to one batch and is then used again; reading the batches of
///   an [`AsyncConsumer`] costs neither;
/// * stages that come after this one, and producers, go on once an event is *copied*, not once the task is done with it;
/// * what is in the buffer when the stream is dropped is lost.
///
/// It ends with `None` for good, also when the bus was halted, a stage before it ended early, or the tap was evicted:
/// [`ended`](Self::ended) says why.
///
/// Polling panics when a clone does. Of a stage the rest of the batch is lost then; a tap meets the same event again, unless it is moved.
#[must_use = "a stream does nothing unless it is polled"]
pub struct EventStream<T> {
    source: Source<T>,
    /// Copied, and not yet yielded.
    copies: VecDeque<T>,
    ended: Option<Ended>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "there is one a stream, which stays where it is"
)]
enum Source<T> {
    Stage(Consumer<T>),
    Tap(Tap<T>),
}

impl<T> Source<T> {
    fn into_stream(self) -> EventStream<T> {
        EventStream {
            source: self,
            copies: VecDeque::new(),
            ended: None,
        }
    }

    /// Copies the next batch, which may be one of abandoned events only.
    fn poll_copy(
        &mut self,
        copies: &mut VecDeque<T>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Ended>>
    where
        T: Clone + Sync,
    {
        match self {
            Self::Stage(consumer) => {
                let readable = ready!(consumer.poll_readable(context))?;
                let batch = consumer.take(readable);
                copies.reserve(batch.len());
                // one after another: those before a clone that panics stay
                (batch.iter()).for_each(|event| copies.push_back(event.clone()));
            }
            Self::Tap(tap) => {
                let (sequences, skipped) = ready!(tap.poll_read(context))?;
                copies.extend(tap.batch(sequences, skipped).drain());
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T> AsyncConsumer<T> {
    /// Turns it into a stream of copies; with the feature `stream`. [`EventStream`] says what that costs beside [`read`](Self::read).
    ///
    /// ```
    /// # fn block_on<F: Future>(future: F) -> F::Output {
    /// #     let mut future = std::pin::pin!(future);
    /// #     let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    /// #     loop {
    /// #         if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) { return output }
    /// #     }
    /// # }
    /// use futures_core::Stream;
    /// use ringway::{BusConfig, Ended, Topology};
    /// use std::{future::poll_fn, pin::Pin};
    ///
    /// let mut topology = Topology::single(BusConfig::default(), String::new)?;
    /// let (_, lines) = topology.stage("lines").async_consumer();
    /// let (bus, mut producer) = topology.start()?;
    /// let mut lines = lines.into_stream();
    ///
    /// producer.publish("one".into())?;
    /// drop(producer);
    /// let read = async move {
    ///     // `lines.next().await` with an extension trait like that of futures or tokio-stream
    ///     let first = poll_fn(|context| Pin::new(&mut lines).poll_next(context)).await;
    ///     let second = poll_fn(|context| Pin::new(&mut lines).poll_next(context)).await;
    ///     (first, second, lines.ended().cloned())
    /// };
    /// assert_eq!(block_on(read), (Some("one".to_string()), None, Some(Ended::Drained)));
    /// bus.shutdown()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Events that cannot be cloned are read in batches:
    ///
    /// ```compile_fail,E0277
    /// fn is_stream<S: futures_core::Stream>(_: S) {}
    /// struct Ticket;
    /// fn refused(tickets: ringway::AsyncConsumer<Ticket>) { is_stream(tickets.into_stream()) }
    /// ```
    /// ```
    /// fn is_stream<S: futures_core::Stream>(_: S) {}
    /// #[derive(Clone)]
    /// struct Ticket;
    /// fn accepted(tickets: ringway::AsyncConsumer<Ticket>) { is_stream(tickets.into_stream()) }
    /// ```
    pub fn into_stream(self) -> EventStream<T> {
        Source::Stage(self.consumer).into_stream()
    }
}

impl<T> Tap<T> {
    /// Turns it into a stream of its copies; with the feature `stream`. [`EventStream::skipped`] tells how many events it did not get.
    ///
    /// ```
    /// use futures_core::Stream;
    /// use ringway::{BusConfig, OnLag, Topology};
    /// use std::pin::pin;
    /// use std::task::{Context, Poll, Waker};
    ///
    /// let mut topology = Topology::single(BusConfig::default(), || 0_u64)?;
    /// topology.stage("work").handle(|_, _| {});
    /// let tap = topology.stage("display").tap(OnLag::Skip);
    /// let (bus, mut producer) = topology.start()?;
    /// producer.publish(7)?;
    ///
    /// let mut stream = pin!(tap.into_stream());
    /// let mut context = Context::from_waker(Waker::noop());
    /// assert_eq!(stream.as_mut().poll_next(&mut context), Poll::Ready(Some(7)));
    /// assert_eq!(stream.skipped(), 0);
    /// # drop(producer);
    /// # bus.shutdown()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_stream(self) -> EventStream<T> {
        Source::Tap(self).into_stream()
    }
}

impl<T> EventStream<T> {
    /// Why nothing more will come, once the stream has yielded `None`.
    #[must_use]
    pub fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// How many events are in front of it: published sequences that it has not copied yet, and copies that it has not yielded.
    #[must_use]
    pub fn lag(&self) -> u64 {
        let uncopied = match &self.source {
            Source::Stage(consumer) => consumer.lag(),
            Source::Tap(tap) => tap.lag(),
        };
        uncopied + self.copies.len() as u64
    }

    /// How many sequences a tap was moved over so far, because it lagged: see [`Tap::skipped`]. 0 of a stage.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        match &self.source {
            Source::Stage(_) => 0,
            Source::Tap(tap) => tap.skipped(),
        }
    }
}

// Events are moved out, never pinned.
impl<T> Unpin for EventStream<T> {}

impl<T: Clone + Sync> Stream for EventStream<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Self {
            source,
            copies,
            ended,
        } = &mut *self;
        loop {
            if let Some(copy) = copies.pop_front() {
                return Poll::Ready(Some(copy));
            }
            if ended.is_some() {
                return Poll::Ready(None);
            }
            if let Err(reason) = ready!(source.poll_copy(copies, context)) {
                *ended = Some(reason);
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.copies.len();
        (left, self.ended.as_ref().map(|_| left))
    }
}

impl<T: Clone + Sync> FusedStream for EventStream<T> {
    fn is_terminated(&self) -> bool {
        self.ended.is_some() && self.copies.is_empty()
    }
}

impl<T> fmt::Debug for EventStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source: &dyn fmt::Debug = match &self.source {
            Source::Stage(consumer) => consumer,
            Source::Tap(tap) => tap,
        };
        f.debug_struct("EventStream")
            .field("source", source)
            .field("copies", &self.copies.len())
            .field("ended", &self.ended)
            .finish()
    }
}
