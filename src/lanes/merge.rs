//! Which lane is read next.
//!
//! Lanes that had something lately are *active*: they are looked at in turn, and each gives at most a batch a turn. A lane that had
//! nothing in [`IDLE_ROUNDS`] rounds in which others had something is *idle*: one idle lane is looked at in each round, and
//! one more for every [`EVENTS_A_PROBE`] events. So idle lanes cost a busy consumer next to nothing, and one that gets
//! an event is found as soon as each of the others has had one look. A consumer that finds nothing in the active lanes
//! *searches*: it looks at all lanes, and in between again at the active ones, which are likelier to get something.

use crate::consumer::{Batch, Consumer, Reader};
use crate::error::{Ended, TryReadError};
use crate::lanes::{Hub, Lane};
use crate::ring::barrier::{Distance, Readable};
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
    next_probe: usize,
    /// Events since an idle lane was last looked at.
    unprobed: u64,
    /// How many rounds gave anything.
    rounds: u64,
    /// Whose batch was read last: it may have been forgotten.
    last: usize,
    /// Events in the largest batch of this round.
    most: u64,
    /// How many pauses let producers get ahead: at most what fits a lane, as a small one fills meanwhile.
    pauses: u32,
}

struct Known<T> {
    consumer: Consumer<T, Exclusive>,
    /// In which round this lane last gave a batch, or became known.
    gave: u64,
}

/// A lane, and what may be read from it.
pub(super) type Found = (usize, Readable);

impl<T> Merge<T> {
    pub(super) fn new(hub: Arc<Hub<T>>) -> Self {
        let config = &hub.config;
        let pauses = Distance::fitting(config.tail_pauses, config.capacity as u64);
        Self {
            hub,
            lanes: Vec::new(),
            seen: 0,
            missing: Vec::new(),
            active: Vec::new(),
            idle: Vec::new(),
            turn: 0,
            next_probe: 0,
            unprobed: 0,
            rounds: 0,
            last: 0,
            most: 0,
            pauses,
        }
    }

    /// A batch that was forgotten with `mem::forget` is freed now.
    #[inline]
    pub(super) fn free_forgotten(&self) {
        if let Some(lane) = self.lanes.get(self.last) {
            lane.consumer.free_forgotten();
        }
    }

    /// What may be read next. `may_wait`: while events stream, it pauses at the end of a round that took all there was, so that
    /// producers get ahead of it.
    #[inline]
    pub(super) fn look(&mut self, may_wait: bool) -> Result<Found, TryReadError> {
        self.next_active(may_wait).map_or_else(|| self.search(), Ok)
    }

    /// Makes a batch of it.
    #[inline]
    pub(super) fn take(&mut self, (lane, readable): Found) -> Batch<'_, T, Exclusive> {
        let range = readable.range();
        let events = range.end - range.start;
        self.unprobed += events;
        self.most = self.most.max(events);
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
        let most = std::mem::take(&mut self.most);
        self.rounds += u64::from(most > 0);
        if self.seen != self.hub.lanes.len() || !self.missing.is_empty() {
            self.adopt();
        }
        let found = self.probe(1 + self.unprobed / EVENTS_A_PROBE);
        self.unprobed %= EVENTS_A_PROBE;
        if may_wait && !found && most > 1 && most < self.hub.config.batch_max as u64 {
            (0..self.pauses).for_each(|_| pause());
        }
    }

    /// Looks at so many idle lanes, and makes those active that have something; whether there were any.
    fn probe(&mut self, lanes: u64) -> bool {
        let before = self.active.len();
        for _ in 0..lanes.min(self.idle.len() as u64) {
            // from the last to the first; lanes that a search took out may have left it beyond the end
            if self.next_probe == 0 || self.next_probe > self.idle.len() {
                self.next_probe = self.idle.len();
            }
            self.next_probe -= 1;
            let lane = self.idle[self.next_probe];
            if self.lanes[lane].consumer.look().is_some() {
                self.idle.swap_remove(self.next_probe);
                self.active.push(lane);
            }
        }
        self.active.len() > before
    }

    /// Looks at every lane there is.
    #[cold]
    #[inline(never)]
    fn search(&mut self) -> Result<Found, TryReadError> {
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
                TryReadError::Ended(Ended::Drained)
            } else {
                TryReadError::Empty
            });
        };
        if let Some(at) = self.idle.iter().position(|&idle| idle == lane) {
            self.idle.swap_remove(at);
            self.active.push(lane);
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
                consumer: consumer_of(hub, lane),
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
fn consumer_of<T>(hub: &Hub<T>, lane: &Lane<T>) -> Consumer<T, Exclusive> {
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::config::BusConfig;
    use crate::lanes::LaneProducer;
    use crate::producer::{Producer, Single};

    /// Lanes with their consumer's side; lane 0 is the one that is busy.
    struct Lanes {
        producers: Vec<LaneProducer<u64>>,
        merge: Merge<u64>,
    }

    impl Lanes {
        fn new(count: usize) -> Self {
            let config = BusConfig {
                capacity: 256,
                batch_max: 256,
                ..BusConfig::default()
            };
            let hub = Arc::new(Hub::new(config, u64::default).expect("a valid configuration"));
            let open = |_| LaneProducer::open(&hub).expect("memory for a lane");
            Self {
                producers: (0..count).map(open).collect(),
                merge: Merge::new(hub.clone()),
            }
        }

        /// The same; all but the first are idle.
        fn idle(count: usize) -> Self {
            let mut lanes = Self::new(count);
            lanes.until_idle(count - 1);
            lanes
        }

        /// Reads of the first lane until so many are idle; how many rounds that took.
        fn until_idle(&mut self, count: usize) -> u64 {
            let before = self.merge.rounds;
            for _ in 0..3 * IDLE_ROUNDS {
                if self.merge.idle.len() == count {
                    return self.merge.rounds - before;
                }
                self.round(1);
            }
            panic!("idle lanes are {:?}", self.merge.idle);
        }

        fn publish(&mut self, lane: usize) {
            self.producers[lane].publish(lane as u64).expect("open");
        }

        /// Whose events are read next, and how many.
        fn read(&mut self) -> Option<(usize, usize)> {
            let found = self.merge.look(false).ok()?;
            Some((found.0, self.merge.take(found).len()))
        }

        /// What is read from the first lane's batch of so many events up to its next one, without that.
        fn round(&mut self, events: usize) -> Vec<usize> {
            self.producers[0]
                .publish_batch((0..events).map(|_| 0))
                .expect("open");
            let mut others = Vec::new();
            for _ in 0..=self.producers.len() {
                match self.read().expect("the first lane has some") {
                    (0, read) => {
                        assert_eq!(read, events);
                        return others;
                    }
                    (lane, _) => others.push(lane),
                }
            }
            panic!("the first lane was passed over: {others:?}");
        }
    }

    /// The producer of the lane at a place that was taken before.
    fn make(hub: &Hub<u64>, seat: usize) -> Producer<u64, Single> {
        let lane = hub.open(seat).expect("memory for a lane");
        Producer::apart(&lane.ring, &lane.signals, &hub.signals, hub.config.wait)
    }

    #[test]
    fn a_lane_falls_idle_after_so_many_rounds_without_anything() {
        let mut lanes = Lanes::new(3);
        lanes.publish(1);
        lanes.round(1);
        lanes.until_idle(2);
        assert_eq!(lanes.merge.idle, [1, 2]);
        assert_eq!(lanes.merge.active, [0]);
        // the one after that was under way when this was seen
        assert_eq!(lanes.merge.rounds, IDLE_ROUNDS + 1 + 1);
    }

    #[test]
    fn rounds_that_give_nothing_make_no_lane_idle() {
        let mut lanes = Lanes::new(3);
        for _ in 0..3 * IDLE_ROUNDS {
            assert_eq!(lanes.read(), None);
        }
        assert_eq!((lanes.merge.rounds, lanes.merge.idle.len()), (0, 0));
    }

    #[test]
    fn each_round_finds_one_idle_lane_wherever_the_probe_stands() {
        for idle in 1..6 {
            for probe in 0..2 * idle + 2 {
                let mut lanes = Lanes::idle(idle + 1);
                lanes.merge.next_probe = probe;
                (1..=idle).for_each(|lane| lanes.publish(lane));
                let mut found = Vec::new();
                lanes.round(1); // the probe comes after the first lane's batch
                for _ in 0..idle {
                    let now = lanes.round(1);
                    assert_eq!(now.len(), 1, "{idle} idle, the probe at {probe}");
                    found.extend(now);
                }
                found.sort_unstable();
                assert_eq!(found, (1..=idle).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_probe_more_for_so_many_events_none_of_which_is_counted_twice() {
        let mut lanes = Lanes::idle(9);
        lanes.merge.unprobed = 0;
        let mut expected = 0;
        for events in [1, 63, 64, 40, 40, 40, 200, 1, 255, 128] {
            let before = lanes.merge.next_probe;
            expected += events as u64;
            lanes.round(events);
            assert_eq!(lanes.read(), None, "which ends the round");
            // one at the end of the round before, which gave nothing
            let probes = 1 + 1 + expected / EVENTS_A_PROBE;
            expected %= EVENTS_A_PROBE;
            let moved = (before + 16 - lanes.merge.next_probe) as u64;
            assert_eq!(moved % 8, probes % 8, "{events} events");
        }
    }

    #[test]
    fn an_idle_lane_that_had_something_is_active_as_long_as_any_other() {
        let mut lanes = Lanes::idle(3);
        (1..3).for_each(|lane| lanes.publish(lane));
        (0..3).for_each(|_| drop(lanes.round(1)));
        assert_eq!(lanes.merge.idle, []);
        assert!((IDLE_ROUNDS..IDLE_ROUNDS + 2).contains(&lanes.until_idle(2)));
    }

    #[test]
    fn a_search_finds_any_lane() {
        let count = 2 * IDLE_AT_ONCE + 2;
        for lane in 0..count {
            let mut lanes = Lanes::idle(count);
            lanes.publish(lane);
            assert_eq!(lanes.read(), Some((lane, 1)));
            assert!(lanes.merge.active.contains(&lane) && !lanes.merge.idle.contains(&lane));
            assert_eq!(lanes.read(), None);
            assert_eq!(
                lanes.merge.active.len() + lanes.merge.idle.len(),
                count,
                "each lane is one or the other"
            );
        }
    }

    #[test]
    fn after_a_search_it_is_the_next_lanes_turn() {
        let mut lanes = Lanes::new(3);
        assert_eq!(lanes.read(), None);
        (0..3).for_each(|lane| lanes.publish(lane));
        let found = lanes.merge.search().unwrap();
        assert_eq!(found.0, 0);
        drop(lanes.merge.take(found));
        lanes.publish(0);
        let read: Vec<_> = (0..3).map(|_| lanes.read().unwrap().0).collect();
        assert_eq!(read, [1, 2, 0]);
    }

    #[test]
    fn pauses_fit_a_lane() {
        for (capacity, tail_pauses, pauses) in [
            (1, 64, 0),
            (64, 64, 8),
            (256, 20, 20),
            (1 << 16, 4096, 4096),
        ] {
            let config = BusConfig {
                capacity,
                tail_pauses,
                ..BusConfig::default()
            };
            let hub = Hub::new(config, u64::default).expect("a valid configuration");
            assert_eq!(Merge::new(Arc::new(hub)).pauses, pauses);
        }
    }

    #[test]
    fn a_probe_tells_whether_it_found_any() {
        let mut lanes = Lanes::idle(4);
        assert!(!lanes.merge.probe(3));
        lanes.publish(2);
        assert!(lanes.merge.probe(3));
        assert_eq!(lanes.merge.idle.len(), 2);
    }

    #[test]
    fn a_lane_opened_while_another_is_busy_is_as_active_as_any() {
        let mut lanes = Lanes::new(1);
        (0..2 * IDLE_ROUNDS).for_each(|_| drop(lanes.round(1)));
        let hub = lanes.merge.hub.clone();
        lanes.producers.push(LaneProducer::open(&hub).unwrap());
        lanes.round(1); // the round that was under way
        assert_eq!(lanes.merge.active, [0, 1]);
        assert!((IDLE_ROUNDS..IDLE_ROUNDS + 3).contains(&lanes.until_idle(1)));
    }

    #[test]
    fn a_lane_that_was_being_made_when_its_place_was_seen_is_found_while_another_is_busy() {
        let mut lanes = Lanes::new(1);
        let hub = lanes.merge.hub.clone();
        let seat = hub.lanes.take(); // somebody is making a lane there
        (0..3).for_each(|_| drop(lanes.round(1)));
        assert_eq!(lanes.merge.missing, [seat]);
        make(&hub, seat).publish(1).expect("open");
        // the round that was under way, and the next
        let others: Vec<_> = (0..2).flat_map(|_| lanes.round(1)).collect();
        assert_eq!(others, [1]);
        assert_eq!(lanes.merge.missing, []);
    }

    #[test]
    fn a_forgotten_batch_of_any_lane_is_freed() {
        let mut lanes = Lanes::new(3);
        for lane in [0, 2, 1, 0] {
            lanes.publish(lane);
            let found = lanes.merge.look(false).unwrap();
            assert_eq!(found.0, lane);
            std::mem::forget(lanes.merge.take(found));
            assert_eq!(lanes.producers[lane].free(), 255);
            lanes.merge.free_forgotten();
            assert_eq!(lanes.producers[lane].free(), 256);
        }
    }

    #[test]
    fn lanes_opened_later_are_adopted_once_and_count_before() {
        let mut lanes = Lanes::new(2);
        let hub = lanes.merge.hub.clone();
        (0..2).for_each(|lane| lanes.publish(lane));
        assert_eq!(lanes.merge.lag(), 2, "no lane is known");
        assert!(lanes.read().is_some());
        assert_eq!((lanes.merge.lag(), lanes.merge.lanes.len()), (1, 2));
        let seat = hub.lanes.take(); // somebody is making a lane there
        lanes.producers.push(LaneProducer::open(&hub).unwrap());
        lanes.publish(2);
        assert_eq!(lanes.merge.lag(), 2);
        assert_eq!([lanes.read(), lanes.read()], [Some((1, 1)), Some((2, 1))]);
        assert_eq!(lanes.merge.missing, [seat]);
        assert_eq!((lanes.merge.lag(), lanes.merge.lanes.len()), (0, 3));
        make(&hub, seat).publish(3).unwrap();
        assert_eq!(lanes.merge.lag(), 1, "a lane that was missing counts too");
        assert_eq!(lanes.read(), Some((3, 1)));
        assert_eq!((lanes.merge.missing.len(), lanes.merge.lanes.len()), (0, 4));
    }
}
