//! A message bus inside one process: ring buffers, stage graphs and work sharing between threads, in nanoseconds.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(target_has_atomic = "64"))]
compile_error!("ringway needs 64-bit atomics");

mod affinity;
mod bus;
mod config;
mod consumer;
#[cfg(doctest)]
mod doctests;
mod error;
mod producer;
mod registry;
mod ring;
mod sequence;
mod stage;
mod stats;
mod sync;
mod topology;
mod wait;

pub use affinity::{cores, pin_current_thread, usable_cores};
pub use bus::Bus;
pub use config::{BusConfig, OnPanic, Placement, Wait};
pub use consumer::{AsyncConsumer, Batch, Consumer, Drain, ReadFuture, Worker};
pub use error::{
    BatchError, ClaimError, Ended, Error, ErrorKind, PublishDeadlineError, PublishError, ReadDeadlineError, StageError,
    TryPublishError, TryReadError,
};
pub use producer::{Claim, Multi, Producer, ProducerKind, PublishFuture, Single};
pub use ring::slots::{Access, Exclusive, Iter, IterMut, Shared};
pub use sequence::{Sequence, SequenceRange};
pub use stage::{Delivery, Handler};
pub use stats::{BusStats, Latency, LatencySummary, ProducerStats, StageStats};
pub use topology::{Stage, StageBuilder, Topology};

use consumer::Reader;
use ring::{Kind, Ring};
use sync::Arc;
use wait::Waiter;
use wait::signal::{Signal, Signals};

/// A queue from one thread to another.
///
/// # Panics
/// When `capacity` is 0 or too large, with the text of the [`Error`] that a [`Topology`] returns.
#[must_use]
pub fn spsc<T: Default + Send>(capacity: usize) -> (Producer<T>, Consumer<T, Exclusive>) {
    let (producer, reader, waiter) = two_ends(Kind::Single, capacity, false);
    (producer, Consumer::new(reader, waiter))
}

/// A queue from any number of threads to one: clone the producer.
///
/// # Panics
/// As [`spsc`].
#[must_use]
pub fn mpsc<T: Default + Send>(capacity: usize) -> (Producer<T, Multi>, Consumer<T, Exclusive>) {
    let (producer, reader, waiter) = two_ends(Kind::Multi, capacity, false);
    (producer, Consumer::new(reader, waiter))
}

/// A queue from one thread to any number, each event to exactly one of them: clone the worker.
///
/// # Panics
/// As [`spsc`].
#[must_use]
pub fn spmc<T: Default + Send>(capacity: usize) -> (Producer<T>, Worker<T, Exclusive>) {
    let (producer, reader, waiter) = two_ends(Kind::Single, capacity, true);
    (producer, Worker::new(reader, waiter))
}

/// A queue from any number of threads to any number, each event to exactly one: clone both ends.
///
/// # Panics
/// As [`spsc`].
#[must_use]
pub fn mpmc<T: Default + Send>(capacity: usize) -> (Producer<T, Multi>, Worker<T, Exclusive>) {
    let (producer, reader, waiter) = two_ends(Kind::Multi, capacity, true);
    (producer, Worker::new(reader, waiter))
}

/// A ring without a topology: one stage, no late readers.
fn two_ends<T: Default, K: ProducerKind>(
    kind: Kind,
    capacity: usize,
    shared: bool,
) -> (Producer<T, K>, Reader<T>, Waiter) {
    let config = BusConfig { capacity, ..BusConfig::default() };
    let ring = config.validate().and_then(|()| Ring::new(kind, capacity, 1, false, T::default));
    let ring = Arc::new(ring.unwrap_or_else(|error| panic!("{error}")));
    let signals = Arc::new(Signals::new(1));
    let (entry, _) = ring.core.add_reader(shared);
    signals.watch(Signal::PUBLISHED);
    signals.watch(Signal::cursor(entry));
    let producer = Producer::new(&ring, &signals, config.wait);
    let reader = Reader::new(&ring, &signals, Box::default(), entry, config.batch_max, config.tail_pauses);
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
