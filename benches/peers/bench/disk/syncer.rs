//! One thread for the disk, or two: whether it pays to write what comes while the last sync still runs.
//!
//! Publishers put batches into a buffer of limited size under a lock. A thread takes what has gathered and writes it. Then it
//! syncs, and what comes meanwhile is its next write; or a second thread syncs up to where the first has written, which goes on.

use crate::directory::Directory;
use crate::files::{Prepared, State, path};
use crate::plan::{Plan, Work, entry};
use crate::{Answer, SEGMENT_BYTES};
use ringway::Latency;
use ringway_harness::contest::{Sample, Task, Unit};
use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Barrier, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// For as many publishers as there may be: one that never waits until its batches are durable.
pub(crate) const STREAM: usize = 0;

const EVENT_BYTES: u64 = 64;
const BATCH_EVENTS: u64 = 64;
const BATCH_BYTES: usize = (EVENT_BYTES * BATCH_EVENTS) as usize;
/// What may gather: publishers wait for room then, as they do for a ring's.
const ROOM: usize = 1 << 20;
/// A thread that only writes is never farther ahead of the one that syncs.
const UNSYNCED_BYTES_MAX: u64 = 8 << 20;
/// Room for as much as may be under way where two threads share the work.
const LARGE_ROOM: usize = UNSYNCED_BYTES_MAX as usize;

/// What so many `PUBLISHERS` reach.
pub(crate) fn syncer<const PUBLISHERS: usize>(name: &'static str) -> Plan {
    let mut peers = vec![entry::<Gathered<PUBLISHERS, true, ROOM>>("two-threads")];
    if PUBLISHERS == STREAM {
        // whether two threads do anything that a larger buffer does not
        peers.push(entry::<Gathered<PUBLISHERS, false, LARGE_ROOM>>(
            "one-thread-8m",
        ));
    }
    Plan {
        name,
        unit: Unit::EventsPerSecond,
        ours: entry::<Gathered<PUBLISHERS, false, ROOM>>("one-thread"),
        peers,
        target: 0.9,
    }
}

/// `SECOND`: another thread syncs. So many bytes may gather.
struct Gathered<const PUBLISHERS: usize, const SECOND: bool, const ROOM_BYTES: usize>;

impl<const PUBLISHERS: usize, const SECOND: bool, const ROOM_BYTES: usize> Work
    for Gathered<PUBLISHERS, SECOND, ROOM_BYTES>
{
    fn run(task: Task) -> Answer<Sample> {
        let publishers = PUBLISHERS.max(1) as u64;
        let most = SEGMENT_BYTES / BATCH_BYTES as u64;
        let each = ((task.events / BATCH_EVENTS).min(most) / publishers).max(1);
        let batches = each * publishers;
        let directory = Directory::new()?;
        Prepared::make(&directory, batches * BATCH_BYTES as u64)?;
        let path = path(&directory);
        let file = File::options().write(true).open(&path)?;
        directory.settle()?;
        let gathering = Gathering::<ROOM_BYTES>::default();
        let ready = Barrier::new(PUBLISHERS.max(1) + 1);
        let elapsed = thread::scope(|scope| {
            let mut disk = vec![scope.spawn(|| gathering.attempt(|it| it.write(&file, !SECOND)))];
            if SECOND {
                disk.push(scope.spawn(|| gathering.attempt(|it| it.keep_syncing(&file))));
            }
            let publish = |publisher| {
                let (gathering, ready) = (&gathering, &ready);
                scope.spawn(move || {
                    ready.wait();
                    gathering.publish(publisher, each, PUBLISHERS != STREAM)
                })
            };
            let publishers: Vec<_> = (0..publishers).map(publish).collect();
            ready.wait();
            let start = Instant::now();
            let mut ended: Vec<_> = publishers.into_iter().map(|it| it.join()).collect();
            gathering.end();
            ended.extend(disk.into_iter().map(|it| it.join()));
            let elapsed = start.elapsed();
            for ended in ended {
                ended.map_err(|_| "a thread panicked")??;
            }
            Answer::Ok(elapsed)
        })?;
        let faults = faults(&path, each, publishers)?;
        let sample = Sample::timed(batches * BATCH_EVENTS, elapsed, faults);
        Ok(Sample {
            latency: Some(gathering.times()),
            ..sample
        })
    }
}

/// Batches on their way into a file, of which so many bytes may gather.
#[derive(Default)]
struct Gathering<const ROOM_BYTES: usize> {
    progress: Mutex<Progress>,
    /// Something was put, or nothing is any more: for the thread that writes.
    put: Condvar,
    /// Something was taken: for publishers that found no room.
    taken: Condvar,
    /// Something was written, or nothing is any more: for the thread that syncs.
    written: Condvar,
    /// Something became durable.
    synced: Condvar,
}

/// How far everybody is, in bytes of the file.
#[derive(Default)]
struct Progress {
    /// What is not taken yet.
    bytes: Vec<u8>,
    put: u64,
    written: u64,
    synced: u64,
    /// The ends of batches nobody waits for, and when they were put.
    unwatched: VecDeque<(u64, Instant)>,
    /// From when a batch is put until it is known to be durable.
    times: Latency,
    /// Nothing is put any more.
    ended: bool,
    /// Nothing is written any more.
    written_all: bool,
    /// A write or a sync failed: nobody waits for anything any more.
    failed: bool,
}

impl<const ROOM_BYTES: usize> Gathering<ROOM_BYTES> {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits at `door` for as long as `wait` says, and no failure comes.
    fn wait<'a>(
        &self,
        door: &Condvar,
        progress: MutexGuard<'a, Progress>,
        wait: impl Fn(&Progress) -> bool,
    ) -> MutexGuard<'a, Progress> {
        let wait = |progress: &mut Progress| !progress.failed && wait(progress);
        door.wait_while(progress, wait)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts so many batches; `wait`: each is durable before the next is put.
    fn publish(&self, publisher: u64, batches: u64, wait: bool) -> Answer {
        let mut batch = [0; BATCH_BYTES];
        let mut times = Latency::new();
        for number in 0..batches {
            stamp(&mut batch, publisher, number);
            let start = Instant::now();
            let full = |progress: &Progress| progress.bytes.len() + BATCH_BYTES > ROOM_BYTES;
            let mut progress = self.wait(&self.taken, self.lock(), full);
            progress.bytes.extend_from_slice(&batch);
            progress.put += BATCH_BYTES as u64;
            let end = progress.put;
            self.put.notify_one();
            if wait {
                progress = self.wait(&self.synced, progress, |it| it.synced < end);
                times.record(start.elapsed());
            } else {
                progress.unwatched.push_back((end, start));
            }
            if progress.failed {
                return Err("a write or a sync failed".into());
            }
        }
        self.lock().times.merge(&times);
        Ok(())
    }

    /// Nothing is put any more.
    fn end(&self) {
        self.lock().ended = true;
        self.put.notify_one();
    }

    /// Does what a thread does for the disk; when that fails nobody waits for it any more.
    fn attempt(&self, work: impl FnOnce(&Self) -> Answer) -> Answer {
        let outcome = work(self);
        if outcome.is_err() {
            self.lock().failed = true;
            for door in [&self.put, &self.taken, &self.written, &self.synced] {
                door.notify_all();
            }
        }
        outcome
    }

    /// Writes whatever has gathered, to the end; `sync`: and syncs it.
    fn write(&self, file: &File, sync: bool) -> Answer {
        let (mut taken, mut offset) = (Vec::new(), 0);
        loop {
            let idle = |it: &Progress| it.bytes.is_empty() && !it.ended;
            let mut progress = self.wait(&self.put, self.lock(), idle);
            if progress.bytes.is_empty() || progress.failed {
                progress.written_all = true;
                self.written.notify_one();
                return Ok(());
            }
            std::mem::swap(&mut progress.bytes, &mut taken);
            self.taken.notify_all();
            drop(progress);
            file.write_all_at(&taken, offset)?;
            offset += taken.len() as u64;
            taken.clear();
            let mut progress = self.lock();
            progress.written = offset;
            if sync {
                drop(progress);
                self.sync(file, offset)?;
            } else {
                self.written.notify_one();
                let ahead = |it: &Progress| it.written - it.synced >= UNSYNCED_BYTES_MAX;
                drop(self.wait(&self.synced, progress, ahead));
            }
        }
    }

    /// Syncs up to where it is written, again and again, to the end.
    fn keep_syncing(&self, file: &File) -> Answer {
        loop {
            let idle = |it: &Progress| it.synced == it.written && !it.written_all;
            let progress = self.wait(&self.written, self.lock(), idle);
            if progress.synced == progress.written || progress.failed {
                return Ok(());
            }
            let written = progress.written;
            drop(progress);
            self.sync(file, written)?;
        }
    }

    /// Makes durable what is `written`, and tells all who wait for it.
    fn sync(&self, file: &File, written: u64) -> Answer {
        file.sync_data()?;
        let now = Instant::now();
        let mut progress = self.lock();
        let Progress {
            synced,
            unwatched,
            times,
            ..
        } = &mut *progress;
        *synced = written;
        while let Some((_, start)) = unwatched.pop_front_if(|(end, _)| *end <= written) {
            times.record(now - start);
        }
        self.synced.notify_all();
        Ok(())
    }

    fn times(self) -> Latency {
        let progress = self.progress.into_inner();
        progress.unwrap_or_else(PoisonError::into_inner).times
    }
}

/// Says whose batch it is, and which: no other is the same.
fn stamp(batch: &mut [u8; BATCH_BYTES], publisher: u64, number: u64) {
    for event in batch.chunks_exact_mut(EVENT_BYTES as usize) {
        event[..8].copy_from_slice(&publisher.to_le_bytes());
        event[8..16].copy_from_slice(&number.to_le_bytes());
    }
}

/// What is not there: each publisher's batches, whole and in order.
fn faults(path: &Path, each: u64, publishers: u64) -> Answer<Vec<String>> {
    let file = File::open(path)?;
    let mut next = vec![0; publishers as usize];
    let (mut found, mut expected) = ([0; BATCH_BYTES], [0; BATCH_BYTES]);
    for batch in 0..each * publishers {
        file.read_exact_at(&mut found, batch * BATCH_BYTES as u64)?;
        let publisher = found.iter().copied().take(8).rev();
        let publisher = publisher.fold(0, |number, byte| number << 8 | u64::from(byte));
        let Some(number) = next.get_mut(publisher as usize) else {
            return Ok(vec![format!("batch {batch} is nobody's")]);
        };
        stamp(&mut expected, publisher, *number);
        if found != expected {
            return Ok(vec![format!(
                "batch {batch} is not the next of its publisher"
            )]);
        }
        *number += 1;
    }
    Ok(Vec::new())
}
