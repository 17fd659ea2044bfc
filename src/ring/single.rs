//! One producer: a claim is a local counter against a cached limit, publishing is one Release store in the event's line.
//!
//! The published position also stands in `head`, raised between the last write and the mark: a reader that follows a stream reads up to
//! it, without a look at marks. That one looks once in a while, and nobody polls the line: whoever waits for an event waits at its mark. A
//! claim that unwinds is simply not published: its sequences are used again.

use crate::ring::cursor::Snapshot;
use crate::ring::lines::Place;
use crate::ring::sequencer::{Claimed, Refused, Sequencer};
use crate::ring::slots::{Slots, WriteToken};
use crate::ring::{Core, Kind, Ring};
use crate::sync::{Ordering, at};
use std::ops::Range;

/// The next sequence stands in `head` alone: each store more that a publication makes is one less that can wait, behind a
/// line on its way from the reader's core, for its own line to come.
#[derive(Debug)]
pub struct SingleSequencer {
    /// Sequences below have room; only grows.
    limit: u64,
    /// The line that was last begun for a single event, and how far such events may go in it: never above the limit.
    line: Place,
    line_limit: u64,
    /// The cursor that was least when the ring was last found full.
    behind: Option<(usize, Snapshot)>,
}

/// Sequences from the next one on that are below the limit.
#[derive(Debug)]
pub struct Room(Range<u64>);

impl SingleSequencer {
    /// How many sequences from `next` on are known to have room. None where this producer took a ring over that others had used: it
    /// starts above its limit, which it has not asked for yet.
    fn room(&self, next: u64) -> u64 {
        self.limit.saturating_sub(next)
    }

    /// Reads the cursors again; the room there is then, at least `least`.
    #[cold]
    fn refresh(&mut self, core: &Core, least: u64, most: u64) -> Result<Room, Refused> {
        let next = core.own_position();
        if let Some((index, seen)) = self.behind
            && self.room(next) < least
            && core.table.entry(index).snapshot() == seen
        {
            return Err(Refused::Full {
                behind: Some(index),
            });
        }
        let Some(mut found) = core.table.refresh(next) else {
            let room = self.room(next);
            return if room < least {
                Err(Refused::Full { behind: None })
            } else {
                Ok(Room(next..next + room.min(most)))
            };
        };
        // the frontier of a group can step back; what was proven once stays true
        self.limit = self.limit.max(found.position + core.capacity());
        let mut room = self.room(next);
        if room < least && found.is_tap() {
            self.behind = None;
            found = core.make_way(next, next, least)?;
            self.limit = self.limit.max(found.position + core.capacity());
            room = self.room(next);
        }
        if room < least {
            self.behind = found.cursor;
            return Err(Refused::Full {
                behind: found.cursor.map(|(index, _)| index),
            });
        }
        self.behind = None;
        Ok(Room(next..next + room.min(most)))
    }

    /// Goes on to the line of `next`, if there is room in it: single events then need no division until they have filled it.
    /// By itself, so that what stands at each place that publishes stays small.
    #[inline(never)]
    fn turn<T>(&mut self, slots: &Slots<T>, next: u64) -> bool {
        if next >= self.limit {
            return false;
        }
        self.line = if next == self.line.end() {
            // SAFETY: the slots are those of a ring of this kind, and this is one of its lines: `next` comes right after it.
            unsafe { slots.begin_after(Self::MARKS, self.line) }
        } else {
            // SAFETY: as above.
            unsafe { slots.begin(Self::MARKS, next) }
        };
        self.line_limit = self.limit.min(self.line.end());
        true
    }

    /// The bus is closing: nothing more will be published.
    #[cold]
    fn answer(&self, core: &Core) -> Refused {
        core.seal(core.own_position());
        Refused::Closed
    }
}

#[allow(private_interfaces, reason = "sealed: named by nobody outside")]
impl Sequencer for SingleSequencer {
    const KIND: Kind = Kind::Single;
    type Grant = Room;

    fn new() -> Self {
        Self {
            limit: 0,
            line: Place::NOWHERE,
            line_limit: 0,
            behind: None,
        }
    }

    #[inline(always)]
    fn claim_one<'s, T>(&'s mut self, ring: &'s Ring<T>) -> Option<Claimed<'s, T, Self>> {
        let next = ring.core.own_head(); // once closed above every limit
        if !ring.core.is_open() || (next >= self.line_limit && !self.turn(&ring.slots, next)) {
            return None;
        }
        // SAFETY: as in `claim`. `next` is in the line that was begun last: it is below that line's end, and only grows.
        let token =
            unsafe { WriteToken::mint(&ring.slots, Self::MARKS, self.line, next..next + 1) };
        Some(Claimed::new(self, &ring.core, token))
    }

    #[inline(always)]
    fn reserve_known(&mut self, core: &Core, count: u64) -> Option<Room> {
        let next = core.own_head(); // once closed above every limit
        (core.is_open() && next + count <= self.limit).then_some(Room(next..next + count))
    }

    fn reserve<T>(&mut self, ring: &Ring<T>, least: u64, most: u64) -> Result<Room, Refused> {
        let core = &ring.core;
        if !core.is_open() {
            return Err(self.answer(core));
        }
        self.reserve_known(core, most)
            .map_or_else(|| self.refresh(core, least, most), Ok)
    }

    #[inline(always)]
    fn claim<'s, T>(&'s mut self, ring: &'s Ring<T>, room: Room) -> Claimed<'s, T, Self> {
        let Room(range) = room;
        assert!(range.start == ring.core.own_head(), "room is used at once");
        // SAFETY: as in `turn`.
        let place = unsafe { ring.slots.begin(Self::MARKS, range.start) };
        // SAFETY: the marks of a single-producer ring are words, and the place is that of the first. This producer is the only one, and
        // the claim borrows it mutably, so no other write token lives. Below the limit every living reader's cursor has
        // passed what the slots held a lap ago (the limit is the least cursor plus the capacity, and cursors were read
        // with Acquire), readers that have left touch no slot, and none reads a sequence of `range` before it
        // is passed or marked, after which this token touches its slot no more (`Sequencer::pass`).
        let token = unsafe { WriteToken::mint(&ring.slots, Self::MARKS, place, range) };
        Claimed::new(self, &ring.core, token)
    }

    #[inline(always)]
    fn pass(&self, core: &Core, end: u64) {
        // pairs: PASSED (position)
        core.head
            .store(end, at("passed_release", Ordering::Release));
    }

    fn abandon<T>(&self, _: &Core, _: &mut WriteToken<'_, T>) {}

    fn close(&self, core: &Core) {
        core.seal(core.own_position());
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_producer_that_takes_a_ring_over_knows_of_no_room_before_it_has_looked() {
        assert_eq!(SingleSequencer::new().room(3), 0);
    }
}
