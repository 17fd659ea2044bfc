//! Where events should lie, and how both ends should go about it: `cargo bench -p peers --bench storage [-- OPTIONS]`.
//!
//! Two threads pinned to the first two usable cores, both spinning. In each round every contender runs once, for about as long as
//! every other one, in rotating order; the first round is discarded. Figures are medians in million events a second, and medians
//! of the ratio to the first contender in the same round. Every event is checked for order, and read to its last word.
//!
//! A contender is `DESIGN/AHEAD/PAUSES`: how many bytes ahead the producer asks for cache lines, and how many pauses the
//! consumer makes when it has caught up with a stream; of `ringway` only the pauses count, of those of `rtrb` neither does.
//!
//! `--paired` sets the first contender against each other one by itself, in many short rounds of two runs, whose order changes from
//! round to round: what differs by a tenth shows in spite of drift. Printed is the median of the rounds' ratios between their
//! quartiles, and of both contenders the median and what the slowest tenth of the rounds stayed below.

mod contenders;
mod rings;

use clap::{Parser, ValueEnum};
use contenders::{Case, Design, run, steps};
use rings::Tuning;
use ringway_harness::outcome::{self, Outcome};
use ringway_harness::seats::Seats;
use ringway_harness::spread::{Spread, median};
use std::fmt::Write;
use std::process::ExitCode;
use std::str::FromStr;

/// Events of a contender's first run.
const FIRST_RUN: u64 = 100_000;

const SELECTED: &str = "cursor,cursor/512/64,stamp/512/64,line/0/64,line/512/64,header8/0/64,header8/512/0,header8/512/64,header8/1024/64,ringway/0/0,ringway/0/64,ringway/0/256,rtrb,rtrb-pop";

/// What the reader's distance does: the default; none; the kilobyte, with one pause; more pauses; reads that keep none.
const PAIRED: &str = "ringway/0/64,ringway/0/0,ringway/0/1,ringway/0/256,deadline/0/64";

/// Layouts of a single-producer ring side by side.
#[derive(Debug, Parser)]
struct Args {
    /// Sizes of events in bytes: 8, 16, 32, 64, 256
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "8,64,256",
        default_value_if("paired", "true", "8,16,64,256")
    )]
    bytes: Vec<usize>,
    /// Capacities in events
    #[arg(long, value_delimiter = ',', default_value = "8192")]
    capacities: Vec<usize>,
    /// Events published at once
    #[arg(long, value_delimiter = ',', default_value = "1,64", value_parser = clap::value_parser!(u64).range(1..))]
    batches: Vec<u64>,
    /// Nanoseconds of work an event, by the consumer
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "0,10",
        default_value_if("paired", "true", "0")
    )]
    work: Vec<u64>,
    /// The most events that a consumer takes at once
    #[arg(long, default_value_t = 256)]
    batch_max: usize,
    /// Who takes part, each DESIGN/AHEAD/PAUSES; ratios are to the first
    #[arg(long, value_delimiter = ',', default_value = SELECTED, default_value_if("paired", "true", PAIRED))]
    contenders: Vec<Contender>,
    /// All sizes, capacities of 2^7 to 2^16, 0, 10 and 50 ns of work: about twelve minutes
    #[arg(long)]
    full: bool,
    /// The first contender against each other one by itself, in short rounds
    #[arg(long)]
    paired: bool,
    /// Rounds that count
    #[arg(long, default_value_t = 9, default_value_if("paired", "true", "30"), value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// How long a contender runs in a round, about
    #[arg(long, default_value_t = 40, default_value_if("paired", "true", "16"))]
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
        let table = if args.paired {
            pairs(&args, &case, &seats)
        } else {
            table(&args, &case, &seats)
        };
        match table.map(|table| outcome::print(&table)) {
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

/// What each of `contenders` reached in each round, in million events a second.
fn rates(
    args: &Args,
    contenders: &[&Contender],
    case: &Case,
    seats: &Seats,
) -> Result<Vec<Vec<f64>>, String> {
    let count = contenders.len();
    let mut events = vec![FIRST_RUN; count];
    let mut rates = vec![Vec::new(); count];
    for round in 0..=usize::from(args.rounds) {
        for index in (0..count).map(|turn| (turn + round) % count) {
            let Contender {
                name,
                design,
                tuning,
            } = contenders[index];
            let rate = run(*design, *tuning, case, seats, events[index])
                .map_err(|fault| format!("{name}, {case:?}: {fault}"))?;
            if round == 0 {
                events[index] = (rate * 1e6) as u64 * args.millis + 1;
            } else {
                rates[index].push(rate * 1e3);
            }
        }
    }
    Ok(rates)
}

/// Of each round; both are in the order of rounds.
fn ratios(rates: &[f64], firsts: &[f64]) -> Vec<f64> {
    let both = rates.iter().zip(firsts);
    both.map(|(rate, first)| rate / first).collect()
}

/// All contenders of a case in the same rounds.
fn table(args: &Args, case: &Case, seats: &Seats) -> Result<String, String> {
    let contenders: Vec<_> = args.contenders.iter().collect();
    let rates = rates(args, &contenders, case, seats)?;
    let mut table = format!(
        "\n{case}\n{:18} {:>7} {:>15} {:>6}\n",
        "", "M/s", "least..most", "ratio"
    );
    for (contender, rounds) in contenders.iter().zip(&rates) {
        let ratio = median(&ratios(rounds, &rates[0])).unwrap_or_default();
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

/// The first contender of a case against each other one.
fn pairs(args: &Args, case: &Case, seats: &Seats) -> Result<String, String> {
    let Some((first, others)) = args.contenders.split_first() else {
        return Ok(String::new());
    };
    let mut table = format!(
        "\n{case}\n{:18} {:>12} {:>14} {:>6} {:>12}\n",
        format!("to {}", first.name),
        "M/s",
        "slowest tenth",
        "ratio",
        "quartiles"
    );
    for other in others {
        let mut rates = rates(args, &[first, other], case, seats)?;
        let mut ratios = ratios(&rates[1], &rates[0]);
        let [ratio, low, high] = [0.5, 0.25, 0.75].map(|part| quantile(&mut ratios, part));
        let [was, is] = [0, 1].map(|index| quantile(&mut rates[index], 0.5));
        let [was_slow, is_slow] = [0, 1].map(|index| quantile(&mut rates[index], 0.1));
        let (middle, slow) = (
            format!("{was:.0} to {is:.0}"),
            format!("{was_slow:.0} to {is_slow:.0}"),
        );
        let range = format!("{low:.2}..{high:.2}");
        let line = writeln!(
            table,
            "{:18} {middle:>12} {slow:>14} {ratio:6.2} {range:>12}",
            other.name
        );
        line.map_err(|e| e.to_string())?;
    }
    Ok(table)
}

/// What so great a part of `figures` is below; there are some.
fn quantile(figures: &mut [f64], part: f64) -> f64 {
    let rank = (figures.len() - 1) as f64 * part;
    *figures
        .select_nth_unstable_by(rank.round() as usize, f64::total_cmp)
        .1
}
