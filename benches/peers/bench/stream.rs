//! One producer, one consumer: one event at a time, in batches, and larger events.

use crate::ours::{Adaptive, Ringway};
use crate::peers::{channels, disruptor, gil, photon, rings};
use crate::queue::{Idle, Queue, receive, send};
use crate::work::Labour;
use crate::{raw, seats};
use ringway_harness::check::InOrder;
use ringway_harness::contest::{
    Condition, Contender, Row, Sample, Scenario, Task, Unit, Versus, Which,
};
use ringway_harness::duo::{self, Timed};

/// Events in a batch.
pub(crate) const BATCH: u64 = 64;
const RAW: &str = "raw hand-off";

/// The queues that take one producer and one consumer, through calls that move one event.
macro_rules! one_by_one {
    ($run:ident $(, $param:tt)*) => {
        vec![
            contender("rtrb", $run::<rings::Rtrb $(, { $param })*>),
            contender("ringbuf", $run::<rings::Ringbuf $(, { $param })*>),
            contender("gil", $run::<gil::Gil $(, { $param })*>),
            contender("nexus-queue", $run::<rings::Nexus $(, { $param })*>),
            contender("disruptor", $run::<disruptor::Disruptor $(, { $param })*>),
            contender("photon-ring", $run::<photon::Photon $(, { $param })*>),
            contender("photon-ring events", $run::<photon::PhotonEvents $(, { $param })*>),
            contender("crossbeam-channel", $run::<channels::Crossbeam $(, { $param })*>),
            contender("ArrayQueue", $run::<rings::ArrayQueue $(, { $param })*>),
            contender("crossfire", $run::<channels::Crossfire $(, { $param })*>),
            contender("kanal", $run::<channels::Kanal $(, { $param })*>),
            contender("flume", $run::<channels::Flume $(, { $param })*>),
            contender("thingbuf", $run::<channels::Thingbuf $(, { $param })*>),
            contender("std", $run::<channels::Std $(, { $param })*>),
            contender("bus", $run::<channels::Bus $(, { $param })*>),
        ]
    };
}
pub(crate) use one_by_one;

/// The same through calls that move many, of those that have them.
macro_rules! in_bulk {
    ($run:ident $(, $param:tt)*) => {
        vec![
            contender("rtrb chunks", $run::<rings::RtrbChunks $(, { $param })*>),
            contender("ringbuf slices", $run::<rings::RingbufSlices $(, { $param })*>),
            contender("gil bulk", $run::<gil::GilBulk $(, { $param })*>),
            contender("kanal drain", $run::<channels::KanalDrain $(, { $param })*>),
            contender("flume drain", $run::<channels::FlumeDrain $(, { $param })*>),
        ]
    };
}

/// Names in [`one_by_one`] of those whose calls that move one are not their best where many are moved.
const BETTER_IN_BULK: [&str; 5] = ["rtrb", "ringbuf", "gil", "kanal", "flume"];

pub(crate) fn contender(
    name: &'static str,
    run: fn(Task) -> Result<Sample, ringway::Error>,
) -> Contender {
    Contender { name, run }
}

/// One at a time. The same with parking allowed must not be much slower.
pub(crate) fn spsc() -> Scenario {
    let adaptive = Condition {
        name: "parking allowed, of BusySpin",
        which: Which::Main,
        whose: "ringway adaptive",
        versus: Versus::Named("ringway"),
        target: 0.95,
    };
    let row = Row {
        others: vec![contender("ringway adaptive", run::<Adaptive, 1, 1>)],
        conditions: vec![adaptive],
        ..row(contender("ringway", run::<Ringway, 1, 1>), 1.5)
    };
    let mut peers = one_by_one!(run, 1, 1);
    peers.extend(in_bulk!(run, 1, 1));
    scenario("spsc", Row { peers, ..row })
}

/// In batches of 64, also beside the limit of the machine.
pub(crate) fn spsc_batch() -> Scenario {
    let limit = Condition {
        name: RAW,
        which: Which::Main,
        whose: "ringway",
        versus: Versus::Named(RAW),
        target: 0.9,
    };
    let row = Row {
        others: vec![contender(RAW, raw::hand_off)],
        limit: Some(RAW),
        conditions: vec![limit],
        ..row(contender("ringway", run::<Ringway, 1, BATCH>), 1.0)
    };
    let mut peers = one_by_one!(run, 1, BATCH);
    peers.retain(|peer| !BETTER_IN_BULK.contains(&peer.name));
    peers.extend(in_bulk!(run, 1, BATCH));
    scenario("spsc_batch", Row { peers, ..row })
}

/// Events of a cache line.
pub(crate) fn spsc_64b() -> Scenario {
    let row = row(contender("ringway", run::<Ringway, 8, 1>), 1.3);
    let mut peers = one_by_one!(run, 8, 1);
    peers.extend(in_bulk!(run, 8, 1));
    scenario("spsc_64b", Row { peers, ..row })
}

/// Events of four cache lines.
pub(crate) fn spsc_256b() -> Scenario {
    let row = row(contender("ringway", run::<Ringway, 32, 1>), 1.3);
    let mut peers = one_by_one!(run, 32, 1);
    peers.extend(in_bulk!(run, 32, 1));
    scenario("spsc_256b", Row { peers, ..row })
}

/// A row without peers and conditions.
pub(crate) fn row(ours: Contender, target: f64) -> Row {
    Row {
        variant: "",
        ours,
        peers: Vec::new(),
        others: Vec::new(),
        limit: None,
        target,
        conditions: Vec::new(),
    }
}

/// A throughput with a single row, also shown with consumers that work.
pub(crate) fn scenario(name: &'static str, row: Row) -> Scenario {
    Scenario {
        name,
        unit: Unit::EventsPerSecond,
        rows: vec![row],
        work: true,
    }
}

fn run<Q: Queue, const W: usize, const BATCH: u64>(task: Task) -> Result<Sample, ringway::Error> {
    if task.work {
        stream::<Q, W, BATCH, true>(task.events)
    } else {
        stream::<Q, W, BATCH, false>(task.events)
    }
}

fn stream<Q: Queue, const W: usize, const BATCH: u64, const WORKS: bool>(
    events: u64,
) -> Result<Sample, ringway::Error> {
    let seats = seats();
    let idle = Idle::of(&seats);
    let (mut tx, mut rx) = Q::open::<W>(idle);
    let produce = move || {
        send::<W, BATCH>(&mut tx, 0, events, idle);
        Ok(())
    };
    let consume = move || {
        let mut labour = Labour::<_, WORKS>::new(InOrder::new(events));
        receive(&mut rx, events, idle, |event| labour.see(event));
        labour.verdict()
    };
    let Timed { elapsed, faults } = duo::stream(&seats, produce, consume)?;
    Ok(Sample::timed(events, elapsed, faults))
}
