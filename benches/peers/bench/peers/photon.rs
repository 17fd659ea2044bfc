//! photon-ring, through its two rings that lose nothing. Its ring for many producers does, and takes no part.

use crate::CAPACITY;
use crate::queue::{Events, Sink, Source, queue, sink};
use photon_ring::{
    DependencyBarrier, EventPublisher, EventSubscriber, Publisher, Subscriber, channel_bounded,
    event_channel,
};
use ringway_harness::payload::Payload;

/// Events that are plain data, copied in and out.
pub(crate) fn bounded<const W: usize>() -> (Publisher<[u64; W]>, photon_ring::Subscribable<[u64; W]>)
{
    channel_bounded(CAPACITY, 0)
}

queue!(Photon, Publisher<[u64; W]>, Subscriber<[u64; W]>, {
    let (tx, ring) = bounded();
    (tx, ring.subscribe())
});

impl<const W: usize> Sink<W> for Publisher<[u64; W]> {
    #[inline(always)]
    fn try_push(&mut self, event: Payload<W>) -> bool {
        self.try_publish(event.words()).is_ok()
    }

    /// Its `publish_batch` on a bounded ring is this loop, but waits by spinning.
    #[inline(always)]
    fn try_push_batch(&mut self, events: &mut Events<W>) {
        while let Some(event) = events.peek()
            && self.try_push(event)
        {
            events.skip_first(1);
        }
    }
}

impl<const W: usize> Source<W> for Subscriber<[u64; W]> {
    #[inline(always)]
    fn try_pop(&mut self) -> Option<Payload<W>> {
        self.try_recv().ok().map(Payload::from_words)
    }
}

/// A subscriber that runs behind others.
pub(crate) struct Gated<const W: usize>(
    pub(crate) Subscriber<[u64; W]>,
    pub(crate) DependencyBarrier,
);

impl<const W: usize> Source<W> for Gated<W> {
    #[inline(always)]
    fn try_pop(&mut self) -> Option<Payload<W>> {
        let event = self.0.try_recv_gated(&self.1).ok();
        event.map(Payload::from_words)
    }
}

sink!(EventPublisher<Payload<W>>, |tx, event| tx
    .try_publish(|slot| *slot = event));
queue!(
    /// Events of any type, edited in place.
    PhotonEvents,
    EventPublisher<Payload<W>>,
    EventSubscriber<Payload<W>>,
    {
        let (tx, ring) = event_channel(CAPACITY, Payload::blank);
        (tx, ring.subscribe())
    }
);

impl<const W: usize> Source<W> for EventSubscriber<Payload<W>> {
    #[inline(always)]
    fn try_pop(&mut self) -> Option<Payload<W>> {
        self.process(|event| *event)
    }

    #[inline(always)]
    fn drain(&mut self, mut see: impl FnMut(&Payload<W>)) -> usize {
        let mut seen = 0;
        while self.process(&mut see).is_some() {
            seen += 1;
        }
        seen
    }
}
