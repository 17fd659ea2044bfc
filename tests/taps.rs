//! Taps: what they copy and miss, how long producers wait for them, and how they end.

mod common;

use common::executor::{bell, poll_once};
use common::{config, later, limited, panic_of, soon, until, waiting};
use ringway::{
    BusConfig, Ended, ErrorKind, Multi, OnLag, OnUnread, Producer, PublishDeadlineError,
    ReadDeadlineError, Single, Tap, TapBatch, Topology, TryPublishError, TryReadError, Wait,
};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// What a batch says: its sequences, what was skipped before them, the copies.
fn content(batch: &TapBatch<'_, u64>) -> (std::ops::Range<u64>, u64, Vec<u64>) {
    let sequences = batch.sequences();
    (
        sequences.start().get()..sequences.end().get(),
        batch.skipped(),
        batch.iter().copied().collect(),
    )
}

/// A bus of one stage that drains by itself, and a tap.
fn tapped(capacity: usize, on_lag: OnLag) -> (ringway::Bus<u64>, Producer<u64>, Tap<u64>) {
    let mut topology = Topology::single(config(capacity), || 0).expect("it is open");
    topology.stage("work").handle(|_, _| {});
    let tap = topology.stage("tap").tap(on_lag);
    let (bus, producer) = topology.start().expect("it is open");
    (bus, producer, tap)
}

#[test]
fn a_tap_gets_copies_of_what_is_published() {
    limited(|| {
        let (bus, mut producer, mut tap) = tapped(64, OnLag::Skip);
        assert_eq!(tap.try_read().unwrap_err(), TryReadError::Empty);
        producer.publish_batch([7, 8, 9]).expect("it is open");
        assert_eq!(tap.lag(), 3);
        let batch = tap.try_read().expect("it is open");
        assert_eq!(content(&batch), (0..3, 0, vec![7, 8, 9]));
        drop(batch);
        assert_eq!(tap.lag(), 0);
        producer.publish_batch([1, 2, 3]).expect("it is open");
        let mut batch = tap.try_read().expect("it is open");
        assert_eq!(batch.drain().collect::<Vec<_>>(), [1, 2, 3]);
        assert!(batch.is_empty());
        drop(batch);
        producer.publish(4).expect("it is open");
        assert_eq!(
            tap.read_deadline(later()).expect("it is open").into_vec(),
            [4]
        );
        assert_eq!(
            tap.read_deadline(soon()).unwrap_err(),
            ReadDeadlineError::TimedOut
        );
        drop(producer);
        assert_eq!(tap.read().unwrap_err(), Ended::Drained);
        assert!(tap.is_ended());
        bus.shutdown().expect("it is open");
    });
}

#[test]
fn a_chunk_has_at_most_64_events_or_batch_max() {
    limited(|| {
        let mut topology = Topology::single(config(256), || 0_u64).expect("it is open");
        topology.stage("work").handle(|_, _| {});
        let mut tap = topology.stage("tap").tap(OnLag::Skip);
        let mut small = topology.stage("small").batch_max(3).tap(OnLag::Skip);
        let (_bus, mut producer) = topology.start().expect("it is open");
        producer.publish_batch([0; 200]).expect("it is open");
        assert_eq!(tap.try_read().expect("it is open").len(), 64);
        assert_eq!(small.try_read().expect("it is open").len(), 3);
    });
}

#[test]
fn a_tap_that_lags_is_moved_by_what_is_needed_and_a_quarter_of_the_ring() {
    limited(|| {
        let (bus, mut producer, mut tap) = tapped(8, OnLag::Skip);
        for number in 0..8 {
            producer.publish(number).expect("it is open");
        }
        assert_eq!((tap.lag(), tap.skipped()), (8, 0), "it fits");
        producer.publish(8).expect("it is open");
        // one was needed, and two are a quarter
        assert_eq!((tap.lag(), tap.skipped()), (6, 3));
        producer.publish_batch([9, 10]).expect("it is open");
        assert_eq!(tap.skipped(), 3, "there was room");
        let batch = tap.try_read().expect("it is open");
        assert_eq!(content(&batch), (3..11, 3, (3..11).collect()));
        drop(batch);
        assert_eq!(tap.skipped(), 3);
        // a claim of the whole ring: the tap cannot be ahead of what is published
        let claim = producer.claim(8).expect("it is open");
        assert_eq!(claim.publish().start().get(), 11);
        assert_eq!(tap.skipped(), 3);
        producer.claim(8).expect("it is open").publish();
        assert_eq!((tap.lag(), tap.skipped()), (8, 11));
        let stats = &bus.stats().taps[0];
        assert_eq!(
            (stats.name.as_str(), stats.events, stats.skipped, stats.lag),
            ("tap", 8, 3, 8)
        );
        assert_eq!(tap.try_read().expect("it is open").skipped(), 8);
        assert_eq!(tap.stats().skipped, 11);
        assert_eq!(bus.stats().taps[0], tap.stats());
    });
}

#[test]
fn one_behind_the_slowest_stage_is_moved_no_further_than_that_stage_leaves_room() {
    limited(|| {
        let mut topology = Topology::single(config(8), || 0_u64).expect("it is open");
        let (slow, mut work) = topology.stage("slow").batch_max(1).consumer();
        let mut tap = topology.stage("tap").after([slow]).tap(OnLag::Skip);
        let (_bus, mut producer) = topology.start().expect("it is open");
        producer
            .publish_batch((0..8).collect::<Vec<_>>())
            .expect("it is open");
        for number in 8..16 {
            drop(work.try_read().expect("it is open"));
            producer.try_publish(number).expect("there is room");
            let moved = number - 7; // a quarter further, and it would never see an event
            assert_eq!((tap.skipped(), tap.lag()), (moved, 8));
            assert_eq!(tap.try_read().unwrap_err(), TryReadError::Empty);
        }
        drop(work.try_read().expect("it is open"));
        let batch = tap.try_read().expect("it is open");
        assert_eq!(content(&batch), (8..9, 8, vec![8]), "in time");
        drop(batch);
        // once the stage is ahead the tap is what lags
        while work.try_read().is_ok() {}
        producer
            .publish_batch([16, 17])
            .expect("the stage leaves room");
        assert_eq!((tap.skipped(), tap.lag()), (11, 6));
        let batch = tap.try_read().expect("it is open");
        assert_eq!(content(&batch), (12..16, 3, (12..16).collect()));
    });
}

#[test]
fn a_claim_that_a_stage_refuses_moves_no_tap() {
    limited(|| {
        let mut topology = Topology::single(waiting(4, Wait::Yield), || 0_u64).expect("it is open");
        let (_, mut slow) = topology.stage("slow").consumer();
        let mut tap = topology.stage("tap").tap(OnLag::Skip);
        let (_bus, mut producer) = topology.start().expect("it is open");
        producer.publish_batch([0, 1, 2, 3]).expect("it is open");
        assert_eq!(producer.try_publish(4), Err(TryPublishError::Full(4)));
        assert_eq!(tap.skipped(), 0);
        assert_eq!(slow.try_read().expect("it is open").len(), 4);
        producer.try_publish(4).expect("it is open");
        assert_eq!(tap.skipped(), 2);
        let batch = tap.try_read().expect("it is open");
        assert_eq!(content(&batch), (2..5, 2, vec![2, 3, 4]));
    });
}

/// Counts that stands before a clone that waits for leave.
#[derive(Default)]
struct Gate {
    waits: AtomicBool,
    entered: AtomicU64,
}

/// An event whose copies a gate can keep waiting.
struct Slow(u64, Arc<Gate>);

impl Clone for Slow {
    fn clone(&self) -> Self {
        self.1.entered.fetch_add(1, Ordering::SeqCst);
        until(|| !self.1.waits.load(Ordering::SeqCst));
        Self(self.0, self.1.clone())
    }
}

/// A full ring whose tap is in the midst of a copy, on another thread.
fn copying<K: ringway::ProducerKind>(
    topology: Topology<Slow, K>,
    gate: &Arc<Gate>,
) -> (
    ringway::Bus<Slow>,
    Producer<Slow, K>,
    thread::JoinHandle<Tap<Slow>>,
) {
    let mut topology = topology;
    topology.stage("work").handle(|_, _| {});
    let mut tap = topology.stage("tap").tap(OnLag::Skip);
    let (bus, mut producer) = topology.start().expect("it is open");
    for number in 0..4 {
        producer
            .publish(Slow(number, gate.clone()))
            .expect("it is open");
    }
    gate.waits.store(true, Ordering::SeqCst);
    let reading = thread::spawn(move || {
        let batch = tap.read().expect("it is open");
        let numbers: Vec<_> = batch.iter().map(|event| event.0).collect();
        assert_eq!((numbers, batch.skipped()), (vec![0, 1, 2, 3], 0));
        drop(batch);
        tap
    });
    until(|| gate.entered.load(Ordering::SeqCst) > 0);
    (bus, producer, reading)
}

#[test]
fn producers_wait_for_a_copy_in_progress_and_are_woken_when_it_is_done() {
    for wait in [Wait::Park, Wait::Adaptive, Wait::Yield] {
        limited(move || {
            let gate = Arc::new(Gate::default());
            let slot = || Slow(0, gate.clone());
            let topology = Topology::single(waiting(4, wait), slot).expect("it is open");
            let (_bus, mut producer, reading) = copying(topology, &gate);
            assert!(matches!(
                producer.try_publish(slot()),
                Err(TryPublishError::Full(_))
            ));
            let refused = producer.publish_deadline(slot(), soon());
            assert!(matches!(refused, Err(PublishDeadlineError::TimedOut(_))));
            let opened = gate.clone();
            let opening = thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                opened.waits.store(false, Ordering::SeqCst);
            });
            producer.publish(slot()).expect("it is open");
            opening.join().expect("it is open");
            let mut tap = reading.join().expect("it is open");
            assert_eq!(tap.try_read().expect("it is open").skipped(), 0);
        });
    }
}

#[test]
fn many_producers_wait_for_a_copy_in_progress() {
    limited(|| {
        let gate = Arc::new(Gate::default());
        let slot = || Slow(0, gate.clone());
        let topology = Topology::multi(waiting(4, Wait::Park), slot).expect("it is open");
        let (_bus, producer, reading) = copying(topology, &gate);
        let publishing: Vec<_> = (0..3)
            .map(|_| {
                let (mut producer, event) = (producer.clone(), slot());
                thread::spawn(move || producer.publish(event).expect("it is open"))
            })
            .collect();
        thread::sleep(Duration::from_millis(20));
        assert!(publishing.iter().all(|thread| !thread.is_finished()));
        gate.waits.store(false, Ordering::SeqCst);
        for thread in publishing {
            thread.join().expect("it is open");
        }
        let mut tap = reading.join().expect("it is open");
        assert_eq!(tap.try_read().expect("it is open").len(), 3);
    });
}

/// An event whose copy publishes to its own bus, or panics.
struct Odd(u64, Option<Box<dyn Fn() + Send + Sync>>);

impl Clone for Odd {
    fn clone(&self) -> Self {
        self.1.iter().for_each(|act| act());
        Self(self.0, None)
    }
}

#[test]
fn a_copy_that_waits_for_room_in_its_own_bus_is_told_so() {
    limited(|| {
        let mut topology = Topology::multi(config(2), || Odd(0, None)).expect("it is open");
        topology.stage("work").handle(|_, _| {});
        let mut tap = topology.stage("tap").tap(OnLag::Skip);
        let (_bus, mut producer) = topology.start().expect("it is open");
        let inner = std::sync::Mutex::new(producer.clone());
        let (told, answer) = mpsc::channel();
        let act = move || {
            let answer = inner.lock().expect("it is open").publish(Odd(0, None));
            told.send(answer.map_err(|error| error.without_event()))
                .expect("it is open");
        };
        producer
            .publish(Odd(0, Some(Box::new(act))))
            .expect("it is open");
        producer.publish(Odd(1, None)).expect("it is open");
        assert_eq!(tap.try_read().expect("it is open").len(), 2);
        let refused = ringway::PublishError::WouldDeadlock(());
        assert_eq!(answer.recv().expect("it is open"), Err(refused));
    });
}

#[test]
fn a_copy_that_panics_leaves_the_tap_where_it_was() {
    limited(|| {
        let mut topology = Topology::single(config(4), || Odd(0, None)).expect("it is open");
        topology.stage("work").handle(|_, _| {});
        let mut tap = topology.stage("tap").tap(OnLag::Skip);
        let (_bus, mut producer) = topology.start().expect("it is open");
        let left = AtomicU64::new(2);
        let act = move || {
            let counted = |left: u64| left.checked_sub(1);
            let panics = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, counted);
            assert!(panics.is_err(), "no copy");
        };
        producer.publish(Odd(0, None)).expect("it is open");
        producer
            .publish(Odd(1, Some(Box::new(act))))
            .expect("it is open");
        producer.publish(Odd(2, None)).expect("it is open");
        assert!(panic_of(|| drop(tap.try_read())).contains("no copy"));
        assert!(panic_of(|| drop(tap.read())).contains("no copy"));
        assert_eq!((tap.lag(), tap.skipped()), (3, 0));
        let batch = tap.try_read().expect("it is open");
        assert_eq!(
            batch.iter().map(|event| event.0).collect::<Vec<_>>(),
            [0, 1, 2]
        );
        drop(batch);
        // the bit is clear: producers move it
        for number in 3..20 {
            producer
                .try_publish(Odd(number, None))
                .map_err(|error| error.without_event())
                .expect("it is open");
            until(|| producer.free() == 4);
        }
        assert!(tap.skipped() > 0);
    });
}

#[test]
fn a_tap_is_no_stage() {
    limited(|| {
        let mut topology = Topology::single(config(2), || 0_u64).expect("it is open");
        let mut tap = topology.stage("tap").tap(OnLag::Skip);
        assert_eq!(topology.start().unwrap_err().kind(), ErrorKind::NoStages);
        assert_eq!(tap.read().unwrap_err(), Ended::Drained, "it never starts");

        let mut topology = Topology::single(config(2), || 0_u64).expect("it is open");
        let (_, reader) = topology.stage("reader").consumer();
        let mut tap = topology.stage("tap").tap(OnLag::Evict { after: HOUR });
        let (_bus, mut producer) = topology.start().expect("it is open");
        producer.publish(7).expect("it is open");
        drop(reader);
        assert!(producer.is_closed(), "a tap keeps no bus open");
        assert_eq!(producer.try_publish(8), Err(TryPublishError::Closed(8)));
        assert_eq!(tap.read().expect("it is open").into_vec(), [7]);
        assert_eq!(tap.read().unwrap_err(), Ended::Drained);
    });
}

#[test]
fn taps_are_enough_where_producers_go_on_unread() {
    limited(|| {
        let config = || BusConfig {
            on_unread: OnUnread::Continue,
            ..config(4)
        };
        let mut single = Topology::<u64, Single>::single(config(), || 0).unwrap();
        let tap = single.stage("tap").tap(OnLag::Skip);
        let (_bus, mut producer) = single.start().unwrap();
        for number in 0..10 {
            producer.publish(number).unwrap();
        }
        let mut multi = Topology::<u64, Multi>::multi(config(), || 0).unwrap();
        let other = multi.stage("tap").tap(OnLag::Skip);
        let (_bus, mut producer) = multi.start().unwrap();
        for number in 0..10 {
            producer.publish(number).unwrap();
        }
        for mut tap in [tap, other] {
            let batch = tap.try_read().unwrap();
            let (range, skipped, events) = content(&batch);
            assert_eq!((range.start, range.end), (skipped, 10));
            assert_eq!(events, range.collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_tap_beside_a_stage_that_edits_is_a_race() {
    let mut topology = Topology::single(config(2), || 0_u64).expect("it is open");
    topology.stage("edit").handle_mut(|_, _| {});
    let _tap = topology.stage("tap").tap(OnLag::Skip);
    let error = topology.start().unwrap_err();
    assert_eq!(
        (error.kind(), error.stage()),
        (ErrorKind::MutationRace, Some("edit"))
    );

    let mut topology = Topology::single(
        BusConfig {
            stages_max: 1,
            ..config(2)
        },
        || 0_u64,
    )
    .expect("it is open");
    topology.stage("work").handle(|_, _| {});
    let _tap = topology.stage("tap").tap(OnLag::Skip);
    let error = topology.start().unwrap_err();
    assert_eq!(
        (error.kind(), error.stage()),
        (ErrorKind::TooManyStages, Some("tap"))
    );
    let mut topology = Topology::single(config(2), || 0_u64).expect("it is open");
    let _tap = topology.stage("tap").pin(0).tap(OnLag::Skip);
    assert_eq!(
        topology.start().unwrap_err().kind(),
        ErrorKind::InvalidConfig
    );
}

#[test]
fn a_tap_after_a_stage_sees_its_edits_and_its_end() {
    limited(|| {
        let mut topology = Topology::single(config(4), || 0_u64).expect("it is open");
        let (edited, mut edit) = topology.stage("edit").consumer_mut();
        let (_, mut other) = topology.stage("other").after([edited]).consumer();
        let mut tap = topology.stage("tap").after([edited]).tap(OnLag::Skip);
        let (_bus, mut producer) = topology.start().expect("it is open");
        producer.publish_batch([1, 2, 3, 4]).expect("it is open");
        assert_eq!(tap.try_read().unwrap_err(), TryReadError::Empty);
        for event in &mut edit.try_read().expect("it is open") {
            *event *= 10;
        }
        assert_eq!(other.try_read().expect("it is open").len(), 4);
        producer.publish(5).expect("it is open");
        let batch = tap.try_read().expect("it is open");
        assert_eq!(
            content(&batch),
            (2..4, 2, vec![30, 40]),
            "moved by one and a quarter"
        );
        drop(batch);
        drop(edit);
        let ended = Ended::Upstream {
            stage: "edit".into(),
        };
        assert_eq!(tap.read().unwrap_err(), ended);
        assert_eq!(other.read().unwrap_err(), ended);
    });
}

#[test]
fn a_tap_is_halted_and_dropped_as_readers_are() {
    limited(|| {
        let (bus, mut producer, mut tap) = tapped(4, OnLag::Evict { after: HOUR });
        producer.publish_batch([0, 1, 2, 3]).expect("it is open");
        drop(tap.try_read().expect("it is open"));
        producer.publish_batch([4, 5, 6, 7]).expect("it is open");
        assert!(matches!(
            producer.try_publish(8),
            Err(TryPublishError::Full(_))
        ));
        let publishing = thread::spawn(move || {
            producer.publish(8).expect("it is open");
            producer
        });
        thread::sleep(Duration::from_millis(20));
        drop(tap); // wakes the producer
        let producer = publishing.join().expect("it is open");
        drop(producer);
        bus.shutdown().expect("it is open");

        let (bus, _producer, mut tap) = tapped(4, OnLag::Skip);
        let reading = thread::spawn(move || tap.read().map(|batch| batch.len()));
        thread::sleep(Duration::from_millis(20));
        bus.halt();
        assert_eq!(reading.join().expect("it is open"), Err(Ended::Halted));
    });
}

#[test]
fn a_task_reads_and_is_woken() {
    limited(|| {
        for wait in [Wait::Yield, Wait::Adaptive] {
            let mut topology = Topology::multi(waiting(4, wait), || 0_u64).expect("it is open");
            topology.stage("work").handle(|_, _| {});
            let mut tap = topology.stage("tap").tap(OnLag::Skip);
            let (_bus, mut producer) = topology.start().expect("it is open");
            let (rung, waker) = bell();
            let mut read = pin!(tap.read_async());
            assert!(poll_once(read.as_mut(), &waker).is_pending());
            producer.publish(7).expect("it is open");
            assert_eq!(rung.rung(), 1);
            let std::task::Poll::Ready(Ok(batch)) = poll_once(read.as_mut(), &waker) else {
                panic!("it was woken");
            };
            assert_eq!(batch.into_vec(), [7]);
            drop(producer);
        }
    });
}

#[test]
fn abandoned_sequences_are_no_events() {
    limited(|| {
        let mut topology = Topology::multi(config(4), || 0_u64).expect("it is open");
        let (_, mut work) = topology.stage("work").consumer();
        let mut tap = topology.stage("tap").tap(OnLag::Skip);
        let (_bus, mut producer): (_, Producer<u64, Multi>) = topology.start().expect("it is open");
        producer.publish(1).expect("it is open");
        drop(producer.claim(2).expect("it is open"));
        producer.publish(4).expect("it is open");
        let batch = tap.try_read().expect("it is open");
        assert_eq!(content(&batch), (0..4, 0, vec![1, 4]));
        drop(batch);
        drop(producer.claim(0));
        drop(work.try_read().expect("it is open"));
        drop(producer.claim(4).expect("it is open"));
        drop(work.try_read().expect("it is open"));
        producer.publish(9).expect("it is open");
        let batch = tap.try_read().expect("it is open");
        assert_eq!(
            content(&batch),
            (6..9, 2, vec![9]),
            "abandoned ones count as skipped too"
        );
    });
}

#[test]
fn what_a_tap_is_moved_over_after_its_last_read_is_counted_at_its_end() {
    limited(|| {
        for reads in [true, false] {
            let mut topology = Topology::single(config(4), || 0_u64).expect("it is open");
            let (_, mut work) = topology.stage("work").consumer();
            let mut tap = topology.stage("tap").tap(OnLag::Skip);
            let (bus, mut producer) = topology.start().expect("it is open");
            producer.publish_batch([0, 1, 2, 3]).expect("it is open");
            drop(work.try_read().expect("it is open"));
            drop(producer.claim(4).expect("it is open")); // has moved the tap, and publishes nothing
            drop(producer);
            assert_eq!((tap.skipped(), tap.stats().skipped), (4, 0));
            if reads {
                assert_eq!(tap.read().unwrap_err(), Ended::Drained);
                assert_eq!((tap.skipped(), tap.lag()), (4, 0));
            }
            drop(tap);
            let stats = &bus.stats().taps[0];
            assert_eq!(
                (stats.position, stats.skipped, stats.ended),
                (4, 4, true),
                "{reads}"
            );
        }
    });
}

#[test]
fn it_needs_no_more_than_it_says() {
    fn sends<T: Send>() {}
    sends::<Tap<Arc<u64>>>();
    sends::<Topology<Arc<u64>, Single>>();
}
