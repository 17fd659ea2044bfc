//! Ways to write to a disk, side by side: `cargo bench -p peers --bench disk [-- SCENARIO… --rounds N --json FILE --dir PATH]`.
//!
//! Why the journal writes as it does: docs/decisions/004-journal-io.md. Runs are interleaved, in rotating order, the first round
//! discarded; each writes a file of its own, which is gone afterwards, and reads it back: what was written has to be there.
//! The first contender named is what the journal does; a ratio is how far it is ahead of another one in the same round. A
//! contender that the system refuses is named below the figures, with the system's word, and the others go on without it.
//!
//! | scenario | work | figure |
//! |---|---|---|
//! | `durable_4k`, `_64k`, `_1m` | writes of so many bytes, each durable before the next | bytes a second |
//! | `durable_4k_times` | the same | time of a write, p50 and p99 |
//! | `unsynced` | a file written from front to back in pieces of 256 KiB, nothing synced | bytes a second |
//! | `unsynced_1k` | the same in pieces of 1 KiB | bytes a second |
//! | `prepare` | a segment of 64 MiB is made ready, durably | time of a segment |
//! | `syncer_1`, `_8`, `_stream` | batches of 64 events of 64 bytes are gathered, written and synced: by one thread, or by one that writes and one that syncs; of 1 and 8 publishers that each wait for each batch, and of one that waits for nothing but room, of 1 MiB, or 8 for one thread | events a second |
//! | `syncer_1_times`, … | the same | time until a batch is known to be durable, p50 and p99 |
//!
//! Exit codes: 0 all is well, whether targets are met or not; 1 a contender failed its check; 2 wrong usage; 3 reading or
//! writing failed.

#![deny(unsafe_code)]

#[path = "../journal/directory.rs"]
mod directory;
mod files;
#[allow(unsafe_code)]
mod mapped;
mod plan;
mod prepare;
mod syncer;
#[allow(unsafe_code)]
mod uring;
mod ways;
mod writes;

use clap::{Parser, ValueEnum};
use plan::{Plan, Refusal};
use ringway_harness::contest::Effort;
use ringway_harness::machine::Machine;
use ringway_harness::outcome::{self, Failure, JsonFile, Outcome};
use ringway_harness::progress::Progress;
use ringway_harness::verdict::Results;
use serde::Serialize;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// No round that counts is shorter.
const ROUND_TIME: Duration = Duration::from_millis(200);
/// Nor is one where nothing is synced: a file is full within a few milliseconds, and to make it takes many more.
const UNSYNCED_ROUND_TIME: Duration = Duration::from_millis(60);

/// The size of a segment, and the most that a run writes.
const SEGMENT_BYTES: u64 = 64 << 20;

/// What can go wrong with a contender.
type Answer<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Ways to write to a disk, side by side.
#[derive(Debug, Parser)]
#[command(name = "disk")]
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
    /// Where to write, on the file system to be measured; a relative path counts from the workspace's root
    #[arg(long, value_name = "PATH", default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/disk"))]
    dir: PathBuf,
    /// Cargo says that this is a benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Scenario {
    /// Writes of 4 KiB, each durable.
    #[value(name = "durable_4k")]
    Durable4k,
    /// The time of each.
    #[value(name = "durable_4k_times")]
    Durable4kTimes,
    /// Writes of 64 KiB, each durable.
    #[value(name = "durable_64k")]
    Durable64k,
    /// Writes of 1 MiB, each durable.
    #[value(name = "durable_1m")]
    Durable1m,
    /// Pieces of 256 KiB, nothing synced.
    Unsynced,
    /// Pieces of 1 KiB, nothing synced.
    #[value(name = "unsynced_1k")]
    Unsynced1k,
    /// A segment is made ready.
    Prepare,
    /// One thread for the disk or two, one publisher.
    #[value(name = "syncer_1")]
    Syncer1,
    /// The time until its batches are durable.
    #[value(name = "syncer_1_times")]
    Syncer1Times,
    /// One thread for the disk or two, eight publishers.
    #[value(name = "syncer_8")]
    Syncer8,
    /// The time until their batches are durable.
    #[value(name = "syncer_8_times")]
    Syncer8Times,
    /// One thread for the disk or two, a publisher that waits for room alone.
    SyncerStream,
    /// The time until its batches are durable.
    SyncerStreamTimes,
}

impl Scenario {
    fn plan(self) -> Plan {
        match self {
            Self::Durable4k => writes::durable::<{ 4 << 10 }>("durable_4k"),
            Self::Durable4kTimes => writes::durable::<{ 4 << 10 }>("durable_4k_times").times(),
            Self::Durable64k => writes::durable::<{ 64 << 10 }>("durable_64k"),
            Self::Durable1m => writes::durable::<{ 1 << 20 }>("durable_1m"),
            Self::Unsynced => writes::unsynced::<{ 256 << 10 }>("unsynced"),
            Self::Unsynced1k => writes::unsynced::<{ 1 << 10 }>("unsynced_1k"),
            Self::Prepare => prepare::prepare("prepare"),
            Self::Syncer1 => syncer::syncer::<1>("syncer_1"),
            Self::Syncer1Times => syncer::syncer::<1>("syncer_1_times").times(),
            Self::Syncer8 => syncer::syncer::<8>("syncer_8"),
            Self::Syncer8Times => syncer::syncer::<8>("syncer_8_times").times(),
            Self::SyncerStream => syncer::syncer::<{ syncer::STREAM }>("syncer_stream"),
            Self::SyncerStreamTimes => {
                syncer::syncer::<{ syncer::STREAM }>("syncer_stream_times").times()
            }
        }
    }

    fn round_time(self) -> Duration {
        match self {
            Self::Unsynced | Self::Unsynced1k => UNSYNCED_ROUND_TIME,
            _ => ROUND_TIME,
        }
    }
}

/// What a program gets to see.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    results: Results,
    refused: Vec<Refusal>,
}

fn main() -> ExitCode {
    let args = Args::parse(); // ends the process with code 2 when the usage is wrong
    let outcome = run(&args).unwrap_or_else(|failure| {
        outcome::tell(&format!("disk: {failure}"));
        failure.outcome()
    });
    directory::clear();
    outcome.into()
}

fn run(args: &Args) -> Result<Outcome, Failure> {
    let json = args
        .json
        .as_deref()
        .map(|file| JsonFile::open(&from_root(file)))
        .transpose()?;
    let root = from_root(&args.dir);
    if let Err(error) = directory::begin(root.clone()) {
        outcome::tell(&format!("disk: {}: {error}", root.display()));
        return Ok(Outcome::Io);
    }
    let progress = Progress::new();
    let (mut scenarios, mut refused) = (Vec::new(), Vec::new());
    for scenario in wanted(&args.scenarios) {
        let contest = scenario.plan().contest(&mut refused);
        let effort = Effort {
            rounds: args.rounds.into(),
            round_time: scenario.round_time(),
        };
        scenarios.push(contest.run(effort, &mut |doing| progress.now(doing))?);
        progress.done(&format!("{}: done", contest.name));
    }
    let results = Results {
        machine: Machine::detect(),
        scenarios,
    };
    outcome::print(&results.table())?;
    for refusal in &refused {
        outcome::print(&format!("{refusal}\n"))?;
    }
    let verified = results.verified();
    if let Some(json) = json {
        json.write(&Report { results, refused })?;
    }
    Ok(if verified {
        Outcome::Good
    } else {
        Outcome::Bad
    })
}

/// The scenarios asked for, each once and in their own order; all if none was named.
fn wanted(asked: &[Scenario]) -> impl Iterator<Item = Scenario> {
    let wanted = |scenario: &Scenario| asked.is_empty() || asked.contains(scenario);
    Scenario::value_variants().iter().copied().filter(wanted)
}

/// Cargo runs benchmarks in their package's directory, while the user stands at the root.
fn from_root(file: &Path) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(file)
}
