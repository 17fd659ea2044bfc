//! How a bus ends: close, halt, join and their deadlines, and handles dropped in every order.
//! Nothing published may be lost by a close, and nobody may be left waiting.

mod common;

use common::{Log, config, later, limited, numbers, soon};
use ringway::{
    ClaimError, Ended, ErrorKind, Multi, OnPanic, Producer, PublishDeadlineError, PublishError,
    Topology, TryPublishError, mpmc, mpsc,
};
use std::cell::RefCell;
use std::sync::mpsc as channel;
use std::thread;
use std::time::Instant;

/// A single-producer bus with one managed stage that tells the channel what it gets, and ends it when it ends.
fn telling(
    capacity: usize,
) -> (
    ringway::Bus<u64>,
    ringway::Producer<u64>,
    channel::Receiver<u64>,
) {
    let (tell, told) = channel::channel();
    let mut topology = Topology::single(config(capacity), || 0).expect("a valid config");
    topology
        .stage("tell")
        .handle(move |event, _| tell.send(*event).expect("the test listens"));
    let (bus, producer) = topology.start().expect("a valid topology");
    (bus, producer, told)
}

/// Every order of `0..count`.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(count - 1).into_iter();
    shorter
        .flat_map(|order| {
            (0..count).map(move |at| {
                let mut one = order.clone();
                one.insert(at, count - 1);
                one
            })
        })
        .collect()
}

#[test]
fn handles_of_a_single_producer_bus_may_go_in_any_order() {
    limited(|| {
        for order in orders(3) {
            let (tell, told) = channel::channel();
            let mut topology = Topology::single(config(8), || 0).unwrap();
            topology
                .stage("managed")
                .handle(move |event, _| tell.send(*event).unwrap());
            let (_, rx) = topology.stage("own").consumer();
            let (bus, mut producer) = topology.start().unwrap();
            producer.publish_batch(numbers(0..8)).unwrap();
            let (mut bus, mut producer, mut rx) = (Some(bus), Some(producer), Some(rx));
            for handle in &order {
                match handle {
                    0 => drop(bus.take()),
                    1 => drop(producer.take()),
                    _ => drop(rx.take()),
                }
            }
            assert!(
                told.iter().eq(0..8),
                "{order:?}: what was published is delivered, and the stage ends"
            );
        }
    });
}

#[test]
fn handles_of_a_multi_producer_bus_may_go_in_any_order() {
    limited(|| {
        for order in orders(4) {
            let (tell, told) = channel::channel();
            let mut topology = Topology::multi(config(8), || 0).unwrap();
            let (stage, worker) = topology.stage("workers").workers();
            topology
                .stage("managed")
                .handle(move |event, _| tell.send(*event).unwrap());
            topology.stage("behind").after([stage]).handle(|_, _| ());
            let (bus, mut producer) = topology.start().unwrap();
            let mut other = producer.clone();
            producer.publish_batch(numbers(0..4)).unwrap();
            other.publish_batch(numbers(4..8)).unwrap();
            let mut handles = (Some(bus), Some(producer), Some(other), Some(worker));
            for handle in &order {
                match handle {
                    0 => drop(handles.0.take()),
                    1 => drop(handles.1.take()),
                    2 => drop(handles.2.take()),
                    _ => drop(handles.3.take()),
                }
            }
            assert!(told.iter().eq(0..8), "{order:?}");
        }
    });
}

#[test]
fn ends_of_a_queue_may_go_in_any_order() {
    limited(|| {
        for order in orders(4) {
            let (mut tx, rx) = mpmc::<String>(4);
            tx.publish("a".into()).unwrap();
            let mut ends = (Some(tx.clone()), Some(tx), Some(rx.clone()), Some(rx));
            let mut delivered = 0;
            for end in &order {
                match end {
                    0 => drop(ends.0.take()),
                    1 => drop(ends.1.take()),
                    2 => drop(ends.2.take()),
                    _ => drop(ends.3.take()),
                }
                if let (None, None, Some(rx), _) | (None, None, _, Some(rx)) = &mut ends {
                    while let Ok(batch) = rx.read() {
                        delivered += batch.len();
                    }
                    assert_eq!(delivered, 1, "{order:?}");
                }
                if let (Some(tx), _, None, None) | (_, Some(tx), None, None) = &mut ends {
                    assert_eq!(
                        tx.publish("b".into()).unwrap_err(),
                        PublishError::Closed("b".into()),
                        "{order:?}"
                    );
                    assert!(tx.is_closed());
                }
            }
        }
    });
}

#[test]
fn a_closed_multi_producer_bus_refuses_at_once_and_delivers_what_it_accepted() {
    limited(|| {
        let log = Log::new();
        let events = log.clone();
        let mut topology = Topology::multi(config(4), || 0).unwrap();
        topology
            .stage("log")
            .handle(move |event, _| events.push(*event));
        let (bus, producer) = topology.start().unwrap();
        let publishers: Vec<_> = (0..3)
            .map(|_| {
                let mut producer = producer.clone();
                thread::spawn(move || {
                    (0..)
                        .take_while(|number| producer.publish(*number).is_ok())
                        .count()
                })
            })
            .collect();
        common::until(|| log.len() > 50);
        bus.close();
        bus.close();
        assert!(producer.is_closed());
        let accepted: usize = publishers
            .into_iter()
            .map(|publisher| publisher.join().unwrap())
            .sum();
        let mut producer = producer;
        assert_eq!(producer.publish(1).unwrap_err(), PublishError::Closed(1));
        assert_eq!(
            producer.try_publish(1).unwrap_err(),
            TryPublishError::Closed(1)
        );
        assert_eq!(
            producer.publish_deadline(1, later()).unwrap_err(),
            PublishDeadlineError::Closed(1)
        );
        assert_eq!(producer.claim(1).unwrap_err(), ClaimError::Closed);
        assert_eq!(
            producer.publish_slice(&[1]).unwrap_err().reason,
            ClaimError::Closed
        );
        bus.join().unwrap();
        assert_eq!(log.len(), accepted);
    });
}

#[test]
fn a_closed_single_producer_bus_ends_at_its_producers_next_call() {
    limited(|| {
        let (bus, mut producer, told) = telling(8);
        producer.publish_batch(numbers(0..3)).unwrap();
        bus.close();
        assert!(producer.is_closed());
        assert_eq!(told.iter().take(3).collect::<Vec<_>>(), [0, 1, 2]);
        let late = bus.join_deadline(soon()).unwrap_err();
        assert_eq!(
            late.kind(),
            ErrorKind::WouldDeadlock,
            "the producer is this thread's: {late}"
        );
        let closer = thread::spawn(move || (producer.publish(3).unwrap_err(), producer));
        let (refused, producer) = closer.join().unwrap();
        bus.join_deadline(later()).unwrap();
        assert_eq!(refused, PublishError::Closed(3));
        assert_eq!(told.recv().ok(), None);
        drop(producer);
    });
}

#[test]
fn closing_and_halting_wake_a_producer_that_waits_for_room() {
    limited(|| {
        for (halts, single) in [(false, true), (true, true), (false, false), (true, false)] {
            let (ready, go) = channel::channel();
            let blocked = move |publish: &mut dyn FnMut(u64) -> bool| {
                assert!((0..4).all(&mut *publish));
                ready.send(()).unwrap();
                assert!(!publish(4), "it was refused in the end");
            };
            let (bus, _rx, publisher) = if single {
                let mut topology = Topology::single(config(4), || 0).unwrap();
                let (_, rx) = topology.stage("never reads").consumer();
                let (bus, mut tx) = topology.start().unwrap();
                (
                    bus,
                    rx,
                    thread::spawn(move || blocked(&mut |event| tx.publish(event).is_ok())),
                )
            } else {
                let mut topology = Topology::multi(config(4), || 0).unwrap();
                let (_, rx) = topology.stage("never reads").consumer();
                let (bus, mut tx) = topology.start().unwrap();
                (
                    bus,
                    rx,
                    thread::spawn(move || blocked(&mut |event| tx.publish(event).is_ok())),
                )
            };
            go.recv().unwrap();
            if single {
                // so that it sleeps by now, most likely
                while bus.stats().producers[0].parks == 0 {
                    thread::yield_now();
                }
            }
            if halts {
                bus.halt()
            } else {
                bus.close()
            }
            publisher.join().unwrap();
        }
    });
}

#[test]
fn closing_and_halting_wake_readers_that_wait_for_events() {
    limited(|| {
        for halts in [false, true] {
            let mut topology = Topology::multi(config(4), || 0).unwrap();
            let (first, mut rx) = topology.stage("first").consumer();
            let (_, mut worker) = topology.stage("second").after([first]).workers();
            topology.stage("managed").after([first]).handle(|_, _| ());
            let (bus, producer) = topology.start().unwrap();
            let reader = thread::spawn(move || rx.read().unwrap_err());
            let sharer = thread::spawn(move || worker.read().unwrap_err());
            common::until(|| bus.stats().stages.iter().all(|stage| stage.parks > 0));
            if halts {
                bus.halt()
            } else {
                bus.close()
            }
            let ends = [reader.join().unwrap(), sharer.join().unwrap()];
            assert!(
                ends.iter()
                    .all(|end| *end == if halts { Ended::Halted } else { Ended::Drained }),
                "{ends:?}"
            );
            let outcome = bus.join();
            assert_eq!(
                outcome.err().map(|error| error.kind()),
                halts.then_some(ErrorKind::Halted)
            );
            drop(producer);
        }
    });
}

#[test]
fn a_halt_stops_after_the_event_at_hand_and_counts_what_it_discarded() {
    limited(|| {
        let (entered, entries) = channel::channel();
        let (go, gate) = channel::channel::<()>();
        let mut topology = Topology::multi(config(8), || 0).unwrap();
        topology.stage("slow").handle(move |event, _| {
            entered.send(*event).unwrap();
            gate.recv().unwrap();
        });
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish_batch(numbers(0..8)).unwrap();
        assert_eq!(entries.recv().unwrap(), 0);
        bus.halt();
        assert_eq!(
            producer.try_publish(8).unwrap_err(),
            TryPublishError::Closed(8)
        );
        go.send(()).unwrap();
        let halted = bus.join().unwrap_err();
        assert_eq!(
            (halted.kind(), halted.discarded(), halted.stage()),
            (ErrorKind::Halted, Some(7), None)
        );
        assert!(halted.to_string().contains('7'), "{halted}");
        assert_eq!(entries.iter().count(), 0);
    });
}

#[test]
fn a_halt_is_seen_between_events_even_if_each_of_them_fails() {
    limited(|| {
        let (entered, entries) = channel::channel();
        let (go, gate) = channel::channel::<()>();
        let mut topology = Topology::multi(config(8), || 0).unwrap();
        let (first, mut rx) = topology.stage("first").consumer();
        topology
            .stage("failing")
            .after([first])
            .on_panic(OnPanic::Skip)
            .try_handle(move |event, _| {
                entered.send(*event).unwrap();
                gate.recv()?;
                Err("always".into())
            });
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish_batch(numbers(0..8)).unwrap();
        drop(rx.read().unwrap());
        assert_eq!(entries.recv().unwrap(), 0);
        bus.halt();
        drop(go);
        assert_eq!(bus.join().unwrap_err().discarded(), Some(7));
        assert_eq!(
            entries.iter().count(),
            0,
            "it stops after the event at hand"
        );
    });
}

#[test]
fn deadlines_of_join_and_shutdown_name_who_still_runs() {
    limited(|| {
        let (go, gate) = channel::channel::<()>();
        let mut topology = Topology::multi(config(8), || 0).unwrap();
        topology
            .stage("stuck")
            .handle(move |_, _| gate.recv().unwrap());
        let shared = topology.stage("members").share(2, |_| |_: &u64, _| ());
        topology.stage("done").after([shared]).handle(|_, _| ());
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish(0).unwrap();
        let late = bus.join_deadline(soon()).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TimedOut);
        for name in ["stuck", "members-0", "members-1", "done", "4 still run"] {
            assert!(late.to_string().contains(name), "{late}");
        }
        common::until(|| {
            let late = bus.shutdown_deadline(soon()).unwrap_err();
            late.to_string().ends_with("1 still run: stuck")
        });
        assert_eq!(
            bus.join_deadline(Instant::now()).unwrap_err().kind(),
            ErrorKind::TimedOut
        );
        go.send(()).unwrap();
        bus.shutdown_deadline(later()).unwrap();
        bus.join_deadline(later()).unwrap();
        bus.shutdown().unwrap();
        assert!(producer.is_closed());
    });
}

#[test]
fn waiting_for_oneself_is_refused() {
    limited(|| {
        // the thread of a living single producer
        let (bus, mut producer, _told) = telling(4);
        producer.publish(1).unwrap();
        let refused = bus.shutdown_deadline(later()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::WouldDeadlock);
        assert!(
            refused.to_string().contains("drop the producer first"),
            "{refused}"
        );
        assert!(!producer.is_closed(), "a refused shutdown closes nothing");
        drop(producer);
        bus.shutdown().unwrap();

        // a thread of the bus
        let (give, given) = channel::channel::<ringway::Bus<u64>>();
        let (tell, told) = channel::channel();
        let mut topology = Topology::multi(config(4), || 0).unwrap();
        topology.stage("joins").handle(move |_, _| {
            let bus = given.recv().unwrap();
            tell.send([
                bus.join_deadline(later()).unwrap_err(),
                bus.shutdown().unwrap_err(),
            ])
            .unwrap();
        });
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish(1).unwrap();
        give.send(bus).unwrap();
        for refused in told.recv().unwrap() {
            assert_eq!(refused.kind(), ErrorKind::WouldDeadlock);
            assert!(
                refused.to_string().contains("a thread of this bus"),
                "{refused}"
            );
        }

        // who holds a claim
        let mut topology = Topology::multi(config(4), || 0).unwrap();
        topology.stage("s").handle(|_, _| ());
        let (bus, mut producer) = topology.start().unwrap();
        let claim = producer.claim(1).unwrap();
        assert_eq!(
            bus.join_deadline(later()).unwrap_err().kind(),
            ErrorKind::WouldDeadlock
        );
        drop(claim);
        bus.shutdown().unwrap();
    });
}

#[test]
fn a_producer_that_another_thread_uses_as_a_task_does_not_forbid_a_shutdown_here() {
    limited(|| {
        let (bus, mut producer, _told) = telling(4);
        let (publish, published) = channel::channel();
        let task = thread::spawn(move || {
            common::executor::block_on(producer.publish_async(1)).unwrap();
            publish.send(()).unwrap();
            while common::executor::block_on(producer.publish_async(2)).is_ok() {}
        });
        published.recv().unwrap();
        bus.shutdown().unwrap();
        task.join().unwrap();
    });
}

#[test]
fn dropping_the_bus_lets_it_run_on() {
    limited(|| {
        let (bus, mut producer, told) = telling(4);
        drop(bus);
        producer.publish_batch(numbers(0..20)).unwrap();
        drop(producer);
        assert!(told.iter().eq(0..20));
    });
}

#[test]
fn a_worker_that_leaves_takes_nothing_with_it() {
    limited(|| {
        let (mut tx, first) = mpmc::<u64>(16);
        let (mut published, mut seen) = (0, Vec::new());
        let mut workers = vec![first.clone(), first.clone(), first];
        while let Some(mut worker) = workers.pop() {
            published += tx
                .try_publish_batch(numbers(published..published + 16))
                .unwrap();
            seen.extend(worker.read().unwrap().drain());
            drop(worker);
            assert_eq!(tx.is_closed(), workers.is_empty());
            if let Some(next) = workers.last_mut() {
                seen.extend(next.read().unwrap().drain());
            }
        }
        let count = seen.len();
        assert_eq!(seen, Vec::from_iter(0..count as u64), "each once");
        assert!(tx.publish(1).is_err());
    });
}

/// Publishes once more when its thread ends.
struct LastWord(RefCell<Option<Producer<String, Multi>>>);

impl Drop for LastWord {
    fn drop(&mut self) {
        if let Some(mut tx) = self.0.take() {
            // an assertion that failed here would end the process
            let _ = tx.publish_with(|slot| slot.push_str("last"));
            let _ = tx.publish("word".to_owned());
            let _ = tx.publish_deadline("too much".to_owned(), Instant::now());
        }
    }
}

thread_local! { static LAST_WORD: LastWord = const { LastWord(RefCell::new(None)) } }

#[test]
fn a_producer_may_be_used_while_its_thread_ends() {
    limited(|| {
        let (tx, mut rx) = mpsc::<String>(4);
        let ending = thread::spawn(move || {
            LAST_WORD.with(|last| {
                // used after it stands there, so that the bus's own thread-locals go first
                let mut last = last.0.borrow_mut();
                let tx = last.insert(tx);
                let _ = tx.claim(1).unwrap().publish();
                tx.publish("first".to_owned()).unwrap();
            });
        });
        ending.join().unwrap();
        assert_eq!(common::rest(&mut rx), ["", "first", "last", "word"]);
        assert!(rx.is_ended());
    });
}
