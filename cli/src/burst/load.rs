//! When each event is due: made before anything runs, from a seed, so every policy meets the very same bursts.

use std::ops::Range;

/// What the reader spends on an event: 250,000 events a second.
pub const DRAIN_NS: u64 = 4_000;
/// The mean load of every shape, in hundredths of what the reader can take: over time there is room for everything.
pub const LOAD_PERCENT: u64 = 70;
/// Where the numbers begin.
pub const SEED: u64 = 0x5EED_0B17;

/// How events are spread over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Each independently of the others, at the mean load.
    Poisson,
    /// Bursts, this many times as fast as the reader, and pauses: the mean load is the same.
    Bursts(u8),
}

/// The times at which events are due.
#[derive(Clone, Debug)]
pub struct Load {
    /// How they are spread.
    pub shape: Shape,
    /// When each is due, in nanoseconds from the start. Never less than the one before.
    pub starts: Vec<u64>,
    /// Which events make a burst; where there are no bursts, all of them.
    pub bursts: Vec<Range<usize>>,
}

impl Shape {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Poisson => "poisson".to_owned(),
            Self::Bursts(intensity) => format!("bursts_{intensity}x"),
        }
    }
}

impl Load {
    /// The times of `events` events, in bursts of `burst`; the last burst may be shorter.
    #[must_use]
    pub fn new(shape: Shape, events: usize, burst: usize) -> Self {
        let mut random = Random(SEED);
        let mut starts = Vec::with_capacity(events);
        let (burst, gap_ns) = match shape {
            Shape::Poisson => (events, DRAIN_NS as f64 * 100.0 / LOAD_PERCENT as f64),
            Shape::Bursts(intensity) => (burst, DRAIN_NS as f64 / f64::from(intensity.max(1))),
        };
        let burst = burst.max(1);
        let period_ns = burst as f64 * DRAIN_NS as f64 * 100.0 / LOAD_PERCENT as f64;
        let mut now = 0.0_f64;
        for event in 0..events {
            if event % burst == 0 {
                now = now.max(period_ns * (event / burst) as f64);
            }
            starts.push(now as u64);
            now += random.exponential(gap_ns);
        }
        let firsts = (0..events).step_by(burst);
        let bursts = firsts.map(|first| first..events.min(first + burst));
        Self {
            shape,
            bursts: bursts.collect(),
            starts,
        }
    }

    /// How many events there are.
    #[must_use]
    pub fn events(&self) -> usize {
        self.starts.len()
    }
}

/// SplitMix64: a few lines, and good enough for times.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// The time to the next of independent events that are `mean` apart.
    fn exponential(&mut self, mean: f64) -> f64 {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64; // 0 to below 1
        -mean * (1.0 - unit).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_events_come_every_time() {
        let load = || Load::new(Shape::Bursts(10), 1_000, 100).starts;
        assert_eq!(load(), load());
    }

    #[test]
    fn time_does_not_run_backwards_and_the_mean_load_is_kept() {
        for shape in [
            Shape::Poisson,
            Shape::Bursts(1),
            Shape::Bursts(10),
            Shape::Bursts(100),
        ] {
            let load = Load::new(shape, 50_000, 1_000);
            assert!(
                load.starts.is_sorted() && load.events() == 50_000,
                "{shape:?}"
            );
            // A burst's pause comes after it, so the last burst's is missing.
            let period = load.bursts.last().map_or(0, |burst| burst.start);
            let (events, end) = match shape {
                Shape::Poisson => (50_000, load.starts[49_999]),
                Shape::Bursts(_) => (period, load.starts[period]),
            };
            let percent = events as f64 * DRAIN_NS as f64 * 100.0 / end as f64;
            assert!((68.0..72.0).contains(&percent), "{shape:?}: {percent} %");
        }
    }

    #[test]
    fn a_burst_is_as_fast_as_it_says() {
        for intensity in [1, 10, 100] {
            let load = Load::new(Shape::Bursts(intensity), 30_000, 10_000);
            assert_eq!(load.bursts, [0..10_000, 10_000..20_000, 20_000..30_000]);
            for burst in &load.bursts {
                let took = load.starts[burst.end - 1] - load.starts[burst.start];
                let times = 10_000.0 * DRAIN_NS as f64 / took as f64;
                let wanted = f64::from(intensity);
                assert!(
                    (wanted * 0.95..wanted * 1.05).contains(&times),
                    "{times} times"
                );
            }
        }
    }

    #[test]
    fn the_last_burst_may_be_shorter_and_none_is_empty() {
        assert_eq!(Load::new(Shape::Bursts(2), 5, 2).bursts, [0..2, 2..4, 4..5]);
        assert_eq!(Load::new(Shape::Poisson, 5, 2).bursts.len(), 1);
        assert_eq!(Load::new(Shape::Bursts(2), 3, 0).bursts.len(), 3);
    }
}
