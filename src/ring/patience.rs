//! How long a tap that is evicted may hold producers back.
//!
//! The clock starts when a producer first finds no room because of the tap. It is stopped by the tap itself, once it has gone on by a quarter of
//! the ring since it saw it run, or finds that it has read everything; so one that is behind, but takes that much in its time, is never evicted,
//! nor is one that takes whatever comes as it comes, be that little. One word, written by an exchange
//! from 0 on the one side and back to 0 on the other: it orders nothing, and whoever reads an old value only waits a little longer.

use crate::sync::{AtomicU64, Ordering};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// From where the clock of each ring is counted.
static ORIGIN: OnceLock<Instant> = OnceLock::new();

pub(crate) struct Patience {
    /// In nanoseconds.
    after: AtomicU64,
    /// When it began to hold producers back, in nanoseconds since the origin; 0: it does not.
    since: AtomicU64,
}

/// When a tap's time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Now,
    /// `None`: in some hundreds of years.
    At(Option<Instant>),
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self {
            after: AtomicU64::new(0),
            since: AtomicU64::new(0),
        }
    }

    /// For a new owner, before its cursor is inserted, which hands it over.
    pub(crate) fn begin(&self, after: Duration) {
        let nanos = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        // relaxed: the cursor's insertion comes after it, and whoever asks has seen that
        self.after.store(nanos, Ordering::Relaxed);
        // relaxed: as above
        self.since.swap(0, Ordering::Relaxed);
    }

    /// For a producer that finds the tap in its way: when its time is up. Starts the clock.
    pub(crate) fn due(&self) -> Due {
        // relaxed: as in `begin`
        let after = self.after.load(Ordering::Relaxed);
        if after == 0 {
            return Due::Now; // without a look at the clock
        }
        let origin = *ORIGIN.get_or_init(Instant::now);
        let now = u64::try_from(origin.elapsed().as_nanos())
            .unwrap_or(u64::MAX)
            .max(1);
        // relaxed: a time, which orders nothing
        let started = (self.since).compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        let since = started.err().unwrap_or(now);
        let end = since.saturating_add(after);
        if now >= end {
            return Due::Now;
        }
        Due::At(origin.checked_add(Duration::from_nanos(end)))
    }

    /// For the tap: since when it has held producers back; 0: it does not.
    pub(crate) fn since(&self) -> u64 {
        // relaxed: as above
        self.since.load(Ordering::Relaxed)
    }

    /// For the tap, which has gone on, or has read everything: it begins anew.
    pub(crate) fn stop(&self) {
        // relaxed: as above
        self.since.swap(0, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_clock_starts_once_and_begins_anew_when_it_was_stopped() {
        let patience = Patience::new();
        patience.begin(Duration::from_secs(3600));
        assert_eq!(patience.since(), 0);
        let Due::At(Some(at)) = patience.due() else {
            panic!("an hour has passed");
        };
        assert_eq!(patience.due(), Due::At(Some(at)), "it was started before");
        assert!(patience.since() > 0);
        patience.stop();
        std::thread::sleep(Duration::from_millis(1));
        assert!(matches!(patience.due(), Due::At(Some(later)) if later > at));

        patience.begin(Duration::ZERO);
        assert_eq!((patience.due(), patience.since()), (Due::Now, 0));
        patience.begin(Duration::from_nanos(1));
        patience.due();
        std::thread::sleep(Duration::from_micros(1));
        assert_eq!(patience.due(), Due::Now);
        patience.begin(Duration::MAX);
        assert!(matches!(patience.due(), Due::At(_)));
    }
}
