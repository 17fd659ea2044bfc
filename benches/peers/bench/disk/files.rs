//! Files in the states in which a write may find them.

use crate::Answer;
use crate::directory::Directory;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What a file is before a run writes to it. Whatever was prepared is on the device.
pub(crate) trait State {
    /// Makes one that will take so many bytes: at [`path`].
    fn make(directory: &Directory, bytes: u64) -> Answer;
}

/// Empty.
pub(crate) struct Growing;

impl State for Growing {
    fn make(directory: &Directory, _: u64) -> Answer {
        create(&path(directory)).map(drop)
    }
}

/// Its blocks are reserved, and known to have never been written.
pub(crate) struct Allocated;

impl State for Allocated {
    fn make(directory: &Directory, bytes: u64) -> Answer {
        let file = create(&path(directory))?;
        allocate(&file, bytes)?;
        Ok(file.sync_all()?)
    }
}

/// Its blocks were written before, as zeros in pieces of this size.
pub(crate) struct Zeroed<const PIECE: usize>;

/// As the journal prepares its files.
pub(crate) type Prepared = Zeroed<{ 64 << 10 }>;

impl<const PIECE: usize> State for Zeroed<PIECE> {
    fn make(directory: &Directory, bytes: u64) -> Answer {
        fill(&create(&path(directory))?, bytes, &vec![0; PIECE])
    }
}

/// It was another file, full of other bytes, under another name; the system has some of it in memory.
pub(crate) struct Recycled;

impl State for Recycled {
    fn make(directory: &Directory, bytes: u64) -> Answer {
        let old = directory.path().join("old");
        fill(&create(&old)?, bytes, &[0xA5; 64 << 10])?;
        fs::rename(&old, path(directory))?;
        sync_names(directory)
    }
}

/// The same, long ago: the system has none of it in memory.
pub(crate) struct Cold;

impl State for Cold {
    fn make(directory: &Directory, bytes: u64) -> Answer {
        Recycled::make(directory, bytes)?;
        directory.chill()
    }
}

/// The file of a run.
pub(crate) fn path(directory: &Directory) -> PathBuf {
    directory.path().join("file")
}

fn create(path: &Path) -> Answer<File> {
    Ok(File::create_new(path)?)
}

/// Writes it full of `piece` again and again, durably.
fn fill(file: &File, bytes: u64, piece: &[u8]) -> Answer {
    let mut done = 0;
    while done < bytes {
        let piece = &piece[..piece.len().min((bytes - done) as usize)];
        file.write_all_at(piece, done)?;
        done += piece.len() as u64;
    }
    Ok(file.sync_all()?)
}

/// Makes durable what the files of the directory are called.
pub(crate) fn sync_names(directory: &Directory) -> Answer {
    Ok(File::open(directory.path())?.sync_all()?)
}

#[cfg(target_os = "linux")]
fn allocate(file: &File, bytes: u64) -> Answer {
    let plain = rustix::fs::FallocateFlags::empty();
    Ok(rustix::fs::fallocate(file, plain, 0, bytes).map_err(std::io::Error::from)?)
}

#[cfg(not(target_os = "linux"))]
fn allocate(_: &File, _: u64) -> Answer {
    Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into())
}
