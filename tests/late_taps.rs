//! Taps that join a running bus, and leave it.

mod common;

use common::payload::{Id, Payload};
use common::{Random, STRATEGIES, bearable, config, limited, seeded, until, waiting};
use ringway::{
    Bus, BusConfig, Ended, ErrorKind, OnLag, OnPanic, Producer, ProducerKind, Single,
    SubscribeConfig, Tap, Topology, TryReadError, Wait,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

fn started(config: BusConfig) -> (Bus<u64>, Producer<u64>) {
    let mut topology = Topology::<_, Single>::single(config, || 0_u64).expect("it is open");
    topology.stage("work").handle(|_, _| {});
    topology.start().expect("it is open")
}

#[test]
fn a_late_tap_gets_what_comes_from_then_on() {
    limited(|| {
        let (bus, mut producer) = started(config(4));
        for number in 0..11 {
            producer.publish(number).expect("it is open");
        }
        let mut tap = bus.tap("tap", OnLag::Skip).expect("it is open");
        assert_eq!((tap.lag(), tap.name()), (0, "tap"));
        assert_eq!(tap.try_read().unwrap_err(), TryReadError::Empty);
        producer.publish(11).expect("it is open");
        let batch = tap.read().expect("it is open");
        assert_eq!((batch.skipped(), batch.sequences().start().get()), (0, 11));
        assert_eq!(batch.into_vec(), [11]);
        for number in 12..20 {
            producer.publish(number).expect("it is open");
        }
        assert!(tap.skipped() > 0, "it is moved as any");
        assert_eq!(bus.stats().taps, [tap.stats()]);
        assert_eq!(bus.stats().stages.len(), 1);
        drop(tap);
        assert!(bus.stats().taps.is_empty());
    });
}

#[test]
fn names_and_places_are_free_again_when_a_tap_is_dropped() {
    limited(|| {
        let (bus, mut producer) = started(BusConfig {
            stages_max: 2,
            ..config(4)
        });
        let kind = |name: &str| bus.tap(name, OnLag::Skip).map_err(|error| error.kind());
        for round in 0..10 {
            let tap = kind("tap").expect("it is open");
            let subscribed = bus.subscribe("tap", SubscribeConfig::default());
            assert_eq!(subscribed.unwrap_err().kind(), ErrorKind::DuplicateStage);
            assert_eq!(kind("tap").unwrap_err(), ErrorKind::DuplicateStage);
            assert_eq!(kind("work").unwrap_err(), ErrorKind::DuplicateStage);
            assert_eq!(kind("other").unwrap_err(), ErrorKind::TooManyStages);
            assert_eq!(kind("").unwrap_err(), ErrorKind::InvalidConfig);
            assert_eq!((tap.skipped(), tap.stats().events), (0, 0), "another's");
            (0..round).for_each(|number| assert!(producer.publish(number).is_ok()));
        }
        drop(producer);
        until(|| bus.stats().stages[0].ended);
        let error = bus.tap("tap", OnLag::Skip).unwrap_err();
        assert_eq!(
            (error.kind(), error.stage()),
            (ErrorKind::Closed, Some("tap"))
        );
    });
}

#[test]
fn a_late_tap_comes_after_every_stage_that_edits() {
    limited(|| {
        let mut topology = Topology::single(config(8), || 0_u64).expect("it is open");
        let (edited, mut edit) = topology.stage("edit").consumer_mut();
        topology
            .stage("work")
            .after([edited])
            .on_panic(OnPanic::Skip)
            .handle(|_, _| {});
        let (bus, mut producer) = topology.start().expect("it is open");
        let mut tap = bus.tap("tap", OnLag::Skip).expect("it is open");
        producer.publish(7).expect("it is open");
        assert_eq!(tap.try_read().unwrap_err(), TryReadError::Empty);
        edit.read()
            .expect("it is open")
            .iter_mut()
            .for_each(|event| *event += 1);
        assert_eq!(tap.read().expect("it is open").into_vec(), [8]);
        drop(edit);
        let upstream = Ended::Upstream {
            stage: "edit".into(),
        };
        assert_eq!(tap.read().unwrap_err(), upstream);
        let error = bus.tap("late", OnLag::Skip).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StageEnded);
    });
}

#[test]
fn a_handler_may_tap_its_own_bus() {
    limited(|| {
        let mut topology = Topology::multi(config(8), || 0_u64).expect("it is open");
        let slot = Arc::new(Mutex::new(None::<Bus<u64>>));
        let (taps, tap) = mpsc::channel();
        let bus = slot.clone();
        topology.stage("work").handle(move |event, _| {
            if *event == 1 {
                until(|| bus.lock().expect("it is open").is_some());
                let tap = bus
                    .lock()
                    .expect("it is open")
                    .as_ref()
                    .expect("it is open")
                    .tap("tap", OnLag::Skip);
                taps.send(tap.expect("it is open")).expect("it is open");
            }
        });
        let (bus, mut producer) = topology.start().expect("it is open");
        *slot.lock().expect("it is open") = Some(bus);
        producer.publish(1).expect("it is open");
        let mut tap = tap.recv().expect("it is open");
        producer.publish(2).expect("it is open");
        assert_eq!(tap.read().expect("it is open").into_vec(), [2]);
    });
}

#[test]
fn late_taps_sleep_and_are_woken_on_a_bus_of_spinners() {
    limited(|| {
        let (bus, mut producer) = started(waiting(4, Wait::Yield));
        let mut tap = bus.tap("tap", OnLag::Skip).expect("it is open");
        let reading = thread::spawn(move || {
            common::executor::block_on(tap.read_async()).map(|batch| batch.into_vec())
        });
        thread::sleep(Duration::from_millis(20));
        producer.publish(3).expect("it is open");
        assert_eq!(reading.join().expect("it is open"), Ok(vec![3]));
    });
}

/// From its first event on it counts everything.
fn follow(mut tap: Tap<Payload>, random: &mut Random) -> (u64, u64) {
    let (mut copied, mut skipped, mut next) = (0, 0, None);
    for _ in 0..random.below(12) {
        match tap.try_read() {
            Ok(batch) => {
                let sequences = batch.sequences();
                let start = sequences.start().get();
                assert_eq!(
                    next.unwrap_or(start - batch.skipped()) + batch.skipped(),
                    start
                );
                batch.iter().for_each(|payload| {
                    payload.read();
                });
                (copied, skipped) = (copied + batch.len() as u64, skipped + batch.skipped());
                next = Some(sequences.end().get());
            }
            Err(TryReadError::Empty) => thread::yield_now(),
            Err(TryReadError::Ended(_)) => break,
        }
        if random.once_in(4) {
            thread::sleep(Duration::from_micros(random.below(300)));
        }
    }
    (copied, skipped)
}

/// Taps come and go while producers publish.
fn come_and_go<K: ProducerKind>(
    mut topology: Topology<Payload, K>,
    events: u64,
    clone: impl Fn(&Producer<Payload, K>) -> Option<Producer<Payload, K>>,
    mut random: Random,
) -> (u64, u64) {
    topology.stage("work").handle(|event, _| {
        event.read();
    });
    let (bus, producer) = topology.start().expect("it is open");
    let other = clone(&producer);
    let producers = [Some(producer), other].into_iter().flatten();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let publishing: Vec<_> = (0..)
            .zip(producers)
            .map(|(number, mut producer)| {
                scope.spawn(move || {
                    for count in 0..events {
                        let id = Id {
                            producer: number,
                            count,
                        };
                        let write = |slot: &mut Payload| {
                            slot.spoil();
                            slot.write(id);
                        };
                        producer.publish_with(write).expect("it is open");
                    }
                })
            })
            .collect();
        let tapping: Vec<_> = (0..2)
            .map(|number| {
                let (bus, done, mut random) = (&bus, &done, random.fork());
                scope.spawn(move || {
                    let (mut copied, mut skipped) = (0, 0);
                    while !done.load(Ordering::SeqCst) {
                        let after = Duration::from_micros(random.below(300));
                        let on_lag = match random.below(3) {
                            0 => OnLag::Evict { after },
                            _ => OnLag::Skip,
                        };
                        let Ok(tap) = bus.tap(format!("tap {number}"), on_lag) else {
                            continue; // all is over
                        };
                        let (more, jumped) = follow(tap, &mut random);
                        (copied, skipped) = (copied + more, skipped + jumped);
                    }
                    (copied, skipped)
                })
            })
            .collect();
        publishing
            .into_iter()
            .for_each(|one| one.join().expect("it is open"));
        done.store(true, Ordering::SeqCst);
        (tapping.into_iter())
            .map(|one| one.join().expect("it is open"))
            .fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    })
}

#[test]
fn taps_that_come_and_go_see_whole_events() {
    limited(|| {
        seeded("taps_that_come_and_go_see_whole_events", |mut random| {
            let (mut copied, mut skipped) = (0, 0);
            for wait in STRATEGIES {
                for capacity in [1, 2, 4, 64] {
                    let config = BusConfig {
                        stages_max: 3,
                        ..waiting(capacity, wait)
                    };
                    let events = bearable(1500, capacity, wait);
                    let topology =
                        Topology::single(config.clone(), Payload::default).expect("it is open");
                    let single = come_and_go(topology, events, |_| None, random.fork());
                    let topology = Topology::multi(config, Payload::default).expect("it is open");
                    let clone = |one: &Producer<_, ringway::Multi>| Some(one.clone());
                    let multi = come_and_go(topology, events, clone, random.fork());
                    copied += single.0 + multi.0;
                    skipped += single.1 + multi.1;
                }
            }
            assert!(copied > 500 && skipped > 100, "{copied}, {skipped}");
        });
    });
}
