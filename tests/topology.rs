//! What a graph of stages means: who sees an event, after whom, in which order.

mod common;

use common::{Log, config, later, limited, numbers};
use ringway::{
    BusConfig, Delivery, Ended, Handler, Sequence, StageError, Topology, TryReadError, Wait,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

/// An event on which stages leave their mark.
#[derive(Default)]
struct Marked {
    number: u64,
    marks: AtomicU32,
}

impl Marked {
    fn new(number: u64) -> Self {
        Self {
            number,
            marks: AtomicU32::new(0),
        }
    }

    /// Leaves a mark, where no one of `before` may be missing; those that were there.
    fn mark(&self, mark: u32, before: u32) -> u32 {
        let found = self.marks.fetch_or(1 << mark, Ordering::Relaxed);
        assert_eq!(
            found & before,
            before,
            "event {}: somebody was overtaken",
            self.number
        );
        assert_eq!(
            found & 1 << mark,
            0,
            "event {}: twice in one stage",
            self.number
        );
        found
    }
}

fn events(count: usize) -> impl ExactSizeIterator<Item = Marked> {
    numbers(0..count).map(Marked::new)
}

#[test]
fn every_broadcast_stage_sees_every_event_in_one_order() {
    limited(|| {
        let mut topology = Topology::multi(config(4), || 0).unwrap();
        let logs: [Log<(u64, u64)>; 3] = std::array::from_fn(|_| Log::new());
        for (stage, log) in logs.iter().enumerate() {
            let log = log.clone();
            topology
                .stage(format!("{stage}"))
                .handle(move |event, at| log.push((at.sequence.get(), *event)));
        }
        let (bus, mut producer) = topology.start().unwrap();
        let mut other = producer.clone();
        let rival = thread::spawn(move || other.publish_batch(numbers(1000..1200)).unwrap());
        producer.publish_batch(numbers(0..200)).unwrap();
        rival.join().unwrap();
        drop(producer);
        bus.shutdown().unwrap();
        let [first, second, third] = logs.map(|log| log.take());
        assert!(first.iter().map(|(sequence, _)| *sequence).eq(0..400));
        for producer in [0..200, 1000..1200] {
            assert!(
                first
                    .iter()
                    .map(|(_, event)| *event)
                    .filter(|event| producer.contains(event))
                    .eq(producer.clone())
            );
        }
        assert_eq!(first, second);
        assert_eq!(first, third);
    });
}

#[test]
fn a_chain_passes_events_on_in_order_with_every_edit() {
    limited(|| {
        let mut topology = Topology::single(config(4), || vec![0_u64]).unwrap();
        let add = topology.stage("add").handle_mut(|event, _| event[0] += 1);
        let double = topology
            .stage("double")
            .after([add])
            .handle_mut(|event, _| event[0] *= 2);
        let (_, mut end) = topology.stage("end").after([double]).consumer_mut();
        let (bus, mut producer) = topology.start().unwrap();
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            while let Ok(mut batch) = end.read() {
                all.extend(batch.drain().map(|event| event[0]));
            }
            all
        });
        producer
            .publish_batch(numbers(0..100).map(|number| vec![number]))
            .unwrap();
        drop(producer);
        assert!(
            reader
                .join()
                .unwrap()
                .into_iter()
                .eq((0..100).map(|number| (number + 1) * 2))
        );
        bus.shutdown().unwrap();
    });
}

#[test]
fn a_diamond_joins_after_both_of_its_arms() {
    limited(|| {
        for capacity in [1, 2, 8] {
            let mut topology = Topology::single(config(capacity), Marked::default).unwrap();
            let head = topology.stage("head").handle(|event, _| {
                let _ = event.mark(0, 0);
            });
            let left = topology.stage("left").after([head]).handle(|event, _| {
                let _ = event.mark(1, 0b1);
            });
            let right = topology.stage("right").after([head]).handle(|event, _| {
                let _ = event.mark(2, 0b1);
            });
            let joined = Arc::new(AtomicU64::new(0));
            let count = joined.clone();
            topology
                .stage("join")
                .after([left, right])
                .handle_mut(move |event, at| {
                    assert_eq!(
                        (event.number, event.mark(3, 0b111)),
                        (at.sequence.get(), 0b111)
                    );
                    count.fetch_add(1, Ordering::Relaxed);
                });
            let (bus, mut producer) = topology.start().unwrap();
            producer.publish_batch(events(200)).unwrap();
            drop(producer);
            bus.shutdown().unwrap();
            assert_eq!(joined.load(Ordering::Relaxed), 200);
        }
    });
}

#[test]
fn arms_of_a_fan_out_run_at_their_own_pace() {
    limited(|| {
        let mut topology = Topology::single(config(8), || 0).unwrap();
        let (go, gate) = mpsc::channel::<()>();
        let (seen, fast) = mpsc::channel();
        let slow = topology
            .stage("slow")
            .handle(move |_, _| gate.recv().unwrap());
        topology
            .stage("fast")
            .handle(move |event, _| seen.send(*event).unwrap());
        let (_, mut behind) = topology
            .stage("behind slow")
            .after([slow])
            .batch_max(8)
            .consumer();
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish_batch(numbers(0..8)).unwrap();
        assert!(
            fast.iter().take(8).eq(0..8),
            "the slow arm handles its first event meanwhile"
        );
        assert_eq!(behind.try_read().unwrap_err(), TryReadError::Empty);
        assert!(
            producer.try_publish(8).is_err(),
            "producers wait for the slowest stage"
        );
        (0..8).for_each(|_| go.send(()).unwrap());
        let mut next = 0;
        while next < 8 {
            next += behind.read().unwrap().len();
        }
        drop(producer);
        bus.shutdown().unwrap();
    });
}

#[test]
fn what_a_consumer_holds_its_dependants_do_not_see() {
    limited(|| {
        let mut topology = Topology::single(config(4), || 0).unwrap();
        let (first, mut rx) = topology.stage("first").consumer();
        let (_, mut dependant) = topology.stage("second").after([first]).consumer();
        let (_bus, mut producer) = topology.start().unwrap();
        producer.publish_batch([1, 2, 3]).unwrap();
        let held = rx.read().unwrap();
        assert_eq!(dependant.try_read().unwrap_err(), TryReadError::Empty);
        drop(held);
        assert!(dependant.try_read().unwrap().iter().eq(&[1, 2, 3]));
    });
}

#[test]
fn a_group_divides_events_and_what_follows_sees_them_all_in_order() {
    limited(|| {
        for capacity in [1, 4, 64] {
            let mut topology = Topology::multi(config(capacity), Marked::default).unwrap();
            let log = Log::new();
            let group = topology.stage("group").batch_max(3).share(3, |member| {
                let log = log.clone();
                move |event: &Marked, _| {
                    event.mark(0, 0);
                    log.push((event.number, member));
                }
            });
            let (_, mut end) = topology.stage("end").after([group]).consumer();
            let (bus, mut producer) = topology.start().unwrap();
            let publisher = thread::spawn(move || producer.publish_batch(events(300)).unwrap());
            let mut next = 0;
            while let Ok(batch) = end.read() {
                for event in &batch {
                    assert_eq!(event.number, next);
                    event.mark(1, 0b1);
                    next += 1;
                }
            }
            assert_eq!((next, publisher.join().unwrap()), (300, 300));
            bus.shutdown().unwrap();
            let mut handled = log.take();
            assert!(handled.iter().all(|(_, member)| *member < 3));
            handled.sort_unstable();
            assert!(
                handled.into_iter().map(|(number, _)| number).eq(0..300),
                "each exactly once"
            );
        }
    });
}

#[test]
fn a_keyed_group_keeps_the_order_of_each_key_on_one_member() {
    limited(|| {
        let mut topology = Topology::multi(config(8), || 0).unwrap();
        let (log, count) = (Log::new(), Arc::new(AtomicU64::new(0)));
        let keyed = topology.stage("keyed").batch_max(5).share_by(
            3,
            |event: &u64| event % 10,
            |member| {
                let log = log.clone();
                move |event: &u64, _| log.push((event % 10, member, *event))
            },
        );
        let counts = count.clone();
        topology.stage("end").after([keyed]).handle(move |_, _| {
            let _ = counts.fetch_add(1, Ordering::Relaxed);
        });
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish_batch(numbers(0..500)).unwrap();
        drop(producer);
        bus.shutdown().unwrap();
        let mut keys: HashMap<u64, (usize, u64)> = HashMap::new();
        let handled = log.take();
        assert_eq!((handled.len(), count.load(Ordering::Relaxed)), (500, 500));
        for (key, member, event) in handled {
            let (owner, next) = keys.entry(key).or_insert((member, key));
            assert_eq!((*owner, *next), (member, event), "key {key}");
            *next += 10;
        }
        let members: std::collections::HashSet<usize> =
            keys.values().map(|(member, _)| *member).collect();
        assert!(
            members.len() > 1,
            "ten keys fall to more than one of three members"
        );
    });
}

#[test]
fn workers_of_the_users_own_share_a_stage_of_a_graph() {
    limited(|| {
        let mut topology = Topology::single(config(8), Marked::default).unwrap();
        let (group, worker) = topology.stage("group").workers();
        let (_, mut end) = topology.stage("end").after([group]).consumer();
        let (_bus, mut producer) = topology.start().unwrap();
        let mut workers = [worker.clone(), worker];
        producer.publish_batch(events(8)).unwrap();
        for worker in &mut workers {
            let batch = worker.read().unwrap();
            batch
                .iter()
                .for_each(|event| assert_eq!(event.mark(0, 0), 0));
        }
        let batch = end.read().unwrap();
        assert!(batch.iter().all(|event| event.mark(1, 1) == 1) && !batch.is_empty());
        drop(batch);
        drop(workers);
        let mut left = 0;
        while let Ok(batch) = end.try_read() {
            left += batch.len();
        }
        assert_eq!(
            end.try_read().unwrap_err(),
            TryReadError::Ended(Ended::Upstream {
                stage: "group".into()
            })
        );
        assert!(left < 8, "what no worker took does not pass");
    });
}

/// What a [`Handler`] was called with.
#[derive(Debug, PartialEq)]
enum Call {
    Start,
    Event(u64, bool),
    BatchEnd(u64),
    Stop,
}

struct Recorder(Log<Call>);

impl Handler<u64> for Recorder {
    fn on_event(&mut self, event: &u64, at: Delivery) -> Result<(), StageError> {
        assert_eq!(*event, at.sequence.get());
        self.0.push(Call::Event(*event, at.end_of_batch));
        Ok(())
    }
    fn on_batch_end(&mut self, below: Sequence) -> Result<(), StageError> {
        self.0.push(Call::BatchEnd(below.get()));
        Ok(())
    }
    fn on_start(&mut self) -> Result<(), StageError> {
        self.0.push(Call::Start);
        Ok(())
    }
    fn on_stop(&mut self) {
        self.0.push(Call::Stop);
    }
}

#[test]
fn hooks_frame_batches_of_at_most_batch_max_events() {
    limited(|| {
        let log = Log::new();
        let mut topology = Topology::single(config(8), || 0).unwrap();
        let (first, mut gate) = topology.stage("first").consumer();
        topology
            .stage("hooks")
            .after([first])
            .batch_max(3)
            .attach(Recorder(log.clone()));
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish_batch(numbers(0..8)).unwrap();
        drop(gate.read().unwrap());
        drop(producer);
        bus.shutdown().unwrap();
        let batch = |events: std::ops::Range<u64>| {
            let end = events.end;
            events
                .map(move |event| Call::Event(event, event + 1 == end))
                .chain([Call::BatchEnd(end)])
        };
        let expected = [Call::Start]
            .into_iter()
            .chain(batch(0..3))
            .chain(batch(3..6))
            .chain(batch(6..8));
        assert_eq!(log.take(), Vec::from_iter(expected.chain([Call::Stop])));
    });
}

#[test]
fn the_end_of_a_batch_falls_on_the_last_event_that_is_not_abandoned() {
    limited(|| {
        let (log, log_mut) = (Log::new(), Log::new());
        let mut topology = Topology::multi(config(16), || 0).unwrap();
        let (first, mut gate) = topology.stage("first").consumer();
        let (events, edited) = (log.clone(), log_mut.clone());
        let shared = topology
            .stage("shared")
            .after([first])
            .handle(move |event, at| {
                events.push((*event, at.sequence.get(), at.end_of_batch));
            });
        topology
            .stage("editing")
            .after([shared])
            .handle_mut(move |event, at| {
                edited.push((*event, at.sequence.get(), at.end_of_batch));
            });
        let (bus, mut producer) = topology.start().unwrap();
        drop(producer.claim(2).unwrap());
        producer.publish(7).unwrap();
        drop(producer.claim(1).unwrap());
        producer.publish(8).unwrap();
        drop(producer.claim(3).unwrap());
        drop(gate.read().unwrap());
        drop(producer);
        bus.shutdown().unwrap();
        assert_eq!(log.take(), [(7, 2, false), (8, 4, true)]);
        let edited = log_mut.take();
        assert_eq!(
            edited
                .iter()
                .map(|(event, sequence, _)| (*event, *sequence))
                .collect::<Vec<_>>(),
            [(7, 2), (8, 4)]
        );
        assert!(edited[1].2);
    });
}

#[test]
fn the_end_of_a_batch_falls_on_the_last_event_of_each_keyed_member() {
    limited(|| {
        let mut topology = Topology::single(config(64), || 0).unwrap();
        let (first, mut gate) = topology.stage("first").consumer();
        let log = Log::new();
        topology.stage("keyed").after([first]).share_by(
            2,
            |event: &u64| *event,
            |member| {
                let log = log.clone();
                move |event: &u64, at| log.push((member, *event, at.end_of_batch))
            },
        );
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish_batch(numbers(0..64)).unwrap();
        drop(gate.read().unwrap());
        drop(producer);
        bus.shutdown().unwrap();
        let calls = log.take();
        for member in [0, 1] {
            let ends: Vec<bool> = calls
                .iter()
                .filter(|call| call.0 == member)
                .map(|call| call.2)
                .collect();
            assert!(ends.len() > 8, "64 keys fall to both of two members");
            assert_eq!(
                ends.iter().rposition(|end| !end),
                Some(ends.len() - 2),
                "only the last one of its batch"
            );
            assert_eq!(ends.iter().filter(|end| **end).count(), 1);
        }
    });
}

#[test]
fn every_kind_of_handler_gets_every_event() {
    limited(|| {
        let seen = Arc::new(AtomicU64::new(0));
        let mut topology = Topology::multi(config(4), || 0).unwrap();
        let count = |seen: &Arc<AtomicU64>| {
            let seen = seen.clone();
            move || {
                let _ = seen.fetch_add(1, Ordering::Relaxed);
            }
        };
        let each = count(&seen);
        let one = topology.stage("handle").handle(move |_, _| each());
        let each = count(&seen);
        let two = topology
            .stage("try_handle")
            .after([one])
            .try_handle(move |_, _| {
                each();
                Ok(())
            });
        let each = count(&seen);
        let three = topology
            .stage("handle_mut")
            .after([two])
            .handle_mut(move |_, _| each());
        let each = count(&seen);
        let four = topology
            .stage("try_handle_mut")
            .after([three])
            .try_handle_mut(move |_, _| {
                each();
                Ok(())
            });
        let shared = topology.stage("share").after([four]).share(2, |_| {
            let each = count(&seen);
            move |_: &u64, _| each()
        });
        topology.stage("share_by").after([shared]).share_by(
            2,
            |event: &u64| *event,
            |_| {
                let each = count(&seen);
                move |_: &u64, _| each()
            },
        );
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish_batch(numbers(0..50)).unwrap();
        drop(producer);
        bus.shutdown().unwrap();
        assert_eq!(seen.load(Ordering::Relaxed), 6 * 50);
    });
}

#[test]
fn a_consumer_may_be_used_before_the_start_and_ends_with_a_topology_that_never_starts() {
    limited(|| {
        for starts in [true, false] {
            let mut topology = Topology::single(config(4), || 0).unwrap();
            let (_, mut rx) = topology.stage("early").consumer();
            let (_, worker) = topology.stage("workers").wait(Wait::Park).workers();
            let (_, mut task) = topology.stage("task").async_consumer();
            assert_eq!(rx.try_read().unwrap_err(), TryReadError::Empty);
            let early = thread::spawn(move || {
                rx.read()
                    .map(|batch| batch.iter().copied().collect::<Vec<_>>())
            });
            let mut another = worker.clone();
            drop(worker);
            let share =
                thread::spawn(move || another.read_deadline(later()).map(|batch| batch.len()));
            if starts {
                let (bus, mut producer) = topology.start().unwrap();
                producer.publish(5).unwrap();
                assert_eq!(early.join().unwrap().unwrap(), [5]);
                assert_eq!(share.join().unwrap().unwrap(), 1);
                assert_eq!(task.try_read().unwrap().len(), 1);
                drop(producer);
                bus.shutdown().unwrap();
            } else {
                drop(topology);
                assert_eq!(early.join().unwrap().unwrap_err(), Ended::Drained);
                assert!(share.join().unwrap().is_err());
                assert_eq!(
                    common::executor::block_on(task.read()).unwrap_err(),
                    Ended::Drained
                );
            }
        }
    });
}

#[test]
fn threads_are_named_after_their_stages_and_slots_are_made_once() {
    limited(|| {
        let made = Arc::new(AtomicU64::new(0));
        let makes = made.clone();
        let mut topology =
            Topology::single(config(5), move || makes.fetch_add(1, Ordering::Relaxed)).unwrap();
        let log = Log::new();
        let name = |log: &Log<String>| {
            let log = log.clone();
            move |_: &u64, _| log.push(thread::current().name().unwrap().to_owned())
        };
        topology.stage("one").handle(name(&log));
        topology.stage("two").share(1, |_| name(&log));
        let (bus, mut producer) = topology.start().unwrap();
        let slots = made.load(Ordering::Relaxed);
        assert!(bus.capacity() == 8 && slots >= 8, "lines are whole");
        producer
            .publish_with(|slot| assert_eq!(*slot, 0, "the factory's first"))
            .unwrap();
        drop(producer);
        bus.shutdown().unwrap();
        let mut names = log.take();
        names.sort_unstable();
        assert_eq!(
            (names, made.load(Ordering::Relaxed)),
            (vec!["one".to_owned(), "two-0".to_owned()], slots)
        );
    });
}

#[test]
fn a_stage_may_be_named_twice_as_an_upstream() {
    limited(|| {
        let mut topology = Topology::single(
            BusConfig {
                stages_max: 2,
                ..config(2)
            },
            || 0,
        )
        .unwrap();
        let first = topology.stage("first").handle(|_, _| ());
        let (_, mut end) = topology
            .stage("end")
            .after([first, first])
            .after([first])
            .consumer();
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish(1).unwrap();
        assert_eq!(end.read().unwrap().len(), 1);
        drop(producer);
        bus.shutdown().unwrap();
    });
}
