//! The same libraries through the calls that block, each with its own defaults: an end waits by itself, and a source answers
//! "nothing" only when all is over.

use crate::CAPACITY;
use crate::queue::{NON_ZERO_CAPACITY, queue};
use ringway_harness::payload::Payload;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use thingbuf::mpsc::blocking as thingbuf;

/// An end whose calls block.
#[derive(Clone)]
pub(crate) struct Blocking<E>(E);

/// Both ends through `send` and `recv`, and the queue made of them.
macro_rules! blocking {
    ($name:ident, $tx:ty, $rx:ty, |$sender:ident, $event:ident| $send:expr, |$receiver:ident| $recv:expr, $open:expr) => {
        impl<const W: usize> crate::queue::Sink<W> for Blocking<$tx> {
            #[inline(always)]
            fn try_push(&mut self, $event: Payload<W>) -> bool {
                let $sender = &mut self.0;
                $send
            }
        }

        impl<const W: usize> crate::queue::Source<W> for Blocking<$rx> {
            #[inline(always)]
            fn try_pop(&mut self) -> Option<Payload<W>> {
                let $receiver = &mut self.0;
                $recv
            }

            #[inline(always)]
            fn drain(&mut self, mut see: impl FnMut(&Payload<W>)) -> usize {
                self.try_pop().map_or(0, |event| {
                    see(&event);
                    1
                })
            }
        }

        queue!($name, Blocking<$tx>, Blocking<$rx>, {
            let (tx, rx) = $open;
            (Blocking(tx), Blocking(rx))
        });
    };
}

blocking!(
    Crossbeam,
    crossbeam_channel::Sender<Payload<W>>,
    crossbeam_channel::Receiver<Payload<W>>,
    |tx, event| tx.send(event).is_ok(),
    |rx| rx.recv().ok(),
    crossbeam_channel::bounded(CAPACITY)
);
blocking!(
    Kanal,
    kanal::Sender<Payload<W>>,
    kanal::Receiver<Payload<W>>,
    |tx, event| tx.send(event).is_ok(),
    |rx| rx.recv().ok(),
    kanal::bounded(CAPACITY)
);
blocking!(
    Flume,
    flume::Sender<Payload<W>>,
    flume::Receiver<Payload<W>>,
    |tx, event| tx.send(event).is_ok(),
    |rx| rx.recv().ok(),
    flume::bounded(CAPACITY)
);
blocking!(
    Std,
    mpsc::SyncSender<Payload<W>>,
    mpsc::Receiver<Payload<W>>,
    |tx, event| tx.send(event).is_ok(),
    |rx| rx.recv().ok(),
    mpsc::sync_channel(CAPACITY)
);
blocking!(
    Thingbuf,
    thingbuf::Sender<Payload<W>>,
    thingbuf::Receiver<Payload<W>>,
    |tx, event| tx.send(event).is_ok(),
    |rx| rx.recv(),
    thingbuf::channel(CAPACITY)
);
blocking!(
    Bus,
    bus::Bus<Payload<W>>,
    bus::BusReader<Payload<W>>,
    |tx, event| {
        tx.broadcast(event);
        true
    },
    |rx| rx.recv().ok(),
    {
        let mut tx = bus::Bus::new(CAPACITY);
        let rx = tx.add_rx();
        (tx, rx)
    }
);
blocking!(
    Crossfire,
    crossfire::Tx<crossfire::spsc::Array<Payload<W>>>,
    crossfire::Rx<crossfire::spsc::Array<Payload<W>>>,
    |tx, event| tx.send(event).is_ok(),
    |rx| rx.recv().ok(),
    crossfire::spsc::bounded_blocking(CAPACITY)
);
blocking!(
    CrossfireShared,
    crossfire::MTx<crossfire::mpmc::Array<Payload<W>>>,
    crossfire::MRx<crossfire::mpmc::Array<Payload<W>>>,
    |tx, event| tx.send(event).is_ok(),
    |rx| rx.recv().ok(),
    crossfire::mpmc::bounded_blocking(CAPACITY)
);
blocking!(
    Gil,
    gil::spsc::parking::Sender<Payload<W>>,
    gil::spsc::parking::Receiver<Payload<W>>,
    |tx, event| {
        tx.send(event);
        true
    },
    |rx| Some(rx.recv()),
    gil::spsc::parking::channel(NON_ZERO_CAPACITY)
);

type GilTx<const W: usize> = gil::mpmc::Sender<Payload<W>>;

/// gil's shared queue knows no end: the last producer sends an event that is none, and each consumer passes it on.
pub(crate) struct Ending<const W: usize> {
    tx: GilTx<W>,
    producers: Arc<AtomicUsize>,
}

impl<const W: usize> Clone for Ending<W> {
    fn clone(&self) -> Self {
        self.producers.fetch_add(1, Ordering::Relaxed);
        Self {
            tx: self.tx.clone(),
            producers: self.producers.clone(),
        }
    }
}

impl<const W: usize> Drop for Ending<W> {
    fn drop(&mut self) {
        // AcqRel: whoever is last sends behind what all others have sent.
        if self.producers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.tx.send(Payload::blank());
        }
    }
}

/// A consumer that can pass the end on.
pub(crate) type Passing<const W: usize> = (gil::mpmc::Receiver<Payload<W>>, GilTx<W>);

blocking!(
    GilShared,
    Ending<W>,
    Passing<W>,
    |tx, event| {
        tx.tx.send(event);
        true
    },
    |ends| {
        let event = ends.0.recv();
        if event == Payload::blank() {
            ends.1.send(event);
            return None;
        }
        Some(event)
    },
    {
        let (tx, rx) = gil::mpmc::channel(NON_ZERO_CAPACITY);
        let producers = Arc::new(AtomicUsize::new(1));
        let pass = tx.clone();
        (Ending { tx, producers }, (rx, pass))
    }
);
