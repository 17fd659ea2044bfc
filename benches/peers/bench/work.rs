//! What a consumer does with an event: check it, and in some rows spend 10 ns on it.

use ringway_harness::check::Check;
use ringway_harness::payload::Payload;
use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// What each event costs where consumers work.
const WORK: Duration = Duration::from_nanos(10);
/// How many dependent multiplications last [`WORK`] on this machine.
fn steps() -> u32 {
    static STEPS: OnceLock<u32> = OnceLock::new();
    *STEPS.get_or_init(|| {
        const MANY: u32 = 10_000_000;
        let time = || {
            let start = Instant::now();
            black_box(multiply(black_box(1), MANY));
            start.elapsed()
        };
        // The best of several: whatever disturbs makes it longer, and the work would be too short.
        let best = (0..5).map(|_| time()).min().unwrap_or(WORK);
        let steps = WORK.as_secs_f64() * f64::from(MANY) / best.as_secs_f64();
        (steps.round() as u32).max(1)
    })
}

/// Each multiplication waits for the one before it, and by no constant: two of them cannot be made one.
#[inline]
fn multiply(mut product: u64, steps: u32) -> u64 {
    for _ in 0..steps {
        product = product.wrapping_mul(product | 1);
    }
    product
}

/// A check, with or without work.
#[derive(Clone)]
pub(crate) struct Labour<C, const WORKS: bool> {
    check: C,
    product: u64,
    steps: u32,
}

impl<C: Check, const WORKS: bool> Labour<C, WORKS> {
    pub(crate) fn new(check: C) -> Self {
        let steps = if WORKS { steps() } else { 0 };
        Self {
            check,
            product: 1,
            steps,
        }
    }

    #[inline(always)]
    pub(crate) fn see<const W: usize>(&mut self, event: &Payload<W>) {
        self.check.see(event.tag(), event.is_whole());
        if WORKS {
            // Each event's work waits for the one before it: none of it overlaps.
            self.product = multiply(self.product ^ event.tag(), self.steps);
        }
    }

    pub(crate) fn verdict(self) -> Result<(), String> {
        self.done().verdict()
    }

    /// The check, all work done.
    pub(crate) fn done(self) -> C {
        black_box(self.product);
        self.check
    }
}
