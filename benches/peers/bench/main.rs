//! Ringway side by side with other queues: `cargo bench --bench peers [-- SCENARIO… --rounds N --json FILE]`.
//!
//! The rules are the same for all: capacity 8,192 events of eight bytes, two threads pinned to the first two usable cores,
//! both spinning, interleaved rounds in rotating order, the first discarded. The consumer does one compare and one add an
//! event, which is at once the check of order and completeness. Each contender uses its best call for the row.
//!
//! Exit codes: 0 all is well, 1 a contender failed its check, 2 wrong usage, 3 reading or writing failed.

#![forbid(unsafe_code)]

mod round_trip;
mod spsc;

use clap::{Parser, ValueEnum};
use ringway_harness::contest::{Results, Row};
use ringway_harness::machine::Machine;
use ringway_harness::outcome::{self, Failure, JsonFile, Outcome};
use ringway_harness::progress::Progress;
use ringway_harness::seats::Seats;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The capacity of every queue, in events.
const CAPACITY: usize = 8192;
/// No round that counts is shorter.
const ROUND_TIME: Duration = Duration::from_millis(200);

/// Ringway side by side with other queues.
#[derive(Debug, Parser)]
#[command(name = "peers")]
struct Args {
    /// What to measure [default: all]
    #[arg(value_name = "SCENARIO", value_enum)]
    scenarios: Vec<Scenario>,
    /// Rounds that count
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    rounds: u16,
    /// Write the results to FILE too, as JSON; a relative path counts from the workspace's root
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Cargo says that this is a benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Scenario {
    /// One producer, one consumer, one event at a time.
    Spsc,
    /// One event in flight, to and fro.
    RoundTrip,
}

impl Scenario {
    const fn row(self) -> Row {
        match self {
            Self::Spsc => spsc::ROW,
            Self::RoundTrip => round_trip::ROW,
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse(); // ends the process with code 2 when the usage is wrong
    let outcome = run(&args).unwrap_or_else(|failure| {
        outcome::tell(&format!("peers: {failure}"));
        failure.outcome()
    });
    outcome.into()
}

fn run(args: &Args) -> Result<Outcome, Failure> {
    if !seats().pinned() {
        outcome::tell(
            "peers: two usable cores are needed: on one, spinning threads keep each other from running",
        );
        return Ok(Outcome::Usage);
    }
    let json = args
        .json
        .as_deref()
        .map(|file| JsonFile::open(&from_root(file)))
        .transpose()?;
    let rows = rows(&args.scenarios);
    let progress = Progress::new();
    let mut scenarios = Vec::with_capacity(rows.len());
    for row in &rows {
        scenarios.push(row.run(args.rounds.into(), ROUND_TIME, &mut |text| {
            progress.now(text)
        })?);
        progress.done(&format!("{}: done", row.name));
    }
    let results = Results {
        machine: Machine::detect(),
        scenarios,
    };
    outcome::print(&results.table(&rows))?;
    if let Some(json) = json {
        json.write(&results)?;
    }
    Ok(if results.verified() {
        Outcome::Good
    } else {
        Outcome::Bad
    })
}

/// The rows asked for, each once and in their own order; all if none was named.
fn rows(asked: &[Scenario]) -> Vec<Row> {
    let wanted = |scenario: &&Scenario| asked.is_empty() || asked.contains(scenario);
    Scenario::value_variants()
        .iter()
        .filter(wanted)
        .map(|scenario| scenario.row())
        .collect()
}

/// The first two usable cores.
fn seats() -> Seats {
    Seats::for_threads(2)
}

/// Cargo runs benchmarks in their package's directory, while the user stands at the root.
fn from_root(file: &Path) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(file)
}
