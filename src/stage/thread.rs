//! The loop of a managed stage: read a batch, hand it to the handler, free it; and what happens when that fails.

use crate::config::OnPanic;
use crate::consumer::{Batch, Consumer, Worker};
use crate::error::{Ended, StageError};
use crate::ring::cursor::Counters;
use crate::ring::slots::Access;
use crate::ring::walk::Numbered;
use crate::ring::{Core, Ring};
use crate::sequence::Sequence;
use crate::stage::Delivery;
use crate::stage::handler::Work;
use crate::sync::{Arc, drop_quietly};
use crate::wait::context::Inside;
use crate::wait::pace::Pace;
use crate::wait::signal::Signals;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

/// A reading end that a managed stage can run on.
pub(crate) trait Source<T, A: Access>: Send + 'static {
    fn next_batch(&mut self) -> Result<Batch<'_, T, A>, Ended>;

    /// The same for a smoothed stage.
    fn next_paced(&mut self, pace: &Pace) -> Result<Batch<'_, T, A>, Ended>;
}

impl<T: Send + 'static, A: Access> Source<T, A> for Consumer<T, A>
where
    Self: Send,
{
    fn next_batch(&mut self) -> Result<Batch<'_, T, A>, Ended> {
        self.read()
    }

    fn next_paced(&mut self, pace: &Pace) -> Result<Batch<'_, T, A>, Ended> {
        self.read_paced(pace)
    }
}

impl<T: Send + 'static, A: Access> Source<T, A> for Worker<T, A>
where
    Self: Send,
{
    fn next_batch(&mut self) -> Result<Batch<'_, T, A>, Ended> {
        self.read()
    }

    fn next_paced(&mut self, pace: &Pace) -> Result<Batch<'_, T, A>, Ended> {
        self.read_paced(pace)
    }
}

/// A handler that failed, and ended its stage or the bus with that.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) stage: String,
    /// The event it failed on, if it was one.
    pub(crate) sequence: Option<u64>,
    pub(crate) cause: std::sync::Arc<dyn std::error::Error + Send + Sync>,
}

/// The threads of a bus that still run, and what went wrong on those that ended.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    state: Mutex<RosterState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct RosterState {
    running: Vec<String>,
    failures: Vec<Failure>,
}

impl Roster {
    pub(crate) fn enter(&self, thread: &str) {
        self.lock().running.push(thread.to_owned());
    }

    /// The thread has ended, or was never started.
    pub(crate) fn leave(&self, thread: &str) {
        let mut state = self.lock();
        // one of them: a stage may be named as a member of another one is
        if let Some(at) = state.running.iter().position(|one| one == thread) {
            state.running.swap_remove(at);
        }
        drop(state);
        self.changed.notify_all();
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.lock().running.is_empty()
    }

    pub(crate) fn fail(&self, failure: Failure) {
        self.lock().failures.push(failure);
    }

    pub(crate) fn failures(&self) -> Vec<Failure> {
        self.lock().failures.clone()
    }

    /// Waits until no thread runs; those that still do when the deadline passes.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Vec<String> {
        let mut state = self.lock();
        while !state.running.is_empty() {
            state = match deadline {
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    self.changed
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
        state.running.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, RosterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread of one stage, or of one member of it, has to do with the bus.
pub(crate) struct Job<T> {
    /// The stage's name.
    pub(crate) stage: String,
    pub(crate) ring: Arc<Ring<T>>,
    pub(crate) signals: Arc<Signals>,
    /// The entries of the stage: when one of its threads ends early, all do.
    pub(crate) entries: Box<[usize]>,
    pub(crate) on_panic: OnPanic,
    pub(crate) roster: std::sync::Arc<Roster>,
    pub(crate) bus: usize,
}

/// The stage goes no further: the event at `position` and those after it are not done; `events` of the batch were.
#[derive(Debug)]
pub(crate) struct Stopped {
    position: u64,
    events: u64,
}

/// One batch on its way through a handler.
pub(crate) struct Pass<'j> {
    core: &'j Core,
    on_panic: OnPanic,
    failed: &'j mut dyn FnMut(Option<u64>, StageError),
}

impl Pass<'_> {
    /// Whether the stage goes on after an event that failed.
    pub(crate) fn skips(&self) -> bool {
        self.on_panic == OnPanic::Skip
    }

    /// Hands each event to `handle`, until one fails (and the stage does not skip it) or the bus is halted.
    #[inline]
    pub(crate) fn deliver<I: Numbered>(
        &mut self,
        mut events: I,
        mut handle: impl FnMut(I::Event, Delivery) -> Result<(), StageError>,
    ) -> Result<(), Stopped> {
        let first = self.core.numbering().first();
        let (mut at, mut done) = (0, 0);
        loop {
            let run = || {
                while let Some((sequence, event)) = events.next_numbered() {
                    at = sequence;
                    let end_of_batch = !events.has_more();
                    handle(
                        event,
                        Delivery {
                            sequence: Sequence::new(first + sequence),
                            end_of_batch,
                        },
                    )?;
                    done += 1;
                    if self.core.is_halted() {
                        return Ok(false);
                    }
                }
                Ok(true)
            };
            match flatten(catch_unwind(AssertUnwindSafe(run))) {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    return Err(Stopped {
                        position: at + 1,
                        events: done,
                    });
                }
                Err(cause) => (self.failed)(Some(first + at), cause),
            }
            if !self.skips() {
                return Err(Stopped {
                    position: at,
                    events: done,
                });
            }
            done += 1;
            if self.core.is_halted() {
                return Err(Stopped {
                    position: at + 1,
                    events: done,
                });
            }
        }
    }
}

/// A panic is an error like others.
fn flatten<R>(
    outcome: Result<Result<R, StageError>, Box<dyn Any + Send>>,
) -> Result<R, StageError> {
    outcome.unwrap_or_else(|panic| Err(format!("panicked: {}", panic_text(panic)).into()))
}

/// What a panic says.
pub(crate) fn panic_text(panic: Box<dyn Any + Send>) -> String {
    let text = match panic.downcast_ref::<&str>() {
        Some(text) => (*text).to_owned(),
        None => panic
            .downcast_ref::<String>()
            .cloned()
            .unwrap_or_else(|| "a value that is not text".to_owned()),
    };
    drop_quietly(panic);
    text
}

impl<T: Send + 'static> Job<T> {
    /// Runs the stage to its end, at this pace if there is one. Whatever fails on the way is in the roster then.
    ///
    /// One loop for both: with two the handler would be inlined into neither.
    pub(crate) fn run<A: Access>(
        self,
        mut source: impl Source<T, A>,
        mut work: impl Work<T, A>,
        pace: Option<Arc<Pace>>,
    ) {
        let inside = Inside::enter(self.bus);
        let started = flatten(catch_unwind(AssertUnwindSafe(|| work.start())));
        let goes_on = started.map_err(|cause| self.failed(None, cause)).is_ok()
            || self.on_panic == OnPanic::Skip;
        if goes_on {
            while let Ok(batch) = match &pace {
                None => source.next_batch(),
                Some(pace) => source.next_paced(pace),
            } {
                if !self.pass(batch, &mut work) {
                    break;
                }
            }
        }
        drop(source); // the stage has ended: nobody waits for what its handler does now
        let stopped = flatten(catch_unwind(AssertUnwindSafe(|| {
            work.stop();
            drop(work);
            Ok(())
        })));
        if let Err(cause) = stopped {
            self.failed(None, cause);
        }
        drop(inside);
    }

    /// One batch; `false`: the stage ends.
    fn pass<A: Access>(&self, mut batch: Batch<'_, T, A>, work: &mut impl Work<T, A>) -> bool {
        let (range, below) = (batch.range(), batch.sequences().end());
        let counters = batch.counters();
        let mut failed = |sequence, cause| {
            counters.failures.add(1);
            self.failed(sequence, cause);
        };
        let mut pass = Pass {
            core: &self.ring.core,
            on_panic: self.on_panic,
            failed: &mut failed,
        };
        if let Err(Stopped { position, events }) = work.deliver(&mut batch, &mut pass) {
            batch.stop_at(position, events);
            return false;
        }
        if batch.is_empty() {
            return true;
        }
        let ended = flatten(catch_unwind(AssertUnwindSafe(|| work.batch_end(below))));
        if let Err(cause) = ended {
            failed(None, cause);
            if self.on_panic != OnPanic::Skip {
                batch.stop_at(range.start, 0);
                return false;
            }
        }
        true
    }

    /// Notes a failure, and starts what the stage's policy says.
    #[cold]
    fn failed(&self, sequence: Option<u64>, cause: StageError) {
        match self.on_panic {
            OnPanic::Skip => return drop_quietly(cause),
            OnPanic::Halt => self.ring.core.halt(),
            OnPanic::Retire => self
                .entries
                .iter()
                .for_each(|&index| self.ring.core.table.entry(index).stop()),
        }
        self.roster.fail(Failure {
            stage: self.stage.clone(),
            sequence,
            cause: cause.into(),
        });
        self.signals.notify_all(&Counters::default());
    }
}
