//! Describing a stage, and adding it to the plan.

use super::graph::Node;
use super::start::Thread;
use super::{Plan, Stage};
use crate::config::{OnPanic, Smoothing, Wait, validate_batch_max};
use crate::consumer::{AsyncConsumer, Consumer, Reader, UpstreamNames, Worker};
use crate::error::{Error, ErrorKind, StageError};
use crate::ring::slots::{Access, Exclusive};
use crate::stage::{
    Delivery, Each, EachMut, Handler, Handling, Job, KeyedHandling, Source, TryEach, TryEachMut,
    Work,
};
use crate::wait::Waiter;
use crate::wait::signal::Signal;
use std::hash::Hash;
use std::marker::PhantomData;

/// A stage that is being described. Without `.after` it comes after the producers.
#[must_use = "a stage exists only once a handler or a reading end ends its builder"]
pub struct StageBuilder<'t, T: Send + 'static> {
    pub(super) plan: &'t mut Plan<T>,
    pub(super) name: String,
    pub(super) after: Vec<Stage>,
    pub(super) pin: Option<usize>,
    pub(super) wait: Wait,
    pub(super) batch_max: usize,
    pub(super) on_panic: OnPanic,
    pub(super) smoothing: Option<Smoothing>,
}

/// Who runs a stage.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Runs {
    /// A thread of the bus.
    Managed,
    /// A thread of the user's.
    Own,
    /// A task of the user's, that sleeps whatever the wait strategy is.
    Task,
}

impl<T: Send + 'static> StageBuilder<'_, T> {
    /// It sees an event once each of `stages` has passed it.
    pub fn after(mut self, stages: impl IntoIterator<Item = Stage>) -> Self {
        self.after.extend(stages);
        self
    }

    /// Its thread runs on this core only: a system id, see [`cores`](crate::cores). With several members, all of them do.
    pub fn pin(mut self, core: usize) -> Self {
        self.pin = Some(core);
        self
    }

    /// How it waits; [`BusConfig::wait`](crate::BusConfig::wait) unless this says otherwise.
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// The most events it takes at a time; [`BusConfig::batch_max`](crate::BusConfig::batch_max) unless this says otherwise.
    pub fn batch_max(mut self, events: usize) -> Self {
        self.batch_max = events;
        self
    }

    /// What happens when its handler fails; [`BusConfig::on_panic`](crate::BusConfig::on_panic) unless this says otherwise.
    pub fn on_panic(mut self, on_panic: OnPanic) -> Self {
        self.on_panic = on_panic;
        self
    }

    /// Runs `handler` for every event, on a thread of its own.
    pub fn handle(self, handler: impl FnMut(&T, Delivery) + Send + 'static) -> Stage
    where
        T: Sync,
    {
        self.attach(Each(handler))
    }

    /// The same with a handler that can fail: an `Err` is treated as a panic is.
    pub fn try_handle(
        self,
        handler: impl FnMut(&T, Delivery) -> Result<(), StageError> + Send + 'static,
    ) -> Stage
    where
        T: Sync,
    {
        self.attach(TryEach(handler))
    }

    /// Runs `handler` for every event, which it may edit. No other stage may see events at the same time.
    pub fn handle_mut(self, handler: impl FnMut(&mut T, Delivery) + Send + 'static) -> Stage {
        self.run(true, EachMut(handler))
    }

    /// The same with a handler that can fail: an `Err` is treated as a panic is.
    pub fn try_handle_mut(
        self,
        handler: impl FnMut(&mut T, Delivery) -> Result<(), StageError> + Send + 'static,
    ) -> Stage {
        self.run(true, TryEachMut(handler))
    }

    /// Runs a [`Handler`], which has hooks for the end of a batch, its start and its stop.
    pub fn attach(self, handler: impl Handler<T> + Send + 'static) -> Stage
    where
        T: Sync,
    {
        self.run(false, Handling(handler))
    }

    /// Divides events among `members` threads: each event goes to one of them, in no order between members.
    /// `make` is called with 0, 1, .. for each member's handler. Dividing costs a compare-and-swap for each share that a member takes.
    ///
    /// # Panics
    /// When `make` does; the stage does not exist then.
    pub fn share<H>(mut self, members: usize, mut make: impl FnMut(usize) -> H) -> Stage
    where
        T: Sync,
        H: FnMut(&T, Delivery) + Send + 'static,
    {
        let members = self.members(members);
        let handlers: Vec<H> = (0..members).map(&mut make).collect(); // a panic comes before the stage exists
        let (stage, reader, waiter) = self.group(Runs::Managed);
        let workers = std::iter::repeat_n(Worker::<T>::new(reader, waiter), members);
        for (member, (worker, handler)) in workers.zip(handlers).enumerate() {
            self.spawn(stage, Some(member), worker, Handling(Each(handler)));
        }
        stage
    }

    /// Divides events among `members` threads by key: all events of one key go to the same member, in order. Every member looks
    /// at every event and hashes its key (SipHash). When one member ends early, the stage does.
    ///
    /// An event whose `key`, or the hash of it, panics is a failure of every member ([`OnPanic`]); no handler gets it.
    ///
    /// # Panics
    /// When `make` does; the stage does not exist then.
    pub fn share_by<Q, H>(
        mut self,
        members: usize,
        key: impl Fn(&T) -> Q + Send + Sync + 'static,
        mut make: impl FnMut(usize) -> H,
    ) -> Stage
    where
        T: Sync,
        Q: Hash + 'static,
        H: FnMut(&T, Delivery) + Send + 'static,
    {
        let members = self.members(members);
        let handlers: Vec<H> = (0..members).map(&mut make).collect(); // a panic comes before the stage exists
        let (stage, entries) = self.register(members, false, false, Runs::Managed);
        let key = std::sync::Arc::new(key);
        for (member, (&entry, handler)) in entries.iter().zip(handlers).enumerate() {
            let key = key.clone();
            let work = KeyedHandling {
                handler: Each(handler),
                key: move |event: &T| key(event),
                member: member as u64,
                members: members as u64,
                key_type: PhantomData,
            };
            let consumer: Consumer<T> = Consumer::new(self.reader(entry), self.waiter());
            self.spawn(stage, Some(member), consumer, work);
        }
        stage
    }

    /// A reading end whose clones divide the events among them, on threads of the user's own.
    pub fn workers(mut self) -> (Stage, Worker<T>)
    where
        T: Sync,
    {
        let (stage, reader, waiter) = self.group(Runs::Own);
        (stage, Worker::new(reader, waiter))
    }

    /// A reading end for a thread of the user's own.
    pub fn consumer(mut self) -> (Stage, Consumer<T>)
    where
        T: Sync,
    {
        let (stage, reader, waiter) = self.one(false, Runs::Own);
        (stage, Consumer::new(reader, waiter))
    }

    /// A reading end for a thread of the user's own that may edit events or take them out. No other stage may see events
    /// at the same time.
    pub fn consumer_mut(mut self) -> (Stage, Consumer<T, Exclusive>) {
        let (stage, reader, waiter) = self.one(true, Runs::Own);
        (stage, Consumer::new(reader, waiter))
    }

    /// A reading end for a task of any executor.
    pub fn async_consumer(mut self) -> (Stage, AsyncConsumer<T>)
    where
        T: Sync,
    {
        let (stage, reader, waiter) = self.one(false, Runs::Task);
        (stage, AsyncConsumer::new(Consumer::new(reader, waiter)))
    }
}

impl<T: Send + 'static> StageBuilder<'_, T> {
    /// One managed thread that reads every event.
    fn run<A: Access>(mut self, mutates: bool, work: impl Work<T, A>) -> Stage
    where
        Consumer<T, A>: Send,
    {
        let (stage, reader, waiter) = self.one(mutates, Runs::Managed);
        self.spawn(stage, None, Consumer::<T, A>::new(reader, waiter), work);
        stage
    }

    pub(super) fn one(&mut self, mutates: bool, runs: Runs) -> (Stage, Reader<T>, Waiter) {
        let (stage, entries) = self.register(1, false, mutates, runs);
        (stage, self.reader(entries[0]), self.waiter())
    }

    fn group(&mut self, runs: Runs) -> (Stage, Reader<T>, Waiter) {
        let (stage, entries) = self.register(1, true, false, runs);
        (stage, self.reader(entries[0]), self.waiter())
    }

    pub(super) fn waiter(&self) -> Waiter {
        Waiter::new(&self.plan.signals, self.wait)
    }

    pub(super) fn reader(&self, entry: usize) -> Reader<T> {
        let plan = &*self.plan;
        Reader::new(
            &plan.ring,
            &plan.signals,
            self.upstream(),
            entry,
            self.batch_max,
            plan.config.tail_pauses,
        )
    }

    /// The entries of all stages that this one comes after.
    pub(super) fn upstream(&self) -> UpstreamNames {
        let plan = &*self.plan;
        self.parents()
            .flat_map(|node| {
                plan.gates[node]
                    .iter()
                    .map(move |&entry| (entry, plan.nodes[node].name.as_str().into()))
            })
            .collect()
    }

    /// The stages of this topology that it comes after.
    pub(super) fn parents(&self) -> impl Iterator<Item = usize> {
        self.after
            .iter()
            .filter(|stage| stage.topology == self.plan.id)
            .map(|stage| stage.index)
    }

    fn members(&mut self, members: usize) -> usize {
        if !(1..=1024).contains(&members) {
            self.plan
                .note(Error::out_of_range("members", members, "1 to 1024").with_stage(&self.name));
        }
        members.clamp(1, 1024)
    }

    /// Adds the stage to the plan, with so many entries of the cursor table.
    fn register(
        &mut self,
        entries: usize,
        shared: bool,
        mutates: bool,
        runs: Runs,
    ) -> (Stage, Box<[usize]>) {
        self.check(runs);
        let after: Vec<usize> = self.parents().collect();
        if self.wait.parks() || runs == Runs::Task {
            self.watch_upstream();
        }
        if runs == Runs::Own && self.wait == Wait::BusySpin {
            self.plan.own_spinners += 1;
        }
        let entries: Box<[usize]> = (0..entries).map(|_| self.add_entry(shared)).collect();
        let pace = self.pace();
        let plan = &mut *self.plan;
        let stage = Stage {
            topology: plan.id,
            index: plan.nodes.len(),
        };
        plan.nodes.push(Node {
            name: self.name.clone(),
            after,
            mutates,
            is_tap: false,
            replays: false,
        });
        plan.entries.push(entries.clone());
        plan.paces.push(pace);
        plan.gates.push(entries.clone());
        (stage, entries)
    }

    /// Whoever reads here may sleep until something comes.
    pub(super) fn watch_upstream(&self) {
        let upstream = self.upstream();
        if upstream.is_empty() {
            self.plan.signals.watch(Signal::PUBLISHED);
        }
        for (entry, _) in &upstream {
            self.plan.signals.watch(Signal::cursor(*entry));
        }
    }

    pub(super) fn add_entry(&mut self, shared: bool) -> usize {
        let (entry, fits) = self.plan.ring.core.add_reader(shared);
        self.check_fits(fits);
        entry
    }

    pub(super) fn check_fits(&mut self, fits: bool) {
        if !fits {
            let max = self.plan.config.stages_max;
            let text = format!(
                "stage `{}` does not fit: stages_max is {max}, and each keyed member counts as one, a journal as two; raise stages_max",
                self.name
            );
            self.plan
                .note(Error::new(ErrorKind::TooManyStages, text).with_stage(&self.name));
        }
    }

    /// Notes what is wrong with the stage by itself; `start()` tells it.
    pub(super) fn check(&mut self, runs: Runs) {
        let name = self.name.as_str();
        let foreign = self
            .after
            .iter()
            .any(|stage| stage.topology != self.plan.id);
        let found = [
            validate_batch_max(self.batch_max).err(),
            self.wait.validate("wait").err(),
            self.check_smoothing(runs),
            foreign.then(|| {
                let text = format!("stage `{name}` comes after a stage of another topology: use tokens of this one");
                Error::new(ErrorKind::ForeignStage, text)
            }),
            self.pin.filter(|_| runs != Runs::Managed).map(|core| {
                let text = format!(
                    "stage `{name}`: pin is {core}, but the stage runs on a thread of your own; pin that with ringway::pin_current_thread"
                );
                Error::new(ErrorKind::InvalidConfig, text)
            }),
        ];
        for error in found.into_iter().flatten() {
            self.plan.note(error.with_stage(&self.name));
        }
    }

    /// Plans a thread of the bus.
    fn spawn<A: Access>(
        &mut self,
        stage: Stage,
        member: Option<usize>,
        source: impl Source<T, A>,
        work: impl Work<T, A>,
    ) {
        let job = self.job(stage);
        let pace = self.plan.paces[stage.index].clone();
        self.plan_thread(member, move || job.run(source, work, pace));
    }

    pub(super) fn job(&self, stage: Stage) -> Job<T> {
        let plan = &*self.plan;
        Job {
            stage: self.name.clone(),
            ring: plan.ring.clone(),
            signals: plan.signals.clone(),
            entries: plan.entries[stage.index].clone(),
            on_panic: self.on_panic,
            roster: plan.roster.clone(),
            bus: plan.ring.core.id(),
        }
    }

    pub(super) fn plan_thread(
        &mut self,
        member: Option<usize>,
        run: impl FnOnce() + Send + 'static,
    ) {
        self.plan.threads.push(Thread {
            name: member.map_or_else(
                || self.name.clone(),
                |member| format!("{}-{member}", self.name),
            ),
            stage: self.name.clone(),
            pin: self.pin,
            spins: self.wait == Wait::BusySpin,
            run: Box::new(run),
        });
    }
}

impl<T: Send + 'static> std::fmt::Debug for StageBuilder<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StageBuilder")
            .field("name", &self.name)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}
