//! Events that prove themselves: who published them, as how many-th, and that they arrived whole.

use clap::ValueEnum;

/// Bits of a tag that count; the producer's number stands above them.
const COUNTER_BITS: u32 = 48;

/// The first word of an event: its producer's number above, the producer's own count of events below.
///
/// The tags of producer 0 are the plain numbers 0, 1, 2, …, so a stream with one producer is checked with one compare
/// and one add an event.
#[inline]
#[must_use]
pub const fn tag(producer: usize, counter: u64) -> u64 {
    ((producer as u64) << COUNTER_BITS) | counter
}

/// The producer's number in a tag.
#[inline]
#[must_use]
pub const fn producer_of(tag: u64) -> usize {
    (tag >> COUNTER_BITS) as usize
}

/// The producer's count of events in a tag.
#[inline]
#[must_use]
pub const fn counter_of(tag: u64) -> u64 {
    tag & ((1 << COUNTER_BITS) - 1)
}

/// An event of `WORDS` eight-byte words: its tag, and words that follow from the tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Payload<WORDS> {
    /// The event number `counter` of `producer`.
    #[inline]
    #[must_use]
    pub fn new(producer: usize, counter: u64) -> Self {
        let tag = tag(producer, counter);
        Self(std::array::from_fn(|word| tag.wrapping_add(word as u64)))
    }

    /// What an unused slot holds: no event looks like it, so a slot handed out before it was written is found.
    #[must_use]
    pub const fn blank() -> Self {
        Self([u64::MAX; WORDS])
    }

    /// The event made of these words.
    #[inline]
    #[must_use]
    pub const fn from_words(words: [u64; WORDS]) -> Self {
        Self(words)
    }

    /// What it is made of.
    #[inline]
    #[must_use]
    pub const fn words(self) -> [u64; WORDS] {
        self.0
    }

    /// Who published this event, and as how many-th.
    #[inline]
    #[must_use]
    pub const fn tag(&self) -> u64 {
        self.0[0]
    }

    /// Whether all words belong to the same event. Costs nothing for events of one word.
    #[inline]
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let tag = self.tag();
        // One test at the end and none inside: the loop becomes a few vector instructions.
        self.0.iter().enumerate().fold(0, |torn, (word, value)| {
            torn | (value ^ tag.wrapping_add(word as u64))
        }) == 0
    }
}

impl<const WORDS: usize> Default for Payload<WORDS> {
    fn default() -> Self {
        Self::blank()
    }
}

/// The sizes of event that can be measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PayloadSize {
    /// One word.
    #[default]
    #[value(name = "8")]
    Bytes8,
    /// Two words.
    #[value(name = "16")]
    Bytes16,
    /// A cache line.
    #[value(name = "64")]
    Bytes64,
    /// Four cache lines.
    #[value(name = "256")]
    Bytes256,
}

impl PayloadSize {
    /// The size of one event, in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Bytes8 => 8,
            Self::Bytes16 => 16,
            Self::Bytes64 => 64,
            Self::Bytes256 => 256,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_gives_back_its_parts() {
        let tag = tag(3, 1 << 40);
        assert_eq!((producer_of(tag), counter_of(tag)), (3, 1 << 40));
    }

    #[test]
    fn a_torn_event_is_not_whole() {
        let mut event = Payload::<8>::new(1, 42);
        assert!(event.is_whole());
        let other = Payload::<8>::new(1, 43);
        event.0[5] = other.0[5];
        assert!(!event.is_whole());
    }

    #[test]
    fn a_blank_slot_is_no_event() {
        assert!(!Payload::<2>::blank().is_whole());
        assert_ne!(producer_of(Payload::<1>::blank().tag()), 0);
    }

    #[test]
    fn sizes_match_the_types() {
        assert_eq!(PayloadSize::Bytes8.bytes(), size_of::<Payload<1>>());
        assert_eq!(PayloadSize::Bytes16.bytes(), size_of::<Payload<2>>());
        assert_eq!(PayloadSize::Bytes64.bytes(), size_of::<Payload<8>>());
        assert_eq!(PayloadSize::Bytes256.bytes(), size_of::<Payload<32>>());
    }
}
