//! Many producers and one consumer: one event at a time, in batches, through lanes; and publishing alone.

use crate::CAPACITY;
use crate::ours::{Lanes, RingwayMany};
use crate::peers::{channels, disruptor, gil, rings};
use crate::queue::{Idle, Queue, Sink, Source, receive, send};
use crate::stream::{BATCH, contender, row, scenario};
use crate::work::Labour;
use ringway_harness::check::{ByProducer, Check, InOrder};
use ringway_harness::contest::{Condition, Row, Sample, Scenario, Task, Unit, Versus, Which};
use ringway_harness::crew::{self, Duty};
use ringway_harness::payload::Payload;
use ringway_harness::seats::Seats;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const FETCH_ADD: &str = "bare fetch-add";

/// Every queue of the comparison that takes many producers, in one order for all of them.
macro_rules! many_to_one {
    ($run:ident $(, $param:tt)*) => {
        vec![
            contender("nexus-queue", $run::<rings::NexusMany $(, { $param })*>),
            contender("gil", $run::<gil::GilMany $(, { $param })*>),
            contender("disruptor", $run::<disruptor::DisruptorMany $(, { $param })*>),
            contender("crossbeam-channel", $run::<channels::Crossbeam $(, { $param })*>),
            contender("ArrayQueue", $run::<rings::ArrayQueue $(, { $param })*>),
            contender("crossfire", $run::<channels::CrossfireMany $(, { $param })*>),
            contender("kanal", $run::<channels::Kanal $(, { $param })*>),
            contender("kanal drain", $run::<channels::KanalDrain $(, { $param })*>),
            contender("flume drain", $run::<channels::FlumeDrain $(, { $param })*>),
            contender("thingbuf", $run::<channels::Thingbuf $(, { $param })*>),
            contender("std", $run::<channels::Std $(, { $param })*>),
        ]
    };
}

/// Two producers, one event at a time.
pub(crate) fn mpsc() -> Scenario {
    let row = row(contender("ringway", run::<RingwayMany, 2, 1>), 1.2);
    let peers = many_to_one!(run, 2, 1);
    scenario("mpsc", Row { peers, ..row })
}

/// Two producers, in batches of 64.
pub(crate) fn mpsc_batch() -> Scenario {
    let row = row(contender("ringway", run::<RingwayMany, 2, BATCH>), 1.5);
    let peers = many_to_one!(run, 2, BATCH);
    scenario("mpsc_batch", Row { peers, ..row })
}

/// Ordered for each producer only, one event at a time, with two and four producers. Peers are all that take many producers,
/// and the one that has a ring for each of them too.
pub(crate) fn mpsc_lanes() -> Scenario {
    let mut two = many_to_one!(run, 2, 1);
    two.push(contender("gil sharded", run::<gil::GilSharded, 2, 1>));
    let mut four = many_to_one!(run, 4, 1);
    four.push(contender("gil sharded", run::<gil::GilSharded, 4, 1>));
    let rows = vec![
        Row {
            variant: "2 producers",
            peers: two,
            ..row(contender("ringway", run::<Lanes, 2, 1>), 3.0)
        },
        Row {
            variant: "4 producers",
            peers: four,
            ..row(contender("ringway", run::<Lanes, 4, 1>), 3.0)
        },
    ];
    Scenario {
        name: "mpsc_lanes",
        unit: Unit::EventsPerSecond,
        rows,
        work: true,
    }
}

/// One thread fills an empty ring that takes many producers: what publishing costs where nobody is in the way.
pub(crate) fn mp_publish() -> Scenario {
    let limit = Condition {
        name: FETCH_ADD,
        which: Which::Main,
        whose: "ringway",
        versus: Versus::Named(FETCH_ADD),
        target: 0.8,
    };
    let mut filled = many_to_one!(fill);
    filled.retain(|peer| peer.name != "kanal drain"); // it takes out otherwise, which is not timed
    let row = Row {
        others: vec![contender(FETCH_ADD, fetch_add)],
        limit: Some(FETCH_ADD),
        conditions: vec![limit],
        peers: filled,
        ..row(contender("ringway", fill::<RingwayMany>), 1.0)
    };
    Scenario {
        work: false, // no consumer is timed
        ..scenario("mp_publish", row)
    }
}

fn run<Q, const PRODUCERS: usize, const BATCH: u64>(task: Task) -> Result<Sample, ringway::Error>
where
    Q: Queue,
    Q::Tx<1>: Clone,
{
    if task.work {
        stream::<Q, PRODUCERS, BATCH, true>(task.events)
    } else {
        stream::<Q, PRODUCERS, BATCH, false>(task.events)
    }
}

fn stream<Q, const PRODUCERS: usize, const BATCH: u64, const WORKS: bool>(
    events: u64,
) -> Result<Sample, ringway::Error>
where
    Q: Queue,
    Q::Tx<1>: Clone,
{
    let seats = Seats::for_threads(PRODUCERS + 1);
    let idle = Idle::of(&seats);
    let (tx, mut rx) = Q::open::<1>(idle);
    let published = shares(events, PRODUCERS);
    let mut duties: Vec<Duty<'_, Result<(), String>>> = Vec::new();
    for (producer, mut tx) in vec![tx; PRODUCERS].into_iter().enumerate() {
        let events = published[producer];
        duties.push(Box::new(move || {
            send::<1, BATCH>(&mut tx, producer, events, idle);
            Ok(())
        }));
    }
    duties.push(Box::new(move || {
        let mut labour = Labour::<_, WORKS>::new(ByProducer::new(&published));
        receive(&mut rx, events, idle, |event| labour.see(event));
        labour.verdict()
    }));
    let (verdicts, elapsed) = crew::run(&seats, duties)?;
    let faults = verdicts.into_iter().filter_map(Result::err).collect();
    Ok(Sample::timed(events, elapsed, faults))
}

/// The events of each of so many producers.
pub(crate) fn shares(events: u64, producers: usize) -> Vec<u64> {
    let count = producers as u64;
    (0..count)
        .map(|producer| events / count + u64::from(producer < events % count))
        .collect()
}

/// Fills an empty queue, which is timed, and drains it, which is not, until all `events` have passed.
fn fill<Q: Queue>(task: Task) -> Result<Sample, ringway::Error> {
    let seats = Seats::for_threads(1);
    let events = task.events.next_multiple_of(CAPACITY as u64);
    let duty: Duty<'_, (Duration, Result<(), String>)> = Box::new(move || {
        let (mut tx, mut rx) = Q::open::<1>(Idle::Spin);
        let mut check = InOrder::new(events);
        let mut elapsed = Duration::ZERO;
        for first in (0..events).step_by(CAPACITY) {
            let end = first + CAPACITY as u64;
            let start = Instant::now();
            let full = (first..end).all(|number| tx.try_push(Payload::new(0, number)));
            elapsed += start.elapsed();
            if !full {
                return (elapsed, Err("there was no room for all".to_owned()));
            }
            while check.seen() < end && rx.drain(|event| check.see(event.tag(), true)) > 0 {}
            if check.seen() < end {
                break; // the verdict will tell
            }
        }
        (elapsed, check.verdict())
    });
    let (answers, _) = crew::run(&seats, vec![duty])?;
    let elapsed = answers.iter().map(|(elapsed, _)| *elapsed).sum();
    let faults = answers.into_iter().filter_map(|(_, it)| it.err()).collect();
    Ok(Sample::timed(events, elapsed, faults))
}

/// What a claim by one locked instruction costs and nothing else.
fn fetch_add(task: Task) -> Result<Sample, ringway::Error> {
    let seats = Seats::for_threads(1);
    let duty: Duty<'_, ()> = Box::new(move || {
        let counter = AtomicU64::new(0);
        for _ in 0..task.events {
            black_box(counter.fetch_add(1, Ordering::AcqRel));
        }
    });
    let (_, elapsed) = crew::run(&seats, vec![duty])?;
    Ok(Sample::timed(task.events, elapsed, Vec::new()))
}
