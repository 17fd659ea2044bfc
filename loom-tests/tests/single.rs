//! One producer: hand-over in both directions, a pipeline, a claim that is dropped.
#![cfg(loom)]

use loom::thread::{self, yield_now};
use loom_tests::{Model, attempt, saw, start, trying};
use ringway::{BusConfig, Topology, spsc};

/// Two events share one slot: the reader sees each of them whole, and the producer does not overwrite the first too early.
#[test]
fn slot_is_reused() {
    let outcomes = &[
        "published 1, read 0",
        "published 1, read 1",
        "published 2, read 1",
        "published 2, read 2",
    ];
    Model {
        preemptions: 4,
        executions: 200,
        outcomes,
    }
    .check(|| {
        let (mut producer, mut reader) = spsc(1);
        let writer = thread::spawn(move || {
            (1..=2)
                .take_while(|&event| attempt(|| producer.try_publish(event)).is_some())
                .count()
        });
        let mut read = Vec::new();
        for _ in 0..3 {
            if let Ok(mut batch) = reader.try_read() {
                read.extend(batch.drain());
            }
        }
        assert!([1, 2].starts_with(&read), "read {read:?}");
        saw(format!(
            "published {}, read {}",
            writer.join().unwrap(),
            read.len()
        ));
    });
}

/// A stage edits events, the next one reads them: it sees all edits, and the producer waits for both.
#[test]
fn pipeline() {
    let outcomes = &["read 0", "read 1", "read 2"];
    Model {
        preemptions: 3,
        executions: 3000,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::single(trying(1), || 0).unwrap();
        let (edited, mut editor) = topology.stage("editor").consumer_mut();
        let (_, mut reader) = topology.stage("reader").after([edited]).consumer();
        let (_bus, mut producer) = start(topology);
        producer.try_publish(1).unwrap();
        let writer = thread::spawn(move || attempt(|| producer.try_publish(2)));
        let editing = thread::spawn(move || {
            for _ in 0..2 {
                yield_now();
                if let Ok(mut batch) = editor.try_read() {
                    batch.iter_mut().for_each(|event| *event += 10);
                }
            }
        });
        let mut read = Vec::new();
        for _ in 0..3 {
            yield_now();
            if let Ok(batch) = reader.try_read() {
                read.extend(batch.iter().copied());
            }
        }
        assert!([11, 12].starts_with(&read), "read {read:?}");
        saw(format!("read {}", read.len()));
        writer.join().unwrap();
        editing.join().unwrap();
    });
}

/// While events stream the reader goes by the producer's position, and looks at no mark.
#[test]
fn passed() {
    let outcomes = &["[1, 2], then [3, 4]", "[1, 2], then [3]"];
    Model {
        preemptions: 3,
        executions: 10,
        outcomes,
    }
    .check(|| {
        let config = BusConfig {
            batch_max: 3,
            tail_pauses: 1,
            ..trying(4)
        };
        let mut topology = Topology::single(config, || 0).unwrap();
        let (_, mut reader) = topology.stage("reader").consumer();
        let (_bus, mut producer) = start(topology);
        assert_eq!(producer.try_publish_slice(&[1, 2]), Ok(2));
        let mut read = || -> Vec<i32> { reader.read().unwrap().iter().copied().collect() };
        let first = read();
        let writer = thread::spawn(move || {
            for event in 3..=4 {
                producer.try_publish(event).unwrap();
            }
        });
        yield_now();
        saw(format!("{first:?}, then {:?}", read()));
        writer.join().unwrap();
    });
}

/// A claim that is dropped publishes nothing; its slots and sequences are used again.
#[test]
fn dropped_claim() {
    let outcomes = &[
        "read [1, 2], then []",
        "read [1], then [2]",
        "read [1], then []",
        "read [], then [1, 2]",
        "read [], then [1]",
        "read [], then []",
    ];
    Model {
        preemptions: 3,
        executions: 100,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::single(trying(2), || 0).unwrap();
        let (_, mut reader) = topology.stage("reader").consumer();
        let (_bus, mut producer) = start(topology);
        let writer = thread::spawn(move || {
            producer
                .try_claim(2)
                .unwrap()
                .iter_mut()
                .for_each(|slot| *slot = 9);
            assert_eq!(producer.try_publish_slice(&[1, 2]), Ok(2));
        });
        let mut read = || {
            reader
                .try_read()
                .map_or(Vec::new(), |batch| batch.iter().copied().collect())
        };
        let first: Vec<u64> = read();
        let second: Vec<u64> = read();
        assert!(
            [1, 2].starts_with(&[&*first, &*second].concat()),
            "read {first:?}, then {second:?}"
        );
        saw(format!("read {first:?}, then {second:?}"));
        writer.join().unwrap();
    });
}
