//! What the tests of the journal share: a folder of their own, and a storage that fails when told to.

use crate::journal::storage::{Disk, File, Lock, Storage};
use crate::sync::ring_number;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::sync::Mutex;

/// A new folder, removed with everything in it.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let number = ring_number();
        let name = format!("ringway-journal-{}-{number}", process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a folder can be made");
        Self { path }
    }

    pub(crate) fn disk(&self) -> Arc<dyn Storage> {
        Arc::new(Disk::open(&self.path).expect("it is there"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// What a [`Failing`] storage was asked to do: the verb and the file's name.
type Call = (&'static str, String);

/// A storage that notes every change that is asked for, and fails those that `fails` says.
pub(crate) struct Failing {
    inner: Arc<dyn Storage>,
    calls: Arc<Calls>,
}

pub(crate) struct Calls {
    pub(crate) made: Mutex<Vec<Call>>,
    fails: Mutex<Box<dyn Fn(&str, &str) -> bool + Send>>,
}

impl Calls {
    /// From now on these calls fail.
    pub(crate) fn fail(&self, which: impl Fn(&str, &str) -> bool + Send + 'static) {
        *self.fails.lock().expect("no test panics in it") = Box::new(which);
    }

    /// What was done since the last time.
    pub(crate) fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.made.lock().expect("no test panics in it"))
    }

    fn check(&self, verb: &'static str, name: &str) -> io::Result<()> {
        let mut made = self.made.lock().expect("no test panics in it");
        made.push((verb, name.to_owned()));
        if (self.fails.lock().expect("no test panics in it"))(verb, name) {
            return Err(io::Error::other("planted"));
        }
        Ok(())
    }
}

impl Failing {
    pub(crate) fn new(inner: Arc<dyn Storage>) -> (Arc<dyn Storage>, Arc<Calls>) {
        let calls = Arc::new(Calls {
            made: Mutex::default(),
            fails: Mutex::new(Box::new(|_, _| false)),
        });
        let storage = Arc::new(Self {
            inner,
            calls: calls.clone(),
        });
        (storage, calls)
    }

    fn file(&self, file: Arc<dyn File>, name: &str) -> Arc<dyn File> {
        Arc::new(FailingFile {
            inner: file,
            name: name.to_owned(),
            calls: self.calls.clone(),
        })
    }
}

impl Storage for Failing {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.calls.check("create", name)?;
        Ok(self.file(self.inner.create(name)?, name))
    }
    fn open(&self, name: &str, writable: bool) -> io::Result<Arc<dyn File>> {
        Ok(self.file(self.inner.open(name, writable)?, name))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.calls.check("rename", to)?;
        self.inner.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.calls.check("remove", name)?;
        self.inner.remove(name)
    }
    fn sync(&self) -> io::Result<()> {
        self.calls.check("sync directory", "")?;
        self.inner.sync()
    }
    fn lock(&self) -> io::Result<Lock> {
        self.inner.lock()
    }
    fn path(&self, name: &str) -> PathBuf {
        self.inner.path(name)
    }
}

struct FailingFile {
    inner: Arc<dyn File>,
    /// The one that it was opened with.
    name: String,
    calls: Arc<Calls>,
}

impl File for FailingFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(bytes, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.calls.check("write", &self.name)?;
        self.inner.write_at(bytes, offset)
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.calls.check("truncate", &self.name)?;
        self.inner.truncate(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.calls.check("sync", &self.name)?;
        self.inner.sync()
    }
}
