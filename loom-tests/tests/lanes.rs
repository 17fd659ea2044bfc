//! Lanes: the consumer finds every lane that has something before it sleeps or ends, and a lane passes from producer to producer.
#![cfg(loom)]

use loom::thread::{self, yield_now};
use loom_tests::{Model, parking, saw, trying};
use ringway::{Ended, LaneConsumer, LaneProducer, TryReadError, lanes_with};

/// Reads to the end, asleep while there is nothing.
fn read_all(reader: &mut LaneConsumer<u64>) -> Vec<u64> {
    let mut read = Vec::new();
    loop {
        match reader.read() {
            Ok(mut batch) => read.extend(batch.drain()),
            Err(ended) => {
                assert_eq!(ended, Ended::Drained);
                return read;
            }
        }
    }
}

/// The consumer sleeps until something is published in a lane that was not there when it began, then until the last producer
/// is gone.
#[test]
fn new_lane() {
    let outcomes = &["ended", "still open"];
    Model {
        preemptions: 2,
        executions: 1000,
        outcomes,
    }
    .check(|| {
        let (producer, mut reader) = lanes_with(parking(1)).unwrap();
        let writer = thread::spawn(move || {
            let mut other = producer.clone();
            drop(producer);
            other.try_publish(1).unwrap();
        });
        assert_eq!(reader.read().unwrap().drain().next(), Some(1));
        saw(if reader.is_ended() {
            "ended"
        } else {
            "still open"
        });
        assert_eq!(read_all(&mut reader), []);
        writer.join().unwrap();
    });
}

/// The consumer sleeps until something is published in one of two lanes that it has not looked at in every round.
#[test]
fn idle_lane() {
    let outcomes = &["read"];
    Model {
        preemptions: 2,
        executions: 100,
        outcomes,
    }
    .check(|| {
        let (mut one, mut reader) = lanes_with(parking(1)).unwrap();
        let (two, mut three) = (one.clone(), one.clone());
        for event in 1..4 {
            three.try_publish(event).unwrap();
            assert_eq!(reader.try_read().unwrap().drain().next(), Some(event));
        }
        // not the one that it looks at by chance after it has registered as a sleeper
        let writer = thread::spawn(move || {
            one.try_publish(4).unwrap();
            one
        });
        assert_eq!(reader.read().unwrap().drain().next(), Some(4));
        saw("read");
        drop((writer.join().unwrap(), two, three));
    });
}

/// Two producers publish and go; a consumer that is told that the lanes have ended has read all.
#[test]
fn last_producer() {
    let outcomes = &["ended", "read on"];
    Model {
        preemptions: 3,
        executions: 1000,
        outcomes,
    }
    .check(|| {
        let (producer, mut reader) = lanes_with(trying(1)).unwrap();
        let publish = |mut producer: LaneProducer<u64>, event| {
            thread::spawn(move || assert!(producer.try_publish(event).is_ok()))
        };
        let writers = [publish(producer.clone(), 1), publish(producer, 2)];
        let mut read = Vec::new();
        let mut ended = false;
        for _ in 0..4 {
            match reader.try_read() {
                Ok(mut batch) => read.extend(batch.drain()),
                Err(TryReadError::Empty) => yield_now(),
                Err(TryReadError::Ended(_)) => ended = true,
            }
        }
        saw(if ended { "ended" } else { "read on" });
        if !ended {
            writers
                .into_iter()
                .for_each(|writer| writer.join().unwrap());
            read.extend(read_all(&mut reader));
        }
        read.sort_unstable();
        assert_eq!(read, [1, 2]);
    });
}

/// The consumer goes while a producer opens a lane: it is told so, and does not wait for ever.
#[test]
fn consumer_leaves() {
    let outcomes = &["accepted 0", "accepted 1", "accepted 2"];
    Model {
        preemptions: 3,
        executions: 100,
        outcomes,
    }
    .check(|| {
        let (producer, reader) = lanes_with(parking(1)).unwrap();
        let writer = thread::spawn(move || {
            let mut other = producer.clone();
            let mut accepted = 0;
            while other.publish(1).is_ok() {
                accepted += 1;
            }
            accepted
        });
        drop(reader);
        saw(format!("accepted {}", writer.join().unwrap()));
    });
}

/// A producer goes, and another one takes its lane or makes one: in a lane events keep their order, and a slot is used again
/// only when the consumer is done with it.
#[test]
fn taken_over() {
    let outcomes = &["a lane of its own", "full", "the same lane"];
    Model {
        preemptions: 2,
        executions: 1000,
        outcomes,
    }
    .check(|| {
        let (producer, mut reader) = lanes_with(trying(1)).unwrap();
        let mut first = producer.clone();
        first.try_publish(1).unwrap();
        let going = thread::spawn(move || drop(first));
        let coming = thread::spawn(move || {
            let mut second = producer.clone();
            let sequence = second.try_publish(2).ok().map(|sequence| sequence.get());
            (sequence, producer)
        });
        let mut read = Vec::new();
        for _ in 0..2 {
            match reader.try_read() {
                Ok(mut batch) => read.extend(batch.drain()),
                Err(_) => yield_now(),
            }
        }
        going.join().unwrap();
        let (sequence, producer) = coming.join().unwrap();
        drop(producer);
        read.extend(read_all(&mut reader));
        match sequence {
            Some(1) => {
                saw("the same lane");
                assert_eq!(read, [1, 2]);
            }
            Some(_) => {
                saw("a lane of its own");
                read.sort_unstable();
                assert_eq!(read, [1, 2]);
            }
            None => {
                saw("full");
                assert_eq!(read, [1]);
            }
        }
    });
}
