//! Snapshots of what a bus does, and a latency histogram.

mod latency;
mod taps;

pub use latency::{Latency, LatencySummary};
pub use taps::TapStats;

use crate::ring::cursor::Counters;
use crate::ring::{Core, Kind};

/// What a bus has done so far: read at one moment, each word for itself, without stopping anybody.
///
/// Positions come from the cursors that the protocol uses anyway; counters are written only by their owner, beside its
/// own cursor. So taking a snapshot costs the bus a few cache-line reads, and not taking one costs nothing measurable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BusStats {
    /// Slots in the ring.
    pub capacity: usize,
    /// Sequences given out by producers; with several of them some may not be published yet.
    pub position: u64,
    /// Each stage, in the order in which they were added, then each reader that joined and lives.
    pub stages: Vec<StageStats>,
    /// Each tap: those that were added before the bus started, in that order, then those that joined and live. A tap tells its own too
    /// ([`Tap::stats`](crate::Tap::stats)).
    pub taps: Vec<TapStats>,
    /// Each living producer.
    pub producers: Vec<ProducerStats>,
    /// Events that producers dropped because the ring was full, those that are gone included: see
    /// [`publish_or_drop`](crate::Producer::publish_or_drop).
    pub dropped: u64,
}

/// What a stage has done so far, all its members together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StageStats {
    /// The stage's name.
    pub name: String,
    /// Every sequence below has passed the stage.
    pub position: u64,
    /// How many sequences the stage is behind the producers. The first stage along the graph with a large one holds up the rest.
    pub lag: u64,
    /// Events handled; a keyed member counts every event that it looked at.
    pub events: u64,
    /// Batches read; `events / batches` says how well the stage amortises.
    pub batches: u64,
    /// How often it found nothing to do, or nothing that was [due](crate::StageBuilder::smooth), and had to wait.
    pub stalls: u64,
    /// How often it went to sleep.
    pub parks: u64,
    /// How many sleeping threads it woke, at some microseconds each.
    pub wakes: u64,
    /// Events that its handler failed on.
    pub failures: u64,
    /// Whether it has ended.
    pub ended: bool,
}

/// What a producer has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerStats {
    /// One above the last sequence that it published; before, the first sequence of the bus.
    pub position: u64,
    /// How many sequences the slowest stage is behind that.
    pub lag: u64,
    /// Events published.
    pub events: u64,
    /// Chunks of events published together, by the batch verbs and by claims.
    pub batches: u64,
    /// How often it found the ring full and had to wait.
    pub stalls: u64,
    /// How often it went to sleep.
    pub parks: u64,
    /// How many sleeping threads it woke, at some microseconds each.
    pub wakes: u64,
    /// Events that [`publish_or_drop`](crate::Producer::publish_or_drop) dropped because the ring was full.
    pub dropped: u64,
}

impl StageStats {
    /// The stage that has these entries in the cursor table.
    pub(crate) fn of(core: &Core, name: &str, entries: &[usize]) -> Self {
        let mut stats = Self {
            name: name.to_owned(),
            position: u64::MAX,
            ended: true,
            ..Self::default()
        };
        for &index in entries {
            let entry = core.table.entry(index);
            let snapshot = entry.snapshot();
            stats.position = stats.position.min(snapshot.position());
            stats.ended &= snapshot.is_retired();
            match entry.group() {
                Some(group) => group
                    .members()
                    .for_each(|member| stats.add(&member.counters)),
                None => stats.add(&entry.cursor.counters),
            }
        }
        // after the stage's own position, so that the difference is not negative
        stats.lag = core.position().saturating_sub(stats.position);
        stats.position += core.numbering().first();
        stats
    }

    fn add(&mut self, counters: &Counters) {
        self.events += counters.events.get();
        self.batches += counters.batches.get();
        self.stalls += counters.stalls.get();
        self.parks += counters.parks.get();
        self.wakes += counters.wakes.get();
        self.failures += counters.failures.get();
    }
}

impl ProducerStats {
    pub(crate) fn of(core: &Core, counters: &Counters) -> Self {
        // the only producer's position is the ring's, and its count of events
        let (position, events) = match core.kind() {
            Kind::Single => (core.position(), core.position()),
            Kind::Multi => (counters.position.get(), counters.events.get()),
        };
        Self {
            position: core.numbering().first() + position,
            lag: position.saturating_sub(core.table.least(position).position),
            events,
            batches: counters.batches.get(),
            stalls: counters.stalls.get(),
            parks: counters.parks.get(),
            wakes: counters.wakes.get(),
            dropped: counters.dropped.get(),
        }
    }
}
