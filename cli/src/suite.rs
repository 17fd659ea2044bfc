//! From a scenario to its figures: how many events fill a round, a round to warm up, and the rounds that count.

use crate::payload::PayloadSize;
use crate::report::{Figure, Percentiles, RunConfig, ScenarioReport};
use crate::scenario::{Round, Scenario, Setup, WaitName};
use crate::seats::Seats;
use crate::spread::Spread;
use ringway::Latency;
use std::time::Duration;

/// A round of so few events tells roughly how fast the scenario is.
const FIRST_EVENTS: u64 = 2_000;
/// Calibration gives up looking after so many rounds, however short they were.
const CALIBRATIONS_MAX: usize = 12;
/// What the user chose, or the defaults.
#[derive(Clone, Debug)]
pub struct Options {
    /// Events in a round, up to what the scenario allows; `None`: as many as fill `round_time`.
    pub events: Option<u64>,
    /// Rounds that count.
    pub rounds: usize,
    /// How long a round should last.
    pub round_time: Duration,
    /// The size of an event.
    pub payload: PayloadSize,
    /// The capacity of each ring.
    pub capacity: usize,
    /// How threads wait; `None`: as suits the scenario and the machine.
    pub wait: Option<WaitName>,
}

/// Runs one scenario; `watch` is told the number of each round that begins (0: the warm-up) and how the last one went.
///
/// # Errors
/// When the bus refuses its configuration, or the system refuses a thread its core.
pub fn run(
    scenario: Scenario,
    options: &Options,
    watch: &mut dyn FnMut(usize, Option<&Round>),
) -> Result<ScenarioReport, ringway::Error> {
    let seats = Seats::for_threads(scenario.threads());
    let wait = options
        .wait
        .unwrap_or_else(|| scenario.default_wait(&seats));
    let setup = Setup {
        payload: options.payload,
        capacity: options.capacity,
        wait,
        seats,
    };
    let mut tally = Tally::default();
    watch(0, None);
    let events = match options.events {
        Some(events) => {
            let events = events.min(scenario.events_max());
            tally.warm_up(scenario.round(&setup, events)?);
            events
        }
        None => calibrate(options.round_time, scenario.events_max(), |events| {
            let round = scenario.round(&setup, events)?;
            let elapsed = round.elapsed;
            tally.warm_up(round);
            Ok::<_, ringway::Error>(elapsed)
        })?,
    };
    for number in 1..=options.rounds {
        watch(number, tally.last.as_ref());
        tally.count(scenario.round(&setup, events)?);
    }
    let Tally {
        rates,
        latency,
        parks,
        mut faults,
        mut warnings,
        last,
    } = tally;
    let last = last.expect("there is at least one round");
    // Every round says the same when something is wrong for good.
    faults.dedup();
    warnings.dedup();
    let figure = match latency {
        Some(latency) => Some(Figure::Latency(Percentiles::of(&latency.summary()))),
        None => Spread::of(rates).map(Figure::Throughput),
    };
    Ok(ScenarioReport {
        name: scenario.name(),
        figure: figure.expect("there is at least one round"),
        config: RunConfig::new(scenario, &setup, &last, options.rounds, parks),
        verified: faults.is_empty(),
        faults,
        warnings,
    })
}

/// What the rounds so far have shown.
#[derive(Default)]
struct Tally {
    rates: Vec<f64>,
    latency: Option<Latency>,
    parks: Option<u64>,
    faults: Vec<String>,
    warnings: Vec<String>,
    last: Option<Round>,
}

impl Tally {
    /// A round whose figures do not count, and whose faults do.
    fn warm_up(&mut self, mut round: Round) {
        self.faults.append(&mut round.faults);
        self.warnings.append(&mut round.warnings);
        self.last = Some(round);
    }

    fn count(&mut self, round: Round) {
        self.rates.push(round.rate());
        if let Some(latency) = &round.latency {
            self.latency.get_or_insert_with(Latency::new).merge(latency);
        }
        if let Some(parks) = round.parks {
            *self.parks.get_or_insert(0) += parks;
        }
        self.warm_up(round);
    }
}

/// How many events fill `time`, up to `events_max`, found by rounds that grow until one is long enough to tell. The last of
/// them is a good warm-up too.
///
/// # Errors
/// The first error of a round.
pub fn calibrate<E>(
    time: Duration,
    events_max: u64,
    mut round: impl FnMut(u64) -> Result<Duration, E>,
) -> Result<u64, E> {
    let mut events = FIRST_EVENTS;
    for _ in 0..CALIBRATIONS_MAX {
        let elapsed = round(events)?;
        let filled = scaled(events, elapsed, time).min(events_max);
        if elapsed >= time / 4 || events >= events_max {
            return Ok(filled);
        }
        // A short round is mostly the start of its threads: no more than a step towards what it foretells.
        events = filled.clamp(events * 2, events * 20).min(events_max);
    }
    Ok(events)
}

/// How many events fill `time` when `events` took `elapsed`.
fn scaled(events: u64, elapsed: Duration, time: Duration) -> u64 {
    let filled = events as f64 * time.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
    (filled as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    const EVENTS_MAX: u64 = 1_000_000_000;

    fn calibrated(ns_per_event: u64, start_ns: u64, time: Duration) -> (u64, usize) {
        let mut rounds = 0;
        let events = calibrate(time, EVENTS_MAX, |events| {
            rounds += 1;
            Ok::<_, Infallible>(Duration::from_nanos(start_ns + events * ns_per_event))
        });
        let Ok(events) = events;
        (events, rounds)
    }

    #[test]
    fn rounds_are_as_long_as_asked_for() {
        for ns_per_event in [1, 50, 5_000, 300_000] {
            let (events, _) = calibrated(ns_per_event, 500_000, Duration::from_millis(800));
            let lasts = events * ns_per_event;
            assert!(
                (600_000_000..=1_000_000_000).contains(&lasts),
                "{lasts} ns at {ns_per_event} ns an event"
            );
        }
    }

    #[test]
    fn calibration_ends_whatever_the_clock_says() {
        let (events, rounds) = calibrated(0, 0, Duration::from_secs(1));
        assert_eq!(events, EVENTS_MAX);
        assert!(rounds <= CALIBRATIONS_MAX);
    }

    #[test]
    fn a_fault_in_the_warm_up_is_a_fault() {
        let round = |faults: &[&str]| Round {
            events: 1,
            capacity: 1,
            elapsed: Duration::from_secs(1),
            latency: None,
            parks: None,
            faults: faults.iter().map(ToString::to_string).collect(),
            warnings: Vec::new(),
        };
        let mut tally = Tally::default();
        tally.warm_up(round(&["lost"]));
        tally.count(round(&[]));
        assert_eq!(tally.faults, ["lost"]);
        assert_eq!(tally.rates, [1.0]);
    }
}
