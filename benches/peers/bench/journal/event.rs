//! What is recorded, and the check that all of it comes back.

use std::array;
use zerocopy::IntoBytes;

/// An event: its publisher and number in the first word, the same inverted in the last, between them what does not compress.
pub(crate) type Event<const W: usize> = [u64; W];

/// A number takes so many bits of the first word, the publisher the rest.
const NUMBER_BITS: u32 = 48;

pub(crate) const fn bytes<const W: usize>() -> u64 {
    (W * size_of::<u64>()) as u64
}

/// An event without its number.
pub(crate) fn blank<const W: usize>() -> Event<W> {
    array::from_fn(|word| (word as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Numbers it.
#[inline(always)]
pub(crate) fn stamp<const W: usize>(event: &mut Event<W>, publisher: u64, number: u64) {
    let word = publisher << NUMBER_BITS | number;
    event[0] = word;
    event[W - 1] = !word;
}

/// Events of one publisher from number `first` on, in memory that is used again.
pub(crate) fn number<const W: usize>(events: &mut [Event<W>], publisher: u64, first: u64) {
    for (event, number) in events.iter_mut().zip(first..) {
        stamp(event, publisher, number);
    }
}

/// Looks at each event that comes back: every publisher's are there, whole, once and in order.
#[derive(Debug, Default)]
pub(crate) struct Check {
    event_bytes: usize,
    /// The number that each publisher's next event must have.
    next: Vec<u64>,
    fault: Option<String>,
}

impl Check {
    pub(crate) fn new(event_bytes: u64, publishers: usize) -> Self {
        Self {
            event_bytes: event_bytes as usize,
            next: vec![0; publishers],
            fault: None,
        }
    }

    #[inline]
    pub(crate) fn see(&mut self, event: &[u8]) {
        let (first, last) = (event.first_chunk(), event.last_chunk());
        let (Some(first), Some(last)) = (first, last) else {
            return self.fail(event, "it has no number");
        };
        let [word, inverted] = [first, last].map(|bytes| u64::from_ne_bytes(*bytes));
        let (publisher, number) = (word >> NUMBER_BITS, word & ((1 << NUMBER_BITS) - 1));
        match self.next.get_mut(publisher as usize) {
            Some(next) if *next == number => *next += 1,
            _ => return self.fail(event, "it is not the next of its publisher"),
        }
        if word != !inverted || event.len() != self.event_bytes {
            self.fail(event, "it is not whole");
        }
    }

    /// One fault is enough, and the first says most.
    #[cold]
    fn fail(&mut self, event: &[u8], what: &str) {
        let (head, next) = (event.get(..8), &self.next);
        self.fault.get_or_insert_with(|| {
            let bytes = event.len();
            format!("an event of {bytes} bytes, {head:02x?}: {what}; expected next: {next:?}")
        });
    }

    /// What was wrong, if anything: all of `confirmed` events a publisher must have come back, and none besides.
    pub(crate) fn faults(self, confirmed: &[u64]) -> Vec<String> {
        let mut faults: Vec<String> = self.fault.into_iter().collect();
        if self.next != confirmed {
            let next = self.next;
            faults.push(format!(
                "confirmed {confirmed:?} events, read back {next:?}"
            ));
        }
        faults
    }
}

/// Shows it events that lie one behind the other.
pub(crate) fn see_all(check: &mut Check, events: &[u8]) {
    let each = check.event_bytes;
    events.chunks(each).for_each(|event| check.see(event));
}

/// As they lie in memory.
pub(crate) fn as_bytes<const W: usize>(events: &[Event<W>]) -> &[u8] {
    events.as_bytes()
}
