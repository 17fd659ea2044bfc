//! Sleepers are woken: everybody parks, so a lost wake-up shows as a deadlock.
#![cfg(loom)]

use loom::thread;
use loom_tests::{Model, attempt, block_on, parking, saw, start, trying};
use ringway::{BusConfig, Ended, Topology, Wait};

/// A reader sleeps until something is published, and until the bus closes.
#[test]
fn reader() {
    Model { preemptions: 3, executions: 100, outcomes: &[] }.check(|| {
        let mut topology = Topology::single(trying(1), || 0).unwrap();
        let (_, mut reader) = topology.stage("reader").wait(Wait::Park).consumer_mut();
        let (_bus, mut producer) = start(topology);
        let writer = thread::spawn(move || drop(producer.try_publish(1).unwrap()));
        assert_eq!(reader.read().unwrap().drain().collect::<Vec<u64>>(), [1]);
        assert_eq!(reader.read().unwrap_err(), Ended::Drained);
        saw("all");
        writer.join().unwrap();
    });
}

/// A producer sleeps while the ring is full.
#[test]
fn producer() {
    Model { preemptions: 3, executions: 100, outcomes: &[] }.check(|| {
        let mut topology = Topology::single(trying(1), || 0).unwrap();
        topology.producer_wait(Wait::Park);
        let (_, mut reader) = topology.stage("reader").consumer_mut();
        let (_bus, mut producer) = start(topology);
        producer.try_publish(1).unwrap();
        let reading = thread::spawn(move || {
            assert_eq!(reader.try_read().unwrap().drain().collect::<Vec<u64>>(), [1]);
            reader
        });
        producer.publish(2).unwrap();
        saw("published");
        let mut reader = reading.join().unwrap();
        assert_eq!(reader.try_read().unwrap().drain().collect::<Vec<u64>>(), [2]);
    });
}

/// Both sleep, on one slot.
#[test]
fn both() {
    Model { preemptions: 2, executions: 100, outcomes: &[] }.check(|| {
        let mut topology = Topology::single(parking(1), || 0).unwrap();
        let (_, mut reader) = topology.stage("reader").consumer_mut();
        let (_bus, mut producer) = start(topology);
        let writer = thread::spawn(move || {
            producer.publish(1).unwrap();
            producer.publish(2).unwrap();
        });
        let mut read = Vec::new();
        while let Ok(mut batch) = reader.read() {
            read.extend(batch.drain());
        }
        assert_eq!(read, [1, 2]);
        saw("all");
        writer.join().unwrap();
    });
}

/// A stage sleeps until the one before it has passed an event.
#[test]
fn stage_behind_stage() {
    Model { preemptions: 3, executions: 100, outcomes: &[] }.check(|| {
        let mut topology = Topology::single(trying(1), || 0).unwrap();
        let (first, mut reader) = topology.stage("first").consumer_mut();
        let (_, mut next) = topology.stage("next").after([first]).wait(Wait::Park).consumer();
        let (_bus, mut producer) = start(topology);
        producer.try_publish(1).unwrap();
        let reading = thread::spawn(move || {
            reader.try_read().unwrap().iter_mut().for_each(|event| *event += 10);
            reader
        });
        assert!(next.read().unwrap().iter().eq(&[11]));
        saw("read");
        drop(reading.join().unwrap());
    });
}

/// Tasks sleep on both ends.
#[test]
fn tasks() {
    Model { preemptions: 2, executions: 100, outcomes: &[] }.check(|| {
        let mut topology = Topology::single(parking(1), || 0).unwrap();
        let (_, mut reader) = topology.stage("reader").async_consumer();
        let (_bus, mut producer) = start(topology);
        let writer = thread::spawn(move || {
            producer.try_publish(1).unwrap();
            block_on(producer.publish_async(2)).unwrap();
        });
        let mut read = Vec::new();
        while let Ok(batch) = block_on(reader.read()) {
            read.extend(batch.iter().copied());
        }
        assert_eq!(read, [1, 2]);
        saw("all");
        writer.join().unwrap();
    });
}

/// Several sleep on the producers' word: all are woken.
#[test]
fn several_on_one_word() {
    Model { preemptions: 2, executions: 100, outcomes: &[] }.check(|| {
        let config = BusConfig { wait: Wait::Park, ..trying(1) };
        let mut topology = Topology::single(config, || 0).unwrap();
        topology.producer_wait(Wait::BusySpin);
        let readers = ["one", "two"].map(|name| topology.stage(name).consumer().1);
        let (_bus, mut producer) = start(topology);
        let readers = readers.map(|mut reader| {
            thread::spawn(move || {
                assert!(reader.read().unwrap().iter().eq(&[1]));
                reader
            })
        });
        producer.try_publish(1).unwrap();
        saw("all");
        readers.map(|reader| drop(reader.join().unwrap()));
        let _ = attempt(|| producer.try_publish(1));
    });
}
