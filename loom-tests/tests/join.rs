//! Readers that join and leave a running bus: no slot that one of them reads is written, and none has two writers.
#![cfg(loom)]

use loom::thread::{self, JoinHandle, yield_now};
use loom_tests::{Model, attempt, parking, saw, start, trying};
use ringway::{
    Bus, BusConfig, Consumer, Multi, OnUnread, Producer, ProducerKind, Single, SubscribeConfig,
    Topology,
};

/// A bus of capacity 1 with one reader.
fn one<K: ProducerKind>(
    topology: Result<Topology<u64, K>, ringway::Error>,
) -> (Bus<u64>, Producer<u64, K>, Consumer<u64>) {
    let mut topology = topology.unwrap();
    let (_, reader) = topology.stage("reader").consumer();
    let (bus, producer) = start(topology);
    (bus, producer, reader)
}

fn single() -> (Bus<u64>, Producer<u64, Single>, Consumer<u64>) {
    one(Topology::single(trying(1), || 99))
}

fn multi() -> (Bus<u64>, Producer<u64, Multi>, Consumer<u64>) {
    one(Topology::multi(trying(1), || 99))
}

/// A bus whose producers go on when nobody reads.
fn unread(capacity: usize) -> BusConfig {
    BusConfig {
        on_unread: OnUnread::Continue,
        ..trying(capacity)
    }
}

fn subscribe(bus: &Bus<u64>) -> Result<Consumer<u64>, ringway::Error> {
    bus.subscribe("late", SubscribeConfig::default())
}

/// Reads one batch, if there is one: each event is its own sequence, and none is left out. What comes next then.
fn read(reader: &mut Consumer<u64>, next: Option<u64>) -> Option<u64> {
    let (sequences, events) = attempt(|| {
        let batch = reader.try_read()?;
        let events: Vec<u64> = batch.iter().copied().collect();
        Ok::<_, ringway::TryReadError>((batch.sequences(), events))
    })?;
    let (start, end) = (sequences.start().get(), sequences.end().get());
    assert!(next.is_none_or(|next| next == start), "gapless");
    assert!(
        events.into_iter().eq(start..end),
        "each is its own sequence"
    );
    Some(end)
}

/// Joins, reads at most one batch, and leaves.
fn join_and_read(bus: Bus<u64>) -> JoinHandle<()> {
    thread::spawn(move || match subscribe(&bus) {
        Err(_) => saw("closed"),
        Ok(mut late) => saw(format!("read to {:?}", read(&mut late, None))),
    })
}

/// Publishes two events, or as many as there is room for, and reads each as the bus's own reader: only who joins can be in the way.
fn publish_two<K: ProducerKind>(
    mut producer: Producer<u64, K>,
    mut reader: Consumer<u64>,
) -> JoinHandle<(Producer<u64, K>, Consumer<u64>)>
where
    Producer<u64, K>: 'static,
{
    thread::spawn(move || {
        for sequence in 0..2 {
            if attempt(|| producer.try_publish(sequence)).is_none() {
                break;
            }
            assert_eq!(read(&mut reader, Some(sequence)), Some(sequence + 1));
        }
        (producer, reader)
    })
}

/// One joins while a producer goes on as far as its limit says.
#[test]
fn one_producer() {
    let outcomes = &["read to None", "read to Some(1)", "read to Some(2)"];
    Model {
        preemptions: 3,
        executions: 1000,
        outcomes,
    }
    .check(|| {
        let (bus, producer, reader) = single();
        let joining = join_and_read(bus);
        let ends = publish_two(producer, reader).join().unwrap();
        joining.join().unwrap();
        drop(ends);
    });
}

/// One joins while two producers go on, each by a limit of its own.
#[test]
fn two_producers() {
    let outcomes = &["read None", "read Some([1])", "read Some([2])"];
    Model {
        preemptions: 2,
        executions: 1000,
        outcomes,
    }
    .check(|| {
        let (bus, mut producer, mut reader) = multi();
        let mut other = producer.clone();
        let writing = thread::spawn(move || {
            let _ = other.try_publish(1);
            other
        });
        let following = thread::spawn(move || {
            if reader.try_read().is_ok() {
                let _ = producer.try_publish(2); // if the late reader lets it
            }
            (producer, reader)
        });
        let joining = thread::spawn(move || {
            let mut late = subscribe(&bus).unwrap();
            yield_now();
            let read = late.try_read().ok().map(|batch| {
                let sequence = batch.sequences().start().get();
                let events: Vec<u64> = batch.iter().copied().collect();
                assert_eq!(events, [sequence + 1]);
                events
            });
            saw(format!("read {read:?}"));
        });
        let ends = (writing.join().unwrap(), following.join().unwrap());
        joining.join().unwrap();
        drop(ends);
    });
}

/// One joins while a claim is in progress, and then every other reader leaves: what held the claimer back holds back the next one.
#[test]
fn all_others_leave() {
    let outcomes = &["false, true", "true, false", "true, true"];
    Model {
        preemptions: 3,
        executions: 100,
        outcomes,
    }
    .check(|| {
        let (bus, mut producer, reader) = multi();
        let mut other = producer.clone();
        let writing = thread::spawn(move || (other.try_publish(1).is_ok(), other));
        let mut late = subscribe(&bus).unwrap();
        drop(reader);
        let second = producer.try_publish(2).is_ok();
        let (first, _other) = writing.join().unwrap();
        let batch = late.try_read().unwrap();
        let sequence = batch.sequences().start().get();
        assert_eq!(first && second, sequence == 1, "one slot");
        assert!(batch.iter().eq(&[if second && (!first || sequence == 1) {
            2
        } else {
            1
        }]));
        saw(format!("{first}, {second}"));
    });
}

/// One joins, leaves, and joins again by the same entry, while a producer goes on.
#[test]
fn leaves_and_joins_again() {
    let outcomes = &[
        "read to None, None",
        "read to None, Some(1)",
        "read to None, Some(2)",
        "read to Some(1), None",
        "read to Some(1), Some(2)",
        "read to Some(2), None",
    ];
    Model {
        preemptions: 2,
        executions: 1000,
        outcomes,
    }
    .check(|| {
        let (bus, producer, reader) = single();
        let joining = thread::spawn(move || {
            let [first, second] = [(); 2].map(|()| {
                // there is one entry beside the reader's
                let mut late = subscribe(&bus).unwrap();
                read(&mut late, None)
            });
            assert!(first.is_none() || second.is_none() || first < second);
            saw(format!("read to {first:?}, {second:?}"));
        });
        let ends = publish_two(producer, reader).join().unwrap();
        joining.join().unwrap();
        drop(ends);
    });
}

/// One joins while the last reader leaves: either it keeps the bus open, or it is told that the bus has closed.
#[test]
fn last_one_leaves() {
    let outcomes = &["closed", "open"];
    Model {
        preemptions: 3,
        executions: 10,
        outcomes,
    }
    .check(|| {
        let (bus, producer, reader) = multi();
        let leaving = thread::spawn(move || drop(reader));
        let late = subscribe(&bus);
        leaving.join().unwrap();
        assert_eq!(late.is_err(), producer.is_closed());
        saw(if late.is_ok() { "open" } else { "closed" });
    });
}

/// One joins while a producer goes to sleep because of it: the producer is woken, and so is the new reader.
#[test]
fn producer_sleeps() {
    let outcomes = &["closed", "read Err(Drained)", "read Ok(0)", "read Ok(1)"];
    Model {
        preemptions: 2,
        executions: 1000,
        outcomes,
    }
    .check(|| {
        let (bus, mut producer, mut reader) = one(Topology::single(parking(1), || 99));
        let writing = thread::spawn(move || {
            for sequence in 0..2 {
                producer.publish(sequence).unwrap();
                drop(reader.try_read().unwrap());
            }
        });
        match subscribe(&bus) {
            Err(_) => saw("closed"),
            Ok(mut late) => {
                let read = late.read().map(|batch| batch.sequences().start().get());
                saw(format!("read {read:?}"));
            }
        }
        writing.join().unwrap();
    });
}

/// Nobody reads and the producer goes on; one who joins holds it back.
#[test]
fn one_producer_unread() {
    let outcomes = &[
        "read to None",
        "read to Some(1)",
        "read to Some(2)",
        "read to Some(3)",
    ];
    Model {
        preemptions: 3,
        executions: 1000,
        outcomes,
    }
    .check(|| {
        let (bus, mut producer, reader) = one(Topology::single(unread(1), || 99));
        drop(reader);
        let joining = join_and_read(bus);
        let writing = thread::spawn(move || {
            for sequence in 0..3 {
                if attempt(|| producer.try_publish(sequence)).is_none() {
                    break;
                }
            }
            producer
        });
        let _producer = writing.join().unwrap();
        joining.join().unwrap();
    });
}

/// Nobody reads and two producers go on: no slot has two writers, and one who joins reads what was published.
#[test]
fn two_producers_unread() {
    let outcomes = &[
        "1 accepted, read None",
        "1 accepted, read Some(1)",
        "1 accepted, read Some(2)",
        "2 accepted, read None",
        "2 accepted, read Some(1)",
        "2 accepted, read Some(2)",
    ];
    Model {
        preemptions: 2,
        executions: 1000,
        outcomes,
    }
    .check(|| {
        let (bus, producer, reader) = one(Topology::multi(unread(1), || 99));
        drop(reader);
        let writers = [(1, producer.clone()), (2, producer)].map(|(event, mut producer)| {
            thread::spawn(move || (attempt(|| producer.try_publish(event)).is_some(), producer))
        });
        let mut late = subscribe(&bus).unwrap();
        let read = attempt(|| late.try_read().map(|batch| batch.iter().next().copied())).flatten();
        let writers = writers.map(|writer| writer.join().unwrap());
        let accepted = writers.iter().filter(|(accepted, _)| *accepted).count();
        saw(format!("{accepted} accepted, read {read:?}"));
    });
}
