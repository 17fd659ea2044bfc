//! Was everything delivered, once and in order? The checks run inside the timed region, so each is as small as its
//! scenario allows: one compare and one add an event where there is one producer.

use crate::payload::{counter_of, producer_of, tag};

/// A consumer's view of the events that reached it.
pub trait Check: Clone + Send + 'static {
    /// Takes note of the next event: its tag, and whether all of it arrived.
    fn see(&mut self, tag: u64, whole: bool);

    /// What was wrong with all that was seen.
    ///
    /// # Errors
    /// The first event that was out of place, or how many are missing.
    fn verdict(&self) -> Result<(), String>;
}

/// The events that were not the expected ones: how many, and the first for the message.
#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    count: u64,
    first: Option<(u64, u64)>,
}

impl Faults {
    /// Out of line: on the hot path this is never reached.
    #[cold]
    #[inline(never)]
    fn note(&mut self, expected: u64, found: u64) {
        self.count += 1;
        self.first.get_or_insert((expected, found));
    }

    fn verdict(&self) -> Result<(), String> {
        let Some((expected, found)) = self.first else {
            return Ok(());
        };
        let found = if expected == found {
            "a torn copy of it".to_owned()
        } else {
            name(found)
        };
        Err(format!(
            "{} expected, {found} found; {} events out of place",
            name(expected),
            self.count
        ))
    }
}

fn name(tag: u64) -> String {
    format!("event {} of producer {}", counter_of(tag), producer_of(tag))
}

fn complete(seen: u64, published: u64) -> Result<(), String> {
    if seen == published {
        Ok(())
    } else {
        Err(format!("{published} events published, {seen} received"))
    }
}

/// For a consumer that sees every event of one producer.
#[derive(Clone, Debug)]
pub struct InOrder {
    next: u64,
    published: u64,
    faults: Faults,
}

impl InOrder {
    /// Expects events `0..published` of producer 0.
    #[must_use]
    pub fn new(published: u64) -> Self {
        Self {
            next: 0,
            published,
            faults: Faults::default(),
        }
    }

    /// How many events were seen, right or wrong.
    #[inline]
    #[must_use]
    pub const fn seen(&self) -> u64 {
        self.next
    }
}

impl Check for InOrder {
    #[inline(always)]
    fn see(&mut self, tag: u64, whole: bool) {
        if tag != self.next || !whole {
            self.faults.note(self.next, tag);
        }
        self.next += 1;
    }

    fn verdict(&self) -> Result<(), String> {
        self.faults.verdict()?;
        complete(self.seen(), self.published)
    }
}

/// For a consumer that sees every event of several producers: each producer's in order, in any mixture.
#[derive(Clone, Debug)]
pub struct ByProducer {
    /// The tag that each producer must show next.
    next: Vec<u64>,
    published: Vec<u64>,
    faults: Faults,
}

impl ByProducer {
    /// Expects `published[p]` events of each producer `p`.
    #[must_use]
    pub fn new(published: &[u64]) -> Self {
        let next = (0..published.len())
            .map(|producer| tag(producer, 0))
            .collect();
        Self {
            next,
            published: published.to_vec(),
            faults: Faults::default(),
        }
    }
}

impl Check for ByProducer {
    #[inline(always)]
    fn see(&mut self, tag: u64, whole: bool) {
        match self.next.get_mut(producer_of(tag)) {
            Some(next) if *next == tag && whole => *next += 1,
            Some(next) => {
                self.faults.note(*next, tag);
                *next += 1;
            }
            None => self.faults.note(0, tag),
        }
    }

    fn verdict(&self) -> Result<(), String> {
        self.faults.verdict()?;
        let seen = self.next.iter().map(|next| counter_of(*next)).sum();
        complete(seen, self.published.iter().sum())
    }
}

/// For the members of a group that divide the events among them: each member sees each producer's events in order but
/// with gaps, and all members together see each event once.
///
/// What a member saw is kept as its number of events and the first two power sums of their tags: with one event lost and
/// another seen twice the number is right and the sum is not; where several make the sum right, the squares are not.
#[derive(Clone, Debug)]
pub struct Divided {
    /// The least tag that each producer may show next.
    least: Vec<u64>,
    published: Vec<u64>,
    seen: Fingerprint,
    faults: Faults,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fingerprint {
    count: u64,
    sum: u64,
    squares: u64,
}

impl Fingerprint {
    #[inline]
    fn add(&mut self, tag: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(tag);
        self.squares = self.squares.wrapping_add(tag.wrapping_mul(tag));
    }
}

impl Divided {
    /// Expects `published[p]` events of each producer `p` in all members together.
    #[must_use]
    pub fn new(published: &[u64]) -> Self {
        let least = (0..published.len())
            .map(|producer| tag(producer, 0))
            .collect();
        Self {
            least,
            published: published.to_vec(),
            seen: Fingerprint::default(),
            faults: Faults::default(),
        }
    }

    /// Adds what another member of the group saw.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.seen.count += other.seen.count;
        self.seen.sum = self.seen.sum.wrapping_add(other.seen.sum);
        self.seen.squares = self.seen.squares.wrapping_add(other.seen.squares);
        self.faults.count += other.faults.count;
        self.faults.first = self.faults.first.or(other.faults.first);
        self
    }
}

impl Check for Divided {
    #[inline(always)]
    fn see(&mut self, tag: u64, whole: bool) {
        match self.least.get_mut(producer_of(tag)) {
            Some(least) if *least <= tag && whole => *least = tag + 1,
            Some(least) => self.faults.note(*least, tag),
            None => self.faults.note(0, tag),
        }
        self.seen.add(tag);
    }

    fn verdict(&self) -> Result<(), String> {
        self.faults.verdict()?;
        complete(self.seen.count, self.published.iter().sum())?;
        let mut expected = Fingerprint::default();
        for (producer, published) in self.published.iter().enumerate() {
            (0..*published).for_each(|counter| expected.add(tag(producer, counter)));
        }
        if self.seen == expected {
            Ok(())
        } else {
            Err("some events were lost and others delivered twice".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge<C: Check>(mut check: C, tags: &[u64]) -> Result<(), String> {
        tags.iter().for_each(|tag| check.see(*tag, true));
        check.verdict()
    }

    #[test]
    fn in_order_passes_only_the_whole_stream() {
        assert_eq!(judge(InOrder::new(4), &[0, 1, 2, 3]), Ok(()));
        for (what, tags) in [
            ("loss at the end", &[0, 1, 2][..]),
            ("loss inside", &[0, 2, 3]),
            ("duplicate", &[0, 1, 1, 2, 3]),
            ("reorder", &[0, 2, 1, 3]),
            ("stranger", &[0, 1, 2, 3, tag(1, 0)]),
        ] {
            assert!(judge(InOrder::new(4), tags).is_err(), "{what}");
        }
    }

    #[test]
    fn a_torn_event_is_a_fault_of_every_check() {
        fn torn(mut check: impl Check) -> Result<(), String> {
            check.see(0, false);
            check.verdict()
        }
        assert!(torn(InOrder::new(1)).is_err_and(|text| text.contains("torn")));
        assert!(torn(ByProducer::new(&[1])).is_err());
        assert!(torn(Divided::new(&[1])).is_err());
    }

    #[test]
    fn by_producer_takes_any_mixture_and_nothing_else() {
        let (a, b) = (|counter| tag(0, counter), |counter| tag(1, counter));
        let check = || ByProducer::new(&[2, 2]);
        assert_eq!(judge(check(), &[b(0), a(0), a(1), b(1)]), Ok(()));
        assert_eq!(judge(check(), &[a(0), a(1), b(0), b(1)]), Ok(()));
        assert!(judge(check(), &[a(0), a(1), b(0)]).is_err(), "loss");
        assert!(
            judge(check(), &[a(1), a(0), b(0), b(1)]).is_err(),
            "reorder"
        );
        assert!(
            judge(check(), &[a(0), a(0), b(0), b(1)]).is_err(),
            "duplicate for a loss"
        );
        assert!(
            judge(check(), &[a(0), a(1), b(0), b(1), tag(7, 0)]).is_err(),
            "stranger"
        );
    }

    #[test]
    fn divided_takes_any_division_and_nothing_else() {
        let check = || Divided::new(&[4, 2]);
        let group = |members: [&[u64]; 2]| {
            let [first, second] = members.map(|tags| {
                let mut member = check();
                tags.iter().for_each(|tag| member.see(*tag, true));
                member
            });
            first.and(&second).verdict()
        };
        let b = |counter| tag(1, counter);
        assert_eq!(group([&[0, 3, b(0)], &[1, 2, b(1)]]), Ok(()));
        assert_eq!(group([&[0, 1, 2, 3, b(0), b(1)], &[]]), Ok(()));
        assert!(group([&[0, 3, b(0)], &[1, b(1)]]).is_err(), "loss");
        assert!(
            group([&[0, 3, b(0)], &[2, 1, b(1)]]).is_err(),
            "reorder within a member"
        );
        assert!(
            group([&[0, 1, 3, b(0)], &[1, 2, b(1)]]).is_err(),
            "delivered to both"
        );
        assert!(
            group([&[0, 1, b(0)], &[1, 2, b(1)]]).is_err(),
            "one lost and one doubled"
        );
        assert!(
            group([&[0, 3, b(0)], &[0, 3, b(1)]]).is_err(),
            "losses and doubles of equal sum"
        );
    }

    #[test]
    fn the_message_names_the_first_fault() {
        let text = judge(InOrder::new(4), &[0, 2, 3]).expect_err("event 1 is missing");
        assert_eq!(
            text,
            "event 1 of producer 0 expected, event 2 of producer 0 found; 2 events out of place"
        );
    }
}
