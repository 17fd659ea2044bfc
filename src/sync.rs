//! The only door to atomics, cells, `Arc`, parking and spinning: `std`, or `loom` when a model is checked.
//!
//! Two rules keep models and code the same (each was found by a model that misjudged correct code):
//! every write of a word that somebody may sleep on is a read-modify-write, and hand-offs of the form
//! "I write, then look at yours" put [`fence`] between the two on both sides instead of using `SeqCst`
//! accesses, which loom weakens.
//!
//! Orderings, fences and steps that a mutant may weaken carry a label. Outside loom the label is gone
//! at compile time; under loom the environment variable `RINGWAY_MUTANT` names the one label that is
//! broken in this process, so one build checks the protocol and all its mutants.

pub(crate) use imp::*;

std::thread_local! {
    /// 0 until the thread has asked for its number.
    static NUMBER: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// A number that no other thread of this process ever has; never 0.
pub(crate) fn thread_number() -> u64 {
    static LAST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NUMBER.with(|number| {
        if number.get() == 0 {
            // relaxed: only that each is given once
            number.set(LAST.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1);
        }
        number.get()
    })
}

/// Drops a value of the user's, whose drop may panic, where a panic would break off something that must go on.
pub(crate) fn drop_quietly<T>(value: T) {
    let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(value)));
    // a panic's own payload may be such a value again
    std::mem::forget(dropped);
}

/// A number that no other ring of this process ever has.
pub(crate) fn ring_number() -> usize {
    static LAST: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    // relaxed: only that each is given once
    LAST.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// The thread's number, for comparing: 0 in a thread that has never asked for its number.
#[inline(always)]
pub(crate) fn thread_mark() -> u64 {
    NUMBER.with(std::cell::Cell::get)
}

#[cfg(not(loom))]
mod imp {
    pub(crate) use std::hint::spin_loop;
    pub(crate) use std::sync::atomic::Ordering;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize};
    pub(crate) use std::sync::{Arc, Mutex, OnceLock, TryLockError, Weak};
    pub(crate) use std::thread::yield_now;
    pub(crate) use std::thread_local;

    use std::time::{Duration, Instant};

    /// `UnsafeCell` with loom's interface: the pointer lives only inside the closure.
    #[derive(Debug)]
    #[repr(transparent)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }
        #[inline(always)]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }
        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }

    /// A reference that keeps nothing alive.
    pub(crate) fn downgrade<T>(strong: &Arc<T>) -> Weak<T> {
        Arc::downgrade(strong)
    }

    /// Lets a moment pass, for nobody in particular.
    #[inline(always)]
    pub(crate) fn pause() {
        spin_loop();
    }

    /// A sequentially consistent fence.
    #[inline(always)]
    pub(crate) fn fence(_label: &'static str) {
        std::sync::atomic::fence(Ordering::SeqCst);
    }

    /// Keeps the compiler from moving what comes before it behind what comes after it.
    #[inline(always)]
    pub(crate) fn compiler_fence() {
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
    }

    /// It was refused after it had been granted.
    static BARRIER_REFUSED: AtomicBool = AtomicBool::new(false);

    /// Whether the system has [`barrier_everywhere`]: asked once. Containers may refuse it.
    pub(crate) fn has_barrier_everywhere() -> bool {
        static REGISTERED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
        // relaxed: a hint: who does not see it is refused too
        *REGISTERED.get_or_init(barrier::register) && !BARRIER_REFUSED.load(Ordering::Relaxed)
    }

    /// A sequentially consistent fence in every thread of the process at once, at some moment during this call.
    /// `false`: the system refuses it; then nobody need ask again.
    pub(crate) fn barrier_everywhere() -> bool {
        let done = has_barrier_everywhere() && barrier::put();
        if !done {
            // relaxed: as above
            BARRIER_REFUSED.store(true, Ordering::Relaxed);
        }
        done
    }

    /// `membarrier`: interrupts each core on which a thread of the process runs; the others pass a fence when they run again.
    #[cfg(target_os = "linux")]
    mod barrier {
        use rustix::thread::{MembarrierCommand, membarrier};

        pub(super) fn register() -> bool {
            membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
        }

        pub(super) fn put() -> bool {
            membarrier(MembarrierCommand::PrivateExpedited).is_ok()
        }
    }

    #[cfg(not(target_os = "linux"))]
    mod barrier {
        pub(super) fn register() -> bool {
            false
        }

        pub(super) fn put() -> bool {
            false
        }
    }

    /// The ordering itself; `_label` names it for mutants.
    #[inline(always)]
    pub(crate) const fn at(_label: &'static str, ordering: Ordering) -> Ordering {
        ordering
    }

    /// `true`: a step of a protocol that a mutant leaves out or does in the wrong place.
    #[inline(always)]
    pub(crate) const fn step(_label: &'static str) -> bool {
        true
    }

    /// Puts the current thread to sleep until its [`Unparker`] is used.
    #[derive(Debug)]
    pub(crate) struct Parker;

    #[derive(Clone, Debug)]
    pub(crate) struct Unparker(std::thread::Thread);

    impl Parker {
        pub(crate) fn new() -> Self {
            Self
        }
        /// Wakes the thread that calls this.
        pub(crate) fn unparker(&self) -> Unparker {
            Unparker(std::thread::current())
        }
        /// May return early: the caller looks again.
        pub(crate) fn park(&self, deadline: Option<Instant>) {
            match deadline {
                None => std::thread::park(),
                Some(deadline) => {
                    std::thread::park_timeout(deadline.saturating_duration_since(Instant::now()));
                }
            }
        }
    }

    impl Unparker {
        pub(crate) fn unpark(&self) {
            self.0.unpark();
        }
    }

    pub(crate) fn sleep(duration: Duration) {
        std::thread::sleep(duration);
    }
}

#[cfg(loom)]
mod imp {
    pub(crate) use loom::sync::atomic::Ordering;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize};
    pub(crate) use loom::sync::{Arc, Mutex};
    pub(crate) use loom::thread::yield_now;
    pub(crate) use loom::thread_local;
    pub(crate) use std::sync::TryLockError;

    use std::time::{Duration, Instant};

    pub(crate) type UnsafeCell<T> = loom::cell::UnsafeCell<T>;

    /// The label that is broken in this process.
    fn mutant() -> &'static str {
        static MUTANT: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        MUTANT.get_or_init(|| std::env::var("RINGWAY_MUTANT").unwrap_or_default())
    }

    /// `std`'s, whose ordering loom does not see, behind a flag that it does.
    #[derive(Debug)]
    pub(crate) struct OnceLock<T> {
        is_set: AtomicBool,
        value: std::sync::OnceLock<T>,
    }

    impl<T> Default for OnceLock<T> {
        fn default() -> Self {
            Self {
                is_set: AtomicBool::new(false),
                value: std::sync::OnceLock::new(),
            }
        }
    }

    impl<T> OnceLock<T> {
        pub(crate) fn set(&self, value: T) -> Result<(), T> {
            self.value.set(value)?;
            // pairs: ONCE (get)
            self.is_set.store(true, Ordering::Release);
            Ok(())
        }
        pub(crate) fn get(&self) -> Option<&T> {
            // pairs: ONCE (set)
            let is_set = self.is_set.load(Ordering::Acquire);
            self.value.get().filter(|_| is_set)
        }
    }

    /// loom's `Arc` has none: in a model it keeps alive what it names. So nothing but its memory may hang on it.
    pub(crate) struct Weak<T>(Arc<T>);

    impl<T> Weak<T> {
        pub(crate) fn upgrade(&self) -> Option<Arc<T>> {
            Some(self.0.clone())
        }
    }

    pub(crate) fn downgrade<T>(strong: &Arc<T>) -> Weak<T> {
        Weak(strong.clone())
    }

    /// A spinning thread must let the others run, or loom never ends.
    pub(crate) fn spin_loop() {
        loom::thread::yield_now();
    }

    /// loom has no time.
    pub(crate) fn pause() {}

    pub(crate) fn fence(label: &'static str) {
        if mutant() != label {
            loom::sync::atomic::fence(Ordering::SeqCst);
        }
    }

    pub(crate) fn compiler_fence() {}

    /// loom knows no such barrier: in a model whoever wakes fences, always.
    pub(crate) fn has_barrier_everywhere() -> bool {
        false
    }

    pub(crate) fn barrier_everywhere() -> bool {
        false
    }

    pub(crate) fn at(label: &'static str, ordering: Ordering) -> Ordering {
        // relaxed: the mutant itself
        if mutant() == label {
            Ordering::Relaxed
        } else {
            ordering
        }
    }

    pub(crate) fn step(label: &'static str) -> bool {
        mutant() != label
    }

    /// `Notify` keeps a permit as `std`'s park does, and a lost wake-up shows as a deadlock.
    #[derive(Debug)]
    pub(crate) struct Parker(Unparker);

    #[derive(Clone, Debug)]
    pub(crate) struct Unparker(std::sync::Arc<loom::sync::Notify>);

    impl Parker {
        pub(crate) fn new() -> Self {
            Self(Unparker(std::sync::Arc::new(loom::sync::Notify::new())))
        }
        pub(crate) fn unparker(&self) -> Unparker {
            self.0.clone()
        }
        pub(crate) fn park(&self, deadline: Option<Instant>) {
            assert!(deadline.is_none(), "loom has no time");
            self.0.0.wait();
        }
    }

    impl Unparker {
        pub(crate) fn unpark(&self) {
            self.0.notify();
        }
    }

    pub(crate) fn sleep(_: Duration) {
        panic!("loom has no time");
    }
}
