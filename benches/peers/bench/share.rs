//! Many producers, and consumers that compete for their events: spinning then yielding, and as each library blocks.

use crate::many::shares;
use crate::ours::{RingwayDefault, RingwayShared};
use crate::peers::{blocking, channels, gil, rings};
use crate::queue::{Idle, Queue, Source, send};
use crate::stream::{contender, row, scenario};
use crate::work::Labour;
use ringway_harness::check::{Check, Divided};
use ringway_harness::contest::{Row, Sample, Scenario, Task, Unit};
use ringway_harness::crew::{self, Duty};
use ringway_harness::seats::Seats;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Two producers, two consumers.
pub(crate) fn work_sharing() -> Scenario {
    let row = Row {
        peers: vec![
            contender("crossbeam-channel", run::<channels::Crossbeam, 2>),
            contender("ArrayQueue", run::<rings::ArrayQueue, 2>),
            contender("crossfire", run::<channels::CrossfireShared, 2>),
            contender("gil", run::<gil::GilShared, 2>),
            contender("kanal", run::<channels::Kanal, 2>),
            contender("kanal drain", run::<channels::KanalDrain, 2>),
            contender("flume", run::<channels::Flume, 2>),
            contender("flume drain", run::<channels::FlumeDrain, 2>),
        ],
        ..row(contender("ringway", run::<RingwayShared, 2>), 1.25)
    };
    scenario("work_sharing", row)
}

/// Far more threads than cores, half of them producers, each library waiting as it does unless told otherwise.
pub(crate) fn oversubscribed() -> Scenario {
    Scenario {
        name: "oversubscribed",
        unit: Unit::EventsPerSecond,
        rows: vec![
            crowd::<2>("4 threads"),
            crowd::<4>("8 threads"),
            crowd::<8>("16 threads"),
        ],
        work: false,
    }
}

fn crowd<const PAIRS: usize>(variant: &'static str) -> Row {
    Row {
        variant,
        peers: vec![
            contender("crossbeam-channel", run::<blocking::Crossbeam, PAIRS>),
            contender("crossfire", run::<blocking::CrossfireShared, PAIRS>),
            contender("gil", run::<blocking::GilShared, PAIRS>),
            contender("kanal", run::<blocking::Kanal, PAIRS>),
            contender("flume", run::<blocking::Flume, PAIRS>),
        ],
        ..row(contender("ringway", run::<RingwayDefault, PAIRS>), 1.0)
    }
}

fn run<Q, const PAIRS: usize>(task: Task) -> Result<Sample, ringway::Error>
where
    Q: Queue,
    Q::Tx<1>: Clone,
    Q::Rx<1>: Clone,
{
    if task.work {
        divide::<Q, PAIRS, true>(task.events)
    } else {
        divide::<Q, PAIRS, false>(task.events)
    }
}

fn divide<Q, const PAIRS: usize, const WORKS: bool>(events: u64) -> Result<Sample, ringway::Error>
where
    Q: Queue,
    Q::Tx<1>: Clone,
    Q::Rx<1>: Clone,
{
    let seats = Seats::for_threads(PAIRS * 2);
    let idle = Idle::of(&seats);
    let (tx, rx) = Q::open::<1>(idle);
    let published = &shares(events, PAIRS);
    let producing = &AtomicUsize::new(PAIRS);
    let mut duties: Vec<Duty<'_, Divided>> = Vec::new();
    for (producer, mut tx) in vec![tx; PAIRS].into_iter().enumerate() {
        duties.push(Box::new(move || {
            send::<1, 1>(&mut tx, producer, published[producer], idle);
            // Release: a consumer that sees the last one gone sees all events in the queue.
            producing.fetch_sub(1, Ordering::AcqRel);
            drop(tx);
            Divided::new(published)
        }));
    }
    for mut rx in vec![rx; PAIRS] {
        duties.push(Box::new(move || {
            let mut labour = Labour::<_, WORKS>::new(Divided::new(published));
            consume(&mut rx, producing, idle, &mut labour);
            labour.done()
        }));
    }
    let (members, elapsed) = crew::run(&seats, duties)?;
    let together = members
        .iter()
        .fold(Divided::new(published), |all, member| all.and(member));
    let faults = together.verdict().err().into_iter().collect();
    Ok(Sample::timed(events, elapsed, faults))
}

/// Until the queue is found empty after all producers were done.
fn consume<C: Check, const WORKS: bool>(
    rx: &mut impl Source<1>,
    producing: &AtomicUsize,
    idle: Idle,
    labour: &mut Labour<C, WORKS>,
) {
    let mut over = false;
    while !over {
        idle.until(|| {
            if rx.drain(|event| labour.see(event)) > 0 {
                return true;
            }
            // What was there when the last producer left was found by somebody before this look, or is found by it.
            over =
                producing.load(Ordering::Acquire) == 0 && rx.drain(|event| labour.see(event)) == 0;
            over
        });
    }
}
