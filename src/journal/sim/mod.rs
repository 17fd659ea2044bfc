//! A file system in memory that does to its files what real ones do when power fails or a device is broken, by seed.
//!
//! Every file has two contents: what the system's cache says, which is what is read, and what is on the device. A sync moves the sectors that were
//! written since to the device. A crash keeps of those that were not synced any subset, each in any of the contents it had since; the file's length is any
//! that it had since; of the directory's changes it keeps the first few, as a file system with a journal does, or any subset. A sync that fails does so
//! to each sector by chance, and *forgets* those it did not write, as systems do: the next sync says that all is well. What is read afterwards is
//! still what was written, until the system needs the memory: a restart finds either. A sync of the directory that fails keeps the first few changes of
//! names and forgets the others; the process still sees them, a restart does not.

pub(crate) mod inode;
mod rot;
mod seeds;
mod tests;

use crate::journal::sim::inode::{Inode, Random};
use crate::journal::storage::{File, NameSyncs, Storage};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) const EIO: i32 = 5;
pub(crate) const ENOSPC: i32 = 28;
const ENOENT: i32 = 2;
const EEXIST: i32 = 17;
const EROFS: i32 = 30;

/// What is asked of a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    List,
    Create,
    Open,
    Rename,
    Remove,
    SyncDirectory,
    Len,
    Read,
    Write,
    Truncate,
    Sync,
}

impl Op {
    fn changes(self) -> bool {
        !matches!(self, Self::List | Self::Open | Self::Len | Self::Read)
    }

    /// A file that is open can be used without; only its sync notices.
    fn needs_names(self) -> bool {
        matches!(
            self,
            Self::List | Self::Create | Self::Open | Self::Rename | Self::Remove | Self::Sync
        )
    }
}

/// What goes wrong, and when: calls are counted from 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// Power fails during this call; it and all later ones fail.
    pub(crate) power_off: Option<u64>,
    /// The n-th call of this kind fails with this code.
    pub(crate) fail: Option<(Op, u64, i32)>,
    /// This call fails with this code, whatever it is.
    pub(crate) fail_call: Option<(u64, i32)>,
    /// The directory is removed by somebody else before this call.
    pub(crate) gone: Option<u64>,
    /// The file system is read-only from this call on.
    pub(crate) read_only: Option<u64>,
    /// Writes now and then take only some of the bytes.
    pub(crate) short_writes: bool,
    /// How many bytes all files together may still grow.
    pub(crate) space: Option<usize>,
}

#[derive(Clone, Debug)]
enum Change {
    Create(String, usize),
    Rename(String, String, usize),
    Remove(String, usize),
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        let forget = |names: &mut BTreeMap<String, usize>, name: &str, inode| {
            if names.get(name) == Some(&inode) {
                names.remove(name);
            }
        };
        match self {
            Self::Create(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Rename(from, to, inode) => {
                forget(names, from, *inode);
                names.insert(to.clone(), *inode);
            }
            Self::Remove(name, inode) => forget(names, name, *inode),
        }
    }
}

struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    device_names: BTreeMap<String, usize>,
    /// Of names, since the directory was synced.
    changes: Vec<Change>,
    random: Random,
    /// Of salts: no life begins them anew.
    numbers: Random,
    unix_ns: u64,
    plan: Plan,
    calls: u64,
    calls_of: BTreeMap<&'static str, u64>,
    off: bool,
    /// A sync failed: what the cache says is not what the device will ever hold.
    lied: bool,
    /// It was one of the directory.
    names_lied: bool,
}

impl State {
    /// Counts a call. `Err`: it fails.
    fn call(&mut self, op: Op) -> io::Result<()> {
        let call = self.calls;
        self.calls += 1;
        let of = self.calls_of.entry(op_name(op)).or_default();
        let call_of = *of;
        *of += 1;
        self.off |= self.plan.power_off.is_some_and(|at| call >= at);
        let code = match &self.plan {
            _ if self.off => EIO,
            Plan {
                fail: Some((kind, at, code)),
                ..
            } if *kind == op && *at == call_of => *code,
            Plan {
                fail_call: Some((at, code)),
                ..
            } if *at == call => *code,
            Plan { gone: Some(at), .. } if call >= *at && op.needs_names() => ENOENT,
            Plan {
                read_only: Some(at),
                ..
            } if call >= *at && op.changes() => EROFS,
            _ => return Ok(()),
        };
        Err(io::Error::from_raw_os_error(code))
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        let found = self.names.get(name).copied();
        found.ok_or_else(|| io::Error::from_raw_os_error(ENOENT))
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    fn write(&mut self, inode: usize, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let was_on = !self.off;
        if let Err(error) = self.call(Op::Write) {
            if was_on && !bytes.is_empty() {
                // a failed write may have written some of it
                let done = self.random.below(bytes.len() + 1);
                self.inodes[inode].write(&bytes[..done], offset);
            }
            return Err(error);
        }
        let mut count = bytes.len();
        if self.plan.short_writes && count > 1 && self.random.one_in(3) {
            count = 1 + self.random.below(count - 1);
        }
        if let Some(space) = &mut self.plan.space {
            let len = self.inodes[inode].cache.len();
            let room = (len + *space).saturating_sub(offset);
            count = count.min(room);
            if count == 0 && !bytes.is_empty() {
                return Err(io::Error::from_raw_os_error(ENOSPC));
            }
            *space -= (offset + count).saturating_sub(len);
        }
        self.inodes[inode].write(&bytes[..count], offset);
        Ok(count)
    }

    /// The same files under another plan; those without a name are gone.
    fn renewed(
        &self,
        names: BTreeMap<String, usize>,
        device_names: BTreeMap<String, usize>,
        seed: u64,
    ) -> Self {
        let mut inodes = Vec::new();
        inodes.resize_with(self.inodes.len(), Inode::default);
        for inode in names.values().chain(device_names.values()) {
            inodes[*inode].clone_from(&self.inodes[*inode]);
        }
        Self {
            inodes,
            names,
            device_names,
            changes: self.changes.clone(),
            random: Random::new(seed),
            numbers: self.numbers.clone(),
            unix_ns: self.unix_ns,
            plan: Plan::default(),
            calls: 0,
            calls_of: BTreeMap::new(),
            off: false,
            lied: self.lied,
            names_lied: false,
        }
    }
}

fn op_name(op: Op) -> &'static str {
    match op {
        Op::List => "list",
        Op::Create => "create",
        Op::Open => "open",
        Op::Rename => "rename",
        Op::Remove => "remove",
        Op::SyncDirectory => "sync directory",
        Op::Len => "len",
        Op::Read => "read",
        Op::Write => "write",
        Op::Truncate => "truncate",
        Op::Sync => "sync",
    }
}

/// The directory, as one process sees it.
#[derive(Clone)]
pub(crate) struct SimStorage(Arc<Mutex<State>>, Arc<NameSyncs>);

impl SimStorage {
    /// An empty one that works.
    pub(crate) fn new(seed: u64) -> Self {
        let state = Arc::new(Mutex::new(State {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            device_names: BTreeMap::new(),
            changes: Vec::new(),
            random: Random::new(seed),
            numbers: Random::new(!seed),
            unix_ns: 0,
            plan: Plan::default(),
            calls: 0,
            calls_of: BTreeMap::new(),
            off: false,
            lied: false,
            names_lied: false,
        }));
        Self(state, Arc::default())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes wrong from now on; calls are counted anew.
    pub(crate) fn plan(&self, plan: Plan) {
        let mut state = self.state();
        state.plan = plan;
        state.calls = 0;
        state.calls_of.clear();
    }

    /// How many calls there were since the plan was made.
    pub(crate) fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Whether a sync has failed, after which the cache does not say what the device holds.
    pub(crate) fn lied(&self) -> bool {
        self.state().lied
    }

    /// Whether somebody has removed the directory.
    pub(crate) fn is_gone(&self) -> bool {
        let state = self.state();
        state.plan.gone.is_some_and(|at| state.calls > at)
    }

    /// Whether power has failed.
    pub(crate) fn is_off(&self) -> bool {
        self.state().off
    }

    /// The directory as it is after power failed now. This one is dead from here on.
    pub(crate) fn crash(&self, seed: u64) -> Self {
        let mut old = self.state();
        old.off = true;
        let mut random = Random::new(seed);
        let mut names = old.device_names.clone();
        let kept = random.below(4);
        let first = random.below(old.changes.len() + 1);
        for (index, change) in old.changes.iter().enumerate() {
            let keep = match kept {
                0 => false,
                1 => true,
                2 => index < first,
                _ => random.one_in(2),
            };
            if keep {
                change.apply(&mut names);
            }
        }
        let mut new = old.renewed(names.clone(), names, seed);
        new.changes.clear();
        new.lied = false;
        for inode in &mut new.inodes {
            inode.lose(&mut random);
            inode.cache.clone_from(&inode.device);
        }
        Self(Arc::new(Mutex::new(new)), Arc::default())
    }

    /// The directory as another process finds it after this one was killed. This one is dead from here on.
    pub(crate) fn kill(&self, seed: u64) -> Self {
        let mut old = self.state();
        old.off = true;
        // a file system that could not write a directory has stopped: what was not written is gone once it is there again
        let names = match old.names_lied {
            true => &old.device_names,
            false => &old.names,
        };
        let mut new = old.renewed(names.clone(), old.device_names.clone(), seed);
        if old.names_lied {
            new.changes.clear();
        }
        if new.lied && new.random.one_in(2) {
            let State { inodes, random, .. } = &mut new;
            inodes.iter_mut().for_each(|inode| inode.evict(random));
        }
        Self(Arc::new(Mutex::new(new)), Arc::default())
    }

    /// Flips a bit of a file, on the device and in the cache.
    fn flip(&self, name: &str, at: usize, bit: usize) {
        let mut state = self.state();
        let inode = state.names[name];
        let Inode { cache, device, .. } = &mut state.inodes[inode];
        for bytes in [cache, device] {
            bytes[at] ^= 1 << bit;
        }
    }

    /// The names and bytes that a process finds.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        let file =
            |(name, inode): (&String, &usize)| (name.clone(), state.inodes[*inode].cache.clone());
        state.names.iter().map(file).collect()
    }
}

impl Storage for SimStorage {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.call(Op::List)?;
        let mut names: Vec<String> = state.names.keys().cloned().collect();
        // a directory has no order
        for at in 1..names.len() {
            let other = state.random.below(at + 1);
            names.swap(at, other);
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        state.call(Op::Create)?;
        if state.names.contains_key(name) {
            return Err(io::Error::from_raw_os_error(EEXIST));
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.change(Change::Create(name.to_owned(), inode));
        Ok(Arc::new(self.file(inode)))
    }

    fn open(&self, name: &str, _writable: bool) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        state.call(Op::Open)?;
        Ok(Arc::new(self.file(state.find(name)?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.call(Op::Rename)?;
        let inode = state.find(from)?;
        state.change(Change::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.call(Op::Remove)?;
        let inode = state.find(name)?;
        state.change(Change::Remove(name.to_owned(), inode));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.1.run(|| self.sync_names())
    }

    fn random(&self) -> u64 {
        let numbers = &mut self.state().numbers;
        numbers.next() << 32 ^ numbers.next()
    }

    fn unix_ns(&self) -> u64 {
        let mut state = self.state();
        state.unix_ns += 100;
        state.unix_ns
    }

    fn has_threads(&self) -> bool {
        false
    }

    fn room(&self) -> io::Result<u64> {
        let mut state = self.state();
        // now and then others have taken it
        if state.random.one_in(4) {
            return Ok(0);
        }
        Ok(state.plan.space.map_or(u64::MAX, |space| space as u64))
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new("/sim").join(name)
    }
}

impl SimStorage {
    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.state();
        let was_on = !state.off;
        let result = state.call(Op::SyncDirectory);
        let all = state.changes.len();
        let done = match result {
            Ok(()) => all,
            Err(_) => state.random.below(all + 1),
        };
        let changes: Vec<Change> = state.changes.drain(..done).collect();
        changes
            .iter()
            .for_each(|change| change.apply(&mut state.device_names));
        // if power failed, the crash decides
        if result.is_err() && was_on && !state.off {
            state.changes.clear();
            (state.lied, state.names_lied) = (true, true);
        }
        result
    }

    fn file(&self, inode: usize) -> SimFile {
        SimFile {
            storage: self.clone(),
            inode,
        }
    }
}

struct SimFile {
    storage: SimStorage,
    inode: usize,
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        let mut state = self.storage.state();
        state.call(Op::Len)?;
        Ok(state.inodes[self.inode].cache.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.storage.state();
        state.call(Op::Read)?;
        let content = &state.inodes[self.inode].cache;
        let from = content
            .len()
            .min(usize::try_from(offset).unwrap_or(usize::MAX));
        let count = bytes.len().min(content.len() - from);
        bytes[..count].copy_from_slice(&content[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.storage.state().write(self.inode, bytes, offset)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.storage.state();
        state.call(Op::Truncate)?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        state.inodes[self.inode].truncate(len);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.storage.state();
        let was_on = !state.off;
        let result = state.call(Op::Sync);
        let State {
            inodes,
            random,
            lied,
            off,
            ..
        } = &mut *state;
        let inode = &mut inodes[self.inode];
        match &result {
            Ok(()) => inode.sync(),
            Err(_) if was_on && !*off => {
                inode.fail_sync(random);
                *lied = true;
            }
            // power failed: the crash decides
            Err(_) => {}
        }
        result
    }
}
