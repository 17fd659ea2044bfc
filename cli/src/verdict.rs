//! What follows from the figures of contenders: who is ahead, by how much, and whether that is enough.
//!
//! A ratio is the median of the rounds' ratios, never the ratio of two medians: rounds that stand side by side saw the same
//! machine. The best peer is the one with the best median.

use crate::contest::{Condition, Contender, Figures, Row, Unit, Versus, Which};
use crate::machine::Machine;
use crate::spread::{self, Spread};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// What the rounds of a row gave.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The figures of each contender.
    pub figures: BTreeMap<&'static str, Figures>,
    /// What was wrong, if anything.
    pub faults: Vec<String>,
}

/// All scenarios of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// What the figures are true of.
    pub machine: Machine,
    /// The scenarios.
    pub scenarios: Vec<ScenarioResult>,
}

/// The results of one scenario: those of its worst row, and the others' beside it.
#[derive(Clone, Debug, Serialize)]
pub struct ScenarioResult {
    /// Its name.
    pub name: &'static str,
    /// The unit of all its figures.
    pub unit: &'static str,
    /// The row that counts.
    #[serde(flatten)]
    pub row: RowResult,
    /// The other rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<RowResult>,
    #[serde(skip)]
    show: Option<Unit>,
}

/// The results of one row.
#[derive(Clone, Debug, Serialize)]
pub struct RowResult {
    /// Which row it is, where a scenario has several.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub variant: &'static str,
    /// The figures of each contender.
    pub contenders: BTreeMap<&'static str, Figures>,
    /// The median of the bare machine, where there is such a limit.
    pub limit: Option<f64>,
    /// How far we are ahead of the best peer, or of the limit where no peer takes part: above 1 is ahead.
    pub ratio_to_best_peer: f64,
    /// The peer with the best median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best_peer: Option<&'static str>,
    /// What the ratio must reach.
    pub target: f64,
    /// What else must hold.
    pub conditions: Vec<ConditionResult>,
    /// Whether the ratio reaches its target and all conditions theirs.
    pub met: bool,
    /// The same with consumers that work, where that was asked for. Nothing hangs on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with_work: Option<WithWork>,
    /// What was wrong, if anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// What became of a condition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConditionResult {
    /// Its name.
    pub name: String,
    /// Above 1 is ahead, whatever the unit.
    pub ratio: f64,
    /// What the ratio must reach.
    pub target: f64,
    /// Whether it does.
    pub met: bool,
}

/// A row with consumers that spend 10 ns on each event.
#[derive(Clone, Debug, Serialize)]
pub struct WithWork {
    /// The figures of ours and of the peers that are best without work.
    pub contenders: BTreeMap<&'static str, Figures>,
    /// How far we are ahead of the best of them.
    pub ratio_to_best_peer: f64,
    /// Who that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best_peer: Option<&'static str>,
    #[serde(skip)]
    faults: Vec<String>,
}

impl ConditionResult {
    fn new(name: impl Into<String>, ratio: f64, target: f64) -> Self {
        Self {
            name: name.into(),
            ratio,
            target,
            met: ratio >= target,
        }
    }
}

impl Row {
    /// What follows from the figures.
    ///
    /// # Panics
    /// When a contender of the row has no figures.
    #[must_use]
    pub fn judge(&self, unit: Unit, measured: Measured) -> RowResult {
        let Measured {
            figures: mut contenders,
            faults,
        } = measured;
        let best_peer = best(&self.peers, unit, &contenders);
        let rival = best_peer.or(self.limit);
        // Alone in its row it stands against nobody: neither ahead nor behind.
        let ratio_to_best_peer = rival.map_or(1.0, |rival| {
            ratio(
                unit,
                &contenders[self.ours.name].spread,
                &contenders[rival].spread,
            )
        });
        let conditions: Vec<ConditionResult> = self
            .conditions
            .iter()
            .filter_map(|condition| condition.judge(unit, best_peer, &contenders))
            .collect();
        let met = ratio_to_best_peer >= self.target && conditions.iter().all(|it| it.met);
        let limit = self.limit.and_then(|name| contenders.remove(name));
        RowResult {
            variant: self.variant,
            limit: limit.map(|figures| figures.spread.median),
            contenders,
            ratio_to_best_peer,
            best_peer,
            target: self.target,
            conditions,
            met,
            with_work: None,
            faults,
        }
    }
}

impl Condition {
    /// `None` if it is about peers and there is none.
    fn judge(
        &self,
        unit: Unit,
        best_peer: Option<&'static str>,
        contenders: &BTreeMap<&'static str, Figures>,
    ) -> Option<ConditionResult> {
        let rival = match self.versus {
            Versus::BestPeer => best_peer?,
            Versus::Named(name) => name,
        };
        let of = |name: &str| match self.which {
            Which::Main => Some(&contenders[name].spread),
            Which::P99 => contenders[name].p99.as_ref(),
        };
        let ratio = ratio(unit, of(self.whose)?, of(rival)?);
        Some(ConditionResult::new(self.name, ratio, self.target))
    }
}

/// The peer with the best median.
fn best(
    peers: &[Contender],
    unit: Unit,
    contenders: &BTreeMap<&'static str, Figures>,
) -> Option<&'static str> {
    let mut peers: Vec<&'static str> = peers.iter().map(|peer| peer.name).collect();
    rank(&mut peers, unit, contenders);
    peers.first().copied()
}

/// Best median first.
fn rank(names: &mut [&'static str], unit: Unit, contenders: &BTreeMap<&'static str, Figures>) {
    let lead = |name: &str| unit.ratio(contenders[name].spread.median, 1.0);
    names.sort_by(|a, b| lead(b).total_cmp(&lead(a)));
}

/// The median over rounds of the ratio within a round.
fn ratio(unit: Unit, ours: &Spread, theirs: &Spread) -> f64 {
    let pairs = ours.rounds.iter().zip(&theirs.rounds);
    let ratios: Vec<f64> = pairs
        .map(|(ours, theirs)| unit.ratio(*ours, *theirs))
        .collect();
    spread::median(&ratios).expect("there is at least one round")
}

impl RowResult {
    /// The peers of `row`, best median first.
    #[must_use]
    pub fn ranked_peers(&self, row: &Row, unit: Unit) -> Vec<Contender> {
        let mut names: Vec<&'static str> = row.peers.iter().map(|peer| peer.name).collect();
        rank(&mut names, unit, &self.contenders);
        let find = |name: &&str| row.peers.iter().find(|peer| peer.name == *name).copied();
        names.iter().filter_map(find).collect()
    }

    fn reach(&self) -> f64 {
        self.ratio_to_best_peer / self.target
    }

    fn describe(&self, name: &str, unit: Unit, text: &mut String) -> fmt::Result {
        let title = format!("{name} {}", self.variant);
        writeln!(text, "{}, {}", title.trim_end(), unit.name())?;
        describe_figures(&self.contenders, unit, text)?;
        if let Some(limit) = self.limit {
            writeln!(text, "  {:<24}{:>10}", "bare limit", unit.show(limit))?;
        }
        if let Some(work) = &self.with_work {
            let title = "  with 10 ns of work an event: ratio";
            writeln!(text, "{title} {:.2}", work.ratio_to_best_peer)?;
            describe_figures(&work.contenders, unit, text)?;
        }
        for fault in self.all_faults() {
            writeln!(text, "  FAILED ITS CHECK: {fault}")?;
        }
        writeln!(text)
    }

    fn all_faults(&self) -> impl Iterator<Item = &String> {
        let with_work = self.with_work.iter().flat_map(|work| &work.faults);
        self.faults.iter().chain(with_work)
    }
}

fn describe_figures(
    contenders: &BTreeMap<&'static str, Figures>,
    unit: Unit,
    text: &mut String,
) -> fmt::Result {
    let mut names: Vec<&'static str> = contenders.keys().copied().collect();
    rank(&mut names, unit, contenders);
    for name in names {
        let Figures { spread, p99 } = &contenders[name];
        let [median, min, max] =
            [spread.median, spread.min, spread.max].map(|figure| unit.show(figure));
        let p99 = p99
            .as_ref()
            .map(|p99| format!("   p99 {}", unit.show(p99.median)))
            .unwrap_or_default();
        writeln!(text, "  {name:<24}{median:>10}   {min} – {max}{p99}")?;
    }
    Ok(())
}

impl WithWork {
    /// What of a row's result is shown where nothing hangs on it.
    #[must_use]
    pub fn of(row: RowResult) -> Self {
        Self {
            contenders: row.contenders,
            ratio_to_best_peer: row.ratio_to_best_peer,
            best_peer: row.best_peer,
            faults: row.faults,
        }
    }
}

impl ScenarioResult {
    /// The worst row counts; each of the others is a condition, and so are its conditions.
    ///
    /// # Panics
    /// When there is no row.
    #[must_use]
    pub fn of(name: &'static str, unit: Unit, mut rows: Vec<RowResult>) -> Self {
        rows.sort_by(|a, b| a.reach().total_cmp(&b.reach()));
        let mut others = rows.into_iter();
        let mut row = others.next().expect("a scenario has a row");
        let variants: Vec<RowResult> = others.collect();
        for other in &variants {
            let own = ConditionResult::new(other.variant, other.ratio_to_best_peer, other.target);
            row.conditions.push(own);
            let named = |it: &ConditionResult| ConditionResult {
                name: format!("{}: {}", other.variant, it.name),
                ..it.clone()
            };
            row.conditions.extend(other.conditions.iter().map(named));
        }
        row.met &= variants.iter().all(|other| other.met);
        Self {
            name,
            unit: unit.name(),
            row,
            variants,
            show: Some(unit),
        }
    }

    /// What was wrong in any of its rows.
    #[must_use]
    pub fn faults(&self) -> Vec<&String> {
        let rows = std::iter::once(&self.row).chain(&self.variants);
        rows.flat_map(RowResult::all_faults).collect()
    }

    /// The line that a run ends with.
    fn line(&self) -> String {
        let said = |met: bool| if met { "met" } else { "not met" };
        // Rounded down: what is shown must not look like a target that it has missed.
        let short = |ratio: f64| (ratio * 100.0).floor() / 100.0;
        let row = &self.row;
        let rival = row.best_peer.map_or_else(
            || "the bare limit".to_owned(),
            |peer| format!("the best peer ({peer})"),
        );
        let mut line = format!(
            "{:<16}{:.2} × {rival}, target {:.2}: {}",
            self.name,
            short(row.ratio_to_best_peer),
            row.target,
            said(row.met)
        );
        for condition in &row.conditions {
            let ConditionResult {
                name,
                ratio,
                target,
                met,
            } = condition;
            let ratio = short(*ratio);
            let part = format!("; {name} {ratio:.2} of {target:.2}, {}", said(*met));
            line.push_str(&part);
        }
        line
    }
}

impl Results {
    /// Whether every contender delivered every event once and in order.
    #[must_use]
    pub fn verified(&self) -> bool {
        self.scenarios.iter().all(|it| it.faults().is_empty())
    }

    /// The figures for people; the last lines are the ratios, one a scenario.
    ///
    /// # Panics
    /// Never: a string takes whatever is written to it.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        for scenario in &self.scenarios {
            let unit = scenario.show.unwrap_or(Unit::EventsPerSecond);
            for row in std::iter::once(&scenario.row).chain(&scenario.variants) {
                row.describe(scenario.name, unit, &mut text)
                    .expect("a string takes what is written to it");
            }
        }
        for scenario in &self.scenarios {
            text.push_str(&scenario.line());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contest::{Sample, Task};

    fn contender(name: &'static str) -> Contender {
        fn run(_: Task) -> Result<Sample, ringway::Error> {
            unreachable!("judging runs nobody")
        }
        Contender { name, run }
    }

    fn figures(rounds: &[f64]) -> Figures {
        let p99 = rounds.iter().map(|figure| figure * 2.0).collect();
        Figures {
            spread: Spread::of(rounds.to_vec()).expect("rounds"),
            p99: Spread::of(p99),
        }
    }

    fn measured(all: &[(&'static str, [f64; 3])]) -> Measured {
        Measured {
            figures: all
                .iter()
                .map(|(name, rounds)| (*name, figures(rounds)))
                .collect(),
            faults: Vec::new(),
        }
    }

    fn row(target: f64, conditions: Vec<Condition>) -> Row {
        Row {
            variant: "",
            ours: contender("ours"),
            peers: vec![contender("slow"), contender("fast")],
            others: vec![contender("bare")],
            limit: Some("bare"),
            target,
            conditions,
        }
    }

    const OURS: (&str, [f64; 3]) = ("ours", [10.0, 40.0, 20.0]);
    const BARE: (&str, [f64; 3]) = ("bare", [5.0; 3]);

    #[test]
    fn a_ratio_is_taken_within_rounds_against_the_best_median() {
        let all = measured(&[
            OURS,
            BARE,
            ("slow", [1.0, 1.0, 99.0]),
            ("fast", [5.0, 10.0, 20.0]),
        ]);
        let result = row(1.5, vec![]).judge(Unit::EventsPerSecond, all);
        assert_eq!(result.best_peer, Some("fast"));
        assert_eq!(result.ratio_to_best_peer, 2.0, "the median of 2, 4 and 1");
        assert!(result.met);
        assert_eq!(result.limit, Some(5.0));
        let limit_is_no_contender = !result.contenders.contains_key("bare");
        assert!(limit_is_no_contender);
    }

    #[test]
    fn less_is_better_where_time_is_measured() {
        let all = measured(&[OURS, BARE, ("slow", [90.0; 3]), ("fast", [20.0; 3])]);
        let result = row(1.1, vec![]).judge(Unit::MedianNanoseconds, all);
        assert_eq!(result.best_peer, Some("fast"));
        assert_eq!(result.ratio_to_best_peer, 1.0, "the median of 2, 0.5 and 1");
        assert!(!result.met, "1.1 is asked for");
    }

    #[test]
    fn where_no_peer_takes_part_the_limit_is_the_rival() {
        let alone = Row {
            peers: vec![],
            ..row(4.0, vec![])
        };
        let result = alone.judge(Unit::EventsPerSecond, measured(&[OURS, BARE]));
        assert_eq!((result.ratio_to_best_peer, result.best_peer), (4.0, None));
        assert!(result.met);
    }

    #[test]
    fn a_row_is_met_only_with_all_its_conditions() {
        let condition = |name, which, versus, target| Condition {
            name,
            which,
            whose: "ours",
            versus,
            target,
        };
        let conditions = vec![
            condition("limit", Which::Main, Versus::Named("bare"), 0.2),
            condition("tail", Which::P99, Versus::BestPeer, 1.5),
        ];
        let all = measured(&[OURS, BARE, ("slow", [90.0; 3]), ("fast", [20.0; 3])]);
        let result = row(1.0, conditions).judge(Unit::MedianNanoseconds, all);
        assert_eq!(
            result.conditions,
            [
                ConditionResult::new("limit", 0.25, 0.2),
                ConditionResult::new("tail", 1.0, 1.5)
            ]
        );
        let met: Vec<bool> = result.conditions.iter().map(|it| it.met).collect();
        assert_eq!(met, [true, false]);
        assert!(!result.met, "the ratio is, the tail is not");
    }

    #[test]
    fn a_condition_may_be_about_another_mode_of_ours() {
        let conditions = vec![Condition {
            name: "parking allowed",
            which: Which::Main,
            whose: "parks",
            versus: Versus::Named("ours"),
            target: 0.95,
        }];
        let all = measured(&[
            OURS,
            BARE,
            ("slow", [1.0; 3]),
            ("fast", [1.0; 3]),
            ("parks", [9.0, 38.0, 20.0]),
        ]);
        let result = row(1.0, conditions).judge(Unit::EventsPerSecond, all);
        assert_eq!(result.conditions[0].ratio, 0.95, "of 0.9, 0.95 and 1");
        assert!(result.met);
    }

    fn scenario(ratios: [(&'static str, f64); 3]) -> ScenarioResult {
        let judged = |(variant, figure): (&'static str, f64)| {
            let row = Row {
                variant,
                ..row(2.0, vec![])
            };
            let ours = ("ours", [figure; 3]);
            let all = measured(&[ours, BARE, ("slow", [1.0; 3]), ("fast", [1.0; 3])]);
            row.judge(Unit::EventsPerSecond, all)
        };
        ScenarioResult::of(
            "scenario",
            Unit::EventsPerSecond,
            ratios.map(judged).to_vec(),
        )
    }

    #[test]
    fn the_worst_row_counts_and_the_others_are_conditions() {
        let result = scenario([("4", 3.0), ("8", 1.0), ("16", 2.0)]);
        assert_eq!(result.row.variant, "8");
        assert_eq!(result.row.ratio_to_best_peer, 1.0);
        let [sixteen, four] = &result.row.conditions[..] else {
            panic!("two other rows");
        };
        assert_eq!((sixteen.name.as_str(), sixteen.met), ("16", true));
        assert_eq!((four.name.as_str(), four.met), ("4", true));
        assert!(!result.row.met);
        assert!(scenario([("4", 3.0), ("8", 2.0), ("16", 2.5)]).row.met);
    }

    #[test]
    fn the_json_has_the_promised_shape_and_the_last_line_is_the_ratio() {
        let conditions = vec![Condition {
            name: "limit",
            which: Which::Main,
            whose: "ours",
            versus: Versus::Named("bare"),
            target: 0.9,
        }];
        let all = measured(&[OURS, BARE, ("slow", [1.0; 3]), ("fast", [5.0, 10.0, 20.0])]);
        let row = row(2.5, conditions).judge(Unit::EventsPerSecond, all);
        let results = Results {
            machine: Machine::detect(),
            scenarios: vec![ScenarioResult::of("spsc", Unit::EventsPerSecond, vec![row])],
        };
        let json = serde_json::to_value(&results).expect("plain data");
        let scenario = &json["scenarios"][0];
        assert_eq!(
            (&scenario["name"], &scenario["unit"]),
            (&"spsc".into(), &"events/s".into())
        );
        let rounds = scenario["contenders"]["ours"]["rounds"].as_array();
        assert_eq!(rounds.map(Vec::len), Some(3));
        assert_eq!(scenario["limit"], 5.0);
        assert_eq!(scenario["ratio_to_best_peer"], 2.0);
        assert_eq!(scenario["target"], 2.5);
        assert_eq!(scenario["met"], false);
        assert_eq!(
            scenario["conditions"][0],
            serde_json::json!({"name": "limit", "ratio": 4.0, "target": 0.9, "met": true})
        );
        let last = "2.00 × the best peer (fast), target 2.50: not met; limit 4.00 of 0.90, met";
        assert!(results.table().trim_end().ends_with(last));
        assert!(results.verified());
    }

    #[test]
    fn a_fault_is_said_loudly() {
        let mut all = measured(&[OURS, BARE, ("slow", [1.0; 3]), ("fast", [1.0; 3])]);
        all.faults.push("fast: lost".to_owned());
        let row = row(1.0, vec![]).judge(Unit::EventsPerSecond, all);
        let results = Results {
            machine: Machine::detect(),
            scenarios: vec![ScenarioResult::of("spsc", Unit::EventsPerSecond, vec![row])],
        };
        assert!(!results.verified());
        assert!(results.table().contains("FAILED ITS CHECK: fast: lost"));
    }
}
