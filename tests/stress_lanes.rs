//! Lanes under load, at random: producers that come and go, every verb and strategy, tiny capacities; a consumer that drains,
//! peeks, edits, forgets, sleeps.

mod common;

use common::executor::block_on;
use common::payload::{Id, Payload, silent_panic};
use common::script::in_order_of_producers;
use common::{Census, Log, Random, STRATEGIES, later, limited, seeded, until, waiting};
use ringway::{BusConfig, LaneConsumer, LaneProducer, TryReadError, Wait, lanes, lanes_with};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Publishes some events, by some verb; how many.
fn publish_some(tx: &mut LaneProducer<Payload>, from: Id, left: u64, random: &mut Random) -> u64 {
    let id = |offset| Id {
        count: from.count + offset,
        ..from
    };
    match random.below(7) {
        0 => drop(tx.publish(Payload::new(id(0))).expect("open")),
        1 => drop(tx.publish_with(|slot| slot.write(id(0))).expect("open")),
        2 => drop(
            tx.publish_deadline(Payload::new(id(0)), later())
                .expect("open"),
        ),
        3 => drop(block_on(tx.publish_async(Payload::new(id(0)))).expect("open")),
        4 => {
            let mut event = Payload::new(id(0));
            while let Err(full) = tx.try_publish(event) {
                event = full.into_event();
                thread::yield_now();
            }
        }
        5 => {
            let size = 1 + random.below(left.min(tx.capacity() as u64));
            let mut claim = tx.claim(size as usize).expect("open");
            claim
                .iter_mut()
                .zip(0..)
                .for_each(|(slot, offset)| slot.write(id(offset)));
            claim.publish();
            return size;
        }
        _ => {
            let size = 1 + random.below(left.min(2 * tx.capacity() as u64));
            let events = (0..size as usize).map(|offset| Payload::new(id(offset as u64)));
            assert_eq!(tx.publish_batch(events), Ok(size as usize));
            return size;
        }
    }
    1
}

/// One producer, which now and then goes on as another one: its order holds while it is the same.
fn produce(
    mut tx: LaneProducer<Payload>,
    seat: u64,
    events: u64,
    next: &Log<u64>,
    mut random: Random,
) {
    let mut left = events;
    let mut id = Id {
        producer: seat,
        count: 0,
    };
    while left > 0 {
        let published = publish_some(&mut tx, id, left, &mut random);
        id.count += published;
        left -= published;
        match random.below(24) {
            0 => tx = tx.clone(), // the old one goes when the new one is there
            1 => thread::sleep(std::time::Duration::from_micros(random.below(300))),
            2 => drop(tx.clone()),
            3 => {
                drop(catch_unwind(AssertUnwindSafe(|| {
                    tx.publish_with(|slot| {
                        slot.spoil();
                        silent_panic();
                    })
                })));
                continue;
            }
            _ => continue,
        }
        // of another lane, it is another producer
        next.push(id.count);
        id = Id {
            producer: id.producer + 1000,
            count: 0,
        };
    }
    next.push(id.count);
}

fn consume(rx: &mut LaneConsumer<Payload>, random: &mut Random) -> Vec<Id> {
    let mut seen = Vec::new();
    loop {
        let read = match random.below(4) {
            0 => rx.read_deadline(later()).ok(),
            1 => block_on(rx.read_async()).ok(),
            2 => match rx.try_read() {
                Ok(batch) => Some(batch),
                Err(TryReadError::Empty) => {
                    thread::yield_now();
                    continue;
                }
                Err(TryReadError::Ended(_)) => None,
            },
            _ => rx.read().ok(),
        };
        let Some(mut batch) = read else { return seen };
        match random.below(3) {
            0 => batch.drain().for_each(|event| seen.push(event.read())),
            1 => batch
                .iter()
                .for_each(|event| seen.push(event.watch(random))),
            _ => batch.iter_mut().for_each(|event| {
                seen.push(event.watch(random));
                event.spoil();
            }),
        }
        if random.once_in(8) {
            std::mem::forget(batch);
        } else {
            drop(batch);
        }
        if random.once_in(40) {
            thread::sleep(std::time::Duration::from_micros(random.below(300)));
        }
    }
}

fn case(wait: Wait, producers: u64, capacity: usize, events: u64, random: &mut Random) {
    let config = BusConfig {
        batch_max: 1 + random.below(8) as usize,
        ..waiting(capacity, wait)
    };
    let (tx, mut rx) = lanes_with(config).expect("a valid configuration");
    let counts = Log::new();
    let publishers: Vec<_> = (0..producers)
        .map(|seat| {
            let (tx, counts, random) = (tx.clone(), counts.clone(), random.fork());
            thread::spawn(move || produce(tx, seat, events, &counts, random))
        })
        .collect();
    drop(tx);
    let seen = consume(&mut rx, random);
    for publisher in publishers {
        publisher.join().expect("it found nothing wrong");
    }
    assert_eq!(counts.take().into_iter().sum::<u64>(), producers * events);
    assert_eq!(seen.len() as u64, producers * events);
    in_order_of_producers(&seen);
}

#[test]
fn one_to_sixteen_producers_that_come_and_go() {
    seeded("one_to_sixteen_producers_that_come_and_go", |mut random| {
        for wait in STRATEGIES {
            for (producers, capacity) in [(1, 1), (2, 1), (2, 4), (4, 64), (16, 2)] {
                let events = match wait {
                    Wait::BusySpin if producers > 2 => continue,
                    Wait::BusySpin => 40,
                    _ => 400,
                };
                let mut random = random.fork();
                limited(move || case(wait, producers, capacity, events, &mut random));
            }
        }
    });
}

#[test]
fn ends_that_leave_at_any_moment_leak_nothing_and_leave_nobody_waiting() {
    seeded(
        "ends_that_leave_at_any_moment_leak_nothing_and_leave_nobody_waiting",
        |mut random| {
            for _ in 0..80 {
                let mut random = random.fork();
                limited(move || {
                    let census = Census::default();
                    let (tx, mut rx) = lanes(1 + random.below(4) as usize);
                    let publishers: Vec<_> = (0..3)
                        .map(|_| {
                            let (mut tx, census) = (tx.clone(), census.clone());
                            let mut random = random.fork();
                            thread::spawn(move || {
                                for number in 0..random.below(60) {
                                    if tx.publish(census.event(number)).is_err() {
                                        break;
                                    }
                                    if random.once_in(6) {
                                        tx = tx.clone();
                                    }
                                }
                            })
                        })
                        .collect();
                    drop(tx);
                    for _ in 0..random.below(40) {
                        let Ok(mut batch) = rx.read() else { break };
                        if random.once_in(2) {
                            batch.drain().for_each(drop);
                        }
                    }
                    drop(rx);
                    for publisher in publishers {
                        publisher.join().expect("it found nothing wrong");
                    }
                    assert_eq!(census.living(), 0);
                });
            }
        },
    );
}

/// Producers that publish one event and go, while the consumer sleeps whenever it can.
#[test]
fn no_wake_up_is_lost() {
    limited(|| {
        let (tx, mut rx) = lanes_with::<u64>(waiting(1, Wait::Park)).expect("valid");
        let (asked, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..3 {
                let (tx, asked, answered) = (tx.clone(), &asked, &answered);
                scope.spawn(move || {
                    let mut tx = tx;
                    for turn in 0..2_000 {
                        if turn % 5 == 0 {
                            tx = tx.clone();
                        }
                        tx.publish(1).expect("open");
                        asked.fetch_add(1, Ordering::SeqCst);
                        // one in flight: if the consumer misses it, everybody waits
                        if turn % 2 == 0 {
                            let so_far = asked.load(Ordering::SeqCst);
                            until(|| answered.load(Ordering::SeqCst) >= so_far.min(turn));
                        }
                    }
                });
            }
            drop(tx);
            while let Ok(batch) = rx.read() {
                answered.fetch_add(batch.len(), Ordering::SeqCst);
            }
        });
        assert_eq!(answered.into_inner(), 6_000);
    });
}
