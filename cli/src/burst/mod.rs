//! `ringway bench burst`: open-loop bursts against a reader that takes its time, and what each policy makes of them.
//!
//! Events come when they are due, whatever became of those before: so all times count from there, and a producer that is made to wait
//! is late for everything that was due meanwhile (coordinated omission does not hide it). The reader spends a fixed time on each event. On
//! average there is room for all; a burst is twice as long as the ring, so during one there is not.
//!
//! | module | answers |
//! |---|---|
//! | [`load`] | when is each event due? |
//! | `ends` | what do producer and reader do, and what do they note? |
//! | [`bus`], `record`, `peers` | which calls do they use, here and in other libraries? |
//! | [`policy`] | which of them is a row |
//! | [`judge`] | is every event accounted for, and how late was it? |
//! | [`report`] | what does the user get to see? |

pub mod bus;
mod ends;
pub mod judge;
pub mod load;
mod peers;
pub mod policy;
mod record;
pub mod report;

use crate::payload::PayloadSize;
use crate::scenario::{Setup, WaitName};
use crate::seats::Seats;
use judge::Tally;
use load::{DRAIN_NS, LOAD_PERCENT, Load, Shape};
use policy::Policy;
use report::{BurstConfig, BurstReport, LoadReport};
use std::time::Duration;

/// The intensities that are measured beside the chosen one.
pub const SWEEP: [u8; 3] = [1, 10, 100];

/// The most events under each load: their times are kept.
pub const EVENTS_MAX: u64 = 1_000_000;

/// The events that warm up: about a tenth of a second.
const WARM_UP: u64 = 16_384;

/// What the user chose, or the defaults.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many times as fast as the reader a burst is, where it counts.
    pub intensity: u8,
    /// Events under each load, up to [`EVENTS_MAX`]; `None`: as many as fill its time.
    pub events: Option<u64>,
    /// How often each load is repeated.
    pub rounds: usize,
    /// How long the load that counts should last.
    pub main_time: Duration,
    /// The same of each other load.
    pub sweep_time: Duration,
    /// The size of an event.
    pub payload: PayloadSize,
    /// The capacity of each ring and channel.
    pub capacity: usize,
    /// How threads of the bus wait; `None`: by default.
    pub wait: Option<WaitName>,
}

/// The loads of a run: the one that counts first.
#[derive(Debug)]
pub struct Loads(Vec<Load>);

impl Options {
    /// When everything is due.
    #[must_use]
    pub fn loads(&self) -> Loads {
        let main = Shape::Bursts(self.intensity);
        let others = SWEEP.into_iter().map(Shape::Bursts);
        let others = others.filter(|shape| *shape != main);
        let mut loads = vec![self.load(main, self.main_time)];
        loads.extend(
            std::iter::once(Shape::Poisson)
                .chain(others)
                .map(|shape| self.load(shape, self.sweep_time)),
        );
        Loads(loads)
    }

    fn load(&self, shape: Shape, time: Duration) -> Load {
        let per_event = u128::from(DRAIN_NS * 100 / LOAD_PERCENT);
        let fill = u64::try_from(time.as_nanos() / per_event).unwrap_or(u64::MAX);
        let events = self.events.unwrap_or(fill).clamp(1, EVENTS_MAX) as usize;
        let burst = self.burst().min(events);
        // whole bursts, unless somebody wants a number
        let whole = events / burst * burst;
        let events = if self.events.is_some() || shape == Shape::Poisson {
            events
        } else {
            whole
        };
        Load::new(shape, events, burst)
    }

    /// A burst: twice what the ring holds.
    fn burst(&self) -> usize {
        self.capacity.next_power_of_two().saturating_mul(2)
    }
}

/// Runs the first policy for a moment, and forgets what it shows: before the first that counts.
///
/// # Errors
/// As [`run`].
pub fn warm_up(options: &Options) -> Result<(), ringway::Error> {
    let short = Options {
        events: Some(options.events.map_or(WARM_UP, |events| events.min(WARM_UP))),
        rounds: 1,
        ..options.clone()
    };
    let load = short.load(Shape::Bursts(options.intensity), Duration::ZERO);
    run(Policy::ALL[0], &short, &Loads(vec![load]), &mut |_| {}).map(drop)
}

/// Runs one policy under every load; `watch` is told the name of each load that begins.
///
/// # Errors
/// When the bus refuses its configuration, or the system refuses a thread its core.
pub fn run(
    policy: Policy,
    options: &Options,
    loads: &Loads,
    watch: &mut dyn FnMut(&str),
) -> Result<BurstReport, ringway::Error> {
    let setup = Setup {
        payload: options.payload,
        capacity: options.capacity,
        wait: options.wait.unwrap_or(WaitName::Adaptive),
        seats: Seats::for_threads(policy.threads()),
    };
    let mut reports = Vec::with_capacity(loads.0.len());
    for load in &loads.0 {
        watch(&load.shape.name());
        let (mut tally, mut memory_bytes) = (Tally::default(), 0);
        for _ in 0..options.rounds {
            let trial = policy.run(load, &setup)?;
            tally.add(trial.tally);
            memory_bytes = memory_bytes.max(trial.memory_bytes);
        }
        reports.push(LoadReport::new(load, &tally, memory_bytes));
    }
    let main = reports.remove(0);
    Ok(BurstReport::new(
        policy,
        main,
        reports,
        BurstConfig::new(policy, options, &setup),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(events: u64) -> Options {
        Options {
            intensity: 50,
            events: Some(events),
            rounds: 1,
            main_time: Duration::ZERO,
            sweep_time: Duration::ZERO,
            payload: PayloadSize::Bytes16,
            capacity: 64,
            wait: None,
        }
    }

    #[test]
    fn the_load_that_counts_comes_first_and_none_twice() {
        let names = |options: &Options| -> Vec<String> {
            let loads = options.loads().0;
            loads.iter().map(|load| load.shape.name()).collect()
        };
        let mut options = options(10);
        let others = ["poisson", "bursts_1x", "bursts_10x", "bursts_100x"];
        assert_eq!(names(&options)[0], "bursts_50x");
        assert_eq!(names(&options)[1..], others);
        options.intensity = 10;
        assert_eq!(
            names(&options),
            ["bursts_10x", "poisson", "bursts_1x", "bursts_100x"]
        );
    }

    #[test]
    fn time_is_filled_with_whole_bursts() {
        let options = Options {
            events: None,
            main_time: Duration::from_millis(100),
            ..options(0)
        };
        let load = &options.loads().0[0];
        assert_eq!(load.events() % 128, 0);
        assert!((16_000..=17_500).contains(&load.events()));
    }

    #[test]
    fn every_policy_accounts_for_every_event() {
        let options = options(600);
        let loads = options.loads();
        for policy in Policy::ALL {
            let report = run(policy, &options, &loads, &mut |_| {}).expect("valid options");
            assert_eq!(report.faults, [""; 0], "{}", policy.name());
            assert!(report.verified);
            for load in std::iter::once(&report.main).chain(&report.loads) {
                assert_eq!(load.published, load.delivered + load.skipped);
                assert_eq!(load.published + load.refused, 600);
            }
        }
    }
}
