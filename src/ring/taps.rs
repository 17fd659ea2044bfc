//! Taps: readers that copy events, and that producers wait for no longer than a copy takes.
//!
//! A tap's cursor counts among those that producers look at, as a stage's does: events at or above it are not overwritten. But the word is
//! *idle* or *reading*, and an idle one may be changed by others:
//!
//! * **The tap** looks how far it may read, exchanges the word it saw for the same with the *reading* bit, copies a chunk, and stores the new
//!   position without the bit (Release), also when a copy panics. When the exchange fails somebody has moved the cursor: it looks
//!   again. When it succeeds nobody had since the look, so what was found is still there.
//! * **A producer** that needs the room exchanges an idle word for a position further on. When that succeeds the tap has not begun to
//!   read: its own exchange will fail. When it fails, or the bit is set, the tap is reading: the producer's claim is refused, and
//!   it waits for the bit to be cleared as it would for a stage.
//!
//! So for each event there is one moment, in the order of changes of one word, at which either the tap is sure of it or the producer. What the
//! tap read happens before the cleared bit is seen (CURSOR), as with any reader.
//!
//! **How far.** To what the claim needs and a quarter of the ring more, so that a tap which lags is moved once in a quarter of a lap; never past
//! the claim position that the producer has read: no cursor exceeds it. The quarter only where every stage is ahead by it: a tap that comes
//! after the slowest one is not lagging, and would be moved past what it has yet to get. Only if every stage leaves the room: where a stage
//! is in the way too the producer waits for that one, and taps keep what they have. Everything that a moved tap's slots held a lap ago
//! was published then: stages have passed what the claim needs, and the tap is moved less than a lap further.
//!
//! **All or none.** Before any is moved or ended, all that are in the way are asked. While one of them is reading, or has time left, the claim is
//! refused, and the others keep what they have too. The times of those that are evicted run at once: so producers wait for the longest of them,
//! not for their sum. A tap that begins to read between the question and the move refuses later: some may have been moved for nothing then.
//!
//! **A tap that reads a journal** is not moved but *detached*: the exchange sets the retired bit, so that producers pass over the word from
//! then on, and the tap finds it. Only the tap changes a retired word: it joins again by swapping a position in, then as every reader does. All
//! that it had not read is in the journal, whose stage is one of those that leave the room.
//!
//! **Who is woken.** A producer sleeps on a tap's word only while the bit is set, or, where the tap is evicted, until its time is up. Whoever
//! clears the bit looks for sleepers. A move or an eviction lets only producers go on that do not sleep on it, or are awake by themselves.

use crate::ring::cursor::{Lag, POSITION, Snapshot};
use crate::ring::patience::Due;
use crate::ring::sequencer::Refused;
use crate::ring::table::{Entry, Least};
use crate::ring::{Core, Ring};
use crate::sync::{fence, step};
use std::sync::Arc as PlainArc;
use std::time::{Duration, Instant};

/// How often a producer tries to change a word in one look, while others change it.
const TRIES: usize = 2;

impl<T> Ring<T> {
    /// Adds a tap to a ring that runs, by the protocol of every reader that [joins](super::join); `None` when the table is full. It does not
    /// count: nothing that readers prove rests on a tap. The caller wakes whoever waits for it.
    pub(crate) fn join_tap(&self, lag: Lag, after: Duration) -> Option<usize> {
        let core = &self.core;
        debug_assert!(core.table.is_joinable(), "a refresh would not see it");
        let first = self.published_from(0);
        let index = core.table.insert_tap(first, lag, after)?;
        self.raise_joined(index, first, lag);
        Some(index)
    }

    /// The same for one that was detached, which has kept its entry.
    pub(crate) fn rejoin_tap(&self, index: usize) {
        let core = &self.core;
        let first = self.published_from(0);
        let cursor = &core.table.entry(index).cursor;
        if step("tap_rejoined_by_max") {
            cursor.insert_tap(first, Lag::Detaches);
        } else {
            cursor.raise_tap(first, Lag::Detaches);
        }
        core.table.count(index);
        self.raise_joined(index, first, Lag::Detaches);
    }

    /// The second step of a join. Producers may have moved the cursor on already, or ended it: what is further stays.
    fn raise_joined(&self, index: usize, first: u64, lag: Lag) {
        fence("join_fence"); // pairs: JOIN-FENCE (Table::refresh)
        if step("tap_join_unrepeated") {
            let cursor = &self.core.table.entry(index).cursor;
            cursor.raise_tap(self.published_from(first), lag);
        }
    }
}

impl Core {
    /// Adds a tap at the position where producers are; as [`add_reader`](Core::add_reader), but nobody counts it: it keeps no bus open.
    pub(crate) fn add_tap(&self, lag: Lag, after: Duration) -> (usize, bool) {
        match self.table.insert_tap(self.position(), lag, after) {
            Some(index) => (index, true),
            None => (self.table.insert_beyond(self.position(), false), false),
        }
    }

    /// There is no room for `count` events from `head` on, and a tap has the least cursor: moves idle taps out of the way, if that helps. What is
    /// least then. `own`: how far producers themselves prove that slots may be written again, less the capacity.
    #[cold]
    #[inline(never)]
    pub(super) fn make_way(&self, own: u64, head: u64, count: u64) -> Result<Least, Refused> {
        let need = head + count - self.capacity();
        let stages = self.table.least(own);
        if stages.position < need {
            let behind = stages.cursor.map(|(index, seen)| (index, seen.position()));
            let behind = behind.filter(|(_, position)| *position < need);
            return Err(Refused::Full {
                behind: behind.map(|(index, _)| index),
            });
        }
        if stages.cursor.is_none() && !self.goes_on_unread() {
            return Err(Refused::Full { behind: None }); // the ring is closed
        }
        let quarter = self.capacity() / 4;
        let spare = stages.position - need >= quarter;
        let to = (need + if spare { quarter } else { 0 }).min(head);
        debug_assert!(need <= to && to <= POSITION);
        if let Some(refused) = refusal(self.table.used(), need) {
            return Err(refused);
        }
        for (index, entry) in self.table.used().iter().enumerate() {
            give_way(index, entry, need, to)?;
        }
        // the frontier of a group can step back, and readers come: then another look will tell
        (self.table.refresh(own))
            .filter(|found| found.position >= need)
            .ok_or(Refused::Full { behind: None })
    }
}

/// What keeps a tap that stands below `need` where it is.
enum Hold {
    /// Nothing.
    No,
    Reads,
    /// Its time, until then.
    Waits(Option<Instant>),
}

/// `None`: it is no tap, or not in the way. Starts the clock of one that is evicted.
fn hold_of(entry: &Entry, seen: Snapshot, need: u64) -> Option<(Lag, Hold)> {
    let lag = seen.lag().filter(|_| seen.position() < need)?;
    let due = match lag {
        Lag::Moves | Lag::Detaches => Due::Now,
        Lag::Evicts => entry.patience.due(),
    };
    let hold = match due {
        _ if seen.is_reading() && step("tap_bit_ignored") => Hold::Reads,
        Due::At(until) => Hold::Waits(until),
        Due::Now => Hold::No,
    };
    Some((lag, hold))
}

/// Why not all taps give way now: one whose time is up last, or one that reads. Every one of them is asked.
fn refusal(entries: &[PlainArc<Entry>], need: u64) -> Option<Refused> {
    let (mut reads, mut waits) = (None, None);
    for (index, entry) in entries.iter().enumerate() {
        match hold_of(entry, entry.cursor.load(), need) {
            Some((_, Hold::Reads)) => reads = Some(index),
            Some((_, Hold::Waits(until)))
                if waits.is_none_or(|(_, last)| is_later(until, last)) =>
            {
                waits = Some((index, until));
            }
            _ => {}
        }
    }
    let held = waits.map(|(tap, until)| Refused::Held { tap, until });
    held.or(reads.map(|index| Refused::Full {
        behind: Some(index),
    }))
}

/// `None` is never.
fn is_later(one: Option<Instant>, other: Option<Instant>) -> bool {
    other.is_some_and(|other| one.is_none_or(|one| one > other))
}

/// If this is a tap that stands below `need`: moves it to `to`, or ends it.
fn give_way(index: usize, entry: &Entry, need: u64, to: u64) -> Result<(), Refused> {
    let cursor = &entry.cursor;
    for _ in 0..TRIES {
        let seen = cursor.load();
        let changed = match hold_of(entry, seen, need) {
            None => return Ok(()),
            Some((_, Hold::Reads)) => {
                return Err(Refused::Full {
                    behind: Some(index),
                });
            }
            Some((_, Hold::Waits(until))) => return Err(Refused::Held { tap: index, until }),
            Some((Lag::Moves, Hold::No)) => cursor.move_tap(seen, to),
            Some((Lag::Evicts | Lag::Detaches, Hold::No)) => cursor.end_tap(seen),
        };
        if changed {
            return Ok(());
        }
    }
    Err(Refused::Full { behind: None })
}
