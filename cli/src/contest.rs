//! Contenders side by side: interleaved rounds in rotating order, and ratios taken within a round.
//!
//! On a shared machine the same code runs twice as fast in one minute as in the next. What happens within a second of each
//! other can be compared; so a ratio is the median of the rounds' ratios, never the ratio of two medians.

use crate::machine::Machine;
use crate::report;
use crate::spread::{self, Spread};
use crate::suite;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// Rounds are sized to last so much longer than they must, since no two last equally long.
const MARGIN: f64 = 1.5;
/// No contender gets more events than this in one round.
const EVENTS_MAX: u64 = 10_000_000_000;

/// What a row measures, which also tells who is ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// More is better.
    EventsPerSecond,
    /// Less is better.
    Nanoseconds,
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::EventsPerSecond => "events/s",
            Self::Nanoseconds => "ns",
        }
    }

    /// How far `ours` is ahead of `theirs`: above 1 is ahead, whatever the unit.
    fn ratio(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Self::EventsPerSecond => ours / theirs,
            Self::Nanoseconds => theirs / ours,
        }
    }

    fn show(self, figure: f64) -> String {
        match self {
            Self::EventsPerSecond => report::rate(figure),
            Self::Nanoseconds => format!("{figure:.0} ns"),
        }
    }
}

/// What one contender did in one round.
#[derive(Clone, Debug)]
pub struct Sample {
    /// How long the round lasted.
    pub elapsed: Duration,
    /// Its figure, in the unit of the row.
    pub figure: f64,
    /// The 99th percentile, where the figure is a median.
    pub p99: Option<f64>,
    /// What was wrong; empty when order and completeness were right.
    pub faults: Vec<String>,
}

/// Somebody who takes part in a row: a name, and a run of so many events.
#[derive(Clone, Copy, Debug)]
pub struct Contender {
    /// The name in the results.
    pub name: &'static str,
    /// One run, everything included.
    pub run: fn(events: u64) -> Result<Sample, ringway::Error>,
}

/// Who takes part in a row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The name in the results.
    pub name: &'static str,
    /// What is measured.
    pub unit: Unit,
    /// The one whose ratio is wanted.
    pub ours: Contender,
    /// Those whom it is held against.
    pub peers: &'static [Contender],
    /// The bare machine at the same task, measured in the same rounds.
    pub limit: Option<Contender>,
}

/// All rows of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// What the figures are true of.
    pub machine: Machine,
    /// The rows.
    pub scenarios: Vec<RowResult>,
}

/// The results of one row.
#[derive(Clone, Debug, Serialize)]
pub struct RowResult {
    /// Its name.
    pub name: &'static str,
    /// The unit of all its figures.
    pub unit: &'static str,
    /// The figures of each contender.
    pub contenders: BTreeMap<&'static str, Figures>,
    /// The median of the bare machine, where there is such a limit.
    pub limit: Option<f64>,
    /// How far we are ahead of the best peer: above 1 is ahead.
    pub ratio_to_best_peer: f64,
    /// Who that is: the peer with the best median.
    pub best_peer: &'static str,
    /// How near we are to the limit, where there is one: 1 is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_to_limit: Option<f64>,
    /// What was wrong, if anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// The figures of one contender.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Of each round.
    #[serde(flatten)]
    pub spread: Spread,
    /// The median of the rounds' 99th percentiles, where the figure is a median itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
}

impl Row {
    /// One round that does not count, then `rounds` of at least `round_time` for each contender; `watch` is told what begins.
    ///
    /// # Errors
    /// When a bus refuses its configuration, or the system refuses a thread its core.
    pub fn run(
        &self,
        rounds: usize,
        round_time: Duration,
        watch: &mut dyn FnMut(&str),
    ) -> Result<RowResult, ringway::Error> {
        let contenders: Vec<Contender> = std::iter::once(self.ours)
            .chain(self.limit)
            .chain(self.peers.to_vec())
            .collect();
        let mut tallies: Vec<Tally> = contenders.into_iter().map(Tally::new).collect();
        for tally in &mut tallies {
            watch(&format!("{}: {} warms up", self.name, tally.contender.name));
            tally.warm_up(round_time.mul_f64(MARGIN))?;
        }
        for round in 0..rounds {
            for index in rotation(round, tallies.len()) {
                let tally = &mut tallies[index];
                watch(&format!(
                    "{}: round {} of {rounds}, {}",
                    self.name,
                    round + 1,
                    tally.contender.name
                ));
                tally.round(round_time)?;
            }
        }
        Ok(self.judge(tallies))
    }

    fn judge(&self, tallies: Vec<Tally>) -> RowResult {
        let faults = tallies.iter().flat_map(Tally::named_faults).collect();
        let (mut limit, mut contenders) = (None, BTreeMap::new());
        for tally in tallies {
            let (name, figures) = (tally.contender.name, tally.figures());
            if self.limit.is_some_and(|limit| limit.name == name) {
                limit = Some(figures);
            } else {
                contenders.insert(name, figures);
            }
        }
        let (best_peer, ratio_to_best_peer) = self.best_peer(&contenders);
        let ours = &contenders[self.ours.name].spread;
        RowResult {
            name: self.name,
            unit: self.unit.name(),
            limit: limit.as_ref().map(|figures| figures.spread.median),
            ratio_to_limit: limit.map(|figures| self.ratio(ours, &figures.spread)),
            best_peer,
            ratio_to_best_peer,
            contenders,
            faults,
        }
    }

    /// The peer with the best median, and how far we are ahead of it.
    fn best_peer(&self, contenders: &BTreeMap<&'static str, Figures>) -> (&'static str, f64) {
        let ours = &contenders[self.ours.name].spread;
        let behind = |peer: &&Contender| {
            self.unit
                .ratio(ours.median, contenders[peer.name].spread.median)
        };
        let best = self
            .peers
            .iter()
            .min_by(|a, b| behind(a).total_cmp(&behind(b)))
            .expect("a row has a peer");
        (best.name, self.ratio(ours, &contenders[best.name].spread))
    }

    /// The median over rounds of the ratio within a round.
    fn ratio(&self, ours: &Spread, theirs: &Spread) -> f64 {
        let pairs = ours.rounds.iter().zip(&theirs.rounds);
        let ratios: Vec<f64> = pairs
            .map(|(ours, theirs)| self.unit.ratio(*ours, *theirs))
            .collect();
        spread::median(&ratios).expect("there is at least one round")
    }
}

/// The order of `contenders` in a round: everybody is first in turn.
fn rotation(round: usize, contenders: usize) -> impl Iterator<Item = usize> {
    (0..contenders).map(move |place| (round + place) % contenders)
}

/// One contender's rounds so far.
struct Tally {
    contender: Contender,
    events: u64,
    samples: Vec<Sample>,
    faults: Vec<String>,
}

impl Tally {
    fn new(contender: Contender) -> Self {
        Self {
            contender,
            events: 0,
            samples: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn run(&mut self, events: u64) -> Result<Sample, ringway::Error> {
        let mut sample = (self.contender.run)(events)?;
        self.faults.append(&mut sample.faults);
        Ok(sample)
    }

    /// Finds how many events fill `time`; nothing of it counts but its faults.
    fn warm_up(&mut self, time: Duration) -> Result<(), ringway::Error> {
        self.events = suite::calibrate(time, EVENTS_MAX, |events| {
            self.run(events).map(|sample| sample.elapsed)
        })?;
        Ok(())
    }

    /// One round that counts: repeated with more events if it was too short to count.
    fn round(&mut self, time_min: Duration) -> Result<(), ringway::Error> {
        loop {
            let sample = self.run(self.events)?;
            if sample.elapsed >= time_min || self.events >= EVENTS_MAX {
                self.samples.push(sample);
                return Ok(());
            }
            self.events = (self.events * 2).min(EVENTS_MAX);
        }
    }

    fn named_faults(&self) -> impl Iterator<Item = String> {
        self.faults
            .iter()
            .map(|fault| format!("{}: {fault}", self.contender.name))
    }

    fn figures(self) -> Figures {
        let p99s: Vec<f64> = self
            .samples
            .iter()
            .filter_map(|sample| sample.p99)
            .collect();
        let figures = self.samples.iter().map(|sample| sample.figure).collect();
        Figures {
            spread: Spread::of(figures).expect("there is at least one round"),
            p99: spread::median(&p99s),
        }
    }
}

impl Results {
    /// Whether every contender delivered every event once and in order.
    #[must_use]
    pub fn verified(&self) -> bool {
        self.scenarios.iter().all(|row| row.faults.is_empty())
    }

    /// The figures for people; the last lines are the ratios, one a row.
    #[must_use]
    pub fn table(&self, rows: &[Row]) -> String {
        let mut text = String::new();
        for (row, result) in rows.iter().zip(&self.scenarios) {
            result.describe(row, &mut text);
        }
        for result in &self.scenarios {
            let RowResult {
                name,
                ratio_to_best_peer,
                best_peer,
                ..
            } = result;
            let limit = result
                .ratio_to_limit
                .map(|ratio| format!(", {ratio:.2} of the bare limit"))
                .unwrap_or_default();
            text.push_str(&format!(
                "{name:<12}{ratio_to_best_peer:.2} × the best peer ({best_peer}){limit}\n"
            ));
        }
        text
    }
}

impl RowResult {
    fn describe(&self, row: &Row, text: &mut String) {
        let mut line =
            |line: String| writeln!(text, "{line}").expect("a string takes what is written to it");
        line(format!("{}, {}", self.name, self.unit));
        for (name, Figures { spread, p99 }) in &self.contenders {
            let [median, min, max] =
                [spread.median, spread.min, spread.max].map(|figure| row.unit.show(figure));
            let p99 = p99
                .map(|p99| format!("   p99 {}", row.unit.show(p99)))
                .unwrap_or_default();
            line(format!("  {name:<20}{median:>10}   {min} – {max}{p99}"));
        }
        if let Some(limit) = self.limit {
            line(format!(
                "  {:<20}{:>10}",
                "bare limit",
                row.unit.show(limit)
            ));
        }
        for fault in &self.faults {
            line(format!("  FAILED ITS CHECK: {fault}"));
        }
        line(String::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contender(name: &'static str) -> Contender {
        let run = |_| {
            Ok(Sample {
                elapsed: Duration::from_secs(1),
                figure: 1.0,
                p99: None,
                faults: Vec::new(),
            })
        };
        Contender { name, run }
    }

    fn tally(contender: Contender, figures: &[f64]) -> Tally {
        let sample = |figure: &f64| Sample {
            elapsed: Duration::from_secs(1),
            figure: *figure,
            p99: Some(figure * 2.0),
            faults: Vec::new(),
        };
        Tally {
            samples: figures.iter().map(sample).collect(),
            ..Tally::new(contender)
        }
    }

    fn row(unit: Unit) -> Row {
        fn peers() -> &'static [Contender] {
            Box::leak(Box::new([contender("slow"), contender("fast")]))
        }
        Row {
            name: "row",
            unit,
            ours: contender("ours"),
            peers: peers(),
            limit: Some(contender("bare")),
        }
    }

    fn judged(row: &Row, slow: &[f64], fast: &[f64]) -> RowResult {
        let ours = tally(row.ours, &[10.0, 40.0, 20.0]);
        let bare = tally(contender("bare"), &[5.0, 5.0, 5.0]);
        row.judge(vec![
            ours,
            bare,
            tally(row.peers[0], slow),
            tally(row.peers[1], fast),
        ])
    }

    #[test]
    fn a_ratio_is_taken_within_rounds_against_the_best_median() {
        let result = judged(
            &row(Unit::EventsPerSecond),
            &[1.0, 1.0, 1.0],
            &[5.0, 10.0, 20.0],
        );
        assert_eq!(result.best_peer, "fast");
        assert_eq!(result.ratio_to_best_peer, 2.0, "the median of 2, 4 and 1");
        assert_eq!(result.limit, Some(5.0));
        assert!(
            !result.contenders.contains_key("bare"),
            "the limit is no contender"
        );
    }

    #[test]
    fn less_is_better_where_time_is_measured() {
        let result = judged(
            &row(Unit::Nanoseconds),
            &[90.0, 90.0, 90.0],
            &[20.0, 20.0, 20.0],
        );
        assert_eq!(result.best_peer, "fast");
        assert_eq!(result.ratio_to_best_peer, 1.0, "the median of 2, 0.5 and 1");
        assert_eq!(result.ratio_to_limit, Some(0.25));
        assert_eq!(result.contenders["ours"].p99, Some(40.0));
    }

    #[test]
    fn everybody_is_first_in_turn() {
        let orders: Vec<Vec<usize>> = (0..3).map(|round| rotation(round, 3).collect()).collect();
        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1]]);
    }

    #[test]
    fn a_round_that_is_too_short_is_repeated_with_more_events() {
        let run = |events: u64| {
            let elapsed = Duration::from_millis(events);
            Ok(Sample {
                elapsed,
                figure: events as f64,
                p99: None,
                faults: Vec::new(),
            })
        };
        let mut tally = Tally {
            events: 60,
            ..Tally::new(Contender { name: "slow", run })
        };
        tally
            .round(Duration::from_millis(200))
            .expect("nothing to refuse");
        assert_eq!(tally.figures().spread.rounds, [240.0]);
    }

    #[test]
    fn a_fault_in_any_round_is_named() {
        let run = |_| {
            Ok(Sample {
                elapsed: Duration::MAX,
                figure: 1.0,
                p99: None,
                faults: vec!["lost".to_owned()],
            })
        };
        let ours = Contender { name: "ours", run };
        let row = Row {
            ours,
            limit: None,
            ..row(Unit::EventsPerSecond)
        };
        let result = row
            .run(1, Duration::from_millis(1), &mut |_| ())
            .expect("nothing to refuse");
        assert_eq!(
            result.faults,
            ["ours: lost", "ours: lost"],
            "once while warming up"
        );
        let results = Results {
            machine: Machine::detect(),
            scenarios: vec![result],
        };
        assert!(!results.verified());
        assert!(
            results
                .table(&[row])
                .contains("FAILED ITS CHECK: ours: lost")
        );
    }

    #[test]
    fn the_json_has_the_promised_shape_and_the_last_line_is_the_ratio() {
        let row = row(Unit::EventsPerSecond);
        let result = judged(&row, &[1.0, 1.0, 1.0], &[5.0, 10.0, 20.0]);
        let results = Results {
            machine: Machine::detect(),
            scenarios: vec![result],
        };
        let json = serde_json::to_value(&results).expect("plain data");
        let scenario = &json["scenarios"][0];
        assert_eq!(
            (&scenario["name"], &scenario["unit"]),
            (&"row".into(), &"events/s".into())
        );
        assert_eq!(
            scenario["contenders"]["ours"]["rounds"]
                .as_array()
                .map(Vec::len),
            Some(3)
        );
        assert_eq!(scenario["ratio_to_best_peer"], 2.0);
        assert!(
            results
                .table(&[row])
                .trim_end()
                .ends_with("2.00 × the best peer (fast), 4.00 of the bare limit")
        );
    }
}
