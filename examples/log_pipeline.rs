//! A text log through the bus, to a report whose totals are those of `wc` and of `sort | uniq -c`.
//!
//! ```text
//!                  ┌─▶ parser ─┐
//! read ─▶ ring ────┼─▶ parser ─┼─▶ aggregate, in the order of the lines ─▶ report
//!                  └─▶ parser ─┘
//! ```
//!
//! Use this shape where items are independent for the costly step, and their order matters afterwards. A line is an
//! event. Parsers share the lines among them; a parser gets `&Line`, so it leaves what it found in a `OnceLock` in the
//! event. The aggregator comes after them and has the events to itself: it takes results out, which also makes the slot
//! ready for its next line.
//!
//! ```sh
//! cargo run --release --example log_pipeline -- FILE [FIELD]
//! ```
//!
//! prints, for a file of any length, with lines of any length:
//!
//! * lines, words and bytes, as `wc FILE` does in a UTF-8 locale. Lines are newlines, so a last line without one is not
//!   counted there, yet it is an event like others. A word has a printable character; bytes that are not UTF-8 are
//!   none, and in a file that is no text the tables of `wc` may differ on what is;
//! * the ten most frequent values of a field (default: 1), as these do, with `LC_ALL=C`:
//!   `awk '{print $FIELD}' FILE | sort | uniq -c | sort -rn | head`;
//! * which line is the longest.
//!
//! Exit codes: 1 the bus failed, 2 wrong usage, 3 reading or writing failed. It takes about as much memory as the
//! longest 1,024 consecutive lines.

#![expect(clippy::print_stderr, reason = "a program tells what went wrong")]

use ringway::{BusConfig, Producer, Topology};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::thread;
use std::time::Instant;

const CAPACITY: usize = 1024;
/// Lines published together.
const BATCH: usize = 64;
const PARSERS_MAX: usize = 4;
/// A slot does not keep more memory than this for its next line.
const KEPT_BYTES: usize = 64 << 10;
const TABLE_ROWS: usize = 10;

/// An event. Slots are reused, and so is the memory of their text.
#[derive(Default)]
struct Line {
    /// With its newline; the last line of a file may have none.
    text: Vec<u8>,
    parsed: OnceLock<Parsed>,
}

/// What a parser finds in a line.
#[derive(Debug, PartialEq, Eq)]
struct Parsed {
    words: u64,
    /// Where the field stands in the text; empty if the line has fewer.
    field: Range<usize>,
}

#[derive(Default)]
struct Totals {
    events: u64,
    newlines: u64,
    words: u64,
    bytes: u64,
    /// How often each value of the field was found.
    fields: HashMap<Vec<u8>, u64>,
    /// The first of the longest lines: its length without newline, and its number, from 1.
    longest: (usize, u64),
}

enum Failure {
    Usage,
    Io(String, io::Error),
    Bus(Box<dyn std::error::Error>),
}

fn main() -> ExitCode {
    let code = match arguments().and_then(|(path, field)| run(&path, field)) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage) => {
            eprintln!(
                "usage: log_pipeline FILE [FIELD]\nFIELD is the number of a field of each line, from 1 (default)"
            );
            2
        }
        Err(Failure::Io(what, error)) => {
            eprintln!("log_pipeline: {what}: {error}");
            3
        }
        Err(Failure::Bus(error)) => {
            eprintln!("log_pipeline: {error}");
            1
        }
    };
    ExitCode::from(code)
}

fn arguments() -> Result<(PathBuf, usize), Failure> {
    let mut arguments = std::env::args_os().skip(1);
    let path = arguments
        .next()
        .filter(|path| !path.as_encoded_bytes().starts_with(b"-"))
        .ok_or(Failure::Usage)?;
    let field = match arguments.next() {
        None => 1,
        Some(field) => field
            .to_str()
            .and_then(|field| field.parse().ok())
            .ok_or(Failure::Usage)?,
    };
    if field == 0 || arguments.next().is_some() {
        return Err(Failure::Usage);
    }
    Ok((path.into(), field))
}

fn run(path: &Path, field: usize) -> Result<(), Failure> {
    let io_failure = |error| Failure::Io(path.display().to_string(), error);
    let start = Instant::now();
    let file = File::open(path).map_err(io_failure)?;

    let config = BusConfig {
        capacity: CAPACITY,
        ..BusConfig::default()
    };
    let mut topology = Topology::single(config, Line::default).map_err(bus_failure)?;
    let parsers = ringway::usable_cores().min(PARSERS_MAX);
    let parse = topology.stage("parse").share(parsers, |_member| {
        move |line: &Line, _| {
            line.parsed
                .set(parse_line(&line.text, field))
                .expect("a line has one parser")
        }
    });
    let (_, mut parsed) = topology.stage("aggregate").after([parse]).consumer_mut();
    let (bus, producer) = topology.start().map_err(bus_failure)?;

    // The aggregator runs on this thread, so its totals need no lock; the file is read on another one.
    let reader = thread::spawn(move || read_lines(file, producer));
    let mut totals = Totals::default();
    while let Ok(mut batch) = parsed.read() {
        assert_eq!(
            batch.sequences().start().get(),
            totals.events,
            "in order, and none is missing"
        );
        for line in &mut batch {
            totals.add(line);
        }
    }
    let read = reader
        .join()
        .expect("the reader does not panic")
        .map_err(io_failure)?;
    bus.shutdown().map_err(bus_failure)?;

    assert_eq!(
        (totals.events, totals.bytes),
        read,
        "what was read went through the bus"
    );
    assert_eq!(
        totals.fields.values().sum::<u64>(),
        totals.events,
        "each line has a field, if an empty one"
    );
    print_report(&mut io::stdout().lock(), path, field, &totals)
        .map_err(|error| Failure::Io("standard output".into(), error))?;
    let seconds = start.elapsed().as_secs_f64();
    eprintln!(
        "{} events through {parsers} parsers in {seconds:.3} s",
        totals.events
    );
    Ok(())
}

fn bus_failure(error: ringway::Error) -> Failure {
    Failure::Bus(error.into())
}

/// Publishes every line, and returns how many there were, and how many bytes.
///
/// Lines are read into buffers of our own, for an error must not leave half a line in a slot; then they are swapped with
/// those of the slots. So buffers go round, and no line is copied again, nor memory allocated once they are large enough.
fn read_lines(file: File, mut producer: Producer<Line>) -> io::Result<(u64, u64)> {
    let mut file = BufReader::with_capacity(64 << 10, file);
    let mut lines: Vec<Vec<u8>> = vec![Vec::new(); BATCH];
    let (mut events, mut bytes) = (0, 0);
    loop {
        let mut count = 0;
        while count < BATCH {
            lines[count].clear();
            match file.read_until(b'\n', &mut lines[count])? {
                0 => break,
                length => bytes += length as u64,
            }
            count += 1;
        }
        if count == 0 {
            return Ok((events, bytes)); // the producer is dropped: the bus closes, and drains
        }
        let Ok(mut claim) = producer.claim(count) else {
            return Ok((events, bytes)); // the bus has failed: `shutdown` tells why
        };
        for (slot, line) in claim.iter_mut().zip(&mut lines) {
            std::mem::swap(&mut slot.text, line);
        }
        claim.publish();
        events += count as u64;
    }
}

fn parse_line(text: &[u8], field: usize) -> Parsed {
    Parsed {
        words: count_words(text),
        field: find_field(text.strip_suffix(b"\n").unwrap_or(text), field),
    }
}

/// Runs between white space that hold a printable character, as `wc` has it; bytes that are not UTF-8 are neither.
fn count_words(text: &[u8]) -> u64 {
    let (mut words, mut in_word) = (0, false);
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_whitespace() && character != '\u{85}' {
                in_word = false;
            } else if !in_word && !character.is_control() {
                in_word = true;
                words += 1;
            }
        }
    }
    words
}

/// Fields stand between spaces and tabs, as `awk` has it.
fn find_field(line: &[u8], number: usize) -> Range<usize> {
    let (mut start, mut fields) = (0, 0);
    for field in line.split(|byte| matches!(byte, b' ' | b'\t')) {
        fields += usize::from(!field.is_empty());
        if fields == number {
            return start..start + field.len();
        }
        start += field.len() + 1;
    }
    0..0
}

impl Totals {
    /// Adds the next line, and leaves its slot ready for another one.
    fn add(&mut self, line: &mut Line) {
        let Parsed { words, field } = line.parsed.take().expect("a line comes after its parser");
        let text = &line.text;
        self.events += 1;
        self.words += words;
        self.bytes += text.len() as u64;
        self.newlines += u64::from(text.ends_with(b"\n"));
        match self.fields.get_mut(&text[field.clone()]) {
            Some(count) => *count += 1,
            None => drop(self.fields.insert(text[field].to_vec(), 1)),
        }
        let length = text.len() - usize::from(text.ends_with(b"\n"));
        if self.longest.1 == 0 || length > self.longest.0 {
            self.longest = (length, self.events);
        }
        if line.text.capacity() > KEPT_BYTES {
            line.text = Vec::new();
        }
    }

    /// The most frequent first; of equally frequent ones the greatest, as `sort -rn` has it.
    fn table(&self) -> Vec<(u64, &[u8])> {
        let mut table: Vec<_> = self
            .fields
            .iter()
            .map(|(field, count)| (*count, field.as_slice()))
            .collect();
        table.sort_unstable_by(|one, other| other.cmp(one));
        table
    }
}

fn print_report(
    out: &mut impl Write,
    path: &Path,
    field: usize,
    totals: &Totals,
) -> io::Result<()> {
    let Totals {
        newlines,
        words,
        bytes,
        longest,
        ..
    } = totals;
    let width = bytes.to_string().len(); // of the greatest figure, which it is
    write!(out, "{newlines:>width$} {words:>width$} {bytes:>width$} ")?;
    out.write_all(path.as_os_str().as_encoded_bytes())?;
    let table = totals.table();
    writeln!(out, "\n\nfield {field}: {} different", table.len())?;
    for (count, value) in table.into_iter().take(TABLE_ROWS) {
        write!(out, "{count:>7} ")?;
        out.write_all(value)?;
        writeln!(out)?;
    }
    if let (length, number @ 1..) = longest {
        writeln!(out, "\nlongest line: {number}, with {length} bytes")?;
    }
    out.flush()
}
