//! What the frames of a journal say, counted while they are checked.

use crate::journal::meter::Meter;
use crate::journal::text;
use ringway::{Error, FrameInfo, FrameKind, Inspection, Recovery};
use std::time::SystemTime;

/// What the frames of a segment say.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) name: String,
    pub(crate) frames: u64,
    pub(crate) records: u64,
    pub(crate) abandoned: u64,
    pub(crate) lost: u64,
    /// Where the frames end: a sequence, and an offset.
    pub(crate) next: u64,
    pub(crate) bytes: u64,
    pub(crate) synced: u64,
    pub(crate) times: (SystemTime, SystemTime),
}

/// Of all segments.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Vec<Tally>);

impl Tallies {
    /// Checks every frame and counts it, which takes a while.
    pub(crate) fn verify(
        what: &'static str,
        inspection: &Inspection,
    ) -> (Result<Recovery, Error>, Self) {
        let sizes = inspection.segments().iter();
        let sizes: Vec<(&str, u64)> = sizes
            .map(|segment| (&*segment.name, segment.file_bytes))
            .collect();
        let total = sizes.iter().map(|(_, bytes)| bytes).sum();
        let mut meter = Meter::new(what, total, text::bytes);
        let mut tallies = Self::default();
        let (mut before, mut at) = (0, 0);
        let found = inspection.verify_with(|name, frame| {
            // both are in the order of the segments
            while let Some((of, bytes)) = sizes.get(at)
                && *of < name
            {
                (before, at) = (before + bytes, at + 1);
            }
            tallies.add(name, frame);
            meter.at(before + frame.offset);
        });
        (found, tallies)
    }

    pub(crate) fn frames(&self) -> u64 {
        self.0.iter().map(|tally| tally.frames).sum()
    }

    fn add(&mut self, name: &str, frame: &FrameInfo) {
        let at = match self.0.iter().rposition(|tally| tally.name == name) {
            Some(at) => at,
            None => {
                self.0.push(Tally {
                    name: name.to_owned(),
                    frames: 0,
                    records: 0,
                    abandoned: 0,
                    lost: 0,
                    next: 0,
                    bytes: 0,
                    synced: 0,
                    times: (frame.time, frame.time),
                });
                self.0.len() - 1
            }
        };
        let tally = &mut self.0[at];
        let sequences = frame.sequences.len() as u64;
        tally.frames += 1;
        match frame.kind {
            FrameKind::Records => tally.records += sequences,
            FrameKind::Abandoned => tally.abandoned += sequences,
            FrameKind::Lost => tally.lost += sequences,
            _ => {}
        }
        tally.next = frame.sequences.end().get();
        tally.bytes = frame.offset + frame.bytes;
        tally.synced = tally.synced.max(frame.synced.get());
        tally.times.1 = frame.time;
    }

    /// That of a segment.
    pub(crate) fn of(&self, name: &str) -> Option<&Tally> {
        self.0.iter().find(|tally| tally.name == name)
    }
}
