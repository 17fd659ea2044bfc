//! A directory in memory, whose owner can be killed between any two changes.

use crate::journal::storage::{File, Storage};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct State {
    files: BTreeMap<String, Arc<Mutex<Vec<u8>>>>,
    /// Changes that are still made before the kill.
    left: Option<usize>,
    changes: usize,
}

/// Clones are the same directory.
#[derive(Clone, Default)]
pub(super) struct Memory {
    state: Arc<Mutex<State>>,
}

struct Open {
    bytes: Arc<Mutex<Vec<u8>>>,
    directory: Memory,
}

impl Memory {
    pub(super) fn with(files: &[(String, Vec<u8>)]) -> Self {
        let memory = Self::default();
        files
            .iter()
            .for_each(|(name, bytes)| memory.put(name, bytes));
        memory
    }

    pub(super) fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) {
        let file = Arc::new(Mutex::new(bytes.to_vec()));
        self.state.lock().unwrap().files.insert(name.into(), file);
    }

    pub(super) fn take(&self, name: &str) {
        assert!(
            self.state.lock().unwrap().files.remove(name).is_some(),
            "{name}"
        );
    }

    /// All files.
    pub(super) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let state = self.state.lock().unwrap();
        let files = state.files.iter();
        files
            .map(|(name, bytes)| (name.clone(), bytes.lock().unwrap().clone()))
            .collect()
    }

    /// Another directory with the same files.
    pub(super) fn copy(&self) -> Self {
        Self::with(&self.files())
    }

    /// After so many more changes every call fails.
    pub(super) fn kill_after(&self, changes: usize) {
        self.state.lock().unwrap().left = Some(changes);
    }

    pub(super) fn changes(&self) -> usize {
        self.state.lock().unwrap().changes
    }

    fn change(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        if state.left == Some(0) {
            return Err(io::Error::other("killed"));
        }
        state.left = state.left.map(|left| left - 1);
        state.changes += 1;
        Ok(())
    }

    fn find(&self, name: &str) -> io::Result<Arc<Mutex<Vec<u8>>>> {
        let state = self.state.lock().unwrap();
        state
            .files
            .get(name)
            .cloned()
            .ok_or(io::ErrorKind::NotFound.into())
    }
}

impl Storage for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self
            .state
            .lock()
            .unwrap()
            .files
            .keys()
            .rev()
            .cloned()
            .collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.change()?;
        if self.find(name).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.put(name, &[]);
        self.open(name, true)
    }

    fn open(&self, name: &str, _writable: bool) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(Open {
            bytes: self.find(name)?,
            directory: self.clone(),
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change()?;
        let file = self.find(from)?;
        let mut state = self.state.lock().unwrap();
        state.files.remove(from);
        state.files.insert(to.into(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change()?;
        self.state
            .lock()
            .unwrap()
            .files
            .remove(name)
            .map(drop)
            .ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        self.change()
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("memory").join(name)
    }
}

impl File for Open {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    /// At most 7 KiB at once, as a system may.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let file = self.bytes.lock().unwrap();
        let rest = file.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(bytes.len()).min(7 << 10);
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.directory.change()?;
        let mut file = self.bytes.lock().unwrap();
        let end = offset as usize + bytes.len();
        let len = file.len().max(end);
        file.resize(len, 0);
        file[offset as usize..end].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.directory.change()?;
        self.bytes.lock().unwrap().resize(len as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.directory.change()
    }
}
