//! `ringway journal verify`: is it whole?

use crate::journal::output::Output;
use crate::journal::tallies::Tallies;
use crate::journal::{Answer, CODES, Failure, source, text};
use std::io::Write;
use std::path::PathBuf;

/// Check every frame: is the journal whole, and would opening it cut anything off?
#[derive(Debug, clap::Args)]
#[command(after_help = CODES)]
pub(crate) struct Args {
    /// The journal's directory
    #[arg(value_name = "DIR")]
    path: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<Answer, Failure> {
    let inspection = source::inspect(&args.path)?;
    let (found, tallies) = Tallies::verify("verifying", &inspection);
    let found = found?;
    let mut output = Output::stdout();
    let (first, next) = (found.first, found.next);
    writeln!(
        output,
        "sequences {first} up to {next}, in {} and {}, {}: every checksum is right",
        text::count(found.segments as u64, "segment", "segments"),
        text::count(tallies.frames(), "frame", "frames"),
        text::bytes(found.bytes)
    )?;
    for lost in &found.lost {
        let (start, end) = (lost.start(), lost.end());
        writeln!(
            output,
            "sequences {start} up to {end} were lost before, and the journal was salvaged"
        )?;
    }
    let answer = match &found.cut {
        None => Answer::Good,
        Some(cut) => {
            writeln!(output, "{}", cut_text(cut))?;
            Answer::UnsyncedEnd
        }
    };
    output.flush()?;
    Ok(answer)
}

/// What opening the journal would do.
pub(crate) fn cut_text(cut: &ringway::Cut) -> String {
    format!(
        "opening it would cut off {} at offset {} of {}, sequence {}: that was never reported durable, or is just being written",
        text::count(cut.bytes, "byte", "bytes"),
        cut.offset,
        cut.segment,
        cut.sequence
    )
}
