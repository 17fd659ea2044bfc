//! Events that cannot be torn, mixed up or made up without showing it.

use super::{Random, mix};
use std::panic::resume_unwind;
use std::thread;

/// Which event this is: of which producer, and the how manieth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) producer: u64,
    pub(crate) count: u64,
}

/// An [`Id`], written down many times over: in words on several cache lines, and as text on the heap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Payload {
    words: [u64; 20],
    text: String,
}

impl Payload {
    pub(crate) fn new(id: Id) -> Self {
        let mut payload = Self::default();
        payload.write(id);
        payload
    }

    fn word(id: Id, index: usize) -> u64 {
        mix(id.producer << 48 ^ id.count << 8 ^ index as u64)
    }

    /// Becomes this event, in place.
    pub(crate) fn write(&mut self, id: Id) {
        use std::fmt::Write;
        self.words[0] = id.producer;
        self.words[1] = id.count;
        (2..self.words.len()).for_each(|index| self.words[index] = Self::word(id, index));
        self.text.clear();
        write!(self.text, "{}:{}", id.producer, id.count).expect("a string takes all text");
    }

    /// Becomes what no event is: for slots that are not published.
    pub(crate) fn spoil(&mut self) {
        self.words = [u64::MAX; 20];
        self.text.push('!');
    }

    /// Which event it is, if all of it is of one event.
    pub(crate) fn read(&self) -> Id {
        let id = Id {
            producer: self.words[0],
            count: self.words[1],
        };
        let whole = (2..self.words.len()).all(|index| self.words[index] == Self::word(id, index));
        assert!(
            whole && self.text == format!("{}:{}", id.producer, id.count),
            "torn: {self:?}"
        );
        id
    }

    /// The same, where it must stay what it is while others run.
    pub(crate) fn watch(&self, random: &mut Random) -> Id {
        let id = self.read();
        if random.once_in(3) {
            thread::yield_now();
        }
        assert_eq!(self.read(), id, "it changed while it was held");
        id
    }
}

/// A panic without a message on the terminal.
pub(crate) fn silent_panic() {
    resume_unwind(Box::new("on purpose"));
}
