//! From a plan to a running bus: the last checks, then the threads.

use crate::affinity::{
    caller_is_pinned, check_core, pin_current_thread, unpin_current_thread, usable_cores,
};
use crate::bus::{Bus, Members, Terms};
use crate::config::{OnUnread, Placement, Wait};
use crate::error::{Error, ErrorKind};
use crate::pressure::{GraphGauge, Watch, Watched};
use crate::producer::{Producer, ProducerKind};
use crate::stage::Roster;
use crate::topology::{Plan, Topology, graph};
use crate::wait::pace::Paces;
use crate::wait::signal::Signal;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{Builder, JoinHandle};

/// A thread that `start()` will start.
pub(super) struct Thread {
    pub(super) name: String,
    pub(super) stage: String,
    pub(super) pin: Option<usize>,
    /// It never gives up its core.
    pub(super) spins: bool,
    pub(super) run: Box<dyn FnOnce() + Send>,
}

impl<T: Send + 'static, K: ProducerKind> Topology<T, K> {
    /// Checks the whole graph, starts the threads of its stages, and returns when each of them runs where it should.
    ///
    /// # Errors
    /// What is wrong with the topology, first mistake first: every [`ErrorKind`] but those of a running bus. No thread is
    /// left behind; reading ends made by this topology end with [`Ended::Drained`](crate::Ended::Drained).
    pub fn start(self) -> Result<(Bus<T>, Producer<T, K>), Error> {
        let mut plan = self.plan;
        if let Some(error) = plan.error.take() {
            return Err(error);
        }
        plan.check_graph()?;
        plan.producer_wait.validate("producer_wait")?;
        let mut warnings = plan.place()?;
        let watch = plan.watch()?;
        let producer = plan.producer();
        let threads = plan.spawn(&mut warnings)?;
        Ok((plan.run(threads, warnings, watch), producer))
    }

    /// Takes what the threads of the bus would run, for a model to run.
    #[cfg(loom)]
    pub(crate) fn take_threads(&mut self) -> Vec<Box<dyn FnOnce() + Send>> {
        self.plan
            .threads
            .drain(..)
            .map(|thread| thread.run)
            .collect()
    }

    /// [`start`](Self::start) of a bus without threads, and without asking the system about cores.
    #[cfg(loom)]
    pub(crate) fn start_unplaced(self) -> Result<(Bus<T>, Producer<T, K>), Error> {
        let mut plan = self.plan;
        if let Some(error) = plan.error.take() {
            return Err(error);
        }
        plan.check_graph()?;
        let producer = plan.producer();
        Ok((plan.run(Vec::new(), Vec::new(), None), producer))
    }
}

impl<T: Send + 'static> Plan<T> {
    fn check_graph(&self) -> Result<(), Error> {
        let unread = self.config.on_unread == OnUnread::Continue;
        graph::check(&self.nodes, self.journal, unread)
    }

    /// The first producer; whoever moves a cursor, also one that joins later, looks for it when it may park.
    fn producer<K: ProducerKind>(&self) -> Producer<T, K> {
        if self.producer_wait.parks() {
            (0..self.config.stages_max).for_each(|entry| self.signals.watch(Signal::cursor(entry)));
        }
        Producer::new(&self.ring, &self.signals, self.producer_wait)
            .with_durability(self.durability.clone())
    }

    /// Starts the thread that watches the pressure, if one shall.
    fn watch(&mut self) -> Result<Option<Watch>, Error> {
        let callback = self.on_pressure.take();
        let Some(marks) = self.config.pressure else {
            let text = "on_pressure was given a callback, but pressure is None: set BusConfig::pressure, so that somebody watches";
            return match callback {
                Some(_) => Err(Error::new(ErrorKind::InvalidConfig, text)),
                None => Ok(None),
            };
        };
        let stages = self.nodes.iter().zip(&self.entries).zip(&self.gates);
        let gauge = GraphGauge {
            ring: self.ring.clone(),
            stages: stages
                .map(|((node, entries), gates)| Watched {
                    name: node.name.as_str().into(),
                    after: node.after.as_slice().into(),
                    entries: entries.clone(),
                    gates: gates.clone(),
                    is_tap: node.is_tap,
                })
                .collect(),
            late: self.late.clone(),
            editors: (self.nodes.iter().enumerate())
                .filter_map(|(index, node)| node.mutates.then_some(index))
                .collect(),
        };
        Watch::start(marks, Box::new(gauge), callback, caller_is_pinned()).map(Some)
    }

    /// The bus that runs now.
    fn run(
        mut self,
        threads: Vec<JoinHandle<()>>,
        warnings: Vec<Error>,
        watch: Option<Watch>,
    ) -> Bus<T> {
        self.started = true;
        self.ring.core.let_go();
        let named = (self.nodes.iter().zip(&self.entries))
            .map(|(node, entries)| (node.is_tap, (node.name.clone(), entries.clone())));
        let (taps, stages) = named.partition::<Vec<_>, _>(|(is_tap, _)| *is_tap);
        let [taps, stages] =
            [taps, stages].map(|all| all.into_iter().map(|(_, one)| one).collect());
        let editors = (self.nodes.iter().zip(&self.entries))
            .filter(|(node, _)| node.mutates)
            .flat_map(|(node, entries)| {
                entries
                    .iter()
                    .map(|&entry| (entry, node.name.as_str().into()))
            })
            .collect();
        let journal = graph::check_replay(&self.nodes, self.journal).map(|()| {
            let node = self.journal.expect("it was found");
            (self.entries[node][0], self.nodes[node].name.as_str().into())
        });
        let terms = Terms {
            config: self.config.clone(),
            producer_wait: self.producer_wait,
            editors,
            journal,
        };
        let names = self.nodes.iter().map(|node| node.name.clone());
        let paces = Paces {
            topology: self.id,
            stages: names.zip(std::mem::take(&mut self.paces)).collect(),
        };
        Bus {
            watch,
            ring: self.ring.clone(),
            signals: self.signals.clone(),
            roster: self.roster.clone(),
            threads: Mutex::new(threads),
            members: Arc::new(Members {
                stages,
                taps,
                late: self.late.clone(),
                terms,
            }),
            warnings,
            durability: self.durability.clone(),
            archive: self.archive.take(),
            paces,
        }
    }

    /// Whether the threads fit the machine; what does not and is not refused, as warnings.
    fn place(&mut self) -> Result<Vec<Error>, Error> {
        let placement = self.config.placement;
        let mut warnings = Vec::new();
        for thread in &mut self.threads {
            let Some(Err(error)) = thread.pin.map(check_core) else {
                continue;
            };
            let error = Error::new(
                ErrorKind::NoSuchCore,
                format!("stage `{}`: {error}", thread.stage),
            )
            .with_stage(&thread.stage);
            if placement != Placement::BestEffort {
                return Err(error);
            }
            warnings.push(error);
            thread.pin = None;
        }
        if let Some(error) = self.too_many_spinners() {
            if placement == Placement::Strict {
                return Err(error);
            }
            warnings.push(error);
        }
        if caller_is_pinned() {
            let text = "start() was called from a pinned thread: stages without a core of their own run on any core of the process, not on the caller's alone";
            warnings.push(Error::new(ErrorKind::PinnedStart, text));
        }
        Ok(warnings)
    }

    fn too_many_spinners(&self) -> Option<Error> {
        let managed = self.threads.iter().filter(|thread| thread.spins).count();
        let producer = usize::from(self.producer_wait == Wait::BusySpin);
        let spinners = managed + self.own_spinners + producer;
        let usable = usable_cores();
        (spinners > usable).then(|| {
            let text = format!(
                "{spinners} threads wait by BusySpin (producers count as one) but {usable} cores are usable: they would take turns of milliseconds; choose Adaptive or Backoff for some"
            );
            Error::new(ErrorKind::TooManySpinners, text)
        })
    }

    /// Starts every thread, and waits until each has found its place.
    fn spawn(&mut self, warnings: &mut Vec<Error>) -> Result<Vec<JoinHandle<()>>, Error> {
        let widen = caller_is_pinned();
        let (placed, places) = mpsc::channel();
        let mut handles = Vec::new();
        let mut failed = None;
        for thread in self.threads.drain(..) {
            match start_thread(thread, widen, &self.roster, placed.clone()) {
                Ok(handle) => handles.push(handle),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        drop(placed);
        for error in places.into_iter().filter_map(Result::err) {
            match self.config.placement {
                Placement::BestEffort => warnings.push(error),
                _ => failed = failed.or(Some(error)),
            }
        }
        let Some(error) = failed else {
            return Ok(handles);
        };
        self.ring.core.never_start();
        self.signals.notify_all(&Default::default());
        self.roster.wait(None);
        Err(error)
    }
}

fn start_thread(
    thread: Thread,
    widen: bool,
    roster: &Arc<Roster>,
    placed: mpsc::Sender<Result<(), Error>>,
) -> Result<JoinHandle<()>, Error> {
    let Thread {
        name,
        stage,
        pin,
        run,
        ..
    } = thread;
    roster.enter(&name);
    let leaves = Leaves {
        roster: roster.clone(),
        thread: name.clone(),
    };
    let body = move || {
        let _leaves = leaves; // ends after `run`, also by a panic
        let place = match pin {
            Some(core) => pin_current_thread(core).map_err(|error| error.with_stage(stage)),
            None => {
                if widen {
                    unpin_current_thread();
                }
                Ok(())
            }
        };
        // `start()` listens until every thread has said so
        let _ = placed.send(place);
        drop(placed);
        run();
    };
    Builder::new()
        .name(name.clone())
        .spawn(body)
        .map_err(|error| {
            let text = format!("thread `{name}` could not be started: {error}");
            Error::new(ErrorKind::Spawn, text).with_source(Arc::new(error))
        })
}

/// Takes a thread off the roster when it ends, or when it could not be started.
struct Leaves {
    roster: Arc<Roster>,
    thread: String,
}

impl Drop for Leaves {
    fn drop(&mut self) {
        self.roster.leave(&self.thread);
    }
}
