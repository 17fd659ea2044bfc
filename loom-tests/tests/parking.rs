//! Sleepers are woken: everybody parks, so a lost wake-up shows as a deadlock.
#![cfg(loom)]

use loom::thread;
use loom_tests::{Model, block_on, parking, saw, start, trying};
use ringway::{Bus, BusConfig, Ended, Topology, Wait};

/// Notes whether a stage ever slept.
fn saw_stage(bus: &Bus<u64>, stage: usize) {
    saw(if bus.stats().stages[stage].parks > 0 {
        "slept"
    } else {
        "awake"
    });
}

/// Notes whether the producer ever slept.
fn saw_producer(bus: &Bus<u64>) {
    saw(if bus.stats().producers[0].parks > 0 {
        "slept"
    } else {
        "awake"
    });
}

/// A reader sleeps until something is published, and until the bus closes.
#[test]
fn reader() {
    let outcomes = &["awake", "slept"];
    Model {
        preemptions: 3,
        executions: 100,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::single(trying(1), || 0).unwrap();
        let (_, mut reader) = topology.stage("reader").wait(Wait::Park).consumer_mut();
        let (bus, mut producer) = start(topology);
        let writer = thread::spawn(move || {
            producer.try_publish(1).unwrap();
            producer
        });
        assert_eq!(reader.read().unwrap().drain().collect::<Vec<u64>>(), [1]);
        saw_stage(&bus, 0);
        drop(writer.join().unwrap());
        assert_eq!(reader.read().unwrap_err(), Ended::Drained);
    });
}

/// A producer sleeps while the ring is full.
#[test]
fn producer() {
    let outcomes = &["awake", "slept"];
    Model {
        preemptions: 3,
        executions: 90,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::single(trying(1), || 0).unwrap();
        topology.producer_wait(Wait::Park);
        let (_, mut reader) = topology.stage("reader").consumer_mut();
        let (bus, mut producer) = start(topology);
        producer.try_publish(1).unwrap();
        let reading = thread::spawn(move || {
            assert_eq!(
                reader.try_read().unwrap().drain().collect::<Vec<u64>>(),
                [1]
            );
            reader
        });
        producer.publish(2).unwrap();
        saw_producer(&bus);
        let mut reader = reading.join().unwrap();
        assert_eq!(
            reader.try_read().unwrap().drain().collect::<Vec<u64>>(),
            [2]
        );
    });
}

/// A producer that needs two slots sleeps again after one was freed: the waker that came too early for that has not taken its
/// wake-up away.
#[test]
fn producer_of_two() {
    let outcomes = &["awake", "slept"];
    Model {
        preemptions: 3,
        executions: 3000,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::single(trying(2), || 0).unwrap();
        topology.producer_wait(Wait::Park);
        let (_, mut reader) = topology.stage("reader").batch_max(1).consumer();
        let (bus, mut producer) = start(topology);
        producer.try_publish_slice(&[1, 2]).unwrap();
        let reading = thread::spawn(move || {
            drop(reader.try_read().unwrap());
            drop(reader.try_read().unwrap());
            reader
        });
        assert_eq!(producer.claim(2).unwrap().publish().len(), 2);
        saw_producer(&bus);
        drop(reading.join().unwrap());
    });
}

/// Both sleep, on one slot.
#[test]
fn both() {
    let outcomes = &["awake", "slept"];
    Model {
        preemptions: 2,
        executions: 5000,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::single(parking(1), || 0).unwrap();
        let (_, mut reader) = topology.stage("reader").consumer_mut();
        let (bus, mut producer) = start(topology);
        let writer = thread::spawn(move || {
            producer.publish(1).unwrap();
            producer.publish(2).unwrap();
        });
        let mut read = Vec::new();
        while let Ok(mut batch) = reader.read() {
            read.extend(batch.drain());
        }
        assert_eq!(read, [1, 2]);
        writer.join().unwrap();
        saw_stage(&bus, 0);
    });
}

/// A stage sleeps until the one before it has passed an event.
#[test]
fn stage_behind_stage() {
    let outcomes = &["awake", "slept"];
    Model {
        preemptions: 3,
        executions: 90,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::single(trying(1), || 0).unwrap();
        let (first, mut reader) = topology.stage("first").consumer_mut();
        let (_, mut next) = topology
            .stage("next")
            .after([first])
            .wait(Wait::Park)
            .consumer();
        let (bus, mut producer) = start(topology);
        producer.try_publish(1).unwrap();
        let reading = thread::spawn(move || {
            reader
                .try_read()
                .unwrap()
                .iter_mut()
                .for_each(|event| *event += 10);
            reader
        });
        assert!(next.read().unwrap().iter().eq(&[11]));
        saw_stage(&bus, 1);
        drop(reading.join().unwrap());
    });
}

/// Tasks sleep on both ends.
#[test]
fn tasks() {
    let outcomes = &["awake", "slept"];
    Model {
        preemptions: 3,
        executions: 7000,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::single(parking(1), || 0).unwrap();
        let (_, mut reader) = topology.stage("reader").async_consumer();
        let (bus, mut producer) = start(topology);
        let writer = thread::spawn(move || {
            producer.try_publish(1).unwrap();
            block_on(producer.publish_async(2)).unwrap();
        });
        let mut read = Vec::new();
        while let Ok(batch) = block_on(reader.read()) {
            read.extend(batch.iter().copied());
        }
        assert_eq!(read, [1, 2]);
        writer.join().unwrap();
        saw_stage(&bus, 0);
    });
}

/// Several sleep on the producers' word: all are woken.
#[test]
fn several_on_one_word() {
    let outcomes = &["0 slept", "1 slept", "2 slept"];
    Model {
        preemptions: 3,
        executions: 10000,
        outcomes,
    }
    .check(|| {
        let config = BusConfig {
            wait: Wait::Park,
            ..trying(1)
        };
        let mut topology = Topology::single(config, || 0).unwrap();
        topology.producer_wait(Wait::BusySpin);
        let readers = ["one", "two"].map(|name| topology.stage(name).consumer().1);
        let (bus, mut producer) = start(topology);
        let readers = readers.map(|mut reader| {
            thread::spawn(move || {
                assert!(reader.read().unwrap().iter().eq(&[1]));
                reader
            })
        });
        producer.try_publish(1).unwrap();
        let readers = readers.map(|reader| reader.join().unwrap());
        let slept = bus
            .stats()
            .stages
            .iter()
            .filter(|stage| stage.parks > 0)
            .count();
        saw(format!("{slept} slept"));
        drop(readers);
    });
}
