use crate::Answer;
use crate::event::{Check, Event, as_bytes};
use crate::store::Store;
use commitlog::message::{MessageBuf, MessageSet};
use commitlog::{LogOptions, ReadLimit};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// It never syncs its log, so it takes part where nothing is synced.
pub(crate) struct CommitLog(Mutex<commitlog::CommitLog>);

const READ_BYTES: usize = 1 << 20;

impl Store for CommitLog {
    type Opened = commitlog::CommitLog;

    fn create(directory: &Path, durable: bool) -> Answer<Self> {
        if durable {
            return Err("it cannot".into());
        }
        Ok(Self(Mutex::new(Self::open(directory)?)))
    }

    fn append<const W: usize>(&self, _: u64, _: u64, events: &[Event<W>]) -> Answer {
        let mut messages = MessageBuf::default();
        for event in events {
            let pushed = messages.push(as_bytes(std::slice::from_ref(event)));
            pushed.map_err(|error| format!("{error:?}"))?;
        }
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.append(&mut messages)?;
        Ok(())
    }

    fn close(self) -> Answer {
        let mut log = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        log.flush()?;
        Ok(())
    }

    fn open(directory: &Path) -> Answer<Self::Opened> {
        Ok(commitlog::CommitLog::new(LogOptions::new(directory))?)
    }

    fn read(log: Self::Opened, check: &mut Check) -> Answer {
        let mut next = 0;
        loop {
            let messages = log.read(next, ReadLimit::max_bytes(READ_BYTES))?;
            if messages.is_empty() {
                return Ok(());
            }
            for message in messages.iter() {
                check.see(message.payload());
                next = message.offset() + 1;
            }
        }
    }
}
