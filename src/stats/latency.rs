//! A histogram of durations.

use hdrhistogram::Histogram;
use std::fmt;
use std::time::Duration;

/// The longest that is told apart: 100 seconds.
const NANOSECONDS_MAX: u64 = 100_000_000_000;
/// Each recorded value is kept to 1 part in 1,000.
const SIGNIFICANT_DIGITS: u8 = 3;

/// A histogram of latencies, 1 ns to 100 s, each kept to three significant digits (an HDR histogram, after Gil Tene).
///
/// Recording costs a few nanoseconds and never allocates. Let each thread record into its own and merge them.
///
/// ```
/// use std::time::Duration;
/// let mut latency = ringway::Latency::new();
/// for micros in 1..=100 {
///     latency.record(Duration::from_micros(micros));
/// }
/// let summary = latency.summary();
/// assert_eq!((summary.count, summary.p50 / 1000), (100, 50));
/// ```
#[derive(Clone)]
pub struct Latency {
    histogram: Histogram<u64>,
}

/// The usual points of a [`Latency`], in nanoseconds; all 0 when nothing was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LatencySummary {
    /// Half were at most this long.
    pub p50: u64,
    /// 90 % were at most this long.
    pub p90: u64,
    /// 99 % were at most this long.
    pub p99: u64,
    /// 99.9 % were at most this long.
    pub p999: u64,
    /// The longest.
    pub max: u64,
    /// How many were recorded.
    pub count: u64,
}

impl Latency {
    /// An empty histogram; takes about 200 KiB.
    #[must_use]
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, NANOSECONDS_MAX, SIGNIFICANT_DIGITS);
        Self {
            histogram: histogram.expect("the bounds are constant and valid"),
        }
    }

    /// Records a duration; one above 100 s counts as 100 s.
    pub fn record(&mut self, duration: Duration) {
        self.record_ns(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Records a number of nanoseconds; one above 100 s counts as 100 s.
    pub fn record_ns(&mut self, nanoseconds: u64) {
        self.histogram.saturating_record(nanoseconds);
    }

    /// Adds everything that `other` recorded.
    pub fn merge(&mut self, other: &Self) {
        self.histogram
            .add(&other.histogram)
            .expect("all have the same bounds");
    }

    /// The value that this fraction of all records, 0 to 1, does not exceed; in nanoseconds.
    #[must_use]
    pub fn quantile(&self, fraction: f64) -> u64 {
        self.histogram.value_at_quantile(fraction)
    }

    /// The usual points.
    #[must_use]
    pub fn summary(&self) -> LatencySummary {
        LatencySummary {
            p50: self.quantile(0.5),
            p90: self.quantile(0.9),
            p99: self.quantile(0.99),
            p999: self.quantile(0.999),
            max: self.histogram.max(),
            count: self.histogram.len(),
        }
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.summary().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_are_kept_and_merged() {
        let (mut one, mut other) = (Latency::new(), Latency::new());
        assert_eq!(one.summary(), LatencySummary::default());
        one.record_ns(0);
        other.record(Duration::from_secs(1_000));
        one.merge(&other);
        let summary = one.summary();
        assert_eq!(summary.count, 2);
        assert!(
            summary.max.abs_diff(NANOSECONDS_MAX) < NANOSECONDS_MAX / 1000,
            "{summary:?}"
        );
    }
}
