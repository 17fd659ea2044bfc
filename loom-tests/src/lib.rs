//! The harness of the models in `tests/`: loom runs each in every interleaving within a preemption bound.
//!
//! A model that never fails proves nothing, so each has mutants (`mutants.txt`) that it must kill: `run` checks that. What
//! makes a model blind, found by mutants that survived:
//!
//! * loom remembers one load of a word only: when a thread loads a word and then changes it by CAS, loads by other threads before
//!   that are not tried in the other order. So whoever must see such a change half done yields first.
//! * What a thread made or saw before it yielded it never sees stale again. So it is not the thread that built the bus.
//! * Any `SeqCst` fence, as in a topology's refresh or beside a word that somebody may sleep on, does the work of Acquire and
//!   Release orderings around it. So these are checked where there are none: a ring without topology does not fence its
//!   refresh, ends that spin do not look for sleepers.
//! * A thread that is joined has told everything. So outcomes are looked at before, too.
#![cfg(loom)]

use loom::thread::{JoinHandle, yield_now};
use ringway::{Bus, BusConfig, Producer, ProducerKind, Topology, Wait};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::time::{Duration, Instant};

/// A model that takes longer has proven nothing and fails, unless `LOOM_MAX_DURATION` (in seconds) says otherwise.
const CAP: Duration = Duration::from_secs(60);
/// loom looks at the clock once in so many executions.
const EXECUTIONS_BETWEEN_CLOCK_READS: usize = 500;

thread_local! {
    // loom runs all threads of a model on the thread that checks it
    static SEEN: RefCell<BTreeMap<String, u64>> = const { RefCell::new(BTreeMap::new()) };
    static EXECUTIONS: Cell<u64> = const { Cell::new(0) };
}

/// Notes an outcome of the execution that runs now.
pub fn saw(outcome: impl Into<String>) {
    SEEN.with(|seen| *seen.borrow_mut().entry(outcome.into()).or_default() += 1);
}

/// What a model must do to pass.
#[derive(Debug)]
pub struct Model {
    /// How often a thread may be preempted in one execution, unless `LOOM_MAX_PREEMPTIONS` says otherwise.
    pub preemptions: usize,
    /// So many interleavings at least: a model that was reduced to nothing by accident fails.
    pub executions: u64,
    /// Exactly these outcomes are seen, each at least once; sorted.
    pub outcomes: &'static [&'static str],
}

impl Model {
    /// Checks it: no execution may panic, race or deadlock, and all that `self` says must hold.
    ///
    /// In a process whose `RINGWAY_MUTANT` names a mutant only the first counts: a mutant is killed by what the model itself
    /// finds, never by a count.
    ///
    /// # Panics
    /// When the model fails, or the cap was hit.
    pub fn check(self, model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound.get_or_insert(self.preemptions);
        builder.checkpoint_interval = EXECUTIONS_BETWEEN_CLOCK_READS;
        let cap = *builder.max_duration.get_or_insert(CAP);
        let started = Instant::now();
        builder.check(move || {
            EXECUTIONS.set(EXECUTIONS.get() + 1);
            model();
        });
        let took = started.elapsed();
        let (executions, seen) = (EXECUTIONS.take(), SEEN.take());
        report(executions, took, &seen);
        if std::env::var_os("RINGWAY_MUTANT").is_none() {
            assert!(took < cap, "the cap of {cap:?} was hit: nothing is proven");
            assert!(
                executions >= self.executions,
                "{executions} executions; at least {} expected",
                self.executions
            );
            assert_eq!(
                seen.keys().collect::<Vec<_>>(),
                self.outcomes,
                "the outcomes"
            );
        }
    }
}

#[expect(clippy::print_stdout, reason = "the report of a test, read by `run`")]
fn report(executions: u64, took: Duration, seen: &BTreeMap<String, u64>) {
    let seen: Vec<String> = seen
        .iter()
        .map(|(outcome, times)| format!("{outcome} ({times})"))
        .collect();
    println!(
        "\nmodel: {executions} executions, {:.1} s: {}",
        took.as_secs_f64(),
        seen.join(", ")
    );
}

/// A tiny bus: everybody parks at once, so that a lost wake-up shows as a deadlock.
#[must_use]
pub fn parking(capacity: usize) -> BusConfig {
    BusConfig {
        capacity,
        wait: Wait::Park,
        batch_max: 2,
        stages_max: 2,
        ..BusConfig::default()
    }
}

/// The same bus where everybody spins: for models whose threads try a few times and never wait.
#[must_use]
pub fn trying(capacity: usize) -> BusConfig {
    BusConfig {
        wait: Wait::BusySpin,
        ..parking(capacity)
    }
}

/// Starts a bus that has no managed stages.
///
/// # Panics
/// When the topology is wrong.
#[must_use]
pub fn start<T: Send + 'static, K: ProducerKind>(
    topology: Topology<T, K>,
) -> (Bus<T>, Producer<T, K>) {
    ringway::model::start(topology).expect("the model's graph is right")
}

/// Starts a bus with these events in it, then its managed stages, each on a thread of the model.
///
/// # Panics
/// When the topology is wrong, or the events do not fit.
#[must_use]
pub fn start_managed<T: Copy + Send + 'static, K: ProducerKind>(
    mut topology: Topology<T, K>,
    events: &[T],
) -> (Bus<T>, Producer<T, K>, Vec<JoinHandle<()>>) {
    let threads = ringway::model::take_threads(&mut topology);
    let (bus, mut producer) = start(topology);
    assert_eq!(producer.try_publish_slice(events), Ok(events.len()));
    (
        bus,
        producer,
        threads.into_iter().map(loom::thread::spawn).collect(),
    )
}

/// Tries twice and lets the others run in between: loom starves threads that spin together, so none may try for ever.
pub fn attempt<R, E>(mut verb: impl FnMut() -> Result<R, E>) -> Option<R> {
    verb().ok().or_else(|| {
        yield_now();
        verb().ok()
    })
}

/// Runs a future to its end; a lost wake-up shows as a deadlock.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Bell(loom::sync::Notify);
    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.notify();
        }
    }
    let bell = Arc::new(Bell(loom::sync::Notify::new()));
    let waker = bell.clone().into();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => {
                bell.0.wait();
                yield_now();
            }
        }
    }
}
