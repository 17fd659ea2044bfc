//! Members of a group divide events: none gets one twice, and producers never pass what a member still holds.
#![cfg(loom)]

use loom::thread::{self, yield_now};
use loom_tests::{Model, attempt, saw, start, trying};
use ringway::{BusConfig, Single, Topology, Wait, Worker};

fn topology(capacity: usize) -> Topology<u64, Single> {
    let config = BusConfig { batch_max: 1, ..trying(capacity) };
    Topology::single(config, || 0).unwrap()
}

/// What a member gets next.
fn read_one(worker: &mut Worker<u64>) -> Result<u64, ringway::TryReadError> {
    worker.try_read().map(|batch| {
        let events: Vec<u64> = batch.iter().copied().collect();
        assert_eq!(events.len(), 1);
        events[0]
    })
}

/// Two members read while the producer goes on into the slots that they free.
#[test]
fn frontier() {
    Model { preemptions: 2, executions: 1000, outcomes: &[] }.check(|| {
        let mut topology = topology(2);
        let (_, worker) = topology.stage("members").workers();
        let (_bus, mut producer) = start(topology);
        producer.try_publish_slice(&[1, 2]).unwrap();
        let members = [worker.clone(), worker].map(|mut worker| {
            thread::spawn(move || {
                let read: Vec<u64> = (0..2).filter_map(|_| read_one(&mut worker).ok()).collect();
                (worker, read)
            })
        });
        let third = attempt(|| producer.try_publish(3));
        let ends = members.map(|member| member.join().unwrap());
        let mut read: Vec<u64> = ends.iter().flat_map(|(_, read)| read).copied().collect();
        saw(format!("third {}, read {} and {}", third.is_some(), ends[0].1.len(), ends[1].1.len()));
        read.sort_unstable();
        assert!([1, 2, 3].starts_with(&read), "read {read:?}");
    });
}

/// A member that has just joined claims an event: whoever sees the claim looks at the new member too.
#[test]
fn new_member() {
    Model { preemptions: 3, executions: 50, outcomes: &[] }.check(|| {
        let mut topology = topology(1);
        let (_, worker) = topology.stage("members").workers();
        let (_bus, mut producer) = start(topology);
        producer.try_publish(1).unwrap();
        let member = thread::spawn(move || {
            let mut joined = worker.clone();
            assert_eq!(read_one(&mut joined), Ok(1));
            (worker, joined)
        });
        let second = attempt(|| producer.try_publish(2));
        saw(if second.is_some() { "published" } else { "full" }); eprintln!("--- {}", second.is_some());
        drop(member.join().unwrap());
    });
}

/// A member that loses a claim has held the frontier back for a moment: it wakes a producer that fell asleep on that.
#[test]
fn lost_claim() {
    Model { preemptions: 2, executions: 1000, outcomes: &[] }.check(|| {
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
    Model { preemptions: 2, executions: 1000, outcomes: &[] }.check(|| {
        let mut topology = topology(1);
        let (_, worker) = topology.stage("members").workers();
        let (_, mut other) = topology.stage("other").consumer();
        let (_bus, mut producer) = start(topology);
        producer.try_publish(1).unwrap();
        drop(other.try_read().unwrap());
        let members = [worker.clone(), worker].map(|mut worker| thread::spawn(move || read_one(&mut worker).ok()));
        let second = attempt(|| producer.try_publish(2));
        yield_now();
        let read = members.map(|member| member.join().unwrap());
        saw(format!("{} published, {} read", 1 + usize::from(second.is_some()), read.iter().flatten().count()));
    });
}
