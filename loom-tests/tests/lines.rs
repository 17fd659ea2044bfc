//! Lines of two events, that share a mark or have one each: a model's cache line has room for two of two bytes.
#![cfg(loom)]

use loom::thread;
use loom_tests::{Model, attempt, saw, start, trying};
use ringway::{Consumer, Exclusive, Topology, mpsc, spsc};

fn read_all(reader: &mut Consumer<u16, Exclusive>, read: &mut Vec<u16>) {
    if let Ok(mut batch) = reader.try_read() {
        read.extend(batch.drain());
    }
}

/// A ring of one line: the producer writes one slot of it while the reader takes the other, and comes back to the first, for the
/// third event, only when that was read.
#[test]
fn neighbours() {
    let outcomes = &[
        "published 2, read 0",
        "published 2, read 1",
        "published 2, read 2",
        "published 3, read 1",
        "published 3, read 2",
        "published 3, read 3",
    ];
    Model {
        preemptions: 3,
        executions: 500,
        outcomes,
    }
    .check(|| {
        let (mut producer, mut reader) = spsc::<u16>(2);
        let writer = thread::spawn(move || {
            (1..=3)
                .take_while(|&event| attempt(|| producer.try_publish(event)).is_some())
                .count()
        });
        let mut read = Vec::new();
        (0..3).for_each(|_| read_all(&mut reader, &mut read));
        assert!([1, 2, 3].starts_with(&read), "read {read:?}");
        saw(format!(
            "published {}, read {}",
            writer.join().unwrap(),
            read.len()
        ));
    });
}

/// A batch over two lines: it is published line by line, and seen in order, whole or in part.
#[test]
fn batch_over_lines() {
    let outcomes = &["read 0", "read 1", "read 2", "read 3", "read 4"];
    Model {
        preemptions: 3,
        executions: 20,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::single(trying(4), || 0_u16).unwrap();
        let (_, mut reader) = topology.stage("reader").consumer_mut();
        let (_bus, mut producer) = start(topology);
        let writer = thread::spawn(move || {
            producer.try_publish(1).unwrap();
            assert_eq!(producer.try_publish_slice(&[2, 3, 4]), Ok(3));
        });
        let mut read = Vec::new();
        (0..2).for_each(|_| read_all(&mut reader, &mut read));
        assert!([1, 2, 3, 4].starts_with(&read), "read {read:?}");
        saw(format!("read {}", read.len()));
        writer.join().unwrap();
    });
}

/// A ring of one line and two producers: each writes a slot of it, the second one before the first or after it, and one comes back to
/// the first slot for a third event only when that was read.
#[test]
fn neighbours_of_two() {
    let outcomes = &["Full", "read 0", "read 1", "read 2", "read 3"];
    Model {
        preemptions: 2,
        executions: 500,
        outcomes,
    }
    .check(|| {
        let (mut producer, mut reader) = mpsc::<u16>(2);
        let mut other = producer.clone();
        let first = thread::spawn(move || {
            producer.try_publish(1).unwrap();
            if attempt(|| producer.try_publish(3)).is_none() {
                saw("Full");
            }
        });
        let second = thread::spawn(move || attempt(|| other.try_publish(2)).map(drop));
        let mut read = Vec::new();
        (0..3).for_each(|_| read_all(&mut reader, &mut read));
        assert!(
            [[1, 2, 3], [2, 1, 3], [1, 3, 2]]
                .iter()
                .any(|order| order.starts_with(&read)),
            "read {read:?}"
        );
        saw(format!("read {}", read.len()));
        first.join().unwrap();
        second.join().unwrap();
    });
}

/// A batch over two lines beside another producer's event: its slots are seen published in order, whole or in part.
#[test]
fn batches_of_two_over_lines() {
    let outcomes = &["read 0", "read 1", "read 2", "read 3", "read 4"];
    Model {
        preemptions: 2,
        executions: 100,
        outcomes,
    }
    .check(|| {
        let (mut producer, mut reader) = mpsc::<u16>(4);
        let mut other = producer.clone();
        let batch =
            thread::spawn(move || assert_eq!(producer.try_publish_slice(&[1, 2, 3]), Ok(3)));
        let single = thread::spawn(move || other.try_publish(9).unwrap());
        let mut read = Vec::new();
        (0..2).for_each(|_| read_all(&mut reader, &mut read));
        assert!(
            [[1, 2, 3, 9], [9, 1, 2, 3]]
                .iter()
                .any(|order| order.starts_with(&read)),
            "read {read:?}"
        );
        saw(format!("read {}", read.len()));
        batch.join().unwrap();
        single.join().unwrap();
    });
}
