//! How fast a stage may go, and when a ring counts as under pressure.

use super::in_range_of;
use crate::error::Error;
use std::time::Duration;

const RATE_MAX: u64 = 1_000_000_000;
const BURST_MAX: u32 = 1 << 31;
const STALLED_AFTER: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(3600);

/// A steady rate for a stage: see [`StageBuilder::smooth`](crate::StageBuilder::smooth).
///
/// It is a bucket of tokens. An event takes one; they fall due at the rate, and up to `burst_max` of them are kept while there is
/// nothing to do. So in any stretch of time a stage takes at most what falls due in it, and `burst_max` events more.
///
/// ```
/// use ringway::Smoothing;
/// Smoothing { rate_per_second: 10_000, burst_max: 64 }.validate()?;
///
/// let error = Smoothing { rate_per_second: 0, burst_max: 64 }.validate().unwrap_err();
/// assert_eq!(error.to_string(), "rate_per_second is 0: accepted is 1 to 1000000000");
/// # Ok::<(), ringway::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Smoothing {
    /// Events a second. 1 to 1,000,000,000.
    pub rate_per_second: u64,
    /// The most events at once, after a while with nothing to do. 1 to 2^31.
    ///
    /// 1 is the smoothest, and too few to keep a high rate: a thread that sleeps until events are due wakes up late, and what falls due
    /// meanwhile is lost above `burst_max`. The rate is kept while `burst_max` is at least twice what falls due in the time that
    /// takes, usually about 0.1 ms, on a busy machine some milliseconds: for 10,000 events a second 64 are plenty.
    pub burst_max: u32,
}

impl Smoothing {
    /// Checks every field.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) with the first field that is outside its range, its value, and the range.
    pub fn validate(&self) -> Result<(), Error> {
        in_range_of("rate_per_second", self.rate_per_second, 1..=RATE_MAX)?;
        in_range_of("burst_max", self.burst_max, 1..=BURST_MAX)
    }
}

/// When a ring counts as under pressure, for [`BusConfig::pressure`](crate::BusConfig::pressure): one more thread watches how full it is
/// and which stage keeps it so.
///
/// ```
/// use ringway::Pressure;
/// Pressure { high_percent: 90, ..Pressure::default() }.validate()?;
///
/// let error = Pressure { low_percent: 80, high_percent: 80, ..Pressure::default() }.validate().unwrap_err();
/// assert_eq!(error.to_string(), "pressure.low_percent is 80: accepted is 0 to 79, below high_percent");
/// # Ok::<(), ringway::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressure {
    /// The level is [`High`](crate::PressureLevel::High) once the ring is full to so many percent of its capacity. Default 75; 1 to 100.
    pub high_percent: u32,
    /// And [`Low`](crate::PressureLevel::Low) again once it is full to no more than so many. Default 50; 0 to 99, and below `high_percent`.
    pub low_percent: u32,
    /// A stage is stalled that has finished nothing for so long while there was something to do. Default 1 s; 1 ms to 1 h. Longer than
    /// a batch takes, of which a stage shows nothing before it is done, and than the time between two events of a
    /// [smoothed](Smoothing) stage.
    ///
    /// The thread looks 16 times in it, but at most every millisecond and at least every 10 ms.
    pub stalled_after: Duration,
}

impl Default for Pressure {
    fn default() -> Self {
        Self {
            high_percent: 75,
            low_percent: 50,
            stalled_after: Duration::from_secs(1),
        }
    }
}

impl Pressure {
    /// Checks every field.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) with the first field that is outside its range, its value, and the range.
    pub fn validate(&self) -> Result<(), Error> {
        in_range_of("pressure.high_percent", self.high_percent, 1..=100)?;
        if self.low_percent >= self.high_percent {
            return Err(Error::out_of_range(
                "pressure.low_percent",
                self.low_percent,
                format_args!("0 to {}, below high_percent", self.high_percent - 1),
            ));
        }
        if STALLED_AFTER.contains(&self.stalled_after) {
            return Ok(());
        }
        Err(Error::out_of_range(
            "pressure.stalled_after",
            format_args!("{:?}", self.stalled_after),
            "1 ms to 1 h",
        ))
    }

    /// How long the thread that watches sleeps between two looks.
    pub(crate) fn interval(&self) -> Duration {
        (self.stalled_after / 16).clamp(Duration::from_millis(1), Duration::from_millis(10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_is_checked_and_named() {
        let smoothing = |rate_per_second, burst_max| {
            Smoothing {
                rate_per_second,
                burst_max,
            }
            .validate()
        };
        for (rate, burst) in [(1, 1), (RATE_MAX, BURST_MAX)] {
            smoothing(rate, burst).unwrap();
        }
        for (rate, burst, field) in [
            (0, 1, "rate_per_second is 0"),
            (RATE_MAX + 1, 1, "rate_per_second is 1000000001"),
            (1, 0, "burst_max is 0"),
            (1, BURST_MAX + 1, "burst_max is 2147483649"),
        ] {
            let error = smoothing(rate, burst).unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
            assert!(error.contains("accepted is 1 to "), "{error}");
        }
        let pressure = |high_percent, low_percent, stalled_after| {
            Pressure {
                high_percent,
                low_percent,
                stalled_after,
            }
            .validate()
        };
        let (least, most) = (*STALLED_AFTER.start(), *STALLED_AFTER.end());
        pressure(100, 99, least).unwrap();
        pressure(1, 0, most).unwrap();
        Pressure::default().validate().unwrap();
        let nano = Duration::from_nanos(1);
        for (high, low, after, field) in [
            (0, 0, least, "pressure.high_percent is 0"),
            (101, 0, least, "pressure.high_percent is 101"),
            (50, 50, least, "pressure.low_percent is 50"),
            (50, 90, least, "pressure.low_percent is 90"),
            (50, 10, least - nano, "pressure.stalled_after is 999.999µs"),
            (50, 10, most + nano, "pressure.stalled_after is 3600.0000"),
        ] {
            let error = pressure(high, low, after).unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
            assert!(error.contains("accepted is "), "{error}");
        }
    }

    #[test]
    fn looks_are_neither_too_many_nor_too_few() {
        let interval = |stalled_after| {
            Pressure {
                stalled_after,
                ..Pressure::default()
            }
            .interval()
        };
        let millis = Duration::from_millis;
        assert_eq!(interval(millis(1)), millis(1));
        assert_eq!(interval(millis(32)), millis(2));
        assert_eq!(interval(Duration::from_secs(3600)), millis(10));
    }
}
