//! What can be measured: the scenarios, how each is set up, and the outcome of one round.

use crate::graph::{self, Shape};
use crate::latency;
use crate::payload::PayloadSize;
use crate::seats::Seats;
use clap::ValueEnum;
use ringway::{BusConfig, Latency, Wait};
use std::time::Duration;

/// A bus that has not drained after this long never will.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A way of using the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Scenario {
    /// One producer, one consumer.
    Spsc,
    /// Two producers, one consumer.
    Mpsc,
    /// One producer, two consumers that each see every event.
    Broadcast,
    /// Two producers, two workers that divide the events.
    WorkSharing,
    /// One producer, three stages in a row.
    Pipeline,
    /// One producer, a stage, two in parallel after it, one after both.
    Diamond,
    /// Two buses, one event going to and fro.
    RoundTrip,
    /// From publishing to the handler of a consumer that sleeps.
    Wakeup,
}

const ONE_TO_ONE: Shape = Shape {
    producers: 1,
    stages: &[("consumer", &[])],
    members: 0,
};
const TWO_TO_ONE: Shape = Shape {
    producers: 2,
    ..ONE_TO_ONE
};
const BROADCAST: Shape = Shape {
    producers: 1,
    stages: &[("left", &[]), ("right", &[])],
    members: 0,
};
const WORK_SHARING: Shape = Shape {
    producers: 2,
    stages: &[],
    members: 2,
};
const PIPELINE: Shape = Shape {
    producers: 1,
    stages: &[("first", &[]), ("second", &[0]), ("third", &[1])],
    members: 0,
};
const DIAMOND: Shape = Shape {
    producers: 1,
    stages: &[
        ("top", &[]),
        ("left", &[0]),
        ("right", &[0]),
        ("bottom", &[1, 2]),
    ],
    members: 0,
};

impl Scenario {
    /// Its name on the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spsc => "spsc",
            Self::Mpsc => "mpsc",
            Self::Broadcast => "broadcast",
            Self::WorkSharing => "work_sharing",
            Self::Pipeline => "pipeline",
            Self::Diamond => "diamond",
            Self::RoundTrip => "round_trip",
            Self::Wakeup => "wakeup",
        }
    }

    /// The graph whose throughput it measures; `None` where latency is measured.
    const fn shape(self) -> Option<&'static Shape> {
        match self {
            Self::Spsc => Some(&ONE_TO_ONE),
            Self::Mpsc => Some(&TWO_TO_ONE),
            Self::Broadcast => Some(&BROADCAST),
            Self::WorkSharing => Some(&WORK_SHARING),
            Self::Pipeline => Some(&PIPELINE),
            Self::Diamond => Some(&DIAMOND),
            Self::RoundTrip | Self::Wakeup => None,
        }
    }

    /// The most events in a round, where each takes its time: a round of ten thousand pauses is long enough.
    #[must_use]
    pub const fn events_max(self) -> u64 {
        match self {
            Self::Wakeup => 10_000,
            _ => 1_000_000_000,
        }
    }

    /// How many threads it keeps busy.
    #[must_use]
    pub fn threads(self) -> usize {
        self.shape().map_or(2, Shape::threads)
    }

    /// How its threads wait unless the user says otherwise: they spin if each has a core of its own; where they have not,
    /// a spinning thread would keep the core from the one it waits for.
    #[must_use]
    pub fn default_wait(self, seats: &Seats) -> WaitName {
        match self {
            Self::Wakeup => WaitName::Park,
            _ if seats.pinned() => WaitName::BusySpin,
            _ => WaitName::Yield,
        }
    }

    /// One round of `events` events, from building the bus to taking it down.
    ///
    /// # Errors
    /// When the bus refuses its configuration, or the system refuses a thread its core.
    pub fn round(self, setup: &Setup, events: u64) -> Result<Round, ringway::Error> {
        match setup.payload {
            PayloadSize::Bytes8 => self.round_of::<1>(setup, events),
            PayloadSize::Bytes16 => self.round_of::<2>(setup, events),
            PayloadSize::Bytes64 => self.round_of::<8>(setup, events),
            PayloadSize::Bytes256 => self.round_of::<32>(setup, events),
        }
    }

    fn round_of<const WORDS: usize>(
        self,
        setup: &Setup,
        events: u64,
    ) -> Result<Round, ringway::Error> {
        match self.shape() {
            Some(shape) => graph::round::<WORDS>(shape, setup, events),
            None if self == Self::Wakeup => latency::wakeup::<WORDS>(setup, events),
            None => latency::round_trip::<WORDS>(setup, events),
        }
    }
}

/// How one scenario is run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The size of an event.
    pub payload: PayloadSize,
    /// The capacity of each ring, in events, before the library rounds it.
    pub capacity: usize,
    /// How all threads of the bus wait.
    pub wait: WaitName,
    /// Where the threads sit: producers first, then stages or members.
    pub seats: Seats,
}

impl Setup {
    /// The configuration of each bus.
    #[must_use]
    pub fn config(&self) -> BusConfig {
        BusConfig {
            capacity: self.capacity,
            wait: self.wait.into(),
            ..BusConfig::default()
        }
    }
}

/// What one round showed.
#[derive(Debug)]
pub struct Round {
    /// How many events were published.
    pub events: u64,
    /// The capacity that each ring really had.
    pub capacity: usize,
    /// From the first published to the last consumed.
    pub elapsed: Duration,
    /// The times of single events, where those are measured.
    pub latency: Option<Latency>,
    /// How often a consumer slept, where that is what is measured.
    pub parks: Option<u64>,
    /// What was wrong with the run; empty when it was right.
    pub faults: Vec<String>,
    /// What the bus warned of.
    pub warnings: Vec<String>,
}

impl Round {
    /// Events a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        // A clock that did not move between two reads must not make the rate infinite: JSON has no such number.
        self.events as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// The names of the wait strategies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WaitName {
    /// Look again at once.
    BusySpin,
    /// Spin a little, then let others run.
    Yield,
    /// Spin, then yield, then sleep for a moment.
    Backoff,
    /// Sleep until woken.
    Park,
    /// Spin, then yield, then park.
    Adaptive,
}

impl WaitName {
    /// The name on the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BusySpin => "busy-spin",
            Self::Yield => "yield",
            Self::Backoff => "backoff",
            Self::Park => "park",
            Self::Adaptive => "adaptive",
        }
    }
}

impl From<WaitName> for Wait {
    fn from(name: WaitName) -> Self {
        match name {
            WaitName::BusySpin => Self::BusySpin,
            WaitName::Yield => Self::Yield,
            WaitName::Backoff => Self::backoff(),
            WaitName::Park => Self::Park,
            WaitName::Adaptive => Self::Adaptive,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        for scenario in Scenario::value_variants() {
            assert_eq!(
                Scenario::from_str(scenario.name(), false).as_ref(),
                Ok(scenario)
            );
        }
        for wait in WaitName::value_variants() {
            assert_eq!(WaitName::from_str(wait.name(), false).as_ref(), Ok(wait));
        }
    }

    #[test]
    fn threads_without_a_core_of_their_own_do_not_spin() {
        let (pinned, crowded) = (Seats::among(&[0, 1], 2), Seats::among(&[0, 1], 3));
        assert_eq!(Scenario::Spsc.default_wait(&pinned), WaitName::BusySpin);
        assert_eq!(Scenario::Mpsc.default_wait(&crowded), WaitName::Yield);
        assert_eq!(Scenario::Wakeup.default_wait(&pinned), WaitName::Park);
    }

    #[test]
    fn every_thread_is_counted() {
        let threads: Vec<usize> = Scenario::value_variants()
            .iter()
            .map(|scenario| scenario.threads())
            .collect();
        assert_eq!(threads, [2, 3, 3, 4, 4, 5, 2, 2]);
    }

    #[test]
    fn every_scenario_delivers_every_event() {
        for scenario in Scenario::value_variants() {
            for payload in PayloadSize::value_variants() {
                let seats = Seats::for_threads(scenario.threads());
                let wait = WaitName::Adaptive;
                let setup = Setup {
                    payload: *payload,
                    capacity: 64,
                    wait,
                    seats,
                };
                let round = scenario.round(&setup, 200).expect("a valid setup");
                assert_eq!(round.faults, [""; 0], "{}", scenario.name());
                assert_eq!(round.events, 200);
            }
        }
    }
}
