//! Channels through the calls that do not block: crossbeam-channel, crossfire, kanal, flume, thingbuf, std; and bus.

use crate::CAPACITY;
use crate::queue::{Source, queue, sink, source};
use ringway_harness::payload::Payload;
use std::sync::mpsc;
use thingbuf::mpsc::blocking as thingbuf;

type CrossbeamTx<const W: usize> = crossbeam_channel::Sender<Payload<W>>;
type CrossbeamRx<const W: usize> = crossbeam_channel::Receiver<Payload<W>>;
sink!(CrossbeamTx<W>, |tx, event| tx.try_send(event).is_ok());
source!(CrossbeamRx<W>, |rx| rx.try_recv().ok());
queue!(
    Crossbeam,
    CrossbeamTx<W>,
    CrossbeamRx<W>,
    crossbeam_channel::bounded(CAPACITY)
);

type StdTx<const W: usize> = mpsc::SyncSender<Payload<W>>;
type StdRx<const W: usize> = mpsc::Receiver<Payload<W>>;
sink!(StdTx<W>, |tx, event| tx.try_send(event).is_ok());
source!(StdRx<W>, |rx| rx.try_recv().ok());
queue!(Std, StdTx<W>, StdRx<W>, mpsc::sync_channel(CAPACITY));

type ThingbufTx<const W: usize> = thingbuf::Sender<Payload<W>>;
type ThingbufRx<const W: usize> = thingbuf::Receiver<Payload<W>>;
sink!(ThingbufTx<W>, |tx, event| tx.try_send(event).is_ok());
source!(ThingbufRx<W>, |rx| rx.try_recv().ok());
queue!(
    Thingbuf,
    ThingbufTx<W>,
    ThingbufRx<W>,
    thingbuf::channel(CAPACITY)
);

type KanalTx<const W: usize> = kanal::Sender<Payload<W>>;
type KanalRx<const W: usize> = kanal::Receiver<Payload<W>>;
sink!(KanalTx<W>, |tx, event| matches!(
    tx.try_send(event),
    Ok(true)
));
source!(KanalRx<W>, |rx| rx.try_recv().ok().flatten());
queue!(Kanal, KanalTx<W>, KanalRx<W>, kanal::bounded(CAPACITY));

/// A receiver that takes all there is under one lock.
#[derive(Clone)]
pub(crate) struct Draining<E, B>(E, B);
queue!(
    KanalDrain,
    KanalTx<W>,
    Draining<KanalRx<W>, Vec<Payload<W>>>,
    {
        let (tx, rx) = kanal::bounded(CAPACITY);
        (tx, Draining(rx, Vec::with_capacity(CAPACITY)))
    }
);

impl<const W: usize> Source<W> for Draining<KanalRx<W>, Vec<Payload<W>>> {
    fn try_pop(&mut self) -> Option<Payload<W>> {
        self.0.try_recv().ok().flatten()
    }

    #[inline(always)]
    fn drain(&mut self, see: impl FnMut(&Payload<W>)) -> usize {
        let Self(rx, taken) = self;
        taken.clear();
        if rx.drain_into(taken).is_err() {
            return 0;
        }
        taken.iter().for_each(see);
        taken.len()
    }
}

type FlumeTx<const W: usize> = flume::Sender<Payload<W>>;
type FlumeRx<const W: usize> = flume::Receiver<Payload<W>>;
sink!(FlumeTx<W>, |tx, event| tx.try_send(event).is_ok());
source!(FlumeRx<W>, |rx| rx.try_recv().ok());
queue!(Flume, FlumeTx<W>, FlumeRx<W>, flume::bounded(CAPACITY));
queue!(FlumeDrain, FlumeTx<W>, Draining<FlumeRx<W>, ()>, {
    let (tx, rx) = flume::bounded(CAPACITY);
    (tx, Draining(rx, ()))
});

impl<const W: usize> Source<W> for Draining<FlumeRx<W>, ()> {
    fn try_pop(&mut self) -> Option<Payload<W>> {
        self.0.try_recv().ok()
    }

    #[inline(always)]
    fn drain(&mut self, mut see: impl FnMut(&Payload<W>)) -> usize {
        let taken = self.0.drain();
        let count = taken.len();
        taken.for_each(|event| see(&event));
        count
    }
}

type CrossfireTx<const W: usize> = crossfire::Tx<crossfire::spsc::Array<Payload<W>>>;
type CrossfireRx<const W: usize> = crossfire::Rx<crossfire::spsc::Array<Payload<W>>>;
sink!(CrossfireTx<W>, |tx, event| tx.try_send(event).is_ok());
source!(CrossfireRx<W>, |rx| rx.try_recv().ok());
queue!(
    Crossfire,
    CrossfireTx<W>,
    CrossfireRx<W>,
    crossfire::spsc::bounded_blocking(CAPACITY)
);

type CrossfireManyTx<const W: usize> = crossfire::MTx<crossfire::mpsc::Array<Payload<W>>>;
type CrossfireManyRx<const W: usize> = crossfire::Rx<crossfire::mpsc::Array<Payload<W>>>;
sink!(CrossfireManyTx<W>, |tx, event| tx.try_send(event).is_ok());
source!(CrossfireManyRx<W>, |rx| rx.try_recv().ok());
queue!(
    CrossfireMany,
    CrossfireManyTx<W>,
    CrossfireManyRx<W>,
    crossfire::mpsc::bounded_blocking(CAPACITY)
);

type CrossfireSharedTx<const W: usize> = crossfire::MTx<crossfire::mpmc::Array<Payload<W>>>;
type CrossfireSharedRx<const W: usize> = crossfire::MRx<crossfire::mpmc::Array<Payload<W>>>;
sink!(CrossfireSharedTx<W>, |tx, event| tx.try_send(event).is_ok());
source!(CrossfireSharedRx<W>, |rx| rx.try_recv().ok());
queue!(
    CrossfireShared,
    CrossfireSharedTx<W>,
    CrossfireSharedRx<W>,
    crossfire::mpmc::bounded_blocking(CAPACITY)
);

sink!(bus::Bus<Payload<W>>, |tx, event| tx
    .try_broadcast(event)
    .is_ok());
source!(bus::BusReader<Payload<W>>, |rx| rx.try_recv().ok());
queue!(Bus, bus::Bus<Payload<W>>, bus::BusReader<Payload<W>>, {
    let mut tx = bus::Bus::new(CAPACITY);
    let rx = tx.add_rx();
    (tx, rx)
});
