//! Where events should lie, and how both ends should go about it: `cargo bench -p peers --bench storage [-- OPTIONS]`.
//!
//! Two threads pinned to the first two usable cores, both spinning. In each round every contender runs once, for about as long as
//! every other one, in rotating order; the first round is discarded. Figures are medians in million events a second, and medians
//! of the ratio to the first contender in the same round. Every event is checked for order, and read to its last word.
//!
//! A contender is `DESIGN/AHEAD/PAUSES`: how many bytes ahead the producer asks for cache lines, and how many pauses the
//! consumer makes when it has caught up with a stream; of `ringway` only the pauses count, of those of `rtrb` neither does.

mod contenders;
mod rings;

use clap::{Parser, ValueEnum};
use contenders::{Case, Design, run, steps};
use rings::Tuning;
use ringway_harness::outcome::{self, Outcome};
use ringway_harness::seats::Seats;
use ringway_harness::spread::Spread;
use std::fmt::Write;
use std::process::ExitCode;
use std::str::FromStr;

/// Events of a contender's first run.
const FIRST_RUN: u64 = 100_000;

const SELECTED: &str = "cursor,cursor/512/64,stamp/512/64,line/0/64,line/512/64,header8/0/64,header8/512/0,header8/512/64,header8/1024/64,ringway/0/0,ringway/0/64,ringway/0/256,rtrb,rtrb-pop";

/// Layouts of a single-producer ring side by side.
#[derive(Debug, Parser)]
struct Args {
    /// Sizes of events in bytes: 8, 16, 32, 64, 256
    #[arg(long, value_delimiter = ',', default_value = "8,64,256")]
    bytes: Vec<usize>,
    /// Capacities in events
    #[arg(long, value_delimiter = ',', default_value = "8192")]
    capacities: Vec<usize>,
    /// Events published at once
    #[arg(long, value_delimiter = ',', default_value = "1,64", value_parser = clap::value_parser!(u64).range(1..))]
    batches: Vec<u64>,
    /// Nanoseconds of work an event, by the consumer
    #[arg(long, value_delimiter = ',', default_value = "0,10")]
    work: Vec<u64>,
    /// The most events that a consumer takes at once
    #[arg(long, default_value_t = 256)]
    batch_max: usize,
    /// Who takes part, each DESIGN/AHEAD/PAUSES; ratios are to the first
    #[arg(long, value_delimiter = ',', default_value = SELECTED)]
    contenders: Vec<Contender>,
    /// All sizes, capacities of 2^7 to 2^16, 0, 10 and 50 ns of work: about twelve minutes
    #[arg(long)]
    full: bool,
    /// Rounds that count
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// How long a contender runs in a round, about
    #[arg(long, default_value_t = 40)]
    millis: u64,
    /// Cargo says that this is a benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Debug)]
struct Contender {
    name: String,
    design: Design,
    tuning: Tuning,
}

impl FromStr for Contender {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('/');
        let design = Design::from_str(parts.next().unwrap_or_default(), true)?;
        let mut number = || parts.next().map_or(Ok(0), str::parse::<u32>);
        let mut tuning = || {
            Ok::<_, std::num::ParseIntError>(Tuning {
                ahead: number()? as usize,
                pauses: number()?,
            })
        };
        Ok(Self {
            name: text.to_owned(),
            design,
            tuning: tuning().map_err(|e| e.to_string())?,
        })
    }
}

fn main() -> ExitCode {
    let mut args = Args::parse();
    if args.full {
        args.bytes = vec![8, 16, 32, 64, 256];
        args.capacities = vec![1 << 7, 1 << 10, 1 << 13, 1 << 16];
        args.work = vec![0, 10, 50];
    }
    let seats = Seats::for_threads(2);
    if !seats.pinned() {
        outcome::tell("storage: two usable cores are needed: spinning threads would share one");
        return Outcome::Usage.into();
    }
    for case in cases(&args) {
        match table(&args, &case, &seats).map(|table| outcome::print(&table)) {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => return failure.outcome().into(),
            Err(fault) => {
                outcome::tell(&format!("storage: {fault}"));
                return Outcome::Bad.into();
            }
        }
    }
    Outcome::Good.into()
}

fn cases(args: &Args) -> Vec<Case> {
    let mut cases = Vec::new();
    for &bytes in &args.bytes {
        for &capacity in &args.capacities {
            for &batch in &args.batches {
                cases.extend(args.work.iter().map(|&work| Case {
                    bytes,
                    capacity,
                    batch,
                    batch_max: args.batch_max,
                    work,
                    steps: steps(work),
                }));
            }
        }
    }
    cases
}

/// Runs all contenders of a case in all rounds.
fn table(args: &Args, case: &Case, seats: &Seats) -> Result<String, String> {
    let count = args.contenders.len();
    let mut events = vec![FIRST_RUN; count];
    let mut rates = vec![Vec::new(); count];
    for round in 0..=usize::from(args.rounds) {
        for index in (0..count).map(|turn| (turn + round) % count) {
            let Contender {
                name,
                design,
                tuning,
            } = &args.contenders[index];
            let rate = run(*design, *tuning, case, seats, events[index])
                .map_err(|fault| format!("{name}, {case:?}: {fault}"))?;
            if round == 0 {
                events[index] = (rate * 1e6) as u64 * args.millis + 1;
            } else {
                rates[index].push(rate * 1e3);
            }
        }
    }
    let Case {
        bytes,
        capacity,
        batch,
        work,
        ..
    } = case;
    let mut table = format!(
        "\n{bytes} bytes, capacity {capacity}, batches of {batch}, {work} ns an event\n{:18} {:>7} {:>15} {:>6}\n",
        "", "M/s", "least..most", "ratio"
    );
    for (contender, rounds) in args.contenders.iter().zip(&rates) {
        let ratios = rounds
            .iter()
            .zip(&rates[0])
            .map(|(rate, first)| rate / first);
        let ratio = Spread::of(ratios.collect()).map_or(0.0, |ratios| ratios.median);
        if let Some(Spread {
            median, min, max, ..
        }) = Spread::of(rounds.clone())
        {
            let range = format!("{min:.0}..{max:.0}");
            let line = writeln!(
                table,
                "{:18} {median:7.1} {range:>15} {ratio:6.2}",
                contender.name
            );
            line.map_err(|e| e.to_string())?;
        }
    }
    Ok(table)
}
