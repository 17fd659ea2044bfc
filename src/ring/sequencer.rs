//! What single and multiple producers have in common: claim, write, publish.

use crate::ring::lines::Marks;
use crate::ring::slots::{Events, WriteToken};
use crate::ring::walk::IterMut;
use crate::ring::{Core, Kind, Ring};
use std::ops::Range;
use std::time::Instant;

/// Why nothing was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is no room. `behind`: the cursor that holds producers back; `None`: readers came or went meanwhile, or nobody reads and another
    /// producer still writes a lap behind: look again.
    Full {
        behind: Option<usize>,
    },
    /// There is no room, since this tap holds it: until it goes on, or until then. `None`: as long as anybody waits.
    Held {
        tap: usize,
        until: Option<Instant>,
    },
    Closed,
}

/// Hands out sequences and publishes them. One value for each producer.
#[allow(private_interfaces, reason = "sealed: named by nobody outside")]
pub trait Sequencer: Sized {
    /// Of the rings that it is for. Whoever makes one checks that it gets such a ring, and hands it no other.
    #[doc(hidden)]
    const KIND: Kind;

    /// Whether others may claim sequences beside this one.
    const MULTI: bool = matches!(Self::KIND, Kind::Multi);

    /// Of the ring's slots.
    #[doc(hidden)]
    const MARKS: Marks = Self::KIND.marks();

    /// Proof that sequences may be claimed, or are.
    type Grant;

    #[doc(hidden)]
    fn new() -> Self;

    /// Claims one slot if room is known to be there without a look at any cursor.
    #[doc(hidden)]
    fn claim_one<'s, T>(&'s mut self, ring: &'s Ring<T>) -> Option<Claimed<'s, T, Self>>;

    /// Gets room for `count` events if it is known to be there without a look at any cursor.
    #[doc(hidden)]
    fn reserve_known(&mut self, core: &Core, count: u64) -> Option<Self::Grant>;

    /// Gets room for `most` events if there is, else for as many as there is, but at least `least`. Never waits.
    #[doc(hidden)]
    fn reserve<T>(&mut self, ring: &Ring<T>, least: u64, most: u64)
    -> Result<Self::Grant, Refused>;

    #[doc(hidden)]
    fn claim<'s, T>(&'s mut self, ring: &'s Ring<T>, grant: Self::Grant) -> Claimed<'s, T, Self>;

    /// Everything below `end` is published: comes before the marks, and after the last access to the slots, which a reader that goes by
    /// the position may be reading from now on.
    #[doc(hidden)]
    fn pass(&self, core: &Core, end: u64);

    /// What a claim that unwinds does with the sequences that it did not publish.
    #[doc(hidden)]
    fn abandon<T>(&self, core: &Core, token: &mut WriteToken<'_, T>);

    /// The last producer is gone: nothing more will be published.
    #[doc(hidden)]
    fn close(&self, core: &Core);
}

/// Slots of one claim: written through it, published by it, abandoned if it is dropped.
pub(crate) struct Claimed<'s, T, S: Sequencer> {
    sequencer: &'s S,
    core: &'s Core,
    token: WriteToken<'s, T>,
}

impl<'s, T, S: Sequencer> Claimed<'s, T, S> {
    #[inline(always)]
    pub(crate) fn new(sequencer: &'s S, core: &'s Core, token: WriteToken<'s, T>) -> Self {
        Self {
            sequencer,
            core,
            token,
        }
    }

    /// What is not yet published.
    #[inline(always)]
    pub(crate) fn range(&self) -> Range<u64> {
        self.token.range()
    }

    pub(crate) fn iter_mut(&mut self) -> IterMut<'_, T> {
        self.token.iter_mut()
    }

    /// Puts `event` into the only slot and publishes it; returns its sequence.
    #[inline(always)]
    pub(crate) fn put(&mut self, event: T) -> u64 {
        self.put_with(|slot| *slot = event)
    }

    /// Lets `write` edit the only slot and publishes it; returns its sequence.
    #[inline(always)]
    pub(crate) fn put_with(&mut self, write: impl FnOnce(&mut T)) -> u64 {
        let (sequencer, core) = (self.sequencer, self.core);
        self.token
            .publish_only(write, |end| sequencer.pass(core, end))
    }

    /// Puts `events` into the slots, in order, and publishes them; how many those were.
    #[inline(always)]
    pub(crate) fn fill(&mut self, events: &mut impl Events<T>) -> u64 {
        let (sequencer, core) = (self.sequencer, self.core);
        let start = self.token.range().start;
        self.token
            .fill(S::MARKS, events, |end| sequencer.pass(core, end));
        self.token.range().start - start
    }

    /// Publishes what is left.
    #[inline]
    pub(crate) fn publish(mut self) -> Range<u64> {
        let range = self.token.range();
        self.sequencer.pass(self.core, range.end);
        self.token.publish_as_they_are();
        range
    }
}

impl<T, S: Sequencer> Drop for Claimed<'_, T, S> {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.token.range().is_empty() {
            self.sequencer.abandon(self.core, &mut self.token);
        }
    }
}
