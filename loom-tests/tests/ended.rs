//! Stages that end early: the others go on with what they may have, and slots stay safe.
#![cfg(loom)]

use loom::thread::{self, yield_now};
use loom_tests::{Model, attempt, parking, saw, start, start_managed, trying};
use ringway::{BusConfig, Consumer, Ended, OnPanic, Topology, Wait};
use std::panic::resume_unwind;

/// Reads to the end, asleep while there is nothing.
fn read_all(reader: &mut Consumer<u64>) -> (Vec<u64>, Ended) {
    let mut read = Vec::new();
    loop {
        match reader.read() {
            Ok(batch) => read.extend(batch.iter().copied()),
            Err(ended) => return (read, ended),
        }
        assert!(read.len() <= 2, "read what was never published: {read:?}");
    }
}

fn upstream(stage: &str) -> Ended {
    Ended::Upstream {
        stage: stage.into(),
    }
}

/// The last stage leaves while the first still reads: the producer waits for the first.
#[test]
fn leaf_retires() {
    let outcomes = &["full", "published"];
    Model {
        preemptions: 3,
        executions: 100,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::single(trying(1), || 0).unwrap();
        let (first, mut reader) = topology.stage("first").consumer();
        let (_, leaf) = topology.stage("leaf").after([first]).consumer();
        let (_bus, mut producer) = start(topology);
        producer.try_publish(1).unwrap();
        let leaving = thread::spawn(move || drop(leaf));
        let publishing = thread::spawn(move || {
            yield_now();
            attempt(|| producer.try_publish(2)).is_some()
        });
        assert!(reader.try_read().unwrap().iter().eq(&[1_u64]));
        leaving.join().unwrap();
        saw(if publishing.join().unwrap() {
            "published"
        } else {
            "full"
        });
    });
}

/// A reader forgets a batch and leaves: what it has looked at happens before its slots are written again.
#[test]
fn forgotten_batch() {
    let outcomes = &["published"];
    Model {
        preemptions: 3,
        executions: 10,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::single(trying(1), || 0).unwrap();
        let (_, mut reader) = topology.stage("reader").consumer();
        let (_, mut other) = topology.stage("other").consumer();
        let (_bus, mut producer) = start(topology);
        producer.try_publish(1).unwrap();
        drop(other.try_read().unwrap());
        let publishing = thread::spawn(move || {
            yield_now();
            attempt(|| producer.try_publish(2)).is_some()
        });
        let batch = reader.try_read().unwrap();
        assert!(batch.iter().eq(&[1_u64]));
        std::mem::forget(batch);
        drop(reader);
        saw(if publishing.join().unwrap() {
            "published"
        } else {
            "full"
        });
    });
}

/// A stage leaves after one event of two: the one behind it gets that one, and learns why no more come.
#[test]
fn upstream_retires() {
    let outcomes = &["awake", "slept"];
    Model {
        preemptions: 3,
        executions: 4000,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::single(trying(2), || 0).unwrap();
        let (first, mut editor) = topology.stage("first").batch_max(1).consumer_mut();
        let (_, mut next) = topology
            .stage("next")
            .after([first])
            .wait(Wait::Park)
            .consumer();
        let (bus, mut producer) = start(topology);
        producer.try_publish_slice(&[1, 2]).unwrap();
        let leaving = thread::spawn(move || {
            editor
                .try_read()
                .unwrap()
                .iter_mut()
                .for_each(|event| *event += 10)
        });
        assert_eq!(read_all(&mut next), (vec![11], upstream("first")));
        leaving.join().unwrap();
        saw(if bus.stats().stages[1].parks > 0 {
            "slept"
        } else {
            "awake"
        });
    });
}

/// Both members of a group leave: the stage behind it gets what they handled, all of it, and ends.
#[test]
fn last_member_freezes() {
    let outcomes = &[
        "handled 2, 0 seen early",
        "handled 2, 1 seen early",
        "handled 2, 2 seen early",
    ];
    Model {
        preemptions: 2,
        executions: 9000,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::single(trying(2), || 0).unwrap();
        let (group, worker) = topology.stage("group").workers();
        let (_, mut next) = topology.stage("next").after([group]).consumer();
        let (_bus, mut producer) = start(topology);
        producer.try_publish_slice(&[1, 2]).unwrap();
        let members = [worker.clone(), worker].map(|mut worker| {
            thread::spawn(move || worker.try_read().map_or(0, |batch| batch.len()))
        });
        let early = attempt(|| next.try_read().map(|batch| batch.len())).unwrap_or(0);
        let handled: usize = members.map(|member| member.join().unwrap()).iter().sum();
        let (late, ended) = read_all(&mut next);
        assert_eq!((early + late.len(), ended), (handled, upstream("group")));
        saw(format!("handled {handled}, {early} seen early"));
    });
}

/// A member fails in the middle of its batch: what it handled may be overwritten, the event at hand not.
#[test]
fn member_fails() {
    let outcomes = &[
        "read None, third false, fourth false",
        "read Some([1]), third false, fourth true",
    ];
    Model {
        preemptions: 3,
        executions: 100,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::single(trying(2), || 0).unwrap();
        let group = topology
            .stage("group")
            .on_panic(OnPanic::Retire)
            .share(1, |_| {
                |event: &u64, _| {
                    if *event == 2 {
                        resume_unwind(Box::new("fails")); // a panic without its message
                    }
                }
            });
        let (_, mut next) = topology.stage("next").after([group]).consumer();
        topology.producer_wait(Wait::BusySpin);
        let (bus, mut producer, stages) = start_managed(topology, &[1, 2]);
        let third = attempt(|| producer.try_publish(3));
        let read = attempt(|| {
            next.try_read()
                .map(|batch| batch.iter().copied().collect::<Vec<u64>>())
        });
        let fourth = attempt(|| producer.try_publish(4));
        assert!(
            read.as_ref().is_none_or(|read| *read == [1]),
            "read {read:?}"
        );
        saw(format!(
            "read {read:?}, third {}, fourth {}",
            third.is_some(),
            fourth.is_some()
        ));
        stages.into_iter().for_each(|stage| stage.join().unwrap());
        assert!(bus.stats().stages[0].ended);
    });
}

/// A member fails while its sibling is busy or asleep: the sibling stops, and the stage ends before the event.
#[test]
fn sibling_of_one_that_fails() {
    let outcomes = &["awake", "slept"];
    Model {
        preemptions: 3,
        executions: 5000,
        outcomes,
    }
    .check(|| {
        let config = BusConfig {
            on_panic: OnPanic::Retire,
            ..parking(2)
        };
        let mut topology = Topology::single(config, || 0).unwrap();
        let group = topology.stage("group").share(2, |_| {
            |event: &u64, _| {
                if *event == 2 {
                    resume_unwind(Box::new("fails"));
                }
            }
        });
        let (_, mut next) = topology.stage("next").after([group]).consumer();
        let (bus, _producer, stages) = start_managed(topology, &[1, 2]);
        stages.into_iter().for_each(|stage| stage.join().unwrap());
        assert_eq!(read_all(&mut next), (vec![1], upstream("group")));
        saw(if bus.stats().stages[0].parks > 0 {
            "slept"
        } else {
            "awake"
        });
    });
}

/// A member of a keyed group fails while its sibling, which has a cursor of its own, is busy or asleep: the sibling stops, and what
/// comes after the group gets what both have passed, and ends.
#[test]
fn keyed_sibling_of_one_that_fails() {
    let outcomes = &["read [1]", "read []"];
    Model {
        preemptions: 1,
        executions: 1000,
        outcomes,
    }
    .check(|| {
        let config = BusConfig {
            on_panic: OnPanic::Retire,
            stages_max: 3,
            ..parking(2)
        };
        let mut topology = Topology::single(config, || 0).unwrap();
        let group = topology.stage("group").share_by(
            2,
            |event: &u64| *event,
            |_| {
                |event: &u64, _| {
                    if *event == 2 {
                        resume_unwind(Box::new("fails"));
                    }
                }
            },
        );
        let (_, mut next) = topology.stage("next").after([group]).consumer();
        let (bus, _producer, stages) = start_managed(topology, &[1, 2]);
        let (read, ended) = read_all(&mut next);
        assert_eq!(ended, upstream("group"));
        assert!([1].starts_with(&read), "read {read:?}");
        saw(format!("read {read:?}"));
        stages.into_iter().for_each(|stage| stage.join().unwrap());
        assert!(bus.stats().stages[0].ended);
    });
}

/// The last reader leaves while one producer writes: no other gets a claim for that slot.
#[test]
fn last_reader_closes() {
    let outcomes = &[
        "published false, false",
        "published false, true",
        "published true, false",
    ];
    Model {
        preemptions: 3,
        executions: 1000,
        outcomes,
    }
    .check(|| {
        let mut topology = Topology::multi(trying(1), || 0).unwrap();
        let (_, reader) = topology.stage("reader").consumer();
        let (_bus, mut producer) = start(topology);
        let mut other = producer.clone();
        let leaving = thread::spawn(move || drop(reader));
        let publishing = thread::spawn(move || {
            let published = other.try_publish(1).is_ok();
            (other, published)
        });
        let second = attempt(|| producer.try_publish(2)).is_some();
        leaving.join().unwrap();
        let (_other, first) = publishing.join().unwrap();
        assert!(!(first && second), "one slot");
        saw(format!("published {first}, {second}"));
    });
}
