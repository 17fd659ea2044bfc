//! Lanes: order per producer, producers that come and go, every verb, the ends, memory, sleepers.

mod common;

use common::executor::{Pool, bell, block_on, poll_once};
use common::payload::silent_panic;
use common::{Census, Random, later, limited, numbers, panic_of, seeded, soon, waiting};
use ringway::{
    BusConfig, ClaimError, Ended, ErrorKind, LaneConsumer, LaneProducer, PublishDeadlineError,
    PublishError, ReadDeadlineError, TryPublishError, TryReadError, Wait, lanes, lanes_with,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Everything that is there now, taken out.
fn rest<T: Default>(rx: &mut LaneConsumer<T>) -> Vec<T> {
    let mut all = Vec::new();
    while let Ok(mut batch) = rx.try_read() {
        all.extend(batch.drain());
    }
    all
}

mod verbs {
    use super::*;

    #[test]
    fn each_publishes_in_order() {
        let (mut tx, mut rx) = lanes::<u64>(16);
        tx.publish(0).unwrap();
        tx.try_publish(1).unwrap();
        tx.publish_deadline(2, later()).unwrap();
        tx.publish_with(|slot| *slot = 3).unwrap();
        tx.try_publish_with(|slot| *slot = 4).unwrap();
        tx.publish_with_deadline(|slot| *slot = 5, later()).unwrap();
        assert_eq!(tx.publish_batch([6]), Ok(1));
        assert_eq!(tx.try_publish_batch([7]), Ok(1));
        assert_eq!(tx.publish_batch_deadline([8], later()), Ok(1));
        assert_eq!(tx.publish_slice(&[9]), Ok(1));
        assert_eq!(tx.try_publish_slice(&[10]), Ok(1));
        assert_eq!(tx.publish_slice_deadline(&[11], later()), Ok(1));
        claim_one(&mut tx, 12, ClaimBy::Waiting);
        claim_one(&mut tx, 13, ClaimBy::Trying);
        claim_one(&mut tx, 14, ClaimBy::Deadline);
        assert_eq!(block_on(tx.publish_async(15)).unwrap().get(), 15);
        assert_eq!((tx.free(), rx.lag()), (0, 16));
        assert_eq!(rest(&mut rx), (0..16).collect::<Vec<_>>());
        assert_eq!(tx.free(), 16);
    }

    enum ClaimBy {
        Waiting,
        Trying,
        Deadline,
    }

    fn claim_one(tx: &mut LaneProducer<u64>, number: u64, by: ClaimBy) {
        let mut claim = match by {
            ClaimBy::Waiting => tx.claim(1),
            ClaimBy::Trying => tx.try_claim(1),
            ClaimBy::Deadline => tx.claim_deadline(1, later()),
        }
        .expect("there is room");
        claim.iter_mut().for_each(|slot| *slot = number);
        claim.publish();
    }

    #[test]
    fn each_answers_for_its_own_lane_when_that_is_full() {
        let (mut tx, mut rx) = lanes::<u64>(2);
        let mut other = tx.clone();
        tx.publish_slice(&[1, 2]).unwrap();
        assert_eq!(tx.try_publish(3), Err(TryPublishError::Full(3)));
        assert_eq!(
            tx.publish_deadline(3, soon()),
            Err(PublishDeadlineError::TimedOut(3))
        );
        assert_eq!(tx.try_claim(1).unwrap_err(), ClaimError::Full);
        assert_eq!((tx.publish_or_drop(3), tx.dropped()), (Ok(None), 1));
        assert_eq!(other.dropped(), 0);
        assert_eq!(tx.try_publish_slice(&[3]), Ok(0));
        let error = tx.publish_slice_deadline(&[3], soon()).unwrap_err();
        assert_eq!((error.published, error.reason), (0, ClaimError::TimedOut));
        assert_eq!(
            tx.claim(3).unwrap_err(),
            ClaimError::TooLarge {
                count: 3,
                capacity: 2
            }
        );
        other.publish_slice(&[10, 11]).unwrap(); // a lane of its own
        let mut all = rest(&mut rx);
        all.sort_unstable();
        assert_eq!(all, [1, 2, 10, 11]);
    }

    #[test]
    fn reading_waits_no_longer_than_it_is_told_to() {
        let (mut tx, mut rx) = lanes::<u64>(1);
        assert_eq!(rx.try_read().unwrap_err(), TryReadError::Empty);
        assert_eq!(
            rx.read_deadline(soon()).unwrap_err(),
            ReadDeadlineError::TimedOut
        );
        tx.publish(1).unwrap();
        assert_eq!(rx.read_deadline(later()).unwrap().len(), 1);
        assert!(!rx.is_ended());
        drop(tx);
        assert!(rx.is_ended());
        let drained = ReadDeadlineError::Ended(Ended::Drained);
        assert_eq!(rx.read_deadline(later()).unwrap_err(), drained);
        assert_eq!(
            rx.try_read().unwrap_err(),
            TryReadError::Ended(Ended::Drained)
        );
        assert_eq!(block_on(rx.read_async()).unwrap_err(), Ended::Drained);
    }

    #[test]
    fn lanes_are_read_in_turn_a_batch_of_each() {
        let config = BusConfig {
            batch_max: 2,
            ..waiting(8, Wait::Adaptive)
        };
        let (tx, mut rx) = lanes_with::<u64>(config).unwrap();
        let producers: Vec<_> = (0..3_u64)
            .map(|lane| {
                let mut tx = tx.clone();
                tx.publish_slice(&[lane, lane + 10, lane + 20, lane + 30])
                    .unwrap();
                tx
            })
            .collect();
        let mut batches = Vec::new();
        while let Ok(mut batch) = rx.try_read() {
            batches.push(batch.drain().collect::<Vec<_>>());
        }
        let first: Vec<_> = (0..3).map(|lane| vec![lane, lane + 10]).collect();
        let second: Vec<_> = (0..3).map(|lane| vec![lane + 20, lane + 30]).collect();
        assert_eq!(batches, [first, second].concat());
        drop(producers);
    }

    #[test]
    fn a_batch_that_is_forgotten_is_freed_by_the_next_read() {
        let (mut tx, mut rx) = lanes::<u64>(2);
        let mut other = tx.clone();
        tx.publish_slice(&[1, 2]).unwrap();
        std::mem::forget(rx.read().unwrap());
        assert_eq!(tx.free(), 0);
        other.publish(3).unwrap();
        assert!(rx.read().unwrap().iter().eq(&[3]));
        assert_eq!(tx.free(), 2);
    }

    #[test]
    fn configurations_are_checked() {
        let error = lanes_with::<u64>(waiting(0, Wait::Park)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(panic_of(|| lanes::<u64>(0)).starts_with("capacity is 0"));
        let (mut tx, _rx) = lanes_with::<u64>(waiting(3, Wait::Yield)).unwrap();
        assert_eq!(tx.capacity(), 4);
        assert_eq!(
            tx.set_wait(Wait::Park).unwrap_err().kind(),
            ErrorKind::InvalidConfig
        );
        tx.set_wait(Wait::BusySpin).unwrap();
        assert_eq!(tx.clone().capacity(), 4);
    }
}

mod ends {
    use super::*;

    #[test]
    fn a_dropped_consumer_closes_all_lanes() {
        let (mut tx, rx) = lanes::<u64>(1);
        let mut other = tx.clone();
        drop(rx);
        assert!(tx.is_closed() && other.is_closed());
        assert_eq!(tx.publish(1), Err(PublishError::Closed(1)));
        assert_eq!(other.try_publish(2), Err(TryPublishError::Closed(2)));
        assert_eq!(block_on(tx.publish_async(3)), Err(PublishError::Closed(3)));
        let mut late = tx.clone();
        assert!(late.is_closed());
        assert_eq!(late.publish(4), Err(PublishError::Closed(4)));
        drop(other);
        assert_eq!(tx.clone().publish(5), Err(PublishError::Closed(5)));
    }

    #[test]
    fn a_dropped_consumer_wakes_producers_of_full_lanes() {
        limited(|| {
            let (tx, rx) = lanes::<u64>(1);
            let publishers: Vec<_> = (0..3)
                .map(|_| {
                    let mut tx = tx.clone();
                    thread::spawn(move || while tx.publish(1).is_ok() {})
                })
                .collect();
            thread::sleep(std::time::Duration::from_millis(20)); // they sleep by now
            drop(rx);
            for publisher in publishers {
                publisher.join().unwrap();
            }
        });
    }

    #[test]
    fn lanes_end_when_all_producers_are_gone_and_all_is_read() {
        let (mut tx, mut rx) = lanes::<u64>(4);
        let mut other = tx.clone();
        other.publish(1).unwrap();
        drop(other);
        tx.publish(2).unwrap();
        drop(tx);
        assert!(!rx.is_ended());
        let mut all = Vec::new();
        while let Ok(mut batch) = rx.read() {
            all.extend(batch.drain());
        }
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
    }

    #[test]
    fn a_panicking_closure_or_iterator_leaves_the_lane_in_order() {
        let (mut tx, mut rx) = lanes::<u64>(4);
        tx.publish(0).unwrap();
        let failed = catch_unwind(AssertUnwindSafe(|| {
            tx.publish_with(|slot| {
                *slot = 99;
                silent_panic();
            })
        }));
        assert!(failed.is_err());
        let failed = catch_unwind(AssertUnwindSafe(|| {
            tx.publish_batch(numbers(1..3).inspect(|&number| {
                if number == 2 {
                    silent_panic();
                }
            }))
        }));
        assert!(failed.is_err());
        drop(tx.claim(2).unwrap());
        tx.publish(2).unwrap();
        assert_eq!(rest(&mut rx), [0, 1, 2]);
    }

    #[test]
    fn a_default_that_panics_opens_no_lane() {
        static PANICS: AtomicBool = AtomicBool::new(false);
        #[derive(Debug)]
        struct Fussy;
        impl Default for Fussy {
            fn default() -> Self {
                if PANICS.swap(false, Ordering::SeqCst) {
                    silent_panic();
                }
                Self
            }
        }
        let (tx, mut rx) = lanes::<Fussy>(4);
        PANICS.store(true, Ordering::SeqCst);
        assert!(catch_unwind(AssertUnwindSafe(|| tx.clone())).is_err());
        let mut other = tx.clone();
        other.publish(Fussy).unwrap();
        assert_eq!(rest(&mut rx).len(), 1);
        drop((tx, other));
        assert_eq!(rx.read().unwrap_err(), Ended::Drained);
    }

    #[test]
    fn events_are_dropped_once_whoever_goes_first() {
        for producers_first in [false, true] {
            let census = Census::default();
            let (mut tx, rx) = lanes(4);
            let mut other = tx.clone();
            tx.publish_batch((0..4).map(|number| census.event(number as u64)))
                .unwrap();
            other.publish(census.event(4)).unwrap();
            if producers_first {
                drop((tx, other));
                drop(rx);
            } else {
                drop(rx);
                drop((tx, other));
            }
            assert_eq!(census.living(), 0);
        }
    }
}

mod coming_and_going {
    use super::*;

    /// Numbers the slots that were ever made.
    static SLOTS: AtomicUsize = AtomicUsize::new(0);

    #[derive(Debug)]
    struct Slot;
    impl Default for Slot {
        fn default() -> Self {
            SLOTS.fetch_add(1, Ordering::SeqCst);
            Self
        }
    }

    #[test]
    fn ten_thousand_producers_use_as_many_lanes_as_there_are_at_once() {
        let (mut tx, mut rx) = lanes::<Slot>(8);
        let mut read = 0;
        for number in 0..10_000 {
            let mut pair = [tx.clone(), tx.clone()];
            for one in &mut pair {
                one.publish(Slot).unwrap();
            }
            if number % 3 == 0 {
                while let Ok(batch) = rx.try_read() {
                    read += batch.len();
                }
            }
        }
        while let Ok(batch) = rx.try_read() {
            read += batch.len();
        }
        tx.publish(Slot).unwrap();
        assert_eq!(rx.read().unwrap().len(), 1);
        assert_eq!(read, 20_000);
        assert_eq!(SLOTS.load(Ordering::SeqCst), 3 * 8);
    }

    #[test]
    fn a_lane_that_is_taken_over_undrained_keeps_its_order() {
        let (mut tx, mut rx) = lanes::<u64>(4);
        let mut first = tx.clone();
        first.publish_slice(&[1, 2, 3]).unwrap();
        drop(first);
        let mut second = tx.clone();
        assert_eq!(second.publish(4).unwrap().get(), 3); // the lane's sequence
        assert_eq!(second.try_publish(5), Err(TryPublishError::Full(5)));
        tx.publish(10).unwrap();
        let mut all = rest(&mut rx);
        all.retain(|&event| event < 10);
        assert_eq!(all, [1, 2, 3, 4]);
    }

    #[test]
    fn the_consumer_finds_one_busy_lane_among_many_idle_ones_and_any_idle_one_that_gets_an_event() {
        let config = BusConfig {
            batch_max: 4,
            ..waiting(8, Wait::Adaptive)
        };
        let (mut tx, mut rx) = lanes_with::<u64>(config).unwrap();
        let mut others: Vec<_> = (0..63).map(|_| tx.clone()).collect();
        let mut seen = [0; 64];
        let mut random = Random::new(7);
        for round in 0..20_000_u64 {
            tx.publish(0).unwrap();
            let lane = random.below(63) as usize;
            let calls = round % 97 == 0;
            if calls {
                others[lane].publish(lane as u64 + 1).unwrap();
            }
            // at the latest when it has read all there is
            while let Ok(batch) = rx.try_read() {
                batch.iter().for_each(|&event| seen[event as usize] += 1);
            }
            if calls {
                assert!(seen[lane + 1] > 0, "lane {lane} is not found");
            }
        }
        assert_eq!(seen[0], 20_000);
    }

    /// Which lanes are busy changes all the time.
    #[test]
    fn lanes_fall_idle_and_get_busy_again() {
        seeded("lanes_fall_idle_and_get_busy_again", |mut random| {
            let config = BusConfig {
                batch_max: 2,
                ..waiting(4, Wait::Adaptive)
            };
            let (tx, mut rx) = lanes_with::<(usize, u64)>(config).unwrap();
            let mut producers: Vec<_> = (0..40).map(|_| (tx.clone(), 0)).collect();
            let mut next = [0; 40];
            for _ in 0..300 {
                let busy: Vec<_> = (0..random.below(6))
                    .map(|_| random.below(40) as usize)
                    .collect();
                for _ in 0..random.below(60) {
                    for &lane in &busy {
                        let (tx, number) = &mut producers[lane];
                        if tx.try_publish((lane, *number)).is_ok() {
                            *number += 1;
                        }
                    }
                    for _ in 0..random.below(4) {
                        for &(lane, number) in rx.try_read().iter().flatten() {
                            assert_eq!(number, next[lane]);
                            next[lane] += 1;
                        }
                    }
                }
                if random.once_in(2) {
                    while let Ok(batch) = rx.try_read() {
                        for &(lane, number) in &batch {
                            assert_eq!(number, next[lane]);
                            next[lane] += 1;
                        }
                    }
                    assert!(producers.iter().map(|(_, number)| number).eq(&next));
                }
            }
        });
    }

    #[test]
    fn a_busy_lane_does_not_starve_an_idle_one() {
        let config = BusConfig {
            batch_max: 4,
            ..waiting(64, Wait::Adaptive)
        };
        let (mut tx, mut rx) = lanes_with::<u64>(config).unwrap();
        let mut others: Vec<_> = (0..63).map(|_| tx.clone()).collect();
        for turn in 0..2_000 {
            if turn == 1_800 {
                others[40].publish(1).unwrap();
            }
            while tx.try_publish(0).is_ok() {} // never empty
            if rx.read().unwrap().iter().eq(&[1]) {
                assert!((1_800..1_864).contains(&turn), "found in turn {turn}");
                return;
            }
        }
        panic!("it was not found");
    }
}

mod sleeping {
    use super::*;

    #[test]
    fn a_consumer_is_woken_by_any_lane_and_by_one_opened_while_it_sleeps() {
        limited(|| {
            let (tx, mut rx) = lanes_with::<u64>(waiting(1, Wait::Park)).unwrap();
            let publisher = thread::spawn(move || {
                for number in 0..200 {
                    if number % 8 == 0 {
                        thread::sleep(std::time::Duration::from_millis(1));
                    }
                    tx.clone().publish(number).unwrap(); // mostly a lane used before
                    let _hold = (number % 16 == 0).then(|| tx.clone());
                }
            });
            let mut read = Vec::new();
            while let Ok(mut batch) = rx.read() {
                read.extend(batch.drain());
            }
            publisher.join().unwrap();
            assert_eq!(read.len(), 200);
        });
    }

    #[test]
    fn a_consumer_that_sleeps_is_told_of_the_end() {
        limited(|| {
            let (tx, mut rx) = lanes_with::<u64>(waiting(1, Wait::Park)).unwrap();
            let reader = thread::spawn(move || rx.read().map(|batch| batch.len()));
            thread::sleep(std::time::Duration::from_millis(20)); // it sleeps by now
            drop(tx);
            assert_eq!(reader.join().unwrap(), Err(Ended::Drained));
        });
    }

    #[test]
    fn a_task_that_reads_is_woken_once_there_is_something() {
        let (mut tx, mut rx) = lanes::<u64>(4);
        let mut other = tx.clone();
        let (rings, waker) = bell();
        {
            let mut read = pin!(rx.read_async());
            assert!(poll_once(read.as_mut(), &waker).is_pending());
            assert_eq!(rings.rung(), 0);
            other.publish(1).unwrap();
            assert_eq!(rings.rung(), 1);
            assert!(poll_once(read.as_mut(), &waker).is_ready());
        }
        {
            let mut read = pin!(rx.read_async());
            assert!(poll_once(read.as_mut(), &waker).is_pending());
        } // forgotten: nobody is woken
        tx.publish(2).unwrap();
        assert_eq!(rings.rung(), 1);
        assert!(block_on(rx.read_async()).unwrap().iter().eq(&[2]));
        drop((tx, other));
        assert_eq!(block_on(rx.read_async()).unwrap_err(), Ended::Drained);
    }

    #[test]
    fn a_task_that_publishes_is_woken_by_a_batch_of_its_lane_only() {
        let (mut tx, mut rx) = lanes::<u64>(1);
        let mut other = tx.clone();
        let (rings, waker) = bell();
        tx.publish(1).unwrap();
        {
            let mut publication = pin!(tx.publish_async(2));
            assert!(poll_once(publication.as_mut(), &waker).is_pending());
            drop(rx.read().unwrap());
            assert_eq!(rings.rung(), 1);
            assert!(poll_once(publication.as_mut(), &waker).is_ready());
        }
        {
            let mut publication = pin!(tx.publish_async(3));
            assert!(poll_once(publication.as_mut(), &waker).is_pending());
            other.publish(10).unwrap();
            while rx.read().unwrap().iter().all(|&event| event != 10) {}
            drop(rx);
            assert!(rings.rung() >= 1);
            assert!(poll_once(publication.as_mut(), &waker).is_ready());
        }
    }

    #[test]
    fn tasks_on_both_ends() {
        limited(|| {
            let pool = Pool::new(2);
            let (tx, mut rx) = lanes::<u64>(2);
            for task in 0..5 {
                let mut tx = tx.clone();
                drop(pool.spawn(async move {
                    for number in 0..100 {
                        tx.publish_async(task * 1000 + number).await.expect("open");
                    }
                }));
            }
            drop(tx);
            let read = pool.spawn(async move {
                let mut next = [0; 5];
                while let Ok(batch) = rx.read_async().await {
                    for &event in batch.iter() {
                        let next = &mut next[(event / 1000) as usize];
                        assert_eq!(event % 1000, *next);
                        *next += 1;
                    }
                }
                next
            });
            assert_eq!(read.recv().unwrap(), [100; 5]);
        });
    }
}
