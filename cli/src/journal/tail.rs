//! `ringway journal tail`: the newest records, and those that are yet to come.

use crate::journal::output::Output;
use crate::journal::rows::{Format, Rows, Shape};
use crate::journal::source::out_of_range;
use crate::journal::{Answer, CODES, Failure, source};
use ringway::Sequence;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long an idle journal is left alone: first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Print the newest records as lines of JSON, and follow the journal
///
/// What is printed is written, not necessarily durable.
#[derive(Debug, clap::Args)]
#[command(after_help = CODES)]
pub(crate) struct Args {
    /// The journal's directory
    #[arg(value_name = "DIR")]
    path: PathBuf,
    /// Print records as they are written, until an interrupt or until nobody reads
    #[arg(short, long)]
    follow: bool,
    /// Begin with this sequence, or with the next one that is written [default: the last N]
    #[arg(long, value_name = "SEQ|end", value_parser = from, conflicts_with = "last")]
    from: Option<From>,
    /// Begin so many sequences before the end
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    last: u64,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Sequence(u64),
    End,
}

fn from(text: &str) -> Result<From, String> {
    match text {
        "end" => Ok(From::End),
        number => number
            .parse()
            .map(From::Sequence)
            .map_err(|_| "accepted is a sequence, or `end`".into()),
    }
}

pub(crate) fn run(args: &Args) -> Result<Answer, Failure> {
    let interrupted = interrupts()?;
    let (reader, codec) = source::read(&args.path)?;
    args.shape.check(codec.event_bytes)?;
    let (first, next) = (reader.first()?.get(), reader.next()?.get());
    let from = match args.from {
        Some(From::Sequence(from)) if !(first..=next).contains(&from) => {
            return Err(out_of_range("--from", from, (first, next)));
        }
        Some(From::Sequence(from)) => from,
        Some(From::End) => next,
        None => next.saturating_sub(args.last).max(first),
    };
    // without `--follow`, a writer that is faster is not chased
    let end = if args.follow { u64::MAX } else { next };
    let mut tail = reader.tail(Sequence::new(from))?;
    let mut rows = Rows::new(&args.shape, Format::Jsonl, Output::stdout())?;
    let mut pause = PAUSES.0;
    // relaxed: it guards no data
    while !interrupted.load(Ordering::Relaxed) {
        match tail.try_next() {
            Ok(Some(record)) if record.sequence.get() >= end => break,
            Ok(Some(record)) => {
                rows.write(&record)?;
                pause = PAUSES.0;
            }
            Ok(None) if !args.follow => break,
            Ok(None) => {
                rows.flush()?;
                if !somebody_reads(pause) {
                    break;
                }
                pause = (pause * 2).min(PAUSES.1);
            }
            Err(error) => {
                rows.flush()?;
                return Err(error.into());
            }
        }
    }
    rows.flush()?;
    Ok(Answer::Good)
}

/// Set by an interrupt; another one ends the process, be it that it waits for a reader.
fn interrupts() -> Result<Arc<AtomicBool>, Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let register = |signal: i32| {
        flag::register_conditional_shutdown(signal, 128 + signal, interrupted.clone())?;
        flag::register(signal, interrupted.clone())
    };
    let registered = register(SIGINT).and_then(|_| register(SIGTERM));
    registered
        .map_err(|error| io::Error::new(error.kind(), format!("a signal handler: {error}")))?;
    Ok(interrupted)
}

/// Waits so long, unless the reader leaves or a signal comes. `false`: the reader has left.
#[cfg(unix)]
fn somebody_reads(pause: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = io::stdout();
    let mut stdout = [PollFd::new(&stdout, PollFlags::empty())];
    let pause = Timespec::try_from(pause).ok();
    let polled = poll(&mut stdout, pause.as_ref());
    polled.is_err()
        || !stdout[0]
            .revents()
            .intersects(PollFlags::ERR | PollFlags::HUP)
}

#[cfg(not(unix))]
fn somebody_reads(pause: Duration) -> bool {
    std::thread::sleep(pause);
    true
}
