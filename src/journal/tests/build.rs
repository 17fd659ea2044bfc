//! Segments built frame by frame.

use super::memory::Memory;
use crate::config::RecoveryMode;
use crate::error::Error;
use crate::journal::Recovered;
use crate::journal::codec::{Codec, Plain};
use crate::journal::format::{
    ALIGN, Content, FRAME_HEADER, FrameHeader, SegmentHeader, payload_crc, segment_name,
};
use crate::journal::recovery::{Recovery, recover};
use crate::journal::replay::Replay;
use std::sync::Arc;

pub(super) const JOURNAL: u64 = 0x4a4a;

/// The event with this sequence.
pub(super) fn event(sequence: u64) -> u64 {
    sequence * 10 + 1
}

pub(super) struct Build {
    header: SegmentHeader,
    pub(super) bytes: Vec<u8>,
    next: u64,
    /// Where each frame begins.
    pub(super) frames: Vec<usize>,
}

impl Build {
    pub(super) fn new(first: u64, salt: u64) -> Self {
        Self::with(SegmentHeader {
            journal: JOURNAL,
            salt,
            first,
            kept_from: 0,
            codec: Plain::<u64>::new().id(),
            event_bytes: 8,
        })
    }

    pub(super) fn with(header: SegmentHeader) -> Self {
        Self {
            header,
            bytes: header.encode().to_vec(),
            next: header.first,
            frames: Vec::new(),
        }
    }

    pub(super) fn kept_from(first: u64, salt: u64, kept_from: u64) -> Self {
        let header = SegmentHeader {
            kept_from,
            ..Self::new(first, salt).header
        };
        Self::with(header)
    }

    /// So many events.
    pub(super) fn records(self, count: u64, synced: u64) -> Self {
        let payload: Vec<u8> = (self.next..self.next + count)
            .flat_map(|sequence| event(sequence).to_le_bytes())
            .collect();
        self.frame(Content::Records, count, synced, &payload)
    }

    pub(super) fn abandoned(self, count: u64, synced: u64) -> Self {
        self.frame(Content::Abandoned, count, synced, &[])
    }

    pub(super) fn watermark(self, synced: u64) -> Self {
        self.frame(Content::Watermark, 0, synced, &[])
    }

    pub(super) fn frame(
        mut self,
        content: Content,
        count: u64,
        synced: u64,
        payload: &[u8],
    ) -> Self {
        let header = FrameHeader {
            content,
            bytes: payload.len() as u32,
            count,
            first: self.next,
            synced,
            unix_ns: 1_700_000_000_000_000_000 + self.next * 1000,
            payload_crc: payload_crc(self.header.salt, payload),
        };
        self.frames.push(self.bytes.len());
        self.bytes
            .extend_from_slice(&header.encode(self.header.salt));
        self.bytes.extend_from_slice(payload);
        let padded = self.bytes.len().next_multiple_of(ALIGN);
        self.bytes.resize(padded, 0);
        self.next += count;
        self
    }

    pub(super) fn zeros(mut self, count: usize) -> Self {
        self.bytes.resize(self.bytes.len() + count, 0);
        self
    }

    pub(super) fn name(&self) -> String {
        segment_name(self.header.first, self.header.salt)
    }

    pub(super) fn file(&self) -> (String, Vec<u8>) {
        (self.name(), self.bytes.clone())
    }

    /// Where the first frame ends.
    pub(super) fn ends(&self) -> Vec<usize> {
        let ends = self.frames.iter().skip(1).copied();
        ends.chain([self.bytes.len()]).collect()
    }
}

/// Three segments with the sequences 0 to 10, 10 to 20 (13 to 15 abandoned), 20 to 30; the last frame of each is there to be lost: everything below
/// `synced` is known to have been durable.
pub(super) fn three() -> [Build; 3] {
    [
        Build::new(0, 0xa1).records(4, 0).records(6, 4).zeros(64),
        Build::new(10, 0xa2)
            .records(3, 10)
            .abandoned(2, 10)
            .records(5, 13)
            .zeros(FRAME_HEADER),
        Build::new(20, 0xa3)
            .records(5, 20)
            .watermark(25)
            .records(2, 25)
            .records(3, 25)
            .zeros(256),
    ]
}

pub(super) fn memory(segments: &[Build]) -> Memory {
    Memory::with(&segments.iter().map(Build::file).collect::<Vec<_>>())
}

pub(super) fn open(memory: &Memory, mode: RecoveryMode) -> Result<(Recovered, Recovery), Error> {
    recover(&memory.storage(), Plain::<u64>::new().id(), 8, mode)
}

/// All events of a recovered journal, checked against their sequences.
pub(super) fn read(memory: &Memory, recovered: &Recovered) -> Vec<u64> {
    let first = recovered
        .segments
        .first()
        .map_or(recovered.next, |first| first.first);
    let replay = Replay::new(
        &memory.storage(),
        Arc::new(Plain::<u64>::new()),
        first,
        recovered.next,
    )
    .unwrap();
    replay
        .map(|record| {
            let record = record.unwrap();
            assert_eq!(record.event, event(record.sequence.get()));
            record.sequence.get()
        })
        .collect()
}

/// Opens it, reads it, opens it again: nothing changes any more.
pub(super) fn open_twice(memory: &Memory) -> Result<(Vec<u64>, Recovery), Error> {
    let (recovered, recovery) = open(memory, RecoveryMode::Strict)?;
    let events = read(memory, &recovered);
    let files = memory.files();
    let (again, second) = open(memory, RecoveryMode::Strict)?;
    assert_eq!(read(memory, &again), events);
    assert_eq!(
        (again.next, &again.segments),
        (recovered.next, &recovered.segments)
    );
    assert_eq!(second.cut, None);
    assert!(
        memory.files() == files,
        "the second opening changes nothing"
    );
    Ok((events, recovery))
}
