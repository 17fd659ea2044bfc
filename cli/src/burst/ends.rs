//! The two ends of a run: one offers each event when it is due, the other has a fixed time to spend on each. Neither computes
//! anything meanwhile: they note times, and [`judge`](super::judge) does the rest.

use super::load::{DRAIN_NS, Load};
use crate::payload::Payload;
use std::hint;
use std::sync::OnceLock;
use std::thread;
use std::time::Instant;

/// The time since both ends were there.
#[derive(Debug, Default)]
pub(super) struct Clock(OnceLock<Instant>);

impl Clock {
    /// Nanoseconds; 0 for whoever asks first.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        let since = self.0.get_or_init(Instant::now).elapsed();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// That time for a call with a deadline.
    pub(super) fn at(&self, ns: u64) -> Instant {
        *self.0.get_or_init(Instant::now) + std::time::Duration::from_nanos(ns)
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sent {
    /// It will be delivered; where the number that it got is told, that must be the next.
    Accepted(Option<u64>),
    /// It was not taken.
    Refused,
}

/// The producer's notes, an entry an event.
#[derive(Debug, Default)]
pub(super) struct Fed {
    /// When the call was over.
    pub(super) ends: Vec<u64>,
    pub(super) accepted: Vec<bool>,
    pub(super) fault: Option<String>,
}

/// The reader's notes.
#[derive(Debug)]
pub(super) struct Got {
    /// When it had each event; [`NEVER`] for those that did not come.
    pub(super) taken: Vec<u64>,
    pub(super) delivered: u64,
    pub(super) fault: Option<String>,
}

pub(super) const NEVER: u64 = u64::MAX;

/// What a run has in common for both ends.
#[derive(Debug)]
pub(super) struct Stage<'l> {
    pub(super) load: &'l Load,
    pub(super) clock: Clock,
    /// More threads than cores: whoever passes the time lets others run.
    pub(super) crowded: bool,
}

impl<'l> Stage<'l> {
    pub(super) fn new(load: &'l Load, crowded: bool) -> Self {
        Self {
            load,
            clock: Clock::default(),
            crowded,
        }
    }

    /// Passes the time; returns what it is then.
    #[inline]
    pub(super) fn pass_until(&self, due: u64) -> u64 {
        loop {
            let now = self.clock.now();
            if now >= due {
                return now;
            }
            if self.crowded {
                thread::yield_now();
            } else {
                hint::spin_loop();
            }
        }
    }

    /// Offers each event when it is due, or as soon as the call before it is over: the time that it waited for that counts as its own.
    pub(super) fn feed<const WORDS: usize>(
        &self,
        mut publish: impl FnMut(Payload<WORDS>, u64) -> Result<Sent, String>,
    ) -> Fed {
        let events = self.load.events();
        let mut fed = Fed {
            ends: Vec::with_capacity(events),
            accepted: Vec::with_capacity(events),
            fault: None,
        };
        let (mut now, mut next) = (self.clock.now(), 0);
        for (counter, &due) in self.load.starts.iter().enumerate() {
            if now < due {
                self.pass_until(due);
            }
            let sent = publish(Payload::new(0, counter as u64), due);
            now = self.clock.now();
            let accepted = match sent {
                Ok(Sent::Accepted(sequence)) => {
                    if sequence.is_some_and(|sequence| sequence != next) {
                        let text = format!("event {counter} got number {sequence:?}, not {next}");
                        fed.fault.get_or_insert(text);
                    }
                    next += 1;
                    true
                }
                Ok(Sent::Refused) => false,
                Err(fault) => {
                    fed.fault.get_or_insert(fault);
                    break;
                }
            };
            fed.ends.push(now);
            fed.accepted.push(accepted);
        }
        fed
    }
}

/// The reader: takes events in any rising order, and spends the same time on each.
#[derive(Debug)]
pub(super) struct Reader<'s> {
    stage: &'s Stage<'s>,
    /// The least number that the next event may have.
    least: u64,
    free_at: u64,
    got: Got,
}

impl<'s> Reader<'s> {
    pub(super) fn new(stage: &'s Stage<'s>) -> Self {
        Self {
            stage,
            least: 0,
            free_at: 0,
            got: Got {
                taken: vec![NEVER; stage.load.events()],
                delivered: 0,
                fault: None,
            },
        }
    }

    /// Notes the event, checks it, and spends its time.
    pub(super) fn take<const WORDS: usize>(&mut self, event: &Payload<WORDS>) {
        let (tag, now) = (event.tag(), self.stage.clock.now());
        match self.got.taken.get_mut(tag as usize) {
            Some(taken) if tag >= self.least && event.is_whole() => *taken = now,
            _ => self.fault(format!("event {tag} is torn, twice there or out of order")),
        }
        self.got.delivered += 1;
        self.least = tag.wrapping_add(1);
        // Never idle while an event is due: what the clock, a wake-up or the system takes away from it, it makes up for. So its rate is
        // the same beside any number of threads.
        let due = self.stage.load.starts.get(tag as usize);
        self.free_at = self.free_at.max(due.copied().unwrap_or(now)) + DRAIN_NS;
        self.stage.pass_until(self.free_at);
    }

    pub(super) fn fault(&mut self, text: String) {
        self.got.fault.get_or_insert(text);
    }

    pub(super) fn done(self) -> Got {
        self.got
    }
}
