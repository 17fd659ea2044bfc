//! What it takes until a segment is ready to be written to.

use crate::directory::Directory;
use crate::files::{Allocated, Prepared, Recycled, State, path, sync_names};
use crate::plan::{Plan, Work, entry};
use crate::{Answer, SEGMENT_BYTES};
use ringway::Latency;
use ringway_harness::contest::{Sample, Task, Unit};
use std::fs;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

/// Nothing hangs on it: the journal prepares a segment on another thread, while the one before is written.
pub(crate) fn prepare(name: &'static str) -> Plan {
    Plan {
        name,
        unit: Unit::MedianNanoseconds,
        ours: entry::<Made<Prepared, 2>>("zeroed"),
        peers: vec![
            entry::<Made<Allocated, 64>>("fallocated"),
            entry::<Renamed>("recycled"),
        ],
        target: 0.0,
    }
}

/// A new file in the state `S`, again and again, at most `MOST` times in a run.
struct Made<S, const MOST: u64>(PhantomData<S>);

impl<S: State, const MOST: u64> Work for Made<S, MOST> {
    fn run(task: Task) -> Answer<Sample> {
        let directory = Directory::new()?;
        timed(task.events.min(MOST), |_| {
            let start = Instant::now();
            S::make(&directory, SEGMENT_BYTES)?;
            sync_names(&directory)?;
            let elapsed = start.elapsed();
            fs::remove_file(path(&directory))?;
            Ok(elapsed)
        })
    }
}

/// A file that is there gets another name.
struct Renamed;

impl Work for Renamed {
    fn run(task: Task) -> Answer<Sample> {
        let directory = Directory::new()?;
        Recycled::make(&directory, SEGMENT_BYTES)?;
        let names = [path(&directory), directory.path().join("segment")];
        timed(task.events.min(64), |number| {
            let [from, to] = [0, 1].map(|end| &names[(number as usize + end) % 2]);
            let start = Instant::now();
            fs::rename(from, to)?;
            sync_names(&directory)?;
            Ok(start.elapsed())
        })
    }
}

fn timed(count: u64, mut make: impl FnMut(u64) -> Answer<Duration>) -> Answer<Sample> {
    let (mut times, mut all) = (Latency::new(), Duration::ZERO);
    for number in 0..count {
        let elapsed = make(number)?;
        times.record(elapsed);
        all += elapsed;
    }
    let sample = Sample::timed(count, all, Vec::new());
    Ok(Sample {
        latency: Some(times),
        ..sample
    })
}
