//! Latency: one event in flight, to and fro; and the wake-up of a consumer that sleeps.

use crate::ours::{Parking, Ringway};
use crate::peers::{blocking, channels, disruptor, gil, photon, rings};
use crate::queue::{Idle, Queue, Sink, Source, receive};
use crate::seats;
use crate::stream::{contender, one_by_one, row};
use ringway::Latency;
use ringway_harness::check::{Check, InOrder};
use ringway_harness::contest::{Condition, Row, Sample, Scenario, Task, Unit, Versus, Which};
use ringway_harness::duo::{self, Timed, Trips};
use ringway_harness::limit;
use ringway_harness::payload::Payload;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const BARE: &str = "bare cache lines";
/// The pause before each event of `wakeup`: long enough for the consumer to give up whatever it tries before it sleeps.
const PAUSE: Duration = Duration::from_micros(200);
/// Times of publication that are kept: more than a sleeping consumer lags behind.
const STAMPS: usize = 4096;

/// The median trip; its 99th percentile too, and how near it is to the bare machine.
pub(crate) fn round_trip() -> Scenario {
    let condition = |name, which, versus, target| Condition {
        name,
        which,
        whose: "ringway",
        versus,
        target,
    };
    let bare = condition(BARE, Which::Main, Versus::Named(BARE), 1.0 / 1.15);
    let p99 = condition("p99 of the best peer", Which::P99, Versus::BestPeer, 1.0);
    let row = Row {
        others: vec![contender(BARE, ping_pong)],
        limit: Some(BARE),
        conditions: vec![bare, p99],
        ..row(contender("ringway", trips::<Ringway>), 1.0)
    };
    let peers = one_by_one!(trips);
    latency("round_trip", Unit::MedianNanoseconds, Row { peers, ..row })
}

/// The 99th percentile of the time from publishing to the consumer that slept.
pub(crate) fn wakeup() -> Scenario {
    let row = Row {
        peers: vec![
            contender("crossbeam-channel", wake::<blocking::Crossbeam>),
            contender("crossfire", wake::<blocking::Crossfire>),
            contender("kanal", wake::<blocking::Kanal>),
            contender("flume", wake::<blocking::Flume>),
            contender("thingbuf", wake::<blocking::Thingbuf>),
            contender("std", wake::<blocking::Std>),
            contender("bus", wake::<blocking::Bus>),
            contender("gil parking", wake::<blocking::Gil>),
        ],
        ..row(contender("ringway", wake::<Parking>), 1.0)
    };
    latency("wakeup", Unit::P99Nanoseconds, row)
}

fn latency(name: &'static str, unit: Unit, row: Row) -> Scenario {
    Scenario {
        name,
        unit,
        rows: vec![row],
        work: false,
    }
}

fn sample(events: u64, trips: Trips) -> Sample {
    Sample {
        events,
        elapsed: trips.elapsed,
        latency: Some(trips.latency),
        faults: trips.faults,
    }
}

fn ping_pong(task: Task) -> Result<Sample, ringway::Error> {
    Ok(sample(
        task.events,
        limit::ping_pong(&seats(), task.events)?,
    ))
}

fn trips<Q: Queue>(task: Task) -> Result<Sample, ringway::Error> {
    let seats = seats();
    let idle = Idle::of(&seats);
    let (mut ping_out, mut echo_in) = Q::open::<1>(idle);
    let (mut echo_out, mut ping_in) = Q::open::<1>(idle);
    let ping = move |number| {
        let event = Payload::new(0, number);
        idle.until(|| ping_out.try_push(event));
        pop(&mut ping_in, idle).tag()
    };
    let echo = move || {
        let event = pop(&mut echo_in, idle);
        idle.until(|| echo_out.try_push(event));
        true
    };
    Ok(sample(
        task.events,
        duo::round_trips(&seats, task.events, ping, echo)?,
    ))
}

#[inline]
fn pop(rx: &mut impl Source<1>, idle: Idle) -> Payload<1> {
    let mut event = None;
    idle.until(|| {
        event = rx.try_pop();
        event.is_some()
    });
    event.expect("it was waited for")
}

fn wake<Q: Queue>(task: Task) -> Result<Sample, ringway::Error> {
    let Task { events, .. } = task;
    let (seats, idle) = (seats(), Idle::SpinThenYield);
    let (mut tx, mut rx) = Q::open::<1>(idle);
    let epoch = Instant::now();
    let now = move || epoch.elapsed().as_nanos() as u64;
    let stamps: Vec<AtomicU64> = (0..STAMPS).map(|_| AtomicU64::new(0)).collect();
    let stamp = |event: &Payload<1>| &stamps[event.tag() as usize % STAMPS];
    let (report, reports) = mpsc::channel();
    let produce = move || {
        for number in 0..events {
            thread::sleep(PAUSE);
            let event = Payload::new(0, number);
            // Relaxed: whoever has the event out of the queue sees what came before it went in.
            stamp(&event).store(now(), Ordering::Relaxed);
            idle.until(|| tx.try_push(event));
        }
        Ok(())
    };
    let consume = move || {
        let (mut check, mut latency) = (InOrder::new(events), Latency::new());
        receive(&mut rx, events, idle, |event| {
            let sent = stamp(event).load(Ordering::Relaxed);
            latency.record(Duration::from_nanos(now().saturating_sub(sent)));
            check.see(event.tag(), event.is_whole());
        });
        report.send(latency).map_err(|error| error.to_string())?;
        check.verdict()
    };
    let Timed { elapsed, faults } = duo::stream(&seats, produce, consume)?;
    Ok(Sample {
        events,
        elapsed,
        latency: reports.recv().ok(),
        faults,
    })
}
