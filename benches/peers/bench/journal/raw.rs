//! What the file system does with the same bytes, and nothing around them.

use crate::append::{PUBLISHERS, batches, together};
use crate::directory::Directory;
use crate::event::{Check, Event, as_bytes, blank, bytes, number, see_all, stamp};
use crate::ours::RING_BYTES;
use crate::{Answer, CHUNK_BYTES, DURABLE_BYTES, DURABLE_FILE_BYTES, UNSYNCED_BYTES, sample};
use ringway::Error;
use ringway_harness::contest::{Sample, Task};
use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::slice;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// Zeroes are written in blocks of this size: a file that was zeroed in larger ones takes small writes more slowly.
static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

fn create(directory: &Directory) -> Answer<(PathBuf, File)> {
    let path = directory.path().join("raw");
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    Ok((path, file))
}

/// A file all of whose blocks were written before.
fn create_zeroed(directory: &Directory) -> Answer<File> {
    let (_, file) = create(directory)?;
    for block in 0..DURABLE_FILE_BYTES / ZEROES.len() as u64 {
        file.write_all_at(&ZEROES, block * ZEROES.len() as u64)?;
    }
    file.sync_all()?;
    Ok(file)
}

/// A file whose blocks are reserved, written in chunks from one buffer.
pub(crate) fn buffered<const W: usize>(_: Task) -> Result<Sample, Error> {
    let events = chunk_of_events::<W>();
    write_chunks(as_bytes(&events), reserve, |_| {})
}

/// The same with a file that grows.
pub(crate) fn growing<const W: usize>(_: Task) -> Result<Sample, Error> {
    let events = chunk_of_events::<W>();
    write_chunks(as_bytes(&events), |_| Ok(()), |_| {})
}

/// Each chunk is copied out of memory that is used in turn, as large as a ring, and its checksum taken.
pub(crate) fn copied<const W: usize>(_: Task) -> Result<Sample, Error> {
    let events = chunk_of_events::<W>();
    let ring = as_bytes(&events).repeat((RING_BYTES / CHUNK_BYTES) as usize);
    let mut chunks = ring.chunks(CHUNK_BYTES as usize).cycle();
    write_chunks(as_bytes(&events), reserve, move |buffer| {
        if let Some(chunk) = chunks.next() {
            buffer.copy_from_slice(chunk);
        }
        black_box(crc32c::crc32c(buffer));
    })
}

#[cfg(target_os = "linux")]
fn reserve(file: &File) -> Answer {
    let flags = rustix::fs::FallocateFlags::empty();
    Ok(rustix::fs::fallocate(file, flags, 0, UNSYNCED_BYTES)?)
}

/// The journal does not either.
#[cfg(not(target_os = "linux"))]
fn reserve(_: &File) -> Answer {
    Ok(())
}

fn chunk_of_events<const W: usize>() -> Vec<Event<W>> {
    let mut events = vec![blank(); (CHUNK_BYTES / bytes::<W>()) as usize];
    number(&mut events, 0, 0);
    events
}

/// Writes `chunk` again and again into a file that `make` has seen; `prepare` is handed the buffer before each write.
fn write_chunks(
    chunk: &[u8],
    make: impl Fn(&File) -> Answer,
    mut prepare: impl FnMut(&mut [u8]),
) -> Result<Sample, Error> {
    let mut buffer = chunk.to_vec();
    sample(|| {
        let directory = Directory::new()?;
        let (path, file) = create(&directory)?;
        make(&file)?;
        let start = Instant::now();
        for offset in (0..UNSYNCED_BYTES).step_by(buffer.len()) {
            prepare(&mut buffer);
            file.write_all_at(&buffer, offset)?;
        }
        let elapsed = start.elapsed();
        let found = std::fs::read(path)?;
        let whole =
            found.len() as u64 == UNSYNCED_BYTES && found.chunks(chunk.len()).all(|it| it == chunk);
        let faults = if whole {
            vec![]
        } else {
            vec!["the file is not what was written".to_owned()]
        };
        Ok(Sample::timed(UNSYNCED_BYTES, elapsed, faults))
    })
}

/// Batches of `B` events, each written and synced.
pub(crate) fn synced<const W: usize, const B: u64>(task: Task) -> Result<Sample, Error> {
    let batches = batches::<W>(task.events, B, 1, DURABLE_BYTES);
    sample(|| {
        let directory = Directory::new()?;
        let file = create_zeroed(&directory)?;
        directory.settle()?;
        let mut events: Vec<Event<W>> = vec![blank(); B as usize];
        let start = Instant::now();
        for batch in 0..batches {
            number(&mut events, 0, batch * B);
            file.write_all_at(as_bytes(&events), batch * B * bytes::<W>())?;
            file.sync_data()?;
        }
        let elapsed = start.elapsed();
        let faults = faults::<W>(&file, &[batches * B])?;
        Ok(Sample::timed(batches * B, elapsed, faults))
    })
}

fn faults<const W: usize>(file: &File, confirmed: &[u64]) -> Answer<Vec<String>> {
    let events: u64 = confirmed.iter().sum();
    let mut found = vec![0; (events * bytes::<W>()) as usize];
    file.read_exact_at(&mut found, 0)?;
    let mut check = Check::new(bytes::<W>(), confirmed.len());
    see_all(&mut check, &found);
    Ok(check.faults(confirmed))
}

/// The least that eight publishers and a file need: a buffer, a lock, and one thread that writes and syncs.
pub(crate) fn gathered<const W: usize>(task: Task) -> Result<Sample, Error> {
    let each = batches::<W>(task.events, 1, PUBLISHERS, DURABLE_BYTES);
    sample(|| {
        let directory = Directory::new()?;
        let file = create_zeroed(&directory)?;
        directory.settle()?;
        let gathering = Gathering::default();
        let elapsed = thread::scope(|scope| {
            let committer =
                scope.spawn(|| gathering.commit(&file, each * PUBLISHERS * bytes::<W>()));
            let elapsed = together(PUBLISHERS, |publisher| {
                let mut event: Event<W> = blank();
                for number in 0..each {
                    stamp(&mut event, publisher, number);
                    gathering.confirm(as_bytes(slice::from_ref(&event)))?;
                }
                Ok(())
            });
            committer.join().map_err(|_| "the committer panicked")??;
            elapsed
        })?;
        let faults = faults::<W>(&file, &[each; PUBLISHERS as usize])?;
        Ok(Sample::timed(each * PUBLISHERS, elapsed, faults))
    })
}

/// Bytes on their way into a file.
#[derive(Default)]
struct Gathering {
    state: Mutex<State>,
    /// Something was put, or the committer failed.
    put: Condvar,
    /// Something became durable.
    synced: Condvar,
}

#[derive(Default)]
struct State {
    /// What is not written yet.
    bytes: Vec<u8>,
    /// Up to where bytes were put, and up to where they are durable.
    put: u64,
    synced: u64,
    failed: bool,
}

impl Gathering {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an event and waits until it is durable.
    fn confirm(&self, event: &[u8]) -> Answer {
        let mut state = self.lock();
        state.bytes.extend_from_slice(event);
        state.put += event.len() as u64;
        let mine = state.put;
        self.put.notify_one();
        while state.synced < mine && !state.failed {
            state = self
                .synced
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.failed {
            return Err("a write or sync failed".into());
        }
        Ok(())
    }

    /// Writes and syncs whatever has gathered, again and again, up to `end`.
    fn commit(&self, file: &File, end: u64) -> Answer {
        let (mut taken, mut offset) = (Vec::new(), 0);
        while offset < end {
            let mut state = self.lock();
            while state.bytes.is_empty() {
                state = self.put.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::swap(&mut state.bytes, &mut taken);
            drop(state);
            let outcome = file
                .write_all_at(&taken, offset)
                .and_then(|()| file.sync_data());
            offset += taken.len() as u64;
            taken.clear();
            let mut state = self.lock();
            state.synced = offset;
            state.failed = outcome.is_err();
            self.synced.notify_all();
            drop(state);
            outcome?;
        }
        Ok(())
    }
}

/// A file from its beginning to its end, in chunks, from the page cache or from the device.
pub(crate) fn read<const COLD: bool>(_: Task) -> Result<Sample, Error> {
    sample(|| {
        let directory = Directory::new()?;
        let (_, file) = create(&directory)?;
        let mut chunk = vec![1; CHUNK_BYTES as usize];
        for offset in (0..UNSYNCED_BYTES).step_by(chunk.len()) {
            file.write_all_at(&chunk, offset)?;
        }
        if COLD {
            directory.chill()?;
        }
        let start = Instant::now();
        for offset in (0..UNSYNCED_BYTES).step_by(chunk.len()) {
            file.read_exact_at(&mut chunk, offset)?;
        }
        Ok(Sample::timed(UNSYNCED_BYTES, start.elapsed(), Vec::new()))
    })
}
