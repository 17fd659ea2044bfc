//! Rings that come round hundreds of times: the byte that marks a slot of many producers counts laps modulo 128.

mod common;

use common::limited;
use ringway::{Consumer, Exclusive, Multi, Producer, ReadDeadlineError, Wait, mpmc, mpsc};
use std::fmt::Debug;
use std::thread;

/// More than the counter holds, twice.
const LAPS: u64 = 300;
const CAPACITIES: [usize; 5] = [1, 2, 3, 8, 16];
/// At least as many as the slots of any of these rings.
const SLOTS_MAX: u64 = 32;

/// Publishes in every way, in runs of changing lengths, and gives claims up in between; nothing is read before it is published.
fn come_round<T: Copy + PartialEq + Debug>(
    mut tx: Producer<T, Multi>,
    mut rx: Consumer<T, Exclusive>,
    event: impl Fn(u64) -> T,
) {
    let capacity = tx.capacity() as u64;
    let mut next = 0;
    for step in 0.. {
        assert!(rx.try_read().is_err(), "nothing is published at {next}");
        let count = 1 + step % capacity;
        let events = Vec::from_iter((next..next + count).map(&event));
        next += count;
        let mut expected = events.clone();
        match step % 4 {
            0 => assert_eq!(tx.publish_batch(events.iter().copied()), Ok(count as usize)),
            1 => assert_eq!(tx.publish_slice(&events), Ok(count as usize)),
            2 => events
                .iter()
                .for_each(|event| _ = tx.try_publish(*event).expect("there is room")),
            _ => {
                drop(tx.try_claim(count as usize).expect("there is room"));
                expected.clear();
            }
        }
        let batch = rx.try_read().expect("something is published");
        assert_eq!(Vec::from_iter(batch.iter().copied()), expected);
        if next > LAPS * SLOTS_MAX {
            return;
        }
    }
}

fn in_rings<T: Copy + PartialEq + Debug + Default + Send + 'static>(
    event: impl Fn(u64) -> T + Copy + Send + 'static,
) {
    for capacity in CAPACITIES {
        limited(move || {
            let (tx, rx) = mpsc::<T>(capacity);
            come_round(tx, rx, event);
        });
    }
}

#[test]
fn of_slots_that_share_a_line() {
    in_rings(|number| number as u8);
    in_rings(|number| number);
    in_rings(|number| [number; 3]);
}

#[test]
fn of_large_slots() {
    in_rings(|number| [number; 9]);
}

#[test]
fn with_producers_that_overtake_each_other() {
    limited(|| {
        let each = LAPS * SLOTS_MAX;
        let (mut tx, mut rx) = mpsc::<u64>(2);
        tx.set_wait(Wait::Yield).expect("any may yield");
        for number in 0..2 {
            let mut tx = tx.clone();
            thread::spawn(move || {
                for event in 0..each {
                    tx.publish(event << 1 | number).expect("somebody reads");
                }
            });
        }
        drop(tx);
        let mut next = [0, 1];
        while let Ok(batch) = rx.read() {
            for event in &batch {
                let next = &mut next[(event & 1) as usize];
                assert_eq!(event, next);
                *next += 2;
            }
        }
        assert_eq!(next, [2 * each, 2 * each + 1]);
    });
}

/// A member that loses its core may look where the others were laps ago.
#[test]
fn with_workers() {
    limited(|| {
        let each = LAPS * SLOTS_MAX;
        let (mut tx, rx) = mpmc::<u64>(2);
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let mut rx = rx.clone();
                thread::spawn(move || {
                    let (mut sum, mut count) = (0, 0);
                    loop {
                        match rx.read_deadline(common::later()) {
                            Ok(batch) => batch.iter().for_each(|event| {
                                sum += event;
                                count += 1;
                            }),
                            Err(ReadDeadlineError::Ended(_)) => return (sum, count),
                            Err(ReadDeadlineError::TimedOut) => panic!("events are there"),
                        }
                    }
                })
            })
            .collect();
        drop(rx);
        for event in 0..each {
            tx.publish(event).expect("somebody reads");
        }
        drop(tx);
        let (sum, count) = workers
            .into_iter()
            .map(|worker| worker.join().expect("no worker fails"))
            .fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        assert_eq!((sum, count), (each * (each - 1) / 2, each));
    });
}
