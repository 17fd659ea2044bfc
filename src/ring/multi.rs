//! Many producers: room is proven against a limit first, then claimed by CAS on the claim counter, so nothing is ever over-claimed.
//!
//! Each producer keeps its own limit: raising one that all share would be one more contended line. It also keeps what it last saw
//! in the claim counter, and claims from there without a look: a load between two locked instructions costs nearly as much as one of
//! them, and the CAS looks anyway. A claim that unwinds publishes its slots as abandoned, and every reader steps over
//! them. The closed bit stands in the claim counter, so a claim either is below the closing sequence or fails.
//!
//! A producer that loses twice in one claim stands back for a moment: whoever has the counter's line publishes many events before it
//! goes to another core, instead of one. What was measured stands in `docs/decisions/002-multi-producer.md`.

use crate::ring::cursor::{POSITION, Snapshot};
use crate::ring::lines::Place;
use crate::ring::sequencer::{Claimed, Refused, Sequencer};
use crate::ring::slots::WriteToken;
use crate::ring::{CLOSED, Core, Kind, Ring};
use crate::sync::{Ordering, pause, step};
use std::ops::Range;

/// How long a producer stands back that has lost a claim to others: some tens of hand-offs of a cache line.
const STAND_BACK_PAUSES: u32 = 64;

#[derive(Debug)]
pub struct MultiSequencer {
    /// The claim counter when this producer last claimed, or lost a claim: at most what it is now. With the closed bit.
    seen: u64,
    /// Sequences below have room; only grows.
    limit: u64,
    /// The line that a claim last began in: the next one needs no division to find its own.
    line: Place,
    /// The cursor that was least when the ring was last found full, and the limit came from.
    behind: Option<(usize, Snapshot)>,
}

/// Sequences that this producer alone has claimed.
#[derive(Debug)]
pub struct Ticket(Range<u64>);

impl MultiSequencer {
    /// Claims `head..end`, all of it below the limit, unless others have claimed since `head` was seen.
    #[inline(always)]
    fn claim_from(&mut self, core: &Core, head: u64, end: u64) -> Option<Ticket> {
        // pairs: HEAD (itself, close, closing, position)
        match core
            .head
            .compare_exchange_weak(head, end, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => {
                self.seen = end;
                Some(Ticket(head..end))
            }
            Err(now) => {
                self.seen = now;
                None
            }
        }
    }

    /// Reads the cursors again until there is room for `least` events above `head`.
    #[cold]
    fn refresh<T>(&mut self, ring: &Ring<T>, head: u64, least: u64) -> Result<(), Refused> {
        let core = &ring.core;
        let short = |limit: u64| head + least > limit;
        if let Some((index, seen)) = self.behind
            && short(self.limit)
            && core.table.entry(index).snapshot() == seen
        {
            return Err(Refused::Full {
                behind: Some(index),
            });
        }
        let own = if step("unread_late") {
            self.proven(ring, head)
        } else {
            head
        };
        let Some(mut found) = core.table.refresh(own) else {
            return if short(self.limit) {
                Err(Refused::Full { behind: None })
            } else {
                Ok(())
            };
        };
        let mut proven = if step("unread_late") {
            found.position
        } else {
            found.position.min(self.proven(ring, head)) // the mutant's place for it
        };
        let spare = if step("multi_gate") { 0 } else { 1 };
        self.limit = self.limit.max(proven + core.capacity() + spare);
        if short(self.limit) && found.is_tap() {
            self.behind = None;
            found = core.make_way(own, head, least)?;
            proven = found.position;
            self.limit = self.limit.max(proven + core.capacity());
        }
        if short(self.limit) {
            // unless others still write a lap behind, where nobody reads
            self.behind = (found.cursor).filter(|(_, seen)| seen.position() <= proven);
            return Err(Refused::Full {
                behind: self.behind.map(|(index, _)| index),
            });
        }
        self.behind = None;
        Ok(())
    }

    /// How far below `head` whoever wrote the slots is done, if no reader proves it: all that is below is published. Where the last reader
    /// closes the ring that is never asked. Where producers go on without, each looks at the marks itself, *before* the refresh's fence: so
    /// whoever joins behind the fence sees them too. Further back than the capacity below its limit it has done so already, and below
    /// `head` those have who claimed what is there.
    fn proven<T>(&self, ring: &Ring<T>, head: u64) -> u64 {
        if !ring.core.goes_on_unread() || !step("unread_unproven") {
            return head;
        }
        let known = self.limit.max(head).saturating_sub(ring.core.capacity());
        known + ring.slots.published(known, head.saturating_sub(known))
    }
}

#[allow(private_interfaces, reason = "sealed: named by nobody outside")]
impl Sequencer for MultiSequencer {
    const KIND: Kind = Kind::Multi;
    type Grant = Ticket;

    fn new() -> Self {
        Self {
            seen: 0,
            limit: 0,
            line: Place::NOWHERE,
            behind: None,
        }
    }

    #[inline(always)]
    fn claim_one<'s, T>(&'s mut self, ring: &'s Ring<T>) -> Option<Claimed<'s, T, Self>> {
        let ticket = self.reserve_known(&ring.core, 1)?;
        Some(self.claim(ring, ticket))
    }

    #[inline(always)]
    fn reserve_known(&mut self, core: &Core, count: u64) -> Option<Ticket> {
        let head = self.seen;
        // the closed bit is above every limit
        if head + count > self.limit || !step("multi_claim_by_store") {
            return None;
        }
        self.claim_from(core, head, head + count)
    }

    fn reserve<T>(&mut self, ring: &Ring<T>, least: u64, most: u64) -> Result<Ticket, Refused> {
        let core = &ring.core;
        if !step("multi_claim_by_store") {
            // pairs: HEAD; a mutant
            let head = core.head.load(Ordering::Acquire);
            self.refresh(ring, head, least)?;
            let end = (head + most).min(self.limit);
            core.head.swap(end, Ordering::AcqRel); // pairs: HEAD; a mutant
            return Ok(Ticket(head..end));
        }
        let mut lost = 0;
        loop {
            if self.seen & CLOSED == 0 && self.seen + most > self.limit {
                // pairs: HEAD (claim_from, close)
                self.seen = core.head.load(Ordering::Acquire);
            }
            let head = self.seen;
            if head & CLOSED != 0 {
                return Err(Refused::Closed);
            }
            if head + most > self.limit {
                self.refresh(ring, head, least)?;
            }
            let end = (head + most).min(self.limit);
            if let Some(ticket) = self.claim_from(core, head, end) {
                return Ok(ticket);
            }
            // the first loss only told what others did since the last claim
            lost += 1;
            if lost > 1 {
                (0..STAND_BACK_PAUSES).for_each(|_| pause());
            }
        }
    }

    #[inline(always)]
    fn claim<'s, T>(&'s mut self, ring: &'s Ring<T>, ticket: Ticket) -> Claimed<'s, T, Self> {
        let sequence = ticket.0.start;
        if !ring.slots.is_in(Self::MARKS, self.line, sequence) {
            self.line = if sequence == self.line.end() {
                // SAFETY: the ring is of this kind, and this is one of its lines: the sequence comes right after it.
                unsafe { ring.slots.begin_after(Self::MARKS, self.line) }
            } else {
                // SAFETY: as above.
                unsafe { ring.slots.begin(Self::MARKS, sequence) }
            };
        }
        // SAFETY: the ring is of this kind, and the place is that of the first. The CAS gave this range to this ticket alone, and
        // the ticket is used up. The range is below the limit, so every living reader's cursor has passed what the slots
        // held a lap ago (cursors were read with Acquire): those events had been published, so their writers are done
        // too. Readers that have left touch no slot; once none is left the counter is closed before the last cursor
        // reads as retired, so no claim rests on a limit without readers: unless producers go on without, who look at the
        // marks of those events themselves (`proven`). None reads a sequence of the range before its
        // mark is stored, after which this token touches its slot no more.
        let token = unsafe { WriteToken::mint(&ring.slots, Self::MARKS, self.line, ticket.0) };
        Claimed::new(self, &ring.core, token)
    }

    #[inline(always)]
    fn pass(&self, _: &Core, end: u64) {
        debug_assert!(end <= POSITION);
    }

    #[cold]
    fn abandon<T>(&self, core: &Core, token: &mut WriteToken<'_, T>) {
        if step("gap_unnoted") {
            core.note_gap();
        }
        token.abandon();
    }

    fn close(&self, core: &Core) {
        core.close();
    }
}
