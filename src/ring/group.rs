//! Work sharing: the members of a group divide the events of one stage.
//!
//! `claimed` is the next sequence that nobody has taken. A member that wants `start..end` stores `held = start` *before* it
//! moves `claimed` from `start` to `end` by CAS; when it has finished, or waits, `held` is idle. So at any moment every event
//! below the group's *frontier*, the least of `claimed` and all `held`, is finished: a member that holds events has
//! said so before anybody can see `claimed` above them.
//!
//! Whoever computes the frontier reads `claimed` first, then the number of members, then each `held`: a member
//! whose claim is not in that `claimed` can only hold what is above it. The frontier can step back
//! (a member about to claim stores an old `start`), so readers keep the greatest value they have seen.
//!
//! A member that fails leaves `held` at the event and stops the group. The last member to leave writes the frontier,
//! with the retired bit, into the stage's cursor, which readers look at before they compute a frontier.

use crate::registry::Registry;
use crate::ring::cursor::Counters;
use crate::sync::{AtomicU64, AtomicUsize, Ordering, at, step};
use crossbeam_utils::CachePadded;
use std::ops::Range;

const IDLE: u64 = u64::MAX;

pub(crate) struct Group {
    claimed: CachePadded<AtomicU64>,
    members: Registry<CachePadded<Member>>,
    living: AtomicUsize,
}

pub(crate) struct Member {
    held: AtomicU64,
    pub(crate) counters: Counters,
}

impl Default for Member {
    fn default() -> Self {
        Self {
            held: AtomicU64::new(IDLE),
            counters: Counters::default(),
        }
    }
}

impl Member {
    /// Whether it holds events; for the member itself.
    pub(crate) fn holds(&self) -> bool {
        // relaxed: only the member writes it
        self.held.load(Ordering::Relaxed) != IDLE
    }
}

impl Group {
    pub(crate) fn new(position: u64) -> Self {
        Self {
            claimed: CachePadded::new(AtomicU64::new(position)),
            members: Registry::new(),
            living: AtomicUsize::new(0),
        }
    }

    /// A new member. The caller is, or makes, a living one: a group whose last member left stays ended.
    pub(crate) fn enter(&self) -> usize {
        // relaxed: the caller's own membership keeps the group alive, as a reference count's clone does
        self.living.fetch_add(1, Ordering::Relaxed);
        self.members.take()
    }

    pub(crate) fn member(&self, index: usize) -> &Member {
        self.members.entry(index)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().map(|member| &**member)
    }

    /// How many members there are.
    pub(crate) fn living(&self) -> u64 {
        // relaxed: a hint for dividing work
        self.living.load(Ordering::Relaxed) as u64
    }

    /// The next sequence that nobody has taken.
    #[inline]
    pub(crate) fn claimed(&self) -> u64 {
        // pairs: CLAIMED (claim)
        self.claimed.load(at("claimed_acquire", Ordering::Acquire))
    }

    /// Takes `range` for a member; when another was faster, the sequence that is next now. The member is idle then.
    #[inline]
    pub(crate) fn claim(&self, member: usize, range: Range<u64>) -> Result<(), u64> {
        let held = &self.member(member).held;
        if step("held_late") {
            // pairs: CLAIMED (frontier): ordered before the CAS, and Release, since the value before may be another start
            held.store(range.start, at("held_claim_release", Ordering::Release));
        }
        // pairs: CLAIMED (claimed, frontier)
        let (won, lost) = (at("claim_release", Ordering::AcqRel), Ordering::Acquire);
        let won = (self.claimed).compare_exchange(range.start, range.end, won, lost);
        if !step("held_late") {
            // the mutant's place for it
            held.store(range.start, Ordering::Relaxed); // relaxed: a mutant
        }
        won.map(drop).inspect_err(|_| self.release(member))
    }

    /// The member has finished what it held.
    #[inline]
    pub(crate) fn release(&self, member: usize) {
        // pairs: HELD (frontier): what the member did to its slots happens before
        self.member(member)
            .held
            .store(IDLE, at("held_idle_release", Ordering::Release));
    }

    /// The member has finished what it held below `position`, and never finishes that event.
    pub(crate) fn hold(&self, member: usize, position: u64) {
        // pairs: HELD (frontier)
        self.member(member)
            .held
            .store(position, at("hold_release", Ordering::Release));
    }

    /// Everything below is finished. May be lower than what an earlier call returned.
    pub(crate) fn frontier(&self) -> u64 {
        let early = if step("held_first") {
            None
        } else {
            Some(self.least_held(self.members.len()))
        };
        let count_early = if step("count_first") {
            None
        } else {
            Some(self.members.len())
        };
        let claimed = self.claimed();
        let least = early
            .unwrap_or_else(|| self.least_held(count_early.unwrap_or_else(|| self.members.len())));
        claimed.min(least)
    }

    fn least_held(&self, members: usize) -> u64 {
        (0..members)
            .map(|index| {
                // pairs: HELD (release, hold), CLAIMED (claim)
                self.member(index)
                    .held
                    .load(at("held_acquire", Ordering::Acquire))
            })
            .min()
            .unwrap_or(IDLE)
    }

    /// A member leaves; `keeps`: it leaves its `held` at an event that it never finishes. Returns the position at
    /// which the stage ends when it was the last.
    pub(crate) fn leave(&self, member: usize, keeps: bool) -> Option<u64> {
        if !keeps {
            self.release(member);
            self.members.give_back(member);
        }
        // pairs: LEAVE (the others' leave): the last one sees what all the others held
        (self
            .living
            .fetch_sub(1, at("leave_acqrel", Ordering::AcqRel))
            == 1)
            .then(|| self.frontier())
    }
}
