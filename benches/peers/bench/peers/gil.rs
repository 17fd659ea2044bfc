//! gil: one to one, many to one, many to many; and sharded, a ring for each producer.
//!
//! Its bulk write is an unsafe call, and its best: the only `unsafe` of this comparison stands here.
#![expect(unsafe_code, reason = "gil has no safe call to write in bulk")]

use crate::queue::{Events, NON_ZERO_CAPACITY, Sink, Source, queue, sink, source};
use gil::{mpmc, mpsc, spsc};
use ringway_harness::payload::Payload;
use std::num::NonZeroUsize;

/// Sharded queues have this many rings: they want a power of two, and no scenario has more producers.
const SHARDS: NonZeroUsize = NonZeroUsize::new(4).expect("it is not zero");

/// One of its rings, an event at a time.
macro_rules! singly {
    ($name:ident, $ring:ident) => {
        sink!($ring::Sender<Payload<W>>, |tx, event| tx
            .try_send(event)
            .is_ok());
        source!($ring::Receiver<Payload<W>>, |rx| rx.try_recv());
        queue!(
            $name,
            $ring::Sender<Payload<W>>,
            $ring::Receiver<Payload<W>>,
            $ring::channel(NON_ZERO_CAPACITY)
        );
    };
}

singly!(Gil, spsc);
singly!(GilMany, mpsc);
singly!(GilShared, mpmc);

/// The same in bulk.
pub(crate) struct Bulk<E>(E);
queue!(
    GilBulk,
    Bulk<spsc::Sender<Payload<W>>>,
    Bulk<spsc::Receiver<Payload<W>>>,
    {
        let (tx, rx) = spsc::channel(NON_ZERO_CAPACITY);
        (Bulk(tx), Bulk(rx))
    }
);

/// Bulk calls of a pair of ends, which all of gil's rings have alike.
macro_rules! bulk {
    ($tx:ty, $rx:ty) => {
        impl<const W: usize> Sink<W> for Bulk<$tx> {
            #[inline(always)]
            fn try_push(&mut self, event: Payload<W>) -> bool {
                self.0.try_send(event).is_ok()
            }

            #[inline(always)]
            fn try_push_batch(&mut self, events: &mut Events<W>) {
                let room = self.0.write_buffer();
                let count = room.len().min(events.len());
                for (slot, event) in room[..count].iter_mut().zip(events.first(count)) {
                    slot.write(event);
                }
                // SAFETY: the first `count` slots of the latest buffer, which has at least as many, were written above.
                unsafe { self.0.commit(count) };
                events.skip_first(count);
            }
        }

        impl<const W: usize> Source<W> for Bulk<$rx> {
            #[inline(always)]
            fn try_pop(&mut self) -> Option<Payload<W>> {
                self.0.try_recv()
            }

            #[inline(always)]
            fn drain(&mut self, see: impl FnMut(&Payload<W>)) -> usize {
                let mut guard = self.0.read_guard();
                let seen = guard.len();
                guard.as_slice().iter().for_each(see);
                guard.advance(seen);
                seen
            }
        }
    };
}

bulk!(spsc::Sender<Payload<W>>, spsc::Receiver<Payload<W>>);

bulk!(
    mpsc::sharded::Sender<Payload<W>>,
    mpsc::sharded::Receiver<Payload<W>>
);
queue!(
    /// Ordered for each producer only, as lanes are; every shard has the whole capacity, as every lane has.
    GilSharded,
    Bulk<mpsc::sharded::Sender<Payload<W>>>,
    Bulk<mpsc::sharded::Receiver<Payload<W>>>,
    {
        let (tx, rx) = mpsc::sharded::channel(SHARDS, NON_ZERO_CAPACITY);
        (Bulk(tx), Bulk(rx))
    }
);

impl<T> Clone for Bulk<mpsc::sharded::Sender<T>> {
    fn clone(&self) -> Self {
        Self(mpsc::sharded::Sender::clone(&self.0).expect("there is a shard for every producer"))
    }
}
