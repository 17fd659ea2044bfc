use crate::event::{Check, Event, as_bytes};
use crate::store::Store;
use crate::{Answer, DURABLE_FILE_BYTES};
use okaywal::{Configuration, EntryId, LogManager, ReadChunkResult, SegmentReader, WriteAheadLog};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};

/// It syncs whatever it takes, so it takes part where everything is synced.
pub(crate) struct OkayWal(WriteAheadLog);

/// A log that is never cut off at its front.
fn open(directory: &Path, reader: Reader) -> io::Result<WriteAheadLog> {
    Configuration::default_for(directory)
        .preallocate_bytes(DURABLE_FILE_BYTES as u32)
        .checkpoint_after_bytes(u64::MAX)
        .open(reader)
}

impl Store for OkayWal {
    type Opened = PathBuf;

    fn create(directory: &Path, durable: bool) -> Answer<Self> {
        if !durable {
            return Err("it cannot do otherwise".into());
        }
        Ok(Self(open(directory, Reader::default())?))
    }

    fn append<const W: usize>(&self, _: u64, _: u64, events: &[Event<W>]) -> Answer {
        let mut entry = self.0.begin_entry()?;
        for event in events {
            entry.write_chunk(as_bytes(slice::from_ref(event)))?;
        }
        entry.commit()?;
        Ok(())
    }

    fn close(self) -> Answer {
        Ok(self.0.shutdown()?)
    }

    /// It reads while it opens.
    fn open(directory: &Path) -> Answer<PathBuf> {
        Ok(directory.to_owned())
    }

    fn read(directory: PathBuf, check: &mut Check) -> Answer {
        let reader = Reader::default();
        let shared = Arc::clone(&reader.check);
        let locked = || shared.lock().unwrap_or_else(PoisonError::into_inner);
        *locked() = Some(std::mem::take(check));
        let log = open(&directory, reader)?;
        *check = locked().take().ok_or("it lost the check")?;
        Ok(log.shutdown()?)
    }

    fn recover(directory: &Path) -> Answer {
        Ok(open(directory, Reader::default())?.shutdown()?)
    }
}

/// Sees what is there when the log is opened.
#[derive(Debug, Default)]
struct Reader {
    check: Arc<Mutex<Option<Check>>>,
    event: Vec<u8>,
}

impl LogManager for Reader {
    fn recover(&mut self, entry: &mut okaywal::Entry<'_>) -> io::Result<()> {
        let mut check = self.check.lock().unwrap_or_else(PoisonError::into_inner);
        while let ReadChunkResult::Chunk(mut chunk) = entry.read_chunk()? {
            self.event.clear();
            chunk.read_to_end(&mut self.event)?;
            if !chunk.check_crc()? {
                return Err(io::Error::other("a chunk is damaged"));
            }
            if let Some(check) = &mut *check {
                check.see(&self.event);
            }
        }
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _: EntryId,
        _: &mut SegmentReader,
        _: &WriteAheadLog,
    ) -> io::Result<()> {
        Ok(())
    }
}
