//! A range of slots not yet published.

use crate::producer::{ProducerKind, Single};
use crate::ring::cursor::Counters;
use crate::ring::sequencer::{Claimed, Sequencer};
use crate::ring::walk::IterMut;
use crate::sequence::{Sequence, SequenceRange};
use crate::sync::step;
use crate::wait::context::Inside;
use crate::wait::signal::{Signal, Signals};
use std::fmt;
use std::ops::Range;

/// Consecutive slots that were claimed and are not yet published. They still hold the events that were last published in
/// them: edit them, or overwrite them.
///
/// Dropping it, also by a panic, publishes nothing: a single producer's sequences are used again, a multi-producer's are stepped
/// over by every reader. Forgetting it with `mem::forget` may stall a multi-producer bus until it is halted, and
/// its thread counts as holding it for ever: there the bus cannot be joined.
///
/// ```
/// let (mut tx, mut rx) = ringway::spsc::<u64>(8);
/// let mut claim = tx.claim(3)?;
/// for (number, slot) in claim.iter_mut().enumerate() {
///     *slot = number as u64;
/// }
/// assert_eq!(claim.publish().len(), 3);
/// assert!(rx.read()?.iter().eq(&[0, 1, 2]));
/// assert!(tx.claim(9).is_err()); // more than the ring holds
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It stays on the thread that claimed it:
///
/// ```compile_fail,E0277
/// let (mut tx, _rx) = ringway::mpsc::<u64>(8);
/// let claim = tx.claim(1).unwrap();
/// std::thread::scope(|scope| { scope.spawn(move || claim.publish()); });
/// ```
/// ```
/// let (mut tx, _rx) = ringway::mpsc::<u64>(8);
/// std::thread::scope(|scope| { scope.spawn(move || tx.claim(1).unwrap().publish()); });
/// ```
#[must_use = "a claim that is dropped publishes nothing"]
pub struct Claim<'p, T, K: ProducerKind = Single> {
    // the order of fields is the order of drops: abandon, then wake readers
    pub(super) claimed: Claimed<'p, T, K::Sequencer>,
    /// The sequence of the ring's position 0.
    pub(super) first: u64,
    pub(super) notifier: Notifier<'p>,
    /// In a multi-producer ring this thread is inside: another publish that waits might wait for this claim.
    pub(super) _inside: Option<Inside>,
}

impl<T, K: ProducerKind> Claim<'_, T, K> {
    /// How many slots.
    #[must_use]
    pub fn len(&self) -> usize {
        let range = self.claimed.range();
        (range.end - range.start) as usize
    }

    /// Never: a claim has at least one slot.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Their sequences.
    #[must_use]
    pub fn sequences(&self) -> SequenceRange {
        numbered(self.first, self.claimed.range())
    }

    /// Each slot, in order.
    pub fn iter_mut(&mut self) -> IterMut<'_, T> {
        self.claimed.iter_mut()
    }

    /// Lets `write` edit the only slot and publishes it.
    #[inline(always)]
    pub(super) fn put_with(mut self, write: impl FnOnce(&mut T)) -> Sequence {
        let sequence = self.claimed.put_with(write);
        self.notifier.count_one::<K>(sequence);
        Sequence::new(self.first + sequence)
    }

    /// Publishes all of them.
    pub fn publish(self) -> SequenceRange {
        let first = self.first;
        let range = self.claimed.publish();
        self.notifier
            .count_chunk(range.end - range.start, range.end);
        numbered(first, range)
    }
}

fn numbered(first: u64, range: Range<u64>) -> SequenceRange {
    SequenceRange::new(first + range.start..first + range.end)
}

impl<'c, T, K: ProducerKind> IntoIterator for &'c mut Claim<'_, T, K> {
    type Item = &'c mut T;
    type IntoIter = IterMut<'c, T>;

    fn into_iter(self) -> IterMut<'c, T> {
        self.iter_mut()
    }
}

impl<T, K: ProducerKind> fmt::Debug for Claim<'_, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("sequences", &self.sequences())
            .finish_non_exhaustive()
    }
}

/// Wakes readers when a claim has ended, published or abandoned.
pub(super) struct Notifier<'p> {
    pub(super) signals: &'p Signals,
    pub(super) counters: &'p Counters,
}

impl Notifier<'_> {
    /// One event was published. A single producer's are counted by its position, which is the ring's.
    #[inline(always)]
    pub(super) fn count_one<K: ProducerKind>(&self, sequence: u64) {
        if K::Sequencer::MULTI {
            self.counters.events.add(1);
            self.counters.position.set(sequence + 1);
        }
    }

    /// So many events below `position` were published together.
    pub(super) fn count_chunk(&self, events: u64, position: u64) {
        self.counters.count_batch(events);
        self.counters.position.set(position);
    }
}

impl Drop for Notifier<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if step("publish_unnotified") {
            self.signals.notify(Signal::PUBLISHED, self.counters);
        }
    }
}
