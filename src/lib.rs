//! A message bus inside one process: ring buffers, stage graphs and work sharing between threads, in nanoseconds.
//!
//! A bus is one ring of slots that always hold a valid event, and a graph of *stages* that every event passes.
//! Producers write into the ring; each stage has a *cursor* that says how far it is; a stage goes as far as the stages
//! it comes after, and producers go as far as the slowest stage, plus one lap. Moving an event from end to end copies
//! it once, into its slot, allocates nothing, and takes no lock.
//!
//! Two threads need no graph: [`spsc`] returns a producer and a consumer. For more, describe the graph with a
//! [`Topology`] and [`start`](Topology::start) it. Stages run on threads of the bus, on threads of yours, or as async
//! tasks.
//!
//! Contents: [concepts](#concepts), [what to call](#what-to-call), [an example](#an-example),
//! [guarantees](#guarantees), [the modules inside](#the-modules-inside), [sources](#sources).
//!
//! # Concepts
//!
//! | concept | what it is | type |
//! |---|---|---|
//! | event | a `T` in a slot: made once by a factory, then overwritten or edited in place | yours |
//! | sequence | the number of an event: from 0, never reused; ranges are half-open | [`Sequence`], [`SequenceRange`] |
//! | cursor | where an end is: everything below is done | – |
//! | producer | the writing end; `Clone` if there may be several | [`Producer`] |
//! | claim | slots that a producer fills in place and publishes together | [`Claim`] |
//! | consumer | the reading end of a stage that sees every event | [`Consumer`], [`AsyncConsumer`] |
//! | batch | a range of readable events; dropping it frees their slots | [`Batch`] |
//! | lane | a ring of one of many producers; one consumer reads them in turn | [`LaneProducer`], [`LaneConsumer`] |
//! | worker | a member of a group that divides the events of a stage among its members | [`Worker`] |
//! | stage | a node of the graph, named by a `Copy` token | [`Stage`], [`StageBuilder`] |
//! | journal | a stage that writes events to disk; how far it is; what it recorded | [`Journal`]; [`Durability`]; [`Replay`], [`JournalReader`] |
//! | codec | how events become bytes | [`Codec`]: [`Plain`], [`Bytes`], `Postcard` |
//! | topology | the graph while it is built | [`Topology`] |
//! | bus | the graph while it runs | [`Bus`] |
//! | broker | buses by name: topics, of which parts of a service know no more than name and type | [`Broker`], [`Topic`] |
//!
//! # What to call
//!
//! | need | call |
//! |---|---|
//! | a queue between two threads; many to one; one to many and many to many, each event to one | [`spsc`]; [`mpsc`]; [`spmc`], [`mpmc`] |
//! | many to one, as fast as one to one; order per producer, *none between producers* | [`lanes`](lanes()) |
//! | every stage sees every event | [`Topology::single`] or [`Topology::multi`], then a [`stage`](Topology::stage) for each |
//! | a stage after others | [`.after([..])`](StageBuilder::after) |
//! | a stage that edits events for those after it | [`.handle_mut(..)`](StageBuilder::handle_mut) |
//! | a stage that can fail; what follows then | [`.try_handle(..)`](StageBuilder::try_handle); [`OnPanic`] |
//! | a stage with state, and hooks for start, stop and the end of a batch | [`.attach(..)`](StageBuilder::attach) a [`Handler`] |
//! | several threads for one stage, by need; by key, in order for each key | [`.share(..)`](StageBuilder::share); [`.share_by(..)`](StageBuilder::share_by) |
//! | a stage on a thread of mine; on several; as a task | [`.consumer()`](StageBuilder::consumer); [`.workers()`](StageBuilder::workers); [`.async_consumer()`](StageBuilder::async_consumer) |
//! | a stage as a `Stream` of copies; a tap | [`AsyncConsumer`]`::into_stream`, [`Tap`]`::into_stream`, with the feature `stream` |
//! | a reader that joins while the bus runs | [`Bus::subscribe`] |
//! | a reader of copies that may lag, and misses events, is thrown out, or reads on in the journal; while the bus runs; from a sequence on | [`.tap(OnLag)`](StageBuilder::tap); [`Bus::tap`]; [`Bus::tap_from`] |
//! | producers that go on when nobody reads | [`OnUnread::Continue`], as [`BusConfig::on_unread`] |
//! | events taken out of the ring, owned | an [`Exclusive`] end: [`Batch::drain`] |
//! | publish and wait for room; do not wait; drop what finds none; wait so long; in a task | [`publish`](Producer::publish); [`try_publish`](Producer::try_publish); [`publish_or_drop`](Producer::publish_or_drop); [`publish_deadline`](Producer::publish_deadline); [`publish_async`](Producer::publish_async) |
//! | publish without moving the event | [`publish_with`](Producer::publish_with), [`claim`](Producer::claim) |
//! | publish many | [`publish_batch`](Producer::publish_batch), [`publish_slice`](Producer::publish_slice), [`claim`](Producer::claim) |
//! | least latency, most throughput, least processor time | [`BusConfig`] and its presets, [`Wait`], [`.pin(core)`](StageBuilder::pin) |
//! | end it | drop the producers, then [`Bus::shutdown`]; [`Bus::halt`] to leave the rest undelivered |
//! | events that survive a crash; stages that see only what is on disk | [`.journal(..)`](StageBuilder::journal); [`.after([journal])`](StageBuilder::after) |
//! | wait until an event is on disk | [`wait_durable`](Producer::wait_durable), [`Bus::durability`] |
//! | what was recorded: before the start, while it runs, from another process | [`Journal::replay`], [`Bus::replay`], [`JournalReader`] |
//! | where consumers go on after a restart | [`PositionStore`] |
//! | parts of a service that find each other by name | [`Broker`] |
//! | see how it does | [`Bus::stats`], [`Latency`] |
//! | a stage that goes no faster than a rate, as what comes after it wants it | [`.smooth(..)`](StageBuilder::smooth), [`Bus::set_smoothing`] |
//! | be told when the ring fills up, and which stage keeps it full | [`BusConfig::pressure`], [`Topology::on_pressure`], [`Bus::pressure`] |
//!
//! # An example
//!
//! Two sensors; every reading is calibrated, then watched and archived side by side, then summed up on the main thread.
//!
//! ```
//! use ringway::{BusConfig, Topology};
//! use std::thread;
//!
//! #[derive(Default)]
//! struct Reading { sensor: u32, raw: i64, celsius: i64 }
//!
//! let mut topology = Topology::multi(BusConfig::default(), Reading::default)?;
//! let calibrate = topology.stage("calibrate").handle_mut(|reading, _| reading.celsius = reading.raw / 10);
//! let watch = topology.stage("watch").after([calibrate]).handle(|reading, at| {
//!     if reading.celsius > 95 {
//!         println!("reading {}: sensor {} is hot", at.sequence, reading.sensor);
//!     }
//! });
//! let archive = topology.stage("archive").after([calibrate]).share_by(
//!     2, // threads; each sensor's readings stay in order
//!     |reading: &Reading| reading.sensor,
//!     |_member| |_reading: &Reading, _| { /* write it down */ },
//! );
//! let (_, mut done) = topology.stage("done").after([watch, archive]).consumer();
//! let (bus, producer) = topology.start()?;
//!
//! for sensor in 0..2 {
//!     let mut producer = producer.clone();
//!     thread::spawn(move || {
//!         for raw in 0..1000 {
//!             producer.publish(Reading { sensor, raw, celsius: 0 }).expect("the bus is open while somebody reads");
//!         }
//!     });
//! }
//! drop(producer); // the bus closes when the last producer is gone
//!
//! let mut sum = 0;
//! while let Ok(batch) = done.read() { // ends when everything that was published is read
//!     sum += batch.iter().map(|reading| reading.celsius).sum::<i64>();
//! }
//! bus.shutdown()?; // all stages have ended; an error if one failed
//! assert_eq!(sum, 2 * 49_500);
//! # Ok::<(), ringway::Error>(())
//! ```
//!
//! # Guarantees
//!
//! * **Order.** Sequences number the events of all producers in one order; those of one producer keep theirs. Every
//!   stage that is not a group sees every event in that order, and so do all others. Members of a keyed group keep it
//!   for each key, members of an unkeyed group not at all; a stage after a group sees the one order again.
//!   [`lanes`](lanes()) keep the order of each producer only: of two producers one may have waited for the other, and its
//!   event is read first all the same.
//! * **Completeness.** What a publishing verb answered `Ok` for is delivered exactly once to every stage that still
//!   lives (in a group: to one of its members), unless the bus is halted. Nothing is overwritten unread: producers
//!   wait, or are told [`Full`](TryPublishError::Full).
//! * **Visibility.** Whoever reads an event sees all that its producer, and every stage before, did before passing it
//!   on.
//! * **Panics.** A panic in a handler, a factory, an iterator or a `Drop` leaves every slot valid. [`OnPanic`] says
//!   what follows one in a handler. Under `panic = "abort"` there is nothing to catch.
//! * **Memory.** All slots are made when the ring is; an event stays alive in its slot until it is overwritten, for up
//!   to one lap of the ring: as many events as it has slots, see [`BusConfig::capacity`].
//! * **Misuse.** Two threads on one end, a slot kept after its publication, a batch that outlives its end do not
//!   compile. A graph in which one stage could edit what another one reads does not start.
//! * **Leaks.** A [`Claim`] of a multi-producer ring that is forgotten with [`mem::forget`](std::mem::forget) may stall
//!   the bus until it is halted; a forgotten [`Batch`] is freed by the next read. Neither breaks anything else.
//!
//! * **Durability.** With a journal, what was reported durable is there after a crash, in order and whole: [`SyncPolicy`] says
//!   what is reported when.
//!
//! What it is not for, how to choose a wait strategy, and what follows when stages fail stands in `README.md` and
//! `docs/guide.md`.
//!
//! # The modules inside
//!
//! For maintainers. All are private; each may use those of lower layers, and `tests/tidy.rs` sees to it.
//!
//! | layer | module | what it does |
//! |---|---|---|
//! | 12 | `lib` | this guide, exports, `spsc` and its kin |
//! | 11 | `broker` | named, typed topics: buses that it keeps neither open nor alive |
//! | 11 | `lanes` | a ring for each producer; `merge`: which one is read next |
//! | 10 | `topology` | the builder; `graph`: the rules for a whole graph, pure; `start`: threads and their places |
//! | 9 | `bus` | a running bus: watch, close, halt, join |
//! | 8 | `recorder` | the stage of a journal: from the ring into its files |
//! | 8 | `pressure` | the thread that watches the ring; `judge`: what it makes of what it sees, pure |
//! | 8 | `rejoin` | where a tap reads that lags and misses nothing: the journal |
//! | 7 | `stage` | `handler`: what a stage's thread does with a batch; `thread`: its loop, and what follows a failure |
//! | 6 | `stats` | snapshots; `latency`: a histogram |
//! | 5 | `producer`, `consumer` | the two ends: verbs, `claim`, `batch`, `worker`, and `future` for tasks |
//! | 4 | `ring` | *how far* each end may go: `sequencer`, `single`, `multi`, `barrier`, `group`, `table` |
//! | 4 | `wait` | *what to do meanwhile*: strategies; `signal`: sleepers and who wakes them; `context`: threads that would wait for themselves; `durability`: how far a journal is; `pace`: how fast a smoothed stage may go |
//! | 3 | `ring::lines`, `ring::prefetch`, `ring::slots`, `ring::walk`, `ring::cursor` | where events lie; events with the marks that publish them; iterators; positions |
//! | 3 | `pacer` | the token bucket of a smoothed stage, pure |
//! | 3 | `affinity` | which cores there are, and pinning to them |
//! | 2 | `config` | plain values, checked, never corrected |
//! | 1 | `error`, `registry` | one small enum a verb; entries that are taken and given back without a lock |
//! | 0 | `sync`, `sequence` | the only door to atomics, cells, parking and spinning, for loom; numbers |
//!
//! `docs/orderings.md` says which atomic operation pairs with which.
//!
//! # Sources
//!
//! The ring, its sequences, barriers and gating are those of the [LMAX
//! Disruptor](https://lmax-exchange.github.io/disruptor/) (Martin Thompson and others). A mark beside the
//! events that it publishes comes from Dmitry Vyukov's [bounded MPMC
//! queue](https://www.1024cores.net/home/lock-free-algorithms/queues/bounded-mpmc-queue). Sleeping is his
//! [eventcount](https://www.1024cores.net/home/lock-free-algorithms/eventcounts).
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(target_has_atomic = "64"))]
compile_error!("ringway needs 64-bit atomics");

mod affinity;
mod broker;
mod bus;
mod config;
mod consumer;
#[cfg(doctest)]
mod doctests;
mod error;
mod journal;
mod lanes;
mod pacer;
mod pressure;
mod producer;
mod recorder;
mod registry;
mod rejoin;
mod ring;
mod sequence;
mod stage;
mod stats;
mod sync;
mod topology;
mod wait;

pub use affinity::{cores, pin_current_thread, usable_cores};
pub use broker::{Broker, Topic, TopicState};
pub use bus::Bus;
pub use config::{
    BusConfig, JournalConfig, OnJournalError, OnLag, OnPanic, OnUnread, Placement, Pressure,
    RecoveryMode, Retention, Smoothing, SubscribeConfig, SyncPolicy, Wait,
};
#[cfg(feature = "stream")]
pub use consumer::EventStream;
pub use consumer::{
    AsyncConsumer, Batch, Consumer, Drain, ReadFuture, Tap, TapBatch, TapReadFuture, Worker,
};
pub use error::{
    BatchError, ClaimError, DurabilityError, Ended, Error, ErrorKind, PublishDeadlineError,
    PublishError, ReadDeadlineError, StageError, TryPublishError, TryReadError,
};
pub use journal::Journal;
#[cfg(feature = "postcard")]
pub use journal::codec::Postcard;
pub use journal::codec::{Bytes, Codec, Plain};
pub use journal::inspect::{
    FileKind, FrameInfo, FrameKind, FrameWalk, Inspection, OtherFile, SegmentInfo,
};
pub use journal::positions::PositionStore;
pub use journal::reader::{JournalReader, Tail};
pub use journal::recovery::{Cut, Recovery};
pub use journal::replay::{Record, Replay};
pub use lanes::{LaneConsumer, LaneProducer, LaneReadFuture, lanes, lanes_with};
pub use pressure::{PressureLevel, PressureReport};
pub use producer::{Claim, Multi, Producer, ProducerKind, PublishFuture, Single};
pub use ring::slots::{Access, Exclusive, Shared};
pub use ring::walk::{Iter, IterMut};
pub use sequence::{Sequence, SequenceRange};
pub use stage::{Delivery, Handler};
pub use stats::{BusStats, Latency, LatencySummary, ProducerStats, StageStats, TapStats};
pub use topology::{Stage, StageBuilder, Topology};
pub use wait::durability::{Durability, DurabilityFuture, Level};

use consumer::Reader;
use ring::Ring;
use ring::sequencer::Sequencer;
use sync::Arc;
use wait::Waiter;
use wait::signal::{Signal, Signals};

/// A queue from one thread to another.
///
/// ```
/// let (mut tx, mut rx) = ringway::spsc::<u64>(1024);
/// let sender = std::thread::spawn(move || tx.publish_slice(&[1, 2, 3]));
/// let mut sum = 0;
/// while let Ok(batch) = rx.read() {
///     sum += batch.iter().sum::<u64>();
/// }
/// assert_eq!(sum, 6);
/// assert_eq!(sender.join().unwrap(), Ok(3));
/// ```
///
/// # Panics
/// When `capacity` is 0 or too large, with the text of the [`Error`] that a [`Topology`] returns.
#[must_use]
pub fn spsc<T: Default + Send>(capacity: usize) -> (Producer<T>, Consumer<T, Exclusive>) {
    let (producer, reader, waiter) = two_ends(capacity, false);
    (producer, Consumer::new(reader, waiter))
}

/// A queue from any number of threads to one: clone the producer.
///
/// ```
/// let (tx, mut rx) = ringway::mpsc::<u64>(1024);
/// for number in 0..3 {
///     let mut tx = tx.clone();
///     std::thread::spawn(move || tx.publish(number));
/// }
/// drop(tx); // the queue closes when the last producer is gone
/// let mut all = Vec::new();
/// while let Ok(mut batch) = rx.read() {
///     all.extend(batch.drain());
/// }
/// all.sort();
/// assert_eq!(all, [0, 1, 2]);
/// ```
///
/// # Panics
/// As [`spsc`].
#[must_use]
pub fn mpsc<T: Default + Send>(capacity: usize) -> (Producer<T, Multi>, Consumer<T, Exclusive>) {
    let (producer, reader, waiter) = two_ends(capacity, false);
    (producer, Consumer::new(reader, waiter))
}

/// A queue from one thread to any number, each event to exactly one of them: clone the worker.
///
/// ```
/// let (mut tx, rx) = ringway::spmc::<u64>(1024);
/// let workers = [rx.clone(), rx].map(|mut rx| {
///     std::thread::spawn(move || {
///         let mut sum = 0;
///         while let Ok(batch) = rx.read() {
///             sum += batch.iter().sum::<u64>();
///         }
///         sum
///     })
/// });
/// tx.publish_slice(&[1, 2, 3]).unwrap();
/// drop(tx);
/// assert_eq!(workers.map(|worker| worker.join().unwrap()).iter().sum::<u64>(), 6);
/// ```
///
/// # Panics
/// As [`spsc`].
#[must_use]
pub fn spmc<T: Default + Send>(capacity: usize) -> (Producer<T>, Worker<T, Exclusive>) {
    let (producer, reader, waiter) = two_ends(capacity, true);
    (producer, Worker::new(reader, waiter))
}

/// A queue from any number of threads to any number, each event to exactly one: clone both ends.
///
/// ```
/// let (tx, rx) = ringway::mpmc::<u64>(1024);
/// let workers = [rx.clone(), rx].map(|mut rx| {
///     std::thread::spawn(move || {
///         let mut sum = 0;
///         while let Ok(batch) = rx.read() {
///             sum += batch.iter().sum::<u64>();
///         }
///         sum
///     })
/// });
/// for mut tx in [tx.clone(), tx] {
///     std::thread::spawn(move || tx.publish_slice(&[1, 2, 3]));
/// }
/// assert_eq!(workers.map(|worker| worker.join().unwrap()).iter().sum::<u64>(), 12);
/// ```
///
/// # Panics
/// As [`spsc`].
#[must_use]
pub fn mpmc<T: Default + Send>(capacity: usize) -> (Producer<T, Multi>, Worker<T, Exclusive>) {
    let (producer, reader, waiter) = two_ends(capacity, true);
    (producer, Worker::new(reader, waiter))
}

/// A ring without a topology: one stage.
fn two_ends<T: Default, K: ProducerKind>(
    capacity: usize,
    shared: bool,
) -> (Producer<T, K>, Reader<T>, Waiter) {
    let config = BusConfig {
        capacity,
        ..BusConfig::default()
    };
    let ring = config
        .validate()
        .and_then(|()| Ring::new(K::Sequencer::KIND, capacity, 1, false, T::default));
    let ring = Arc::new(ring.unwrap_or_else(|error| panic!("{error}")));
    let signals = Arc::new(Signals::new(1));
    let (entry, _) = ring.core.add_reader(shared);
    signals.watch(Signal::PUBLISHED);
    signals.watch(Signal::cursor(entry));
    let producer = Producer::new(&ring, &signals, config.wait);
    let reader = Reader::new(
        &ring,
        &signals,
        Box::default(),
        entry,
        config.batch_max,
        config.tail_pauses,
    );
    (producer, reader, Waiter::new(&signals, config.wait))
}

/// For the models in `loom-tests`.
#[cfg(loom)]
#[doc(hidden)]
pub mod model {
    use crate::{Bus, Error, Producer, ProducerKind, Topology};

    /// Takes what the threads of the bus would run.
    pub fn take_threads<T: Send + 'static, K: ProducerKind>(
        topology: &mut Topology<T, K>,
    ) -> Vec<Box<dyn FnOnce() + Send>> {
        topology.take_threads()
    }

    pub use crate::topology::model_sink::{ModelPast, ModelSink, record, replaying};

    /// [`Topology::start`] of a bus without threads, and without asking the system about cores.
    ///
    /// # Errors
    /// As [`Topology::start`].
    pub fn start<T: Send + 'static, K: ProducerKind>(
        topology: Topology<T, K>,
    ) -> Result<(Bus<T>, Producer<T, K>), Error> {
        topology.start_unplaced()
    }
}

/// The code in these pages compiles, and does what it says.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/guide.md")]
struct Readme;
