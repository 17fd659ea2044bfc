//! Which segments may go. Pure: removing them is done where segments are begun.

use crate::config::Retention;
use crate::journal::segment::Segment;

/// What a decision depends on besides the segments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) retention: Retention,
    /// Of a new segment.
    pub(crate) segment_bytes: u64,
    /// The least position that is stored: everything below is done with.
    pub(crate) slowest: Option<u64>,
    /// The least sequence that somebody reads now.
    pub(crate) pinned: Option<u64>,
    /// Nanoseconds since 1970.
    pub(crate) now_ns: u64,
}

impl Limits {
    /// What is needed still begins here, whatever the limits are.
    pub(crate) fn needed_from(&self) -> u64 {
        let slowest = self.slowest.unwrap_or(u64::MAX);
        slowest.min(self.pinned.unwrap_or(u64::MAX))
    }
}

/// The sequence from which on everything is kept, now that a segment is begun at `next` behind these, oldest first. What is below
/// goes when the segment after that one is begun: by then this decision, which its header carries, is durable. So the bytes
/// of that one count here already.
pub(crate) fn choose_kept_from(segments: &[Segment], next: u64, limits: &Limits) -> u64 {
    let retention = &limits.retention;
    let mut bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    bytes = bytes.saturating_add(limits.segment_bytes.saturating_mul(2));
    let mut kept = segments.first().map_or(next, |segment| segment.first);
    // the newest two are the last of these and the one that is begun
    let older = segments.split_last().map_or(&[][..], |(_, older)| older);
    for segment in older {
        let surplus = retention.bytes_max.is_some_and(|max| bytes > max);
        let old = retention.age_max.is_some_and(|max| {
            let age = limits.now_ns.saturating_sub(segment.newest_ns);
            u128::from(age) > max.as_nanos()
        });
        let consumed = retention.consumed && limits.slowest.is_some_and(|at| segment.end <= at);
        if !(surplus || old || consumed) || segment.end > limits.needed_from() {
            break;
        }
        bytes = bytes.saturating_sub(segment.bytes);
        kept = segment.end;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_limit_allows_and_each_reader_forbids() {
        // five segments of 10 events and 100 bytes each, the newest event of each 1 s after that of the one before
        let segments: Vec<Segment> = (0..5)
            .map(|index| Segment {
                salt: index,
                first: index * 10,
                end: index * 10 + 10,
                bytes: 100,
                newest_ns: (index + 1) * 1_000_000_000,
            })
            .collect();
        let bytes = |max| Retention {
            bytes_max: Some(max),
            ..Retention::default()
        };
        let age = |seconds| Retention {
            age_max: Some(Duration::from_secs(seconds)),
            ..Retention::default()
        };
        let consumed = Retention {
            consumed: true,
            ..Retention::default()
        };
        let both = Retention {
            age_max: Some(Duration::from_secs(8)),
            ..bytes(600)
        };
        for (retention, slowest, pinned, expected, why) in [
            (Retention::default(), None, None, 0, "nothing is asked for"),
            (Retention::default(), Some(50), None, 0, "a position alone"),
            (bytes(700), None, None, 0, "five, this one, the next one"),
            (bytes(699), None, None, 10, "one byte too many"),
            (bytes(500), None, None, 20, "two go"),
            (bytes(1), None, None, 40, "never the newest two"),
            (bytes(1), Some(39), None, 30, "a stored position forbids"),
            (bytes(1), Some(30), None, 30, "up to it, not with it"),
            (bytes(1), None, Some(9), 0, "a reader forbids"),
            (bytes(1), Some(30), Some(20), 20, "the slower of the two"),
            (age(10), None, None, 0, "younger, or just so old"),
            (
                age(8),
                None,
                None,
                10,
                "older than 8 s at 10 s: that of 1 s",
            ),
            (age(7), None, None, 20, "and that of 2 s"),
            (age(1), None, None, 40, "never the newest two"),
            (age(1), Some(25), None, 20, "a stored position forbids"),
            (both, None, None, 10, "either limit is enough"),
            (consumed, None, None, 0, "nobody has consumed anything"),
            (consumed, Some(29), None, 20, "past the first two"),
            (consumed, Some(50), None, 40, "never the newest two"),
            (consumed, Some(50), Some(5), 0, "a reader forbids"),
        ] {
            let limits = Limits {
                retention,
                segment_bytes: 100,
                slowest,
                pinned,
                now_ns: 10_000_000_000,
            };
            assert_eq!(choose_kept_from(&segments, 50, &limits), expected, "{why}");
            assert_eq!(
                choose_kept_from(&segments[3..], 50, &limits),
                30.max(expected),
                "{why}, two left"
            );
            assert_eq!(
                choose_kept_from(&segments[4..], 50, &limits),
                40,
                "{why}, one left"
            );
            assert_eq!(choose_kept_from(&[], 50, &limits), 50, "{why}, none left");
        }
    }

    #[test]
    fn a_clock_that_goes_back_removes_nothing() {
        let segment = |first, newest_ns| Segment {
            salt: 0,
            first,
            end: first + 1,
            bytes: u64::MAX / 4,
            newest_ns,
        };
        let limits = Limits {
            retention: Retention {
                age_max: Some(Duration::from_nanos(1)),
                ..Retention::default()
            },
            segment_bytes: u64::MAX,
            slowest: None,
            pinned: None,
            now_ns: 5,
        };
        let segments = [segment(0, 6), segment(1, 1), segment(2, 1)];
        assert_eq!(choose_kept_from(&segments, 3, &limits), 0);
        assert_eq!(choose_kept_from(&segments[1..], 3, &limits), 2);
    }
}
