//! What this thread is in the middle of: handlers that it runs, claims that it holds. A waiting publish
//! on such a bus would wait for its own thread, so it asks here first.

use crate::sync::thread_local;
use std::cell::RefCell;
use std::marker::PhantomData;

thread_local! {
    /// The buses whose progress may depend on this thread, once for each reason.
    #[allow(clippy::missing_const_for_thread_local, reason = "loom's macro takes no const block")]
    static INSIDE: RefCell<Vec<usize>> = RefCell::new(Vec::new());
}

/// While it lives, this thread counts as being inside the bus. Not `Send`: it is about one thread.
#[derive(Debug)]
pub(crate) struct Inside {
    bus: usize,
    one_thread: PhantomData<*const ()>,
}

impl Inside {
    /// `bus`: a number that no other bus ever has.
    pub(crate) fn enter(bus: usize) -> Self {
        // nothing to note in a thread that is ending: what its other thread-locals do when they are dropped goes unguarded
        let _ = INSIDE.try_with(|inside| inside.borrow_mut().push(bus));
        Self {
            bus,
            one_thread: PhantomData,
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = INSIDE.try_with(|inside| {
            let mut inside = inside.borrow_mut();
            if let Some(at) = inside.iter().rposition(|&bus| bus == self.bus) {
                inside.swap_remove(at);
            }
        });
    }
}

/// Whether this thread is inside the bus.
pub(crate) fn is_inside(bus: usize) -> bool {
    INSIDE
        .try_with(|inside| inside.borrow().contains(&bus))
        .unwrap_or(false)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_entry_counts_and_order_does_not_matter() {
        let (first, second) = (Inside::enter(1), Inside::enter(1));
        let other = Inside::enter(2);
        drop(first);
        assert!(is_inside(1));
        drop(second);
        assert!(!is_inside(1) && is_inside(2));
        drop(other);
        assert!(!is_inside(2));
        assert!(std::thread::spawn(|| !is_inside(1)).join().unwrap());
    }
}
