//! Lanes: a single-producer ring for each of many producers, merged by one consumer.
//!
//! **Opening.** Lanes stand in a table that never shrinks or moves. A new producer takes a lane that has none, the lowest first,
//! or makes one. A lane whose producer is gone may be taken at once, drained or not: the next producer goes on at the sequence
//! where the last one stopped, so what it publishes comes after. So there are never more lanes than there were producers
//! at one time, whatever the consumer does.
//!
//! **Merging.** See [`merge`]. Nobody tells the consumer which lanes hold events: that would cost producers a locked instruction
//! or a fence. It looks: all the time at lanes that had something lately, now and then at the others, and at all of
//! them before it answers that there is nothing, or sleeps.
//!
//! **Sleeping.** The consumer sleeps on one word for all lanes, the producer of each on a word of its own. A publication fences and
//! looks for the sleeping consumer as in any ring; what the consumer looks at after it has registered are all lanes, those
//! included that were opened before that publication.
//!
//! **The end.** One word counts producers. Whoever takes it to 0 has dropped the last producer, and what that saw published
//! the consumer sees too: it reads the word *before* it looks at the lanes, so that lanes that are empty then stay so. A consumer
//! that goes sets a bit in the same word, then closes every lane that there is; a producer counts itself once its
//! lane is there, and closes that itself if it finds the bit. Both are RMWs of one word: one comes first.

mod consumer;
mod merge;
mod producer;

pub use consumer::{LaneConsumer, LaneReadFuture};
pub use producer::LaneProducer;

use crate::config::BusConfig;
use crate::error::Error;
use crate::registry::Registry;
use crate::ring::cursor::Counters;
use crate::ring::{Kind, Ring};
use crate::sync::{Arc, AtomicUsize, OnceLock, Ordering, at, step};
use crate::wait::signal::{Signal, Signals};
use crossbeam_utils::CachePadded;

/// In `Hub::ends`: the consumer is gone. Below it stands the number of living producers.
const LEFT: usize = 1 << (usize::BITS - 1);

/// Where producers and the consumer meet. Nobody writes it to publish or to read.
struct Hub<T> {
    lanes: Registry<OnceLock<Lane<T>>>,
    ends: CachePadded<AtomicUsize>,
    /// Where the consumer sleeps.
    signals: Arc<Signals>,
    /// Of the producer that was dropped last.
    counters: Counters,
    config: BusConfig,
    event: fn() -> T,
}

struct Lane<T> {
    ring: Arc<Ring<T>>,
    /// Where its producer sleeps.
    signals: Arc<Signals>,
    /// The consumer's place in the ring's table.
    entry: usize,
}

impl<T> Lane<T> {
    fn new(config: &BusConfig, event: fn() -> T) -> Result<Self, Error> {
        let ring = Arc::new(Ring::new(Kind::Single, config.capacity, 1, false, event)?);
        let signals = Arc::new(Signals::new(1));
        let (entry, _) = ring.core.add_reader(false);
        if config.wait.parks() {
            signals.watch(Signal::cursor(entry));
        }
        // The lane counts as a producer that never leaves: a real one that does must not close the ring for those to come.
        ring.core.add_producer();
        Ok(Self {
            ring,
            signals,
            entry,
        })
    }
}

impl<T> Hub<T> {
    fn new(config: BusConfig, event: fn() -> T) -> Result<Self, Error> {
        config.validate()?;
        let signals = Arc::new(Signals::new(0));
        if config.wait.parks() {
            signals.watch(Signal::PUBLISHED);
        }
        Ok(Self {
            lanes: Registry::new(),
            ends: CachePadded::new(AtomicUsize::new(0)),
            signals,
            counters: Counters::default(),
            config,
            event,
        })
    }

    /// The lane of a seat that the caller has taken, made if need be; its producer counts from now on.
    fn open(&self, seat: usize) -> Result<&Lane<T>, Error> {
        let entry = self.lanes.entry(seat);
        if entry.get().is_none() {
            let lane = Lane::new(&self.config, self.event)?;
            // not there yet, and only the seat's owner makes it
            let _ = entry.set(lane);
        }
        let lane = entry.get().expect("it was made, now or earlier");
        // pairs: ENDS (leave)
        let ends = self.ends.fetch_add(1, Ordering::AcqRel);
        if ends & LEFT != 0 && step("lane_left_open") {
            lane.ring.core.close();
        }
        Ok(lane)
    }

    /// A producer is gone, and will publish nothing more.
    fn leave(&self) {
        // pairs: ENDS (has_ended)
        let before = self.ends.fetch_sub(1, at("lane_leave", Ordering::AcqRel));
        if before & !LEFT == 1 && step("lanes_end_unnotified") {
            self.signals.notify(Signal::PUBLISHED, &self.counters);
        }
    }

    /// Whether all producers are gone. Lanes that are looked at *after* this and are empty stay so.
    fn has_ended(&self) -> bool {
        // pairs: ENDS (leave): what they published
        self.ends.load(at("lanes_ended", Ordering::Acquire)) & !LEFT == 0
    }

    /// The consumer is gone. Whoever opens a lane that the caller does not see from now on closes it.
    fn abandon(&self) {
        // pairs: ENDS (open): their lanes
        self.ends.fetch_or(LEFT, Ordering::AcqRel);
    }
}

/// Keeps order per producer, none between producers: what one publishes before another one does may be read after it, even if the
/// second waited for the first. A queue from any number of threads to one, with a ring, a *lane*, for each producer:
/// clone the producer.
///
/// Producers share nothing, so publishing costs what it costs a single producer: no locked instruction, no cache line that
/// others write. Where several producers are busy that is several times as fast as [`mpsc`](crate::mpsc()), whose events have one order.
/// The consumer reads lanes in turn, at most a batch of each.
///
/// `capacity` is that of each lane, rounded up to a power of two. A lane is made, with all its slots, when a producer is cloned and no
/// lane is free; it is kept until both ends are gone. The lane of a producer that is gone is free for the next one, which may
/// find events there that are still to be read. So there are as many lanes as there were ever producers at one time.
///
/// Each of them takes the memory of a ring: its slots as [`BusConfig::capacity`] counts them, behind them 512 bytes that stay unused, so
/// that what a producer asks for ahead of where it writes is no other lane's, and about four kilobytes besides.
///
/// ```
/// let (tx, mut rx) = ringway::lanes::<u64>(1024);
/// for thread in 0..3 {
///     let mut tx = tx.clone();
///     std::thread::spawn(move || tx.publish_slice(&[thread * 10, thread * 10 + 1]));
/// }
/// drop(tx); // the lanes close when the last producer is gone
/// let mut all = Vec::new();
/// while let Ok(mut batch) = rx.read() {
///     all.extend(batch.drain()); // of one lane
/// }
/// all.sort();
/// assert_eq!(all, [0, 1, 10, 11, 20, 21]);
/// ```
///
/// # Panics
/// When `capacity` is 0 or too large, with the text of the [`Error`] that [`lanes_with`] returns.
#[must_use]
pub fn lanes<T: Default + Send>(capacity: usize) -> (LaneProducer<T>, LaneConsumer<T>) {
    let config = BusConfig {
        capacity,
        ..BusConfig::default()
    };
    lanes_with(config).unwrap_or_else(|error| panic!("{error}"))
}

/// [`lanes`] with another configuration: [`capacity`](BusConfig::capacity) (of each lane), [`wait`](BusConfig::wait) (of both ends),
/// [`batch_max`](BusConfig::batch_max) and [`tail_pauses`](BusConfig::tail_pauses) of `config` count.
///
/// ```
/// use ringway::{BusConfig, Wait};
/// let config = BusConfig { capacity: 64, wait: Wait::Yield, ..BusConfig::default() };
/// let (mut tx, mut rx) = ringway::lanes_with::<u64>(config)?;
/// tx.publish(1)?;
/// assert!(rx.read()?.iter().eq(&[1]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`InvalidConfig`](crate::ErrorKind::InvalidConfig), and [`CapacityTooLarge`](crate::ErrorKind::CapacityTooLarge) when the first
/// lane does not fit into memory.
pub fn lanes_with<T: Default + Send>(
    config: BusConfig,
) -> Result<(LaneProducer<T>, LaneConsumer<T>), Error> {
    let hub = Arc::new(Hub::new(config, T::default)?);
    let producer = LaneProducer::open(&hub)?;
    Ok((producer, LaneConsumer::new(hub)))
}
