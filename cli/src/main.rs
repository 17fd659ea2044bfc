//! `ringway`: measures the bus on the machine at hand, and looks into journals. Results go to standard output, everything
//! else to standard error.
//!
//! Exit codes of `bench`: 0 all is well, 1 the answer is bad (a run that could not be verified), 2 wrong usage or
//! configuration, 3 reading or writing failed. Those of [`journal`] tell damage from that.

#![forbid(unsafe_code)]

mod bench;
mod journal;

use clap::{Parser, Subcommand};
use ringway_harness::outcome;
use std::process::ExitCode;

/// Measures Ringway on this machine, and looks into its journals.
#[derive(Debug, Parser)]
#[command(name = "ringway", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Bench(bench::Args),
    Journal(journal::Args),
}

fn main() -> ExitCode {
    let Cli { command } = Cli::parse(); // ends the process with code 2 when the usage is wrong
    let result = match command {
        Command::Bench(args) => bench::run(args),
        Command::Journal(args) => return journal::run(args),
    };
    let outcome = result.unwrap_or_else(|failure| {
        outcome::tell(&format!("ringway: {failure}"));
        failure.outcome()
    });
    outcome.into()
}
