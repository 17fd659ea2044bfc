//! The writing end of a journal.

use crate::config::JournalConfig;
use crate::error::{Error, ErrorKind, StageError};
use crate::journal::Recovered;
use crate::journal::chain::Chain;
use crate::journal::codec::Codec;
use crate::journal::format::{
    Content, FRAME_HEADER, FrameHeader, PAYLOAD_MAX, RECORD_HEADER, SegmentHeader, frame_bytes,
    payload_crc, payload_crc_append,
};
use crate::journal::pins::Pins;
use crate::journal::storage::Storage;
use crate::sync::drop_quietly;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// Appends events to segments. One for a journal, on one thread. After an error it writes nothing more.
pub(crate) struct Writer<C: Codec> {
    codec: Arc<C>,
    /// Of every event; 0: it varies.
    event_bytes: u32,
    chain: Chain,
    /// Room for a frame's header, then records, which are those of the sequences from `written` up to `next`.
    buffer: Vec<u8>,
    /// Where the record begins that was appended last, or is being appended.
    last: usize,
    sum: Sum,
    write_bytes_max: usize,
    /// `PAYLOAD_MAX`, but for tests.
    payload_max: usize,
    next: u64,
    written: u64,
    synced: u64,
    /// The `synced` that stands in the last frame.
    noted: u64,
    /// The first error.
    failed: Option<(ErrorKind, String)>,
}

/// The checksum of the records in the buffer up to `end`, as part of a segment with this salt. It grows with them, while they are in the nearest cache.
struct Sum {
    salt: u64,
    crc: u32,
    end: usize,
}

impl Sum {
    /// So many bytes at a time: a third of them in each of the three streams that keep the processor's unit busy.
    const PIECE: usize = 24 << 10;

    /// Of no records yet.
    fn new(salt: u64) -> Self {
        Self {
            salt,
            crc: payload_crc(salt, &[]),
            end: FRAME_HEADER,
        }
    }

    fn add(&mut self, buffer: &[u8]) {
        self.crc = payload_crc_append(self.crc, &buffer[self.end..]);
        self.end = buffer.len();
    }
}

/// Why appending records stopped.
enum Pause {
    /// There are no more events.
    Done,
    /// Enough bytes have come for the checksum, or for a write.
    Piece,
    /// With the last record they are too many for a frame.
    TooMany,
}

impl<C: Codec> Writer<C> {
    /// Begins a new segment behind what was recovered.
    pub(crate) fn new(
        storage: &Arc<dyn Storage>,
        config: &JournalConfig,
        codec: &Arc<C>,
        recovered: &Recovered,
    ) -> Result<Self, Error> {
        let event_bytes = codec.event_bytes();
        let header = SegmentHeader {
            journal: recovered.id,
            salt: 0,
            first: 0,
            kept_from: 0,
            codec: codec.id(),
            event_bytes,
        };
        let chain = Chain::open(storage, config, header, recovered)?;
        let mut buffer = Vec::with_capacity(usual_bytes(config.write_bytes_max));
        buffer.resize(FRAME_HEADER, 0);
        Ok(Self {
            codec: codec.clone(),
            event_bytes,
            sum: Sum::new(chain.salt()),
            chain,
            buffer,
            last: FRAME_HEADER,
            write_bytes_max: config.write_bytes_max,
            payload_max: PAYLOAD_MAX,
            next: recovered.next,
            written: recovered.next,
            synced: recovered.next,
            noted: recovered.next,
            failed: None,
        })
    }

    /// What keeps segments from being removed while they are read.
    pub(crate) fn pins(&self) -> &Pins {
        self.chain.pins()
    }

    /// Everything below is in the files.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Everything below is durable.
    pub(crate) fn synced(&self) -> u64 {
        self.synced
    }

    /// Records consecutive events from sequence `first` on, to be written with the next ones, at the latest by `flush`. Sequences that
    /// are left out since the last were abandoned.
    pub(crate) fn record<'e>(
        &mut self,
        first: u64,
        mut events: impl Iterator<Item = &'e C::Event>,
    ) -> Result<(), Error>
    where
        C::Event: 'e,
    {
        self.attempt(|writer| {
            if first != writer.next {
                writer.skip_to(first)?;
            }
            loop {
                match writer.append(&mut events)? {
                    Pause::Done => return Ok(()),
                    Pause::Piece => {}
                    Pause::TooMany => writer.set_last_apart()?,
                }
                writer.sum.add(&writer.buffer);
                if writer.buffer.len() - FRAME_HEADER >= writer.write_bytes_max {
                    writer.write_records()?;
                }
            }
        })
    }

    /// Writes what was recorded; sequences below `below` that were not recorded were abandoned.
    pub(crate) fn flush(&mut self, below: u64) -> Result<(), Error> {
        self.attempt(|writer| {
            writer.write_records()?;
            writer.abandon(below)
        })
    }

    /// Makes durable what was written. With nothing to sync it does nothing.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        self.attempt(|writer| {
            if writer.synced < writer.written {
                writer.chain.sync()?;
                writer.synced = writer.written;
            }
            Ok(())
        })
    }

    /// Notes in the files how far they are durable, so that a damage below that is known as such: when it is idle, and at its end.
    pub(crate) fn note_synced(&mut self) -> Result<(), Error> {
        self.attempt(|writer| {
            if writer.noted < writer.synced {
                writer.write_bare(Content::Watermark, 0)?;
            }
            Ok(())
        })
    }

    /// Ends it: all is noted that is durable, and what a used file held before is cut off, so that the next open finds nothing to cut.
    pub(crate) fn close(&mut self) -> Result<(), Error> {
        self.note_synced()?;
        self.chain.cut_rest();
        Ok(())
    }

    /// Nothing is tried after a failure: what the files hold then is not known, and a sync that succeeds later proves nothing.
    #[inline]
    fn attempt(&mut self, what: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        if let Some((kind, first)) = &self.failed {
            let text = format!("the journal has failed already: {first}");
            return Err(Error::new(*kind, text));
        }
        let done = what(self);
        if let Err(error) = &done {
            self.failed = Some((error.kind(), error.to_string()));
        }
        done
    }

    /// Appends records to the buffer.
    fn append<'e>(
        &mut self,
        events: &mut impl Iterator<Item = &'e C::Event>,
    ) -> Result<Pause, Error>
    where
        C::Event: 'e,
    {
        // a buffer that a panic left half changed is cut back or thrown away
        let appended = match catch_unwind(AssertUnwindSafe(|| self.encode(events))) {
            Ok(encoded) => encoded,
            Err(panic) => {
                let text = match panic.downcast_ref::<&str>() {
                    Some(text) => (*text).to_owned(),
                    None => (panic.downcast_ref::<String>().cloned())
                        .unwrap_or_else(|| "a value that is not text".to_owned()),
                };
                drop_quietly(panic);
                Err(format!("panicked: {text}").into())
            }
        };
        appended.map_err(|cause| self.codec_failed(cause))
    }

    /// After an error anything may stand from the last record on.
    #[inline]
    fn encode<'e>(
        &mut self,
        events: &mut impl Iterator<Item = &'e C::Event>,
    ) -> Result<Pause, StageError>
    where
        C::Event: 'e,
    {
        let enough = (self.sum.end + Sum::PIECE).min(FRAME_HEADER + self.write_bytes_max);
        let most = FRAME_HEADER + self.payload_max;
        for event in events {
            self.last = self.buffer.len();
            self.encode_one(event)?;
            if self.buffer.len() > most {
                return Ok(Pause::TooMany);
            }
            self.next += 1;
            if self.buffer.len() >= enough {
                return Ok(Pause::Piece);
            }
        }
        Ok(Pause::Done)
    }

    #[inline(always)] // once for each event
    fn encode_one(&mut self, event: &C::Event) -> Result<(), StageError> {
        let (at, buffer) = (self.last, &mut self.buffer);
        if self.event_bytes > 0 {
            self.codec.encode(event, buffer)?;
            let expected = self.event_bytes as usize;
            return if buffer.len() == at + expected && expected <= self.payload_max {
                Ok(())
            } else {
                Err(self.misfit(at))
            };
        }
        buffer.extend_from_slice(&[0; RECORD_HEADER]);
        let start = buffer.len();
        self.codec.encode(event, buffer)?;
        match buffer.len().checked_sub(start) {
            Some(bytes) if bytes + RECORD_HEADER <= self.payload_max => {
                // at most PAYLOAD_MAX
                buffer[at..start].copy_from_slice(&(bytes as u32).to_le_bytes());
                Ok(())
            }
            _ => Err(self.misfit(start)),
        }
    }

    /// What is wrong with a record whose event was to be encoded behind `start` bytes.
    #[cold]
    fn misfit(&self, start: usize) -> StageError {
        let Some(bytes) = self.buffer.len().checked_sub(start) else {
            return "it removed bytes that were there before".into();
        };
        let most = self.payload_max - (start - self.last);
        if bytes > most {
            return format!("it made {bytes} bytes, the most is {most}").into();
        }
        let expected = self.event_bytes;
        format!("it made {bytes} bytes where every event has {expected}").into()
    }

    /// The events before the one that failed are still written, so that nothing is missing before it.
    #[cold]
    fn codec_failed(&mut self, cause: StageError) -> Error {
        let sequence = self.next;
        if self.buffer.len() >= self.last {
            self.buffer.truncate(self.last);
            // the codec's failure is the first one, and the one that is reported
            let _ = self.write_records();
        }
        let text = format!("the codec failed on sequence {sequence}: {cause}");
        Error::new(ErrorKind::Codec, text).with_source(Arc::from(cause))
    }

    /// Writes what comes before the last record, together with which it is too many bytes for a frame.
    #[cold]
    fn set_last_apart(&mut self) -> Result<(), Error> {
        let last = self.buffer.split_off(self.last);
        self.write_records()?;
        self.last = self.buffer.len();
        self.buffer.extend_from_slice(&last);
        self.next += 1;
        Ok(())
    }

    #[cold]
    fn skip_to(&mut self, sequence: u64) -> Result<(), Error> {
        if sequence < self.next {
            let text = format!("sequence {sequence} comes after {}", self.next);
            return Err(Error::new(ErrorKind::JournalMisplaced, text));
        }
        self.write_records()?;
        self.abandon(sequence)
    }

    fn abandon(&mut self, below: u64) -> Result<(), Error> {
        if self.next < below {
            self.write_bare(Content::Abandoned, below - self.next)?;
            self.next = below;
        }
        Ok(())
    }

    /// Writes all that is in the buffer, as one frame.
    fn write_records(&mut self) -> Result<(), Error> {
        if self.written == self.next {
            return Ok(());
        }
        let payload = self.buffer.len() - FRAME_HEADER;
        let bytes = frame_bytes(payload);
        self.chain.make_room(bytes, self.written)?;
        if self.sum.salt != self.chain.salt() {
            self.sum = Sum::new(self.chain.salt());
        }
        self.sum.add(&self.buffer);
        let header = FrameHeader {
            // at most PAYLOAD_MAX
            bytes: payload as u32,
            payload_crc: self.sum.crc,
            ..self.header(Content::Records, self.next - self.written)
        };
        self.buffer[..FRAME_HEADER].copy_from_slice(&header.encode(self.chain.salt()));
        self.buffer.resize(bytes as usize, 0);
        self.chain.append(&self.buffer, self.next, header.unix_ns)?;
        self.written = self.next;
        self.noted = header.synced;
        self.buffer.truncate(FRAME_HEADER);
        self.sum = Sum::new(self.chain.salt());
        let usual = usual_bytes(self.write_bytes_max);
        if self.buffer.capacity() > usual {
            self.buffer.shrink_to(usual);
        }
        Ok(())
    }

    /// Writes a frame without a payload, of so many sequences behind what is written.
    fn write_bare(&mut self, content: Content, count: u64) -> Result<(), Error> {
        if count > 0 {
            self.chain.make_room(frame_bytes(0), self.written)?;
        }
        let header = FrameHeader {
            payload_crc: payload_crc(self.chain.salt(), &[]),
            ..self.header(content, count)
        };
        let frame = header.encode(self.chain.salt());
        let end = self.written + count;
        self.chain.append(&frame, end, header.unix_ns)?;
        self.written = end;
        self.noted = header.synced;
        Ok(())
    }

    fn header(&self, content: Content, count: u64) -> FrameHeader {
        FrameHeader {
            content,
            bytes: 0,
            count,
            first: self.written,
            synced: self.synced,
            unix_ns: self.chain.unix_ns(),
            payload_crc: 0,
        }
    }
}

/// What the buffer takes, unless an event is large: a write begins only once so many bytes are reached, by an event that goes beyond.
fn usual_bytes(write_bytes_max: usize) -> usize {
    FRAME_HEADER + write_bytes_max + write_bytes_max / 8
}
