//! The bytes of a journal, version 1. Pure: `docs/format.md` says the same in tables. All numbers are little-endian.
//!
//! A *segment* is a file: a header, then *frames*, each where the one before it ends. What follows the last frame is nothing: zeros, or what a
//! recycled file held before. A frame is a header and a payload, padded with zeros to a multiple of 16 bytes: the *records* of consecutive
//! sequences, or nothing for sequences that were abandoned, or no sequence at all, only what the header says.
//!
//! Both checksums of a frame begin with the segment's salt, so a frame that is left from an earlier life of the file never passes.

use std::ops::Range;

pub(crate) const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"RINGWAYJ";

/// Bytes of a segment's header.
pub(crate) const SEGMENT_HEADER: usize = 64;
/// Bytes of a frame's header.
pub(crate) const FRAME_HEADER: usize = 48;
/// Frames begin at multiples of this.
pub(crate) const ALIGN: usize = 16;
/// The most payload bytes of a frame.
pub(crate) const PAYLOAD_MAX: usize = 1 << 30;
/// Bytes before each record, where its length varies.
pub(crate) const RECORD_HEADER: usize = 4;

const _: () = assert!(SEGMENT_HEADER.is_multiple_of(ALIGN) && FRAME_HEADER.is_multiple_of(ALIGN));

/// What the first bytes of a segment say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// The same in all segments of a journal.
    pub(crate) journal: u64,
    pub(crate) salt: u64,
    /// The sequence of its first record.
    pub(crate) first: u64,
    /// Sequences below this one were removed, or may be from the next segment on.
    pub(crate) kept_from: u64,
    pub(crate) codec: u64,
    /// Of every event; 0: it varies.
    pub(crate) event_bytes: u32,
}

/// Why some bytes are no header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// Not of a journal at all, or damaged.
    Damaged,
    /// Whole, and of another version.
    Version(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.event_bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.journal.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.salt.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.first.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.codec.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.kept_from.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; SEGMENT_HEADER]) -> Result<Self, BadHeader> {
        if bytes[0..8] != MAGIC || crc32c::crc32c(&bytes[..60]) != u32_at(bytes, 60) {
            return Err(BadHeader::Damaged);
        }
        match u32_at(bytes, 8) {
            VERSION => Ok(Self {
                event_bytes: u32_at(bytes, 12),
                journal: u64_at(bytes, 16),
                salt: u64_at(bytes, 24),
                first: u64_at(bytes, 32),
                codec: u64_at(bytes, 40),
                kept_from: u64_at(bytes, 48),
            }),
            version => Err(BadHeader::Version(version)),
        }
    }
}

/// What the sequences of a frame are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A record each.
    Records,
    /// A producer abandoned them: there is nothing to record.
    Abandoned,
    /// They were lost to damage, and the journal was salvaged.
    Lost,
    /// There are none: the frame is there for its `synced`.
    Watermark,
}

/// What stands before a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) content: Content,
    /// Of the payload, without padding.
    pub(crate) bytes: u32,
    /// How many sequences.
    pub(crate) count: u64,
    pub(crate) first: u64,
    /// Everything below was durable when the frame was written.
    pub(crate) synced: u64,
    /// When it was written, in nanoseconds since 1970.
    pub(crate) unix_ns: u64,
    pub(crate) payload_crc: u32,
}

impl FrameHeader {
    /// The sequences.
    pub(crate) fn range(&self) -> Range<u64> {
        self.first..self.first + self.count
    }

    /// Bytes from this frame to the next.
    pub(crate) fn frame_bytes(&self) -> u64 {
        frame_bytes(self.bytes as usize)
    }

    pub(crate) fn encode(&self, salt: u64) -> [u8; FRAME_HEADER] {
        let kind: u16 = match self.content {
            Content::Records => 1,
            Content::Abandoned => 2,
            Content::Lost => 3,
            Content::Watermark => 4,
        };
        let mut bytes = [0; FRAME_HEADER];
        bytes[0..4].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[4..6].copy_from_slice(&kind.to_le_bytes());
        // two bytes are zero
        bytes[8..16].copy_from_slice(&self.first.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.count.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.synced.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.unix_ns.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = crc32c::crc32c_append(seed(salt), &bytes[..44]);
        bytes[44..48].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None`: no frame of a segment with this salt begins here.
    pub(crate) fn decode(bytes: &[u8; FRAME_HEADER], salt: u64) -> Option<Self> {
        if crc32c::crc32c_append(seed(salt), &bytes[..44]) != u32_at(bytes, 44) {
            return None;
        }
        let header = Self {
            content: match u32_at(bytes, 4) {
                1 => Content::Records,
                2 => Content::Abandoned,
                3 => Content::Lost,
                4 => Content::Watermark,
                _ => return None,
            },
            bytes: u32_at(bytes, 0),
            first: u64_at(bytes, 8),
            count: u64_at(bytes, 16),
            synced: u64_at(bytes, 24),
            unix_ns: u64_at(bytes, 32),
            payload_crc: u32_at(bytes, 40),
        };
        header.is_sane().then_some(header)
    }

    fn is_sane(&self) -> bool {
        let end = self.first.checked_add(self.count);
        let counted = match self.content {
            Content::Records => self.count > 0 && self.bytes as usize <= PAYLOAD_MAX,
            Content::Abandoned | Content::Lost => self.count > 0 && self.bytes == 0,
            Content::Watermark => self.count == 0 && self.bytes == 0,
        };
        // a frame is written behind what is durable, so it begins there or later
        counted && self.synced <= self.first && end.is_some_and(|end| end < 1 << 62)
    }
}

/// Bytes that a frame with so much payload takes.
pub(crate) const fn frame_bytes(payload: usize) -> u64 {
    (FRAME_HEADER + payload.next_multiple_of(ALIGN)) as u64
}

/// The checksum of a payload.
pub(crate) fn payload_crc(salt: u64, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(seed(salt), payload)
}

/// The same of a payload that goes on.
pub(crate) fn payload_crc_append(crc: u32, more: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, more)
}

/// What both checksums of a frame begin with.
pub(crate) fn seed(salt: u64) -> u32 {
    (salt ^ (salt >> 32)) as u32
}

/// Cuts a payload into its records: `None` in place of one that does not fit into what is left, which is the last then.
pub(crate) fn records(payload: &[u8], event_bytes: u32) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record = next_record(rest, event_bytes);
        rest = record.map_or(&[], |(_, rest)| rest);
        Some(record.map(|(record, _)| record))
    })
}

/// The first record, and what comes after it.
pub(crate) fn next_record(payload: &[u8], event_bytes: u32) -> Option<(&[u8], &[u8])> {
    if event_bytes > 0 {
        return payload.split_at_checked(event_bytes as usize);
    }
    let (length, rest) = payload.split_first_chunk::<RECORD_HEADER>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

/// The name of a segment's file: the number of its first record and its salt, so that a damaged header hides no frame.
pub(crate) fn segment_name(first: u64, salt: u64) -> String {
    format!("{first:020}-{salt:016x}.segment")
}

/// First record and salt of the segment with this name.
pub(crate) fn parse_segment_name(name: &str) -> Option<(u64, u64)> {
    let (first, salt) = name.strip_suffix(".segment")?.split_once('-')?;
    let parsed = (first.parse().ok()?, u64::from_str_radix(salt, 16).ok()?);
    (segment_name(parsed.0, parsed.1) == name).then_some(parsed)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|index| bytes[at + index]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|index| bytes[at + index]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_and_every_flipped_bit_is_seen() {
        let header = SegmentHeader {
            journal: 1,
            salt: 2,
            first: 3,
            kept_from: 4,
            codec: 5,
            event_bytes: 6,
        };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        for bit in 0..SEGMENT_HEADER * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                SegmentHeader::decode(&bytes),
                Err(BadHeader::Damaged),
                "bit {bit}"
            );
        }
        for content in [
            Content::Records,
            Content::Abandoned,
            Content::Lost,
            Content::Watermark,
        ] {
            let has_records = u32::from(content == Content::Records);
            let header = FrameHeader {
                content,
                bytes: has_records * 20,
                count: u64::from(content != Content::Watermark) * 9,
                first: 8,
                synced: 7,
                unix_ns: 9,
                payload_crc: 10,
            };
            let bytes = header.encode(11);
            assert_eq!(FrameHeader::decode(&bytes, 11), Some(header));
            assert_eq!(FrameHeader::decode(&bytes, 12), None, "the salt counts");
            for bit in 0..FRAME_HEADER * 8 {
                let mut bytes = bytes;
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(FrameHeader::decode(&bytes, 11), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn no_frame_says_that_it_was_durable_before_it_was_written() {
        let bytes = |first, synced| {
            let frame = FrameHeader {
                content: Content::Watermark,
                bytes: 0,
                count: 0,
                first,
                synced,
                unix_ns: 0,
                payload_crc: 0,
            };
            frame.encode(1)
        };
        assert!(FrameHeader::decode(&bytes(7, 7), 1).is_some());
        assert_eq!(FrameHeader::decode(&bytes(7, 8), 1), None);
    }

    #[test]
    fn zeros_are_no_frame_unless_their_checksum_says_so() {
        let zeros = [0; FRAME_HEADER];
        assert!((0..10_000).all(|salt| FrameHeader::decode(&zeros, salt).is_none()));
    }

    #[test]
    fn names_come_back() {
        let name = segment_name(42, 0xabc);
        assert_eq!(name, "00000000000000000042-0000000000000abc.segment");
        assert_eq!(parse_segment_name(&name), Some((42, 0xabc)));
        for name in [
            "",
            "42-abc.segment",
            ".segment",
            "lock",
            "00000000000000000042-0000000000000ABC.segment",
        ] {
            assert_eq!(parse_segment_name(name), None, "{name}");
        }
    }

    #[test]
    fn records_end_where_the_payload_does() {
        let cut = |payload: &[u8], bytes| {
            records(payload, bytes)
                .map(|record| record.map(<[u8]>::to_vec))
                .collect::<Vec<_>>()
        };
        assert_eq!(cut(&[1, 2, 3, 4], 2), [Some(vec![1, 2]), Some(vec![3, 4])]);
        assert_eq!(cut(&[1, 2, 3], 2), [Some(vec![1, 2]), None]);
        assert_eq!(
            cut(&[1, 0, 0, 0, 7, 0, 0, 0, 0], 0),
            [Some(vec![7]), Some(vec![])]
        );
        assert_eq!(cut(&[2, 0, 0, 0, 7], 0), [None]);
        assert_eq!(cut(&[2, 0, 0], 0), [None]);
        assert_eq!(cut(&[], 0), [None; 0]);
    }
}
