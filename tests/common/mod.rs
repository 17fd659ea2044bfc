//! What several test files share: a limit for bodies that could hang, seeded randomness, and things that tell what
//! happened to them.
#![allow(
    dead_code,
    reason = "every test file is a crate of its own, and none uses all of this"
)]

pub(crate) mod executor;
#[cfg(unix)]
pub(crate) mod journal;
pub(crate) mod payload;
pub(crate) mod script;

use ringway::{BusConfig, Consumer, Exclusive, Wait};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// No body here works for more than a few seconds; one that is not done by then never will be.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a body that could hang if the bus is wrong: fails instead.
pub(crate) fn within<R: Send + 'static>(
    limit: Duration,
    body: impl FnOnce() -> R + Send + 'static,
) -> R {
    let (done, outcome) = mpsc::channel();
    let name = thread::current().name().unwrap_or("body").to_owned();
    let runner = thread::Builder::new().name(name).spawn(move || {
        // the test that listens may have given up
        let _ = done.send(catch_unwind(AssertUnwindSafe(body)));
    });
    runner.expect("a thread can be started");
    match outcome.recv_timeout(limit) {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_) => panic!("still running after {limit:?}: somebody is stuck"),
    }
}

/// [`within`] the usual limit.
pub(crate) fn limited<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> R {
    within(LIMIT, body)
}

/// A deadline that the test expects to pass.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_millis(20)
}

/// A deadline that must not pass.
pub(crate) fn later() -> Instant {
    Instant::now() + LIMIT / 2
}

/// Every wait strategy.
pub(crate) const STRATEGIES: [Wait; 5] = [
    Wait::Adaptive,
    Wait::Park,
    Wait::backoff(),
    Wait::Yield,
    Wait::BusySpin,
];

/// Tiny ones, where ends meet all the time, and one that is not.
pub(crate) const CAPACITIES: [usize; 5] = [1, 2, 3, 4, 64];

/// `most`, or fewer where spinners on too few cores take turns of milliseconds for every hand-off.
pub(crate) fn bearable(most: u64, capacity: usize, wait: Wait) -> u64 {
    match wait {
        Wait::BusySpin => (4 * capacity as u64).min(40),
        _ => most,
    }
}

pub(crate) fn waiting(capacity: usize, wait: Wait) -> BusConfig {
    BusConfig {
        wait,
        ..config(capacity)
    }
}

pub(crate) fn config(capacity: usize) -> BusConfig {
    BusConfig {
        capacity,
        ..BusConfig::default()
    }
}

/// Runs code that is expected to panic, and returns the text.
pub(crate) fn panic_of<R>(body: impl FnOnce() -> R) -> String {
    let Err(panic) = catch_unwind(AssertUnwindSafe(body)) else {
        panic!("it was expected to panic")
    };
    text_of(&*panic)
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "a value that is not text".to_owned(),
    }
}

/// Waits, politely, for what another thread is about to bring about.
pub(crate) fn until(mut happened: impl FnMut() -> bool) {
    while !happened() {
        thread::yield_now();
    }
}

/// A list that any thread may append to.
#[derive(Debug)]
pub(crate) struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T> Log<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn push(&self, item: T) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(item);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(crate) fn contains(&self, item: &T) -> bool
    where
        T: PartialEq,
    {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(item)
    }

    /// What is in it, which is then empty.
    pub(crate) fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// How many events of a kind live.
#[derive(Clone, Debug, Default)]
pub(crate) struct Census(Arc<AtomicUsize>);

impl Census {
    pub(crate) fn living(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn event(&self, number: u64) -> Counted {
        self.0.fetch_add(1, Ordering::SeqCst);
        Counted {
            number,
            census: Some(self.clone()),
        }
    }
}

/// An event that leaves its census when it is dropped, and notices if that happens twice.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) number: u64,
    census: Option<Census>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(census) = self.census.take() {
            let before = census.0.fetch_sub(1, Ordering::SeqCst);
            assert!(before > 0, "event {} was dropped twice", self.number);
        }
    }
}

/// Pseudo-random numbers (SplitMix64): the same seed gives the same test.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// From 0 up to and without `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// Another one, that takes its own course.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }
}

/// A bijection in which every bit depends on every other.
pub(crate) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// Runs a test with a fresh seed, or that of the environment variable `RINGWAY_SEED`, and names it when the test fails.
pub(crate) fn seeded(name: &str, body: impl FnOnce(Random)) {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |time| time.as_nanos() as u64);
    let fresh = mix(now ^ CALLS.fetch_add(1, Ordering::Relaxed));
    let seed = std::env::var("RINGWAY_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(fresh);
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(Random::new(seed)))) {
        panic!("{name}, RINGWAY_SEED={seed}: {}", text_of(&*panic));
    }
}

/// Everything that is there now, taken out.
pub(crate) fn rest<T: Default>(rx: &mut Consumer<T, Exclusive>) -> Vec<T> {
    let mut all = Vec::new();
    while let Ok(mut batch) = rx.try_read() {
        all.extend(batch.drain());
    }
    all
}

/// Numbers as events of a batch.
pub(crate) fn numbers(range: std::ops::Range<usize>) -> impl ExactSizeIterator<Item = u64> {
    range.map(|number| number as u64)
}
