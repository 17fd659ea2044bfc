//! The part of the waiting protocol that loom cannot model: a barrier that one thread puts into all others. A model of
//! `wait::signal` in itself, explored to the end: every interleaving of a publisher whose stores wait in a buffer (as on x86), of
//! sleepers, and of threads that calm the word. Each rule left out loses a wake-up, or leaves the word fenced for ever.

use std::collections::HashSet;

const ARMED: u8 = 1;
const FENCED: u8 = 2;
const SETTLED: u8 = 4;
const FOR_GOOD: u8 = 8;

/// A rule that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    None,
    NoBarrier,
    /// Whoever put a barrier settles the word, not only who made it fenced.
    AnyoneSettles,
    /// A word is calmed before it is settled.
    CalmsUnsettled,
    /// A sleeper that is refused the barrier settles the word as if it had been put.
    SettlesRefused,
    /// A word is calmed though the barrier was refused.
    CalmsRefused,
    /// A sleeper that could not register marks the word as if it had, and goes on to look again.
    ArmsUnregistered,
}

/// What may come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// A sleeper is never woken.
    Asleep,
    /// Nobody sleeps any more, and the word is fenced; it will never be settled, so nobody may calm it.
    FencedForEver,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Publisher {
    step: u8,
    event: u8,
    /// Stored, and seen by nobody yet: the last and the one before.
    buffer: [u8; 2],
    entry: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Sleeper {
    step: u8,
    before: u8,
    registered: bool,
    woken: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    word: u8,
    published: u8,
    publisher: Publisher,
    sleepers: Vec<Sleeper>,
    /// Step, and the word as it was.
    calmers: Vec<(u8, u8)>,
    system: System,
}

/// How the system treats those who want a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum System {
    Grants,
    /// From now on, for ever.
    Refuses,
    /// Somebody knows: the grace runs.
    Refused,
    /// Whatever was stored before the grace is seen by all.
    GraceIsOver,
}

impl State {
    /// The oldest stores become visible.
    fn drain(&mut self, all: bool) {
        let [last, before] = &mut self.publisher.buffer;
        if all || *before == 0 {
            self.published = self.published.max(*last).max(*before);
            (*last, *before) = (0, 0);
        } else {
            self.published = std::mem::take(before);
        }
    }

    fn publish(&mut self) {
        let waiting = self.publisher.buffer != [0, 0];
        let publisher = &mut self.publisher;
        let next = |publisher: &mut Publisher| {
            (publisher.step, publisher.event) = (0, publisher.event + 1)
        };
        match publisher.step {
            0 => (publisher.buffer, publisher.step) = ([publisher.event, publisher.buffer[0]], 1),
            1 if self.word & (ARMED | FENCED) != 0 => publisher.step = 2,
            2 if !waiting => publisher.step = 3,
            3 if self.word & ARMED != 0 => publisher.step = 4,
            4 if !waiting && self.word & ARMED != 0 => {
                self.word &= !ARMED;
                (publisher.step, publisher.entry) = (5, 0);
            }
            5 => match self.sleepers.get_mut(usize::from(publisher.entry)) {
                Some(sleeper) => {
                    sleeper.woken |= std::mem::take(&mut sleeper.registered);
                    publisher.entry += 1;
                }
                None => next(publisher),
            },
            1 | 3 => next(publisher),
            4 if !waiting => next(publisher),
            _ => {}
        }
    }

    fn sleep(&mut self, index: usize, events: u8, broken: Broken) {
        let mut sleeper = self.sleepers[index];
        let done = |state: &Self| state.published >= events;
        sleeper.step = match sleeper.step {
            0 | 5 if done(self) => 9,
            0 => {
                sleeper.woken = false;
                1
            }
            1 => {
                sleeper.registered = true;
                2
            }
            2 => {
                sleeper.before = self.word;
                self.word |= ARMED | FENCED;
                3
            }
            3 if sleeper.before & SETTLED != 0 => 5,
            3 if self.system == System::GraceIsOver => 4,
            3 if self.system != System::Grants && broken == Broken::SettlesRefused => 4,
            3 if self.system != System::Grants => 7,
            3 => {
                if broken != Broken::NoBarrier {
                    self.drain(true);
                }
                let settles = sleeper.before & FENCED == 0 || broken == Broken::AnyoneSettles;
                if settles { 4 } else { 5 }
            }
            4 => {
                self.word |= SETTLED;
                5
            }
            5 => 6,
            6 if sleeper.woken => 0,
            7 => {
                self.word |= FENCED | FOR_GOOD;
                8
            }
            8 => {
                if self.system == System::Refuses {
                    self.system = System::Refused;
                }
                // a nap, after which it looks by itself
                sleeper.registered = false;
                0
            }
            step => step,
        };
        self.sleepers[index] = sleeper;
    }

    /// Instead of registering: a waker is at work in the entry. Looks again.
    fn fail_to_register(&mut self, index: usize, broken: Broken) {
        let sleeper = &mut self.sleepers[index];
        if sleeper.step == 1 {
            sleeper.step = 0;
            if broken == Broken::ArmsUnregistered {
                self.word |= ARMED | FENCED;
            }
        }
    }

    /// What is wrong where nobody can move any more.
    fn judge(&self) -> Option<Wrong> {
        if self.sleepers.iter().any(|sleeper| sleeper.step == 6) {
            return Some(Wrong::Asleep);
        }
        (self.word & (FENCED | SETTLED | FOR_GOOD) == FENCED).then_some(Wrong::FencedForEver)
    }

    fn calm(&mut self, index: usize, broken: Broken) {
        let (step, seen) = self.calmers[index];
        let may = self.word & ARMED == 0
            && (self.word & FOR_GOOD == 0 || broken == Broken::CalmsRefused)
            && (self.word & SETTLED != 0 || broken == Broken::CalmsUnsettled);
        self.calmers[index] = match step {
            0 => (if may { 1 } else { 9 }, self.word),
            1 => {
                if self.word == seen {
                    self.word &= !(FENCED | SETTLED | FOR_GOOD);
                }
                (9, 0)
            }
            _ => (step, seen),
        };
    }
}

/// What some interleaving ends in. `refuses`: the system may begin to refuse barriers at any moment.
fn goes_wrong(
    (sleepers, calmers, events): (usize, usize, u8),
    refuses: bool,
    broken: Broken,
) -> Option<Wrong> {
    let start = State {
        word: 0,
        published: 0,
        publisher: Publisher {
            event: 1,
            ..Publisher::default()
        },
        sleepers: vec![Sleeper::default(); sleepers],
        calmers: vec![(0, 0); calmers],
        system: System::Grants,
    };
    let (mut seen, mut todo) = (HashSet::from([start.clone()]), vec![start]);
    while let Some(state) = todo.pop() {
        let mut moved = false;
        let mut go = |act: &dyn Fn(&mut State)| {
            let mut next = state.clone();
            act(&mut next);
            if next != state {
                moved = true;
                if seen.insert(next.clone()) {
                    todo.push(next);
                }
            }
        };
        go(&|state| state.drain(false));
        match state.system {
            System::Grants if refuses => go(&|state| state.system = System::Refuses),
            System::Refused => go(&|state| {
                state.drain(true);
                state.system = System::GraceIsOver;
            }),
            _ => {}
        }
        if state.publisher.event <= events {
            go(&State::publish);
        }
        (0..sleepers).for_each(|index| go(&|state| state.sleep(index, events, broken)));
        (0..sleepers).for_each(|index| go(&|state| state.fail_to_register(index, broken)));
        (0..calmers).for_each(|index| go(&|state| state.calm(index, broken)));
        if !moved && let Some(wrong) = state.judge() {
            return Some(wrong);
        }
    }
    None
}

// how many sleepers, calmers and events

#[test]
fn no_wake_up_is_lost_and_a_quiet_word_can_be_calmed() {
    for sizes in [(1, 0, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2), (3, 1, 1)] {
        assert_eq!(goes_wrong(sizes, false, Broken::None), None);
    }
}

#[test]
fn no_wake_up_is_lost_where_the_system_begins_to_refuse() {
    for sizes in [(1, 0, 1), (1, 1, 2), (2, 1, 1)] {
        assert_eq!(goes_wrong(sizes, true, Broken::None), None);
    }
}

#[test]
fn each_rule_is_needed() {
    for (broken, refuses, wrong) in [
        (Broken::NoBarrier, false, Wrong::Asleep),
        (Broken::AnyoneSettles, false, Wrong::Asleep),
        (Broken::CalmsUnsettled, false, Wrong::Asleep),
        (Broken::SettlesRefused, true, Wrong::Asleep),
        (Broken::CalmsRefused, true, Wrong::Asleep),
        (Broken::ArmsUnregistered, false, Wrong::FencedForEver),
    ] {
        let found = goes_wrong((2, 2, 2), refuses, broken);
        assert_eq!(found, Some(wrong), "{broken:?}");
    }
}
