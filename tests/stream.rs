//! Async stages as streams of copies, on an executor that polls only what was woken.
#![cfg(feature = "stream")]

mod common;

use common::executor::{bell, block_on, poll_once};
use common::{config, limited, panic_of};
use futures_core::{FusedStream, Stream};
use ringway::{Bus, Ended, EventStream, Multi, OnLag, Producer, ProducerKind, Topology};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::thread;

async fn next<T: Clone + Sync>(stream: &mut EventStream<T>) -> Option<T> {
    poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}

/// What one poll, which nobody is woken by, finds.
fn now<T: Clone + Sync>(stream: &mut EventStream<T>) -> Poll<Option<T>> {
    poll_once(pin!(next(stream)), Waker::noop())
}

/// What it yields up to its end, and why it ended.
fn all<T: Clone + Sync>(mut stream: EventStream<T>) -> (Vec<T>, Ended) {
    block_on(async {
        let mut all = Vec::new();
        while let Some(event) = next(&mut stream).await {
            assert!(stream.ended().is_none());
            all.push(event);
        }
        assert!(stream.is_terminated());
        assert!(next(&mut stream).await.is_none(), "it has ended for good");
        (all, stream.ended().expect("it has ended").clone())
    })
}

/// A bus whose only stage is a stream.
fn start<T: Send + Sync + 'static, K: ProducerKind>(
    mut topology: Topology<T, K>,
) -> (Bus<T>, Producer<T, K>, EventStream<T>) {
    let (_, rx) = topology.stage("stream").async_consumer();
    let (bus, tx) = topology.start().expect("it is right");
    (bus, tx, rx.into_stream())
}

fn multi(capacity: usize) -> (Bus<u64>, Producer<u64, Multi>, EventStream<u64>) {
    start(Topology::multi(config(capacity), || 0).expect("it is right"))
}

#[test]
fn a_stream_yields_everything_in_order_and_ends() {
    limited(|| {
        for capacity in [1, 2, 3, 64] {
            let topology = Topology::single(config(capacity), String::new);
            let (bus, mut tx, stream) = start(topology.expect("it is right"));
            let publisher = thread::spawn(move || {
                (0..500).for_each(|number: u64| {
                    tx.publish(number.to_string()).expect("it is read");
                });
            });
            let expected = Vec::from_iter((0..500).map(|number: u64| number.to_string()));
            assert_eq!(all(stream), (expected, Ended::Drained));
            publisher.join().expect("it does not panic");
            bus.shutdown().expect("it drains");
        }
    });
}

#[test]
fn a_stream_says_why_it_ended() {
    let (bus, _tx, stream) = multi(8);
    bus.halt();
    assert_eq!(all(stream), (vec![], Ended::Halted));

    let mut topology = Topology::multi(config(8), || 0_u64).expect("it is right");
    let (first, mut reader) = topology.stage("first").consumer();
    let (_, rx) = topology.stage("stream").after([first]).async_consumer();
    let (_bus, mut tx) = topology.start().expect("it is right");
    tx.publish(1).expect("it is open");
    drop(reader.read().expect("there is one"));
    drop(reader);
    let stage = "first".to_string();
    assert_eq!(all(rx.into_stream()), (vec![1], Ended::Upstream { stage }));
}

#[test]
fn a_tap_is_a_stream_too_and_counts_what_it_missed() {
    let mut topology = Topology::multi(config(4), || 0_u64).expect("it is right");
    topology.stage("other").handle(|_, _| {});
    let mut stream = topology.stage("tap").tap(OnLag::Skip).into_stream();
    let (bus, mut tx) = topology.start().expect("it is right");
    let (bell, waker) = bell();
    assert!(poll_once(pin!(next(&mut stream)), &waker).is_pending());
    tx.publish_slice(&[1, 2]).expect("it is open");
    assert!(bell.rung() > 0);
    assert_eq!(now(&mut stream), Poll::Ready(Some(1)));
    tx.publish_slice(&Vec::from_iter(3..=20))
        .expect("a tap holds nobody back");
    assert_eq!(stream.lag(), 1 + 4);
    drop(tx);
    bus.shutdown().expect("it drains");
    let mut rest = Vec::new();
    while let Poll::Ready(Some(event)) = now(&mut stream) {
        rest.push(event);
    }
    assert_eq!((rest, stream.skipped()), (vec![2, 17, 18, 19, 20], 14));
    assert_eq!(stream.ended(), Some(&Ended::Drained));
}

#[test]
fn a_stream_is_woken_by_the_next_event() {
    let (_bus, mut tx, mut stream) = multi(8);
    let (bell, waker) = bell();
    assert!(poll_once(pin!(next(&mut stream)), &waker).is_pending());
    assert_eq!(bell.rung(), 0);
    tx.publish(1).expect("it is open");
    assert!(bell.rung() > 0);
    assert_eq!(now(&mut stream), Poll::Ready(Some(1)));
    assert_eq!(now(&mut stream), Poll::Pending);
    drop(tx);
    assert_eq!(now(&mut stream), Poll::Ready(None));
}

#[test]
fn copies_free_the_slots_of_their_batch() {
    let (_bus, mut tx, mut stream) = multi(4);
    assert_eq!(tx.try_publish_slice(&[1, 2, 3, 4]), Ok(4));
    assert_eq!((stream.lag(), stream.size_hint()), (4, (0, None)));
    assert!(tx.try_publish(5).is_err(), "nothing is copied yet");
    assert_eq!(now(&mut stream), Poll::Ready(Some(1)));
    assert_eq!((stream.lag(), stream.size_hint()), (3, (3, None)));
    assert_eq!(tx.try_publish_slice(&[5, 6, 7, 8]), Ok(4));
    assert_eq!(stream.lag(), 7);
    drop(tx);
    assert!(!stream.is_terminated());
    assert_eq!(all(stream), ((2..9).collect(), Ended::Drained));
}

#[test]
fn what_a_producer_abandoned_is_no_item() {
    let (_bus, mut tx, mut stream) = multi(4);
    drop(tx.claim(2).expect("there is room"));
    assert_eq!(now(&mut stream), Poll::Pending);
    tx.publish(7).expect("it is open");
    drop(tx);
    assert_eq!(all(stream), (vec![7], Ended::Drained));
}

#[test]
fn a_dropped_stream_lets_go_of_its_copies_and_of_producers() {
    let counted = Arc::new(0);
    let mut topology = Topology::multi(config(2), Arc::default).expect("it is right");
    topology.stage("other").handle(|_: &Arc<u64>, _| {});
    let (bus, mut tx, mut stream) = start(topology);
    for _ in 0..2 {
        tx.publish(counted.clone()).expect("it is open");
    }
    drop(now(&mut stream));
    assert_eq!(Arc::strong_count(&counted), 4, "in two slots, and a copy");
    drop(stream);
    assert_eq!(Arc::strong_count(&counted), 3);
    for _ in 0..8 {
        tx.publish(Arc::default()).expect("it holds nobody back");
    }
    drop(tx);
    bus.shutdown().expect("it drains");
    assert_eq!(Arc::strong_count(&counted), 1);
}

/// An event of which 3 cannot be cloned.
#[derive(Debug, Default, PartialEq)]
struct Fragile(u64);

impl Clone for Fragile {
    fn clone(&self) -> Self {
        assert!(self.0 != 3, "not this one");
        Self(self.0)
    }
}

#[test]
fn a_clone_that_panics_takes_the_rest_of_its_batch_along() {
    let topology = Topology::single(config(8), Fragile::default).expect("it is right");
    let (_bus, mut tx, mut stream) = start(topology);
    tx.publish_batch((1..=4).map(Fragile).collect::<Vec<_>>())
        .expect("it is open");
    let panic = panic_of(|| now(&mut stream));
    assert!(panic.contains("not this one"), "{panic}");
    tx.publish(Fragile(5)).expect("it is open");
    drop(tx);
    let left = [1, 2, 5].map(Fragile).to_vec();
    assert_eq!(all(stream), (left, Ended::Drained));
}
