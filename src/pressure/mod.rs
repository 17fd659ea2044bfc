//! The watchdog of a bus: a thread that looks at the cursors now and then, and says when the ring fills up and which stage
//! keeps it full.
//!
//! It only reads what the protocol has anyway: producers and stages do nothing for it, and do not know of it. It sleeps between two
//! looks; whoever drops the bus wakes it, and does not wait for it.
//!
//! What it looks at it reaches through a [`Gauge`] that stands in a mutex, and the bus takes the gauge away when it is dropped. So the thread
//! is never the last that has the ring: events are not dropped on it, late and by surprise, and it keeps nothing alive. It holds that mutex during
//! a look, which takes a microsecond or two, and never while it calls the callback.

mod judge;

pub use judge::PressureLevel;
pub(crate) use judge::Standing;

use crate::affinity::unpin_current_thread;
use crate::config::Pressure;
use crate::consumer::LateReaders;
use crate::error::{Error, ErrorKind};
use crate::ring::{Core, Ring};
use crate::sequence::Sequence;
use crate::sync::{Arc, drop_quietly};
use judge::{Judge, Verdict};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc as PlainArc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// What the thread that watches a bus found when it last looked: from [`Bus::pressure`](crate::Bus::pressure), and for
/// [`Topology::on_pressure`](crate::Topology::on_pressure).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PressureReport {
    /// How full the ring is, by the marks of [`Pressure`].
    pub level: PressureLevel,
    /// How many sequences producers have given out that the stage furthest behind has not passed: this much of the capacity is taken.
    pub used: u64,
    /// The stage that holds the ring back: one that is stalled, else the one with the most to do on the way to the stage furthest
    /// behind. So not one that only waits for another. `None`: every stage that lives has passed everything.
    pub stage: Option<String>,
    /// How many sequences producers have given out that it has not passed, all of its batch at hand included; 0 without one.
    pub lag: u64,
    /// The first sequence that it has not passed. A stage passes its events a batch at a time, so the one that it is at work on may be up to
    /// [`batch_max`](crate::StageBuilder::batch_max) further on. Without a stage, where producers are.
    pub sequence: Sequence,
    /// For how long it has passed nothing though it could, as far as that was seen.
    pub still: Duration,
    /// Whether that is as long as [`stalled_after`](Pressure::stalled_after).
    pub stalled: bool,
}

impl PressureReport {
    /// What is worth telling: the callback is called when this changes.
    fn gist(&self) -> (PressureLevel, bool, Option<&str>) {
        let names = self.level == PressureLevel::High || self.stalled;
        let stage = self.stage.as_deref().filter(|_| names);
        (self.level, self.stalled, stage)
    }
}

/// What is to be told of a change.
pub(crate) type Callback = Box<dyn FnMut(&PressureReport) + Send>;

/// Where everybody stands on a bus.
pub(crate) trait Gauge: Send {
    /// Every stage, after those that it comes after; and where producers are. `false`: nobody reads any more.
    fn read(&mut self, stages: &mut Vec<Standing>) -> (u64, bool);

    /// What a position is called outside.
    fn sequence(&self, position: u64) -> Sequence;

    fn capacity(&self) -> u64;
}

/// A stage of the graph, or a tap, by its entries in the cursor table.
pub(crate) struct Watched {
    pub(crate) name: PlainArc<str>,
    pub(crate) after: PlainArc<[usize]>,
    pub(crate) entries: Box<[usize]>,
    /// Those of which stages after it wait for.
    pub(crate) gates: Box<[usize]>,
    pub(crate) is_tap: bool,
}

/// The stages of a graph on their ring, and whoever has joined it.
pub(crate) struct GraphGauge<T> {
    pub(crate) ring: Arc<Ring<T>>,
    pub(crate) stages: Vec<Watched>,
    pub(crate) late: PlainArc<LateReaders>,
    /// The stages that those come after.
    pub(crate) editors: PlainArc<[usize]>,
}

impl<T> GraphGauge<T> {
    fn standing(&self, stage: &Watched) -> Standing {
        let core = &self.ring.core;
        let (position, ended) = least(core, &stage.entries);
        Standing {
            name: stage.name.clone(),
            after: stage.after.clone(),
            position,
            shown: least(core, &stage.gates).0.min(position),
            ended,
        }
    }

    /// Readers that joined, or taps that did.
    fn joined(&self, taps: bool) -> Vec<Standing> {
        self.late.each(taps, |name, entry| {
            let (position, ended) = least(&self.ring.core, &[entry]);
            Standing {
                name: name.into(),
                after: self.editors.clone(),
                position,
                shown: position,
                ended,
            }
        })
    }
}

impl<T: Send + 'static> Gauge for GraphGauge<T> {
    fn read(&mut self, standings: &mut Vec<Standing>) -> (u64, bool) {
        let core = &self.ring.core;
        // the last ones first and producers at the end, so that nobody seems to be ahead of those before it
        let (taps, readers) = (self.joined(true), self.joined(false));
        let graph = self.stages.iter().rev();
        standings.clear();
        standings.extend(graph.map(|stage| self.standing(stage)));
        standings.reverse();
        // taps keep no bus alive
        let lives = (standings.iter().zip(&self.stages))
            .any(|(it, stage)| !it.ended && !stage.is_tap)
            || readers.iter().any(|reader| !reader.ended);
        standings.extend(readers.into_iter().chain(taps));
        (core.position(), lives && !core.is_halted())
    }

    fn sequence(&self, position: u64) -> Sequence {
        self.ring.core.numbering().sequence(position)
    }

    fn capacity(&self) -> u64 {
        self.ring.core.capacity()
    }
}

/// The least position of these entries, and whether all have ended. A tap that is moved out of the way holds nobody back: as one that has ended.
fn least(core: &Core, entries: &[usize]) -> (u64, bool) {
    let snapshots = entries
        .iter()
        .map(|&index| core.table.entry(index).snapshot());
    snapshots.fold((u64::MAX, true), |(position, ended), one| {
        let ends = !one.holds_back();
        (position.min(one.position()), ended && ends)
    })
}

/// The watchdog, as the bus has it: dropping it ends it, without waiting for a callback.
pub(crate) struct Watch {
    shared: PlainArc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

struct State {
    /// `None`: the bus is gone.
    gauge: Option<Box<dyn Gauge>>,
    report: PressureReport,
}

impl Shared {
    fn new(mut gauge: Box<dyn Gauge>) -> Self {
        let (head, _) = gauge.read(&mut Vec::new());
        let report = PressureReport {
            sequence: gauge.sequence(head),
            ..PressureReport::default()
        };
        Self {
            state: Mutex::new(State {
                gauge: Some(gauge),
                report,
            }),
            ended: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Starts the thread; `unpins`: the calling thread would hand it one core.
    pub(crate) fn start(
        marks: Pressure,
        gauge: Box<dyn Gauge>,
        callback: Option<Callback>,
        unpins: bool,
    ) -> Result<Self, Error> {
        let judge = Judge::new(marks, gauge.capacity());
        let shared = PlainArc::new(Shared::new(gauge));
        let watchdog = Watchdog {
            shared: shared.clone(),
            judge,
            interval: marks.interval(),
            callback,
        };
        let body = move || {
            if unpins {
                unpin_current_thread();
            }
            watchdog.run();
        };
        let spawned = Builder::new().name("pressure".into()).spawn(body);
        spawned.map_err(|error| {
            let text =
                format!("the thread that watches the pressure could not be started: {error}");
            Error::new(ErrorKind::Spawn, text).with_source(PlainArc::new(error))
        })?;
        Ok(Self { shared })
    }

    pub(crate) fn report(&self) -> PressureReport {
        self.shared.lock().report.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let gauge = self.shared.lock().gauge.take();
        self.shared.ended.notify_all();
        drop(gauge); // perhaps the last that has the ring, and so here
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&self.report()).finish()
    }
}

/// What the thread runs.
struct Watchdog {
    shared: PlainArc<Shared>,
    judge: Judge,
    interval: Duration,
    callback: Option<Callback>,
}

impl Watchdog {
    fn run(mut self) {
        let started = Instant::now();
        let mut told = PressureReport::default();
        let mut stages = Vec::new();
        while let Some((report, lives)) = self.look(&mut stages, started.elapsed()) {
            if report.gist() != told.gist() {
                self.tell(&report);
                told = report;
            }
            if !lives {
                break;
            }
            self.sleep();
        }
        drop_quietly(self.callback.take());
    }

    /// One look; `None`: the bus is gone.
    fn look(
        &mut self,
        stages: &mut Vec<Standing>,
        now: Duration,
    ) -> Option<(PressureReport, bool)> {
        let mut state = self.shared.lock();
        let State { gauge, report } = &mut *state;
        let gauge = gauge.as_mut()?;
        let (head, lives) = gauge.read(stages);
        *report = if lives {
            let verdict = self.judge.look(head, stages, now);
            report_of(&**gauge, head, stages, verdict)
        } else {
            // whatever is left in the ring holds nobody back
            PressureReport {
                sequence: gauge.sequence(head),
                ..PressureReport::default()
            }
        };
        Some((report.clone(), lives))
    }

    /// A callback that panics is not called again: nobody knows in what state it left what it works on.
    fn tell(&mut self, report: &PressureReport) {
        let Some(callback) = &mut self.callback else {
            return;
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| callback(report))) {
            drop_quietly(panic);
            drop_quietly(self.callback.take());
        }
    }

    /// Until the next look, or the end of the bus.
    fn sleep(&self) {
        let state = self.shared.lock();
        let lives = |state: &mut State| state.gauge.is_some();
        // a poisoned state is looked at as any other
        let _ = (self.shared.ended).wait_timeout_while(state, self.interval, lives);
    }
}

fn report_of(
    gauge: &dyn Gauge,
    head: u64,
    stages: &[Standing],
    verdict: Verdict,
) -> PressureReport {
    let stage = verdict.culprit.map(|culprit| &stages[culprit.stage]);
    let position = stage.map_or(head, |stage| stage.shown);
    PressureReport {
        level: verdict.level,
        used: verdict.used,
        stage: stage.map(|stage| stage.name.to_string()),
        lag: head.saturating_sub(position),
        sequence: gauge.sequence(position),
        still: verdict.culprit.map_or(Duration::ZERO, |it| it.still),
        stalled: verdict.culprit.is_some_and(|it| it.stalled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Producers are at position 7; numbers begin at 100.
    struct Begun;

    impl Gauge for Begun {
        fn read(&mut self, _stages: &mut Vec<Standing>) -> (u64, bool) {
            (7, true)
        }

        fn sequence(&self, position: u64) -> Sequence {
            Sequence::new(100 + position)
        }

        fn capacity(&self) -> u64 {
            8
        }
    }

    #[test]
    fn where_producers_are_is_known_before_the_first_look() {
        let report = Shared::new(Box::new(Begun)).lock().report.clone();
        assert_eq!(report.sequence.get(), 107);
        assert_eq!((report.used, report.stage), (0, None));
    }
}
