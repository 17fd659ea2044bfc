//! Many producers: room is never over-claimed, and abandoned claims are stepped over.
#![cfg(loom)]

use loom::thread::{self, yield_now};
use loom_tests::{Model, attempt, saw, start, trying};
use ringway::{Consumer, Topology};

/// Adds what is there to `read`.
fn read_on(reader: &mut Consumer<u64>, read: &mut Vec<u64>) {
    if let Ok(batch) = reader.try_read() {
        read.extend(batch.iter().copied());
    }
}

/// Two producers and one free slot: only one gets it, and what was accepted is delivered once.
#[test]
fn last_place() {
    let outcomes = &["1 accepted", "2 accepted"];
    Model {
        preemptions: 3,
        executions: 7000,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::multi(trying(1), || 0).unwrap();
        let (_, mut reader) = topology.stage("reader").consumer();
        let (_bus, producer) = start(topology);
        let writers = [(1, producer.clone()), (2, producer)].map(|(event, mut producer)| {
            thread::spawn(move || attempt(|| producer.try_publish(event)).map(|_| event))
        });
        let mut read = Vec::new();
        for _ in 0..2 {
            yield_now();
            read_on(&mut reader, &mut read);
        }
        let accepted = writers.map(|writer| writer.join().unwrap());
        read_on(&mut reader, &mut read);
        read.sort_unstable();
        let accepted: Vec<u64> = accepted.into_iter().flatten().collect();
        assert_eq!(read, accepted);
        saw(format!("{} accepted", accepted.len()));
    });
}

/// One producer drops a claim beside another that publishes: every stage steps over it.
#[test]
fn abandoned() {
    let outcomes = &["the first", "the second"];
    Model {
        preemptions: 3,
        executions: 10000,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::multi(trying(2), || 0).unwrap();
        let (stage, mut reader) = topology.stage("reader").consumer();
        let (_, mut next) = topology.stage("next").after([stage]).consumer();
        let (_bus, mut producer) = start(topology);
        let mut other = producer.clone();
        let abandoning = thread::spawn(move || drop(other.try_claim(1).unwrap()));
        let publishing = thread::spawn(move || producer.try_publish(7).unwrap());
        let (mut read, mut read_next) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            yield_now();
            read_on(&mut reader, &mut read);
            read_on(&mut next, &mut read_next);
        }
        abandoning.join().unwrap();
        saw(if publishing.join().unwrap().get() == 1 {
            "the first"
        } else {
            "the second"
        });
        for _ in 0..2 {
            read_on(&mut reader, &mut read);
            read_on(&mut next, &mut read_next);
        }
        assert_eq!((read, read_next), (vec![7], vec![7]));
    });
}

/// The slot of an abandoned claim is used again.
#[test]
fn abandoned_slot_is_reused() {
    let outcomes = &["Full", "read [2]", "read []"];
    Model {
        preemptions: 3,
        executions: 500,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::multi(trying(1), || 0).unwrap();
        let (_, mut reader) = topology.stage("reader").consumer();
        let (_bus, mut producer) = start(topology);
        let writer = thread::spawn(move || {
            drop(producer.try_claim(1).unwrap());
            if attempt(|| producer.try_publish(2)).is_none() {
                saw("Full");
            }
        });
        let mut read = Vec::new();
        for _ in 0..3 {
            read_on(&mut reader, &mut read);
        }
        assert!([2].starts_with(&read), "read {read:?}");
        saw(format!("read {read:?}"));
        writer.join().unwrap();
    });
}
