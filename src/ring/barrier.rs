//! A reader's barrier: how far may it go.
//!
//! Behind producers it looks at marks; behind other stages, at the least of their cursors. An upstream that ended early
//! stands at its last position for ever: readers behind it drain to there and end. It is never skipped, since behind it slots are
//! unpublished or still being edited.

use crate::ring::{Core, Ring};
use crate::sync::{pause, step};
use std::cell::Cell;
use std::ops::Range;

/// What a reader is gated on.
#[derive(Debug)]
pub(crate) enum Upstream {
    Producers,
    /// Entries of the cursor table; at least one.
    Stages(Box<[usize]>),
}

/// Why a reader may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nothing yet: `Some` entry of the table is behind, `None`: the producers.
    Empty(Option<usize>),
    /// Everything was delivered.
    Drained,
    Halted,
    /// This entry of the table ended early.
    Upstream(usize),
}

impl Stop {
    /// Whether nothing will come any more.
    pub(crate) fn is_end(self) -> bool {
        !matches!(self, Self::Empty(_))
    }
}

/// Proof that these sequences are published, and done by every upstream stage.
#[derive(Debug)]
pub(crate) struct Readable(Range<u64>);

impl Readable {
    #[inline]
    pub(crate) fn range(&self) -> Range<u64> {
        self.0.clone()
    }
}

#[derive(Debug)]
pub(crate) struct Barrier {
    upstream: Upstream,
    /// The greatest position that all upstream stages are known to have passed; a group's frontier can step back.
    reached: Cell<u64>,
    /// The last read took several events, and all there were.
    at_tail: Cell<bool>,
    tail_pauses: u32,
}

impl Barrier {
    pub(crate) fn new(upstream: Upstream, tail_pauses: u32) -> Self {
        Self {
            upstream,
            reached: Cell::new(0),
            at_tail: Cell::new(false),
            tail_pauses,
        }
    }

    /// While events stream, lets producers get ahead before it looks at the lines that they are writing: a reader at their heels
    /// takes each line away several times. A lone event is not kept waiting.
    #[inline(always)]
    pub(crate) fn keep_distance(&self) {
        if self.at_tail.replace(false) {
            (0..self.tail_pauses).for_each(|_| pause());
        }
    }

    /// How many sequences from `next` on a look will find, or some of them, where an idle reader spends its time: right behind the
    /// producers. Behind stages only a look can tell.
    #[inline(always)]
    pub(crate) fn glance<T>(&self, ring: &Ring<T>, next: u64) -> u64 {
        match self.upstream {
            Upstream::Producers => ring.slots.seem_published(next),
            Upstream::Stages(_) => 0,
        }
    }

    /// What may be read from `next` on, at most `most` sequences and never none.
    #[inline(always)]
    pub(crate) fn available<T>(
        &self,
        ring: &Ring<T>,
        next: u64,
        most: u64,
    ) -> Result<Readable, Stop> {
        if ring.core.is_halted() {
            return Err(Stop::Halted);
        }
        match &self.upstream {
            Upstream::Producers => {
                let count = ring.slots.published(next, most);
                if count == 0 {
                    return Err(idle(&ring.core, next, None, false));
                }
                self.at_tail.set(count > 1 && count < most);
                Ok(Readable(next..next + count))
            }
            Upstream::Stages(stages) => {
                if self.reached.get() <= next {
                    let (least, behind, retired) = least(&ring.core, stages);
                    self.reached.set(self.reached.get().max(least));
                    if self.reached.get() <= next {
                        return Err(idle(&ring.core, next, Some(behind), retired));
                    }
                }
                Ok(Readable(next..self.reached.get().min(next + most)))
            }
        }
    }

    /// What one of `members` may read from `next` on: a fair share of what is there, at most `most` sequences and never none.
    ///
    /// How much is there the producers' position says, which counts what they have only claimed too; it is read once
    /// something is there, so that an idle member does not pull their line away. Counting marks would look at the share
    /// of every other member as well, each time.
    #[inline]
    pub(crate) fn share<T>(
        &self,
        ring: &Ring<T>,
        next: u64,
        members: u64,
        most: u64,
    ) -> Result<Readable, Stop> {
        let first = self.available(ring, next, 1)?;
        let there = match &self.upstream {
            Upstream::Producers => ring.core.position(),
            Upstream::Stages(_) => self.reached.get(),
        }
        .saturating_sub(next);
        let share = (there / members).min(most);
        let found = if share > 1 {
            self.available(ring, next, share)?
        } else {
            first
        };
        self.at_tail
            .set(there > 1 && there < most && matches!(self.upstream, Upstream::Producers));
        Ok(found)
    }
}

/// The least position of `stages`, whose it is, and whether that one has ended.
fn least(core: &Core, stages: &[usize]) -> (u64, usize, bool) {
    let mut least = (u64::MAX, stages[0], false);
    for &index in stages {
        let snapshot = core.table.entry(index).snapshot();
        let skip = !step("barrier_skips_retired") && snapshot.is_retired();
        // of two at one position the one that ended decides: nothing will ever come past it
        let tie = snapshot.position() == least.0 && snapshot.is_retired();
        if (snapshot.position() < least.0 || tie) && !skip {
            least = (snapshot.position(), index, snapshot.is_retired());
        }
    }
    least
}

/// Why there is nothing at `next`: looked at after the upstream, so that an upstream that ended because all
/// was delivered is not mistaken for one that ended early.
#[cold]
fn idle(core: &Core, next: u64, behind: Option<usize>, retired: bool) -> Stop {
    match (core.closing(), behind) {
        _ if core.is_halted() => Stop::Halted,
        (Some(closing), _) if next >= closing => Stop::Drained,
        (_, Some(stage)) if retired => Stop::Upstream(stage),
        _ => Stop::Empty(behind),
    }
}
