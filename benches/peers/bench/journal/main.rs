//! Ringway's journal side by side with others: `cargo bench --bench journal_peers [-- SCENARIO… --rounds N --json FILE --dir PATH]`.
//!
//! The same work for all, on the same file system, in directories that are empty at first and gone afterwards. Runs are
//! interleaved, in rotating order, the first round discarded; each reopens what it wrote and reads it back: every confirmed
//! event has to be there, whole, once and in order. Each contender uses its best call for the row. What a contender prepares
//! in the background is ready before the clock starts, as in the middle of a long run; so is the file of the raw limit.
//!
//! | scenario | work | the raw limit |
//! |---|---|---|
//! | `never` | as many events as possible, nothing synced; till all are written | a prepared buffer of 512 KiB, written again and again to a file whose blocks are reserved, as the journal's are; `raw-growing`: they are not; `raw-copied`: the buffer is filled from other memory and summed up before each write, which is what one thread that keeps events has to do |
//! | `group_commit` | batches of 256, each durable before the next | `pwrite` and `fdatasync` of the same events, into blocks that were written before |
//! | `confirmed_1` | each event durable before the next | the same, one event at a time |
//! | `confirmed_8` | eight publishers, each waiting for each of its events | eight threads that put events into one buffer under a lock; one thread takes what has gathered, `pwrite`, `fdatasync`, wakes them |
//! | `recovery` | opening: every frame is checked | reading the same bytes in blocks of 512 KiB |
//! | `replay` | reading it all back, once open | the same |
//! | `open_loop` | a producer offers a quarter of what `never` reaches, at ticks of 200 µs, to a stage beside the journal: the age of events there | the same without journal |
//!
//! Events have 64 bytes; in the rows `…_1k` 1,024. Raw limits write events alone, no headers and no checksums. `never`: peers
//! take batches of 512 KiB, and both threads of Ringway have a core. Where events are made durable nobody is pinned, and everybody
//! sleeps while the disk works: a thread that spins keeps the system from it. `recovery`: only those take part that read through their log when they are opened.
//!
//! Exit codes: 0 all is well, whether targets are met or not; 1 a contender failed its check; 2 wrong usage; 3 reading or
//! writing failed.

#![forbid(unsafe_code)]

mod append;
mod directory;
mod event;
mod open_loop;
mod ours;
mod peers;
mod raw;
mod read;
mod store;

use clap::{Parser, ValueEnum};
use ringway_harness::contest::{self, Effort, Sample};
use ringway_harness::machine::Machine;
use ringway_harness::outcome::{self, Failure, JsonFile, Outcome};
use ringway_harness::progress::Progress;
use ringway_harness::seats::Seats;
use ringway_harness::verdict::Results;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;
use std::{panic, thread};

/// No round that counts is shorter.
const ROUND_TIME: Duration = Duration::from_millis(200);
/// A run that has not ended after this long never will.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a round writes where nothing is synced, at most; Ringway and the raw limit write exactly so much.
const UNSYNCED_BYTES: u64 = 128 << 20;
/// What is written at once where nothing is synced.
const CHUNK_BYTES: u64 = 512 << 10;
/// The size of a file that is prepared for durable writes.
const DURABLE_FILE_BYTES: u64 = 48 << 20;
/// What a run writes durably, at most: it fits into the prepared file, with the headers of whoever has some.
const DURABLE_BYTES: u64 = 32 << 20;
/// Events of a large batch that is made durable at once.
const BATCH: u64 = 256;
/// 64 bytes in words.
const SMALL: usize = 8;
/// 1 KiB in words.
const LARGE: usize = 128;

/// What can go wrong with a contender; all of it fails its check.
type Answer<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Ringway's journal side by side with others.
#[derive(Debug, Parser)]
#[command(name = "journal_peers")]
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
    #[arg(long, value_name = "PATH", default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/journal_peers"))]
    dir: PathBuf,
    /// Cargo says that this is a benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Scenario {
    /// As fast as possible, nothing synced.
    Never,
    /// The same with events of 1 KiB.
    #[value(name = "never_1k")]
    Never1k,
    /// Batches of 256, each durable.
    GroupCommit,
    /// The same with events of 1 KiB.
    #[value(name = "group_commit_1k")]
    GroupCommit1k,
    /// Each event durable, one publisher.
    #[value(name = "confirmed_1")]
    Confirmed1,
    /// The same with events of 1 KiB.
    #[value(name = "confirmed_1_1k")]
    Confirmed1Large,
    /// Each event durable, eight publishers.
    #[value(name = "confirmed_8")]
    Confirmed8,
    /// The same with events of 1 KiB.
    #[value(name = "confirmed_8_1k")]
    Confirmed8Large,
    /// Opening what is there, every checksum included.
    Recovery,
    /// Reading it all.
    Replay,
    /// A producer that offers a quarter of what is possible, and a stage beside the journal.
    OpenLoop,
}

impl Scenario {
    fn contest(self) -> contest::Scenario {
        match self {
            Self::Never => append::never::<SMALL>("never"),
            Self::Never1k => append::never::<LARGE>("never_1k"),
            Self::GroupCommit => append::group_commit::<SMALL>("group_commit"),
            Self::GroupCommit1k => append::group_commit::<LARGE>("group_commit_1k"),
            Self::Confirmed1 => append::confirmed_1::<SMALL>("confirmed_1"),
            Self::Confirmed1Large => append::confirmed_1::<LARGE>("confirmed_1_1k"),
            Self::Confirmed8 => append::confirmed_8::<SMALL>("confirmed_8"),
            Self::Confirmed8Large => append::confirmed_8::<LARGE>("confirmed_8_1k"),
            Self::Recovery => read::recovery(),
            Self::Replay => read::replay(),
            Self::OpenLoop => open_loop::open_loop(),
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse(); // ends the process with code 2 when the usage is wrong
    let outcome = run(&args).unwrap_or_else(|failure| {
        outcome::tell(&format!("journal_peers: {failure}"));
        failure.outcome()
    });
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
        outcome::tell(&format!("journal_peers: {}: {error}", root.display()));
        return Ok(Outcome::Io);
    }
    let effort = Effort {
        rounds: args.rounds.into(),
        round_time: ROUND_TIME,
    };
    let (progress, watchdog) = (Progress::new(), watchdog());
    let mut scenarios = Vec::new();
    for scenario in wanted(&args.scenarios) {
        let contest = scenario.contest();
        let mut result = contest.run(effort, &mut |doing| {
            progress.now(doing);
            // The watchdog ends only with the process.
            let _ = watchdog.send(doing.to_owned());
        })?;
        match scenario {
            Scenario::Recovery | Scenario::Replay => read::add_floor(&mut result),
            Scenario::OpenLoop => open_loop::add_kept(&mut result),
            _ => {}
        }
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
        outcome::tell(&format!("journal_peers: {what}"));
        directory::clear();
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
                Err(RecvTimeoutError::Timeout) => fail(&format!("{doing}: does not end")),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    });
    said
}

/// What a contender did; what went wrong is a fault of its run, which ends no other's.
fn sample(run: impl FnOnce() -> Answer<Sample>) -> Result<Sample, ringway::Error> {
    Ok(run().unwrap_or_else(|fault| Sample::timed(1, ROUND_TIME, vec![fault.to_string()])))
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
