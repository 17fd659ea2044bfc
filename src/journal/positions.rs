//! How far named consumers are: one small file for each, that holds its last two positions.

use crate::error::{Error, ErrorKind};
use crate::journal::names::{POSITION, UNBORN_POSITION};
use crate::journal::recovery::Recovery;
use crate::journal::storage::{Disk, File, Storage, failed, read_full, write_all};
use crate::sequence::Sequence;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Positions of named consumers that survive the process and a loss of power.
///
/// A position is where a consumer goes on: it is done with everything *below*. After a restart it is loaded, and the journal
/// replayed from there. An event between the stored position and where the consumer really was is delivered again
/// (at-least-once): store after the event's effect is done, never before; how often decides how much comes again.
/// And never store a position above [`Durability::synced`](crate::Durability::synced): a stage after the journal is not above it, but under
/// [`SyncPolicy::Never`](crate::SyncPolicy::Never), and a stage beside the journal, may be. After a loss of power the numbers in between are given to other
/// events, which that consumer would never see; opening the journal tells who is [`ahead`](crate::Recovery::ahead).
/// An effect that must not happen twice keeps the sequence beside it, in whatever it changes, and leaves out what it has seen.
///
/// Each [`store`](Self::store) takes one sync of the device (about 0.2 ms on a good one), so call it after many events. A kill or
/// a loss of power at any moment leaves the old position or the new one. It may also go back. Clones are the same store.
///
/// Stored in a journal's own directory, the slowest position keeps segments from being removed: see
/// [`Retention`](crate::Retention). So [`remove`](Self::remove) the names of consumers that will not come back.
///
/// ```
/// use ringway::{PositionStore, Sequence};
/// # let folder = std::env::temp_dir().join(format!("ringway-positions-{}", std::process::id()));
/// let positions = PositionStore::open(&folder)?;
/// assert_eq!(positions.load("invoices")?, None);
///
/// positions.store("invoices", Sequence::new(42))?; // 0 to 41 are done
/// drop(positions);
///
/// let positions = PositionStore::open(&folder)?;
/// assert_eq!(positions.load("invoices")?, Some(Sequence::new(42)));
/// assert_eq!(positions.names()?, ["invoices"]);
/// assert!(positions.remove("invoices")?);
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), ringway::Error>(())
/// ```
#[derive(Clone)]
pub struct PositionStore {
    storage: Arc<dyn Storage>,
    /// One at a time stores.
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// A write or a sync has failed.
    failed: bool,
    /// The files whose newest position is known to be durable, because this store made it so.
    durable: BTreeSet<String>,
}

impl State {
    fn check(&self, name: &str, what: &str) -> Result<(), Error> {
        if !self.failed {
            return Ok(());
        }
        let text = format!("{name} is not {what}: a write or a sync has failed before");
        Err(Error::new(ErrorKind::JournalIo, text))
    }
}

/// The most bytes that a consumer's name may have in its file's.
const NAME_MAX: usize = 200;

const MAGIC: [u8; 8] = *b"RINGWAYP";
/// Bytes of a slot: magic, how many stores there were, the position, four zeros, a checksum.
const SLOT: usize = 32;
/// From one slot to the other: never in one sector of the device.
const STRIDE: usize = 4096;

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    /// Counts stores, from 1: the greater one is the newer one, and says which slot is next.
    generation: u64,
    position: u64,
}

impl Slot {
    fn encode(&self) -> [u8; SLOT] {
        let mut bytes = [0; SLOT];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.generation.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.position.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..28]);
        bytes[28..32].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; SLOT]) -> Option<Self> {
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| bytes[at + index]));
        let crc = crc32c::crc32c(&bytes[..28]).to_le_bytes();
        (bytes[0..8] == MAGIC && bytes[28..32] == crc).then(|| Self {
            generation: number(8),
            position: number(16),
        })
    }

    /// In its file.
    fn offset(&self) -> u64 {
        self.generation % 2 * STRIDE as u64
    }

    /// A file's slots, as far as they are whole.
    fn both(file: &dyn File) -> io::Result<[Option<Self>; 2]> {
        let mut slots = [None; 2];
        for (slot, offset) in slots.iter_mut().zip([0, STRIDE as u64]) {
            let mut bytes = [0; SLOT];
            if read_full(file, &mut bytes, offset)? == SLOT {
                *slot = Self::decode(&bytes);
            }
        }
        Ok(slots)
    }

    /// The newer of them.
    fn newest(file: &dyn File) -> io::Result<Option<Self>> {
        let slots = Self::both(file)?.into_iter().flatten();
        Ok(slots.max_by_key(|slot| slot.generation))
    }
}

impl PositionStore {
    /// The store in this directory, which is made if it is not there: that of a journal, or any other.
    ///
    /// # Errors
    /// [`JournalIo`](ErrorKind::JournalIo): the system refused it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let disk = Disk::create(path).map_err(|error| {
            let text = format!("opening {} failed: {error}", path.display());
            Error::new(ErrorKind::JournalIo, text).with_source(Arc::new(error))
        })?;
        Ok(Self::on(Arc::new(disk)))
    }

    pub(crate) fn on(storage: Arc<dyn Storage>) -> Self {
        Self {
            storage,
            state: Arc::default(),
        }
    }

    /// Stores where the consumer of this name goes on, durably.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig): the name is empty or too long (200 bytes; what is no letter, digit, `-` or `_`
    /// counts three). [`JournalIo`](ErrorKind::JournalIo): the system refused it, and the old position may still be the stored
    /// one; after a failed write or sync nothing more is stored or removed by these clones. [`JournalCorrupt`](ErrorKind::JournalCorrupt) as [`load`](Self::load).
    pub fn store(&self, name: &str, position: Sequence) -> Result<(), Error> {
        let file_name = file_name(name)?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.check(&file_name, "stored")?;
        let position = position.get();
        let stored = match self.open_file(&file_name, true)? {
            None => self.create(&file_name, position),
            Some(file) => {
                let newest = self.newest(&*file, &file_name)?;
                let renewed = match state.durable.contains(&file_name) {
                    true => Ok(()),
                    false => self.renew(&*file, newest),
                };
                let slot = Slot {
                    generation: newest.generation + 1,
                    position,
                };
                renewed.and_then(|()| {
                    write_all(&*file, &slot.encode(), slot.offset())?;
                    file.sync()
                })
            }
        };
        stored.map_err(|error| {
            state.failed = true;
            failed(&*self.storage, &file_name, "storing a position in", error)
        })?;
        state.durable.insert(file_name);
        Ok(())
    }

    /// Where the consumer of this name goes on; `None`: nothing was ever stored for it.
    ///
    /// # Errors
    /// [`JournalIo`](ErrorKind::JournalIo): the system refused it. [`JournalCorrupt`](ErrorKind::JournalCorrupt): its file holds no position.
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) as [`store`](Self::store).
    pub fn load(&self, name: &str) -> Result<Option<Sequence>, Error> {
        let name = file_name(name)?;
        let Some(file) = self.open_file(&name, false)? else {
            return Ok(None);
        };
        let slot = self.newest(&*file, &name)?;
        Ok(Some(Sequence::new(slot.position)))
    }

    /// Every name for which a position is stored, sorted.
    ///
    /// # Errors
    /// [`JournalIo`](ErrorKind::JournalIo): the system refused it.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let listed = self.storage.list();
        let listed = listed.map_err(|error| failed(&*self.storage, "", "listing", error))?;
        let mut names: Vec<String> = listed.iter().filter_map(|name| consumer(name)).collect();
        names.sort();
        Ok(names)
    }

    /// Forgets the name, durably; whether there was a position.
    ///
    /// # Errors
    /// [`JournalIo`](ErrorKind::JournalIo): the system refused it. [`InvalidConfig`](ErrorKind::InvalidConfig) as [`store`](Self::store).
    pub fn remove(&self, name: &str) -> Result<bool, Error> {
        let name = file_name(name)?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.check(&name, "removed")?;
        state.durable.remove(&name);
        let was_there = match self.storage.remove(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            removed => removed.map(|()| true),
        };
        // also if it is gone already: whoever removed it may not have got so far
        let removed = was_there.and_then(|there| self.storage.sync().map(|()| there));
        removed.map_err(|error| {
            state.failed = true;
            failed(&*self.storage, &name, "removing", error)
        })
    }

    /// The least position that may be the stored one after a loss of power; `None`: none is stored. Of each file that is the lesser of its last two:
    /// the last one can be read before it is durable.
    pub(crate) fn slowest(&self) -> Result<Option<Sequence>, Error> {
        let mut slowest = None;
        for name in self.names()? {
            let name = file_name(&name)?;
            // one that was removed since then holds nothing back
            if let Some(file) = self.open_file(&name, false)? {
                let mut least = self.newest(&*file, &name)?.position;
                let slots = Slot::both(&*file);
                let slots =
                    slots.map_err(|error| failed(&*self.storage, &name, "reading", error))?;
                for slot in slots.iter().flatten() {
                    least = least.min(slot.position);
                }
                slowest = Some(slowest.map_or(least, |slowest: u64| slowest.min(least)));
            }
        }
        Ok(slowest.map(Sequence::new))
    }

    /// Says which positions do not go with what was recovered.
    pub(crate) fn report(&self, recovery: &mut Recovery) -> Result<(), Error> {
        for name in self.names()? {
            match self.load(&name) {
                Ok(Some(position)) if position > recovery.next => recovery.ahead.push(name),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::JournalCorrupt => {
                    recovery.unreadable.push(name);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes durable what an earlier life left, whose last sync may have failed: see [`renew`](crate::journal::renew).
    fn renew(&self, file: &dyn File, newest: Slot) -> io::Result<()> {
        write_all(file, &newest.encode(), newest.offset())?;
        file.sync()?;
        self.storage.sync()
    }

    fn open_file(&self, name: &str, writable: bool) -> Result<Option<Arc<dyn File>>, Error> {
        match self.storage.open(name, writable) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&*self.storage, name, "opening", error)),
        }
    }

    fn newest(&self, file: &dyn File, name: &str) -> Result<Slot, Error> {
        let newest = Slot::newest(file);
        let newest = newest.map_err(|error| failed(&*self.storage, name, "reading", error))?;
        newest.ok_or_else(|| {
            let path = self.storage.path(name);
            let text = format!("{} holds no position", path.display());
            Error::new(ErrorKind::JournalCorrupt, text)
        })
    }

    /// A file is there only with a position in it: so one that holds none is damaged, and not taken for a consumer that is new.
    fn create(&self, name: &str, position: u64) -> io::Result<()> {
        let unborn = format!("{UNBORN_POSITION}{}", name.trim_start_matches(POSITION));
        match self.storage.remove(&unborn) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.storage.create(&unborn)?;
        for generation in [1, 2] {
            let slot = Slot {
                generation,
                position,
            };
            write_all(&*file, &slot.encode(), slot.offset())?;
        }
        file.sync()?;
        self.storage.rename(&unborn, name)?;
        self.storage.sync()
    }
}

impl fmt::Debug for PositionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.storage.path("");
        f.debug_struct("PositionStore")
            .field("path", &path)
            .finish_non_exhaustive()
    }
}

/// The consumer's file: bytes that some file system might mind are written as `%` and two digits.
fn file_name(name: &str) -> Result<String, Error> {
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02x}"));
        }
    }
    if encoded.is_empty() || encoded.len() > NAME_MAX {
        let accepted = format_args!("1 to {NAME_MAX} bytes, a special one counts three");
        return Err(Error::out_of_range(
            "a position's name",
            format_args!("{name:?}"),
            accepted,
        ));
    }
    Ok(format!("{POSITION}{encoded}"))
}

/// Whose file it is; `None`: not one of ours.
fn consumer(file: &str) -> Option<String> {
    let encoded = file.strip_prefix(POSITION)?;
    let mut bytes = Vec::new();
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    let name = String::from_utf8(bytes).ok()?;
    (file_name(&name).ok()? == file).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::testing::{Failing, Folder};

    fn stored(storage: &Arc<dyn Storage>, name: &str) -> Option<u64> {
        let loaded = PositionStore::on(storage.clone()).load(name);
        loaded.expect("it is whole").map(Sequence::get)
    }

    #[test]
    fn positions_come_back_by_name_and_may_go_back() {
        let folder = Folder::new();
        let positions = PositionStore::on(folder.disk());
        assert_eq!(positions.slowest().unwrap(), None);
        for name in ["a", "B-_9", "ä/..", ".", "%41", " \n"] {
            for position in [7, 8, 0, (1 << 62) - 1, 5] {
                assert_ne!(stored(&folder.disk(), name), Some(position));
                positions.store(name, Sequence::new(position)).unwrap();
                assert_eq!(stored(&folder.disk(), name), Some(position));
            }
        }
        positions.store("B-_9", Sequence::new(3)).unwrap();
        assert_eq!(positions.slowest().unwrap(), Some(Sequence::new(3)));
        let names = positions.names().unwrap();
        assert_eq!(names, [" \n", "%41", ".", "B-_9", "a", "ä/.."]);
        for name in &names {
            assert!(positions.remove(name).unwrap());
            assert!(!positions.remove(name).unwrap());
            assert_eq!(positions.load(name).unwrap(), None);
        }
        assert!(folder.disk().list().unwrap().is_empty());
    }

    /// The bytes that every later version must read.
    #[test]
    fn a_file_is_what_the_format_says() {
        let folder = Folder::new();
        let positions = PositionStore::on(folder.disk());
        let position = Sequence::new(0x0102_0304_0506_0708);
        positions.store("a b", position).unwrap();
        let mut expected = vec![0; STRIDE + SLOT];
        let checksums = [[0xd3, 0xca, 0xaf, 0xe2], [0x14, 0xd2, 0x6b, 0xbb]];
        for (at, generation, checksum) in [(0, 2, checksums[0]), (STRIDE, 1, checksums[1])] {
            let slot = &mut expected[at..][..SLOT];
            slot[..8].copy_from_slice(b"RINGWAYP");
            slot[8] = generation;
            slot[16..24].copy_from_slice(&[8, 7, 6, 5, 4, 3, 2, 1]);
            slot[28..].copy_from_slice(&checksum);
        }
        let path = folder.path.join(".position-a%20b");
        assert_eq!(std::fs::read(&path).unwrap(), expected, "as it is written");
        std::fs::write(&path, &expected[..STRIDE]).unwrap();
        assert_eq!(positions.load("a b").unwrap(), Some(position), "and read");
    }

    #[test]
    fn names_have_a_length() {
        let folder = Folder::new();
        let positions = PositionStore::on(folder.disk());
        for (name, fits) in [
            ("", false),
            (&*"x".repeat(200), true),
            (&*"x".repeat(201), false),
            (&*".".repeat(67), false),
        ] {
            let stored = positions.store(name, Sequence::new(1));
            assert_eq!(stored.is_ok(), fits, "{name}");
            let kind = stored.map_err(|error| error.kind());
            assert!(fits || kind == Err(ErrorKind::InvalidConfig), "{name}");
        }
    }

    #[test]
    fn a_store_that_is_torn_at_any_byte_leaves_the_old_position_or_the_new_one() {
        let folder = Folder::new();
        let storage = folder.disk();
        let positions = PositionStore::on(storage.clone());
        positions.store("a", Sequence::new(0x1111)).unwrap();
        let name = file_name("a").unwrap();
        let file = storage.open(&name, true).unwrap();
        let mut before = vec![0; STRIDE + SLOT];
        for position in [0x2222, 0x3333, 0x4444] {
            read_full(&*file, &mut before, 0).unwrap();
            let old = stored(&storage, "a");
            positions.store("a", Sequence::new(position)).unwrap();
            let mut after = before.clone();
            read_full(&*file, &mut after, 0).unwrap();
            let changed: Vec<usize> = (0..after.len())
                .filter(|&at| before[at] != after[at])
                .collect();
            assert!(changed.last().unwrap() - changed[0] < SLOT, "one slot only");
            for cut in 0..=changed.len() {
                // the first of them are there, then the last of them
                for from_front in [true, false] {
                    let mut torn = before.clone();
                    for (index, &at) in changed.iter().enumerate() {
                        if (index < cut) == from_front {
                            torn[at] = after[at];
                        }
                    }
                    write_all(&*file, &torn, 0).unwrap();
                    let found = stored(&storage, "a");
                    let all = torn == after;
                    assert_eq!(
                        found,
                        if all { Some(position) } else { old },
                        "cut at {cut}"
                    );
                }
            }
            write_all(&*file, &after, 0).unwrap();
        }
    }

    #[test]
    fn a_kill_during_creation_leaves_nothing_or_the_position() {
        for broken in ["create", "write", "sync", "rename", "sync directory"] {
            let folder = Folder::new();
            let (storage, calls) = Failing::over(folder.disk());
            calls.fail(move |verb, _| verb == broken);
            let positions = PositionStore::on(storage);
            let error = positions.store("a", Sequence::new(7)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::JournalIo);
            assert!(error.to_string().contains(".position-a"), "{error}");
            let renamed = broken == "sync directory";
            let expected = renamed.then_some(7);
            assert_eq!(stored(&folder.disk(), "a"), expected, "{broken}");
            calls.fail(|_, _| false);
            let error = positions.store("a", Sequence::new(8)).unwrap_err();
            assert!(error.to_string().contains("failed before"), "{error}");
            let again = PositionStore::on(folder.disk());
            again.store("a", Sequence::new(9)).unwrap();
            assert_eq!(stored(&folder.disk(), "a"), Some(9), "{broken}");
        }
    }

    #[test]
    fn what_is_gone_already_is_made_durably_gone_and_after_a_failure_nothing_counts() {
        let folder = Folder::new();
        let (storage, calls) = Failing::over(folder.disk());
        let positions = PositionStore::on(storage.clone());
        positions.store("a", Sequence::new(1)).unwrap();
        calls.fail(|verb, _| verb == "sync directory");
        positions.remove("a").unwrap_err();
        calls.fail(|_, _| false);
        for failed in [
            positions.remove("a").map(drop),
            positions.store("b", Sequence::new(1)),
        ] {
            let error = failed.unwrap_err();
            assert!(error.to_string().contains("failed before"), "{error}");
        }
        calls.take();
        assert!(!PositionStore::on(storage).remove("a").unwrap());
        let last = calls.take().pop();
        assert_eq!(last, Some(("sync directory", String::new())));
    }

    #[test]
    fn a_file_without_a_position_is_an_error_not_a_new_consumer() {
        let folder = Folder::new();
        let storage = folder.disk();
        let name = file_name("a").unwrap();
        storage.create(&name).unwrap();
        let positions = PositionStore::on(storage);
        for error in [
            positions.load("a").map(drop).unwrap_err(),
            positions.store("a", Sequence::new(1)).unwrap_err(),
            positions.slowest().map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::JournalCorrupt);
            assert!(error.to_string().contains(&name), "{error}");
        }
    }
}
