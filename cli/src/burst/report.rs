//! The rows of `burst`: as JSON, and as a table.

use super::bus::{DEADLINE, EVICT_AFTER};
use super::judge::Tally;
use super::load::{DRAIN_NS, LOAD_PERCENT, Load, SEED};
use super::policy::Policy;
use super::{Options, SWEEP};
use crate::report::Percentiles;
use crate::scenario::Setup;
use ringway::Latency;
use serde::Serialize;
use std::fmt::{self, Write};

/// The results of one policy.
#[derive(Clone, Debug, Serialize)]
pub struct BurstReport {
    /// The name of the scenario.
    pub name: &'static str,
    /// Who does what when there is no room.
    pub policy: &'static str,
    /// Under the load that counts.
    #[serde(flatten)]
    pub main: LoadReport,
    /// Under the others.
    pub loads: Vec<LoadReport>,
    /// How.
    pub config: BurstConfig,
    /// Whether under every load every event was accounted for, and came once, whole and in order.
    pub verified: bool,
    /// What was wrong, if anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// What one load did to a policy.
#[derive(Clone, Debug, Serialize)]
pub struct LoadReport {
    /// How events were spread: `poisson`, or bursts so many times as fast as the reader.
    pub load: String,
    /// Events that were accepted: those delivered and those skipped.
    pub published: u64,
    /// Events that the slow reader had.
    pub delivered: u64,
    /// Events that it missed: it was moved over them, was evicted before them, or had not joined yet.
    pub skipped: u64,
    /// Events that were never accepted.
    pub refused: u64,
    /// From when an event was due to the end of the call that offered it.
    pub producer_latency_ns: Percentiles,
    /// From when an event was due to when the slow reader had it.
    pub lateness_ns: Percentiles,
    /// From when the last event of a burst was due to when the slow reader was through with it.
    pub drain_ns: Percentiles,
    /// The most events that waited for the slow reader, and came.
    pub waiting_max: u64,
    /// What was held for events, without the marks beside them: the slots of a ring, the most that waited in a queue that grows.
    pub memory_bytes: u64,
    /// What was wrong.
    #[serde(skip)]
    pub faults: Vec<String>,
}

/// How a policy was run.
#[derive(Clone, Debug, Serialize)]
pub struct BurstConfig {
    /// How many times as fast as the reader the bursts that count were.
    pub intensity: u8,
    /// The others.
    pub sweep: [u8; 3],
    /// The mean of all loads, in hundredths of what the reader takes.
    pub load_percent: u64,
    /// What the reader spends on an event.
    pub drain_ns_per_event: u64,
    /// Events in a burst.
    pub burst_events: usize,
    /// How often each load was repeated.
    pub rounds: usize,
    /// Where the random numbers began.
    pub seed: u64,
    /// How late an event may be accepted under `publish_deadline`.
    pub deadline_ns: u128,
    /// How long producers wait for a tap under `tap_evict`.
    pub evict_after_ns: u128,
    /// The size of an event.
    pub payload_bytes: usize,
    /// The capacity of ring or channel.
    pub capacity: usize,
    /// How the bus's threads waited; other libraries' wait as they do.
    pub wait: Option<&'static str>,
    /// Threads that were kept busy.
    pub threads: usize,
    /// Whether each had a core of its own.
    pub pinned: bool,
    /// Which: the producer first, then the slow reader.
    pub cores: Option<Vec<usize>>,
}

impl BurstConfig {
    pub(super) fn new(policy: Policy, options: &Options, setup: &Setup) -> Self {
        Self {
            intensity: options.intensity,
            sweep: SWEEP,
            load_percent: LOAD_PERCENT,
            drain_ns_per_event: DRAIN_NS,
            burst_events: options.burst(),
            rounds: options.rounds,
            seed: SEED,
            deadline_ns: DEADLINE.as_nanos(),
            evict_after_ns: EVICT_AFTER.as_nanos(),
            payload_bytes: setup.payload.bytes(),
            capacity: setup.capacity.next_power_of_two(),
            wait: policy.is_ours().then(|| setup.wait.name()),
            threads: policy.threads(),
            pinned: setup.seats.pinned(),
            cores: setup.seats.cores().map(<[usize]>::to_vec),
        }
    }
}

impl LoadReport {
    pub(super) fn new(load: &Load, tally: &Tally, memory_bytes: u64) -> Self {
        let percentiles = |latency: &Latency| Percentiles::of(&latency.summary());
        Self {
            load: load.shape.name(),
            published: tally.published,
            delivered: tally.delivered,
            skipped: tally.skipped,
            refused: tally.refused,
            producer_latency_ns: percentiles(&tally.producer),
            lateness_ns: percentiles(&tally.lateness),
            drain_ns: percentiles(&tally.drain),
            waiting_max: tally.waiting_max,
            memory_bytes,
            faults: tally.faults.clone(),
        }
    }
}

impl BurstReport {
    pub(super) fn new(
        policy: Policy,
        main: LoadReport,
        loads: Vec<LoadReport>,
        config: BurstConfig,
    ) -> Self {
        let named = |load: &LoadReport| -> Vec<String> {
            let faults = load.faults.iter();
            faults
                .map(|fault| format!("{}: {fault}", load.load))
                .collect()
        };
        let mut faults: Vec<String> = std::iter::once(&main)
            .chain(&loads)
            .flat_map(named)
            .collect();
        faults.dedup();
        Self {
            name: "burst",
            policy: policy.name(),
            main,
            loads,
            config,
            verified: faults.is_empty(),
            faults,
        }
    }

    /// The load that counts, then the others.
    fn all(&self) -> impl Iterator<Item = &LoadReport> {
        std::iter::once(&self.main).chain(&self.loads)
    }

    /// The result in a few words.
    #[must_use]
    pub fn figure(&self) -> String {
        let LoadReport {
            refused,
            skipped,
            producer_latency_ns: producer,
            ..
        } = &self.main;
        let (p50, p99) = (time(producer.p50), time(producer.p99));
        let figure = format!("producer p50 {p50}, p99 {p99}; refused {refused}, skipped {skipped}");
        if self.verified {
            figure
        } else {
            format!("{figure}, NOT VERIFIED")
        }
    }
}

/// A table for each load, a row for each policy; nothing without rows.
#[must_use]
pub fn tables(rows: &[BurstReport]) -> String {
    let mut text = String::new();
    write_tables(rows, &mut text).expect("a string takes what is written to it");
    text
}

fn write_tables(rows: &[BurstReport], text: &mut String) -> fmt::Result {
    let Some(first) = rows.first() else {
        return Ok(());
    };
    let BurstConfig {
        drain_ns_per_event,
        burst_events,
        load_percent,
        capacity,
        payload_bytes,
        ..
    } = &first.config;
    writeln!(
        text,
        "burst: the slow reader takes {} an event, the mean load is {load_percent} % of that; bursts of {burst_events} events,",
        time(*drain_ns_per_event)
    )?;
    writeln!(
        text,
        "capacity {capacity}, {payload_bytes}-byte events; all times count from when an event was due\n"
    )?;
    for (index, load) in first.all().enumerate() {
        let cells = [
            "policy",
            "published",
            "delivered",
            "skipped",
            "refused",
            "publish p50",
            "p99",
            "p99.9",
            "max",
            "late p50",
            "p99",
            "max",
            "drain p50",
            "memory",
        ];
        row(text, &load.load, cells.map(str::to_owned))?;
        for report in rows {
            if let Some(load) = report.all().nth(index) {
                row(text, "", load.cells(report.policy))?;
            }
        }
        writeln!(text)?;
    }
    for report in rows {
        for fault in &report.faults {
            writeln!(text, "{}: NOT VERIFIED: {fault}", report.policy)?;
        }
    }
    let unpinned: Vec<_> = (rows.iter().filter(|report| !report.config.pinned))
        .map(|report| report.policy)
        .collect();
    if !unpinned.is_empty() {
        let unpinned = unpinned.join(", ");
        writeln!(text, "unpinned, more threads than usable cores: {unpinned}")?;
    }
    if rows.iter().all(|report| report.verified) {
        writeln!(
            text,
            "verified: every event was delivered once, whole and in order, or is counted where it was lost"
        )?;
    }
    Ok(())
}

fn row(text: &mut String, title: &str, cells: [String; 14]) -> fmt::Result {
    let [policy, figures @ ..] = cells;
    if !title.is_empty() {
        writeln!(text, "{title}")?;
    }
    write!(text, "  {policy:<19}")?;
    for (column, cell) in figures.iter().enumerate() {
        let width = match column {
            0 | 1 | 4 => 12,
            _ => 10,
        };
        write!(text, "{cell:>width$}")?;
    }
    writeln!(text)
}

impl LoadReport {
    fn cells(&self, policy: &str) -> [String; 14] {
        let (producer, late) = (&self.producer_latency_ns, &self.lateness_ns);
        let of = |percentiles: &Percentiles, ns| match percentiles.count {
            0 => "–".to_owned(),
            _ => time(ns),
        };
        [
            policy.to_owned(),
            self.published.to_string(),
            self.delivered.to_string(),
            self.skipped.to_string(),
            self.refused.to_string(),
            time(producer.p50),
            time(producer.p99),
            time(producer.p999),
            time(producer.max),
            of(late, late.p50),
            of(late, late.p99),
            of(late, late.max),
            of(&self.drain_ns, self.drain_ns.p50),
            format!("{} KiB", self.memory_bytes.div_ceil(1024)),
        ]
    }
}

/// A time with as many digits as the eye can use: `3.4 µs`.
fn time(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.2} s", ns as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::burst::load::Shape;
    use crate::machine::Machine;
    use crate::payload::PayloadSize;
    use crate::report::{Limit, Report, Rows};
    use crate::scenario::WaitName;
    use crate::seats::Seats;

    fn report(faults: &[&str]) -> BurstReport {
        let tally = Tally {
            published: 3,
            delivered: 3,
            refused: 1,
            faults: faults.iter().map(ToString::to_string).collect(),
            ..Tally::default()
        };
        let options = Options {
            intensity: 10,
            events: Some(4),
            rounds: 1,
            main_time: std::time::Duration::ZERO,
            sweep_time: std::time::Duration::ZERO,
            payload: PayloadSize::Bytes8,
            capacity: 6,
            wait: None,
        };
        let setup = Setup {
            payload: options.payload,
            capacity: options.capacity,
            wait: WaitName::Adaptive,
            seats: Seats::among(&[], 2),
        };
        let load = |shape| LoadReport::new(&Load::new(shape, 4, 2), &tally, 64);
        BurstReport::new(
            Policy::TryPublish,
            load(Shape::Bursts(10)),
            vec![load(Shape::Poisson)],
            BurstConfig::new(Policy::TryPublish, &options, &setup),
        )
    }

    #[test]
    fn the_json_has_the_promised_shape() {
        let json = serde_json::to_value(report(&[])).expect("plain data");
        assert_eq!(json["policy"], "try_publish");
        assert_eq!(
            (&json["published"], &json["refused"]),
            (&3.into(), &1.into())
        );
        assert_eq!(
            (&json["delivered"], &json["skipped"]),
            (&3.into(), &0.into())
        );
        assert_eq!(json["verified"], true);
        assert!(json["producer_latency_ns"]["p999"].is_u64());
        assert_eq!(json["loads"][0]["load"], "poisson");
        assert_eq!(json["config"]["capacity"], 8);
        assert!(json.get("faults").is_none());
    }

    #[test]
    fn a_fault_under_any_load_is_said_loudly() {
        let report = report(&["event 7 lost"]);
        assert!(!report.verified && report.figure().ends_with("NOT VERIFIED"));
        let tables = tables(&[report]);
        assert!(tables.contains("try_publish: NOT VERIFIED: poisson: event 7 lost"));
        assert!(!tables.contains("\nverified:"));
    }

    #[test]
    fn a_fault_is_one_of_the_whole_run() {
        let run = |faults: &[&str]| Report {
            schema: 1,
            machine: Machine::detect(),
            limit: Limit::default(),
            scenarios: Rows {
                suite: Vec::new(),
                bursts: vec![report(faults)],
            },
        };
        assert!(run(&[]).verified());
        assert!(!run(&["event 7 lost"]).verified());
        let table = run(&[]).table();
        assert!(table.contains("try_publish") && !table.contains("bare stream"));
        let json = serde_json::to_value(run(&[])).expect("plain data");
        assert_eq!(json["scenarios"][0]["policy"], "try_publish");
    }

    #[test]
    fn columns_stand_under_each_other() {
        let tables = tables(&[report(&[])]);
        let lengths: Vec<usize> = (tables.lines().filter(|line| line.starts_with("  ")))
            .map(|line| line.chars().count())
            .collect();
        assert_eq!(lengths.len(), 4);
        assert!(
            lengths.windows(2).all(|pair| pair[0] == pair[1]),
            "{tables}"
        );
    }

    #[test]
    fn times_are_short() {
        let times = [999, 3_400, 26_140_000, 1_500_000_000].map(time);
        assert_eq!(times, ["999 ns", "3.4 µs", "26.1 ms", "1.50 s"]);
    }
}
