//! A reader's barrier: how far may it go.
//!
//! Behind producers it looks at marks, and while events stream, at the producers' position first, which says how far it may go without
//! coming near them; of a single producer that is proof by itself, and no mark is read. Behind other stages it looks at the least of their
//! cursors. An upstream that ended early stands at its last position for ever: readers behind it drain to there and end. It is never skipped, since behind it slots are
//! unpublished or still being edited.

use crate::ring::{Core, Kind, Ring};
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
    /// The last read took several events, and all that it might.
    pub(super) at_tail: Cell<bool>,
    /// Where a reader of a stream stops, so as to stay behind producers, for whom it was the position a while ago, less the distance.
    pub(super) stay_below: Cell<u64>,
    /// It was so far behind then that it need not pause.
    pub(super) far: Cell<bool>,
    /// What the producers' position was then, until a share is taken: one look at their line is enough for both. 0: nobody has looked.
    position: Cell<u64>,
    distance: Distance,
}

/// What a reader of a stream keeps between itself and producers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Distance {
    /// So many pauses it makes before it looks where they are.
    pub(super) pauses: u32,
    /// So many of the last events it leaves alone then.
    pub(super) events: u64,
    /// With more in front of it than this it need not pause.
    pub(super) far: u64,
}

impl Distance {
    /// It keeps none.
    pub(crate) const NONE: Self = Self {
        pauses: 0,
        events: 0,
        far: 0,
    };

    /// So many bytes a reader's processor fetches ahead by itself, about.
    const FETCHED_AHEAD: usize = 1024;
    /// How many times the pauses behind one producer a reader makes behind many: each line that it takes away
    /// delays not one store but, through the locked instruction that comes next, the whole producer.
    const OF_MANY: u32 = 4;
    /// Which part of the ring that may take.
    const PART: u64 = if cfg!(loom) { 4 } else { 32 };

    /// So many pauses, or as many as fit a ring: a small one fills while its reader pauses.
    pub(crate) fn fitting(pauses: u32, capacity: u64) -> u32 {
        pauses.min(u32::try_from(capacity / 8).unwrap_or(u32::MAX))
    }

    /// At most what fits the ring.
    pub(crate) fn new<T>(ring: &Ring<T>, tail_pauses: u32) -> Self {
        let capacity = ring.core.capacity();
        let pauses = match ring.core.kind() {
            Kind::Single => tail_pauses,
            Kind::Multi => tail_pauses * Self::OF_MANY,
        };
        let events = if tail_pauses == 0 {
            0
        } else {
            ring.slots
                .events_in(Self::FETCHED_AHEAD)
                .min(capacity / Self::PART)
        };
        Self {
            pauses: Self::fitting(pauses, capacity),
            events,
            far: capacity / 4,
        }
    }
}

impl Barrier {
    pub(crate) fn new(upstream: Upstream, distance: Distance) -> Self {
        Self {
            upstream,
            reached: Cell::new(0),
            at_tail: Cell::new(false),
            stay_below: Cell::new(0),
            far: Cell::new(false),
            position: Cell::new(0),
            distance,
        }
    }

    /// While events stream, lets producers get ahead, and stays away from the lines that they are writing: a reader at their heels
    /// takes each line away several times, and its processor, which fetches ahead by itself, those that come next. Where the heels are
    /// the producers' position says. If they have not got ahead, the stream has ended, or is slow: then there is nothing to keep
    /// away from. A lone event is not kept waiting.
    #[inline(always)]
    pub(crate) fn keep_distance(&self, core: &Core, next: impl FnOnce() -> u64) {
        if self.at_tail.replace(false) {
            self.fall_behind(core, next());
        }
    }

    #[inline(never)]
    fn fall_behind(&self, core: &Core, next: u64) {
        let Distance {
            pauses,
            events,
            far,
        } = self.distance;
        if events == 0 {
            (0..pauses).for_each(|_| pause());
            return;
        }
        if !self.far.get() {
            (0..pauses).for_each(|_| pause());
        }
        let position = core.position();
        let end = position.saturating_sub(events);
        self.position.set(position);
        self.far.set(end > next + far);
        self.stay_below.set(end);
    }

    pub(crate) fn is_behind_producers(&self) -> bool {
        matches!(self.upstream, Upstream::Producers)
    }

    /// How many sequences from `next` on a look will find, or some of them, where an idle reader spends its time: right behind the
    /// producers. Behind stages only a look can tell.
    #[inline(always)]
    pub(crate) fn glance<T>(&self, ring: &Ring<T>, next: u64) -> u64 {
        ring.slots.seem_published(next)
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
                let end = self.stay_below.get();
                let allowed = if end > next {
                    most.min(end - next)
                } else {
                    most
                };
                let passed = end > next && ring.core.kind() == Kind::Single;
                let count = if passed {
                    allowed // its only producer has said so
                } else {
                    ring.slots.published(next, allowed)
                };
                if count == 0 {
                    return Err(idle(&ring.core, next, None, false));
                }
                self.at_tail
                    .set(count > 1 && (count < most || next + count == end));
                Ok(Readable(next..next + count))
            }
            Upstream::Stages(stages) => {
                let reached = self.reach(&ring.core, stages, next)?;
                Ok(Readable(next..reached.min(next + most)))
            }
        }
    }

    /// Whether nothing will come any more at `next`: a question, which changes nothing about the next read.
    pub(crate) fn has_ended<T>(&self, ring: &Ring<T>, next: u64) -> bool {
        let at_tail = self.at_tail.get();
        let found = self.available(ring, next, 1);
        self.at_tail.set(at_tail);
        found.is_err_and(Stop::is_end)
    }

    /// How far all of `stages` are: above `next`. By itself, so that what stands at each place that reads stays small.
    #[inline(never)]
    fn reach(&self, core: &Core, stages: &[usize], next: u64) -> Result<u64, Stop> {
        if self.reached.get() <= next {
            let (least, behind, retired) = least(core, stages);
            self.reached.set(self.reached.get().max(least));
            if self.reached.get() <= next {
                return Err(idle(core, next, Some(behind), retired));
            }
        }
        Ok(self.reached.get())
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
        let position = self.position.take();
        let first = self.available(ring, next, 1)?;
        let there = match &self.upstream {
            Upstream::Producers if position > next => position,
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
