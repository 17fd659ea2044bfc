//! A file in memory.

use crate::Answer;
use crate::ways::{Way, options};
use memmap2::MmapMut;
use std::path::Path;

/// Blocks are copied into the mapped file; `SYNC`: and `msync`ed.
pub(crate) struct Mapped<const SYNC: bool>(MmapMut);

impl<const SYNC: bool> Way for Mapped<SYNC> {
    const DURABLE: bool = SYNC;

    fn open(path: &Path, _: u64) -> Answer<Self> {
        let file = options().open(path)?;
        // SAFETY: the file stands in a directory of this run alone: nobody else writes to it or cuts it while it is mapped, and the
        // run itself reads it by other means only once this is dropped.
        let map = unsafe { MmapMut::map_mut(&file) }?;
        Ok(Self(map))
    }

    fn write(&mut self, block: &[u8], offset: u64) -> Answer {
        let start = offset as usize;
        self.0[start..start + block.len()].copy_from_slice(block);
        if SYNC {
            self.0.flush_range(start, block.len())?;
        }
        Ok(())
    }
}
