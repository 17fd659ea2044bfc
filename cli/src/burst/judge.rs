//! What the notes of both ends say: whether every event is accounted for, and how long everybody waited.

use super::ends::{Fed, Got, NEVER};
use super::load::{DRAIN_NS, Load};
use ringway::Latency;

/// Which accepted events the reader may have missed, by what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missed {
    /// None.
    Nothing,
    /// So many, anywhere.
    Counted(u64),
    /// Exactly those below: it was not there yet.
    Below(u64),
    /// Everything from some event on: at least so many.
    Tail(u64),
}

/// One run of one policy under one load, or the sum of several.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Accepted events.
    pub published: u64,
    /// Of those, the ones that the reader had.
    pub delivered: u64,
    /// Of those, the ones that it was told it had missed.
    pub skipped: u64,
    /// Events that were offered and not accepted.
    pub refused: u64,
    /// From when an event was due to the end of the call that offered it.
    pub producer: Latency,
    /// From when an event was due to when the reader had it.
    pub lateness: Latency,
    /// From when the last event of a burst was due to when the reader was through with it.
    pub drain: Latency,
    /// The most accepted events that the reader had not yet.
    pub waiting_max: u64,
    /// What was wrong.
    pub faults: Vec<String>,
}

impl Tally {
    /// Adds another run.
    pub(super) fn add(&mut self, other: Self) {
        self.published += other.published;
        self.delivered += other.delivered;
        self.skipped += other.skipped;
        self.refused += other.refused;
        self.producer.merge(&other.producer);
        self.lateness.merge(&other.lateness);
        self.drain.merge(&other.drain);
        self.waiting_max = self.waiting_max.max(other.waiting_max);
        self.faults.extend(other.faults);
    }

    /// Whether everything was right.
    #[must_use]
    pub fn verified(&self) -> bool {
        self.faults.is_empty()
    }
}

pub(super) fn judge(load: &Load, fed: &Fed, got: &Got, missed: Missed) -> Tally {
    let count = |accepted: bool| fed.accepted.iter().filter(|it| **it == accepted).count() as u64;
    let (published, refused) = (count(true), count(false));
    let faults = [
        fed.fault.clone(),
        got.fault.clone(),
        completeness(load, fed, got).err(),
        misses(fed, got, missed).err(),
    ];
    let mut tally = Tally {
        published,
        refused,
        delivered: got.delivered,
        skipped: published.saturating_sub(got.delivered),
        waiting_max: waiting_max(fed, got),
        faults: faults.into_iter().flatten().collect(),
        ..Tally::default()
    };
    for (start, end) in load.starts.iter().zip(&fed.ends) {
        tally.producer.record_ns(end.saturating_sub(*start));
    }
    for (start, taken) in load.starts.iter().zip(&got.taken) {
        if *taken != NEVER {
            tally.lateness.record_ns(taken.saturating_sub(*start));
        }
    }
    for burst in &load.bursts {
        let taken = (got.taken[burst.clone()].iter()).filter(|taken| **taken != NEVER);
        if let Some(last) = taken.max() {
            let due = load.starts[burst.end - 1];
            tally.drain.record_ns((last + DRAIN_NS).saturating_sub(due));
        }
    }
    tally
}

/// Every event was offered once, and what was refused did not come.
fn completeness(load: &Load, fed: &Fed, got: &Got) -> Result<(), String> {
    if fed.accepted.len() != load.events() {
        return Err(format!(
            "{} of {} events were offered",
            fed.accepted.len(),
            load.events()
        ));
    }
    let came = got.taken.iter().map(|taken| *taken != NEVER);
    let noted = came.clone().filter(|came| *came).count() as u64;
    if noted != got.delivered {
        return Err(format!(
            "{} deliveries of {noted} different events",
            got.delivered
        ));
    }
    match (came.zip(&fed.accepted)).position(|(came, accepted)| came && !accepted) {
        Some(event) => Err(format!("event {event} was refused, and came")),
        None => Ok(()),
    }
}

/// What is missing is what the reader was told it had missed.
fn misses(fed: &Fed, got: &Got, missed: Missed) -> Result<(), String> {
    // numbered as the ring does: accepted events only
    let came: Vec<bool> = (fed.accepted.iter().zip(&got.taken))
        .filter_map(|(accepted, taken)| accepted.then_some(*taken != NEVER))
        .collect();
    let missing = came.iter().filter(|came| !**came).count() as u64;
    let first = came.iter().position(|came| *came).unwrap_or(came.len()) as u64;
    let after = came
        .iter()
        .rposition(|came| *came)
        .map_or(0, |last| last + 1) as u64;
    let right = match missed {
        Missed::Nothing => missing == 0,
        Missed::Counted(told) => missing == told,
        Missed::Below(told) => missing == told && first == told,
        Missed::Tail(told) => missing >= told && missing == came.len() as u64 - after,
    };
    if right {
        return Ok(());
    }
    Err(format!(
        "{missing} of {} accepted events did not come (the first that came: {first}, behind the last: {after}), and the reader was told: {missed:?}",
        came.len()
    ))
}

/// Events are accepted in order and taken in order: so two marches through the notes find how far apart the ends were.
fn waiting_max(fed: &Fed, got: &Got) -> u64 {
    let mut taken = got.taken.iter().filter(|taken| **taken != NEVER).peekable();
    let (mut accepted_count, mut passed, mut most) = (0_u64, 0_u64, 0);
    let ends = fed.ends.iter().zip(&fed.accepted).zip(&got.taken);
    for ((end, accepted), own) in ends {
        accepted_count += u64::from(*accepted && *own != NEVER);
        while taken.next_if(|taken| *taken <= end).is_some() {
            passed += 1;
        }
        most = most.max(accepted_count.saturating_sub(passed));
    }
    most
}

#[cfg(test)]
mod tests {
    use super::super::load::Shape;
    use super::*;

    /// Four events, all accepted a microsecond after they were due, and taken another one later.
    fn sound() -> (Load, Fed, Got) {
        let load = Load::new(Shape::Bursts(2), 4, 2);
        let fed = Fed {
            ends: load.starts.iter().map(|start| start + 1_000).collect(),
            accepted: vec![true; 4],
            fault: None,
        };
        let got = Got {
            taken: load.starts.iter().map(|start| start + 2_000).collect(),
            delivered: 4,
            fault: None,
        };
        (load, fed, got)
    }

    #[test]
    fn times_count_from_when_an_event_was_due() {
        let (load, fed, got) = sound();
        let tally = judge(&load, &fed, &got, Missed::Nothing);
        assert_eq!(tally.faults, [""; 0]);
        assert_eq!((tally.published, tally.delivered), (4, 4));
        let max = |latency: &Latency| latency.summary().max;
        assert!((1_000..1_010).contains(&max(&tally.producer)));
        assert!((2_000..2_010).contains(&max(&tally.lateness)));
        assert_eq!(tally.drain.summary().count, 2);
        assert!((6_000..6_050).contains(&max(&tally.drain)));
    }

    #[test]
    fn a_refused_event_that_comes_is_a_fault() {
        let (load, mut fed, mut got) = sound();
        fed.accepted[1] = false;
        assert!(!judge(&load, &fed, &got, Missed::Nothing).verified());
        got.taken[1] = NEVER;
        got.delivered = 3;
        let tally = judge(&load, &fed, &got, Missed::Nothing);
        assert_eq!(tally.faults, [""; 0]);
        assert_eq!((tally.published, tally.refused, tally.skipped), (3, 1, 0));
        assert_eq!(
            tally.drain.summary().count,
            2,
            "the burst's last one that was accepted counts"
        );
    }

    #[test]
    fn what_is_missing_must_be_what_was_told() {
        let (load, fed, got) = sound();
        let without = |events: &[usize], missed| {
            let mut got = Got {
                taken: got.taken.clone(),
                delivered: 4 - events.len() as u64,
                fault: None,
            };
            events.iter().for_each(|event| got.taken[*event] = NEVER);
            judge(&load, &fed, &got, missed).verified()
        };
        assert!(!without(&[2], Missed::Nothing));
        assert!(without(&[2], Missed::Counted(1)) && !without(&[2], Missed::Counted(2)));
        assert!(!without(&[], Missed::Counted(1)));
        assert!(without(&[0, 1], Missed::Below(2)) && !without(&[0, 2], Missed::Below(2)));
        assert!(!without(&[0], Missed::Below(2)) && without(&[0, 1, 2, 3], Missed::Below(4)));
        assert!(without(&[2, 3], Missed::Tail(1)) && !without(&[1, 3], Missed::Tail(1)));
        assert!(!without(&[3], Missed::Tail(2)) && without(&[], Missed::Tail(0)));
    }

    #[test]
    fn a_delivery_too_many_is_a_fault() {
        let (load, fed, mut got) = sound();
        got.delivered = 5;
        assert!(!judge(&load, &fed, &got, Missed::Nothing).verified());
    }

    #[test]
    fn a_producer_that_gave_up_is_a_fault() {
        let (load, mut fed, got) = sound();
        fed.accepted.pop();
        assert!(!judge(&load, &fed, &got, Missed::Nothing).verified());
    }

    #[test]
    fn the_most_that_waited_is_found() {
        let (load, mut fed, mut got) = sound();
        fed.ends = vec![1, 2, 3, 100];
        got.taken = vec![10, 20, 30, 110];
        assert_eq!(waiting_max(&fed, &got), 3);
        got.taken = vec![1, 2, 3, 100];
        assert_eq!(waiting_max(&fed, &got), 0);
        assert_eq!(load.events(), 4);
    }
}
