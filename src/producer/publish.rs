//! How a producer gets room, and fills it.

use crate::error::{BatchError, ClaimError};
use crate::producer::Producer;
use crate::producer::claim::{Claim, Notifier};
use crate::producer::durable::make_room;
use crate::producer::kind::{ProducerKind, sealed};
use crate::ring::Ring;
use crate::ring::cursor::Counters;
use crate::ring::sequencer::{Claimed, Refused, Sequencer};
use crate::ring::slots::Events;
use crate::sequence::Sequence;
use crate::sync::{thread_mark, thread_number};
use crate::wait::Look;
use crate::wait::context::{Inside, is_inside};
use crate::wait::durability::Durability;
use crate::wait::signal::{Signal, Signals};
use std::mem::needs_drop;
use std::time::Instant;

/// The most events of an iterator in one chunk: what it yields is the user's code, which other producers, whose sequences
/// come later, and sleeping readers wait for.
pub(super) const ITERATED_MAX: u64 = 64;

/// How long a call may wait.
#[derive(Clone, Copy)]
pub(super) enum Until {
    Now,
    Forever,
    Deadline(Instant),
}

type Grant<K> = <<K as sealed::Sealed>::Sequencer as Sequencer>::Grant;

impl<T, K: ProducerKind> Producer<T, K> {
    #[inline(always)]
    pub(super) fn reserve(
        &mut self,
        least: u64,
        most: u64,
        until: Until,
    ) -> Result<Grant<K>, ClaimError> {
        match self.reserve_known(most) {
            Some(grant) => Ok(grant),
            None => self.reserve_slowly(least, most, until),
        }
    }

    #[inline(always)]
    fn reserve_known(&mut self, count: u64) -> Option<Grant<K>> {
        self.note_thread();
        self.sequencer.reserve_known(&self.ring.core, count)
    }

    /// A bus that is shut down must know which thread its single producer is used by.
    #[inline(always)]
    pub(super) fn note_thread(&mut self) {
        if !K::Sequencer::MULTI && self.user != thread_mark() {
            self.note_user();
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn note_user(&mut self) {
        self.user = thread_number();
        self.ring.core.note_user(self.user);
    }

    #[cold]
    #[inline(never)]
    pub(super) fn reserve_slowly(
        &mut self,
        least: u64,
        most: u64,
        until: Until,
    ) -> Result<Grant<K>, ClaimError> {
        let deadline = match (self.sequencer.reserve(&self.ring, least, most), until) {
            (Ok(grant), _) => return Ok(grant),
            (Err(Refused::Closed), _) => {
                self.tell_sealed();
                return Err(ClaimError::Closed);
            }
            (_, Until::Now) => {
                make_room(&self.durability, &self.ring.core);
                return Err(ClaimError::Full);
            }
            (_, Until::Forever) => None,
            (_, Until::Deadline(deadline)) => Some(deadline),
        };
        if is_inside(self.ring.core.id()) {
            return Err(ClaimError::WouldDeadlock);
        }
        let found = self.wait_for_room(least, most, deadline);
        if matches!(found, Err(ClaimError::Closed)) {
            self.tell_sealed();
        }
        found
    }

    /// Waits for room. Where a tap keeps it, that has a time too: it is asked for when it is up, since nobody wakes this producer then.
    fn wait_for_room(
        &mut self,
        least: u64,
        most: u64,
        deadline: Option<Instant>,
    ) -> Result<Grant<K>, ClaimError> {
        let Self {
            sequencer,
            ring,
            waiter,
            counters,
            durability,
            ..
        } = self;
        let mut held = None;
        loop {
            let at = deadline.into_iter().chain(held).min();
            let look = || look_for_room(sequencer, ring, durability, least, most, held);
            match waiter.wait(at, counters, look) {
                Some(Room::Granted(grant)) => return Ok(grant),
                Some(Room::Closed) => return Err(ClaimError::Closed),
                Some(Room::HeldUntil(until)) => held = Some(until),
                None if at == deadline => return Err(ClaimError::TimedOut),
                None => held = None,
            }
        }
    }

    /// A single producer has just fixed the closing sequence: readers that sleep must see it. Of several producers none does:
    /// whoever closed the bus has woken everybody.
    pub(super) fn tell_sealed(&self) {
        if !K::Sequencer::MULTI {
            self.tell_closed();
        }
    }

    pub(super) fn tell_closed(&self) {
        self.readers.notify_all(&self.counters);
    }

    /// Two ways to the same end: a slow one would keep the fast one's values in memory. Neither takes the event's address, for then it
    /// would be written to the stack by words, and read back by vectors, which a processor can do only once its earlier stores are
    /// done, those that wait for a line of the ring too.
    #[inline(always)]
    pub(super) fn put(&mut self, event: T, until: Until) -> Result<Sequence, (T, ClaimError)> {
        self.note_thread();
        if let Some(claimed) = self.sequencer.claim_one(&self.ring) {
            let sequence = put_one::<T, K>(
                claimed,
                &self.ring,
                &self.readers,
                &self.counters,
                self.first,
                event,
            );
            return Ok(sequence);
        }
        match self.claim_slowly(until) {
            Ok(claim) => Ok(claim.put_with(|slot| *slot = event)),
            Err(reason) => Err((event, reason)),
        }
    }

    #[cold]
    #[inline(never)]
    fn claim_slowly(&mut self, until: Until) -> Result<Claim<'_, T, K>, ClaimError> {
        let grant = self.reserve_slowly(1, 1, until)?;
        Ok(self.begin(grant))
    }

    #[inline(always)]
    pub(super) fn fill_one(&mut self, grant: Grant<K>, event: T) -> Sequence {
        let claimed = self.sequencer.claim(&self.ring, grant);
        put_one::<T, K>(
            claimed,
            &self.ring,
            &self.readers,
            &self.counters,
            self.first,
            event,
        )
    }

    #[inline(always)]
    pub(super) fn put_with(
        &mut self,
        write: impl FnOnce(&mut T),
        until: Until,
    ) -> Result<Sequence, ClaimError> {
        self.note_thread();
        if let Some(claimed) = self.sequencer.claim_one(&self.ring) {
            let claim = wrap::<T, K>(
                claimed,
                &self.ring,
                &self.readers,
                &self.counters,
                self.first,
            );
            return Ok(claim.put_with(write));
        }
        let grant = self.reserve_slowly(1, 1, until)?;
        Ok(self.begin(grant).put_with(write))
    }

    #[inline]
    pub(super) fn publish_all(
        &mut self,
        mut events: impl Events<T>,
        chunk_max: u64,
        until: Until,
    ) -> Result<usize, BatchError> {
        let mut published = 0;
        loop {
            let most = (events.left() as u64)
                .min(chunk_max)
                .min(self.ring.core.capacity());
            if most == 0 {
                return Ok(published);
            }
            let grant = match self.reserve(1, most, until) {
                Ok(grant) => grant,
                Err(ClaimError::Full) => return Ok(published),
                Err(reason) => return Err(BatchError { published, reason }),
            };
            let mut claim = self.begin(grant);
            let room = claim.len() as u64;
            let done = claim.claimed.fill(&mut events);
            claim
                .notifier
                .count_chunk(done, claim.claimed.range().start);
            published += done as usize;
            if done < room {
                return Ok(published); // the iterator was shorter than it said
            }
        }
    }

    #[inline]
    pub(super) fn claim_until(
        &mut self,
        count: usize,
        until: Until,
    ) -> Result<Claim<'_, T, K>, ClaimError> {
        let capacity = self.capacity();
        if !(1..=capacity).contains(&count) {
            return Err(ClaimError::TooLarge { count, capacity });
        }
        let grant = self.reserve(count as u64, count as u64, until)?;
        Ok(self.begin(grant))
    }

    /// While the claim lives the caller may do anything, such as publish through a clone.
    #[inline(always)]
    pub(super) fn begin(&mut self, grant: Grant<K>) -> Claim<'_, T, K> {
        let claimed = self.sequencer.claim(&self.ring, grant);
        wrap(
            claimed,
            &self.ring,
            &self.readers,
            &self.counters,
            self.first,
        )
    }
}

#[inline(always)]
fn wrap<'p, T, K: ProducerKind>(
    claimed: Claimed<'p, T, K::Sequencer>,
    ring: &Ring<T>,
    readers: &'p Signals,
    counters: &'p Counters,
    first: u64,
) -> Claim<'p, T, K> {
    Claim {
        claimed,
        first,
        notifier: Notifier {
            signals: readers,
            counters,
        },
        _inside: K::Sequencer::MULTI.then(|| Inside::enter(ring.core.id())),
    }
}

/// What a [`Claim`] of one slot would do, without one: a claim that is dropped by a call stands in memory, and each store to it is
/// one that the next claim's locked instruction waits for.
#[inline(always)]
fn put_one<T, K: ProducerKind>(
    claimed: Claimed<'_, T, K::Sequencer>,
    ring: &Ring<T>,
    readers: &Signals,
    counters: &Counters,
    first: u64,
    event: T,
) -> Sequence {
    // dropped in the opposite order: abandon if the drop of the old event panics, wake readers, be outside again
    let _inside = (K::Sequencer::MULTI && needs_drop::<T>()).then(|| Inside::enter(ring.core.id()));
    let notifier = Notifier {
        signals: readers,
        counters,
    };
    let mut claimed = claimed;
    let sequence = claimed.put(event);
    notifier.count_one::<K>(sequence);
    Sequence::new(first + sequence)
}

/// What ends a wait for room.
pub(super) enum Room<G> {
    Granted(G),
    Closed,
    /// A tap keeps it, until then.
    HeldUntil(Instant),
}

/// `held`: until when a tap keeps the room, if whoever asks knows that.
pub(super) fn look_for_room<T, S: Sequencer>(
    sequencer: &mut S,
    ring: &Ring<T>,
    durability: &Option<Durability>,
    least: u64,
    most: u64,
    held: Option<Instant>,
) -> Look<Room<S::Grant>> {
    match sequencer.reserve(ring, least, most) {
        Ok(grant) => Ok(Room::Granted(grant)),
        Err(Refused::Closed) => Ok(Room::Closed),
        Err(Refused::Held { tap, until }) => {
            make_room(durability, &ring.core);
            match until {
                Some(until) if held != Some(until) => Ok(Room::HeldUntil(until)),
                _ => Err(Some(Signal::cursor(tap))),
            }
        }
        Err(Refused::Full { behind }) => {
            make_room(durability, &ring.core);
            Err(behind.map(Signal::cursor))
        }
    }
}
