//! Which lane is read next.
//!
//! Lanes that had something lately are *active*: they are looked at in turn, and each gives at most a batch a turn. A lane that had
//! nothing in [`IDLE_ROUNDS`] rounds in which others had something is *idle*: one idle lane is looked at in each round, and
//! one more for every [`EVENTS_A_PROBE`] events. So idle lanes cost a busy consumer next to nothing, and one that gets
//! an event is found as soon as each of the others has had one look. A consumer that finds nothing in the active lanes
//! *searches*: it looks at all lanes, and in between again at the active ones, which are likelier to get something.

use crate::consumer::{Batch, Consumer, Reader};
use crate::lanes::{Hub, Lane};
use crate::ring::barrier::{Readable, Stop};
use crate::ring::slots::Exclusive;
use crate::sync::{Arc, pause, step};
use crate::wait::Waiter;

/// A lane that gave nothing in so many rounds in which others did is idle; at least 1.
const IDLE_ROUNDS: u64 = if cfg!(loom) { 1 } else { 16 };
/// A busy consumer looks at one idle lane for so many events.
const EVENTS_A_PROBE: u64 = 64;
/// Between so many idle lanes a search looks at the active ones again.
const IDLE_AT_ONCE: usize = 8;

pub(super) struct Merge<T> {
    pub(super) hub: Arc<Hub<T>>,
    /// Every lane known, in the order in which they became so.
    lanes: Vec<Known<T>>,
    /// How far the table was looked through.
    seen: usize,
    /// Places in the table below `seen` where no lane was ready.
    missing: Vec<usize>,
    /// Lanes looked at in every round, and the others.
    active: Vec<usize>,
    idle: Vec<usize>,
    /// The next of `active`.
    turn: usize,
    /// One above the next of `idle`.
    probe: usize,
    /// Events since an idle lane was last looked at.
    unprobed: u64,
    /// How many rounds gave anything.
    rounds: u64,
    /// Whose batch was read last: it may have been forgotten.
    last: usize,
    round: Round,
}

struct Known<T> {
    consumer: Consumer<T, Exclusive>,
    /// In which round this lane last gave a batch, or became active.
    gave: u64,
}

/// What the active lanes gave in this round.
#[derive(Default)]
struct Round {
    /// Events in the largest batch.
    most: u64,
}

/// A lane, and what may be read from it.
pub(super) type Found = (usize, Readable);

impl<T> Merge<T> {
    pub(super) fn new(hub: Arc<Hub<T>>) -> Self {
        Self {
            hub,
            lanes: Vec::new(),
            seen: 0,
            missing: Vec::new(),
            active: Vec::new(),
            idle: Vec::new(),
            turn: 0,
            probe: 0,
            unprobed: 0,
            rounds: 0,
            last: 0,
            round: Round::default(),
        }
    }

    /// A batch that was forgotten with `mem::forget` is freed now.
    #[inline]
    pub(super) fn settle(&self) {
        if let Some(lane) = self.lanes.get(self.last) {
            lane.consumer.settle();
        }
    }

    /// What may be read next. `may_wait`: while events stream, it pauses at the end of a round that took all there was, so that
    /// producers get ahead of it.
    #[inline]
    pub(super) fn look(&mut self, may_wait: bool) -> Result<Found, Stop> {
        self.next_active(may_wait).map_or_else(|| self.search(), Ok)
    }

    /// Makes a batch of it.
    #[inline]
    pub(super) fn take(&mut self, (lane, readable): Found) -> Batch<'_, T, Exclusive> {
        let range = readable.range();
        let events = range.end - range.start;
        self.unprobed += events;
        self.round.most = self.round.most.max(events);
        self.last = lane;
        let lane = &mut self.lanes[lane];
        lane.gave = self.rounds;
        lane.consumer.take(readable)
    }

    /// What the next active lane that has anything gives: each is looked at once.
    #[inline]
    fn next_active(&mut self, may_wait: bool) -> Option<Found> {
        // the lane that gave the last batch stays active, since rounds without any do not count: so there is one, if there was one
        for _ in 0..self.active.len() {
            if self.turn >= self.active.len() {
                self.end_round(may_wait);
            }
            let lane = self.active[self.turn];
            let known = &self.lanes[lane];
            if let Some(readable) = known.consumer.look() {
                self.turn += 1;
                return Some((lane, readable));
            }
            if self.rounds - known.gave > IDLE_ROUNDS {
                self.active.swap_remove(self.turn);
                self.idle.push(lane);
            } else {
                self.turn += 1;
            }
        }
        None
    }

    fn end_round(&mut self, may_wait: bool) {
        self.turn = 0;
        let most = std::mem::take(&mut self.round).most;
        self.rounds += u64::from(most > 0);
        if self.seen != self.hub.lanes.len() {
            self.adopt();
        }
        let found = self.probe(1 + self.unprobed / EVENTS_A_PROBE);
        self.unprobed %= EVENTS_A_PROBE;
        let config = &self.hub.config;
        if may_wait && !found && most > 1 && most < config.batch_max as u64 {
            (0..config.tail_pauses).for_each(|_| pause());
        }
    }

    /// Looks at so many idle lanes, and makes those active that have something; whether there were any.
    fn probe(&mut self, lanes: u64) -> bool {
        let before = self.active.len();
        for _ in 0..lanes.min(self.idle.len() as u64) {
            // from the last to the first; lanes that a search took out may have left it beyond the end
            if self.probe == 0 || self.probe > self.idle.len() {
                self.probe = self.idle.len();
            }
            self.probe -= 1;
            if self.lanes[self.idle[self.probe]].consumer.look().is_some() {
                let lane = self.idle.swap_remove(self.probe);
                self.activate(lane);
            }
        }
        self.active.len() > before
    }

    fn activate(&mut self, lane: usize) {
        self.lanes[lane].gave = self.rounds;
        self.active.push(lane);
    }

    /// Looks at every lane there is.
    #[cold]
    #[inline(never)]
    fn search(&mut self) -> Result<Found, Stop> {
        // before the lanes: whatever was published before the end is then seen in them
        let ended = step("lanes_end_first") && self.hub.has_ended();
        if step("lanes_unadopted") {
            self.adopt();
        }
        let mut found = self.first_of(&self.active);
        let idle = if step("lanes_idle_unsearched") {
            &self.idle[..]
        } else {
            &[]
        };
        let mut idle = idle.chunks(IDLE_AT_ONCE);
        while found.is_none()
            && let Some(idle) = idle.next()
        {
            found = self.first_of(idle).or_else(|| self.first_of(&self.active));
        }
        let Some((lane, readable)) = found else {
            let ended = ended || (!step("lanes_end_first") && self.hub.has_ended());
            return Err(if ended {
                Stop::Drained
            } else {
                Stop::Empty(None)
            });
        };
        if let Some(at) = self.idle.iter().position(|&idle| idle == lane) {
            self.idle.swap_remove(at);
            self.activate(lane);
        } else if let Some(at) = self.active.iter().position(|&active| active == lane) {
            self.turn = at + 1;
        }
        Ok((lane, readable))
    }

    fn first_of(&self, lanes: &[usize]) -> Option<Found> {
        lanes
            .iter()
            .find_map(|&lane| Some((lane, self.lanes[lane].consumer.look()?)))
    }

    /// Gets to know lanes that were opened meanwhile.
    fn adopt(&mut self) {
        let there = self.hub.lanes.len();
        self.missing.extend(self.seen..there);
        self.seen = there;
        let Self {
            hub,
            lanes,
            missing,
            active,
            rounds,
            ..
        } = self;
        missing.retain(|&place| {
            let Some(lane) = hub.lanes.entry(place).get() else {
                return true; // whoever took the place is still making its lane
            };
            active.push(lanes.len());
            lanes.push(Known {
                consumer: read(hub, lane),
                gave: *rounds,
            });
            false
        });
    }

    /// How many published events are to be read.
    pub(super) fn lag(&self) -> u64 {
        let known = self
            .lanes
            .iter()
            .map(|lane| lane.consumer.lag())
            .sum::<u64>();
        let unknown = (self.missing.iter().copied())
            .chain(self.seen..self.hub.lanes.len())
            .filter_map(|place| self.hub.lanes.entry(place).get())
            .map(|lane| lane.ring.core.position())
            .sum::<u64>();
        known + unknown
    }
}

/// The only consumer of a lane, at its first event.
fn read<T>(hub: &Hub<T>, lane: &Lane<T>) -> Consumer<T, Exclusive> {
    let config = &hub.config;
    let reader = Reader::new(
        &lane.ring,
        &lane.signals,
        Box::default(),
        lane.entry,
        config.batch_max,
        0,
    );
    Consumer::new(reader, Waiter::new(&lane.signals, config.wait))
}

impl<T> Drop for Merge<T> {
    fn drop(&mut self) {
        if step("lanes_closed_last") {
            self.hub.abandon();
        }
        self.adopt(); // dropping its consumer closes a lane
        if !step("lanes_closed_last") {
            self.lanes.clear();
            self.hub.abandon();
        }
    }
}
