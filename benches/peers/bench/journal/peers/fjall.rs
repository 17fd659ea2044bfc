use super::key;
use crate::Answer;
use crate::event::{Check, Event, as_bytes};
use crate::store::Store;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::path::Path;
use std::slice;

pub(crate) struct Fjall {
    database: Database,
    events: Keyspace,
    durable: bool,
}

impl Store for Fjall {
    type Opened = Self;

    fn create(directory: &Path, durable: bool) -> Answer<Self> {
        let database = Database::builder(directory).open()?;
        let events = database.keyspace("events", KeyspaceCreateOptions::default)?;
        Ok(Self {
            database,
            events,
            durable,
        })
    }

    fn append<const W: usize>(&self, publisher: u64, first: u64, events: &[Event<W>]) -> Answer {
        if let [event] = events {
            self.events
                .insert(key(publisher, first), as_bytes(slice::from_ref(event)))?;
            if self.durable {
                self.database.persist(PersistMode::SyncData)?;
            }
            return Ok(());
        }
        let mode = self.durable.then_some(PersistMode::SyncData);
        let mut batch = self.database.batch().durability(mode);
        for (event, number) in events.iter().zip(first..) {
            let event = as_bytes(slice::from_ref(event));
            batch.insert(&self.events, key(publisher, number), event);
        }
        batch.commit()?;
        Ok(())
    }

    fn close(self) -> Answer {
        self.database.persist(PersistMode::Buffer)?;
        Ok(())
    }

    fn open(directory: &Path) -> Answer<Self> {
        Self::create(directory, false)
    }

    fn read(opened: Self, check: &mut Check) -> Answer {
        for event in opened.events.iter() {
            check.see(&event.value()?);
        }
        Ok(())
    }
}
