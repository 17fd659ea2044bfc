//! `ringway journal export`: records for other programs.

use crate::journal::meter::Meter;
use crate::journal::output::Output;
use crate::journal::rows::{Format, Rows, Shape};
use crate::journal::source::{Raw, out_of_range};
use crate::journal::{Answer, CODES, Failure, source, text};
use jiff::{SpanRelativeTo, Timestamp};
use ringway::{JournalReader, Replay, Sequence};
use ringway_harness::outcome;
use std::ops::Range;
use std::path::PathBuf;
use std::time::SystemTime;

/// Write records as lines of JSON or as CSV: sequence, time, payload
///
/// A journal that is being written is exported up to its last record at the beginning. Sequences without a record, abandoned or lost, are left out.
#[derive(Debug, clap::Args)]
#[command(after_help = CODES)]
pub(crate) struct Args {
    /// The journal's directory
    #[arg(value_name = "DIR")]
    path: PathBuf,
    /// What to write
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Begin with this sequence [default: the first]
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// End before this sequence [default: behind the last]
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,
    /// Begin with what was written at this time: 2026-01-31T12:00:00Z, or so long ago: "90s", "2h 30m", "3 days"
    #[arg(long, value_name = "TIME", value_parser = since, conflicts_with = "from")]
    since: Option<SystemTime>,
    /// Write into FILE, which is replaced [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    shape: Shape,
}

fn since(text: &str) -> Result<SystemTime, String> {
    let accepted = "accepted is a time as 2026-01-31T12:00:00Z, or how long ago, as `90s`, `2h 30m` or `3 days`";
    if let Ok(time) = text.parse::<Timestamp>() {
        return SystemTime::try_from(time).map_err(|_| accepted.to_owned());
    }
    let span: jiff::Span = text.parse().map_err(|_| accepted.to_owned())?;
    let ago = span.abs().to_duration(SpanRelativeTo::days_are_24_hours());
    let ago = ago
        .ok()
        .and_then(|ago| std::time::Duration::try_from(ago).ok());
    let time = ago.and_then(|ago| SystemTime::now().checked_sub(ago));
    time.ok_or_else(|| accepted.to_owned())
}

pub(crate) fn run(args: &Args) -> Result<Answer, Failure> {
    let (reader, codec) = source::read(&args.path)?;
    args.shape.check(codec.event_bytes)?;
    let next = reader.next()?.get();
    let (replay, from) = begin(args, &reader, next)?;
    let to = args.to.unwrap_or(next);
    if !(from..=next).contains(&to) && args.since.is_none() || to > next {
        return Err(out_of_range("--to", to, (from, next)));
    }
    let output = match &args.output {
        Some(path) => Output::file(path, &args.path)?,
        None => Output::stdout(),
    };
    let meter = Meter::new("exporting records", to.saturating_sub(from), |number| {
        number.to_string()
    });
    let meter = meter.hidden(output.is_terminal());
    let mut rows = Rows::new(&args.shape, args.format, output)?;
    let skipped = export(replay, from..to, meter, &mut rows);
    // what is there before damage is of use
    rows.flush()?;
    let skipped = skipped?;
    if skipped > 0 {
        let skipped = text::count(skipped, "sequence has", "sequences have");
        outcome::tell(&format!("{skipped} no record: abandoned, or lost"));
    }
    Ok(Answer::Good)
}

/// What is to be exported, and with which sequence that begins, as far as it is known.
fn begin(
    args: &Args,
    reader: &JournalReader<Raw>,
    next: u64,
) -> Result<(Replay<Vec<u8>>, u64), Failure> {
    loop {
        let first = reader.first()?.get();
        let from = args.from.unwrap_or(first);
        if !(first..=next).contains(&from) {
            return Err(out_of_range("--from", from, (first, next)));
        }
        let replay = match args.since {
            Some(since) => reader.replay_since(since),
            None => reader.replay(Sequence::new(from)),
        };
        match replay {
            Ok(replay) => return Ok((replay, from)),
            // retention was faster
            Err(_) if reader.first()?.get() != first => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// How many sequences had no record.
fn export(
    mut replay: Replay<Vec<u8>>,
    sequences: Range<u64>,
    mut meter: Meter,
    rows: &mut Rows<Output>,
) -> Result<u64, Failure> {
    for record in replay.by_ref() {
        let record = record?;
        let sequence = record.sequence.get();
        if sequence >= sequences.end {
            break;
        }
        rows.write(&record)?;
        meter.at(sequence - sequences.start);
    }
    Ok(replay.skipped())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn times_are_points_or_lengths() {
        let time = since("1970-01-01T02:00:01.5+02:00").expect("an offset may be given");
        assert_eq!(time, UNIX_EPOCH + Duration::from_millis(1500));
        for (text, seconds) in [
            ("90s", 90),
            ("2h 30m", 9000),
            ("3 days", 259_200),
            ("1 day ago", 86_400),
        ] {
            let ago = SystemTime::now().duration_since(since(text).expect(text));
            let off = ago.expect("it is past").as_secs_f64() - f64::from(seconds);
            assert!(off.abs() < 5.0, "{text}: {off}");
        }
        for text in ["", "yesterday", "2026-01-31", "3 months", "5", "12:00"] {
            let error = since(text).expect_err(text);
            assert!(error.contains("accepted is"), "{text}: {error}");
        }
    }
}
