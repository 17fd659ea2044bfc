//! The machine that the figures are true of.

use crate::seats;
use serde::Serialize;
use std::fs;
use std::time::{Duration, Instant};

/// What a reader must know to make sense of the figures.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The version of the library.
    pub ringway: &'static str,
    /// The operating system.
    pub os: &'static str,
    /// The instruction set.
    pub arch: &'static str,
    /// The name of the processor, where the system tells.
    pub cpu: Option<String>,
    /// The system's numbers of the cores that this process may use.
    pub cores: Vec<usize>,
    /// How many threads can run at once, quotas considered.
    pub usable_cores: usize,
    /// Whether threads can be pinned.
    pub pinning: bool,
    /// The clock that times everything.
    pub clock: Clock,
}

/// The monotonic clock, as measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Clock {
    /// The least difference seen between two reads that differ.
    pub resolution_ns: u64,
    /// What one read takes.
    pub read_ns: f64,
}

impl Machine {
    /// Looks around.
    #[must_use]
    pub fn detect() -> Self {
        Self {
            ringway: env!("CARGO_PKG_VERSION"),
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            cpu: fs::read_to_string("/proc/cpuinfo")
                .ok()
                .as_deref()
                .and_then(cpu_model),
            cores: ringway::cores(),
            usable_cores: ringway::usable_cores(),
            pinning: seats::can_pin(),
            clock: Clock::measure(),
        }
    }
}

impl Clock {
    /// Measures the clock, in a few milliseconds.
    #[must_use]
    pub fn measure() -> Self {
        const READS: u32 = 100_000;
        let start = Instant::now();
        let mut last = start;
        let mut resolution = Duration::MAX;
        for _ in 0..READS {
            let now = Instant::now();
            if now > last {
                resolution = resolution.min(now - last);
            }
            last = now;
        }
        let read_ns = (last - start).as_nanos() as f64 / f64::from(READS);
        Self {
            resolution_ns: u64::try_from(resolution.as_nanos()).unwrap_or(u64::MAX),
            read_ns,
        }
    }
}

/// The first model name in Linux's description of the processors.
fn cpu_model(cpuinfo: &str) -> Option<String> {
    cpuinfo.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_model_name_counts() {
        let text = "processor\t: 0\nmodel name\t: A: fast\nprocessor\t: 1\nmodel name\t: B\n";
        assert_eq!(cpu_model(text).as_deref(), Some("A: fast"));
        assert_eq!(cpu_model("Features: fp asimd\n"), None);
    }

    #[test]
    fn the_clock_ticks() {
        let clock = Clock::measure();
        assert!(clock.resolution_ns > 0 && clock.read_ns > 0.0);
    }
}
