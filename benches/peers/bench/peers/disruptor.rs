//! disruptor, through its pollers: threads, pinning and waiting are the harness's, as for everybody else.

use crate::CAPACITY;
use crate::queue::{Events, Sink, Source, queue};
use disruptor::{
    BusySpin, EventPoller, MultiConsumerBarrier, MultiProducerBarrier, Producer,
    SingleConsumerBarrier, SingleProducerBarrier, build_multi_producer, build_single_producer,
};
use ringway_harness::payload::Payload;

/// A producer of either kind.
#[derive(Clone)]
pub(crate) struct Publishing<P>(pub(crate) P);

impl<P, const W: usize> Sink<W> for Publishing<P>
where
    P: Producer<Payload<W>> + Send + 'static,
{
    #[inline(always)]
    fn try_push(&mut self, event: Payload<W>) -> bool {
        self.0.try_publish(|slot| *slot = event).is_ok()
    }

    #[inline(always)]
    fn try_push_batch(&mut self, events: &mut Events<W>) {
        let batch = events.clone();
        let published = self.0.try_batch_publish(events.len(), |slots| {
            slots.zip(batch).for_each(|(slot, event)| *slot = event);
        });
        if published.is_ok() {
            events.skip_first(events.len());
        }
    }
}

/// A poller behind one kind of barrier: the trait of barriers is private, so each kind is named.
macro_rules! poller {
    ($barrier:ty) => {
        impl<const W: usize> Source<W> for EventPoller<Payload<W>, $barrier> {
            #[inline(always)]
            fn try_pop(&mut self) -> Option<Payload<W>> {
                let mut events = self.take(1).ok()?;
                (&mut events).next().copied()
            }

            #[inline(always)]
            fn drain(&mut self, see: impl FnMut(&Payload<W>)) -> usize {
                let Ok(mut events) = self.poll() else {
                    return 0;
                };
                let seen = (&mut events).len();
                (&mut events).for_each(see);
                seen
            }
        }
    };
}

poller!(SingleProducerBarrier);
poller!(MultiProducerBarrier);
poller!(SingleConsumerBarrier);
poller!(MultiConsumerBarrier);

type Single<const W: usize> =
    Publishing<disruptor::SingleProducer<Payload<W>, SingleConsumerBarrier>>;
type Multi<const W: usize> =
    Publishing<disruptor::MultiProducer<Payload<W>, SingleConsumerBarrier>>;

queue!(
    Disruptor,
    Single<W>,
    EventPoller<Payload<W>, SingleProducerBarrier>,
    {
        let builder = build_single_producer(CAPACITY, Payload::blank, BusySpin);
        let (rx, builder) = builder.new_event_poller();
        (Publishing(builder.build()), rx)
    }
);
queue!(
    DisruptorMany,
    Multi<W>,
    EventPoller<Payload<W>, MultiProducerBarrier>,
    {
        let builder = build_multi_producer(CAPACITY, Payload::blank, BusySpin);
        let (rx, builder) = builder.new_event_poller();
        (Publishing(builder.build()), rx)
    }
);
