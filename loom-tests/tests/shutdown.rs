//! Closing and halting: what was accepted is delivered, and everybody learns of the end.
#![cfg(loom)]

use loom::thread;
use loom_tests::{Model, attempt, parking, saw, start, trying};
use ringway::{Consumer, Ended, Multi, Producer, Topology, Wait};

/// Reads to the end, asleep while there is nothing.
fn read_all(reader: &mut Consumer<u64>) -> (Vec<u64>, Ended) {
    let mut read = Vec::new();
    loop {
        match reader.read() {
            Ok(batch) => read.extend(batch.iter().copied()),
            Err(ended) => return (read, ended),
        }
    }
}

/// A multi-producer bus is closed while a producer claims: delivered is what answered `Ok`, no more and no less.
#[test]
fn close_races_with_claim() {
    let outcomes = &["accepted 0", "accepted 1", "accepted 2"];
    Model {
        preemptions: 2,
        executions: 4000,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::multi(trying(2), || 0).unwrap();
        let (_, mut reader) = topology.stage("reader").wait(Wait::Park).consumer();
        let (bus, mut producer) = start(topology);
        let writer = thread::spawn(move || {
            let accepted: Vec<u64> = (1..=2)
                .filter(|&event| producer.try_publish(event).is_ok())
                .collect();
            (producer, accepted)
        });
        let reading = thread::spawn(move || read_all(&mut reader));
        bus.close();
        let (_producer, accepted) = writer.join().unwrap();
        assert_eq!(reading.join().unwrap(), (accepted.clone(), Ended::Drained));
        saw(format!("accepted {}", accepted.len()));
    });
}

/// The last of two producers closes the bus: what both published is delivered.
#[test]
fn last_producer_closes() {
    let outcomes = &[
        "read None, then [1, 2]",
        "read None, then [2, 1]",
        "read Some([1, 2]), then []",
        "read Some([1]), then [2]",
        "read Some([2, 1]), then []",
        "read Some([2]), then [1]",
    ];
    Model {
        preemptions: 3,
        executions: 8000,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::multi(trying(2), || 0).unwrap();
        let (_, mut reader) = topology.stage("reader").consumer();
        let (_bus, producer) = start(topology);
        let publish = |mut producer: Producer<u64, Multi>, event| {
            thread::spawn(move || assert!(producer.try_publish(event).is_ok()))
        };
        let writers = [publish(producer.clone(), 1), publish(producer, 2)];
        let early = attempt(|| {
            reader
                .try_read()
                .map(|batch| batch.iter().copied().collect::<Vec<u64>>())
        });
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
        let (late, ended) = read_all(&mut reader);
        saw(format!("read {early:?}, then {late:?}"));
        let mut read = [early.unwrap_or_default(), late].concat();
        read.sort_unstable();
        assert_eq!((read, ended), (vec![1, 2], Ended::Drained));
    });
}

/// A single producer answers `close` by its next call or its drop, and wakes the reader then.
#[test]
fn single_producer_answers_close() {
    let outcomes = &["accepted 0", "accepted 1", "accepted 2"];
    Model {
        preemptions: 2,
        executions: 30000,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::single(trying(2), || 0).unwrap();
        let (_, mut reader) = topology.stage("reader").wait(Wait::Park).consumer();
        let (bus, mut producer) = start(topology);
        let writer = thread::spawn(move || {
            (1..=2)
                .filter(|&event| producer.try_publish(event).is_ok())
                .collect::<Vec<u64>>()
        });
        bus.close();
        let end = read_all(&mut reader);
        let accepted = writer.join().unwrap();
        assert_eq!(end, (accepted.clone(), Ended::Drained));
        saw(format!("accepted {}", accepted.len()));
    });
}

/// A producer that sleeps on a full ring is woken by `close`, and the reader after it.
#[test]
fn close_wakes_producer() {
    let outcomes = &["awake", "slept"];
    Model {
        preemptions: 4,
        executions: 100,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::single(parking(1), || 0).unwrap();
        let (_, mut reader) = topology.stage("reader").consumer();
        let (bus, mut producer) = start(topology);
        producer.try_publish(1).unwrap();
        let writer = thread::spawn(move || {
            assert!(producer.publish(2).is_err());
            producer
        });
        bus.close();
        let producer = writer.join().unwrap();
        assert!(producer.is_closed());
        assert_eq!(read_all(&mut reader), (vec![1], Ended::Drained));
        saw(if bus.stats().producers[0].parks > 0 {
            "slept"
        } else {
            "awake"
        });
    });
}

/// `halt` wakes a reader and a producer that sleep.
#[test]
fn halt_wakes_everybody() {
    let outcomes = &[
        "slept 0 and 0",
        "slept 0 and 1",
        "slept 1 and 0",
        "slept 1 and 1",
    ];
    Model {
        preemptions: 3,
        executions: 20_000,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::multi(parking(1), || 0).unwrap();
        let (first, reader) = topology.stage("first").consumer();
        let (_, mut next) = topology.stage("next").after([first]).consumer();
        let (bus, mut producer) = start(topology);
        producer.try_publish(1).unwrap();
        let writer = thread::spawn(move || {
            assert!(producer.publish(2).is_err());
            producer
        });
        let reading = thread::spawn(move || read_all(&mut next));
        bus.halt();
        assert_eq!(reading.join().unwrap(), (vec![], Ended::Halted));
        let producer = writer.join().unwrap();
        saw(format!(
            "slept {} and {}",
            bus.stats().stages[1].parks.min(1),
            bus.stats().producers[0].parks.min(1)
        ));
        drop((producer, reader));
    });
}
