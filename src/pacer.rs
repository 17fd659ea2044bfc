//! A token bucket that smooths a drain. Pure: the caller says what time it is, in nanoseconds since an origin of its own that stays.
//!
//! It counts billionths of a token: a nanosecond earns as many of these as tokens fall due in a second. So each moment stands exactly
//! where it stands counted from the origin: nothing is rounded, and nothing can drift, however often and whenever it is asked.

use crate::config::Smoothing;

/// Billionths in a token, and nanoseconds in a second.
const TOKEN: u128 = 1_000_000_000;

/// Whoever has to wait waits for as much as falls due in this time: a core that sleeps and wakes for each event of a fast drain would do
/// little else, and within a millisecond it makes no difference.
const PORTION_NANOS: u128 = 250_000;

#[derive(Clone, Debug)]
pub(crate) struct Pacer {
    rate: u64,
    burst: u64,
    /// What was there at `at`, in billionths of a token; at most `burst` tokens whenever it is asked.
    level: u128,
    /// The latest time that it was told.
    at: u64,
}

impl Pacer {
    /// A full one.
    pub(crate) fn new(smoothing: Smoothing, now: u64) -> Self {
        let (rate, burst) = parts(smoothing);
        Self {
            rate,
            burst,
            level: u128::from(burst) * TOKEN,
            at: now,
        }
    }

    /// From now on it goes by other values. It keeps the tokens that are there, as many as there may be now.
    pub(crate) fn change(&mut self, smoothing: Smoothing, now: u64) {
        self.advance(now);
        (self.rate, self.burst) = parts(smoothing);
    }

    /// How many tokens there are.
    pub(crate) fn available(&mut self, now: u64) -> u64 {
        self.advance(now);
        (self.level / TOKEN) as u64 // at most `burst`
    }

    /// Takes tokens of those that there were when it was last asked.
    pub(crate) fn take(&mut self, tokens: u64) {
        let taken = u128::from(tokens) * TOKEN;
        debug_assert!(taken <= self.level, "{tokens} tokens are not there");
        self.level = self.level.saturating_sub(taken);
    }

    /// When it pays to look again, for one that found no token: no earlier than the next one is due. Half of the bucket is left for what falls
    /// due before the thread runs.
    pub(crate) fn due(&self) -> u64 {
        let portion = (u128::from(self.rate) * PORTION_NANOS / TOKEN)
            .min(u128::from(self.burst) / 2)
            .max(1);
        let missing = (portion * TOKEN).saturating_sub(self.level);
        let nanos = missing.div_ceil(u128::from(self.rate));
        self.at
            .saturating_add(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn full(&self) -> u128 {
        u128::from(self.burst) * TOKEN
    }

    fn advance(&mut self, now: u64) {
        // never back: somebody may have read the clock earlier and come later
        let nanos = now.saturating_sub(self.at);
        let earned = u128::from(nanos) * u128::from(self.rate);
        self.level = self.level.saturating_add(earned).min(self.full());
        self.at = self.at.max(now);
    }
}

fn parts(smoothing: Smoothing) -> (u64, u64) {
    debug_assert!(smoothing.rate_per_second > 0 && smoothing.burst_max > 0);
    (smoothing.rate_per_second, u64::from(smoothing.burst_max))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const HOUR: u64 = 3600 * SECOND;

    fn smoothing(rate_per_second: u64, burst_max: u32) -> Smoothing {
        Smoothing {
            rate_per_second,
            burst_max,
        }
    }

    /// One with an empty bucket.
    fn drained(rate: u64, burst: u32, now: u64) -> Pacer {
        let mut pacer = Pacer::new(smoothing(rate, burst), now);
        pacer.take(u64::from(burst));
        assert_eq!(pacer.available(now), 0);
        pacer
    }

    /// Pseudo-random numbers (SplitMix64): the same seed gives the same test.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let number = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            number ^ (number >> 31)
        }

        /// Up to `most`, of every magnitude.
        fn up_to(&mut self, most: u64) -> u64 {
            let bits = self.next() % u64::from(u64::BITS - most.leading_zeros() + 1);
            (self.next() & ((1_u128 << bits) - 1) as u64).min(most)
        }

        fn smoothing(&mut self) -> Smoothing {
            let burst = self.up_to(1 << 31).max(1);
            smoothing(self.up_to(SECOND).max(1), burst as u32)
        }
    }

    #[test]
    fn it_begins_full_and_earns_one_token_at_a_time() {
        let mut pacer = Pacer::new(smoothing(3, 2), 100);
        assert_eq!(pacer.available(100), 2);
        pacer.take(2);
        let third = SECOND / 3;
        assert_eq!(pacer.due(), 100 + third + 1);
        assert_eq!(pacer.available(100 + third), 0);
        assert_eq!(pacer.available(101 + third), 1);
        assert_eq!(pacer.available(100 + SECOND), 2, "no more than fit");
        assert_eq!(pacer.available(99), 2, "time does not go back");
        pacer.take(2);
        assert_eq!(pacer.due(), 101 + SECOND + third, "from when it was full");
    }

    #[test]
    fn who_waits_until_tokens_are_due_finds_them_and_not_before() {
        let mut random = Random(1);
        for _ in 0..10_000 {
            let Smoothing {
                rate_per_second: rate,
                burst_max: burst,
            } = random.smoothing();
            let now = random.up_to(HOUR);
            let mut pacer = drained(rate, burst, now);
            let due = pacer.due();
            let portion = (rate / 4000).min(u64::from(burst) / 2).max(1);
            assert!(pacer.available(due - 1) < portion, "{rate} {burst}");
            assert_eq!(pacer.available(due), portion, "{rate} {burst}");
        }
    }

    #[test]
    fn whoever_always_wants_more_gets_exactly_the_rate_for_hours_on_end() {
        for rate in [1, 3, 7, 999, 9_999, 123_457, 999_999_937] {
            let mut pacer = drained(rate, 1 << 31, 0);
            let (mut now, mut taken, mut random) = (0, 0_u128, Random(rate));
            while now < 3 * HOUR {
                now += 1 + random.up_to(2 * SECOND);
                let tokens = pacer.available(now);
                pacer.take(tokens);
                taken += u128::from(tokens);
                assert_eq!(taken, u128::from(rate) * u128::from(now) / TOKEN, "{rate}");
            }
        }
    }

    #[test]
    fn who_sleeps_and_wakes_a_little_late_keeps_the_rate() {
        for (rate, burst) in [(100, 2), (10_000, 64), (333_333, 512), (5_000_000, 8192)] {
            let mut pacer = drained(rate, burst, 0);
            let (mut now, mut taken, mut random) = (0, 0, Random(rate));
            while now < 60 * SECOND {
                now = pacer.due() + random.next() % 100_000;
                let tokens = pacer.available(now);
                assert!(tokens > 0, "it woke up for nothing");
                let in_two_portions = rate / 2000 + 2;
                assert!(tokens <= in_two_portions, "{tokens} at once, of {rate}");
                pacer.take(tokens);
                taken += tokens;
            }
            assert_eq!(
                u128::from(taken),
                u128::from(rate) * u128::from(now) / TOKEN
            );
        }
    }

    /// In every stretch of time at most what falls due in it, and `burst`.
    #[test]
    fn no_window_gets_more_than_the_rate_and_a_burst() {
        let mut random = Random(2);
        for _ in 0..300 {
            let values = random.smoothing();
            let (rate, burst) = (
                u128::from(values.rate_per_second),
                u128::from(values.burst_max),
            );
            let mut now = random.up_to(HOUR);
            let mut pacer = Pacer::new(values, now);
            let mut takes: Vec<(u64, u64)> = Vec::new();
            for _ in 0..100 {
                now += random.up_to(10 * SECOND);
                let there = pacer.available(now);
                let tokens = random.up_to(there);
                pacer.take(tokens);
                takes.push((now, tokens));
            }
            for first in 0..takes.len() {
                let mut taken = 0_u128;
                for &(last, tokens) in &takes[first..] {
                    taken += u128::from(tokens);
                    let most = rate * u128::from(last - takes[first].0) + burst * TOKEN;
                    assert!(taken * TOKEN <= most, "{values:?}: {takes:?}");
                }
            }
        }
    }

    #[test]
    fn a_change_counts_from_its_moment_on() {
        let mut pacer = drained(10, 100, 0);
        pacer.change(smoothing(1000, 100), SECOND); // 10 were due
        assert_eq!(pacer.available(SECOND), 10);
        assert_eq!(pacer.available(SECOND + SECOND / 100), 20);
        pacer.change(smoothing(1, 5), SECOND + SECOND / 100);
        assert_eq!(pacer.available(SECOND + SECOND / 100), 5, "what fits now");
        pacer.take(5);
        assert_eq!(pacer.due(), 2 * SECOND + SECOND / 100);
        pacer.change(smoothing(2, 7), SECOND + SECOND / 2);
        // 0.49 of a token was due at the old rate
        assert_eq!(pacer.due(), SECOND + SECOND / 2 + 255_000_000);
        assert_eq!(pacer.available(60 * SECOND), 7, "a larger bucket fills");
    }

    #[test]
    fn any_number_of_changes_gives_what_each_rate_was_worth() {
        let mut random = Random(3);
        for _ in 0..100 {
            let first = smoothing(random.up_to(SECOND).max(1), 1 << 31);
            let mut pacer = drained(first.rate_per_second, 1 << 31, 0);
            let (mut now, mut earned, mut taken) = (0, 0_u128, 0_u128);
            let mut rate = first.rate_per_second;
            for _ in 0..200 {
                let nanos = random.up_to(SECOND);
                now += nanos;
                earned += u128::from(rate) * u128::from(nanos);
                let tokens = pacer.available(now);
                pacer.take(tokens);
                taken += u128::from(tokens);
                assert_eq!(taken, earned / TOKEN);
                rate = random.up_to(SECOND).max(1);
                pacer.change(smoothing(rate, 1 << 31), now);
            }
        }
    }

    #[test]
    fn the_greatest_numbers_do_not_overflow() {
        let mut pacer = Pacer::new(smoothing(u64::MAX, u32::MAX), 0);
        assert_eq!(pacer.available(u64::MAX), u64::from(u32::MAX));
        pacer.take(u64::from(u32::MAX));
        assert_eq!(pacer.due(), u64::MAX, "there is no later moment");
        assert_eq!(pacer.available(u64::MAX), 0);
        pacer.change(smoothing(1, 1), u64::MAX);
        assert_eq!(pacer.due(), u64::MAX);
        pacer.change(smoothing(u64::MAX, u32::MAX), 0);
        assert_eq!(pacer.available(u64::MAX), 0);

        let mut fast = drained(u64::MAX, u32::MAX, 0);
        assert_eq!(fast.available(u64::MAX), u64::from(u32::MAX));
        let mut slow = drained(1, u32::MAX, 0);
        assert_eq!(
            slow.available(u64::MAX),
            (u64::MAX / SECOND).min(u64::from(u32::MAX))
        );
        let mut late = drained(1, 1, u64::MAX - 1);
        assert_eq!(late.due(), u64::MAX);
        assert_eq!(late.available(u64::MAX), 0);
    }
}
