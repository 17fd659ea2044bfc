//! What a consumer does with an event: check it, and in some rows spend about 10 ns on it.

use ringway_harness::check::Check;
use ringway_harness::payload::Payload;
use std::hint::black_box;

/// Multiplications for an event where consumers work: 10 ns at 3 GHz. In a straight line: a loop would end in a branch, and how well
/// that is predicted depends on the contender's code around it.
const STEPS: usize = 8;

/// Each multiplication waits for the one before it, and by no constant: two of them cannot be made one.
#[inline(always)]
fn multiply(product: u64) -> u64 {
    [(); STEPS]
        .into_iter()
        .fold(product, |product, ()| product.wrapping_mul(product | 1))
}

/// A check, with or without work.
#[derive(Clone)]
pub(crate) struct Labour<C, const WORKS: bool> {
    check: C,
    product: u64,
}

impl<C: Check, const WORKS: bool> Labour<C, WORKS> {
    pub(crate) fn new(check: C) -> Self {
        Self { check, product: 1 }
    }

    #[inline(always)]
    pub(crate) fn see<const W: usize>(&mut self, event: &Payload<W>) {
        self.check.see(event.tag(), event.is_whole());
        if WORKS {
            // Each event's work waits for the one before it: none of it overlaps.
            self.product = multiply(self.product ^ event.tag());
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
