//! Where the contenders write: a directory for each run, empty at first and gone afterwards.

use crate::Answer;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

static ROOT: OnceLock<PathBuf> = OnceLock::new();

/// What is prepared in the background is ready when nothing has grown for so long.
const QUIET: Duration = Duration::from_millis(50);
const QUIET_AT_LAST: Duration = Duration::from_secs(3);

/// All runs write below `root`, on the file system that is to be measured.
pub(crate) fn begin(root: PathBuf) -> Answer {
    fs::create_dir_all(&root)?;
    ROOT.set(root).map_err(|_| "begun twice".into())
}

/// Removes what a process that ends at once leaves of its own.
pub(crate) fn clear() {
    let Some(entries) = ROOT.get().and_then(|root| fs::read_dir(root).ok()) else {
        return;
    };
    let own = format!("{}-", std::process::id());
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&own) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A directory of its own for one run.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Answer<Self> {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let root = ROOT.get().ok_or("no place to write to")?;
        let (process, run) = (std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
        let path = root.join(format!("{process}-{run}"));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Waits until nothing grows, and puts on the device what has grown: whoever prepares files in the background has done so, as in
    /// the middle of a long run, and nobody is disturbed by the bytes of the run before.
    pub(crate) fn settle(&self) -> Answer {
        let start = Instant::now();
        let (mut size, mut since) = (0, start);
        while since.elapsed() < QUIET && start.elapsed() < QUIET_AT_LAST {
            let now: u64 = self.files()?.iter().map(|(_, size)| size).sum();
            if now != size {
                (size, since) = (now, Instant::now());
            }
            thread::sleep(QUIET / 10);
        }
        for (path, _) in self.files()? {
            // it may be gone, or have got another name
            if let Ok(file) = File::open(path) {
                file.sync_all()?;
            }
        }
        thread::sleep(QUIET); // for what its owner does once it is there
        Ok(())
    }

    /// Puts every file on the device and out of the page cache.
    pub(crate) fn chill(&self) -> Answer {
        for (path, _) in self.files()? {
            let file = File::open(path)?;
            file.sync_all()?;
            forget(&file)?;
        }
        Ok(())
    }

    /// Every file with its size, those in directories of contenders too.
    fn files(&self) -> Answer<Vec<(PathBuf, u64)>> {
        let (mut files, mut directories) = (Vec::new(), vec![self.0.clone()]);
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                // What a contender removes just now is not there any more.
                let Ok(metadata) = entry.metadata() else {
                    continue;
                };
                if metadata.is_dir() {
                    directories.push(entry.path());
                } else {
                    files.push((entry.path(), metadata.len()));
                }
            }
        }
        Ok(files)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed is seen by whoever looks for space; the figures are right all the same.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(target_os = "linux")]
fn forget(file: &File) -> Answer {
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn forget(_: &File) -> Answer {
    Err("this system is not asked to forget a file".into())
}
