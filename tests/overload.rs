//! A full ring: what each verb does about it, who would wait for itself, and more threads than cores.
#![expect(
    clippy::unwrap_used,
    reason = "the lint does not see that functions called by tests are tests"
)]

mod common;

use common::{Census, Counted, Log, STRATEGIES, config, later, limited, numbers, soon};
use ringway::{
    BusConfig, Claim, ClaimError, Multi, Producer, ProducerKind, PublishDeadlineError,
    PublishError, Topology, TryPublishError, Wait, mpmc, mpsc, spsc,
};
use std::sync::{Barrier, mpsc as channel};
use std::thread;

fn refuses_in_every_way<K: ProducerKind>(tx: &mut Producer<u64, K>) {
    assert_eq!(tx.free(), 0);
    assert_eq!(tx.try_publish(9).unwrap_err(), TryPublishError::Full(9));
    assert_eq!(
        tx.try_publish_with(|_| unreachable!("not called"))
            .unwrap_err(),
        TryPublishError::Full(())
    );
    assert_eq!(tx.try_publish_batch([9]).unwrap(), 0);
    assert_eq!(tx.try_publish_slice(&[9]).unwrap(), 0);
    assert_eq!(tx.try_claim(1).unwrap_err(), ClaimError::Full);
    let dropped = tx.dropped();
    assert_eq!(tx.publish_or_drop(9).unwrap(), None);
    assert_eq!(tx.dropped(), dropped + 1);
    assert_eq!(
        tx.publish_deadline(9, soon()).unwrap_err(),
        PublishDeadlineError::TimedOut(9)
    );
    let refused = tx
        .publish_with_deadline(|_| unreachable!("not called"), soon())
        .unwrap_err();
    assert_eq!(refused, PublishDeadlineError::TimedOut(()));
    assert_eq!(
        tx.publish_batch_deadline([9], soon()).unwrap_err().reason,
        ClaimError::TimedOut
    );
    assert_eq!(
        tx.publish_slice_deadline(&[9], soon()).unwrap_err().reason,
        ClaimError::TimedOut
    );
    assert_eq!(
        tx.claim_deadline(1, soon()).unwrap_err(),
        ClaimError::TimedOut
    );
}

#[test]
fn a_full_ring_refuses_those_who_try_and_times_out_those_with_a_deadline() {
    limited(|| {
        for wait in STRATEGIES {
            let (mut tx, mut rx) = spsc(4);
            tx.set_wait(wait).unwrap();
            tx.publish_slice(&[0, 1, 2, 3]).unwrap();
            refuses_in_every_way(&mut tx);
            assert!(rx.try_read().unwrap().iter().eq(&[0, 1, 2, 3]), "{wait:?}");
            let (mut tx, mut rx) = mpsc(4);
            tx.set_wait(wait).unwrap();
            tx.publish_slice(&[0, 1, 2, 3]).unwrap();
            refuses_in_every_way(&mut tx);
            assert!(rx.try_read().unwrap().iter().eq(&[0, 1, 2, 3]), "{wait:?}");
        }
    });
}

#[test]
fn a_dropped_event_is_dropped_at_once_and_what_is_closed_hands_it_back() {
    let census = Census::default();
    let (mut tx, rx) = spsc::<Counted>(1);
    tx.publish_or_drop(census.event(0)).unwrap().unwrap();
    assert!(tx.publish_or_drop(census.event(1)).unwrap().is_none());
    assert_eq!((census.living(), tx.dropped()), (1, 1));
    drop(rx);
    let refused = tx.publish_or_drop(census.event(2)).unwrap_err();
    assert!(matches!(
        refused,
        PublishError::Closed(Counted { number: 2, .. })
    ));
    assert_eq!((census.living(), tx.dropped()), (2, 1));
}

#[test]
fn whatever_is_offered_is_delivered_or_counted_as_dropped() {
    const EACH: u64 = 20_000;
    limited(|| {
        let mut topology = Topology::multi(config(4), || 0).unwrap();
        let log = Log::new();
        let seen = log.clone();
        topology
            .stage("slow")
            .batch_max(2)
            .handle(move |event, at| {
                seen.push(*event);
                if at.end_of_batch {
                    thread::yield_now();
                }
            });
        let (bus, producer) = topology.start().unwrap();
        let offer = |mut producer: Producer<u64, Multi>| {
            let offered = (0..EACH).map(|event| producer.publish_or_drop(event).unwrap());
            let published = offered.flatten().count() as u64;
            (published, producer.dropped())
        };
        let publishers =
            [producer.clone(), producer].map(|producer| thread::spawn(move || offer(producer)));
        let told = publishers.map(|publisher| publisher.join().unwrap());
        for (published, dropped) in told {
            assert_eq!(published + dropped, EACH);
        }
        let (delivered, dropped) = (told[0].0 + told[1].0, told[0].1 + told[1].1);
        assert_eq!(
            bus.stats().dropped,
            dropped,
            "producers that are gone count too"
        );
        bus.shutdown().unwrap();
        assert_eq!(log.take().len() as u64, delivered);
    });
}

#[test]
fn a_waiting_verb_of_every_kind_goes_on_once_there_is_room() {
    limited(|| {
        for wait in STRATEGIES {
            let (mut tx, mut rx) = mpsc::<u64>(1);
            tx.set_wait(wait).unwrap();
            tx.publish(0).unwrap();
            let publisher = thread::spawn(move || {
                tx.publish(1).unwrap();
                tx.publish_with(|slot| *slot = 2).unwrap();
                tx.publish_batch([3, 4]).unwrap();
                tx.publish_slice(&[5, 6]).unwrap();
                let mut claim = tx.claim(1).unwrap();
                claim.iter_mut().for_each(|slot| *slot = 7);
                let _ = claim.publish();
                tx.publish_deadline(8, later()).unwrap();
                common::executor::block_on(tx.publish_async(9)).unwrap();
            });
            let mut seen = Vec::new();
            while let Ok(mut batch) = rx.read() {
                seen.extend(batch.drain());
            }
            publisher.join().unwrap();
            assert_eq!(seen, Vec::from_iter(0..10), "{wait:?}");
        }
    });
}

/// On a ring that stays full: every verb that waits answers at once, those that do not wait as always.
fn would_deadlock(tx: &mut Producer<u64, Multi>) {
    assert_eq!(tx.publish(9).unwrap_err(), PublishError::WouldDeadlock(9));
    assert_eq!(
        tx.publish_with(|_| unreachable!("not called")).unwrap_err(),
        PublishError::WouldDeadlock(())
    );
    assert_eq!(
        tx.publish_deadline(9, later()).unwrap_err(),
        PublishDeadlineError::WouldDeadlock(9)
    );
    assert_eq!(
        tx.publish_batch([9]).unwrap_err().reason,
        ClaimError::WouldDeadlock
    );
    assert_eq!(
        tx.publish_slice(&[9]).unwrap_err().reason,
        ClaimError::WouldDeadlock
    );
    assert_eq!(tx.claim(1).unwrap_err(), ClaimError::WouldDeadlock);
    assert_eq!(tx.try_publish(9).unwrap_err(), TryPublishError::Full(9));
    assert_eq!(tx.publish_or_drop(9).unwrap(), None);
    let text = PublishError::WouldDeadlock(9).to_string();
    assert!(
        text.contains("full") && text.contains("wait for itself"),
        "{text}"
    );
}

#[test]
fn a_handler_that_publishes_to_its_own_full_bus_is_told_so() {
    limited(|| {
        let (give, given) = channel::channel::<Producer<u64, Multi>>();
        let mut topology = Topology::multi(config(2), || 0).unwrap();
        topology.stage("feeds back").handle(move |event, _| {
            if *event == 0 {
                let mut tx = given.recv().unwrap();
                tx.publish(1)
                    .expect("while there is room a handler may publish");
                would_deadlock(&mut tx);
            }
        });
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish(0).unwrap();
        give.send(producer).unwrap();
        bus.join().unwrap();
    });
}

#[test]
fn a_handler_may_wait_for_room_on_another_bus() {
    limited(|| {
        let (mut out, mut rx) = spsc::<u64>(1);
        let mut topology = Topology::single(config(2), || 0).unwrap();
        topology
            .stage("forwards")
            .handle(move |event, _| _ = out.publish(*event).unwrap());
        let (bus, mut producer) = topology.start().unwrap();
        let publisher = thread::spawn(move || producer.publish_batch(numbers(0..20)).unwrap());
        let mut seen = Vec::new();
        while let Ok(mut batch) = rx.read() {
            seen.extend(batch.drain());
        }
        assert_eq!(
            (seen, publisher.join().unwrap()),
            (Vec::from_iter(0..20), 20)
        );
        bus.shutdown().unwrap();
    });
}

#[test]
fn who_holds_a_claim_does_not_wait_through_a_clone() {
    limited(|| {
        let (mut tx, mut rx) = mpsc::<u64>(4);
        let mut other = tx.clone();
        let claim: Claim<'_, u64, Multi> = tx.claim(3).unwrap();
        other.publish(5).expect("there is room for one");
        would_deadlock(&mut other);
        let elsewhere = thread::scope(|scope| {
            let mut third = other.clone();
            scope
                .spawn(move || third.publish_deadline(6, soon()).unwrap_err())
                .join()
                .unwrap()
        });
        assert_eq!(
            elsewhere,
            PublishDeadlineError::TimedOut(6),
            "another thread holds nothing"
        );
        let _ = claim.publish();
        assert!(rx.try_read().unwrap().iter().eq(&[0, 0, 0, 5]));
        drop(other.claim(4).unwrap());
        assert_eq!(
            other.publish_deadline(7, soon()).unwrap_err(),
            PublishDeadlineError::TimedOut(7)
        );
    });
}

#[test]
fn closures_and_iterators_do_not_wait_through_a_clone() {
    limited(|| {
        let (mut tx, mut rx) = mpsc::<u64>(2);
        let mut other = tx.clone();
        let filling = |slot: &mut u64| {
            *slot = 1;
            other.publish(2).unwrap();
            would_deadlock(&mut other);
        };
        tx.publish_with(filling).unwrap();
        assert!(rx.try_read().unwrap().iter().eq(&[1, 2]));
        let mut other = tx.clone();
        let yielding = [1].into_iter().inspect(|_| {
            other.publish(2).unwrap();
            would_deadlock(&mut other);
        });
        tx.publish_batch(yielding).unwrap();
        assert!(rx.try_read().unwrap().iter().eq(&[1, 2]));
    });
}

/// An event that publishes another one when it is dropped.
#[derive(Default)]
struct Echo(Option<(Producer<Echo, Multi>, channel::Sender<String>)>);

impl Drop for Echo {
    fn drop(&mut self) {
        if let Some((mut tx, told)) = self.0.take() {
            let refused = tx
                .publish(Echo(None))
                .map_err(|refused| refused.to_string());
            told.send(refused.unwrap_err()).unwrap();
        }
    }
}

#[test]
fn the_drop_of_an_overwritten_event_does_not_wait_through_a_clone() {
    limited(|| {
        let (mut tx, mut rx) = mpsc::<Echo>(1);
        let (tell, told) = channel::channel();
        for lap in 0..3 {
            let echo = Echo(Some((tx.clone(), tell.clone())));
            tx.publish(echo).unwrap();
            drop(rx.read().unwrap());
            let answer = loop {
                match lap {
                    0 => tx.publish(Echo(None)).unwrap(),
                    1 => tx.try_publish(Echo(None)).unwrap(),
                    _ => common::executor::block_on(tx.publish_async(Echo(None))).unwrap(),
                };
                let answer = told.try_recv();
                drop(rx.read().unwrap());
                if let Ok(answer) = answer {
                    break answer; // there may be more slots than were asked for
                }
            };
            assert!(answer.contains("wait for itself"));
        }
    });
}

#[test]
fn a_single_producer_that_holds_a_claim_waits_for_nobody() {
    limited(|| {
        let (mut tx, mut rx) = spsc::<u64>(2);
        let (mut second, mut other) = spsc::<u64>(1);
        tx.publish_with(|slot| {
            second.publish(1).unwrap();
            assert_eq!(
                second.publish_deadline(2, soon()).unwrap_err(),
                PublishDeadlineError::TimedOut(2)
            );
            *slot = other.read().unwrap().drain().sum();
        })
        .unwrap();
        assert!(rx.read().unwrap().iter().eq(&[1]));
    });
}

#[test]
fn eight_threads_on_few_cores_finish_whatever_they_wait_with() {
    limited(|| {
        for wait in [Wait::Adaptive, Wait::Park, Wait::Yield, Wait::backoff()] {
            const EACH: usize = 200;
            let (tx, rx) = mpmc::<u64>(16);
            let log = Log::new();
            let start = Barrier::new(8);
            thread::scope(|scope| {
                for producer in 0..4 {
                    let (mut tx, start) = (tx.clone(), &start);
                    tx.set_wait(wait).unwrap();
                    scope.spawn(move || {
                        start.wait();
                        for number in numbers(producer * EACH..(producer + 1) * EACH) {
                            tx.publish(number).unwrap();
                        }
                    });
                }
                for _ in 0..4 {
                    let (mut rx, log, start) = (rx.clone(), log.clone(), &start);
                    scope.spawn(move || {
                        start.wait();
                        while let Ok(mut batch) = rx.read() {
                            batch.drain().for_each(|event| log.push(event));
                        }
                    });
                }
                drop((tx, rx));
            });
            let mut seen = log.take();
            seen.sort_unstable();
            assert!(
                seen.into_iter().eq(0..4 * EACH as u64),
                "{wait:?}: each exactly once"
            );
        }
    });
}

#[test]
fn a_graph_of_more_threads_than_cores_finishes_whatever_it_waits_with() {
    limited(|| {
        for wait in STRATEGIES {
            // spinners take turns of milliseconds, each hand-off through a full ring
            let events = if wait == Wait::BusySpin { 50 } else { 300 };
            let mut topology = Topology::multi(BusConfig { wait, ..config(8) }, || 0).unwrap();
            let mut last = topology.stage("0").handle(|_, _| ());
            for stage in 1..4 {
                last = topology
                    .stage(format!("{stage}"))
                    .after([last])
                    .handle(|_, _| ());
            }
            let log = Log::new();
            let seen = log.clone();
            topology
                .stage("last")
                .after([last])
                .handle(move |event, _| seen.push(*event));
            let (bus, producer) = topology.start().unwrap();
            let publishers: Vec<_> = (0..3)
                .map(|_| {
                    let mut producer = producer.clone();
                    thread::spawn(move || producer.publish_batch(numbers(0..events)).unwrap())
                })
                .collect();
            drop(producer);
            publishers
                .into_iter()
                .for_each(|publisher| assert_eq!(publisher.join().unwrap(), events));
            bus.shutdown().unwrap();
            let mut seen = log.take();
            seen.sort_unstable();
            assert!(
                seen.into_iter()
                    .eq(numbers(0..events).flat_map(|number| [number; 3])),
                "{wait:?}"
            );
        }
    });
}
