//! `ringway journal inspect`: what is there.

use crate::journal::output::Output;
use crate::journal::tallies::Tallies;
use crate::journal::verify::cut_text;
use crate::journal::{Answer, CODES, Failure, source, text};
use ringway::{Error, ErrorKind, FileKind, Inspection, Recovery};
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Show what the journal is: its numbers, segments, consumers and other files
///
/// Every frame is read. A journal that is corrupt is shown too, as far as it is whole.
#[derive(Debug, clap::Args)]
#[command(after_help = CODES)]
pub(crate) struct Args {
    /// The journal's directory
    #[arg(value_name = "DIR")]
    path: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<Answer, Failure> {
    let inspection = source::inspect(&args.path)?;
    let (found, tallies) = Tallies::verify("reading", &inspection);
    let found = match found {
        Err(error) if error.kind() != ErrorKind::JournalCorrupt => return Err(error.into()),
        found => found,
    };
    // beside a writer, segments came and went meanwhile
    let inspection = source::inspect(&args.path)?;
    let view = View::new(&args.path, &inspection, &tallies, &found)?;
    let mut output = Output::stdout();
    if args.json {
        serde_json::to_writer_pretty(&mut output, &view).map_err(std::io::Error::from)?;
        writeln!(output)?;
    } else {
        output.write_all(view.text(&found).as_bytes())?;
    }
    output.flush()?;
    match found {
        Ok(_) => Ok(Answer::Good),
        Err(error) => Err(error.into()),
    }
}

/// All that is shown. Identifiers are text: few JSON readers keep 64 bits.
#[derive(Debug, Serialize)]
struct View {
    /// The version of this structure. Fields may be added within a version.
    schema: u32,
    path: String,
    journal: Option<String>,
    codec: Option<String>,
    /// Of every event; 0: it varies.
    event_bytes: u32,
    first: u64,
    next: u64,
    /// Everything below was known to be durable.
    synced: u64,
    records: u64,
    abandoned: u64,
    lost: u64,
    /// Of frames and headers.
    bytes: u64,
    file_bytes: u64,
    corrupt: Option<String>,
    cut: Option<CutView>,
    segments: Vec<SegmentView>,
    consumers: Vec<ConsumerView>,
    files: Vec<FileView>,
}

#[derive(Debug, Serialize)]
struct CutView {
    segment: String,
    offset: u64,
    sequence: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct SegmentView {
    name: String,
    first: u64,
    next: u64,
    frames: u64,
    bytes: u64,
    file_bytes: u64,
    /// When its first and its last frame were written.
    first_time: Option<String>,
    last_time: Option<String>,
    damage: Option<String>,
}

#[derive(Debug, Serialize)]
struct ConsumerView {
    name: String,
    /// Where it goes on.
    position: Option<u64>,
    lag: Option<u64>,
    damage: Option<String>,
}

#[derive(Debug, Serialize)]
struct FileView {
    name: String,
    kind: &'static str,
    bytes: u64,
}

impl View {
    fn new(
        path: &Path,
        inspection: &Inspection,
        tallies: &Tallies,
        found: &Result<Recovery, Error>,
    ) -> Result<Self, Failure> {
        let known = |name: &str| found.is_err() || tallies.of(name).is_some();
        let infos: Vec<_> = inspection.segments().iter().collect();
        let whole = infos.iter().find(|info| info.damage.is_none());
        let segments: Vec<SegmentView> = infos
            .iter()
            .filter(|info| known(&info.name) || infos.len() == 1)
            .map(|info| {
                let tally = tallies.of(&info.name);
                SegmentView {
                    name: info.name.clone(),
                    first: info.first.get(),
                    next: tally.map_or(info.first.get(), |tally| tally.next),
                    frames: tally.map_or(0, |tally| tally.frames),
                    bytes: tally.map_or(0, |tally| tally.bytes),
                    file_bytes: info.file_bytes,
                    first_time: tally.map(|tally| text::time(tally.times.0)),
                    last_time: tally.map(|tally| text::time(tally.times.1)),
                    damage: info.damage.clone(),
                }
            })
            .collect();
        let there = || segments.iter().filter_map(|shown| tallies.of(&shown.name));
        let next = match found {
            Ok(found) => found.next.get(),
            Err(_) => segments.last().map_or(0, |last| last.next),
        };
        Ok(Self {
            schema: 1,
            path: path.display().to_string(),
            journal: whole.map(|whole| format!("{:#018x}", whole.journal)),
            codec: whole.map(|whole| text::id(whole.codec)),
            event_bytes: whole.map_or(0, |whole| whole.event_bytes),
            first: segments.first().map_or(next, |first| first.first),
            next,
            synced: there().map(|tally| tally.synced).max().unwrap_or(0),
            records: there().map(|tally| tally.records).sum(),
            abandoned: there().map(|tally| tally.abandoned).sum(),
            lost: there().map(|tally| tally.lost).sum(),
            bytes: there().map(|tally| tally.bytes).sum(),
            file_bytes: segments.iter().map(|shown| shown.file_bytes).sum(),
            corrupt: found.as_ref().err().map(ToString::to_string),
            cut: found
                .as_ref()
                .ok()
                .and_then(|found| found.cut.as_ref())
                .map(|cut| CutView {
                    segment: cut.segment.clone(),
                    offset: cut.offset,
                    sequence: cut.sequence.get(),
                    bytes: cut.bytes,
                }),
            segments,
            consumers: consumers(inspection, next)?,
            files: files(inspection)?,
        })
    }

    fn text(&self, found: &Result<Recovery, Error>) -> String {
        let events = match self.event_bytes {
            0 => "of varying length".into(),
            bytes => format!("{} each", text::count(u64::from(bytes), "byte", "bytes")),
        };
        let or_unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".into());
        let opening = match found {
            Err(error) => format!("refused: {error}"),
            Ok(Recovery { cut: Some(cut), .. }) => cut_text(cut),
            Ok(_) => "opening it would cut nothing off".into(),
        };
        let sequences = format!(
            "{} up to {}: {}, {} abandoned, {} lost",
            self.first,
            self.next,
            text::count(self.records, "record", "records"),
            self.abandoned,
            self.lost
        );
        let (used, there) = (text::bytes(self.bytes), text::bytes(self.file_bytes));
        let rows = [
            ("journal:", or_unknown(&self.journal)),
            ("codec:", or_unknown(&self.codec)),
            ("events:", events),
            ("sequences:", sequences),
            (
                "synced:",
                format!("below {}, as the frames say", self.synced),
            ),
            ("size:", format!("{used} of frames in {there} of files")),
            ("state:", opening),
        ];
        let rows = rows.map(|(name, value)| vec![name.to_owned(), value]);
        let mut text = text::table(&rows, &[]);
        text.push('\n');
        text.push_str(&self.segment_table());
        if !self.consumers.is_empty() {
            text.push('\n');
            text.push_str(&self.consumer_table());
        }
        if !self.files.is_empty() {
            text.push('\n');
            text.push_str(&self.file_table());
        }
        text
    }

    fn segment_table(&self) -> String {
        let head = [
            "SEGMENT",
            "FIRST",
            "NEXT",
            "FRAMES",
            "BYTES",
            "FILE",
            "WRITTEN FROM",
            "TO",
        ];
        let mut rows = vec![head.map(String::from).to_vec()];
        for segment in &self.segments {
            let mut row = vec![
                segment.name.clone(),
                segment.first.to_string(),
                segment.next.to_string(),
                segment.frames.to_string(),
                segment.bytes.to_string(),
                segment.file_bytes.to_string(),
            ];
            match &segment.damage {
                Some(damage) => row.push(damage.clone()),
                None => {
                    let times = [&segment.first_time, &segment.last_time];
                    row.extend(times.map(|time| time.clone().unwrap_or_else(|| "-".into())));
                }
            }
            rows.push(row);
        }
        text::table(&rows, &[1, 2, 3, 4, 5])
    }

    fn consumer_table(&self) -> String {
        let mut rows = vec![["CONSUMER", "POSITION", "LAG"].map(String::from).to_vec()];
        for consumer in &self.consumers {
            let number = |number: Option<u64>| number.map_or("-".into(), |n| n.to_string());
            let mut row = vec![
                consumer.name.escape_debug().to_string(),
                number(consumer.position),
                number(consumer.lag),
            ];
            row.extend(consumer.damage.clone());
            rows.push(row);
        }
        text::table(&rows, &[1, 2])
    }

    fn file_table(&self) -> String {
        let mut rows = vec![["OTHER FILE", "BYTES", "KIND"].map(String::from).to_vec()];
        for file in &self.files {
            rows.push(vec![
                file.name.escape_debug().to_string(),
                file.bytes.to_string(),
                file.kind.to_owned(),
            ]);
        }
        text::table(&rows, &[1])
    }
}

/// One that cannot be read does not hide the others.
fn consumers(inspection: &Inspection, next: u64) -> Result<Vec<ConsumerView>, Error> {
    let positions = inspection.positions();
    let mut consumers = Vec::new();
    for name in positions.names()? {
        let (position, damage) = match positions.load(&name) {
            Ok(None) => continue, // removed since then
            Ok(Some(position)) => (Some(position.get()), None),
            Err(error) => (None, Some(error.to_string())),
        };
        consumers.push(ConsumerView {
            name,
            position,
            lag: position.map(|position| next.saturating_sub(position)),
            damage,
        });
    }
    Ok(consumers)
}

fn files(inspection: &Inspection) -> Result<Vec<FileView>, Error> {
    let files = inspection.other_files()?.into_iter();
    let kind = |kind| match kind {
        FileKind::Lock => Some("lock"),
        FileKind::Unfinished => Some("unfinished"),
        FileKind::Spare => Some("spare"),
        FileKind::Damaged => Some("damaged"),
        FileKind::Position => None, // a consumer
        FileKind::Foreign => Some("foreign"),
        _ => Some("hidden"),
    };
    let view = |file: ringway::OtherFile| {
        let kind = kind(file.kind)?;
        let (name, bytes) = (file.name, file.bytes);
        Some(FileView { name, kind, bytes })
    };
    Ok(files.filter_map(view).collect())
}
