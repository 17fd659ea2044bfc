//! Building a bus: a graph of stages, named by tokens.

mod builder;
mod durable;
mod graph;
#[cfg(loom)]
pub mod model_sink;
mod smooth;
mod start;
mod tap;

use crate::config::{BusConfig, OnUnread, Wait};
use crate::consumer::LateReaders;
use crate::error::Error;
use crate::journal::replay::Archive;
use crate::pressure::{Callback, PressureReport};
use crate::producer::{Multi, ProducerKind, Single};
use crate::ring::{Kind, Ring};
use crate::stage::Roster;
use crate::sync::Arc;
use crate::wait::durability::Durability;
use crate::wait::pace::Pace;
use crate::wait::signal::Signals;
use graph::Node;
use start::Thread;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

pub use builder::StageBuilder;

/// Names a stage of one topology. Only stages that exist can be named, so cycles cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stage {
    topology: u64,
    index: usize,
}

/// A bus that is being built: add stages, then [`start`](Self::start) it.
///
/// ```
/// use ringway::{BusConfig, Topology};
/// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
///
/// #[derive(Default)]
/// struct Order { price: u64, approved: bool }
///
/// let booked = Arc::new(AtomicU64::new(0));
/// let mut topology = Topology::multi(BusConfig::default(), Order::default)?;
/// let risk = topology.stage("risk").handle_mut(|order, _| order.approved = order.price < 1_000);
/// let audit = topology.stage("audit").after([risk]).handle(|_order, _| {});
/// let book = topology.stage("book").after([risk]).handle({
///     let booked = booked.clone();
///     move |order, _| { booked.fetch_add(u64::from(order.approved), Ordering::Relaxed); }
/// });
/// topology.stage("ack").after([audit, book]).handle(|_order, _| {});
/// let (bus, producer) = topology.start()?;
///
/// let gateways: Vec<_> = (0..2)
///     .map(|_| {
///         let mut producer = producer.clone();
///         std::thread::spawn(move || for price in [10, 5_000] {
///             producer.publish(Order { price, approved: false }).unwrap();
///         })
///     })
///     .collect();
/// gateways.into_iter().for_each(|gateway| gateway.join().unwrap());
/// drop(producer);
/// bus.shutdown()?;
/// assert_eq!(booked.load(Ordering::Relaxed), 2);
/// # Ok::<(), ringway::Error>(())
/// ```
#[must_use = "a topology does nothing until it is started"]
pub struct Topology<T: Send + 'static, K: ProducerKind> {
    plan: Plan<T>,
    kind: PhantomData<K>,
}

/// What has been said about the bus so far.
struct Plan<T> {
    /// Tells its tokens from those of other topologies.
    id: u64,
    config: BusConfig,
    producer_wait: Wait,
    ring: Arc<Ring<T>>,
    signals: Arc<Signals>,
    nodes: Vec<Node>,
    /// The entries in the cursor table of each node.
    entries: Vec<Box<[usize]>>,
    /// Those of which a stage that comes after the node waits for; not always the node's own.
    gates: Vec<Box<[usize]>>,
    /// How fast each node may go, if that was said.
    paces: Vec<Option<Arc<Pace>>>,
    /// Who joins it once it runs.
    late: std::sync::Arc<LateReaders>,
    /// What is to be told of pressure.
    on_pressure: Option<Callback>,
    durability: Option<Durability>,
    archive: Option<Archive<T>>,
    /// The node of the journal.
    journal: Option<usize>,
    threads: Vec<Thread>,
    /// Threads of the user's that were said to spin.
    own_spinners: usize,
    roster: std::sync::Arc<Roster>,
    /// What `start()` will answer.
    error: Option<Error>,
    started: bool,
}

impl<T: Send + 'static> Topology<T, Single> {
    /// A bus with one producer, whose slots `event` fills: it is called once a slot. There may be more
    /// slots than the capacity says: see [`BusConfig::capacity`].
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig); [`CapacityTooLarge`](crate::ErrorKind::CapacityTooLarge) when the system does not
    /// give the memory for the slots.
    ///
    /// # Panics
    /// When `event` does.
    pub fn single(config: BusConfig, event: impl FnMut() -> T) -> Result<Self, Error> {
        Ok(Self {
            plan: Plan::new(Kind::Single, config, event)?,
            kind: PhantomData,
        })
    }
}

impl<T: Send + 'static> Topology<T, Multi> {
    /// A bus with any number of producers, whose slots `event` fills: it is called once a slot. There may be more
    /// slots than the capacity says: see [`BusConfig::capacity`].
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig); [`CapacityTooLarge`](crate::ErrorKind::CapacityTooLarge) when the system does not
    /// give the memory for the slots.
    ///
    /// # Panics
    /// When `event` does.
    pub fn multi(config: BusConfig, event: impl FnMut() -> T) -> Result<Self, Error> {
        Ok(Self {
            plan: Plan::new(Kind::Multi, config, event)?,
            kind: PhantomData,
        })
    }
}

impl<T: Send + 'static, K: ProducerKind> Topology<T, K> {
    /// Begins a stage. It exists once a verb ends the builder; mistakes are told by [`start`](Self::start).
    pub fn stage(&mut self, name: impl Into<String>) -> StageBuilder<'_, T> {
        let BusConfig {
            wait,
            batch_max,
            on_panic,
            ..
        } = self.plan.config;
        StageBuilder {
            plan: &mut self.plan,
            name: name.into(),
            after: Vec::new(),
            pin: None,
            wait,
            batch_max,
            on_panic,
            smoothing: None,
        }
    }

    /// How producers wait while the ring is full; [`BusConfig::wait`] unless this says otherwise.
    pub fn producer_wait(&mut self, wait: Wait) -> &mut Self {
        self.plan.producer_wait = wait;
        self
    }

    /// Calls `callback` when the level of the ring changes, when a stage is stalled, and no longer, and when another one is to
    /// blame; the last time when no stage is left, if the level was high or one stalled then. A second callback replaces the first.
    ///
    /// It runs on the thread that watches ([`BusConfig::pressure`]), which is never a stage's: while the callback runs, nobody looks.
    /// One that panics is not called again; the thread watches on. It may still run when the bus has ended: nobody
    /// waits for it.
    ///
    /// ```
    /// use ringway::{BusConfig, Pressure, PressureLevel, Topology};
    /// use std::sync::mpsc;
    /// let config = BusConfig { capacity: 8, pressure: Some(Pressure::default()), ..BusConfig::default() };
    /// let mut topology = Topology::single(config, || 0)?;
    /// let (_, mut slow) = topology.stage("slow").consumer();
    /// let (tell, told) = mpsc::channel();
    /// topology.on_pressure(move |report| { let _ = tell.send(report.clone()); });
    /// let (bus, mut producer) = topology.start()?;
    ///
    /// producer.publish_batch(0..8)?; // full
    /// let report = told.recv()?;
    /// assert_eq!((report.level, report.stage.as_deref()), (PressureLevel::High, Some("slow")));
    /// drop(slow.read()?);
    /// assert_eq!(told.recv()?.level, PressureLevel::Low);
    /// # drop(producer);
    /// # bus.shutdown()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_pressure(
        &mut self,
        callback: impl FnMut(&PressureReport) + Send + 'static,
    ) -> &mut Self {
        self.plan.on_pressure = Some(Box::new(callback));
        self
    }
}

impl<T: Send + 'static> Plan<T> {
    fn new(kind: Kind, config: BusConfig, event: impl FnMut() -> T) -> Result<Self, Error> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        config.validate()?;
        let ring = Arc::new(Ring::new(
            kind,
            config.capacity,
            config.stages_max,
            true, // readers may join it while it runs
            event,
        )?);
        ring.core.hold_open();
        if config.on_unread == OnUnread::Continue {
            ring.core.go_on_unread();
        }
        Ok(Self {
            // relaxed: only that each is given once
            id: LAST.fetch_add(1, Ordering::Relaxed),
            producer_wait: config.wait,
            ring,
            signals: Arc::new(Signals::new(Self::signal_words(config.stages_max))),
            config,
            nodes: Vec::new(),
            entries: Vec::new(),
            gates: Vec::new(),
            paces: Vec::new(),
            late: std::sync::Arc::default(),
            on_pressure: None,
            durability: None,
            archive: None,
            journal: None,
            threads: Vec::new(),
            own_spinners: 0,
            roster: std::sync::Arc::default(),
            error: None,
            started: false,
        })
    }

    /// Keeps the first thing that is wrong.
    fn note(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }
}

impl<T> Drop for Plan<T> {
    /// A topology that never starts: whoever waits on an end of it ends.
    fn drop(&mut self) {
        if !self.started {
            self.ring.core.never_start();
            self.signals.notify_all(&Default::default());
        }
    }
}

impl<T: Send + 'static, K: ProducerKind> std::fmt::Debug for Topology<T, K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topology")
            .field("stages", &self.plan.nodes)
            .field("config", &self.plan.config)
            .finish_non_exhaustive()
    }
}
