//! The writing end: [`Producer`], and [`Claim`], a range of slots not yet published.

mod claim;
mod durable;
mod future;
mod kind;
mod publish;

pub use claim::Claim;
pub use future::PublishFuture;
pub use kind::{Multi, ProducerKind, Single};

use crate::config::Wait;
use crate::error::{
    BatchError, ClaimError, Error, ErrorKind, PublishDeadlineError, PublishError, TryPublishError,
};
use crate::ring::Ring;
use crate::ring::cursor::Counters;
use crate::ring::multi::MultiSequencer;
use crate::ring::sequencer::Sequencer;
use crate::ring::slots::{Copied, Yielded};
use crate::sequence::Sequence;
use crate::sync::{Arc, thread_number};
use crate::wait::Waiter;
use crate::wait::durability::Durability;
use crate::wait::signal::Signals;
use crossbeam_utils::CachePadded;
use publish::{ITERATED_MAX, Until};
use std::fmt;
use std::time::Instant;

/// The writing end of a bus.
///
/// Each verb comes in three flavours: `try_x` never waits and never spins on a peer, `x` waits while the ring is full
/// (as its [`Wait`] says), `x_deadline` waits no longer than that; and [`publish_or_drop`](Self::publish_or_drop) counts what
/// finds no room. So what a producer does about back-pressure is
/// the verb that it calls. Waiting ends with `Closed` when the bus is closed or halted, or when nobody is left to
/// read; what was refused is handed back.
///
/// The bus closes when its last producer is dropped: stages deliver what was published, then end.
///
/// **Cost**, when there is room: one store of the event, one of the position, which stays in the producer's cache, and one Release store,
/// for small events in the same cache line ([`Multi`]: a compare-and-swap, and no position); a full fence more while readers park now and
/// then (see [`Wait`]). About 30 instructions an event published by itself, 12 in batches ([`Multi`]: 35 and 16).
///
/// ```
/// let (mut tx, mut rx) = ringway::spsc::<u64>(4);
/// tx.publish(1)?;
/// tx.publish_with(|slot| *slot = 2)?;
/// tx.publish_batch([3, 4]).unwrap();
/// assert!(tx.try_publish(5).is_err()); // full
/// drop(tx);
/// assert_eq!(rx.read().unwrap().iter().sum::<u64>(), 10);
/// assert_eq!(rx.read().unwrap_err(), ringway::Ended::Drained);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// One producer serves one thread at a time; slots cannot be kept after their publication:
///
/// ```compile_fail,E0521
/// let (mut tx, _rx) = ringway::spsc::<u64>(4);
/// let mut kept = None;
/// tx.publish_with(|slot| kept = Some(slot)).unwrap();
/// ```
/// ```
/// let (mut tx, _rx) = ringway::spsc::<u64>(4);
/// let mut kept = None;
/// tx.publish_with(|slot| kept = Some(*slot)).unwrap();
/// assert_eq!(kept, Some(0));
/// ```
/// ```compile_fail,E0599
/// let (tx, _rx) = ringway::spsc::<u64>(4);
/// let other = tx.clone();
/// ```
/// ```
/// let (tx, _rx) = ringway::mpsc::<u64>(4);
/// let other = tx.clone();
/// ```
pub struct Producer<T, K: ProducerKind = Single> {
    sequencer: K::Sequencer,
    ring: Arc<Ring<T>>,
    waiter: Waiter,
    /// Where the readers sleep; a lane's reader sleeps for all lanes at once.
    readers: Arc<Signals>,
    counters: std::sync::Arc<CachePadded<Counters>>,
    /// The thread that used it last.
    user: u64,
    /// Readers look for sleeping producers.
    may_park: bool,
    /// The sequence of the ring's position 0.
    first: u64,
    /// Of the bus's journal.
    durability: Option<Durability>,
}

/// No thread has this number.
const NOBODY: u64 = u64::MAX;

impl<T, K: ProducerKind> Producer<T, K> {
    /// The first producer of a ring; every other one is its clone.
    pub(crate) fn new(ring: &Arc<Ring<T>>, signals: &Arc<Signals>, wait: Wait) -> Self {
        Self::apart(ring, signals, signals, wait)
    }

    /// The same where producers and readers sleep in different places.
    ///
    /// # Panics
    /// When the ring is for other producers: a sequencer relies on what its ring's marks are.
    pub(crate) fn apart(
        ring: &Arc<Ring<T>>,
        signals: &Arc<Signals>,
        readers: &Arc<Signals>,
        wait: Wait,
    ) -> Self {
        let producer = Self::counted(ring, signals, readers, wait, ring.core.add_producer());
        ring.core.note_user(thread_number());
        producer
    }

    /// One that `counters` stand for: it counts among those that live.
    fn counted(
        ring: &Arc<Ring<T>>,
        signals: &Arc<Signals>,
        readers: &Arc<Signals>,
        wait: Wait,
        counters: std::sync::Arc<CachePadded<Counters>>,
    ) -> Self {
        assert!(
            ring.core.kind() == K::Sequencer::KIND,
            "a ring for other producers"
        );
        Self {
            sequencer: K::Sequencer::new(),
            ring: ring.clone(),
            waiter: Waiter::new(signals, wait),
            readers: readers.clone(),
            counters,
            user: NOBODY,
            may_park: wait.parks(),
            first: ring.core.numbering().first(),
            durability: None,
        }
    }

    /// How many events the ring holds: the configured capacity, rounded up to a power of two.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.ring.core.capacity() as usize
    }

    /// How many events could be published now without waiting. Reads every cursor; others may take the room meanwhile.
    #[must_use]
    pub fn free(&self) -> usize {
        let core = &self.ring.core;
        let position = core.position();
        core.capacity()
            .saturating_sub(position.saturating_sub(core.table.holding(position).position))
            as usize
    }

    /// Whether publishing fails from now on: the bus was closed or halted, or nobody is left to read.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        !self.ring.core.is_open()
    }

    /// Changes how this producer waits.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) for a field outside its range, and for a strategy that parks on a bus whose
    /// producers were declared, by [`BusConfig::wait`](crate::BusConfig::wait) or
    /// [`Topology::producer_wait`](crate::Topology::producer_wait), never to park: its readers do not look for sleepers.
    pub fn set_wait(&mut self, wait: Wait) -> Result<(), Error> {
        wait.validate("wait")?;
        if wait.parks() && !self.may_park {
            let text = format!(
                "wait is {wait:?}: producers of this bus were declared never to park; choose BusySpin, Yield or Backoff, or declare a strategy that parks with Topology::producer_wait"
            );
            return Err(Error::new(ErrorKind::InvalidConfig, text));
        }
        self.waiter.set_strategy(wait);
        Ok(())
    }

    /// Publishes an event; waits while the ring is full.
    ///
    /// # Errors
    /// [`PublishError`], with the event.
    #[inline]
    pub fn publish(&mut self, event: T) -> Result<Sequence, PublishError<T>> {
        self.put(event, Until::Forever)
            .map_err(|(event, reason)| match reason {
                ClaimError::WouldDeadlock => PublishError::WouldDeadlock(event),
                _ => PublishError::Closed(event),
            })
    }

    /// Publishes an event if there is room; never waits for any.
    ///
    /// Where several producers claim at once, one that loses its claim twice in a call stands back for 64 pauses (a microsecond or
    /// two), each time, before it tries again; so do all verbs. Whenever one loses another one has won.
    ///
    /// # Errors
    /// [`TryPublishError`], with the event.
    #[inline]
    pub fn try_publish(&mut self, event: T) -> Result<Sequence, TryPublishError<T>> {
        self.put(event, Until::Now)
            .map_err(|(event, reason)| match reason {
                ClaimError::Full => TryPublishError::Full(event),
                _ => TryPublishError::Closed(event),
            })
    }

    /// Publishes an event if there is room, else drops it; never waits for any. `None`: it was dropped, and counted, in
    /// [`dropped`](Self::dropped) and in the statistics of the bus. What [`try_publish`](Self::try_publish) says of its cost
    /// holds here too.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringway::spsc::<u64>(2);
    /// let published = (0..5).filter_map(|reading| tx.publish_or_drop(reading).unwrap()).count();
    /// assert_eq!((published, tx.dropped()), (2, 3));
    /// assert!(rx.read()?.iter().eq(&[0, 1])); // what is there stays: new events are dropped, not old ones
    /// # Ok::<(), ringway::Ended>(())
    /// ```
    ///
    /// # Errors
    /// [`PublishError::Closed`], with the event, which then does not count as dropped.
    #[inline]
    pub fn publish_or_drop(&mut self, event: T) -> Result<Option<Sequence>, PublishError<T>> {
        match self.put(event, Until::Now) {
            Ok(sequence) => Ok(Some(sequence)),
            Err((event, ClaimError::Full)) => {
                self.counters.dropped.add(1); // first: the event's own drop may panic
                drop(event);
                Ok(None)
            }
            Err((event, _)) => Err(PublishError::Closed(event)),
        }
    }

    /// How many events [`publish_or_drop`](Self::publish_or_drop) of this producer has dropped; a clone counts its own.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.counters.dropped.get()
    }

    /// Publishes an event; waits while the ring is full, up to `deadline`.
    ///
    /// # Errors
    /// [`PublishDeadlineError`], with the event.
    #[inline]
    pub fn publish_deadline(
        &mut self,
        event: T,
        deadline: Instant,
    ) -> Result<Sequence, PublishDeadlineError<T>> {
        self.put(event, Until::Deadline(deadline))
            .map_err(|(event, reason)| deadline_error(event, reason))
    }

    /// Publishes an event that `write` makes from the old content of its slot, in place: nothing is moved or dropped. Waits while
    /// the ring is full.
    ///
    /// If `write` panics nothing is published, and nobody waits for it.
    ///
    /// # Errors
    /// [`PublishError`]; `write` was not called.
    #[inline]
    pub fn publish_with(
        &mut self,
        write: impl FnOnce(&mut T),
    ) -> Result<Sequence, PublishError<()>> {
        self.put_with(write, Until::Forever)
            .map_err(|reason| match reason {
                ClaimError::WouldDeadlock => PublishError::WouldDeadlock(()),
                _ => PublishError::Closed(()),
            })
    }

    /// [`publish_with`](Self::publish_with) if there is room; what [`try_publish`](Self::try_publish) says of its cost holds here too.
    ///
    /// # Errors
    /// [`TryPublishError`]; `write` was not called.
    #[inline]
    pub fn try_publish_with(
        &mut self,
        write: impl FnOnce(&mut T),
    ) -> Result<Sequence, TryPublishError<()>> {
        self.put_with(write, Until::Now)
            .map_err(|reason| match reason {
                ClaimError::Full => TryPublishError::Full(()),
                _ => TryPublishError::Closed(()),
            })
    }

    /// [`publish_with`](Self::publish_with), waiting no longer than `deadline`.
    ///
    /// # Errors
    /// [`PublishDeadlineError`]; `write` was not called.
    #[inline]
    pub fn publish_with_deadline(
        &mut self,
        write: impl FnOnce(&mut T),
        deadline: Instant,
    ) -> Result<Sequence, PublishDeadlineError<()>> {
        self.put_with(write, Until::Deadline(deadline))
            .map_err(|reason| deadline_error((), reason))
    }

    /// Publishes every event of an iterator, in order, in chunks of at most 64; waits while the ring is full.
    /// Each chunk is consecutive; with other producers about, the whole is not. An event is taken from
    /// the iterator only once it has a slot. Readers that sleep are woken after each chunk, so the iterator must not wait for
    /// what a reader does with its events. Returns how many were published.
    ///
    /// The iterator must know its length: a range of `u64` does not, one of `usize` or `u32` does.
    ///
    /// If the iterator panics, what it had yielded is published.
    ///
    /// # Errors
    /// [`BatchError`] when the bus closes meanwhile; the rest is still in the iterator (pass `&mut iterator` to keep it).
    #[inline]
    pub fn publish_batch<I>(&mut self, events: I) -> Result<usize, BatchError>
    where
        I: IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    {
        self.publish_all(Yielded(events.into_iter()), ITERATED_MAX, Until::Forever)
    }

    /// Publishes as many events of an iterator as there is room for now. Returns how many. What [`try_publish`](Self::try_publish)
    /// says of its cost holds for each chunk.
    ///
    /// # Errors
    /// [`BatchError`] when the bus is closed.
    #[inline]
    pub fn try_publish_batch<I>(&mut self, events: I) -> Result<usize, BatchError>
    where
        I: IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    {
        self.publish_all(Yielded(events.into_iter()), ITERATED_MAX, Until::Now)
    }

    /// [`publish_batch`](Self::publish_batch), waiting no longer than `deadline`.
    ///
    /// # Errors
    /// [`BatchError`] when the bus closes or the deadline passes meanwhile.
    #[inline]
    pub fn publish_batch_deadline<I>(
        &mut self,
        events: I,
        deadline: Instant,
    ) -> Result<usize, BatchError>
    where
        I: IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    {
        self.publish_all(
            Yielded(events.into_iter()),
            ITERATED_MAX,
            Until::Deadline(deadline),
        )
    }

    /// [`publish_batch`](Self::publish_batch) for a slice, in chunks as large as there is room for.
    ///
    /// # Errors
    /// [`BatchError`] when the bus closes meanwhile: the rest is `events[published..]`.
    #[inline]
    pub fn publish_slice(&mut self, events: &[T]) -> Result<usize, BatchError>
    where
        T: Copy,
    {
        self.publish_all(Copied(events), u64::MAX, Until::Forever)
    }

    /// [`try_publish_batch`](Self::try_publish_batch) for a slice.
    ///
    /// # Errors
    /// [`BatchError`] when the bus is closed.
    #[inline]
    pub fn try_publish_slice(&mut self, events: &[T]) -> Result<usize, BatchError>
    where
        T: Copy,
    {
        self.publish_all(Copied(events), u64::MAX, Until::Now)
    }

    /// [`publish_slice`](Self::publish_slice), waiting no longer than `deadline`.
    ///
    /// # Errors
    /// [`BatchError`] when the bus closes or the deadline passes meanwhile.
    #[inline]
    pub fn publish_slice_deadline(
        &mut self,
        events: &[T],
        deadline: Instant,
    ) -> Result<usize, BatchError>
    where
        T: Copy,
    {
        self.publish_all(Copied(events), u64::MAX, Until::Deadline(deadline))
    }

    /// Claims `count` consecutive slots, to be edited in place and published together; waits until there is room for all.
    ///
    /// # Errors
    /// [`ClaimError`]; [`TooLarge`](ClaimError::TooLarge) for none, or more than the ring holds.
    #[inline]
    pub fn claim(&mut self, count: usize) -> Result<Claim<'_, T, K>, ClaimError> {
        self.claim_until(count, Until::Forever)
    }

    /// Claims `count` consecutive slots if there is room for all; what [`try_publish`](Self::try_publish) says of its cost holds here
    /// too.
    ///
    /// # Errors
    /// [`ClaimError`].
    #[inline]
    pub fn try_claim(&mut self, count: usize) -> Result<Claim<'_, T, K>, ClaimError> {
        self.claim_until(count, Until::Now)
    }

    /// [`claim`](Self::claim), waiting no longer than `deadline`.
    ///
    /// # Errors
    /// [`ClaimError`].
    #[inline]
    pub fn claim_deadline(
        &mut self,
        count: usize,
        deadline: Instant,
    ) -> Result<Claim<'_, T, K>, ClaimError> {
        self.claim_until(count, Until::Deadline(deadline))
    }

    /// Publishes an event; the task sleeps while the ring is full. Works with any executor. Dropping the future before it is
    /// ready publishes nothing and drops the event.
    ///
    /// It never answers `WouldDeadlock`: a handler of this bus that blocks on it while the ring is full waits for itself.
    ///
    /// On a bus whose producers never park ([`BusySpin`](Wait::BusySpin), [`Yield`](Wait::Yield), [`Backoff`](Wait::Backoff)) nobody
    /// looks for sleepers, so the task asks to be polled again at once. So it does everywhere while a tap that is
    /// [evicted](crate::OnLag::Evict) has time left and keeps the ring full: nobody wakes a task at a time.
    ///
    /// # Errors
    /// The future's output: [`PublishError::Closed`] with the event.
    pub fn publish_async(&mut self, event: T) -> PublishFuture<'_, T, K> {
        PublishFuture {
            producer: self,
            event: Some(event),
        }
    }
}

fn deadline_error<E>(event: E, reason: ClaimError) -> PublishDeadlineError<E> {
    match reason {
        ClaimError::TimedOut => PublishDeadlineError::TimedOut(event),
        ClaimError::WouldDeadlock => PublishDeadlineError::WouldDeadlock(event),
        _ => PublishDeadlineError::Closed(event),
    }
}

impl<T> Producer<T, Multi> {
    /// Another one for a ring of many producers, for somebody who has none; `wait`: what was declared for all of them. `None`: the last
    /// one is gone, and the ring closes.
    pub(crate) fn join(ring: &Arc<Ring<T>>, signals: &Arc<Signals>, wait: Wait) -> Option<Self> {
        let counters = ring.core.join_producers()?;
        Some(Self::counted(ring, signals, signals, wait, counters))
    }
}

impl<T> Clone for Producer<T, Multi> {
    fn clone(&self) -> Self {
        Self {
            sequencer: MultiSequencer::new(),
            ring: self.ring.clone(),
            waiter: self.waiter.another(),
            readers: self.readers.clone(),
            counters: self.ring.core.add_producer(),
            user: NOBODY,
            may_park: self.may_park,
            first: self.first,
            durability: self.durability.clone(),
        }
    }
}

impl<T, K: ProducerKind> Drop for Producer<T, K> {
    fn drop(&mut self) {
        if self.ring.core.drop_producer(&self.counters) {
            self.sequencer.close(&self.ring.core);
            self.tell_closed();
        }
    }
}

impl<T, K: ProducerKind> fmt::Debug for Producer<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("ring", &self.ring)
            .field("is_closed", &self.is_closed())
            .finish()
    }
}
