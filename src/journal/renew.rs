//! Writes again what a recovery keeps and nothing says is durable.
//!
//! A sync that fails may leave the system with bytes that it has not written and takes for written: they can be read, and the next sync succeeds without
//! them. A process that starts then finds whole frames that a loss of power takes away. So before recovery says of a frame that it is durable, either a
//! watermark says so, or its bytes are written once more, the same ones in the same place, and then synced. After a clean end there are
//! none; after a kill they are what came since the last noted sync.

use crate::error::Error;
use crate::journal::format::{ALIGN, SEGMENT_HEADER, SegmentHeader};
use crate::journal::scan::{Frames, Shape, changed, io_error, segment_header};
use crate::journal::segment::Segment;
use crate::journal::storage::{Storage, write_all};

/// Bytes that are written at once; a larger frame is too.
const PIECE: usize = 512 << 10;

/// Whether some of the segment may be on no device, if everything below `synced` is.
pub(crate) fn is_needed(segment: &Segment, synced: u64) -> bool {
    segment.end > synced || segment.end == segment.first
}

/// Writes what is at and above `synced` again. Not what was read some time ago: each frame is checked again.
pub(crate) fn renew(
    storage: &dyn Storage,
    segment: &Segment,
    shape: Shape,
    synced: u64,
) -> Result<(), Error> {
    let Segment { first, salt, .. } = *segment;
    let name = segment.name();
    let read = |error| io_error(storage, &name, "read it", error);
    let file = storage.open(&name, true).map_err(read)?;
    let write = |bytes: &[u8], end: u64| {
        let written = write_all(&*file, bytes, end - bytes.len() as u64);
        written.map_err(|error| io_error(storage, &name, "write it again", error))
    };
    if first >= synced {
        let header = segment_header(storage, &name, &*file, (first, salt), Some(shape))?;
        let header = header.map_err(|_| changed(storage, &name, 0, first))?;
        write(&SegmentHeader::encode(&header), SEGMENT_HEADER as u64)?;
    }
    let mut frames = Frames::new(file.clone(), first, salt, shape.event_bytes).map_err(read)?;
    let mut bytes = Vec::new();
    while frames.offset() < segment.bytes {
        let (offset, sequence) = (frames.offset(), frames.expected());
        let frame = frames.advance(synced).map_err(read)?;
        let frame = frame.map_err(|_| changed(storage, &name, offset, sequence))?;
        if frame.range().end <= synced && frame.first < synced {
            continue;
        }
        bytes.extend_from_slice(&frame.encode(salt));
        bytes.extend_from_slice(frames.payload());
        bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
        if bytes.len() >= PIECE {
            write(&bytes, frames.offset())?;
            bytes.clear();
        }
    }
    write(&bytes, segment.bytes)
}
