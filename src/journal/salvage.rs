//! Makes a journal of a damaged one: whole frames are kept, and what is lost is written down as lost.
//!
//! New segments are written under hidden names and made durable, then shown, then the damaged ones are hidden. Being killed in between leaves
//! both, which is an overlap: opening refuses, and salvaging again takes each sequence once.

use crate::error::Error;
use crate::journal::decision::Found;
use crate::journal::format::{
    ALIGN, Content, FRAME_HEADER, FrameHeader, SEGMENT_HEADER, SegmentHeader, payload_crc,
    segment_name,
};
use crate::journal::names::{DAMAGED, NEXT};
use crate::journal::recovery::{Survey, sync_directory};
use crate::journal::scan::{Frames, io_error};
use crate::journal::storage::{File, Storage, write_all};
use std::sync::Arc;

/// A segment being written.
struct Out {
    file: Arc<dyn File>,
    name: String,
    salt: u64,
    offset: u64,
}

/// What is made.
struct Rescue<'a> {
    storage: &'a dyn Storage,
    /// Of new segments; `first` and `salt` are each one's own.
    header: SegmentHeader,
    made: Vec<String>,
    out: Option<Out>,
    /// Everything below is in segments that stay, or in new ones.
    expected: u64,
    newest_ns: u64,
    bytes: Vec<u8>,
}

/// Of what a survey found that looked behind every segment.
pub(crate) fn salvage(storage: &dyn Storage, survey: &Survey) -> Result<(), Error> {
    let Some(front) = survey.own().next() else {
        return Ok(());
    };
    let id = survey.journal_id();
    let kept_from = survey.own().map(Found::kept_from).max().unwrap_or(0);
    let mut rescue = Rescue {
        storage,
        header: SegmentHeader {
            journal: id.unwrap_or_else(|| storage.random()),
            salt: 0,
            first: 0,
            kept_from,
            codec: survey.shape.codec,
            event_bytes: survey.shape.event_bytes,
        },
        made: Vec::new(),
        out: None,
        expected: kept_from.min(front.segment.first),
        newest_ns: 0,
        bytes: Vec::new(),
    };
    let mut damaged = Vec::new();
    for found in &survey.found {
        let is_ours = found.header.is_ok() && found.journal() == id;
        let frames_behind = found.behind.is_none_or(|behind| behind.frames);
        let segment = &found.segment;
        if is_ours
            && !frames_behind
            && segment.first >= rescue.expected
            && segment.end > segment.first
        {
            rescue.lose_until(segment.first)?;
            rescue.finish()?;
            (rescue.expected, rescue.newest_ns) = (segment.end, segment.newest_ns);
            continue;
        }
        damaged.push(segment.name());
        if is_ours || found.header.is_err() {
            rescue.take_frames(found)?;
        }
    }
    // what was durable and is nowhere is lost; a segment that was begun says that everything below it was recorded
    let known = |found: &Found| found.synced().max(found.segment.first);
    rescue.lose_until(survey.own().map(known).max().unwrap_or(0))?;
    rescue.finish()?;
    rescue.show(&damaged)
}

impl Rescue<'_> {
    /// Copies the whole frames of a damaged segment. One that begins below what there is already is a double.
    fn take_frames(&mut self, found: &Found) -> Result<(), Error> {
        let (name, salt) = (found.segment.name(), found.segment.salt);
        let storage = self.storage;
        let failed = |error| io_error(storage, &name, "read it", error);
        let file = storage.open(&name, false).map_err(failed)?;
        let mut frames = Frames::new(file, found.segment.first, salt, self.header.event_bytes)
            .map_err(failed)?;
        while let Some(frame) = frames.find_frame(self.expected).map_err(failed)? {
            if frame.content == Content::Watermark {
                continue; // what it says, the rest of the journal will say again
            }
            self.lose_until(frame.first)?;
            self.write(frame, frames.payload())?;
        }
        self.finish()
    }

    /// Notes that what is missing below `sequence` was lost.
    fn lose_until(&mut self, sequence: u64) -> Result<(), Error> {
        if sequence <= self.expected {
            return Ok(());
        }
        let lost = FrameHeader {
            content: Content::Lost,
            bytes: 0,
            count: sequence - self.expected,
            first: self.expected,
            synced: self.expected,
            unix_ns: self.newest_ns,
            payload_crc: 0,
        };
        self.write(lost, &[])
    }

    /// Writes a frame, which begins with the expected sequence.
    fn write(&mut self, frame: FrameHeader, payload: &[u8]) -> Result<(), Error> {
        let mut out = match self.out.take() {
            Some(out) => out,
            None => self.begin()?,
        };
        let payload_crc = payload_crc(out.salt, payload);
        self.bytes.clear();
        self.bytes.extend_from_slice(
            &FrameHeader {
                payload_crc,
                ..frame
            }
            .encode(out.salt),
        );
        self.bytes.extend_from_slice(payload);
        self.bytes
            .resize(FRAME_HEADER + payload.len().next_multiple_of(ALIGN), 0);
        write_all(&*out.file, &self.bytes, out.offset)
            .map_err(|error| io_error(self.storage, &hidden(&out.name), "write to it", error))?;
        out.offset += self.bytes.len() as u64;
        self.out = Some(out);
        self.expected = frame.range().end;
        self.newest_ns = frame.unix_ns;
        Ok(())
    }

    fn begin(&self) -> Result<Out, Error> {
        let salt = self.storage.random();
        let header = SegmentHeader {
            salt,
            first: self.expected,
            ..self.header
        };
        let name = segment_name(header.first, salt);
        let failed = |error| io_error(self.storage, &hidden(&name), "make it", error);
        let file = self.storage.create(&hidden(&name)).map_err(failed)?;
        write_all(&*file, &header.encode(), 0).map_err(failed)?;
        Ok(Out {
            file,
            name,
            salt,
            offset: SEGMENT_HEADER as u64,
        })
    }

    fn finish(&mut self) -> Result<(), Error> {
        if let Some(out) = self.out.take() {
            let synced = out.file.sync();
            synced.map_err(|error| io_error(self.storage, &hidden(&out.name), "sync it", error))?;
            self.made.push(out.name);
        }
        Ok(())
    }

    fn show(&self, damaged: &[String]) -> Result<(), Error> {
        let rename = |from: &str, to: &str| {
            let renamed = self.storage.rename(from, to);
            renamed.map_err(|error| io_error(self.storage, from, "rename it", error))
        };
        for name in &self.made {
            rename(&hidden(name), name)?;
        }
        sync_directory(self.storage)?;
        for name in damaged {
            rename(name, &format!("{DAMAGED}{name}"))?;
        }
        sync_directory(self.storage)
    }
}

fn hidden(name: &str) -> String {
    format!("{NEXT}{name}")
}
