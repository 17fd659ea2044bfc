//! Walks the frames of a segment, each checked before anybody sees it.

use crate::error::{Error, ErrorKind};
use crate::journal::format::{
    ALIGN, BadHeader, Content, FRAME_HEADER, FrameHeader, SEGMENT_HEADER, SegmentHeader,
    payload_crc,
};
use crate::journal::storage::{File, Storage, read_full};
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Bytes that are read at once: the first time, and at most. A larger frame is read at once too.
const CHUNK_MIN: usize = 4 << 10;
const CHUNK_MAX: usize = 512 << 10;
/// Zeros that are stepped over at once.
const ZEROS: usize = 1024;

/// Why no frame begins at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The file ends here.
    End,
    /// Fewer bytes than a frame's header are left, or they are none.
    NoFrame,
    /// A frame that is not the next one.
    Sequence,
    /// Its payload is no such number of events.
    Length,
    /// The file ends inside it.
    Torn,
    /// Its payload is not what was written.
    Payload,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::End => "the file ends here",
            Self::NoFrame => "no frame begins here",
            Self::Sequence => "the frame here has other sequences",
            Self::Length => "the frame here has another length than its events",
            Self::Torn => "the file ends inside the frame here",
            Self::Payload => "the payload of the frame here fails its checksum",
        })
    }
}

/// Reads the frames of one file in order, through one buffer.
pub(crate) struct Frames {
    file: Arc<dyn File>,
    salt: u64,
    event_bytes: u32,
    /// Of the file, when it was last asked: nothing is read or allocated beyond.
    len: u64,
    buffer: Vec<u8>,
    /// The buffer begins with the file's bytes from `base` on, so many.
    base: u64,
    filled: usize,
    chunk: usize,
    /// Where the next frame begins, and with which sequence.
    offset: u64,
    expected: u64,
    /// The current frame's, in the buffer.
    payload: Range<usize>,
}

impl Frames {
    /// From the first frame on. `first` and `salt` are those of the file's name.
    pub(crate) fn new(
        file: Arc<dyn File>,
        first: u64,
        salt: u64,
        event_bytes: u32,
    ) -> io::Result<Self> {
        Ok(Self {
            len: file.len()?,
            file,
            salt,
            event_bytes,
            buffer: Vec::new(),
            base: 0,
            filled: 0,
            chunk: CHUNK_MIN,
            offset: SEGMENT_HEADER as u64,
            expected: first,
            payload: 0..0,
        })
    }

    /// Where the next frame begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The sequence with which the next frame begins.
    pub(crate) fn expected(&self) -> u64 {
        self.expected
    }

    /// Bytes of the file.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The current frame's payload; empty if it was stepped over.
    #[inline]
    pub(crate) fn payload(&self) -> &[u8] {
        &self.buffer[self.payload.clone()]
    }

    /// Forgets what was read: the file may have grown or changed.
    pub(crate) fn refresh(&mut self) -> io::Result<()> {
        self.len = self.file.len()?;
        (self.base, self.filled, self.payload) = (self.offset, 0, 0..0);
        self.chunk = CHUNK_MIN;
        Ok(())
    }

    /// The next frame. One that ends at or below `from` is stepped over: its payload is neither read nor checked.
    pub(crate) fn advance(&mut self, from: u64) -> io::Result<Result<FrameHeader, Stop>> {
        self.payload = 0..0;
        let Some(header) = self.header()? else {
            let ends = self.offset >= self.len;
            return Ok(Err(if ends { Stop::End } else { Stop::NoFrame }));
        };
        if header.first != self.expected {
            return Ok(Err(Stop::Sequence));
        }
        let fixed = u64::from(self.event_bytes);
        if header.content == Content::Records
            && fixed > 0
            && header.count.checked_mul(fixed) != Some(u64::from(header.bytes))
        {
            return Ok(Err(Stop::Length));
        }
        if header.frame_bytes() > self.len - self.offset {
            return Ok(Err(Stop::Torn));
        }
        if header.bytes > 0 && header.range().end > from {
            let bytes = header.bytes as usize;
            if !self.fill(FRAME_HEADER + bytes)? {
                return Ok(Err(Stop::Torn)); // it was truncated meanwhile
            }
            let begin = self.at() + FRAME_HEADER;
            let payload = begin..begin + bytes;
            if payload_crc(self.salt, &self.buffer[payload.clone()]) != header.payload_crc {
                return Ok(Err(Stop::Payload));
            }
            self.payload = payload;
        }
        self.offset += header.frame_bytes();
        self.expected = header.range().end;
        Ok(Ok(header))
    }

    /// Looks at every place where a header may stand, from the current one on, until one does, and stays there. `data_end` becomes where the last byte
    /// ends that was stepped over and is not zero.
    pub(crate) fn find_header(&mut self, data_end: &mut u64) -> io::Result<Option<FrameHeader>> {
        self.payload = 0..0;
        while self.fill(FRAME_HEADER)? {
            let bytes = &self.buffer[self.at()..self.filled];
            let end = (bytes.len() - FRAME_HEADER) / ALIGN + 1;
            let (mut found, mut places) = (None, 0);
            while places < end {
                let rest = &bytes[places * ALIGN..];
                // most of what is looked at is zeros that were written ahead
                if places.is_multiple_of(ZEROS / ALIGN)
                    && places + ZEROS / ALIGN <= end
                    && rest.first_chunk().is_some_and(are_zeros)
                {
                    places += ZEROS / ALIGN;
                    continue;
                }
                let first = rest
                    .first_chunk()
                    .map_or(0, |first| u128::from_le_bytes(*first));
                // bytes 4 to 8 of a header are its kind: nearly all other bytes are told from it by these
                if (1..=4).contains(&((first >> 32) as u32)) {
                    found = rest
                        .first_chunk()
                        .and_then(|header| FrameHeader::decode(header, self.salt));
                    if found.is_some() {
                        break;
                    }
                }
                places += 1;
                if first != 0 {
                    *data_end = self.offset + (places * ALIGN) as u64;
                }
            }
            self.offset += (places * ALIGN) as u64;
            if found.is_some() {
                return Ok(found);
            }
        }
        let mut rest = [0; FRAME_HEADER];
        let count = read_full(&*self.file, &mut rest, self.offset)?;
        if let Some(last) = rest[..count].iter().rposition(|byte| *byte != 0) {
            *data_end = self.offset + last as u64 + 1;
        }
        Ok(None)
    }

    /// The next whole frame whose sequences are `least` or above, wherever it begins behind the current offset.
    pub(crate) fn find_frame(&mut self, least: u64) -> io::Result<Option<FrameHeader>> {
        while let Some(header) = self.find_header(&mut 0)? {
            self.expected = header.first;
            match self.advance(0)? {
                Ok(header) if header.first >= least => return Ok(Some(header)),
                Ok(_) => {}
                Err(_) => self.offset += ALIGN as u64,
            }
        }
        Ok(None)
    }

    /// Looks for frames elsewhere.
    pub(crate) fn seek(&mut self, offset: u64) {
        self.offset = offset;
        self.payload = 0..0;
        if offset < self.base {
            (self.base, self.filled) = (offset, 0);
        }
    }

    /// Steps over what cannot be a frame's first bytes.
    pub(crate) fn step(&mut self) {
        self.offset += ALIGN as u64;
    }

    fn at(&self) -> usize {
        (self.offset - self.base) as usize
    }

    fn header(&mut self) -> io::Result<Option<FrameHeader>> {
        if !self.fill(FRAME_HEADER)? {
            return Ok(None);
        }
        let bytes = self.buffer[self.at()..].first_chunk();
        Ok(bytes.and_then(|bytes| FrameHeader::decode(bytes, self.salt)))
    }

    /// Has so many bytes from the offset on in the buffer. `false`: the file ends before.
    #[inline]
    fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        if self.offset + wanted as u64 <= self.base + self.filled as u64 {
            return Ok(true);
        }
        self.read(wanted)
    }

    #[cold]
    fn read(&mut self, wanted: usize) -> io::Result<bool> {
        let left = self.len.saturating_sub(self.offset);
        if wanted as u64 > left {
            return Ok(false);
        }
        let at = usize::try_from(self.offset - self.base).unwrap_or(usize::MAX);
        let kept = self.filled.saturating_sub(at);
        if kept > 0 {
            self.buffer.copy_within(at..self.filled, 0);
        }
        (self.base, self.filled) = (self.offset, kept);
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let end = wanted.max(self.chunk).min(most);
        self.chunk = (self.chunk * 4).min(CHUNK_MAX);
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        let offset = self.base + kept as u64;
        self.filled += read_full(&*self.file, &mut self.buffer[kept..end], offset)?;
        Ok(self.filled >= wanted)
    }
}

fn are_zeros(bytes: &[u8; ZEROS]) -> bool {
    bytes.iter().fold(0, |all, byte| all | byte) == 0
}

/// What the header of a segment must say, besides what its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) codec: u64,
    pub(crate) event_bytes: u32,
}

/// Reads a segment's header. `Err(why)`: it is damaged.
///
/// # Errors
/// It cannot be read, or is of another version or of other events, which nobody may take for damage.
pub(crate) fn segment_header(
    storage: &dyn Storage,
    name: &str,
    file: &dyn File,
    (first, salt): (u64, u64),
    shape: Option<Shape>,
) -> Result<Result<SegmentHeader, &'static str>, Error> {
    let mut bytes = [0; SEGMENT_HEADER];
    let count = read_full(file, &mut bytes, 0)
        .map_err(|error| io_error(storage, name, "read it", error))?;
    if count < SEGMENT_HEADER {
        return Ok(Err("the file ends inside the segment's header"));
    }
    let header = match SegmentHeader::decode(&bytes) {
        Ok(header) => header,
        Err(BadHeader::Damaged) => return Ok(Err("the segment's header fails its checksum")),
        Err(BadHeader::Version(version)) => {
            let path = storage.path(name);
            let text = format!(
                "{}: its format is version {version}, this library's is version 1",
                path.display()
            );
            return Err(Error::new(ErrorKind::JournalMismatch, text));
        }
    };
    if (header.first, header.salt) != (first, salt) {
        return Ok(Err(
            "the segment's header is that of a file with another name",
        ));
    }
    let (codec, event_bytes) = (header.codec, header.event_bytes);
    if shape.is_some_and(|shape| shape != Shape { codec, event_bytes }) {
        return Err(mismatch(
            storage,
            name,
            &header,
            shape.unwrap_or(Shape { codec, event_bytes }),
        ));
    }
    Ok(Ok(header))
}

fn mismatch(storage: &dyn Storage, name: &str, header: &SegmentHeader, shape: Shape) -> Error {
    let text = format!(
        "{}: it was made with codec {:#x} and {} bytes an event (0: it varies), not with codec {:#x} and {} bytes",
        storage.path(name).display(),
        header.codec,
        header.event_bytes,
        shape.codec,
        shape.event_bytes
    );
    Error::new(ErrorKind::JournalMismatch, text)
}

/// What the system refused.
pub(crate) fn io_error(storage: &dyn Storage, name: &str, what: &str, error: io::Error) -> Error {
    let text = format!("{}: cannot {what}: {error}", storage.path(name).display());
    Error::new(ErrorKind::JournalIo, text).with_source(Arc::new(error))
}

/// What was whole a moment ago is not: nothing can be said about it now, and trying again may tell.
pub(crate) fn changed(storage: &dyn Storage, name: &str, offset: u64, sequence: u64) -> Error {
    let path = storage.path(name);
    let text = format!(
        "{}: it changed at offset {offset}, sequence {sequence}, while it was opened",
        path.display()
    );
    Error::new(ErrorKind::JournalIo, text)
}

/// Damage where there must be none.
pub(crate) fn corrupt(
    storage: &dyn Storage,
    name: &str,
    offset: u64,
    sequence: u64,
    why: impl fmt::Display,
) -> Error {
    let path = storage.path(name);
    let text = format!(
        "{}: damaged at offset {offset}, sequence {sequence}: {why}",
        path.display()
    );
    Error::new(ErrorKind::JournalCorrupt, text)
}
