//! Blocks written one after the other to one file: each made durable, or none.

use crate::directory::Directory;
use crate::files::{Allocated, Cold, Growing, Prepared, Recycled, State, Zeroed, path};
use crate::mapped::Mapped;
use crate::plan::{Plan, Work, entry};
use crate::uring::Uring;
use crate::ways::{Buffered, Direct, Dsync, Way};
use crate::{Answer, SEGMENT_BYTES};
use ringway::Latency;
use ringway_harness::contest::{Sample, Task, Unit};
use std::fs::File;
use std::marker::PhantomData;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

/// What past the page cache goes stands at multiples of this.
const ALIGNMENT: usize = 4096;

/// Blocks of `BYTES`, each durable before the next.
pub(crate) fn durable<const BYTES: usize>(name: &'static str) -> Plan {
    Plan {
        name,
        unit: Unit::BytesPerSecond,
        ours: entry::<Writes<Buffered<true>, Prepared, BYTES>>("zeroed"),
        peers: vec![
            entry::<Writes<Buffered<true>, Growing, BYTES>>("growing"),
            entry::<Writes<Buffered<true>, Allocated, BYTES>>("fallocated"),
            entry::<Writes<Buffered<true>, Recycled, BYTES>>("recycled"),
            entry::<Writes<Dsync, Prepared, BYTES>>("dsync"),
            entry::<Writes<Direct<true>, Prepared, BYTES>>("direct-dsync"),
            entry::<Writes<Uring, Prepared, BYTES>>("io-uring"),
            entry::<Writes<Mapped<true>, Prepared, BYTES>>("mmap"),
        ],
        target: 0.9,
    }
}

/// Blocks of `BYTES`, none of them synced.
pub(crate) fn unsynced<const BYTES: usize>(name: &'static str) -> Plan {
    Plan {
        name,
        unit: Unit::BytesPerSecond,
        ours: entry::<Writes<Buffered<false>, Prepared, BYTES>>("zeroed"),
        peers: vec![
            entry::<Writes<Buffered<false>, Growing, BYTES>>("growing"),
            entry::<Writes<Buffered<false>, Allocated, BYTES>>("fallocated"),
            entry::<Writes<Buffered<false>, Zeroed<{ 1 << 20 }>, BYTES>>("zeroed-1m"),
            entry::<Writes<Buffered<false>, Recycled, BYTES>>("recycled"),
            entry::<Writes<Buffered<false>, Cold, BYTES>>("recycled-cold"),
            entry::<Writes<Direct<false>, Prepared, BYTES>>("direct"),
            entry::<Writes<Mapped<false>, Prepared, BYTES>>("mmap"),
        ],
        target: 0.9,
    }
}

/// Blocks of `BYTES` written in the way `W` to a file in the state `S`. What counts as an event is a byte.
struct Writes<W, S, const BYTES: usize>(PhantomData<(W, S)>);

impl<W: Way, S: State, const BYTES: usize> Work for Writes<W, S, BYTES> {
    fn run(task: Task) -> Answer<Sample> {
        let blocks = (task.events.min(SEGMENT_BYTES) / BYTES as u64).max(1);
        let bytes = blocks * BYTES as u64;
        let directory = Directory::new()?;
        S::make(&directory, bytes)?;
        let path = path(&directory);
        let mut way = W::open(&path, bytes)?;
        directory.settle()?;
        let mut block = Block::new(BYTES);
        let mut times = W::DURABLE.then(Latency::new);
        let (start, mut last) = (Instant::now(), Instant::now());
        for number in 0..blocks {
            way.write(block.of(number), number * BYTES as u64)?;
            if let Some(times) = &mut times {
                let now = Instant::now();
                times.record(now - last);
                last = now;
            }
        }
        let elapsed = start.elapsed();
        drop(way);
        let sample = Sample::timed(bytes, elapsed, faults(&path, blocks, BYTES)?);
        Ok(Sample {
            latency: times,
            ..sample
        })
    }
}

/// What is not there as it was written.
fn faults(path: &Path, blocks: u64, bytes: usize) -> Answer<Vec<String>> {
    let file = File::open(path)?;
    let (mut block, mut found) = (Block::new(bytes), vec![0; bytes]);
    for number in 0..blocks {
        file.read_exact_at(&mut found, number * bytes as u64)?;
        if found != block.of(number) {
            return Ok(vec![format!("block {number} is not what was written")]);
        }
    }
    Ok(Vec::new())
}

/// Bytes at a place that every way of writing takes.
struct Block {
    room: Vec<u8>,
    start: usize,
    bytes: usize,
}

impl Block {
    fn new(bytes: usize) -> Self {
        let room = vec![0x5A; bytes + ALIGNMENT];
        let start = room.as_ptr().align_offset(ALIGNMENT);
        Self { room, start, bytes }
    }

    /// The block of this number: no other is the same.
    fn of(&mut self, number: u64) -> &[u8] {
        let block = &mut self.room[self.start..self.start + self.bytes];
        let number = number.to_le_bytes();
        block[..number.len()].copy_from_slice(&number);
        block[self.bytes - number.len()..].copy_from_slice(&number);
        block
    }
}
