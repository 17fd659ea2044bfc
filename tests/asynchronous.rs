//! Async ends, on executors that poll only what was woken: a lost wake-up hangs. Futures that are dropped have taken
//! and published nothing.
#![expect(
    clippy::unwrap_used,
    reason = "the lint does not see that functions called by tests are tests"
)]

mod common;

use common::executor::{Pool, bell, block_on, poll_once};
use common::{Census, Counted, Random, config, limited, numbers, panic_of, seeded};
use ringway::{
    AsyncConsumer, BusConfig, Ended, ErrorKind, Multi, Producer, PublishError, Topology, Wait,
    mpsc, spsc,
};
use std::pin::pin;
use std::task::{Poll, Waker};
use std::thread;

/// Reads to the end.
async fn all<T: Clone + Sync>(mut rx: AsyncConsumer<T>) -> (Vec<T>, Ended) {
    let mut all = Vec::new();
    loop {
        match rx.read().await {
            Ok(batch) => all.extend(batch.iter().cloned()),
            Err(ended) => return (all, ended),
        }
    }
}

#[test]
fn async_ends_pass_everything_through_every_capacity() {
    limited(|| {
        for capacity in [1, 2, 3, 64] {
            let mut topology = Topology::single(config(capacity), String::new).unwrap();
            let first = topology.stage("managed").handle(|_, _| ());
            let (_, rx) = topology.stage("task").after([first]).async_consumer();
            let (bus, mut producer) = topology.start().unwrap();
            let publisher = thread::spawn(move || {
                block_on(async move {
                    for number in 0..200 {
                        producer.publish_async(number.to_string()).await.unwrap();
                    }
                });
            });
            let (read, ended) = block_on(all(rx));
            assert_eq!(
                (read, ended),
                (
                    Vec::from_iter((0..200).map(|number| number.to_string())),
                    Ended::Drained
                )
            );
            publisher.join().unwrap();
            bus.shutdown().unwrap();
        }
    });
}

#[test]
fn many_tasks_on_few_threads_lose_no_wake_up() {
    limited(|| {
        const EACH: usize = 300;
        for wait in [Wait::Adaptive, Wait::Park, Wait::Yield] {
            let pool = Pool::new(2);
            let mut topology = Topology::multi(BusConfig { wait, ..config(4) }, || 0).unwrap();
            let (first, one) = topology.stage("one").async_consumer();
            let (_, two) = topology.stage("two").after([first]).async_consumer();
            let (_, three) = topology.stage("three").async_consumer();
            let (bus, producer) = topology.start().unwrap();
            let publish = |mut producer: Producer<u64, Multi>| async move {
                for number in 0..EACH {
                    producer.publish_async(number as u64).await.unwrap();
                }
            };
            let publishers: Vec<_> = (0..3)
                .map(|_| pool.spawn(publish(producer.clone())))
                .collect();
            drop(producer);
            let readers = [
                pool.spawn(all(one)),
                pool.spawn(all(two)),
                pool.spawn(all(three)),
            ];
            publishers
                .iter()
                .for_each(|publisher| publisher.recv().unwrap());
            let [one, two, three] = readers.map(|reader| reader.recv().unwrap().0);
            assert!(
                one == two && one == three && one.len() == 3 * EACH,
                "{wait:?} on {} threads",
                pool.threads()
            );
            bus.shutdown().unwrap();
        }
    });
}

#[test]
fn a_dropped_read_has_taken_nothing() {
    limited(|| {
        let mut topology = Topology::single(config(4), || 0).unwrap();
        let (_, mut rx) = topology.stage("task").async_consumer();
        let (_bus, mut producer) = topology.start().unwrap();
        let (bell, waker) = bell();
        assert!(poll_once(pin!(rx.read()), &waker).is_pending()); // dropped while it waits
        producer.publish(1).unwrap();
        assert_eq!(bell.rung(), 0, "nobody waits any more");
        drop(rx.read()); // never polled
        assert_eq!(rx.lag(), 1);
        {
            let mut read = pin!(rx.read());
            let Poll::Ready(Ok(batch)) = poll_once(read.as_mut(), &waker) else {
                panic!("there is one")
            };
            assert!(batch.iter().eq(&[1]));
            drop(batch);
            assert!(panic_of(|| poll_once(read, &waker)).contains("after it was ready"));
        }
        assert!(rx.try_read().is_err() && !rx.is_ended());
    });
}

#[test]
fn a_dropped_publication_has_published_nothing_and_drops_its_event() {
    limited(|| {
        let census = Census::default();
        let (mut tx, mut rx) = mpsc::<Counted>(1);
        tx.publish(census.event(0)).unwrap();
        let (bell, waker) = bell();
        drop(tx.publish_async(census.event(1)));
        assert!(poll_once(pin!(tx.publish_async(census.event(2))), &waker).is_pending());
        assert_eq!(census.living(), 1, "only the published one lives");
        assert!(rx.read().unwrap().iter().map(|event| event.number).eq([0]));
        assert_eq!((bell.rung(), tx.free()), (0, 1));
        block_on(tx.publish_async(census.event(3))).unwrap();
        assert!(rx.read().unwrap().iter().map(|event| event.number).eq([3]));
        assert!(rx.try_read().is_err());
    });
}

#[test]
fn a_publication_polled_after_it_was_ready_panics_and_blocks_nobody() {
    limited(|| {
        let (mut tx, mut rx) = mpsc::<u64>(4);
        let mut publication = Box::pin(tx.publish_async(1));
        assert!(poll_once(publication.as_mut(), Waker::noop()).is_ready());
        assert!(
            panic_of(|| poll_once(publication.as_mut(), Waker::noop()))
                .contains("after it was ready")
        );
        drop(publication);
        tx.publish(2).unwrap();
        assert!(
            rx.read().unwrap().iter().eq(&[1, 2]),
            "no slot was claimed for nothing"
        );
    });
}

#[test]
fn the_waker_of_the_last_poll_is_the_one_that_is_woken() {
    limited(|| {
        let mut topology = Topology::single(config(4), || 0).unwrap();
        let (_, mut rx) = topology.stage("task").async_consumer();
        let (_bus, mut producer) = topology.start().unwrap();
        let ((first, one), (second, two)) = (bell(), bell());
        let mut read = pin!(rx.read());
        assert!(poll_once(read.as_mut(), &one).is_pending());
        assert!(poll_once(read.as_mut(), &two).is_pending());
        producer.publish(1).unwrap();
        producer.publish(2).unwrap();
        assert_eq!(
            (first.rung(), second.rung()),
            (0, 1),
            "woken once, and only once it waits again"
        );
        let Poll::Ready(Ok(batch)) = poll_once(read, &one) else {
            panic!("there are two")
        };
        assert_eq!(batch.len(), 2);
    });
}

#[test]
fn closing_halting_and_leaving_wake_tasks() {
    limited(|| {
        for end in 0..4 {
            let mut topology = Topology::multi(config(4), || 0).unwrap();
            let (first, gate) = topology.stage("first").consumer();
            let (_, mut rx) = topology.stage("task").after([first]).async_consumer();
            let (_, mut direct) = topology.stage("direct").async_consumer();
            let (bus, producer) = topology.start().unwrap();
            let ((one, behind_stage), (two, behind_producers)) = (bell(), bell());
            let (mut read, mut other) = (pin!(rx.read()), pin!(direct.read()));
            assert!(poll_once(read.as_mut(), &behind_stage).is_pending());
            assert!(poll_once(other.as_mut(), &behind_producers).is_pending());
            let expected = match end {
                0 => {
                    bus.close();
                    Ended::Drained
                }
                1 => {
                    bus.halt();
                    Ended::Halted
                }
                2 => {
                    drop(producer);
                    Ended::Drained
                }
                _ => {
                    drop(gate);
                    Ended::Upstream {
                        stage: "first".into(),
                    }
                }
            };
            assert_eq!(
                (one.rung(), two.rung()),
                (1, usize::from(end < 3)),
                "{expected}"
            );
            let Poll::Ready(Err(ended)) = poll_once(read, &behind_stage) else {
                panic!("it has ended")
            };
            assert_eq!(ended, expected);
        }
    });
}

#[test]
fn a_publication_that_waits_is_refused_when_the_bus_ends() {
    limited(|| {
        for end in 0..3 {
            let mut topology = Topology::multi(config(1), || 0).unwrap();
            let (_, rx) = topology.stage("reader").consumer();
            let (bus, mut producer) = topology.start().unwrap();
            producer.publish(1).unwrap();
            let (bell, waker) = bell();
            let mut publication = pin!(producer.publish_async(2));
            assert!(poll_once(publication.as_mut(), &waker).is_pending());
            let mut rx = Some(rx);
            match end {
                0 => bus.close(),
                1 => bus.halt(),
                _ => drop(rx.take()),
            }
            assert!(bell.rung() > 0);
            assert_eq!(
                poll_once(publication, &waker),
                Poll::Ready(Err(PublishError::Closed(2)))
            );
        }
    });
}

#[test]
fn tasks_are_polled_again_where_nobody_looks_for_sleepers() {
    limited(|| {
        let mut topology = Topology::single(
            BusConfig {
                wait: Wait::Yield,
                ..config(1)
            },
            || 0,
        )
        .unwrap();
        let (_, mut rx) = topology.stage("reader").consumer();
        let (_bus, mut producer) = topology.start().unwrap();
        producer.publish(1).unwrap();
        let (bell, waker) = bell();
        let mut publication = pin!(producer.publish_async(2));
        for asked in 1..4 {
            assert!(poll_once(publication.as_mut(), &waker).is_pending());
            assert_eq!(bell.rung(), asked, "it asks to be polled again");
        }
        drop(rx.read().unwrap());
        assert_eq!(block_on(publication).map(|sequence| sequence.get()), Ok(1));
    });
}

#[test]
fn a_task_publishes_where_its_own_thread_reads() {
    // the reader's thread polls the publication between its reads: nothing of it may block
    limited(|| {
        let (mut tx, mut rx) = spsc::<u64>(1);
        let mut read = Vec::new();
        for number in 0..50 {
            let mut publication = pin!(tx.publish_async(number));
            while poll_once(publication.as_mut(), Waker::noop()).is_pending() {
                read.extend(rx.try_read().unwrap().drain());
            }
        }
        read.extend(rx.try_read().unwrap().drain());
        assert_eq!(read, Vec::from_iter(0..50));
    });
}

/// Publishes with futures that are dropped at random, and reads with others.
fn cancel_at_random(random: &mut Random, capacity: usize) {
    let mut topology = Topology::multi(config(capacity), || 0_u64).unwrap();
    let (_, mut rx) = topology.stage("task").batch_max(3).async_consumer();
    let (bus, producer) = topology.start().unwrap();
    let publishers: Vec<_> = (0..2_u64)
        .map(|number| {
            let (mut producer, mut random) = (producer.clone(), random.fork());
            thread::spawn(move || {
                let mut published = Vec::new();
                for event in (0..150).map(|count| number * 1000 + count) {
                    if random.once_in(3) {
                        let (_, waker) = bell();
                        if poll_once(pin!(producer.publish_async(event)), &waker).is_ready() {
                            published.push(event);
                        }
                    } else {
                        block_on(producer.publish_async(event)).unwrap();
                        published.push(event);
                    }
                }
                published
            })
        })
        .collect();
    drop(producer);
    let mut read = Vec::new();
    loop {
        let (_, waker) = bell();
        if random.once_in(2)
            && let Poll::Ready(Ok(batch)) = poll_once(pin!(rx.read()), &waker)
        {
            read.extend(&batch);
        }
        match block_on(rx.read()) {
            Ok(batch) => read.extend(&batch),
            Err(ended) => break assert_eq!(ended, Ended::Drained),
        }
    }
    for (number, publisher) in (0..).zip(publishers) {
        let own: Vec<u64> = read
            .iter()
            .copied()
            .filter(|event| event / 1000 == number)
            .collect();
        assert_eq!(
            own,
            publisher.join().unwrap(),
            "what answered Ok, and nothing else, in order"
        );
    }
    bus.shutdown().unwrap();
}

#[test]
fn futures_dropped_at_random_lose_and_repeat_nothing() {
    seeded(
        "futures_dropped_at_random_lose_and_repeat_nothing",
        |mut random| {
            for capacity in [1, 2, 8] {
                for _ in 0..5 {
                    let mut random = random.fork();
                    limited(move || cancel_at_random(&mut random, capacity));
                }
            }
        },
    );
}

#[test]
fn a_task_is_nobody_that_join_waits_for() {
    limited(|| {
        let mut topology = Topology::multi(config(4), || 0).unwrap();
        let (first, _rx) = topology.stage("task").async_consumer();
        topology.stage("managed").handle(|_, _| ());
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish_batch(numbers(0..3)).unwrap();
        bus.shutdown().unwrap();
        let mut topology = Topology::single(config(4), || 0).unwrap();
        topology.stage("b").after([first]).handle(|_: &u64, _| ());
        assert_eq!(
            topology.start().unwrap_err().kind(),
            ErrorKind::ForeignStage
        );
    });
}
