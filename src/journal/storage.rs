//! What a journal asks of a file system: one directory of files that are read and written at offsets. The tests put a
//! failing one in its place.

use crate::error::{Error, ErrorKind};
use crate::journal::names::LOCK;
pub(crate) use disk::Disk;
use std::any::Any;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// One directory. Names are those of files in it.
pub(crate) trait Storage: Send + Sync + 'static {
    /// Every file.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file that is not there yet.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Opens a file that is there; `writable`: not only to read it.
    fn open(&self, name: &str, writable: bool) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name, atomically; a file that had that name is gone.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes durable which files there are, and their names.
    fn sync(&self) -> io::Result<()>;

    /// How many bytes its files may grow by, all together.
    fn room(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    /// A number that nobody else has had, for all we know.
    fn random(&self) -> u64 {
        // the keys are the system's random numbers and differ from call to call
        RandomState::new().hash_one(0)
    }

    /// Nanoseconds since 1970 by the system's clock; 0 before that.
    fn unix_ns(&self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| {
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
        })
    }

    /// Whether threads of the journal's own may use it beside its writer: what they do has no order that could be repeated.
    fn has_threads(&self) -> bool {
        true
    }

    /// Keeps every other writer out, of this process and of others, until it is dropped; `WouldBlock`: one is there already.
    /// A storage that only its maker knows needs none.
    fn lock(&self) -> io::Result<Lock> {
        Ok(Box::new(()))
    }

    /// For error texts.
    fn path(&self, name: &str) -> PathBuf;
}

/// The syncs of a directory by one process. A system that could not write a change of names may forget it, and tells one caller once: a later sync that
/// succeeds says nothing about what came before. So after one that failed none counts, whoever asks.
#[derive(Default)]
pub(crate) struct NameSyncs {
    /// Locked during a sync: nobody's may succeed beside one that fails.
    failed: Mutex<bool>,
}

impl NameSyncs {
    pub(crate) fn run(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if *failed {
            let text = "a sync of the directory has failed before";
            return Err(io::Error::other(text));
        }
        let synced = sync();
        *failed = synced.is_err();
        synced
    }
}

/// Being the one writer of a directory.
pub(crate) type Lock = Box<dyn Any + Send + Sync>;

/// [`Storage::lock`], with an error that says what it is about.
pub(crate) fn lock(storage: &dyn Storage) -> Result<Lock, Error> {
    storage.lock().map_err(|error| {
        if error.kind() == io::ErrorKind::WouldBlock {
            let path = storage.path("");
            let text = format!(
                "the journal {} has a writer already, in this process or another",
                path.display()
            );
            return Error::new(ErrorKind::JournalLocked, text);
        }
        failed(storage, LOCK, "locking", error)
    })
}

/// What the system refused to do about a file.
pub(crate) fn failed(storage: &dyn Storage, name: &str, what: &str, error: io::Error) -> Error {
    let text = format!("{what} {} failed: {error}", storage.path(name).display());
    Error::new(ErrorKind::JournalIo, text).with_source(Arc::new(error))
}

/// One file of it.
pub(crate) trait File: Send + Sync + 'static {
    fn len(&self) -> io::Result<u64>;

    /// Reads up to `bytes.len()` bytes; 0 at the end of the file.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes some of `bytes`, which may be fewer than all.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes the file at least so long, of zeros, in blocks of its own; where the system cannot do that without writing them, nothing.
    fn reserve(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    /// Makes the file's bytes and length durable; an error if it has no name any more.
    fn sync(&self) -> io::Result<()>;
}

/// Reads until `bytes` is full or the file ends; how many those were.
pub(crate) fn read_full(file: &dyn File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all of `bytes`: a short write goes on where it ended, until the system says why.
pub(crate) fn write_all(file: &dyn File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.write_at(&bytes[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(unix)]
mod disk {
    use super::{File, Lock, NameSyncs, Storage};
    use crate::journal::names::LOCK;
    use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags};
    use rustix::fs::{flock, fstatvfs, openat, renameat, statat, unlinkat};
    use rustix::io::retry_on_intr;
    use std::fs;
    use std::io;
    use std::os::unix::fs::{DirBuilderExt, FileExt};
    use std::path::{Path, PathBuf, absolute};
    use std::sync::Arc;

    /// A directory of the system: the one that was opened, whatever its name is by now, and whatever else has got that name.
    pub(crate) struct Disk {
        /// For error texts.
        path: PathBuf,
        directory: fs::File,
        syncs: NameSyncs,
    }

    /// Directories to be synced for a path to be durable: that in which it is, and those of the ancestors that are not there yet.
    pub(super) fn parents(path: &Path) -> Vec<PathBuf> {
        let missing = path.ancestors().take_while(|path| !path.exists()).count();
        let parents = path.ancestors().skip(1).take(missing.max(1));
        parents.map(Path::to_owned).collect()
    }

    impl Disk {
        /// The directory, made if it is not there, with its parents; durably so, also if somebody else made it a moment ago.
        pub(crate) fn create(path: &Path) -> io::Result<Self> {
            let path = absolute(path)?;
            let parents = parents(&path);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)?;
            for parent in parents {
                match fs::File::open(parent) {
                    // whoever may not read it has made nothing in it
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                    parent => parent?.sync_all()?,
                }
            }
            Self::open(&path)
        }

        /// The directory, which must be there.
        pub(crate) fn open(path: &Path) -> io::Result<Self> {
            let path = absolute(path)?;
            let directory = fs::File::open(&path)?;
            if !directory.metadata()?.is_dir() {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            Ok(Self {
                path,
                directory,
                syncs: NameSyncs::default(),
            })
        }

        fn open_at(&self, name: &str, flags: OFlags) -> io::Result<fs::File> {
            let flags = flags | OFlags::CLOEXEC;
            let mode = Mode::RUSR | Mode::WUSR;
            let file = retry_on_intr(|| openat(&self.directory, name, flags, mode))?;
            Ok(file.into())
        }

        /// A directory's entry may not say what it is.
        fn is_file(&self, name: &str, file_type: FileType) -> bool {
            let asked = || statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW);
            match file_type {
                FileType::Unknown => asked().is_ok_and(|stat| {
                    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                }),
                known => known == FileType::RegularFile,
            }
        }
    }

    impl Storage for Disk {
        fn list(&self) -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in Dir::read_from(&self.directory)? {
                let entry = entry?;
                if let Ok(name) = entry.file_name().to_str()
                    && self.is_file(name, entry.file_type())
                {
                    names.push(name.to_owned());
                }
            }
            Ok(names)
        }

        fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
            Ok(Arc::new(self.open_at(name, flags)?))
        }

        fn open(&self, name: &str, writable: bool) -> io::Result<Arc<dyn File>> {
            let flags = match writable {
                true => OFlags::RDWR,
                false => OFlags::RDONLY,
            };
            Ok(Arc::new(self.open_at(name, flags)?))
        }

        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            Ok(renameat(&self.directory, from, &self.directory, to)?)
        }

        fn remove(&self, name: &str) -> io::Result<()> {
            Ok(unlinkat(&self.directory, name, AtFlags::empty())?)
        }

        fn sync(&self) -> io::Result<()> {
            self.syncs.run(|| self.directory.sync_all())
        }

        fn room(&self) -> io::Result<u64> {
            let system = fstatvfs(&self.directory)?;
            Ok(system.f_bavail.saturating_mul(system.f_frsize))
        }

        fn lock(&self) -> io::Result<Lock> {
            let file = self.open_at(LOCK, OFlags::WRONLY | OFlags::CREATE)?;
            // of the open file, not of the process: the same process is kept out too, and a kill sets it free
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            Ok(Box::new(Held(file)))
        }

        fn path(&self, name: &str) -> PathBuf {
            self.path.join(name)
        }
    }

    /// The lock file, locked. Closing it is not enough: a child process of this one has it open too until it runs its own program.
    struct Held(fs::File);

    impl Drop for Held {
        fn drop(&mut self) {
            let _ = flock(&self.0, FlockOperation::Unlock);
        }
    }

    impl File for fs::File {
        fn len(&self) -> io::Result<u64> {
            Ok(self.metadata()?.len())
        }

        fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
            FileExt::read_at(self, bytes, offset)
        }

        fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
            FileExt::write_at(self, bytes, offset)
        }

        fn truncate(&self, len: u64) -> io::Result<()> {
            self.set_len(len)
        }

        #[cfg(target_os = "linux")]
        fn reserve(&self, len: u64) -> io::Result<()> {
            let flags = rustix::fs::FallocateFlags::empty();
            Ok(rustix::fs::fallocate(self, flags, 0, len)?)
        }

        fn sync(&self) -> io::Result<()> {
            self.sync_data()?;
            // the system says nothing of that: somebody removed the file, be it with its directory
            if names_of(self)? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    "the file was removed",
                ));
            }
            Ok(())
        }
    }

    /// How many names a file has. Nothing else is asked for: whoever asks for its times has the next write change them for certain, and the sync
    /// after that one write them too, which takes half as long again.
    #[cfg(target_os = "linux")]
    fn names_of(file: &fs::File) -> io::Result<u64> {
        use rustix::fs::{StatxFlags, statx};
        let found = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::NLINK)?;
        Ok(found.stx_nlink.into())
    }

    #[cfg(not(target_os = "linux"))]
    fn names_of(file: &fs::File) -> io::Result<u64> {
        use std::os::unix::fs::MetadataExt;
        Ok(file.metadata()?.nlink())
    }
}

/// Elsewhere there are buses, and no journals: how to sync a directory and keep other writers out was not tried there.
#[cfg(not(unix))]
mod disk {
    use super::{File, Storage};
    use std::io;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    /// There is none.
    pub(crate) enum Disk {}

    impl Disk {
        pub(crate) fn create(_: &Path) -> io::Result<Self> {
            Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "journals need a Unix system",
            ))
        }

        pub(crate) fn open(path: &Path) -> io::Result<Self> {
            Self::create(path)
        }
    }

    impl Storage for Disk {
        fn list(&self) -> io::Result<Vec<String>> {
            match *self {}
        }

        fn create(&self, _: &str) -> io::Result<Arc<dyn File>> {
            match *self {}
        }

        fn open(&self, _: &str, _: bool) -> io::Result<Arc<dyn File>> {
            match *self {}
        }

        fn rename(&self, _: &str, _: &str) -> io::Result<()> {
            match *self {}
        }

        fn remove(&self, _: &str) -> io::Result<()> {
            match *self {}
        }

        fn sync(&self) -> io::Result<()> {
            match *self {}
        }

        fn path(&self, _: &str) -> PathBuf {
            match *self {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::testing::Folder;

    #[test]
    fn one_writer_for_a_directory() {
        let folder = Folder::new();
        let (first, second) = (folder.disk(), folder.disk());
        let held = lock(&*first).expect("nobody has it");
        for storage in [&first, &second] {
            let error = lock(&**storage).expect_err("it is held");
            assert_eq!(error.kind(), ErrorKind::JournalLocked);
            let path = folder.path.display().to_string();
            assert!(error.to_string().contains(&path), "{error}");
        }
        drop(held);
        lock(&*second).expect("it was given back");
    }

    /// Somebody renames it, and makes another one in its place.
    #[test]
    fn a_directory_stays_the_one_that_was_opened() {
        let folder = Folder::new();
        let [path, moved] = ["journal", "moved"].map(|name| folder.path.join(name));
        let disk = Disk::create(&path).unwrap();
        let _held = lock(&disk).expect("nobody has it");
        std::fs::rename(&path, &moved).unwrap();
        let other = Disk::create(&path).unwrap();
        let _other = lock(&other).expect("it is another directory");
        disk.create("a").unwrap();
        disk.rename("a", "b").unwrap();
        disk.create("c").unwrap().sync().unwrap();
        disk.remove("c").unwrap();
        disk.sync().unwrap();
        let names = |disk: &Disk| {
            let mut names = disk.list().unwrap();
            names.sort();
            names
        };
        assert_eq!(names(&disk), [LOCK, "b"]);
        assert_eq!(names(&other), [LOCK]);
        assert_eq!(names(&Disk::open(&moved).unwrap()), [LOCK, "b"]);
        disk.open("b", false).unwrap();
        other.open("b", false).map(drop).unwrap_err();
        std::fs::create_dir(moved.join("folder")).unwrap();
        std::os::unix::fs::symlink("b", moved.join("link")).unwrap();
        assert_eq!(names(&disk), [LOCK, "b"], "nothing but files");
        assert!(disk.room().unwrap() > 0);
    }

    /// It may have been made a moment ago, by somebody who was killed before he synced it.
    #[test]
    fn the_directory_in_which_one_is_made_is_synced_be_it_there_already() {
        let folder = Folder::new();
        let above = folder.path.parent().expect("it is in one").to_owned();
        assert_eq!(disk::parents(&folder.path), [&*above]);
        let new = folder.path.join("a/b");
        let there = [folder.path.join("a"), folder.path.clone()];
        assert_eq!(disk::parents(&new), there);
        assert!(disk::parents(std::path::Path::new("/")).is_empty());
        Disk::create(&new).unwrap();
        assert_eq!(disk::parents(&new), [folder.path.join("a")]);
    }

    #[test]
    fn no_sync_of_names_counts_after_one_that_failed() {
        let syncs = NameSyncs::default();
        syncs.run(|| Ok(())).expect("nothing is wrong yet");
        let error = syncs.run(|| Err(io::ErrorKind::StorageFull.into()));
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::StorageFull);
        let error = syncs.run(|| Ok(())).expect_err("somebody else asks");
        assert!(error.to_string().contains("failed before"), "{error}");
    }

    #[test]
    fn a_file_without_a_name_cannot_be_synced() {
        let folder = Folder::new();
        let disk = folder.disk();
        let [kept, removed] = ["a", "b"].map(|name| disk.create(name).unwrap());
        disk.remove("b").unwrap();
        disk.rename("a", "c").unwrap();
        kept.sync().expect("it has another name");
        let error = removed.sync().expect_err("it has none");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
