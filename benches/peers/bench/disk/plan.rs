//! A contest of contenders some of whom the system may refuse.

use crate::{Answer, ROUND_TIME};
use ringway_harness::contest::{
    Condition, Contender, Row, Sample, Scenario, Task, Unit, Versus, Which,
};
use rustix::io::Errno;
use serde::Serialize;
use std::fmt;
use std::io;

/// What a contender does.
pub(crate) trait Work {
    /// One run, its check included.
    fn run(task: Task) -> Answer<Sample>;
}

/// A contender, and how to ask the system whether it lets it.
pub(crate) struct Entry {
    contender: Contender,
    attempt: fn(Task) -> Answer<Sample>,
}

pub(crate) fn entry<W: Work>(name: &'static str) -> Entry {
    let run = checked::<W>;
    Entry {
        contender: Contender { name, run },
        attempt: W::run,
    }
}

/// What went wrong is a fault of its run, which ends no other's.
fn checked<W: Work>(task: Task) -> Result<Sample, ringway::Error> {
    Ok(W::run(task).unwrap_or_else(|fault| Sample::timed(1, ROUND_TIME, vec![fault.to_string()])))
}

/// Who is to take part.
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    /// What the journal does.
    pub(crate) ours: Entry,
    pub(crate) peers: Vec<Entry>,
    /// How far ahead of each of the others the choice must be to stand without another reason.
    pub(crate) target: f64,
}

impl Plan {
    /// The same, but for the time of each piece of work.
    pub(crate) fn times(self) -> Self {
        Self {
            unit: Unit::MedianNanoseconds,
            ..self
        }
    }

    /// Without those that the system refuses, who are added to `refused`.
    pub(crate) fn contest(self, refused: &mut Vec<Refusal>) -> Scenario {
        let mut peers = Vec::new();
        for Entry { contender, attempt } in self.peers {
            let task = Task {
                events: 1,
                work: false,
            };
            match attempt(task).err().and_then(|fault| reason(&*fault)) {
                None => peers.push(contender),
                Some(reason) => refused.push(Refusal {
                    scenario: self.name,
                    contender: contender.name,
                    reason,
                }),
            }
        }
        let against = |peer: &Contender| Condition {
            name: peer.name,
            which: Which::Main,
            whose: self.ours.contender.name,
            versus: Versus::Named(peer.name),
            target: self.target,
        };
        Scenario {
            name: self.name,
            unit: self.unit,
            work: false,
            rows: vec![Row {
                variant: "",
                ours: self.ours.contender,
                conditions: peers.iter().map(against).collect(),
                peers,
                others: Vec::new(),
                limit: None,
                target: self.target,
            }],
        }
    }
}

/// A contender that does not take part.
#[derive(Debug, Serialize)]
pub(crate) struct Refusal {
    scenario: &'static str,
    contender: &'static str,
    reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scenario,
            contender,
            reason,
        } = self;
        write!(f, "{scenario}: {contender} is refused here: {reason}")
    }
}

/// Why the system refuses it: a call that it does not have, forbids, or does not allow on this file. Other faults are faults.
fn reason(fault: &(dyn std::error::Error + 'static)) -> Option<String> {
    const REFUSALS: [Errno; 6] = [
        Errno::INVAL,
        Errno::NOMEM, // of memory that may be locked
        Errno::NOSYS,
        Errno::OPNOTSUPP,
        Errno::PERM,
        Errno::NODEV, // no file to be mapped
    ];
    let error: &io::Error = fault.downcast_ref()?;
    let known = Errno::from_io_error(error).is_some_and(|errno| REFUSALS.contains(&errno));
    (known || error.kind() == io::ErrorKind::Unsupported).then(|| error.to_string())
}
