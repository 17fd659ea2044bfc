//! The two contents of a file: the system's cache and the device.

use std::collections::BTreeMap;

/// What a device writes whole or not at all.
pub(crate) const SECTOR: usize = 512;

/// Seeded; the same numbers on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // neighbouring seeds must not begin alike, and zero would stay zero
        let mixed = (seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Self((mixed ^ (mixed >> 29)) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// Below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// A file.
#[derive(Clone, Default)]
pub(super) struct Inode {
    pub(super) cache: Vec<u8>,
    pub(super) device: Vec<u8>,
    /// The contents that sectors had since they were synced.
    dirty: BTreeMap<usize, Vec<Vec<u8>>>,
    /// The lengths that the file had since it was synced.
    lengths: Vec<usize>,
}

impl Inode {
    fn touch(&mut self, sector: usize) {
        let from = (sector * SECTOR).min(self.cache.len());
        let to = (from + SECTOR).min(self.cache.len());
        let mut content = self.cache[from..to].to_vec();
        content.resize(SECTOR, 0);
        self.dirty.entry(sector).or_default().push(content);
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: usize) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if end > self.cache.len() {
            self.cache.resize(end, 0);
            self.lengths.push(end);
        }
        self.cache[offset..end].copy_from_slice(bytes);
        (offset / SECTOR..end.div_ceil(SECTOR)).for_each(|sector| self.touch(sector));
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.cache.resize(len, 0);
        self.lengths.push(len);
        if !len.is_multiple_of(SECTOR) {
            self.touch(len / SECTOR);
        }
    }

    fn put(&mut self, sector: usize, content: &[u8]) {
        let from = sector * SECTOR;
        let to = (from + SECTOR).min(self.device.len());
        if from < to {
            self.device[from..to].copy_from_slice(&content[..to - from]);
        }
    }

    pub(super) fn sync(&mut self) {
        self.device.resize(self.cache.len(), 0);
        self.lengths.clear();
        for (sector, contents) in std::mem::take(&mut self.dirty) {
            if let Some(content) = contents.last() {
                self.put(sector, content);
            }
        }
    }

    /// Each sector is on the device or not, and none is known to be dirty.
    pub(super) fn fail_sync(&mut self, random: &mut Random) {
        if random.one_in(2) {
            self.device.resize(self.cache.len(), 0);
        }
        self.lose(random);
    }

    /// The system needs the memory: some sectors that it takes for written are read from the device from now on.
    pub(super) fn evict(&mut self, random: &mut Random) {
        for sector in 0..self.cache.len().div_ceil(SECTOR) {
            let from = sector * SECTOR;
            let to = (from + SECTOR).min(self.cache.len());
            if !self.dirty.contains_key(&sector) && random.one_in(2) {
                let there = self.device.len().clamp(from, to);
                let on_device = self.device.get(from..there).unwrap_or_default();
                self.cache[from..there].copy_from_slice(on_device);
                self.cache[there..to].fill(0);
            }
        }
    }

    /// Keeps of what is not synced what chance likes.
    pub(super) fn lose(&mut self, random: &mut Random) {
        let lengths = std::mem::take(&mut self.lengths);
        let kept = random.below(4);
        if !lengths.is_empty() {
            let len = match kept {
                0 => None,
                1 => lengths.last(),
                _ => lengths.get(random.below(lengths.len() + 1)),
            };
            self.device.resize(*len.unwrap_or(&self.device.len()), 0);
        }
        for (sector, contents) in std::mem::take(&mut self.dirty) {
            let content = match kept {
                0 => None,
                1 => contents.last(),
                2 => contents.get(random.below(contents.len() + 1)),
                // few are lost, or few are kept
                _ if sector % 2 == 0 => contents.last().filter(|_| !random.one_in(8)),
                _ => contents.last().filter(|_| random.one_in(8)),
            };
            if let Some(content) = content {
                self.put(sector, content);
            }
        }
    }
}
