//! `ringway journal`: a journal's files, also while they are written. No verb takes the lock or changes a file.

mod dump;
mod export;
mod fields;
mod inspect;
mod meter;
mod output;
mod rows;
mod source;
mod tail;
mod tallies;
mod text;
mod verify;

use clap::Subcommand;
use ringway::{Error, ErrorKind};
use ringway_harness::outcome;
use std::fmt;
use std::io;
use std::process::ExitCode;

const CODES: &str = "\
Exit codes:
  0  all is well
  1  verify: there is an end that was never reported durable, which opening the journal would cut off,
     or a frame that was just being written
  2  wrong usage
  3  the journal is corrupt: standard error says in which segment, at which offset and sequence
  4  reading or writing failed, or there is no journal";

/// Look into a journal's files, also while they are written
///
/// Nothing is locked, and no file is changed.
#[derive(Debug, clap::Args)]
#[command(after_help = CODES)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Inspect(inspect::Args),
    Verify(verify::Args),
    Dump(dump::Args),
    Tail(tail::Args),
    Export(export::Args),
}

/// How a verb ended that could answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Good,
    /// Opening the journal would cut off its end.
    UnsyncedEnd,
}

/// Why a verb could not answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An argument does not fit the journal.
    Usage(String),
    Journal(Error),
    Corrupt(String),
    NoJournal(String),
    Write(io::Error),
    /// Whoever read the output has seen all they wanted.
    ReaderLeft,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Journal(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::ReaderLeft;
        }
        Self::Write(error)
    }
}

impl From<csv::Error> for Failure {
    fn from(error: csv::Error) -> Self {
        Self::from(io::Error::from(error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Corrupt(text) | Self::NoJournal(text) => f.write_str(text),
            Self::Journal(error) => error.fmt(f),
            Self::Write(error) => write!(f, "cannot write {error}"),
            Self::ReaderLeft => f.write_str("nobody reads the output"),
        }
    }
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Journal(error) => match error.kind() {
                ErrorKind::InvalidConfig => 2,
                ErrorKind::JournalCorrupt => 3,
                _ => 4,
            },
            Self::Corrupt(_) => 3,
            Self::NoJournal(_) | Self::Write(_) => 4,
            Self::ReaderLeft => 0,
        }
    }
}

pub(crate) fn run(args: Args) -> ExitCode {
    let answer = match args.verb {
        Verb::Inspect(args) => inspect::run(&args),
        Verb::Verify(args) => verify::run(&args),
        Verb::Dump(args) => dump::run(&args),
        Verb::Tail(args) => tail::run(&args),
        Verb::Export(args) => export::run(&args),
    };
    ExitCode::from(match answer {
        Ok(Answer::Good) => 0,
        Ok(Answer::UnsyncedEnd) => 1,
        Err(failure) => {
            if !matches!(failure, Failure::ReaderLeft) {
                outcome::tell(&format!("ringway: {failure}"));
            }
            failure.code()
        }
    })
}
