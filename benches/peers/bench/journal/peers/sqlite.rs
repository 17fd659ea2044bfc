use crate::Answer;
use crate::event::{Check, Event, as_bytes};
use crate::store::Store;
use rusqlite::Connection;
use std::path::Path;
use std::slice;
use std::sync::{Mutex, PoisonError};

/// With a write-ahead log. Publishers share a connection, since one of several could only wait for the other.
pub(crate) struct Sqlite(Mutex<Connection>);

const INSERT: &str = "INSERT INTO events (event) VALUES (?1)";

impl Store for Sqlite {
    type Opened = Connection;

    fn create(directory: &Path, durable: bool) -> Answer<Self> {
        let connection = Self::open(directory)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        let synchronous = if durable { "FULL" } else { "OFF" };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.execute_batch(
            "CREATE TABLE events (number INTEGER PRIMARY KEY, event BLOB NOT NULL)",
        )?;
        Ok(Self(Mutex::new(connection)))
    }

    fn append<const W: usize>(&self, _: u64, _: u64, events: &[Event<W>]) -> Answer {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let [event] = events {
            let mut insert = connection.prepare_cached(INSERT)?;
            insert.execute([as_bytes(slice::from_ref(event))])?;
            return Ok(());
        }
        let transaction = connection.transaction()?;
        let mut insert = transaction.prepare_cached(INSERT)?;
        for event in events {
            insert.execute([as_bytes(slice::from_ref(event))])?;
        }
        drop(insert);
        Ok(transaction.commit()?)
    }

    fn close(self) -> Answer {
        let connection = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        connection.close().map_err(|(_, error)| error.into())
    }

    fn open(directory: &Path) -> Answer<Connection> {
        Ok(Connection::open(directory.join("events.sqlite"))?)
    }

    fn read(connection: Connection, check: &mut Check) -> Answer {
        let mut select = connection.prepare("SELECT event FROM events ORDER BY number")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            check.see(row.get_ref(0)?.as_blob()?);
        }
        Ok(())
    }
}
