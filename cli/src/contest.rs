//! Contenders side by side: interleaved rounds in rotating order. What follows from their figures is [`verdict`]'s matter.
//!
//! On a shared machine the same code runs twice as fast in one minute as in the next. Only what happens within a few
//! seconds can be compared; so contenders take turns, and every round of one stands beside the same round of another.
//!
//! [`verdict`]: crate::verdict

use crate::report;
use crate::spread::Spread;
use crate::suite;
use crate::verdict::{Measured, RowResult, ScenarioResult, WithWork};
use ringway::Latency;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A round is made of so many runs, in between which the others take their turns: what slows the machine down for a while
/// then slows all of them.
const RUNS_IN_ROUND: u32 = 4;
/// Runs are sized to last so much longer than they must, since no two last equally long.
const MARGIN: f64 = 1.1;
/// No contender gets more events than this in one round.
const EVENTS_MAX: u64 = 10_000_000_000;
/// How many of the best peers take part when the consumer works. Nothing hangs on that row: it may be short.
const PEERS_WITH_WORK: usize = 3;

/// What a row measures, which also tells who is ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// More is better.
    EventsPerSecond,
    /// The same of bytes, where what counts as an event is a byte.
    BytesPerSecond,
    /// The median of all times, of which less is better.
    MedianNanoseconds,
    /// Their 99th percentile.
    P99Nanoseconds,
}

impl Unit {
    /// The name in the results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EventsPerSecond => "events/s",
            Self::BytesPerSecond => "bytes/s",
            Self::MedianNanoseconds | Self::P99Nanoseconds => "ns",
        }
    }

    /// How far `ours` is ahead of `theirs`: above 1 is ahead, whatever the unit.
    #[must_use]
    pub fn ratio(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Self::EventsPerSecond | Self::BytesPerSecond => ours / theirs,
            Self::MedianNanoseconds | Self::P99Nanoseconds => theirs / ours,
        }
    }

    /// A figure for people.
    #[must_use]
    pub fn show(self, figure: f64) -> String {
        match self {
            Self::EventsPerSecond | Self::BytesPerSecond => report::rate(figure),
            Self::MedianNanoseconds | Self::P99Nanoseconds => format!("{figure:.0} ns"),
        }
    }
}

/// What a contender is to do in one run.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// How many events to move.
    pub events: u64,
    /// Whether each consumer spends 10 ns on each event.
    pub work: bool,
}

/// What one contender did in one run, or in several.
#[derive(Debug, Default)]
pub struct Sample {
    /// How many events were moved.
    pub events: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// The times of single events, where those are measured.
    pub latency: Option<Latency>,
    /// What was wrong; empty when order and completeness were right.
    pub faults: Vec<String>,
}

impl Sample {
    /// A run whose throughput counts.
    #[must_use]
    pub const fn timed(events: u64, elapsed: Duration, faults: Vec<String>) -> Self {
        Self {
            events,
            elapsed,
            latency: None,
            faults,
        }
    }

    /// Both together.
    fn and(mut self, mut other: Self) -> Self {
        self.events += other.events;
        self.elapsed += other.elapsed;
        self.faults.append(&mut other.faults);
        self.latency = match (self.latency, other.latency) {
            (Some(mut ours), Some(theirs)) => {
                ours.merge(&theirs);
                Some(ours)
            }
            (ours, theirs) => ours.or(theirs),
        };
        self
    }

    /// The figure that the unit asks for, and the 99th percentile beside a median.
    fn figures(&self, unit: Unit) -> (f64, Option<f64>) {
        let summary = || self.latency.as_ref().map(Latency::summary);
        let [p50, p99] = summary().map_or([0.0; 2], |it| [it.p50 as f64, it.p99 as f64]);
        match unit {
            // A clock that did not move between two reads must not make the rate infinite: JSON has no such number.
            Unit::EventsPerSecond | Unit::BytesPerSecond => (
                self.events as f64 / self.elapsed.as_secs_f64().max(1e-9),
                None,
            ),
            Unit::MedianNanoseconds => (p50, Some(p99)),
            Unit::P99Nanoseconds => (p99, None),
        }
    }
}

/// Somebody who takes part in a row: a name, and how to run it once.
#[derive(Clone, Copy, Debug)]
pub struct Contender {
    /// The name in the results.
    pub name: &'static str,
    /// One run, everything included.
    pub run: fn(task: Task) -> Result<Sample, ringway::Error>,
}

/// Whom a condition holds a contender against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versus {
    /// The peer with the best median of the row's figure.
    BestPeer,
    /// The contender of this name.
    Named(&'static str),
}

/// Which figure a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The row's own.
    Main,
    /// The 99th percentile beside it.
    P99,
}

/// Something else that has to hold of a row for its target to count as met.
#[derive(Clone, Copy, Debug)]
pub struct Condition {
    /// The name in the results.
    pub name: &'static str,
    /// The figure that is compared.
    pub which: Which,
    /// Whose figure it is.
    pub whose: &'static str,
    /// Whom it is held against.
    pub versus: Versus,
    /// What the ratio must reach; above 1 is ahead, whatever the unit.
    pub target: f64,
}

/// Who takes part in a row, and what is asked of it.
#[derive(Clone, Debug)]
pub struct Row {
    /// What sets it apart from the other rows of its scenario; empty if it is the only one.
    pub variant: &'static str,
    /// The one whose ratio is wanted.
    pub ours: Contender,
    /// Those whom it is held against.
    pub peers: Vec<Contender>,
    /// Others that only conditions are about: the bare machine, or ours in another mode.
    pub others: Vec<Contender>,
    /// Which of the others is the limit of the machine.
    pub limit: Option<&'static str>,
    /// What the ratio to the best peer must reach; to the limit where no peer takes part.
    pub target: f64,
    /// What else must hold.
    pub conditions: Vec<Condition>,
}

/// One or more rows of which the worst counts.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The name in the results.
    pub name: &'static str,
    /// What is measured.
    pub unit: Unit,
    /// The rows, of different sizes for example.
    pub rows: Vec<Row>,
    /// Whether it is also shown with consumers that work.
    pub work: bool,
}

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Rounds that count.
    pub rounds: usize,
    /// No round that counts is shorter.
    pub round_time: Duration,
}

/// The figures of one contender.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Of each round.
    #[serde(flatten)]
    pub spread: Spread,
    /// The 99th percentiles of the rounds, where the figure is a median itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<Spread>,
}

impl Scenario {
    /// One round that does not count, then those that do, for each contender of each row; `watch` is told what begins.
    ///
    /// # Errors
    /// When a bus refuses its configuration, or the system refuses a thread its core.
    pub fn run(
        &self,
        effort: Effort,
        watch: &mut dyn FnMut(&str),
    ) -> Result<ScenarioResult, ringway::Error> {
        let mut results = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let title = format!("{} {}", self.name, row.variant);
            let (contenders, work) = (row.contenders(), false);
            let measured = measure(
                &contenders,
                work,
                self.unit,
                effort,
                title.trim_end(),
                watch,
            )?;
            let mut result = row.judge(self.unit, measured);
            if self.work {
                result.with_work = Some(self.with_work(row, &result, effort, watch)?);
            }
            results.push(result);
        }
        Ok(ScenarioResult::of(self.name, self.unit, results))
    }

    /// The same with consumers that work: ours and the best peers only, in fewer rounds, since it is only shown.
    fn with_work(
        &self,
        row: &Row,
        result: &RowResult,
        effort: Effort,
        watch: &mut dyn FnMut(&str),
    ) -> Result<WithWork, ringway::Error> {
        let ranked = result.ranked_peers(row, self.unit);
        let row = Row {
            peers: ranked.into_iter().take(PEERS_WITH_WORK).collect(),
            others: Vec::new(),
            limit: None,
            conditions: Vec::new(),
            ..row.clone()
        };
        let effort = Effort {
            rounds: effort.rounds.div_ceil(2),
            ..effort
        };
        let title = format!("{} {} with work", self.name, row.variant);
        let measured = measure(&row.contenders(), true, self.unit, effort, &title, watch)?;
        Ok(WithWork::of(row.judge(self.unit, measured)))
    }
}

impl Row {
    fn contenders(&self) -> Vec<Contender> {
        let mut all = vec![self.ours];
        all.extend(&self.others);
        all.extend(&self.peers);
        all
    }
}

/// The figures of all `contenders`, from interleaved rounds.
fn measure(
    contenders: &[Contender],
    work: bool,
    unit: Unit,
    effort: Effort,
    title: &str,
    watch: &mut dyn FnMut(&str),
) -> Result<Measured, ringway::Error> {
    let Effort { rounds, round_time } = effort;
    let mut tallies: Vec<Tally> = contenders
        .iter()
        .map(|contender| Tally::new(*contender, work))
        .collect();
    for tally in &mut tallies {
        watch(&format!("{title}: {} warms up", tally.contender.name));
        tally.warm_up(round_time.mul_f64(MARGIN) / RUNS_IN_ROUND)?;
    }
    for round in 0..rounds {
        let mut turn = round;
        while tallies.iter().any(|tally| tally.elapsed() < round_time) {
            for index in rotation(turn, tallies.len()) {
                let tally = &mut tallies[index];
                if tally.elapsed() < round_time {
                    let (number, name) = (round + 1, tally.contender.name);
                    watch(&format!("{title}: round {number} of {rounds}, {name}"));
                    tally.take_turn()?;
                }
            }
            turn += 1;
        }
        tallies.iter_mut().for_each(|tally| tally.end_round(unit));
    }
    Ok(Measured {
        faults: tallies.iter().flat_map(Tally::named_faults).collect(),
        figures: tallies
            .into_iter()
            .map(|tally| (tally.contender.name, tally.figures()))
            .collect::<BTreeMap<_, _>>(),
    })
}

/// The order of `contenders` in a turn: everybody is first once.
fn rotation(turn: usize, contenders: usize) -> impl Iterator<Item = usize> {
    (0..contenders).map(move |place| (turn + place) % contenders)
}

/// One contender's rounds so far.
struct Tally {
    contender: Contender,
    task: Task,
    /// The round that has begun.
    round: Sample,
    figures: Vec<f64>,
    p99s: Vec<f64>,
    faults: Vec<String>,
}

impl Tally {
    const fn new(contender: Contender, work: bool) -> Self {
        Self {
            contender,
            task: Task { events: 0, work },
            round: Sample::timed(0, Duration::ZERO, Vec::new()),
            figures: Vec::new(),
            p99s: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Finds how many events fill `time`; nothing of it counts but its faults.
    fn warm_up(&mut self, time: Duration) -> Result<(), ringway::Error> {
        self.task.events = suite::calibrate(time, EVENTS_MAX, |events| {
            let mut sample = (self.contender.run)(Task {
                events,
                ..self.task
            })?;
            self.faults.append(&mut sample.faults);
            Ok::<_, ringway::Error>(sample.elapsed)
        })?;
        Ok(())
    }

    /// How long the round that has begun has lasted.
    const fn elapsed(&self) -> Duration {
        self.round.elapsed
    }

    fn take_turn(&mut self) -> Result<(), ringway::Error> {
        let sample = (self.contender.run)(self.task)?;
        // A clock that does not move must not make a round endless.
        let elapsed = sample.elapsed.max(Duration::from_nanos(1));
        self.round = std::mem::take(&mut self.round).and(Sample { elapsed, ..sample });
        Ok(())
    }

    fn end_round(&mut self, unit: Unit) {
        let round = std::mem::take(&mut self.round);
        let (figure, p99) = round.figures(unit);
        self.figures.push(figure);
        self.p99s.extend(p99);
        self.faults.extend(round.faults);
    }

    fn named_faults(&self) -> impl Iterator<Item = String> {
        self.faults
            .iter()
            .map(|fault| format!("{}: {fault}", self.contender.name))
    }

    fn figures(self) -> Figures {
        Figures {
            spread: Spread::of(self.figures).expect("there is at least one round"),
            p99: Spread::of(self.p99s),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(1);

    fn row(ours: Contender, peers: Vec<Contender>) -> Row {
        Row {
            variant: "",
            ours,
            peers,
            others: Vec::new(),
            limit: None,
            target: 1.0,
            conditions: Vec::new(),
        }
    }

    fn scenario(row: Row, work: bool) -> Scenario {
        Scenario {
            name: "scenario",
            unit: Unit::EventsPerSecond,
            rows: vec![row],
            work,
        }
    }

    const QUICK: Effort = Effort {
        rounds: 3,
        round_time: Duration::from_millis(1),
    };

    #[test]
    fn everybody_is_first_in_turn() {
        let orders: Vec<Vec<usize>> = (0..3).map(|turn| rotation(turn, 3).collect()).collect();
        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1]]);
    }

    fn milliseconds(task: Task) -> Result<Sample, ringway::Error> {
        let elapsed = Duration::from_millis(task.events);
        Ok(Sample::timed(task.events, elapsed, Vec::new()))
    }

    #[test]
    fn a_round_goes_on_until_it_is_long_enough() {
        let slow = Contender {
            name: "slow",
            run: milliseconds,
        };
        let mut tally = Tally::new(slow, false);
        tally.task.events = 60;
        while tally.elapsed() < Duration::from_millis(200) {
            tally.take_turn().expect("nothing to refuse");
        }
        assert_eq!(tally.round.events, 240, "four runs of 60 ms");
        tally.end_round(Unit::EventsPerSecond);
        assert_eq!(tally.elapsed(), Duration::ZERO);
        assert_eq!(tally.figures().spread.rounds, [1000.0]);
    }

    #[test]
    fn times_of_several_runs_are_one_distribution() {
        let run = |ns: u64| {
            let mut latency = Latency::new();
            latency.record(Duration::from_nanos(ns));
            Sample {
                latency: Some(latency),
                ..Sample::timed(1, LONG, Vec::new())
            }
        };
        let all = [100, 100, 900].map(run).into_iter();
        let round = all.reduce(Sample::and).expect("three runs");
        assert_eq!(round.figures(Unit::MedianNanoseconds).0, 100.0);
        let (p99, beside) = round.figures(Unit::P99Nanoseconds);
        assert!((890.0..=910.0).contains(&p99) && beside.is_none());
        assert_eq!(round.figures(Unit::MedianNanoseconds).1, Some(p99));
    }

    #[test]
    fn a_fault_in_any_round_is_named() {
        let run = |_| Ok(Sample::timed(1, LONG, vec!["lost".to_owned()]));
        let ours = Contender { name: "ours", run };
        let effort = Effort { rounds: 1, ..QUICK };
        let result = scenario(row(ours, vec![]), false)
            .run(effort, &mut |_| ())
            .expect("nothing to refuse");
        let once_while_warming_up = ["ours: lost", "ours: lost"];
        assert_eq!(result.faults(), once_while_warming_up);
    }

    #[test]
    fn only_the_best_peers_take_part_when_consumers_work() {
        fn peer<const RATE: u64>(task: Task) -> Result<Sample, ringway::Error> {
            let faults = vec![format!("works: {}", task.work); usize::from(task.work)];
            Ok(Sample::timed(RATE, LONG, faults))
        }
        let contender = |name, run| Contender { name, run };
        let peers = vec![
            contender("a", peer::<1> as fn(Task) -> _),
            contender("b", peer::<4>),
            contender("c", peer::<3>),
            contender("d", peer::<2>),
        ];
        let result = scenario(row(contender("ours", peer::<8>), peers), true)
            .run(QUICK, &mut |_| ())
            .expect("nothing to refuse");
        let with_work = result.row.with_work.as_ref().expect("it was asked for");
        let names: Vec<&str> = with_work.contenders.keys().copied().collect();
        assert_eq!(names, ["b", "c", "d", "ours"]);
        assert_eq!(with_work.contenders["ours"].spread.rounds.len(), 2);
        assert!(
            result
                .faults()
                .iter()
                .any(|fault| *fault == "ours: works: true")
        );
    }
}
