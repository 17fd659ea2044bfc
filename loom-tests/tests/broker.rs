//! Parts that find a bus by name while it ends.
//!
//! The broker's own lock is `std`'s, which loom cannot see: no part of a model registers while another one looks.
#![cfg(loom)]

use loom::thread::{self, yield_now};
use loom_tests::{Model, saw, start, trying};
use ringway::{Broker, Consumer, Ended, ErrorKind, Topology};

/// Reads what is there, and that is all there will be.
fn read_all(reader: &mut Consumer<u64>) -> Vec<u64> {
    let mut read = Vec::new();
    loop {
        match reader.try_read() {
            Ok(batch) => read.extend(batch.iter().copied()),
            Err(end) => {
                assert_eq!(end, ringway::TryReadError::Ended(Ended::Drained));
                return read;
            }
        }
    }
}

/// A part asks for a producer while the last one is dropped: it gets one that keeps the bus open, or is told that the topic has ended.
#[test]
fn last_producer_leaves() {
    let outcomes = &["ended", "joined"];
    Model {
        preemptions: 3,
        executions: 200,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::multi(trying(2), || 0).unwrap();
        let (_, mut reader) = topology.stage("reader").consumer();
        let (bus, producer) = start(topology);
        let broker = Broker::new();
        broker.register("topic", &bus).unwrap();
        let part = {
            let broker = broker.clone();
            thread::spawn(move || {
                yield_now();
                match broker.producer::<u64>("topic") {
                    Ok(mut producer) => {
                        assert!(producer.try_publish(1).is_ok(), "it keeps the bus open");
                        true
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::TopicEnded);
                        false
                    }
                }
            })
        };
        let leaving = thread::spawn(move || drop(producer));
        leaving.join().unwrap();
        let joined = part.join().unwrap();
        assert_eq!(read_all(&mut reader), Vec::from_iter(joined.then_some(1)));
        assert!(bus.stats().producers.is_empty());
        let after = broker.producer::<u64>("topic").map(|_| ());
        assert_eq!(after.unwrap_err().kind(), ErrorKind::TopicEnded);
        saw(if joined { "joined" } else { "ended" });
    });
}

/// Two parts ask for a producer while the last one is dropped: who gets one may be the one whose drop closes the bus, or the one that lets
/// the other in.
#[test]
fn two_parts_join() {
    let outcomes = &[
        "read [1, 2]",
        "read [1]",
        "read [2, 1]",
        "read [2]",
        "read []",
    ];
    Model {
        preemptions: 2,
        executions: 10000,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::multi(trying(2), || 0).unwrap();
        let (_, mut reader) = topology.stage("reader").consumer();
        let (bus, producer) = start(topology);
        let broker = Broker::new();
        broker.register("topic", &bus).unwrap();
        let parts = [1, 2].map(|event| {
            let broker = broker.clone();
            thread::spawn(move || {
                yield_now();
                let joined = broker.producer::<u64>("topic");
                joined.is_ok_and(|mut producer| {
                    assert!(producer.try_publish(event).is_ok(), "it keeps the bus open");
                    true
                })
            })
        });
        let leaving = thread::spawn(move || drop(producer));
        leaving.join().unwrap();
        let joined = parts.map(|part| usize::from(part.join().unwrap()));
        let read = read_all(&mut reader);
        assert_eq!(read.len(), joined.iter().sum());
        assert!(bus.stats().producers.is_empty());
        saw(format!("read {read:?}"));
    });
}
