//! The results: as JSON for programs (`"schema": 1`), and as one table for people.

use crate::burst::report::{self as burst, BurstReport};
use crate::machine::Machine;
use crate::scenario::{Round, Scenario, Setup};
use crate::spread::Spread;
use ringway::LatencySummary;
use serde::Serialize;
use serde::ser::SerializeSeq;
use std::fmt::{self, Write};

/// All results of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The version of this structure. Fields may be added within a version.
    pub schema: u32,
    /// What the figures are true of.
    pub machine: Machine,
    /// What the bare machine can do.
    pub limit: Limit,
    /// What was measured.
    pub scenarios: Rows,
}

/// The rows of a report: one list in JSON.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// One a scenario.
    pub suite: Vec<ScenarioReport>,
    /// One a policy of `burst`.
    pub bursts: Vec<BurstReport>,
}

impl Serialize for Rows {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.suite.len() + self.bursts.len()))?;
        (self.suite.iter()).try_for_each(|row| rows.serialize_element(row))?;
        (self.bursts.iter()).try_for_each(|row| rows.serialize_element(row))?;
        rows.end()
    }
}

/// What two cores can do for each other without a queue; nothing where there are not two.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Limit {
    /// A cache line going to and fro: the median trip.
    pub ping_pong_ns: Option<u64>,
    /// The same, 99 in 100 trips are at most so long.
    pub ping_pong_p99_ns: Option<u64>,
    /// Whole cache lines from one core to the other.
    pub stream_bytes_per_second: Option<f64>,
    /// What was wrong with the lines that were passed; none in a sound run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// The results of one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct ScenarioReport {
    /// Its name on the command line.
    pub name: &'static str,
    /// What was measured.
    #[serde(flatten)]
    pub figure: Figure,
    /// How.
    pub config: RunConfig,
    /// Whether every event of every round arrived once, whole and in order.
    pub verified: bool,
    /// What was wrong, if anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// What the bus warned of, if anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What a scenario measures.
#[derive(Clone, Debug, Serialize)]
pub enum Figure {
    /// Events a second, of each round.
    #[serde(rename = "events_per_second")]
    Throughput(Spread),
    /// The times of all events of all rounds.
    #[serde(rename = "latency_ns")]
    Latency(Percentiles),
}

/// Nanoseconds that so many in a hundred events took at most.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Percentiles {
    /// Half of them.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
    /// All of them.
    pub max: u64,
    /// How many there were.
    pub count: u64,
}

impl Percentiles {
    /// The percentiles of a histogram.
    #[must_use]
    pub fn of(summary: &LatencySummary) -> Self {
        let LatencySummary {
            p50,
            p90,
            p99,
            p999,
            max,
            count,
            ..
        } = *summary;
        Self {
            p50,
            p90,
            p99,
            p999,
            max,
            count,
        }
    }
}

/// How a scenario was run.
#[derive(Clone, Debug, Serialize)]
pub struct RunConfig {
    /// Events in each round.
    pub events: u64,
    /// Rounds that count.
    pub rounds: usize,
    /// The size of an event.
    pub payload_bytes: usize,
    /// The capacity of each ring, in events, as the library rounded it.
    pub capacity: usize,
    /// How the bus's threads waited.
    pub wait: &'static str,
    /// Threads that were kept busy.
    pub threads: usize,
    /// Whether each had a core of its own.
    pub pinned: bool,
    /// Which: producers first.
    pub cores: Option<Vec<usize>>,
    /// How often the consumer slept in all rounds that count, where that is what is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parks: Option<u64>,
}

impl RunConfig {
    /// What is worth knowing of a run.
    #[must_use]
    pub fn new(
        scenario: Scenario,
        setup: &Setup,
        last: &Round,
        rounds: usize,
        parks: Option<u64>,
    ) -> Self {
        Self {
            events: last.events,
            rounds,
            payload_bytes: setup.payload.bytes(),
            capacity: last.capacity,
            wait: setup.wait.name(),
            threads: scenario.threads(),
            pinned: setup.seats.pinned(),
            cores: setup.seats.cores().map(<[usize]>::to_vec),
            parks,
        }
    }
}

impl Report {
    /// Whether every row was verified, and the bare limits.
    #[must_use]
    pub fn verified(&self) -> bool {
        let Rows { suite, bursts } = &self.scenarios;
        self.limit.faults.is_empty()
            && suite.iter().all(|row| row.verified)
            && bursts.iter().all(|row| row.verified)
    }

    /// The tables for people, the machine above them.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        self.describe_machine(&mut text)
            .expect("a string takes what is written to it");
        if !self.scenarios.suite.is_empty() {
            self.describe_suite(&mut text);
        }
        let bursts = burst::tables(&self.scenarios.bursts);
        if !text.ends_with("\n\n") && !bursts.is_empty() {
            text.push('\n');
        }
        text + &bursts
    }

    fn describe_suite(&self, text: &mut String) {
        let row = |text: &mut String, cells: [&str; 11]| {
            let [
                name,
                threads,
                cores,
                wait,
                median,
                range,
                p50,
                p90,
                p99,
                p999,
                max,
            ] = cells;
            let line = format!(
                "{name:<13}{threads:>7}  {cores:<9}{wait:<11}{median:>9}{range:>18}{p50:>8}{p90:>8}{p99:>8}{p999:>8}{max:>9}"
            );
            text.push_str(line.trim_end());
            text.push('\n');
        };
        row(
            text,
            [
                "scenario",
                "threads",
                "cores",
                "wait",
                "events/s",
                "min – max",
                "p50 ns",
                "p90",
                "p99",
                "p99.9",
                "max",
            ],
        );
        for scenario in &self.scenarios.suite {
            let config = &scenario.config;
            let threads = config.threads.to_string();
            let cores = config
                .cores
                .as_ref()
                .map_or("unpinned".to_owned(), |cores| list(cores));
            let [median, range, latency @ ..] = scenario.figure.cells();
            let [p50, p90, p99, p999, max] = &latency;
            row(
                text,
                [
                    scenario.name,
                    &threads,
                    &cores,
                    config.wait,
                    &median,
                    &range,
                    p50,
                    p90,
                    p99,
                    p999,
                    max,
                ],
            );
        }
        let payload = self
            .scenarios
            .suite
            .first()
            .map_or(8, |scenario| scenario.config.payload_bytes);
        let [stream, p50, p99] = self.limit.cells(payload);
        row(
            text,
            ["bare stream", "2", "", "", &stream, "", "", "", "", "", ""],
        );
        row(
            text,
            ["bare trip", "2", "", "", "", "", &p50, "", &p99, "", ""],
        );
        self.describe_checks(text)
            .expect("a string takes what is written to it");
    }

    fn describe_machine(&self, text: &mut String) -> fmt::Result {
        let Machine {
            ringway,
            os,
            arch,
            cpu,
            cores,
            usable_cores,
            pinning,
            clock,
        } = &self.machine;
        let cpu = cpu.as_deref().unwrap_or("unknown processor");
        let pinning = if *pinning {
            "can be pinned to"
        } else {
            "cannot be pinned; cores"
        };
        writeln!(text, "ringway {ringway} on {cpu}, {os} {arch}")?;
        writeln!(
            text,
            "{usable_cores} usable cores; threads {pinning} {}",
            list(cores)
        )?;
        writeln!(
            text,
            "clock: steps of {} ns, {:.0} ns a read",
            clock.resolution_ns, clock.read_ns
        )?;
        if let Some(config) = self
            .scenarios
            .suite
            .first()
            .map(|scenario| &scenario.config)
        {
            let RunConfig {
                payload_bytes,
                capacity,
                rounds,
                ..
            } = config;
            writeln!(
                text,
                "{payload_bytes}-byte events, capacity {capacity}, rounds {rounds}"
            )?;
        }
        writeln!(text)
    }

    fn describe_checks(&self, text: &mut String) -> fmt::Result {
        writeln!(text)?;
        for fault in &self.limit.faults {
            writeln!(text, "bare limits: NOT VERIFIED: {fault}")?;
        }
        for scenario in &self.scenarios.suite {
            for warning in &scenario.warnings {
                writeln!(text, "{}: warning: {warning}", scenario.name)?;
            }
            for fault in &scenario.faults {
                writeln!(text, "{}: NOT VERIFIED: {fault}", scenario.name)?;
            }
        }
        if self
            .scenarios
            .suite
            .iter()
            .any(|scenario| !scenario.config.pinned)
        {
            writeln!(
                text,
                "unpinned: more threads than usable cores, so they take turns"
            )?;
        }
        if self.limit.faults.is_empty() && self.scenarios.suite.iter().all(|row| row.verified) {
            writeln!(
                text,
                "verified: every event of every round arrived once, whole and in order"
            )?;
        }
        Ok(())
    }
}

impl Figure {
    /// Median, range, and five percentiles: empty where they are not measured.
    fn cells(&self) -> [String; 7] {
        let none = String::new;
        match self {
            Self::Throughput(Spread {
                median, min, max, ..
            }) => {
                let range = format!("{} – {}", rate(*min), rate(*max));
                [rate(*median), range, none(), none(), none(), none(), none()]
            }
            Self::Latency(Percentiles {
                p50,
                p90,
                p99,
                p999,
                max,
                ..
            }) => {
                let [p50, p90, p99, p999, max] =
                    [p50, p90, p99, p999, max].map(ToString::to_string);
                [none(), none(), p50, p90, p99, p999, max]
            }
        }
    }
}

impl Limit {
    /// The stream, in events of `payload` bytes, and two percentiles of the trip.
    fn cells(&self, payload: usize) -> [String; 3] {
        let unknown = || "–".to_owned();
        let ns = |figure: Option<u64>| figure.map_or_else(unknown, |ns| ns.to_string());
        let stream = self
            .stream_bytes_per_second
            .map_or_else(unknown, |bytes| rate(bytes / payload as f64));
        [stream, ns(self.ping_pong_ns), ns(self.ping_pong_p99_ns)]
    }
}

/// A rate with as many digits as the eye can use: `238.4 M`.
#[must_use]
pub fn rate(per_second: f64) -> String {
    match per_second {
        giga if giga >= 999.95e6 => format!("{:.2} G", giga / 1e9),
        mega if mega >= 999.95e3 => format!("{:.1} M", mega / 1e6),
        kilo if kilo >= 999.5 => format!("{:.1} k", kilo / 1e3),
        few => format!("{few:.0}"),
    }
}

fn list(cores: &[usize]) -> String {
    cores
        .iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Clock;

    fn report() -> Report {
        let config = RunConfig {
            events: 1_000,
            rounds: 3,
            payload_bytes: 8,
            capacity: 64,
            wait: "yield",
            threads: 3,
            pinned: false,
            cores: None,
            parks: None,
        };
        let spread = Spread::of(vec![1e6, 3e6, 2e6]).expect("three rounds");
        let percentiles = Percentiles {
            p50: 130,
            p90: 150,
            p99: 200,
            p999: 900,
            max: 12_345,
            count: 1_000,
        };
        let scenario = |name, figure| ScenarioReport {
            name,
            figure,
            config: config.clone(),
            verified: true,
            faults: Vec::new(),
            warnings: Vec::new(),
        };
        Report {
            schema: 1,
            machine: Machine {
                ringway: "0.0.0",
                os: "linux",
                arch: "x86_64",
                cpu: None,
                cores: vec![0, 1],
                usable_cores: 2,
                pinning: true,
                clock: Clock {
                    resolution_ns: 1,
                    read_ns: 20.0,
                },
            },
            limit: Limit::default(),
            scenarios: Rows {
                suite: vec![
                    scenario("mpsc", Figure::Throughput(spread)),
                    scenario("round_trip", Figure::Latency(percentiles)),
                ],
                bursts: Vec::new(),
            },
        }
    }

    #[test]
    fn the_json_has_the_promised_shape() {
        let json = serde_json::to_value(report()).expect("plain data");
        assert_eq!(json["schema"], 1);
        assert_eq!(json["scenarios"][0]["events_per_second"]["median"], 2e6);
        assert_eq!(json["scenarios"][0]["verified"], true);
        assert!(json["scenarios"][0].get("latency_ns").is_none());
        assert_eq!(json["scenarios"][1]["latency_ns"]["p999"], 900);
        assert!(json["scenarios"][1].get("events_per_second").is_none());
        assert!(json["limit"]["ping_pong_ns"].is_null());
    }

    #[test]
    fn columns_stand_under_each_other() {
        let table = report().table();
        let line = |start: &str| {
            table
                .lines()
                .find(|line| line.starts_with(start))
                .expect("a row")
        };
        let head = table
            .lines()
            .find(|line| line.contains("events/s"))
            .expect("a head");
        // Columns of characters, not of bytes: a range has a dash that takes three.
        let end = |line: &str, cell: &str| {
            line[..line.find(cell).expect(cell) + cell.len()]
                .chars()
                .count()
        };
        assert_eq!(end(head, "events/s"), end(line("mpsc"), "2.0 M"));
        assert_eq!(end(head, "min – max"), end(line("mpsc"), "1.0 M – 3.0 M"));
        assert_eq!(
            end(head, "max"),
            end(head, "min – max"),
            "the first max is the range's"
        );
        assert_eq!(head.chars().count(), line("round_trip").chars().count());
        assert!(line("round_trip").ends_with("12345"));
    }

    #[test]
    fn a_fault_is_said_loudly() {
        let mut report = report();
        assert!(report.verified());
        report.scenarios.suite[0].verified = false;
        report.scenarios.suite[0]
            .faults
            .push("event 7 lost".to_owned());
        assert!(!report.verified());
        let table = report.table();
        assert!(table.contains("mpsc: NOT VERIFIED: event 7 lost"));
        assert!(!table.contains("verified: every"));
    }

    #[test]
    fn a_fault_of_the_limits_counts() {
        let mut report = report();
        report.limit.faults.push("a line was wrong".to_owned());
        assert!(!report.verified());
        assert!(
            report
                .table()
                .contains("bare limits: NOT VERIFIED: a line was wrong")
        );
    }

    #[test]
    fn rates_are_short() {
        let rates = [12.4, 999.4, 1_000.0, 1_500.0, 999_999.0, 238.42e6, 1.5e9].map(rate);
        assert_eq!(
            rates,
            ["12", "999", "1.0 k", "1.5 k", "1.0 M", "238.4 M", "1.50 G"]
        );
    }
}
