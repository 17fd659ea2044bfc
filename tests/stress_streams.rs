//! Streams whose readers keep their distance from producers (`tail_pauses`), and so go by a position where others look at marks: order and
//! completeness, to the end, to a close in between, and to a halt.
//!
//! Planted one after the other, each of these faults was caught by it: a reader that stops one event, or one line, past the position instead
//! of some events short of it; one that takes a line more than it may by the position; the position taken for proof behind many producers
//! too; the closed bit counted into the position; the position, or the marks, of a run stored before its slots are written, and the mark of a
//! single event.
//! A position stored before its single event is written is not: the distance that readers keep covers an event or more. Of that a model
//! makes sure (`single::passed`).

mod common;

use common::limited;
use ringway::{BusConfig, Ended, Multi, Producer, ProducerKind, Single, Topology, Wait};
use std::hint;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

const EVENTS: u64 = if cfg!(miri) { 300 } else { 60_000 };

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// The producer is dropped.
    Drained,
    Closed,
    Halted,
}

/// Who reads.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Consumer,
    TwoStages,
    Group,
}

fn config(capacity: usize, tail_pauses: u32) -> BusConfig {
    BusConfig {
        capacity,
        tail_pauses,
        wait: Wait::Yield,
        batch_max: 48,
        ..BusConfig::default()
    }
}

/// Slots are half written for a while now and then, so that whoever reads them too early has time to. It does not yield: where threads are
/// many, that would take all the time there is.
fn linger(event: u64) {
    let spins = if event.is_multiple_of(97) {
        2_000
    } else {
        event % 31
    };
    (0..spins).for_each(|_| hint::spin_loop());
}

/// Singly and in runs, at once and with time between, up to all events or the end of the bus; how many were published.
fn publish<K: ProducerKind>(mut tx: Producer<[u64; 2], K>) -> u64 {
    let mut next = 0;
    while next < EVENTS {
        let count = if next % 1024 < 700 { 1 } else { 1 + next % 9 };
        let lingers = next % 1024 / 64 % 2 == 1;
        let events = Vec::from_iter((next..next + count).map(|event| [event, !event]));
        let published = match (count, lingers) {
            (1, false) => usize::from(tx.publish(events[0]).is_ok()),
            (1, true) => {
                let write = |slot: &mut [u64; 2]| {
                    slot[0] = next;
                    linger(next);
                    slot[1] = !next;
                };
                usize::from(tx.publish_with(write).is_ok())
            }
            (_, false) => tx
                .publish_slice(&events)
                .unwrap_or_else(|error| error.published),
            (_, true) => tx
                .publish_batch(events.into_iter().inspect(|event| linger(event[0])))
                .unwrap_or_else(|error| error.published),
        };
        next += published as u64;
        if published as u64 != count {
            break;
        }
    }
    next
}

fn run<K: ProducerKind>(mut topology: Topology<[u64; 2], K>, shape: Shape, end: End)
where
    Producer<[u64; 2], K>: Send,
{
    let seen = Arc::new(AtomicU64::new(0));
    let mut readers = Vec::new();
    let ended = move |ended: Ended| match end {
        End::Halted => assert!(matches!(ended, Ended::Halted | Ended::Drained), "{ended:?}"),
        _ => assert_eq!(ended, Ended::Drained),
    };
    match shape {
        Shape::Consumer | Shape::TwoStages => {
            let mut stages = Vec::new();
            let (first, rx) = topology.stage("first").consumer();
            stages.push(rx);
            if matches!(shape, Shape::TwoStages) {
                stages.push(topology.stage("second").after([first]).consumer().1);
            }
            for mut rx in stages {
                let seen = seen.clone();
                readers.push(thread::spawn(move || {
                    let mut next = 0;
                    let why = loop {
                        match rx.read() {
                            Ok(batch) => batch.iter().for_each(|event| {
                                assert_eq!(*event, [next, !next]);
                                next += 1;
                                seen.fetch_max(next, Ordering::Relaxed);
                            }),
                            Err(why) => break why,
                        }
                    };
                    ended(why);
                    Vec::from_iter(0..next)
                }));
            }
        }
        Shape::Group => {
            let (_, worker) = topology.stage("group").workers();
            for mut rx in [worker.clone(), worker] {
                let seen = seen.clone();
                readers.push(thread::spawn(move || {
                    let mut got = Vec::new();
                    let why = loop {
                        match rx.read() {
                            Ok(batch) => batch.iter().for_each(|event| {
                                assert_eq!(event[1], !event[0]);
                                assert!(got.last().is_none_or(|last| *last < event[0]));
                                got.push(event[0]);
                                seen.fetch_max(event[0] + 1, Ordering::Relaxed);
                            }),
                            Err(why) => break why,
                        }
                    };
                    ended(why);
                    got
                }));
            }
        }
    }
    let (bus, tx) = topology.start().expect("the graph is sound");
    let producer = thread::spawn(move || publish(tx));
    if end != End::Drained {
        // one that is done by then has failed, and will say so
        while seen.load(Ordering::Relaxed) < EVENTS / 2
            && !readers.iter().any(JoinHandle::is_finished)
        {
            thread::yield_now();
        }
        match end {
            End::Closed => bus.close(),
            _ => bus.halt(),
        }
    }
    let published = producer.join().expect("it ends");
    let got = Vec::from_iter(
        readers
            .into_iter()
            .map(|reader| reader.join().expect("it ends")),
    );
    if end == End::Drained {
        assert!(published >= EVENTS);
    }
    let all = match shape {
        Shape::Group => {
            let mut all = got.concat();
            all.sort_unstable();
            vec![all]
        }
        _ => got,
    };
    for all in all {
        if end == End::Halted {
            assert!(all.len() as u64 <= published);
            assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "twice");
        } else {
            assert!(all.into_iter().eq(0..published));
        }
    }
}

fn in_every_ring(shape: Shape) {
    for tail_pauses in [1, 64] {
        for capacity in [64, 256, 1024] {
            for end in [End::Drained, End::Closed, End::Halted] {
                limited(move || {
                    let config = config(capacity, tail_pauses);
                    let single = Topology::<_, Single>::single(config.clone(), || [0; 2]);
                    run(single.expect("it is small"), shape, end);
                    let multi = Topology::<_, Multi>::multi(config, || [0; 2]);
                    run(multi.expect("it is small"), shape, end);
                });
            }
        }
    }
}

#[test]
fn one_consumer() {
    in_every_ring(Shape::Consumer);
}

#[test]
fn two_stages_in_a_row() {
    in_every_ring(Shape::TwoStages);
}

#[test]
fn workers_of_a_group() {
    in_every_ring(Shape::Group);
}
