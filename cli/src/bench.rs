//! `ringway bench`: throughput and latency of the ways of using the bus, every run checked.

use clap::ValueEnum;
use clap::builder::PossibleValue;
use ringway::BusConfig;
use ringway_harness::burst;
use ringway_harness::burst::policy::Policy;
use ringway_harness::limit;
use ringway_harness::machine::Machine;
use ringway_harness::outcome::{self, Failure, JsonFile, Outcome};
use ringway_harness::payload::PayloadSize;
use ringway_harness::progress::Progress;
use ringway_harness::report::{self, Figure, Report, Rows, ScenarioReport};
use ringway_harness::scenario::{Round, Scenario, WaitName};
use ringway_harness::suite::{self, Options};
use std::path::PathBuf;
use std::time::Duration;

/// What can be measured: the scenarios of the suite, and bursts, which have options and rows of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Suite(Scenario),
    Burst,
}

impl ValueEnum for Subject {
    fn value_variants<'a>() -> &'a [Self] {
        use Scenario::{Broadcast, Diamond, Mpsc, Pipeline, RoundTrip, Spsc, Wakeup, WorkSharing};
        const ALL: [Subject; 9] = [
            Subject::Suite(Spsc),
            Subject::Suite(Mpsc),
            Subject::Suite(Broadcast),
            Subject::Suite(WorkSharing),
            Subject::Suite(Pipeline),
            Subject::Suite(Diamond),
            Subject::Suite(RoundTrip),
            Subject::Suite(Wakeup),
            Subject::Burst,
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Suite(scenario) => scenario.to_possible_value(),
            Self::Burst => {
                let help =
                    "Bursts that a reader is too slow for, under each policy; only when named";
                Some(PossibleValue::new("burst").help(help))
            }
        }
    }
}

/// Measure throughput and latency, and check every event while measuring
///
/// Threads are pinned where there is a core for each. The first round, in `burst` a short one before all, warms up and does not count.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to measure [default: all but `burst`]
    #[arg(value_name = "SCENARIO", value_enum)]
    subjects: Vec<Subject>,
    /// Events in a round [default: as many as fill its time]; `wakeup`, which pauses before each, takes at most 10000, `burst` 1000000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    events: Option<u64>,
    /// Rounds that count [default: 5; 3 with --quick; 1 in `burst`]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    rounds: Option<u16>,
    /// The size of an event
    #[arg(long, value_name = "BYTES", value_enum, default_value_t)]
    payload: PayloadSize,
    /// How threads wait [default: busy-spin with a core for each thread, else yield; park in `wakeup`, adaptive in `burst`]
    #[arg(long, value_enum)]
    wait: Option<WaitName>,
    /// The capacity of each ring, in events; rounded up to a power of two
    #[arg(long, value_name = "EVENTS", default_value_t = BusConfig::default().capacity)]
    capacity: usize,
    /// In `burst`: how many times as fast as the reader a burst is
    #[arg(long, value_name = "TIMES", default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=100))]
    intensity: u8,
    /// Fewer and shorter rounds: a first look, within 15 seconds
    #[arg(long)]
    quick: bool,
    /// Write the results to FILE too, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Args {
    fn options(&self) -> Options {
        let (rounds, round_time) = if self.quick {
            (3, Duration::from_millis(150))
        } else {
            (5, Duration::from_millis(800))
        };
        Options {
            events: self.events,
            rounds: self.rounds.map_or(rounds, usize::from),
            round_time,
            payload: self.payload,
            capacity: self.capacity,
            wait: self.wait,
        }
    }

    fn burst_options(&self) -> burst::Options {
        let [main_ms, sweep_ms] = if self.quick { [250, 120] } else { [1_000, 400] };
        burst::Options {
            intensity: self.intensity,
            events: self.events,
            rounds: self.rounds.map_or(1, usize::from),
            main_time: Duration::from_millis(main_ms),
            sweep_time: Duration::from_millis(sweep_ms),
            payload: self.payload,
            capacity: self.capacity,
            wait: self.wait,
        }
    }

    /// The scenarios of the suite, each once, in the order of the first mention.
    fn scenarios(&self) -> Vec<Scenario> {
        if self.subjects.is_empty() {
            return Scenario::value_variants().to_vec();
        }
        let mut unique = Vec::new();
        for subject in &self.subjects {
            match subject {
                Subject::Suite(scenario) if !unique.contains(scenario) => unique.push(*scenario),
                _ => (),
            }
        }
        unique
    }

    fn has_bursts(&self) -> bool {
        self.subjects.contains(&Subject::Burst)
    }
}

/// Measures, prints the table, writes the JSON.
pub(crate) fn run(args: Args) -> Result<Outcome, Failure> {
    let options = args.options();
    // What can be refused is refused before anything is measured.
    BusConfig {
        capacity: options.capacity,
        ..BusConfig::default()
    }
    .validate()?;
    let json = args.json.as_deref().map(JsonFile::open).transpose()?;
    let progress = Progress::new();
    progress.now("the bare limits of this machine …");
    let limit = limit::measure(options.payload, options.capacity, options.round_time / 2)?;
    let mut rows = Rows {
        suite: measure(&args.scenarios(), &options, &progress)?,
        bursts: Vec::new(),
    };
    if args.has_bursts() {
        rows.bursts = measure_bursts(&args.burst_options(), &progress)?;
    }
    progress.clear();
    let report = Report {
        schema: 1,
        machine: Machine::detect(),
        limit,
        scenarios: rows,
    };
    // before the table, whose reader may have gone
    if let Some(json) = json {
        json.write(&report)?;
    }
    outcome::print(&report.table())?;
    Ok(if report.verified() {
        Outcome::Good
    } else {
        Outcome::Bad
    })
}

fn measure(
    scenarios: &[Scenario],
    options: &Options,
    progress: &Progress,
) -> Result<Vec<ScenarioReport>, ringway::Error> {
    let mut reports = Vec::with_capacity(scenarios.len());
    for (index, scenario) in scenarios.iter().enumerate() {
        let place = format!("[{}/{}] {}", index + 1, scenarios.len(), scenario.name());
        let mut watch = |round: usize, last: Option<&Round>| {
            progress.now(&step(&place, round, options.rounds, last))
        };
        let report = suite::run(*scenario, options, &mut watch)?;
        progress.done(&format!("{place}: {}", figure(&report)));
        reports.push(report);
    }
    Ok(reports)
}

fn measure_bursts(
    options: &burst::Options,
    progress: &Progress,
) -> Result<Vec<burst::report::BurstReport>, ringway::Error> {
    progress.now("burst: warming up");
    burst::warm_up(options)?;
    let loads = options.loads();
    let mut reports = Vec::with_capacity(Policy::ALL.len());
    for (index, policy) in Policy::ALL.into_iter().enumerate() {
        let place = format!(
            "burst [{}/{}] {}",
            index + 1,
            Policy::ALL.len(),
            policy.name()
        );
        let mut watch = |load: &str| progress.now(&format!("{place}: {load}"));
        let report = burst::run(policy, options, &loads, &mut watch)?;
        progress.done(&format!("{place}: {}", report.figure()));
        reports.push(report);
    }
    Ok(reports)
}

/// What a scenario is about to do, and how its last round went.
fn step(place: &str, round: usize, rounds: usize, last: Option<&Round>) -> String {
    let last = last
        .map(|last| format!(", last {} events/s", report::rate(last.rate())))
        .unwrap_or_default();
    if round == 0 {
        format!("{place}: warming up")
    } else {
        format!("{place}: round {round} of {rounds}{last}")
    }
}

/// The result of a scenario in a few words.
fn figure(report: &ScenarioReport) -> String {
    let figure = match &report.figure {
        Figure::Throughput(spread) => format!("{} events/s", report::rate(spread.median)),
        Figure::Latency(percentiles) => {
            format!("p50 {} ns, p99 {} ns", percentiles.p50, percentiles.p99)
        }
    };
    if report.verified {
        figure
    } else {
        format!("{figure}, NOT VERIFIED")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Line::try_parse_from(std::iter::once("bench").chain(line.split_whitespace()))
            .map(|line| line.args)
    }

    #[test]
    fn nothing_said_means_everything() {
        let args = parse("").expect("no argument is needed");
        assert_eq!(args.scenarios().len(), 8);
        let options = args.options();
        assert_eq!(
            (options.rounds, options.events, options.wait),
            (5, None, None)
        );
        assert_eq!((options.capacity, options.payload.bytes()), (8192, 8));
        assert!(!args.has_bursts(), "only when named");
    }

    #[test]
    fn bursts_run_when_named() {
        let args = parse("burst --intensity 100 --rounds 2").expect("all valid");
        assert!(args.has_bursts() && args.scenarios().is_empty());
        let options = args.burst_options();
        assert_eq!((options.intensity, options.rounds), (100, 2));
        let args = parse("spsc burst").expect("all valid");
        assert!(args.has_bursts() && args.scenarios() == [Scenario::Spsc]);
        assert_eq!(args.burst_options().intensity, 10);
    }

    #[test]
    fn every_scenario_can_be_named() {
        let named = Subject::value_variants().len();
        assert_eq!(named, Scenario::value_variants().len() + 1);
    }

    #[test]
    fn what_is_said_wins_over_quick() {
        let args = parse("mpsc spsc mpsc --quick --rounds 7 --events 10 --payload 64 --wait park")
            .expect("all valid");
        assert_eq!(args.scenarios(), [Scenario::Mpsc, Scenario::Spsc]);
        let options = args.options();
        assert_eq!((options.rounds, options.events), (7, Some(10)));
        assert_eq!(
            (options.payload.bytes(), options.wait),
            (64, Some(WaitName::Park))
        );
        assert_eq!(parse("--quick").expect("valid").options().rounds, 3);
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for line in [
            "--payload 7",
            "--rounds 0",
            "--events 0",
            "nonsense",
            "--wait never",
            "--capacity -1",
            "--rounds x",
            "burst --intensity 0",
            "burst --intensity 101",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
