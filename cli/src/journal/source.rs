//! A journal whose events nobody here knows: each is the bytes that were recorded for it.

use crate::journal::Failure;
use ringway::{Codec, Inspection, JournalReader, SegmentInfo, StageError};
use std::path::Path;

/// Whatever codec the journal was made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw {
    id: u64,
    /// Of every event; 0: it varies.
    pub(crate) event_bytes: u32,
}

impl Raw {
    /// That of the first header that is whole.
    pub(crate) fn of(segments: &[SegmentInfo]) -> Self {
        let whole = segments.iter().find(|segment| segment.damage.is_none());
        Self {
            id: whole.map_or(0, |whole| whole.codec),
            event_bytes: whole.map_or(0, |whole| whole.event_bytes),
        }
    }
}

impl Codec for Raw {
    type Event = Vec<u8>;

    fn id(&self) -> u64 {
        self.id
    }

    fn event_bytes(&self) -> u32 {
        self.event_bytes
    }

    fn encode(&self, event: &Vec<u8>, bytes: &mut Vec<u8>) -> Result<(), StageError> {
        bytes.extend_from_slice(event);
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, StageError> {
        Ok(bytes.to_vec())
    }
}

/// The journal in this directory, if there is one.
pub(crate) fn inspect(path: &Path) -> Result<Inspection, Failure> {
    let inspection = Inspection::open(path)?;
    if inspection.segments().is_empty() {
        let text = format!("{}: not a journal: it holds no segment", path.display());
        return Err(Failure::NoJournal(text));
    }
    Ok(inspection)
}

/// The same, record by record.
pub(crate) fn read(path: &Path) -> Result<(JournalReader<Raw>, Raw), Failure> {
    let codec = Raw::of(inspect(path)?.segments());
    Ok((JournalReader::open(path, codec)?, codec))
}

/// An argument that is outside the sequences that are there. `next` is not there yet.
pub(crate) fn out_of_range(argument: &str, value: u64, (first, next): (u64, u64)) -> Failure {
    Failure::Usage(format!(
        "{argument} is {value}: accepted is {first} to {next}, where the journal ends"
    ))
}
