use crate::Answer;
use crate::event::{Check, Event, as_bytes};
use crate::store::Store;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use std::path::Path;
use std::slice;

pub(crate) struct Redb {
    database: Database,
    durable: bool,
}

const EVENTS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("events");

impl Store for Redb {
    type Opened = Database;

    fn create(directory: &Path, durable: bool) -> Answer<Self> {
        Ok(Self {
            database: Self::open(directory)?,
            durable,
        })
    }

    fn append<const W: usize>(&self, publisher: u64, first: u64, events: &[Event<W>]) -> Answer {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(if self.durable {
            Durability::Immediate
        } else {
            Durability::None
        })?;
        let mut table = transaction.open_table(EVENTS)?;
        for (event, number) in events.iter().zip(first..) {
            table.insert((publisher, number), as_bytes(slice::from_ref(event)))?;
        }
        drop(table);
        Ok(transaction.commit()?)
    }

    /// What was committed without durability is there only after a commit with it.
    fn close(self) -> Answer {
        Ok(self.database.begin_write()?.commit()?)
    }

    fn open(directory: &Path) -> Answer<Database> {
        Ok(Database::create(directory.join("events.redb"))?)
    }

    fn read(database: Database, check: &mut Check) -> Answer {
        for event in database.begin_read()?.open_table(EVENTS)?.iter()? {
            check.see(event?.1.value());
        }
        Ok(())
    }
}
