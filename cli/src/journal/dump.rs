//! `ringway journal dump`: records and frames as they lie in the files.

use crate::journal::output::Output;
use crate::journal::source::out_of_range;
use crate::journal::{Answer, CODES, Failure, source, text};
use ringway::{FrameInfo, FrameKind, FrameWalk, SegmentInfo, Sequence};
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

/// Print records in hexadecimal and ASCII, or frames
///
/// Segment after segment, each up to the first place where no frame begins, whether or not the journal is whole.
#[derive(Debug, clap::Args)]
#[command(after_help = CODES)]
pub(crate) struct Args {
    /// The journal's directory
    #[arg(value_name = "DIR")]
    path: PathBuf,
    /// Begin with this sequence [default: the first]
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// End after so many records, or frames [default: none]
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Print a line for each frame, no records
    #[arg(long)]
    frames: bool,
}

pub(crate) fn run(args: &Args) -> Result<Answer, Failure> {
    let inspection = source::inspect(&args.path)?;
    let segments = inspection.segments();
    let first = segments.first().map_or(0, |segment| segment.first.get());
    let from = args.from.unwrap_or(first);
    let begin = segments
        .iter()
        .rposition(|segment| segment.first.get() <= from);
    let mut dump = Dump {
        output: Output::stdout(),
        from,
        left: args.limit.unwrap_or(u64::MAX),
        frames: args.frames,
        text: String::new(),
    };
    let mut broken = None;
    let mut next = first;
    let mut segments = segments.iter().skip(begin.unwrap_or(usize::MAX)).peekable();
    while let Some(segment) = segments.next() {
        let mut walk = inspection.frames(segment)?;
        let is_done = dump.segment(segment, &mut walk)?;
        next = walk.sequence().get();
        if is_done {
            break;
        }
        let after = segments.peek().map(|after| after.first);
        let end = dump.end(segment, &walk, after.map(Sequence::get))?;
        broken = broken.or(end);
    }
    if begin.is_none() || (dump.left > 0 && from > next) {
        return Err(out_of_range("--from", from, (first, next)));
    }
    dump.output.flush()?;
    match broken {
        None => Ok(Answer::Good),
        Some(broken) => Err(Failure::Corrupt(broken)),
    }
}

struct Dump {
    output: Output,
    from: u64,
    left: u64,
    frames: bool,
    /// Of a record.
    text: String,
}

impl Dump {
    /// Whether all that was asked for is printed.
    fn segment(&mut self, segment: &SegmentInfo, walk: &mut FrameWalk) -> Result<bool, Failure> {
        if self.frames {
            let damage = segment.damage.as_ref();
            let damage = damage.map_or(String::new(), |damage| format!(": {damage}"));
            writeln!(self.output, "{}{damage}", segment.name)?;
        }
        while self.left > 0 {
            let Some(frame) = walk.next_frame()? else {
                return Ok(false);
            };
            let is_before = match frame.sequences.is_empty() {
                true => frame.sequences.end().get() < self.from,
                false => frame.sequences.end().get() <= self.from,
            };
            if is_before {
                continue;
            }
            match (self.frames, frame.kind) {
                (true, _) => {
                    self.left -= 1;
                    self.frame(&frame)?;
                }
                (false, FrameKind::Records) => self.records(&frame, walk)?,
                (false, FrameKind::Watermark) => {}
                (false, _) => {
                    self.left -= 1;
                    self.missing(&frame)?;
                }
            }
        }
        Ok(true)
    }

    fn frame(&mut self, frame: &FrameInfo) -> Result<(), Failure> {
        let (start, end) = (frame.sequences.start(), frame.sequences.end());
        writeln!(
            self.output,
            "  offset {:<10} {:>8} bytes  {:<9} {start} up to {end}, synced below {}, {}",
            frame.offset,
            frame.bytes,
            kind(frame.kind),
            frame.synced,
            text::time(frame.time)
        )?;
        Ok(())
    }

    fn records(&mut self, frame: &FrameInfo, walk: &FrameWalk) -> Result<(), Failure> {
        let time = text::time(frame.time);
        for (sequence, record) in frame.sequences.iter().zip(walk.records()) {
            let record = record?;
            if sequence.get() < self.from {
                continue;
            }
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            let bytes = text::count(record.len() as u64, "byte", "bytes");
            self.text.clear();
            let _ = writeln!(self.text, "{sequence}  {time}  {bytes}");
            text::hex_dump(record, &mut self.text);
            self.output.write_all(self.text.as_bytes())?;
        }
        Ok(())
    }

    /// Sequences without records.
    fn missing(&mut self, frame: &FrameInfo) -> Result<(), Failure> {
        let start = frame.sequences.start().get().max(self.from);
        let (end, time) = (frame.sequences.end(), text::time(frame.time));
        writeln!(
            self.output,
            "{start} up to {end}  {time}  {}",
            kind(frame.kind)
        )?;
        Ok(())
    }

    /// Says why a segment ended, where that is of interest; returns it if it should not have.
    fn end(
        &mut self,
        segment: &SegmentInfo,
        walk: &FrameWalk,
        after: Option<u64>,
    ) -> Result<Option<String>, Failure> {
        let (offset, sequence) = (walk.offset(), walk.sequence());
        let after = after.filter(|after| *after != sequence.get());
        let mut text = format!(
            "ends at offset {offset}, sequence {sequence}: {}",
            walk.end_reason()
        );
        if let Some(after) = after {
            text += &format!("; the next segment begins with {after}");
        }
        if self.frames {
            writeln!(self.output, "  {text}")?;
        }
        let is_broken = after.is_some() || segment.damage.is_some();
        let damage = segment.damage.as_ref();
        let damage = damage.map_or(String::new(), |damage| format!("{damage}; "));
        let text = is_broken.then(|| format!("{}: {damage}{text}", segment.name));
        if let Some(text) = text.as_ref().filter(|_| !self.frames) {
            writeln!(self.output, "# {text}")?;
        }
        Ok(text)
    }
}

fn kind(kind: FrameKind) -> &'static str {
    match kind {
        FrameKind::Records => "records",
        FrameKind::Abandoned => "abandoned",
        FrameKind::Lost => "lost",
        FrameKind::Watermark => "watermark",
        _ => "unknown",
    }
}
