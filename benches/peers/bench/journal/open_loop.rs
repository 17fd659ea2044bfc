//! A producer that does not wait for anybody: it offers events at a steady rate, and a stage beside the journal handles them.

use crate::directory::Directory;
use crate::event::{Event, blank, bytes, stamp};
use crate::ours::{bus_config, open};
use crate::{Answer, SMALL, ours, sample};
use ringway::{Error, Latency, Producer, SyncPolicy, Topology, Wait};
use ringway_harness::contest::{Contender, Row, Sample, Scenario, Task, Unit};
use ringway_harness::spread;
use ringway_harness::verdict::{ConditionResult, ScenarioResult};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How much of the closed loop's rate is offered.
const SHARE: f64 = 0.25;
/// For so long.
const OFFERING: Duration = Duration::from_millis(300);
/// So often the producer publishes what has become due.
const TICK: Duration = Duration::from_micros(200);
/// What the stage has to keep of it.
const KEPT_MIN: f64 = 0.99;
/// How much longer the journal may make its 99th percentile.
const LONGER_MAX: f64 = 1.5;
/// The age of every so-manieth event is taken.
const SAMPLED: u64 = 16;

/// What the stage kept of what was offered, with a journal beside it, in each run.
static KEPT: Mutex<Vec<f64>> = Mutex::new(Vec::new());

/// The 99th percentile of the time from when an event was due to when the stage saw it.
pub(crate) fn open_loop() -> Scenario {
    const LIMIT: &str = "without-journal";
    let contender = |name, run| Contender { name, run };
    Scenario {
        name: "open_loop",
        unit: Unit::P99Nanoseconds,
        work: false,
        rows: vec![Row {
            variant: "",
            ours: contender("ringway", with_journal),
            peers: Vec::new(),
            others: vec![contender(LIMIT, without_journal)],
            limit: Some(LIMIT),
            target: 1.0 / LONGER_MAX,
            conditions: Vec::new(),
        }],
    }
}

/// That the stage keeps what is offered.
pub(crate) fn add_kept(result: &mut ScenarioResult) {
    let kept = lock(&KEPT);
    let Some(ratio) = spread::median(&kept) else {
        return;
    };
    let met = ratio >= KEPT_MIN;
    result.row.conditions.push(ConditionResult {
        name: "kept of what was offered".to_owned(),
        ratio,
        target: KEPT_MIN,
        met,
    });
    result.row.met &= met;
}

/// Events a second that are offered: a share of what the closed loop reaches, the median of three runs.
fn offered() -> f64 {
    static OFFERED: OnceLock<f64> = OnceLock::new();
    *OFFERED.get_or_init(|| {
        let task = Task {
            events: 0,
            work: false,
        };
        let rate = |sample: Sample| sample.events as f64 / sample.elapsed.as_secs_f64();
        let rates: Vec<f64> = (0..3)
            .filter_map(|_| ours::never::<SMALL>(task).ok())
            .map(rate)
            .collect();
        let rate = spread::median(&rates).unwrap_or(1e9);
        rate / bytes::<SMALL>() as f64 * SHARE
    })
}

fn with_journal(_: Task) -> Result<Sample, Error> {
    run(true)
}

fn without_journal(_: Task) -> Result<Sample, Error> {
    run(false)
}

fn run(journal: bool) -> Result<Sample, Error> {
    sample(|| {
        let rate = offered();
        let events = (rate * OFFERING.as_secs_f64()) as u64;
        let directory = Directory::new()?;
        // as everybody waits where threads outnumber cores
        let config = bus_config::<SMALL>(Wait::Yield);
        let mut topology = Topology::single(config, blank)?;
        if journal {
            let journal = open::<SMALL>(directory.path(), SyncPolicy::Never)?;
            topology.stage("journal").journal(journal);
        }
        let start = Instant::now() + Duration::from_millis(5); // all threads are there by then
        let seen = Arc::new(Mutex::new(Seen::new(start)));
        let shared = Arc::clone(&seen);
        topology
            .stage("beside")
            .handle(move |event: &Event<SMALL>, _| {
                if event[0].is_multiple_of(SAMPLED) || event[0] + 1 == events {
                    lock(&shared).see(event);
                }
            });
        let (bus, producer) = topology.start()?;
        offer(producer, events, rate, start)?;
        bus.shutdown()?;
        let mut seen = lock(&seen);
        let elapsed = seen.last.saturating_duration_since(start);
        if journal {
            lock(&KEPT).push(events as f64 / elapsed.as_secs_f64() / rate);
        }
        let mut faults = Vec::new();
        if seen.number + 1 != events || seen.disordered {
            faults.push(format!(
                "{events} events, the last that was seen: {}",
                seen.number
            ));
        }
        if journal {
            faults.extend(ours::faults::<SMALL>(directory.path(), &[events])?);
        }
        Ok(Sample {
            latency: Some(std::mem::take(&mut seen.ages)),
            ..Sample::timed(events, elapsed, faults)
        })
    })
}

/// Publishes at each tick what is due by then, or as soon after as there is room: what is late is not forgiven its delay.
///
/// In between it sleeps: where there are fewer cores than threads, a producer that spun would take one from the others.
fn offer(mut producer: Producer<Event<SMALL>>, events: u64, rate: f64, start: Instant) -> Answer {
    let (mut next, mut tick) = (0, Duration::ZERO);
    while next < events {
        tick += TICK;
        let due = ((tick.as_secs_f64() * rate) as u64).min(events);
        thread::sleep((start + tick).saturating_duration_since(Instant::now()));
        while next < due {
            producer.publish_with(|event| {
                stamp(event, 0, next);
                event[1] = tick.as_nanos() as u64;
            })?;
            next += 1;
        }
    }
    Ok(())
}

/// What the stage saw.
struct Seen {
    start: Instant,
    ages: Latency,
    number: u64,
    last: Instant,
    disordered: bool,
}

impl Seen {
    fn new(start: Instant) -> Self {
        Self {
            start,
            ages: Latency::new(),
            number: 0,
            last: start,
            disordered: false,
        }
    }

    fn see(&mut self, event: &Event<SMALL>) {
        let due = Duration::from_nanos(event[1]);
        self.disordered |= event[0] < self.number;
        (self.number, self.last) = (event[0], Instant::now());
        let age = self.last.saturating_duration_since(self.start + due);
        self.ages.record(age);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
