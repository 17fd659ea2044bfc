//! Ringway side by side with other queues: `cargo bench --bench peers [-- SCENARIO… --rounds N --json FILE]`.
//!
//! The rules are the same for all. Every queue has room for 8,192 events. Threads that have a core each are pinned and spin
//! (those of `wakeup` sleep); where threads outnumber cores nobody is pinned, and everybody waits by spinning 64 times and
//! then yielding; in `oversubscribed` each library waits as it does by default. Rounds are interleaved, in rotating order,
//! the first discarded. A consumer does one compare and one add an event, which is at once the check of order and
//! completeness. Each contender uses its best call for the row, under two names where that is not clear beforehand.
//!
//! Exit codes: 0 all is well, whether targets are met or not; 1 a contender failed its check; 2 wrong usage; 3 reading or
//! writing failed.

#![deny(unsafe_code)]

mod graph;
mod many;
mod ours;
mod peers;
mod queue;
mod raw;
mod round_trip;
mod share;
mod stream;
mod work;

use clap::{Parser, ValueEnum};
use ringway_harness::contest::{self, Effort};
use ringway_harness::machine::Machine;
use ringway_harness::outcome::{self, Failure, JsonFile, Outcome};
use ringway_harness::progress::Progress;
use ringway_harness::seats::Seats;
use ringway_harness::verdict::Results;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;
use std::{panic, thread};

/// The capacity of every queue, in events.
const CAPACITY: usize = 8192;
/// No round that counts is shorter.
const ROUND_TIME: Duration = Duration::from_millis(200);
/// A round that has not ended after this long never will: an event was lost.
const PATIENCE: Duration = Duration::from_secs(60);

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
    /// The same in batches of 64.
    SpscBatch,
    /// One at a time, events of 64 bytes.
    #[value(name = "spsc_64b")]
    Spsc64b,
    /// One at a time, events of 256 bytes.
    #[value(name = "spsc_256b")]
    Spsc256b,
    /// One event in flight, to and fro.
    RoundTrip,
    /// Two producers, one consumer, one event at a time.
    Mpsc,
    /// The same in batches of 64.
    MpscBatch,
    /// Two and four producers, ordered for each of them only.
    MpscLanes,
    /// Publishing alone, into a ring that takes many producers.
    MpPublish,
    /// One producer, two stages side by side.
    Broadcast,
    /// One producer, three stages in a row.
    Pipeline,
    /// One producer, a stage, two side by side after it, one after both.
    Diamond,
    /// Two producers, two consumers that compete.
    WorkSharing,
    /// 4, 8 and 16 threads, half of them producers, each library blocking as it does by default.
    Oversubscribed,
    /// From publishing to a consumer that slept.
    Wakeup,
}

impl Scenario {
    fn contest(self) -> contest::Scenario {
        match self {
            Self::Spsc => stream::spsc(),
            Self::SpscBatch => stream::spsc_batch(),
            Self::Spsc64b => stream::spsc_64b(),
            Self::Spsc256b => stream::spsc_256b(),
            Self::RoundTrip => round_trip::round_trip(),
            Self::Mpsc => many::mpsc(),
            Self::MpscBatch => many::mpsc_batch(),
            Self::MpscLanes => many::mpsc_lanes(),
            Self::MpPublish => many::mp_publish(),
            Self::Broadcast => graph::broadcast(),
            Self::Pipeline => graph::pipeline(),
            Self::Diamond => graph::diamond(),
            Self::WorkSharing => share::work_sharing(),
            Self::Oversubscribed => share::oversubscribed(),
            Self::Wakeup => round_trip::wakeup(),
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
    let effort = Effort {
        rounds: args.rounds.into(),
        round_time: ROUND_TIME,
    };
    let (progress, watchdog) = (Progress::new(), watchdog());
    let mut scenarios = Vec::new();
    for scenario in wanted(&args.scenarios) {
        let contest = scenario.contest();
        let result = contest.run(effort, &mut |doing| {
            progress.now(doing);
            // The watchdog ends only with the process.
            let _ = watchdog.send(doing.to_owned());
        })?;
        scenarios.push(result);
        progress.done(&format!("{}: done", contest.name));
    }
    let results = Results {
        machine: Machine::detect(),
        scenarios,
    };
    outcome::print(&results.table())?;
    if let Some(json) = json {
        json.write(&results)?;
    }
    Ok(if results.verified() {
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

/// Ends the process when a contender panics or does not come to an end: its other threads would wait for it for ever.
fn watchdog() -> Sender<String> {
    let fail = |what: &str| -> ! {
        outcome::tell(&format!("peers: {what}"));
        process::exit(1)
    };
    panic::set_hook(Box::new(move |panic| {
        fail(&format!("a contender failed: {panic}"))
    }));
    let (said, says) = mpsc::channel::<String>();
    thread::spawn(move || {
        let mut doing = String::new();
        loop {
            match says.recv_timeout(PATIENCE) {
                Ok(next) => doing = next,
                Err(RecvTimeoutError::Timeout) => {
                    fail(&format!("{doing}: does not end; events were lost"))
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    });
    said
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
