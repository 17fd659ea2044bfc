//! Rings between two threads, and those that let many threads in: rtrb, ringbuf, nexus-queue, `ArrayQueue`.

use crate::CAPACITY;
use crate::queue::{Events, Sink, Source, queue, sink, source};
use crossbeam_queue::ArrayQueue as CrossbeamArrayQueue;
use ringbuf::traits::{
    Consumer as RingbufConsumer, Observer as _, Producer as RingbufProducer, Split as _,
};
use ringway_harness::payload::Payload;
use std::sync::Arc;

sink!(rtrb::Producer<Payload<W>>, |tx, event| tx
    .push(event)
    .is_ok());
source!(rtrb::Consumer<Payload<W>>, |rx| rx.pop().ok());
queue!(
    Rtrb,
    rtrb::Producer<Payload<W>>,
    rtrb::Consumer<Payload<W>>,
    rtrb::RingBuffer::new(CAPACITY)
);

/// The same through chunks.
pub(crate) struct Chunks<E>(E);
queue!(
    RtrbChunks,
    Chunks<rtrb::Producer<Payload<W>>>,
    Chunks<rtrb::Consumer<Payload<W>>>,
    {
        let (tx, rx) = rtrb::RingBuffer::new(CAPACITY);
        (Chunks(tx), Chunks(rx))
    }
);

impl<const W: usize> Sink<W> for Chunks<rtrb::Producer<Payload<W>>> {
    #[inline(always)]
    fn try_push(&mut self, event: Payload<W>) -> bool {
        self.0.push(event).is_ok()
    }

    #[inline(always)]
    fn try_push_batch(&mut self, events: &mut Events<W>) {
        if let Ok(chunk) = self.0.write_chunk_uninit(events.len()) {
            chunk.fill_from_iter(events);
        }
    }
}

impl<const W: usize> Source<W> for Chunks<rtrb::Consumer<Payload<W>>> {
    #[inline(always)]
    fn try_pop(&mut self) -> Option<Payload<W>> {
        self.0.pop().ok()
    }

    #[inline(always)]
    fn drain(&mut self, mut see: impl FnMut(&Payload<W>)) -> usize {
        let Ok(chunk) = self.0.read_chunk(self.0.slots()) else {
            return 0;
        };
        let (first, second) = chunk.as_slices();
        first.iter().for_each(&mut see);
        second.iter().for_each(see);
        let seen = chunk.len();
        chunk.commit_all();
        seen
    }
}

type RingbufTx<const W: usize> = ringbuf::HeapProd<Payload<W>>;
type RingbufRx<const W: usize> = ringbuf::HeapCons<Payload<W>>;
sink!(RingbufTx<W>, |tx, event| RingbufProducer::try_push(
    tx, event
)
.is_ok());
source!(RingbufRx<W>, |rx| RingbufConsumer::try_pop(rx));
queue!(
    Ringbuf,
    RingbufTx<W>,
    RingbufRx<W>,
    ringbuf::HeapRb::new(CAPACITY).split()
);

/// The same through slices and iterators.
pub(crate) struct Slices<E>(E);
queue!(RingbufSlices, Slices<RingbufTx<W>>, Slices<RingbufRx<W>>, {
    let (tx, rx) = ringbuf::HeapRb::new(CAPACITY).split();
    (Slices(tx), Slices(rx))
});

impl<const W: usize> Sink<W> for Slices<RingbufTx<W>> {
    #[inline(always)]
    fn try_push(&mut self, event: Payload<W>) -> bool {
        RingbufProducer::try_push(&mut self.0, event).is_ok()
    }

    #[inline(always)]
    fn try_push_batch(&mut self, events: &mut Events<W>) {
        let pushed = self.0.push_iter(events.clone());
        events.skip_first(pushed);
    }
}

impl<const W: usize> Source<W> for Slices<RingbufRx<W>> {
    #[inline(always)]
    fn try_pop(&mut self) -> Option<Payload<W>> {
        RingbufConsumer::try_pop(&mut self.0)
    }

    #[inline(always)]
    fn drain(&mut self, mut see: impl FnMut(&Payload<W>)) -> usize {
        if self.0.is_empty() {
            return 0;
        }
        let (first, second) = self.0.as_slices();
        let seen = first.len() + second.len();
        first.iter().for_each(&mut see);
        second.iter().for_each(see);
        self.0.skip(seen)
    }
}

type NexusTx<const W: usize> = nexus_queue::spsc::Producer<Payload<W>>;
type NexusRx<const W: usize> = nexus_queue::spsc::Consumer<Payload<W>>;
sink!(NexusTx<W>, |tx, event| tx.push(event).is_ok());
source!(NexusRx<W>, |rx| rx.pop());
queue!(
    Nexus,
    NexusTx<W>,
    NexusRx<W>,
    nexus_queue::spsc::ring_buffer(CAPACITY)
);

type NexusManyTx<const W: usize> = nexus_queue::mpsc::Producer<Payload<W>>;
type NexusManyRx<const W: usize> = nexus_queue::mpsc::Consumer<Payload<W>>;
sink!(NexusManyTx<W>, |tx, event| tx.push(event).is_ok());
source!(NexusManyRx<W>, |rx| rx.pop());
queue!(
    NexusMany,
    NexusManyTx<W>,
    NexusManyRx<W>,
    nexus_queue::mpsc::ring_buffer(CAPACITY)
);

type Shared<const W: usize> = Arc<CrossbeamArrayQueue<Payload<W>>>;
sink!(Shared<W>, |queue, event| queue.push(event).is_ok());
source!(Shared<W>, |queue| queue.pop());
queue!(ArrayQueue, Shared<W>, Shared<W>, {
    let queue = Arc::new(CrossbeamArrayQueue::new(CAPACITY));
    (queue.clone(), queue)
});
