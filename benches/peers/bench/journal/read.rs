//! Reading back: what opening takes, and what it takes to see every event.

use crate::append::batches;
use crate::directory::Directory;
use crate::event::{Check, Event, blank, bytes, number};
use crate::peers::{CommitLog, Fjall, OkayWal, RaftEngine, Redb, Sqlite};
use crate::store::Store;
use crate::{Answer, CHUNK_BYTES, SMALL, UNSYNCED_BYTES, ours, raw, sample};
use ringway::{Error, SyncPolicy};
use ringway_harness::contest::{Contender, Row, Sample, Scenario, Task, Unit};
use ringway_harness::verdict::{ConditionResult, ScenarioResult};
use std::time::Instant;

const OURS: &str = "ringway";
const LIMIT: &str = "raw";
/// Bytes of events a second that both have to reach from a warm page cache.
const FLOOR: f64 = 1e9;
const EVENT_BYTES: u64 = bytes::<SMALL>();

/// Opening: every frame is checked. Those peers take part that read through their logs when they are opened.
pub(crate) fn recovery() -> Scenario {
    let contender = |name, run| Contender { name, run };
    reading(
        "recovery",
        [recover::<false>, recover::<true>],
        vec![
            contender("fjall", peer::<Fjall, false, false>),
            contender("okaywal", peer::<OkayWal, true, false>),
            contender("raft-engine", peer::<RaftEngine, false, false>),
        ],
    )
}

/// Reading all of it, once open.
pub(crate) fn replay() -> Scenario {
    let contender = |name, run| Contender { name, run };
    reading(
        "replay",
        [replay_all::<false>, replay_all::<true>],
        vec![
            contender("commitlog", peer::<CommitLog, false, true>),
            contender("fjall", peer::<Fjall, false, true>),
            contender("okaywal", peer::<OkayWal, true, true>),
            contender("raft-engine", peer::<RaftEngine, false, true>),
            contender("redb", peer::<Redb, false, true>),
            contender("sqlite", peer::<Sqlite, false, true>),
        ],
    )
}

fn reading(
    name: &'static str,
    ours: [fn(Task) -> Result<Sample, Error>; 2],
    peers: Vec<Contender>,
) -> Scenario {
    let contender = |name, run| Contender { name, run };
    let [warm, cold] = ours;
    Scenario {
        name,
        unit: Unit::BytesPerSecond,
        work: false,
        rows: vec![Row {
            variant: "",
            ours: contender(OURS, warm),
            peers,
            others: vec![
                contender(LIMIT, raw::read::<false>),
                contender("raw-cold", raw::read::<true>),
                contender("ringway-cold", cold),
            ],
            limit: Some(LIMIT),
            target: 1.0,
            conditions: Vec::new(),
        }],
    }
}

/// That it is fast enough by itself, too.
pub(crate) fn add_floor(result: &mut ScenarioResult) {
    let row = &mut result.row;
    let Some(ours) = row.contenders.get(OURS) else {
        return;
    };
    let ratio = ours.spread.median / FLOOR;
    let met = ratio >= 1.0;
    row.conditions.push(ConditionResult {
        name: "1 GB/s".to_owned(),
        ratio,
        target: 1.0,
        met,
    });
    row.met &= met;
}

fn recover<const COLD: bool>(_: Task) -> Result<Sample, Error> {
    sample(|| {
        let directory = recorded::<COLD>()?;
        let start = Instant::now();
        let journal = ours::open::<SMALL>(directory.path(), SyncPolicy::Never)?;
        let elapsed = start.elapsed();
        let mut check = Check::new(EVENT_BYTES, 1);
        ours::replay(&journal, &mut check)?;
        Ok(read_in(elapsed, check))
    })
}

fn replay_all<const COLD: bool>(_: Task) -> Result<Sample, Error> {
    sample(|| {
        let directory = recorded::<false>()?;
        let journal = ours::open::<SMALL>(directory.path(), SyncPolicy::Never)?;
        if COLD {
            directory.chill()?;
        }
        let mut check = Check::new(EVENT_BYTES, 1);
        let start = Instant::now();
        ours::replay(&journal, &mut check)?;
        let elapsed = start.elapsed();
        Ok(read_in(elapsed, check))
    })
}

fn recorded<const COLD: bool>() -> Answer<Directory> {
    let directory = Directory::new()?;
    ours::record::<SMALL>(directory.path(), UNSYNCED_BYTES / EVENT_BYTES)?;
    if COLD {
        directory.chill()?;
    }
    Ok(directory)
}

fn read_in(elapsed: std::time::Duration, check: Check) -> Sample {
    let faults = check.faults(&[UNSYNCED_BYTES / EVENT_BYTES]);
    Sample::timed(UNSYNCED_BYTES, elapsed, faults)
}

/// `DURABLE`: it can write no other way. `READ`: it is the reading that is timed, not the opening.
fn peer<S: Store, const DURABLE: bool, const READ: bool>(task: Task) -> Result<Sample, Error> {
    let batch = CHUNK_BYTES / EVENT_BYTES;
    let batches = batches::<SMALL>(task.events / EVENT_BYTES, batch, 1, UNSYNCED_BYTES);
    sample(|| {
        let directory = Directory::new()?;
        let store = S::create(directory.path(), DURABLE)?;
        let mut events: Vec<Event<SMALL>> = vec![blank(); batch as usize];
        for first in (0..batches).map(|number| number * batch) {
            number(&mut events, 0, first);
            store.append(0, first, &events)?;
        }
        store.close()?;
        let start = Instant::now();
        if !READ {
            S::recover(directory.path())?;
        }
        let recovered = start.elapsed();
        let opened = S::open(directory.path())?;
        let mut check = Check::new(EVENT_BYTES, 1);
        let start = Instant::now();
        S::read(opened, &mut check)?;
        let elapsed = if READ { start.elapsed() } else { recovered };
        let events = batches * batch;
        Ok(Sample::timed(
            events * EVENT_BYTES,
            elapsed,
            check.faults(&[events]),
        ))
    })
}
