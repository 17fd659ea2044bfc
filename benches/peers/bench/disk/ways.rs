//! Ways to hand bytes to the system, those that need no `unsafe`.

use crate::Answer;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file that is written in one way.
pub(crate) trait Way: Sized {
    /// Whether what was written is durable: it survives a loss of power.
    const DURABLE: bool;

    /// Opens a file that is there and will take so many bytes.
    fn open(path: &Path, bytes: u64) -> Answer<Self>;

    /// Writes a block, whose address and offset are multiples of its size or of 4 KiB.
    fn write(&mut self, block: &[u8], offset: u64) -> Answer;
}

/// Through the page cache; `SYNC`: and `fdatasync`.
pub(crate) struct Buffered<const SYNC: bool>(File);

impl<const SYNC: bool> Way for Buffered<SYNC> {
    const DURABLE: bool = SYNC;

    fn open(path: &Path, _: u64) -> Answer<Self> {
        Ok(Self(options().open(path)?))
    }

    fn write(&mut self, block: &[u8], offset: u64) -> Answer {
        self.0.write_all_at(block, offset)?;
        if SYNC {
            self.0.sync_data()?;
        }
        Ok(())
    }
}

/// Through the page cache, with `O_DSYNC`.
pub(crate) struct Dsync(File);

impl Way for Dsync {
    const DURABLE: bool = true;

    fn open(path: &Path, _: u64) -> Answer<Self> {
        Ok(Self(flagged::open(path, false, true)?))
    }

    fn write(&mut self, block: &[u8], offset: u64) -> Answer {
        Ok(self.0.write_all_at(block, offset)?)
    }
}

/// Past the page cache; `SYNC`: and with `O_DSYNC`, without which the device may keep the bytes in a cache of its own.
pub(crate) struct Direct<const SYNC: bool>(File);

impl<const SYNC: bool> Way for Direct<SYNC> {
    const DURABLE: bool = SYNC;

    fn open(path: &Path, _: u64) -> Answer<Self> {
        Ok(Self(flagged::open(path, true, SYNC)?))
    }

    fn write(&mut self, block: &[u8], offset: u64) -> Answer {
        Ok(self.0.write_all_at(block, offset)?)
    }
}

pub(crate) fn options() -> OpenOptions {
    let mut options = File::options();
    options.read(true).write(true);
    options
}

#[cfg(target_os = "linux")]
mod flagged {
    use rustix::fs::OFlags;
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;

    pub(super) fn open(path: &Path, direct: bool, dsync: bool) -> io::Result<File> {
        let mut flags = OFlags::empty();
        flags.set(OFlags::DIRECT, direct);
        flags.set(OFlags::DSYNC, dsync);
        let flags = flags.bits().cast_signed();
        super::options().custom_flags(flags).open(path)
    }
}

#[cfg(not(target_os = "linux"))]
mod flagged {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    pub(super) fn open(_: &Path, _: bool, _: bool) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
