//! What the watchdog makes of what it sees. Pure: positions and a time in, a verdict out.
//!
//! **The level** goes up at one mark and down at a lower one, so that a ring about as full as a mark does not flicker.
//!
//! **Who holds the ring back.** Producers wait for the stage that is furthest behind, but that one may only be waiting for a stage before it. So
//! the events between it and the producers are divided along the way that they have to go: each stage on it has a *backlog*, what the
//! stages before it have passed and it has not. The one with the greatest is named; of several the one nearest to the producers. A
//! stage that has nothing to do never is, however far behind the producers it stands.
//!
//! **Who is stalled.** A stage that had a backlog at each of many looks and passed nothing between them. One with nothing to do
//! starts anew: otherwise the first event after a quiet hour would find it stalled for an hour.

use crate::config::Pressure;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How full the ring is, by the marks of [`Pressure`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PressureLevel {
    /// Not full enough to worry.
    #[default]
    Low,
    /// It has been full to [`high_percent`](Pressure::high_percent), and not down to [`low_percent`](Pressure::low_percent) since.
    High,
}

/// A stage as it stood at one look. Positions are the ring's.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// No two that live have the same.
    pub(crate) name: Arc<str>,
    /// Where in the list those stand that it comes after. None: after the producers.
    pub(crate) after: Arc<[usize]>,
    /// Everything below has passed it, as far as producers are concerned.
    pub(crate) position: u64,
    /// And as far as stages after it are: a journal's may have to wait for the device.
    pub(crate) shown: u64,
    pub(crate) ended: bool,
}

/// What was found at one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) level: PressureLevel,
    /// How many positions are between the producers and the stage furthest behind.
    pub(crate) used: u64,
    pub(crate) culprit: Option<Culprit>,
}

/// Who holds the ring back, or would soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Culprit {
    /// In the list.
    pub(crate) stage: usize,
    pub(crate) stalled: bool,
    /// How long it has passed nothing though it could.
    pub(crate) still: Duration,
}

pub(crate) struct Judge {
    marks: Pressure,
    capacity: u64,
    level: PressureLevel,
    /// Where each stage stood, and since when it has stood there with something to do.
    stood: HashMap<Arc<str>, (u64, Duration)>,
}

impl Judge {
    pub(crate) fn new(marks: Pressure, capacity: u64) -> Self {
        Self {
            marks,
            capacity,
            level: PressureLevel::Low,
            stood: HashMap::new(),
        }
    }

    /// `head`: where producers are; `now`: the time, counted from an origin that stays. Stages come after such as stand before them in the list.
    pub(crate) fn look(&mut self, head: u64, stages: &[Standing], now: Duration) -> Verdict {
        let still = self.still(head, stages, now);
        let last = living(stages).min_by_key(|&stage| stages[stage].position);
        let used = last.map_or(0, |stage| head.saturating_sub(stages[stage].position));
        self.level = self.next_level(used);
        let is_stalled =
            |stage: usize| still[stage].is_some_and(|it| it >= self.marks.stalled_after);
        let stalled = living(stages)
            .filter(|&stage| is_stalled(stage))
            .min_by_key(|&stage| stages[stage].position);
        let behind = || last.and_then(|last| most_behind(head, stages, last));
        let culprit = stalled.or_else(behind).map(|stage| Culprit {
            stage,
            stalled: stalled.is_some(),
            still: still[stage].unwrap_or_default(),
        });
        Verdict {
            level: self.level,
            used,
            culprit,
        }
    }

    fn next_level(&self, used: u64) -> PressureLevel {
        let percent = |part: u32| u128::from(self.capacity) * u128::from(part);
        let used = u128::from(used) * 100;
        if used >= percent(self.marks.high_percent) {
            PressureLevel::High
        } else if used > percent(self.marks.low_percent) {
            self.level
        } else {
            PressureLevel::Low
        }
    }

    /// How long each has stood still; `None`: it has ended, or nothing to do.
    fn still(&mut self, head: u64, stages: &[Standing], now: Duration) -> Vec<Option<Duration>> {
        let mut stood = HashMap::with_capacity(stages.len());
        let mut since = |stage: &Standing| {
            if stage.ended || limit(head, stages, stage) <= stage.position {
                return None;
            }
            let since = match self.stood.get(&stage.name) {
                Some(&(position, since)) if position == stage.position => since,
                _ => now,
            };
            stood.insert(stage.name.clone(), (stage.position, since));
            Some(now.saturating_sub(since))
        };
        let still = stages.iter().map(&mut since).collect();
        self.stood = stood;
        still
    }
}

fn living(stages: &[Standing]) -> impl Iterator<Item = usize> {
    (0..stages.len()).filter(|&stage| !stages[stage].ended)
}

/// How far a stage may go.
fn limit(head: u64, stages: &[Standing], stage: &Standing) -> u64 {
    let before = stage.after.iter().map(|&before| stages[before].shown);
    before.min().unwrap_or(head)
}

/// The stage with the greatest backlog on the way from the producers to `last`, if any has one.
fn most_behind(head: u64, stages: &[Standing], last: usize) -> Option<usize> {
    let backlog = |stage: &Standing| limit(head, stages, stage).saturating_sub(stage.shown);
    let least_before = |&stage: &usize| {
        let before = stages[stage].after.iter().copied();
        before
            .min_by_key(|&before| stages[before].shown)
            .filter(|&before| !stages[before].ended) // nothing more comes from there: nobody waits for it
    };
    std::iter::successors(Some(last), least_before)
        .filter(|&stage| backlog(&stages[stage]) > 0)
        .max_by_key(|&stage| backlog(&stages[stage])) // the last of several, and so the nearest to the producers
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn marks() -> Pressure {
        Pressure {
            high_percent: 80,
            low_percent: 40,
            stalled_after: SECOND,
        }
    }

    fn judge() -> Judge {
        Judge::new(marks(), 100)
    }

    fn stage(name: &str, after: &[usize], position: u64) -> Standing {
        Standing {
            name: name.into(),
            after: after.into(),
            position,
            shown: position,
            ended: false,
        }
    }

    fn ended(stage: Standing) -> Standing {
        Standing {
            ended: true,
            ..stage
        }
    }

    /// Whom a fresh judge names.
    fn named(head: u64, stages: &[Standing]) -> Option<&str> {
        let culprit = judge().look(head, stages, Duration::ZERO).culprit?;
        assert!(!culprit.stalled);
        Some(&stages[culprit.stage].name)
    }

    #[test]
    fn the_level_goes_up_at_one_mark_and_down_at_another() {
        use PressureLevel::{High, Low};
        let mut judge = judge();
        for (used, level) in [
            (0, Low),
            (79, Low),
            (80, High),
            (100, High),
            (79, High),
            (41, High),
            (40, Low),
            (41, Low),
            (79, Low),
            (81, High),
            (0, Low),
        ] {
            let found = judge.look(1000, &[stage("a", &[], 1000 - used)], SECOND);
            assert_eq!((found.level, found.used), (level, used));
        }
        let mut narrow = Judge::new(
            Pressure {
                high_percent: 100,
                low_percent: 0,
                ..marks()
            },
            3,
        );
        let levels = [2, 3, 1, 0, 2].map(|used| {
            let stages = [stage("a", &[], 3 - used)];
            narrow.look(3, &stages, SECOND).level
        });
        assert_eq!(levels, [Low, High, High, Low, Low]);
    }

    #[test]
    fn how_full_it_is_the_stage_furthest_behind_says_if_it_lives() {
        let used = |stages: &[Standing]| judge().look(100, stages, SECOND).used;
        assert_eq!(used(&[stage("a", &[], 70), stage("b", &[], 20)]), 80);
        assert_eq!(used(&[stage("a", &[], 70), ended(stage("b", &[], 20))]), 30);
        assert_eq!(used(&[ended(stage("a", &[], 70))]), 0);
        assert_eq!(used(&[]), 0);
        // a position that was read later than the head may be above it
        assert_eq!(used(&[stage("a", &[], 101)]), 0);
    }

    #[test]
    fn in_a_chain_the_one_is_named_that_has_something_to_do() {
        let chain = |a, b, c| [stage("a", &[], a), stage("b", &[0], b), stage("c", &[1], c)];
        assert_eq!(named(100, &chain(100, 100, 100)), None);
        assert_eq!(named(100, &chain(10, 10, 10)), Some("a"));
        assert_eq!(named(100, &chain(99, 10, 10)), Some("b"));
        assert_eq!(named(100, &chain(99, 98, 10)), Some("c"));
        // those that follow are always a little behind
        assert_eq!(named(100, &chain(10, 8, 5)), Some("a"));
        assert_eq!(named(100, &chain(97, 10, 8)), Some("b"));
        assert_eq!(named(100, &chain(60, 20, 20)), Some("a"), "of two alike");
    }

    #[test]
    fn in_a_diamond_the_slower_arm_is_named_or_what_comes_before_both() {
        let diamond = |top, left, right, bottom| {
            [
                stage("top", &[], top),
                stage("left", &[0], left),
                stage("right", &[0], right),
                stage("bottom", &[1, 2], bottom),
            ]
        };
        assert_eq!(named(100, &diamond(100, 99, 20, 20)), Some("right"));
        assert_eq!(named(100, &diamond(100, 20, 99, 19)), Some("left"));
        assert_eq!(named(100, &diamond(20, 20, 20, 20)), Some("top"));
        // what follows the slower arm is a little behind it, and far behind the other one
        assert_eq!(named(90, &diamond(90, 89, 20, 10)), Some("right"));
        assert_eq!(named(100, &diamond(100, 99, 99, 20)), Some("bottom"));
    }

    #[test]
    fn beside_each_other_the_one_furthest_behind_is_named() {
        let stages = [
            stage("a", &[], 50),
            stage("b", &[], 20),
            stage("after a", &[0], 30),
        ];
        assert_eq!(named(100, &stages), Some("b"));
    }

    #[test]
    fn nobody_waits_for_a_stage_that_has_ended() {
        let stages = [ended(stage("a", &[], 10)), stage("b", &[0], 4)];
        assert_eq!(named(100, &stages), Some("b"));
        let drained = [ended(stage("a", &[], 10)), stage("b", &[0], 10)];
        assert_eq!(named(100, &drained), None);
    }

    #[test]
    fn a_journal_that_waits_for_the_device_is_named_not_who_waits_for_it() {
        let journal = Standing {
            shown: 10,
            ..stage("journal", &[], 100)
        };
        let stages = [journal, stage("balance", &[0], 10)];
        assert_eq!(named(100, &stages), Some("journal"));
        let mut judge = judge();
        for seconds in 0..5 {
            let found = judge.look(100, &stages, SECOND * seconds);
            assert!(!found.culprit.expect("it lags").stalled, "it is written");
        }
    }

    #[test]
    fn stalled_is_who_has_something_to_do_and_does_nothing_for_so_long() {
        let mut judge = judge();
        let mut look = |position, head, millis| {
            let stages = [stage("a", &[], position)];
            let found = judge.look(head, &stages, Duration::from_millis(millis));
            found
                .culprit
                .map(|it| (it.stalled, it.still.as_millis() as u64))
        };
        assert_eq!(look(5, 10, 0), Some((false, 0)));
        assert_eq!(look(5, 10, 999), Some((false, 999)));
        assert_eq!(look(5, 12, 1000), Some((true, 1000)));
        assert_eq!(look(6, 12, 1001), Some((false, 0)), "it has moved");
        assert_eq!(look(6, 12, 2000), Some((false, 999)));
        assert_eq!(look(12, 12, 2500), None, "nothing to do");
        assert_eq!(look(12, 12, 9000), None);
        assert_eq!(look(12, 13, 9001), Some((false, 0)), "not since 2500");
        assert_eq!(look(12, 13, 10_001), Some((true, 1000)));
    }

    #[test]
    fn a_stalled_stage_is_named_before_one_that_is_further_behind_and_moves() {
        let mut judge = judge();
        let mut look = |busy, head, seconds| {
            let stages = [
                stage("busy", &[], busy),
                stage("stuck", &[0], 7),
                stage("waiting", &[1], 7),
                stage("beside", &[], 9),
            ];
            let found = judge.look(head, &stages, SECOND * seconds).culprit;
            let found = found.expect("they lag");
            (stages[found.stage].name.to_string(), found.stalled)
        };
        assert_eq!(look(10, 90, 0), ("busy".into(), false));
        assert_eq!(
            look(20, 99, 1),
            ("stuck".into(), true),
            "and not those after it"
        );
        assert_eq!(look(30, 99, 2), ("stuck".into(), true));
    }

    #[test]
    fn one_that_comes_later_starts_anew_also_under_the_name_of_one_that_has_gone() {
        let mut judge = judge();
        let late = [stage("late", &[], 5)];
        assert!(
            !judge
                .look(9, &late, SECOND)
                .culprit
                .expect("it lags")
                .stalled
        );
        assert_eq!(judge.look(9, &[], SECOND * 3).culprit, None);
        let found = judge.look(9, &late, SECOND * 9).culprit.expect("it lags");
        assert_eq!((found.stalled, found.still), (false, Duration::ZERO));
    }
}
