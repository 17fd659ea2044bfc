//! The queues without a topology under load, at random: every combination of one or several ends, every strategy, tiny
//! capacities; readers drain, peek, edit, forget, come and go.

mod common;

use common::payload::Payload;
use common::script::{Script, Seen, exactly_once, ids, in_order_of_producers};
use common::{
    CAPACITIES, Census, Counted, Log, Random, STRATEGIES, bearable, later, limited, seeded,
};
use ringway::{
    Batch, Ended, Exclusive, Multi, Producer, ProducerKind, ReadDeadlineError, Wait, mpmc, mpsc,
    spmc, spsc,
};
use std::thread;

/// Takes a batch in one of the ways there are; its events are never seen again.
fn take(mut batch: Batch<'_, Payload, Exclusive>, seen: &Seen, random: &mut Random) {
    match random.below(3) {
        0 => batch.drain().for_each(|event| seen.push((0, event.read()))),
        1 => batch
            .iter()
            .for_each(|event| seen.push((0, event.watch(random)))),
        _ => batch.iter_mut().for_each(|event| {
            seen.push((0, event.watch(random)));
            event.spoil();
        }),
    }
    if random.once_in(8) {
        std::mem::forget(batch);
    }
}

fn publish<K: ProducerKind>(
    producers: Vec<Producer<Payload, K>>,
    wait: Wait,
    events: u64,
    random: &mut Random,
) -> Vec<thread::JoinHandle<()>> {
    let play = |(number, mut producer): (usize, Producer<Payload, K>)| {
        producer
            .set_wait(wait)
            .expect("producers of a queue may park");
        let random = random.fork();
        let script = Script {
            producer,
            number: number as u64,
            events,
            random,
            distracted: true,
            bound: None,
        };
        thread::spawn(move || script.play())
    };
    producers.into_iter().enumerate().map(play).collect()
}

/// A case for every strategy of the producers and every capacity.
fn everywhere(name: &str, case: fn(Wait, usize, u64, &mut Random)) {
    seeded(name, |mut random| {
        for wait in STRATEGIES {
            for capacity in CAPACITIES {
                let events = bearable(150, capacity, wait);
                let mut random = random.fork();
                limited(move || case(wait, capacity, events, &mut random));
            }
        }
    });
}

fn two(producer: Producer<Payload, Multi>) -> Vec<Producer<Payload, Multi>> {
    vec![producer.clone(), producer]
}

/// One reader, of any number of producers.
fn one_reader<K: ProducerKind>(
    (producers, mut rx): (
        Vec<Producer<Payload, K>>,
        ringway::Consumer<Payload, Exclusive>,
    ),
    (wait, events): (Wait, u64),
    random: &mut Random,
) {
    let (seen, count) = (Log::new(), producers.len() as u64);
    let publishers = publish(producers, wait, events, random);
    while let Ok(batch) = rx.read() {
        take(batch, &seen, random);
    }
    publishers
        .into_iter()
        .for_each(|publisher| publisher.join().expect("it found nothing wrong"));
    exactly_once("the reader", &seen, count, events);
    in_order_of_producers(&ids(&seen.take()));
}

#[test]
fn one_to_one() {
    everywhere("one_to_one", |wait, capacity, events, random| {
        let (tx, rx) = spsc(capacity);
        one_reader((vec![tx], rx), (wait, events), random);
    });
}

#[test]
fn many_to_one() {
    everywhere("many_to_one", |wait, capacity, events, random| {
        let (tx, rx) = mpsc(capacity);
        one_reader((two(tx), rx), (wait, events), random);
    });
}

/// Several readers that share; members come and go, and each sees what it gets of a producer in order.
fn many_readers<K: ProducerKind>(
    (producers, rx): (
        Vec<Producer<Payload, K>>,
        ringway::Worker<Payload, Exclusive>,
    ),
    (wait, events): (Wait, u64),
    random: &mut Random,
) {
    let (seen, count) = (Log::new(), producers.len() as u64);
    let readers: Vec<_> = [rx.clone(), rx.clone(), rx]
        .into_iter()
        .map(|mut rx| {
            let (seen, own, mut random) = (seen.clone(), Log::new(), random.fork());
            thread::spawn(move || {
                loop {
                    let read = if random.once_in(2) {
                        rx.read().map_err(ReadDeadlineError::Ended)
                    } else {
                        rx.read_deadline(later())
                    };
                    match read.map(|batch| take(batch, &own, &mut random)) {
                        Ok(()) => {}
                        Err(ended) => {
                            break assert_eq!(ended, ReadDeadlineError::Ended(Ended::Drained));
                        }
                    }
                    if random.once_in(5) {
                        rx = rx.clone();
                    }
                }
                let mut last = [None; 2];
                for (_, id) in own.take() {
                    let last = &mut last[id.producer as usize];
                    assert!(*last < Some(id.count), "{id:?} comes after {last:?}");
                    *last = Some(id.count);
                    seen.push((0, id));
                }
            })
        })
        .collect();
    let publishers = publish(producers, wait, events, random);
    publishers
        .into_iter()
        .chain(readers)
        .for_each(|one| one.join().expect("it found nothing wrong"));
    exactly_once("the readers", &seen, count, events);
}

#[test]
fn one_to_many() {
    everywhere("one_to_many", |wait, capacity, events, random| {
        let (tx, rx) = spmc(capacity);
        many_readers((vec![tx], rx), (wait, events), random);
    });
}

#[test]
fn many_to_many() {
    everywhere("many_to_many", |wait, capacity, events, random| {
        let (tx, rx) = mpmc(capacity);
        many_readers((two(tx), rx), (wait, events), random);
    });
}

/// Producers that give up, readers that go, in whatever order.
fn leave_at_random(random: &mut Random) {
    let census = Census::default();
    let (tx, rx) = mpmc::<Counted>(1 + random.below(8) as usize);
    let producers = [tx.clone(), tx].map(|mut tx| {
        let (census, events) = (census.clone(), random.below(60));
        thread::spawn(move || (0..events).all(|number| tx.publish(census.event(number)).is_ok()))
    });
    let readers = [rx.clone(), rx].map(|mut rx| {
        let (batches, drains) = (random.below(30), random.once_in(2));
        thread::spawn(move || {
            for _ in 0..batches {
                let Ok(mut batch) = rx.read() else { break };
                if drains {
                    batch.drain().for_each(drop);
                }
            }
        })
    });
    readers
        .into_iter()
        .for_each(|reader| reader.join().expect("it found nothing wrong"));
    assert!(
        producers
            .into_iter()
            .all(|producer| producer.join().is_ok())
    );
    assert_eq!(census.living(), 0);
}

#[test]
fn ends_that_leave_at_any_moment_leak_nothing_and_drop_nothing_twice() {
    seeded(
        "ends_that_leave_at_any_moment_leak_nothing_and_drop_nothing_twice",
        |mut random| {
            for _ in 0..60 {
                let mut random = random.fork();
                limited(move || leave_at_random(&mut random));
            }
        },
    );
}
