//! How far a long work is, on a terminal's line.

use ringway_harness::progress::Progress;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(100);
/// The clock is asked once in so many steps.
const STEPS: u32 = 64;

/// Shown when the work takes longer than the first pause; taken away when it is dropped.
pub(crate) struct Meter {
    progress: Option<Progress>,
    what: &'static str,
    show: fn(u64) -> String,
    total: u64,
    steps: u32,
    begun: Instant,
    told: Instant,
}

impl Meter {
    /// `show`: a number with its unit.
    pub(crate) fn new(what: &'static str, total: u64, show: fn(u64) -> String) -> Self {
        let now = Instant::now();
        Self {
            progress: Some(Progress::new()),
            what,
            show,
            total,
            steps: 0,
            begun: now,
            told: now,
        }
    }

    /// One that shows nothing if it would be in the way.
    pub(crate) fn hidden(mut self, hidden: bool) -> Self {
        if hidden {
            self.progress = None;
        }
        self
    }

    /// So much is done.
    pub(crate) fn at(&mut self, done: u64) {
        self.steps = self.steps.wrapping_add(1);
        if self.steps.is_multiple_of(STEPS)
            && let Some(progress) = &self.progress
        {
            let now = Instant::now();
            if now - self.told >= PAUSE {
                self.told = now;
                progress.now(&self.line(done, now - self.begun));
            }
        }
    }

    fn line(&self, done: u64, elapsed: Duration) -> String {
        let Self {
            what, show, total, ..
        } = self;
        let total = (*total).max(done);
        let part = if total == 0 {
            1.0
        } else {
            done as f64 / total as f64
        };
        let bar = "#".repeat((part * 20.0) as usize);
        let rate = done as f64 / elapsed.as_secs_f64().max(1e-9);
        let left = (total - done) as f64 / rate.max(1.0);
        format!(
            "{what} [{bar:<20}] {:.0} %: {} of {}, {}/s, {left:.0} s left",
            part * 100.0,
            show(done),
            show(total),
            show(rate as u64)
        )
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(progress) = &self.progress {
            progress.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::text::bytes;

    #[test]
    fn a_line_says_how_far_and_how_long() {
        let meter = Meter::new("verifying", 4 << 30, bytes);
        assert_eq!(
            meter.line(1 << 30, Duration::from_secs(2)),
            "verifying [#####               ] 25 %: 1.0 GiB of 4.0 GiB, 512.0 MiB/s, 6 s left"
        );
        let empty = Meter::new("verifying", 0, bytes);
        assert!(empty.line(0, Duration::ZERO).contains("100 %"));
    }
}
