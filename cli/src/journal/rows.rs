//! Records as lines of JSON or CSV.

use crate::journal::fields::Layout;
use crate::journal::{Failure, text};
use clap::ValueEnum;
use data_encoding::{BASE64, HEXLOWER};
use ringway::Record;
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fmt;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// How bytes become text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Encoding {
    /// Two lower-case digits a byte
    #[default]
    Hex,
    /// RFC 4648, padded
    Base64,
    /// As it is: what is no UTF-8 is refused
    Utf8,
}

impl Encoding {
    pub(crate) fn value(self, bytes: &[u8]) -> Result<Value, String> {
        Ok(Value::Text(match self {
            Self::Hex => HEXLOWER.encode(bytes),
            Self::Base64 => BASE64.encode(bytes),
            Self::Utf8 => std::str::from_utf8(bytes)
                .map_err(|error| format!("it is no UTF-8 from byte {} on", error.valid_up_to()))?
                .to_owned(),
        }))
    }
}

/// What a record becomes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Shape {
    /// How the bytes of an event are written
    #[arg(long, value_enum, default_value_t, value_name = "ENCODING")]
    payload: Encoding,
    /// The fields of an event, each a column: NAME:TYPE,.. with types u8 to u64, i8 to i64, f32, f64 (big-endian: u16be),
    /// textN, bytesN and skipN of N bytes, and `bytes` or `text` for what is left
    #[arg(long, value_name = "FIELDS")]
    fields: Option<Layout>,
}

impl Shape {
    /// What can be said before the first record is read.
    pub(crate) fn check(&self, event_bytes: u32) -> Result<(), Failure> {
        match &self.fields {
            Some(fields) if event_bytes > 0 => fields
                .check(event_bytes as usize)
                .map_err(|error| Failure::Usage(format!("--fields: {error}"))),
            _ => Ok(()),
        }
    }

    fn names(&self) -> Vec<String> {
        match &self.fields {
            None => vec!["payload".into()],
            Some(fields) => fields.names().map(String::from).collect(),
        }
    }

    fn values(&self, payload: &[u8], values: &mut Vec<Value>) -> Result<(), String> {
        values.clear();
        match &self.fields {
            Some(fields) => fields
                .values(payload, self.payload, values)
                .map_err(|error| format!("--fields does not fit: {error}")),
            None => {
                let value = self.payload.value(payload);
                values
                    .push(value.map_err(|error| format!("--payload utf8 does not fit: {error}"))?);
                Ok(())
            }
        }
    }
}

/// A cell.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Unsigned(u64),
    Signed(i64),
    Single(f32),
    Double(f64),
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(number) => number.fmt(f),
            Self::Signed(number) => number.fmt(f),
            Self::Single(number) => number.fmt(f),
            Self::Double(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unsigned(number) => serializer.serialize_u64(*number),
            Self::Signed(number) => serializer.serialize_i64(*number),
            Self::Single(number) if number.is_finite() => serializer.serialize_f32(*number),
            Self::Double(number) if number.is_finite() => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            // JSON has no such numbers
            Self::Single(_) | Self::Double(_) => serializer.collect_str(self),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// An object a line
    #[default]
    Jsonl,
    /// RFC 4180, with a line of names
    Csv,
}

/// Writes one record after the other.
pub(crate) struct Rows<W: Write> {
    shape: Shape,
    names: Vec<String>,
    values: Vec<Value>,
    line: Vec<u8>,
    /// Of the record before: those that were written together have the same.
    time: (SystemTime, String),
    sink: Sink<W>,
}

enum Sink<W: Write> {
    Jsonl(W),
    Csv(Box<csv::Writer<W>>),
}

impl<W: Write> Rows<W> {
    pub(crate) fn new(shape: &Shape, format: Format, output: W) -> Result<Self, Failure> {
        let names = shape.names();
        let sink = match format {
            Format::Jsonl => Sink::Jsonl(output),
            Format::Csv => {
                let mut csv = csv::Writer::from_writer(output);
                let head = ["sequence", "time"].into_iter();
                csv.write_record(head.chain(names.iter().map(|name| &**name)))?;
                Sink::Csv(Box::new(csv))
            }
        };
        Ok(Self {
            shape: shape.clone(),
            names,
            values: Vec::new(),
            line: Vec::new(),
            time: (UNIX_EPOCH, text::time(UNIX_EPOCH)),
            sink,
        })
    }

    pub(crate) fn write(&mut self, record: &Record<Vec<u8>>) -> Result<(), Failure> {
        if record.time != self.time.0 {
            self.time = (record.time, text::time(record.time));
        }
        let sequence = record.sequence.get();
        self.shape
            .values(&record.event, &mut self.values)
            .map_err(|error| Failure::Usage(format!("sequence {sequence}: {error}")))?;
        match &mut self.sink {
            Sink::Jsonl(output) => {
                let row = Row {
                    sequence,
                    time: &self.time.1,
                    names: &self.names,
                    values: &self.values,
                };
                self.line.clear();
                serde_json::to_writer(&mut self.line, &row).map_err(io::Error::from)?;
                self.line.push(b'\n');
                output.write_all(&self.line)?;
            }
            Sink::Csv(csv) => {
                csv.write_field(sequence.to_string())?;
                csv.write_field(&self.time.1)?;
                for value in &self.values {
                    match value {
                        Value::Text(text) => csv.write_field(text)?,
                        number => csv.write_field(number.to_string())?,
                    }
                }
                csv.write_record(None::<&[u8]>)?;
            }
        }
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        match &mut self.sink {
            Sink::Jsonl(output) => output.flush()?,
            Sink::Csv(csv) => csv.flush()?,
        }
        Ok(())
    }
}

/// A line of JSON.
struct Row<'r> {
    sequence: u64,
    time: &'r str,
    names: &'r [String],
    values: &'r [Value],
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2 + self.values.len()))?;
        map.serialize_entry("sequence", &self.sequence)?;
        map.serialize_entry("time", self.time)?;
        for (name, value) in self.names.iter().zip(self.values) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
