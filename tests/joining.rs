//! Readers that join a running bus: what they see, whom they hold back, and how they leave.

mod common;

use common::{STRATEGIES, config, limited, numbers, until, waiting};
use ringway::{
    Batch, Bus, BusConfig, ClaimError, Consumer, Ended, ErrorKind, Multi, OnUnread, Producer,
    ProducerKind, PublishError, Single, SubscribeConfig, Topology, TryReadError, Wait,
};
use std::thread;

fn subscribe(bus: &Bus<u64>, name: &str) -> Consumer<u64> {
    bus.subscribe(name, SubscribeConfig::default())
        .expect("it is open")
}

fn refusal(bus: &Bus<u64>, name: &str) -> ErrorKind {
    let error = bus
        .subscribe(name, SubscribeConfig::default())
        .expect_err("it is refused");
    assert_eq!(error.stage(), Some(name));
    assert!(error.to_string().contains(name), "{error}");
    error.kind()
}

/// A bus with one reader, `first`.
fn single(config: BusConfig) -> (Bus<u64>, Producer<u64, Single>, Consumer<u64>) {
    start(Topology::single(config, || 0).expect("it is open"))
}

fn multi(config: BusConfig) -> (Bus<u64>, Producer<u64, Multi>, Consumer<u64>) {
    start(Topology::multi(config, || 0).expect("it is open"))
}

fn start<K: ProducerKind>(
    mut topology: Topology<u64, K>,
) -> (Bus<u64>, Producer<u64, K>, Consumer<u64>) {
    let (_, rx) = topology.stage("first").consumer();
    let (bus, tx) = topology.start().expect("it is open");
    (bus, tx, rx)
}

/// The sequence of the first event, and all of them.
fn events(batch: Batch<'_, u64>) -> (u64, Vec<u64>) {
    (
        batch.sequences().start().get(),
        batch.iter().copied().collect(),
    )
}

fn sees_what_comes<K: ProducerKind>(
    (bus, mut tx, _rx): (Bus<u64>, Producer<u64, K>, Consumer<u64>),
) {
    tx.publish_batch(numbers(0..3)).expect("it is open");
    let mut late = subscribe(&bus, "late");
    assert_eq!((late.lag(), late.is_ended()), (0, false));
    assert_eq!(
        late.try_read().expect_err("it is refused"),
        TryReadError::Empty
    );
    tx.publish_batch(numbers(3..5)).expect("it is open");
    assert_eq!(late.lag(), 2);
    let mut later = subscribe(&bus, "later");
    assert_eq!(events(late.read().expect("it is open")), (3, vec![3, 4]));
    tx.publish(5).expect("it is open");
    assert_eq!(events(late.read().expect("it is open")), (5, vec![5]));
    assert_eq!(events(later.read().expect("it is open")), (5, vec![5]));
    drop(tx);
    assert_eq!(late.read().expect_err("it is refused"), Ended::Drained);
    assert!(later.is_ended());
}

#[test]
fn a_reader_sees_what_is_published_after_it_has_joined() {
    limited(|| sees_what_comes(single(config(16))));
    limited(|| sees_what_comes(multi(config(16))));
}

#[test]
fn it_joins_in_every_place_of_a_lap_and_of_a_line() {
    limited(|| {
        let (bus, mut tx, mut rx) = single(config(8));
        for number in 0..64 {
            let mut late = subscribe(&bus, "late");
            tx.publish(number).unwrap();
            assert_eq!(events(late.read().unwrap()), (number, vec![number]));
            drop(rx.read().unwrap());
        }
    });
}

#[test]
fn it_comes_after_every_stage_that_edits() {
    limited(|| {
        let mut topology = Topology::single(config(16), || 0_u64).unwrap();
        let (tens, mut first) = topology.stage("tens").consumer_mut();
        let (_, mut second) = topology.stage("ones").after([tens]).consumer_mut();
        let (bus, mut tx) = topology.start().unwrap();
        let mut late = subscribe(&bus, "late");
        tx.publish_batch([1, 2]).unwrap();
        first
            .read()
            .unwrap()
            .iter_mut()
            .for_each(|event| *event *= 10);
        assert_eq!(late.try_read().unwrap_err(), TryReadError::Empty);
        second
            .read()
            .unwrap()
            .iter_mut()
            .for_each(|event| *event += 1);
        assert_eq!(events(late.read().unwrap()), (0, vec![11, 21]));

        tx.publish(3).unwrap();
        let mut in_front = subscribe(&bus, "in front of the editors");
        drop(second);
        let ended = Ended::Upstream {
            stage: "ones".into(),
        };
        assert_eq!(late.read().unwrap_err(), ended);
        assert_eq!(
            in_front.read().unwrap_err(),
            ended,
            "it stands above its end"
        );
        assert_eq!(refusal(&bus, "too late"), ErrorKind::StageEnded);
    });
}

fn holds_back<K: ProducerKind>((bus, mut tx, mut rx): (Bus<u64>, Producer<u64, K>, Consumer<u64>)) {
    let capacity = tx.capacity() as u64;
    tx.publish(0).expect("it is open");
    let late = subscribe(&bus, "late");
    let mut next = 1;
    while tx.try_publish(next).is_ok() {
        next += 1;
        while rx.try_read().is_ok() {}
    }
    assert_eq!(next, 1 + capacity, "it has read nothing");
    assert_eq!(tx.free(), 0);
    drop(late);
    assert_eq!(tx.free(), tx.capacity());
    tx.try_publish(next).expect("it is open");
}

#[test]
fn it_holds_producers_back_until_it_leaves() {
    limited(|| holds_back(single(config(4))));
    limited(|| holds_back(multi(config(4))));
}

#[test]
fn a_name_is_taken_as_long_as_the_reader_lives() {
    limited(|| {
        let (bus, tx, _rx) = single(config(4));
        assert_eq!(refusal(&bus, "first"), ErrorKind::DuplicateStage);
        let late = subscribe(&bus, "late");
        assert_eq!(refusal(&bus, "late"), ErrorKind::DuplicateStage);
        drop(late);
        let mut late = subscribe(&bus, "late");
        drop(subscribe(&bus, "another"));
        drop(tx);
        assert_eq!(late.read().unwrap_err(), Ended::Drained);
    });
}

#[test]
fn what_is_wrong_with_the_configuration_is_told() {
    limited(|| {
        let (bus, _tx, _rx) = single(config(4));
        let wrong = [
            (
                SubscribeConfig {
                    batch_max: Some(0),
                    ..SubscribeConfig::default()
                },
                "batch_max is 0",
            ),
            (
                SubscribeConfig {
                    wait: Some(Wait::Backoff {
                        spins: 0,
                        yields: 0,
                        sleep: std::time::Duration::ZERO,
                    }),
                    ..SubscribeConfig::default()
                },
                "wait: Backoff.sleep",
            ),
        ];
        for (config, text) in wrong {
            let error = bus.subscribe("late", config).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.to_string().starts_with(text), "{error}");
        }
        let error = bus.subscribe("", SubscribeConfig::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    });
}

#[test]
fn its_own_settings_count() {
    limited(|| {
        let (bus, mut tx, _rx) = single(config(16));
        let config = SubscribeConfig {
            batch_max: Some(2),
            wait: Some(Wait::Yield),
        };
        let mut late = bus.subscribe("late", config).unwrap();
        tx.publish_batch(numbers(0..5)).unwrap();
        assert_eq!(late.read().unwrap().len(), 2);
    });
}

#[test]
fn a_full_table_refuses_until_somebody_leaves() {
    limited(|| {
        let (bus, mut tx, mut rx) = single(BusConfig {
            stages_max: 3,
            ..config(4)
        });
        for round in 0..10 {
            let (late, other) = (subscribe(&bus, "late"), subscribe(&bus, "other"));
            let error = bus
                .subscribe("a third", SubscribeConfig::default())
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooManyStages);
            assert!(error.to_string().contains("stages_max is 3"), "{error}");
            tx.publish(round).unwrap();
            drop(rx.read().unwrap());
            drop(late);
            drop(subscribe(&bus, "a third"));
            drop(other);
        }
    });
}

#[test]
fn nobody_joins_a_bus_that_is_closed_or_that_nobody_reads() {
    limited(|| {
        let (bus, _tx, _rx) = single(config(4));
        bus.close();
        assert_eq!(refusal(&bus, "late"), ErrorKind::Closed);
        let (bus, _tx, _rx) = multi(config(4));
        bus.halt();
        assert_eq!(refusal(&bus, "late"), ErrorKind::Closed);
        let (bus, tx, rx) = multi(config(4));
        drop(rx);
        assert!(tx.is_closed());
        assert_eq!(refusal(&bus, "late"), ErrorKind::Closed);
        let (bus, tx, _rx) = single(config(4));
        drop(tx);
        assert_eq!(refusal(&bus, "late"), ErrorKind::Closed);
    });
}

fn keeps_open<K: ProducerKind>((bus, mut tx, rx): (Bus<u64>, Producer<u64, K>, Consumer<u64>)) {
    tx.publish(0).expect("it is open");
    let mut late = subscribe(&bus, "late");
    drop(rx);
    assert!(!tx.is_closed());
    for number in 1..20 {
        tx.publish(number).expect("it is open");
        assert_eq!(
            events(late.read().expect("it is open")),
            (number, vec![number])
        );
    }
    let heir = subscribe(&bus, "heir");
    drop(late);
    tx.publish(20).expect("it is open");
    drop(heir);
    assert!(tx.is_closed(), "the last one has left");
    assert!(tx.publish(21).is_err());
}

#[test]
fn it_keeps_the_bus_open_and_the_last_to_leave_closes_it() {
    limited(|| keeps_open(single(config(4))));
    limited(|| keeps_open(multi(config(4))));
}

#[test]
fn it_gets_everything_up_to_the_end_and_outlives_the_bus() {
    limited(|| {
        let (bus, mut tx, _rx) = multi(config(16));
        let mut late = subscribe(&bus, "late");
        tx.publish_batch(numbers(0..7)).unwrap();
        bus.shutdown().unwrap();
        assert_eq!(events(late.read().unwrap()).1.len(), 7);
        assert_eq!(late.read().unwrap_err(), Ended::Drained);
    });
    limited(|| {
        let (bus, mut tx, _rx) = single(config(16));
        let mut late = subscribe(&bus, "late");
        drop(bus);
        tx.publish(1).unwrap();
        assert_eq!(events(late.read().unwrap()), (0, vec![1]));
        drop(tx);
        assert_eq!(late.read().unwrap_err(), Ended::Drained);
    });
    limited(|| {
        let (bus, mut tx, _rx) = single(config(16));
        let mut late = subscribe(&bus, "late");
        tx.publish(1).unwrap();
        bus.halt();
        assert_eq!(late.read().unwrap_err(), Ended::Halted);
    });
}

#[test]
fn statistics_list_it_while_it_lives() {
    limited(|| {
        let (bus, mut tx, mut rx) = single(config(16));
        tx.publish_batch(numbers(0..3)).unwrap();
        let mut late = subscribe(&bus, "late");
        tx.publish_batch(numbers(3..5)).unwrap();
        drop(late.read().unwrap());
        tx.publish(5).unwrap();
        let stats = bus.stats();
        let names: Vec<_> = stats.stages.iter().map(|stage| &*stage.name).collect();
        assert_eq!(names, ["first", "late"]);
        let stage = &stats.stages[1];
        assert_eq!(
            (
                stage.position,
                stage.lag,
                stage.events,
                stage.batches,
                stage.ended
            ),
            (5, 1, 2, 1, false)
        );
        drop(late);
        assert_eq!(bus.stats().stages.len(), 1);
        drop(rx.read().unwrap());
        let _another = subscribe(&bus, "another");
        let stage = &bus.stats().stages[1];
        assert_eq!((&*stage.name, stage.position), ("another", 6));
        assert_eq!((stage.events, stage.batches), (0, 0), "it has read nothing");
    });
}

/// A producer that waits for the late reader alone goes on when that one reads, and when it leaves.
fn lets_a_producer_go_on<K: ProducerKind>(
    wait: Wait,
    (bus, mut tx, mut rx): (Bus<u64>, Producer<u64, K>, Consumer<u64>),
) where
    Producer<u64, K>: Send + 'static,
{
    let mut late = subscribe(&bus, "late");
    for number in 0..tx.capacity() as u64 {
        tx.publish(number).expect("it is open");
        drop(rx.read().expect("it is open"));
    }
    assert!(tx.try_publish(0).is_err());
    let writer = thread::spawn(move || {
        tx.publish(100).expect("it is open");
        tx.publish(101).expect("it is open");
        tx
    });
    let stalled = |times| until(|| bus.stats().producers[0].stalls >= times);
    stalled(1);
    thread::sleep(std::time::Duration::from_millis(2)); // it may be asleep now
    drop(late.read().expect("it is open"));
    assert_eq!(events(rx.read().expect("it is open")).1[0], 100, "{wait:?}");
    drop(late);
    drop(writer.join().expect("it does not panic"));
}

#[test]
fn a_producer_that_sleeps_for_it_is_woken() {
    for wait in STRATEGIES {
        limited(move || lets_a_producer_go_on(wait, single(waiting(1, wait))));
        limited(move || lets_a_producer_go_on(wait, multi(waiting(1, wait))));
    }
}

#[test]
fn a_producer_that_sleeps_for_a_reader_that_leaves_is_woken() {
    for wait in STRATEGIES {
        limited(move || {
            let (bus, mut tx, mut rx) = single(waiting(1, wait));
            let late = subscribe(&bus, "late");
            tx.publish(0).unwrap();
            drop(rx.read().unwrap());
            let writer = thread::spawn(move || {
                tx.publish(1).unwrap();
                tx
            });
            until(|| bus.stats().producers[0].stalls >= 1);
            thread::sleep(std::time::Duration::from_millis(2));
            drop(late);
            let _tx = writer.join().unwrap();
        });
    }
}

#[test]
fn it_may_sleep_on_a_bus_on_which_everybody_spins() {
    for wait in [Wait::Park, Wait::Adaptive] {
        limited(move || {
            let mut topology = Topology::single(waiting(16, Wait::Yield), || 0_u64).unwrap();
            let (edit, mut editor) = topology.stage("edit").consumer_mut();
            let (_, mut rx) = topology.stage("read").after([edit]).consumer();
            let (bus, mut tx) = topology.start().unwrap();
            let config = SubscribeConfig {
                wait: Some(wait),
                ..SubscribeConfig::default()
            };
            let mut late = bus.subscribe("late", config).unwrap();
            let reading = thread::spawn(move || {
                for number in 0..50 {
                    assert_eq!(events(late.read().unwrap()), (number, vec![number]));
                }
                late.read().unwrap_err()
            });
            for number in 0..50 {
                tx.publish(number).unwrap();
                if number % 10 == 0 {
                    thread::sleep(std::time::Duration::from_millis(1)); // it may be asleep now
                }
                drop(editor.read().unwrap());
                drop(rx.read().unwrap());
                until(|| {
                    let stats = bus.stats();
                    stats.stages[2].position > number || stats.stages[2].ended
                });
            }
            drop(tx);
            assert_eq!(editor.read().unwrap_err(), Ended::Drained);
            assert_eq!(reading.join().unwrap(), Ended::Drained);
        });
    }
}

#[test]
fn claims_in_progress_are_no_obstacle_and_it_gets_them() {
    limited(|| {
        let (bus, mut tx, mut rx) = multi(config(4));
        let mut other = tx.clone();
        tx.publish(0).unwrap();
        let claim = tx.claim(1).unwrap();
        other.publish(2).unwrap();
        let mut late = subscribe(&bus, "late");
        assert_eq!(late.try_read().unwrap_err(), TryReadError::Empty);
        drop(rx.read().unwrap());
        drop(rx); // the late reader is the only one left, and the claim is still in progress
        for number in 3..5 {
            other.try_publish(number).unwrap();
        }
        assert!(other.try_publish(5).is_err(), "the claim's slot is its own");
        claim.publish();
        let (first, events) = events(late.read().unwrap());
        assert_eq!((first, &events[1..]), (1, &[2, 3, 4][..]));
        other.try_publish(5).unwrap();
    });
}

#[test]
fn a_batch_that_was_forgotten_is_freed_when_the_reader_leaves() {
    limited(|| {
        let (bus, mut tx, mut rx) = single(config(2));
        let mut late = subscribe(&bus, "late");
        tx.publish_batch([1, 2]).unwrap();
        drop(rx.read().unwrap());
        std::mem::forget(late.read().unwrap());
        assert!(tx.try_publish(3).is_err());
        drop(late);
        tx.try_publish(3).unwrap();
    });
}

fn unread(capacity: usize) -> BusConfig {
    BusConfig {
        on_unread: OnUnread::Continue,
        ..config(capacity)
    }
}

fn goes_on<K: ProducerKind>((bus, mut tx, rx): (Bus<u64>, Producer<u64, K>, Consumer<u64>)) {
    tx.publish(0).expect("it is open");
    drop(rx);
    for number in 1..100 {
        tx.try_publish(number).expect("nobody is in the way");
    }
    let mut late = subscribe(&bus, "late");
    let mut room = 0;
    while tx.try_publish(100 + room).is_ok() {
        room += 1;
    }
    assert_eq!(room, tx.capacity() as u64, "it holds them back");
    let (first, events) = events(late.read().expect("it is open"));
    assert_eq!((first, events[0]), (100, 100));
    drop(late);
    for number in 0..100 {
        tx.publish(number).expect("nobody is in the way");
    }
    bus.close();
    assert!(tx.publish(0).is_err());
    assert_eq!(refusal(&bus, "late"), ErrorKind::Closed);
}

#[test]
fn producers_may_go_on_when_nobody_reads() {
    limited(|| goes_on(single(unread(4))));
    limited(|| goes_on(multi(unread(4))));
}

#[test]
fn where_nobody_reads_a_claim_in_progress_is_waited_for() {
    limited(|| {
        let (_bus, mut tx, rx) = multi(unread(4));
        drop(rx);
        let mut other = tx.clone();
        let claim = tx.claim(1).unwrap();
        for number in 1..4 {
            other.try_publish(number).unwrap();
        }
        assert!(other.try_publish(4).is_err(), "its slot is still written");
        assert_eq!(other.try_claim(1).unwrap_err(), ClaimError::Full);
        assert!(matches!(
            other.publish(4),
            Err(PublishError::WouldDeadlock(4))
        ));
        let waiting = thread::spawn(move || {
            other.publish(4).unwrap();
            other
        });
        thread::sleep(std::time::Duration::from_millis(2));
        assert!(!waiting.is_finished());
        claim.publish();
        drop(waiting.join().unwrap());
    });
}
