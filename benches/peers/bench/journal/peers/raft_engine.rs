use crate::Answer;
use crate::event::{Check, Event, as_bytes};
use crate::store::Store;
use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};
use std::path::Path;
use std::slice;

/// Every publisher has a region of its own, since the entries of a region are consecutive.
pub(crate) struct RaftEngine {
    engine: Engine,
    /// Its `sync` syncs nothing (#395): each write has to ask for it.
    durable: bool,
}

/// Entries read at once.
const READ_ENTRIES: u64 = 4096;
const NUMBER_BITS: u32 = 48;

/// An event as an entry: its number is its index.
struct Numbered;

impl MessageExt for Numbered {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        let word = entry
            .value
            .first_chunk()
            .map_or(0, |word| u64::from_ne_bytes(*word));
        word & ((1 << NUMBER_BITS) - 1)
    }
}

impl Store for RaftEngine {
    type Opened = Engine;

    fn create(directory: &Path, durable: bool) -> Answer<Self> {
        Ok(Self {
            engine: Self::open(directory)?,
            durable,
        })
    }

    fn append<const W: usize>(&self, publisher: u64, _: u64, events: &[Event<W>]) -> Answer {
        let entry = |event| BytesValue {
            value: as_bytes(slice::from_ref(event)).to_vec(),
            ..BytesValue::default()
        };
        let entries: Vec<BytesValue> = events.iter().map(entry).collect();
        let mut batch = LogBatch::with_capacity(1);
        batch.add_entries::<Numbered>(publisher, &entries)?;
        self.engine.write(&mut batch, self.durable)?;
        Ok(())
    }

    fn open(directory: &Path) -> Answer<Engine> {
        let dir = directory
            .to_str()
            .ok_or("a path that is no text")?
            .to_owned();
        Ok(Engine::open(Config {
            dir,
            batch_compression_threshold: ReadableSize(0), // nobody compresses
            ..Config::default()
        })?)
    }

    fn read(engine: Engine, check: &mut Check) -> Answer {
        let mut entries = Vec::new();
        for publisher in engine.raft_groups() {
            let end = engine.last_index(publisher).map_or(0, |last| last + 1);
            let mut next = engine.first_index(publisher).unwrap_or(end);
            while next < end {
                let to = end.min(next + READ_ENTRIES);
                engine.fetch_entries_to::<Numbered>(publisher, next, to, None, &mut entries)?;
                entries.drain(..).for_each(|entry| check.see(&entry.value));
                next = to;
            }
        }
        Ok(())
    }
}
