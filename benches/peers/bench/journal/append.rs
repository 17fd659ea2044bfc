//! Recording: as fast as possible, or each batch durable before the next.

use crate::directory::Directory;
use crate::event::{Check, Event, blank, bytes, number};
use crate::peers::{CommitLog, Fjall, OkayWal, RaftEngine, Redb, Sqlite};
use crate::store::Store;
use crate::{Answer, BATCH, CHUNK_BYTES, DURABLE_BYTES, UNSYNCED_BYTES, ours, raw, sample};
use ringway::Error;
use ringway_harness::contest::{
    Condition, Contender, Row, Sample, Scenario, Task, Unit, Versus, Which,
};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// Publishers that share a sync.
pub(crate) const PUBLISHERS: u64 = 8;

/// Nothing synced, as many events of `W` words as possible.
pub(crate) fn never<const W: usize>(name: &'static str) -> Scenario {
    const LIMIT: &str = "raw";
    let contender = |name, run| Contender { name, run };
    Scenario {
        name,
        unit: Unit::BytesPerSecond,
        work: false,
        rows: vec![Row {
            variant: "",
            ours: contender("ringway", ours::never::<W>),
            peers: vec![
                contender("commitlog", peer_never::<CommitLog, W>),
                contender("fjall", peer_never::<Fjall, W>),
                contender("raft-engine", peer_never::<RaftEngine, W>),
                contender("redb", peer_never::<Redb, W>),
                contender("sqlite", peer_never::<Sqlite, W>),
            ],
            others: vec![
                contender(LIMIT, raw::buffered::<W>),
                contender("raw-growing", raw::growing::<W>),
                contender("raw-copied", raw::copied::<W>),
            ],
            limit: Some(LIMIT),
            target: 1.0,
            conditions: vec![against(LIMIT, 0.8)],
        }],
    }
}

/// Batches of 256, each durable.
pub(crate) fn group_commit<const W: usize>(name: &'static str) -> Scenario {
    durable(
        name,
        ours::group_commit::<W>,
        [
            peer_durable::<Fjall, W, BATCH, 1>,
            peer_durable::<OkayWal, W, BATCH, 1>,
            peer_durable::<RaftEngine, W, BATCH, 1>,
            peer_durable::<Redb, W, BATCH, 1>,
            peer_durable::<Sqlite, W, BATCH, 1>,
        ],
        raw::synced::<W, BATCH>,
    )
}

/// Each event durable before the next.
pub(crate) fn confirmed_1<const W: usize>(name: &'static str) -> Scenario {
    durable(
        name,
        ours::confirmed_1::<W>,
        [
            peer_durable::<Fjall, W, 1, 1>,
            peer_durable::<OkayWal, W, 1, 1>,
            peer_durable::<RaftEngine, W, 1, 1>,
            peer_durable::<Redb, W, 1, 1>,
            peer_durable::<Sqlite, W, 1, 1>,
        ],
        raw::synced::<W, 1>,
    )
}

/// Eight publishers, each waiting for each of its events.
pub(crate) fn confirmed_8<const W: usize>(name: &'static str) -> Scenario {
    let mut scenario = durable(
        name,
        ours::confirmed_8::<W>,
        [
            peer_durable::<Fjall, W, 1, PUBLISHERS>,
            peer_durable::<OkayWal, W, 1, PUBLISHERS>,
            peer_durable::<RaftEngine, W, 1, PUBLISHERS>,
            peer_durable::<Redb, W, 1, PUBLISHERS>,
            peer_durable::<Sqlite, W, 1, PUBLISHERS>,
        ],
        raw::gathered::<W>,
    );
    // what would be if all eight shared every sync and waking them took no time: shown, never reached
    let (name, run) = ("raw-8-at-once", raw::synced::<W, PUBLISHERS> as Run);
    scenario.rows[0].others.push(Contender { name, run });
    scenario
}

type Run = fn(Task) -> Result<Sample, Error>;

fn durable(name: &'static str, ours: Run, peers: [Run; 5], limit: Run) -> Scenario {
    const LIMIT: &str = "raw";
    let names = ["fjall", "okaywal", "raft-engine", "redb", "sqlite"];
    let contender = |(name, run)| Contender { name, run };
    Scenario {
        name,
        unit: Unit::EventsPerSecond,
        work: false,
        rows: vec![Row {
            variant: "",
            ours: contender(("ringway", ours)),
            peers: names.into_iter().zip(peers).map(contender).collect(),
            others: vec![contender((LIMIT, limit))],
            limit: Some(LIMIT),
            target: 1.0,
            conditions: vec![against(LIMIT, 0.9)],
        }],
    }
}

/// Ours against the raw limit.
const fn against(limit: &'static str, target: f64) -> Condition {
    Condition {
        name: limit,
        which: Which::Main,
        whose: "ringway",
        versus: Versus::Named(limit),
        target,
    }
}

/// Batches that each publisher publishes: so many that all of them are about `events`, and do not take more than `bytes_max`.
pub(crate) fn batches<const W: usize>(
    events: u64,
    batch: u64,
    publishers: u64,
    bytes_max: u64,
) -> u64 {
    let most = bytes_max / bytes::<W>();
    (events.min(most) / (batch * publishers)).max(1)
}

fn peer_never<S: Store, const W: usize>(task: Task) -> Result<Sample, Error> {
    let batch = CHUNK_BYTES / bytes::<W>();
    let batches = batches::<W>(task.events / bytes::<W>(), batch, 1, UNSYNCED_BYTES);
    sample(|| {
        let (events, elapsed, faults) = record::<S, W>(batch, batches, 1, false)?;
        Ok(Sample::timed(events * bytes::<W>(), elapsed, faults))
    })
}

fn peer_durable<S: Store, const W: usize, const B: u64, const P: u64>(
    task: Task,
) -> Result<Sample, Error> {
    let batches = batches::<W>(task.events, B, P, DURABLE_BYTES);
    sample(|| {
        let (events, elapsed, faults) = record::<S, W>(B, batches, P, true)?;
        Ok(Sample::timed(events, elapsed, faults))
    })
}

/// Records so many batches a publisher; how many events that were, the time, and what was wrong when they were read back.
fn record<S: Store, const W: usize>(
    batch: u64,
    batches: u64,
    publishers: u64,
    durable: bool,
) -> Answer<(u64, Duration, Vec<String>)> {
    let directory = Directory::new()?;
    let store = S::create(directory.path(), durable)?;
    // one batch beforehand: it makes durable what was prepared
    (0..publishers).try_for_each(|publisher| publish::<S, W>(&store, publisher, batch, 0..1))?;
    directory.settle()?;
    let elapsed = together(publishers, |publisher| {
        publish::<S, W>(&store, publisher, batch, 1..batches + 1)
    })?;
    store.close()?;
    let mut check = Check::new(bytes::<W>(), publishers as usize);
    S::read(S::open(directory.path())?, &mut check)?;
    let confirmed = vec![(batches + 1) * batch; publishers as usize];
    let events = batches * batch * publishers;
    Ok((events, elapsed, check.faults(&confirmed)))
}

fn publish<S: Store, const W: usize>(
    store: &S,
    publisher: u64,
    batch: u64,
    numbers: std::ops::Range<u64>,
) -> Answer {
    let mut events: Vec<Event<W>> = vec![blank(); batch as usize];
    for number_of_batch in numbers {
        let first = number_of_batch * batch;
        number(&mut events, publisher, first);
        store.append(publisher, first, &events)?;
    }
    Ok(())
}

/// How long it takes all publishers, each on a thread of its own, from when all are ready; one alone is this thread.
pub(crate) fn together(
    publishers: u64,
    publish: impl Fn(u64) -> Answer + Sync,
) -> Answer<Duration> {
    if publishers == 1 {
        let start = Instant::now();
        publish(0)?;
        return Ok(start.elapsed());
    }
    let ready = Barrier::new(publishers as usize + 1);
    thread::scope(|scope| {
        let spawn = |publisher| {
            let (ready, publish) = (&ready, &publish);
            scope.spawn(move || {
                ready.wait();
                publish(publisher)
            })
        };
        let threads: Vec<_> = (0..publishers).map(spawn).collect();
        ready.wait();
        let start = Instant::now();
        for thread in threads {
            thread.join().map_err(|_| "a publisher panicked")??;
        }
        Ok(start.elapsed())
    })
}
