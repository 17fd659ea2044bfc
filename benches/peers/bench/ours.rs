//! Ringway, as its users would call it: a topology with a consumer on a thread of the harness.

use crate::CAPACITY;
use crate::queue::{Events, Idle, Queue, Sink, Source};
use ringway::{
    BusConfig, Consumer, Error, Exclusive, LaneConsumer, LaneProducer, Multi, Producer,
    ProducerKind, Shared, Single, Topology, Wait, Worker,
};
use ringway_harness::payload::Payload;

/// The most producers of a row with lanes.
const LANES: usize = 4;

/// As everybody waits in the row, in Ringway's own words: `Yield` spins 64 times and then yields.
pub(crate) fn config(idle: Idle) -> BusConfig {
    let wait = match idle {
        Idle::Spin => Wait::BusySpin,
        Idle::SpinThenYield => Wait::Yield,
    };
    waiting(wait)
}

fn waiting(wait: Wait) -> BusConfig {
    BusConfig {
        capacity: CAPACITY,
        wait,
        ..BusConfig::default()
    }
}

type Ends<K, const W: usize> = (Producer<Payload<W>, K>, Consumer<Payload<W>, Exclusive>);
type SharedEnds<const W: usize> = (Producer<Payload<W>, Multi>, Worker<Payload<W>>);

fn one_to_one<const W: usize>(config: BusConfig) -> Ends<Single, W> {
    one_reader(Topology::single(config, Payload::blank))
}

fn many_to_one<const W: usize>(config: BusConfig) -> Ends<Multi, W> {
    one_reader(Topology::multi(config, Payload::blank))
}

fn one_reader<K: ProducerKind, const W: usize>(
    topology: Result<Topology<Payload<W>, K>, Error>,
) -> Ends<K, W> {
    let mut topology = topology.expect("a valid configuration");
    let (_, consumer) = topology.stage("consumer").consumer_mut();
    let (_bus, producer) = topology.start().expect("a valid topology");
    (producer, consumer)
}

fn many_to_many<const W: usize>(config: BusConfig) -> SharedEnds<W> {
    let mut topology = Topology::multi(config, Payload::blank).expect("a valid configuration");
    let (_, worker) = topology.stage("workers").workers();
    let (_bus, producer) = topology.start().expect("a valid topology");
    (producer, worker)
}

/// Writing ends that wait by themselves.
macro_rules! writer {
    ([$($bound:tt)*] $type:ty) => {
        impl<$($bound)* const W: usize> Sink<W> for $type
        where
            Self: Send + 'static,
        {
            #[inline(always)]
            fn try_push(&mut self, event: Payload<W>) -> bool {
                self.publish(event).is_ok()
            }

            #[inline(always)]
            fn try_push_batch(&mut self, events: &mut Events<W>) {
                // an iterator of its own stays in registers; one that is lent need not
                let count = self.publish_batch(events.clone()).expect("somebody reads");
                events.skip_first(count);
            }
        }
    };
}

writer!([K: ProducerKind,] Producer<Payload<W>, K>);
writer!([] LaneProducer<Payload<W>>);

/// Reading ends that wait by themselves and read whatever there is in one batch.
macro_rules! reader {
    ($type:ty) => {
        impl<const W: usize> Source<W> for $type {
            #[inline(always)]
            fn try_pop(&mut self) -> Option<Payload<W>> {
                self.read().ok()?.iter().next().copied()
            }

            #[inline(always)]
            fn drain(&mut self, see: impl FnMut(&Payload<W>)) -> usize {
                let Ok(batch) = self.read() else {
                    return 0;
                };
                batch.iter().for_each(see);
                batch.len()
            }
        }
    };
}

reader!(Consumer<Payload<W>, Exclusive>);
reader!(Consumer<Payload<W>, Shared>);
reader!(Worker<Payload<W>>);
reader!(LaneConsumer<Payload<W>>);

/// Implements [`Queue`] by the ends and the call that opens them.
macro_rules! ringway {
    ($(#[$meta:meta])* $name:ident, $tx:ty, $rx:ty, |$idle:ident| $open:expr) => {
        $(#[$meta])*
        pub(crate) enum $name {}

        impl Queue for $name {
            type Tx<const W: usize> = $tx;
            type Rx<const W: usize> = $rx;

            fn open<const W: usize>($idle: Idle) -> (Self::Tx<W>, Self::Rx<W>) {
                $open
            }
        }
    };
}

ringway!(
    /// One producer, one consumer.
    Ringway,
    Producer<Payload<W>, Single>,
    Consumer<Payload<W>, Exclusive>,
    |idle| one_to_one(config(idle))
);
ringway!(
    /// The same where both might sleep.
    Adaptive,
    Producer<Payload<W>, Single>,
    Consumer<Payload<W>, Exclusive>,
    |_idle| one_to_one(waiting(Wait::Adaptive))
);
ringway!(
    /// The same where the consumer does.
    Parking,
    Producer<Payload<W>, Single>,
    Consumer<Payload<W>, Exclusive>,
    |_idle| one_to_one(waiting(Wait::Park))
);
ringway!(
    /// Many producers, one consumer.
    RingwayMany,
    Producer<Payload<W>, Multi>,
    Consumer<Payload<W>, Exclusive>,
    |idle| many_to_one(config(idle))
);
ringway!(
    /// Many producers, and workers that divide the events.
    RingwayShared,
    Producer<Payload<W>, Multi>,
    Worker<Payload<W>>,
    |idle| many_to_many(config(idle))
);
ringway!(
    /// The same with the defaults of the library.
    RingwayDefault,
    Producer<Payload<W>, Multi>,
    Worker<Payload<W>>,
    |_idle| many_to_many(waiting(Wait::default()))
);
ringway!(
    /// Many producers, each with a ring of its own; all of them together hold no more than the rings of the others.
    Lanes,
    LaneProducer<Payload<W>>,
    LaneConsumer<Payload<W>>,
    |idle| {
        let capacity = CAPACITY / LANES;
        ringway::lanes_with(BusConfig { capacity, ..config(idle) }).expect("a valid configuration")
    }
);
