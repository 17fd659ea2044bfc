//! What taps did.

use crate::consumer::Tap;
use crate::ring::Core;

/// What a tap has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TapStats {
    /// The tap's name.
    pub name: String,
    /// Every sequence below was read, or skipped; of one that replays and has joined again, before it has caught up, where it joined.
    pub position: u64,
    /// How many sequences the tap is behind the producers.
    pub lag: u64,
    /// Events copied.
    pub events: u64,
    /// Batches read.
    pub batches: u64,
    /// Sequences that the tap was moved over because it lagged, as far as it has noticed: at its next read at the latest, or its
    /// end.
    pub skipped: u64,
    /// How often it found nothing to do and had to wait.
    pub stalls: u64,
    /// How often it went to sleep.
    pub parks: u64,
    /// How many sleeping producers it woke, at some microseconds each.
    pub wakes: u64,
    /// Whether it has ended, or was evicted.
    pub ended: bool,
}

impl TapStats {
    /// The tap that has this entry in the cursor table.
    pub(crate) fn of(core: &Core, name: &str, entry: usize) -> Self {
        let cursor = &core.table.entry(entry).cursor;
        let (word, counters) = (cursor.load(), &cursor.counters);
        let first = core.numbering().first();
        let position = if word.is_detached() {
            counters.position.get()
        } else {
            first + word.position()
        };
        Self {
            name: name.to_owned(),
            position,
            // after the tap's own position, so that the difference is not negative
            lag: (first + core.position()).saturating_sub(position),
            events: counters.events.get(),
            batches: counters.batches.get(),
            skipped: counters.skipped.get(),
            stalls: counters.stalls.get(),
            parks: counters.parks.get(),
            wakes: counters.wakes.get(),
            ended: word.is_retired() && !word.is_detached(),
        }
    }
}

impl<T> Tap<T> {
    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> TapStats {
        let reader = self.reader();
        TapStats::of(&reader.ring().core, self.name(), reader.station().index())
    }
}
