//! Members of a group divide events: none gets one twice, and producers never pass what a member still holds.
#![cfg(loom)]

use loom::thread::{self, yield_now};
use loom_tests::{Model, attempt, saw, start, trying};
use ringway::{Access, Single, Topology, TryReadError, Wait, Worker, spmc};

fn topology(capacity: usize) -> Topology<u64, Single> {
    Topology::single(trying(capacity), || 0).expect("the capacity is right")
}

/// What a member gets next.
fn read_one<A: Access>(worker: &mut Worker<u64, A>) -> Result<u64, TryReadError>
where
    for<'b> &'b ringway::Batch<'b, u64, A>: IntoIterator<Item = &'b u64>,
{
    worker.try_read().map(|batch| {
        assert_eq!(batch.len(), 1);
        (&batch).into_iter().sum()
    })
}

/// Two members read while the producer goes on into the slots that they free.
#[test]
fn frontier() {
    let outcomes = &[
        "third false, read 0 and 2",
        "third false, read 1 and 1",
        "third true, read 0 and 2",
        "third true, read 1 and 1",
        "third true, read 1 and 2",
    ];
    Model {
        preemptions: 2,
        executions: 10000,
        outcomes,
    }
    .check(|| {
        let (mut producer, mut worker) = spmc(2);
        producer.try_publish_slice(&[1, 2]).unwrap();
        let mut other = worker.clone();
        let member = thread::spawn(move || {
            let read: Vec<u64> = (0..2).filter_map(|_| read_one(&mut other).ok()).collect();
            (other, read)
        });
        let publishing = thread::spawn(move || {
            yield_now();
            let third = attempt(|| producer.try_publish(3)).is_some();
            (producer, third)
        });
        let mut read: Vec<u64> = read_one(&mut worker).into_iter().collect();
        let (_other, others) = member.join().unwrap();
        let (_producer, third) = publishing.join().unwrap();
        saw(format!(
            "third {third}, read {} and {}",
            read.len(),
            others.len()
        ));
        read.extend(others);
        read.sort_unstable();
        assert!([1, 2, 3].starts_with(&read), "read {read:?}");
    });
}

/// A member goes on to the next event: a frontier at its new start says that it is done with the one before.
#[test]
fn next_claim() {
    let outcomes = &["full", "published"];
    Model {
        preemptions: 3,
        executions: 100,
        outcomes,
    }
    .check(|| {
        let mut topology = topology(2);
        let (_, mut worker) = topology.stage("members").workers();
        let (_bus, mut producer) = start(topology);
        producer.try_publish_slice(&[1, 2]).unwrap();
        let _idle = worker.clone(); // so that the other takes one at a time
        let publishing = thread::spawn(move || {
            yield_now();
            let third = attempt(|| producer.try_publish(3)).is_some();
            (producer, third)
        });
        assert_eq!(
            (read_one(&mut worker), read_one(&mut worker)),
            (Ok(1), Ok(2))
        );
        let (_producer, third) = publishing.join().unwrap();
        saw(if third { "published" } else { "full" });
    });
}

/// A member that has just joined claims an event: whoever sees the claim looks at the new member too.
#[test]
fn new_member() {
    let outcomes = &["full", "published"];
    Model {
        preemptions: 3,
        executions: 10,
        outcomes,
    }
    .check(|| {
        let (mut producer, worker) = spmc(1);
        producer.try_publish(1).unwrap();
        let publishing = thread::spawn(move || {
            yield_now();
            let second = attempt(|| producer.try_publish(2)).is_some();
            (producer, second)
        });
        let mut joined = worker.clone();
        assert_eq!(read_one(&mut joined), Ok(1));
        let (_producer, second) = publishing.join().unwrap();
        saw(if second { "published" } else { "full" });
    });
}

/// A member that loses a claim has held the frontier back for a moment: it wakes a producer that fell asleep on that.
#[test]
fn lost_claim() {
    let outcomes = &["[1, 2]", "[1]", "[2, 1]"];
    Model {
        preemptions: 2,
        executions: 30000,
        outcomes,
    }
    .check(|| {
        let mut topology = topology(1);
        topology.producer_wait(Wait::Park);
        let (_, worker) = topology.stage("members").workers();
        let (_bus, mut producer) = start(topology);
        producer.try_publish(1).unwrap();
        let members = [worker.clone(), worker].map(|mut worker| {
            thread::spawn(move || {
                let read = read_one(&mut worker).ok();
                (worker, read)
            })
        });
        producer.publish(2).unwrap();
        let ends = members.map(|member| member.join().unwrap());
        let read: Vec<u64> = ends.iter().filter_map(|(_, read)| *read).collect();
        saw(format!("{read:?}"));
    });
}

/// Members leave while another stage goes on: the last one ends the stage above all that they handled, and producers then
/// overwrite what all of them have read.
#[test]
fn members_leave() {
    let outcomes = &[
        "1 published, 1 read",
        "2 published, 1 read",
        "2 published, 2 read",
    ];
    Model {
        preemptions: 2,
        executions: 7000,
        outcomes,
    }
    .check(|| {
        let mut topology = topology(1);
        let (_, worker) = topology.stage("members").workers();
        let (_, mut other) = topology.stage("other").consumer();
        let (_bus, mut producer) = start(topology);
        producer.try_publish(1).unwrap();
        drop(other.try_read().unwrap());
        let members = [worker.clone(), worker]
            .map(|mut worker| thread::spawn(move || read_one(&mut worker).ok()));
        let second = attempt(|| producer.try_publish(2));
        yield_now();
        let read = members.map(|member| member.join().unwrap());
        saw(format!(
            "{} published, {} read",
            1 + usize::from(second.is_some()),
            read.iter().flatten().count()
        ));
    });
}
