//! What goes in comes out: every verb, batches, claims, order and completeness, on the queues without a topology.
#![expect(
    clippy::unwrap_used,
    reason = "the lint does not see that functions called by tests are tests"
)]

mod common;

use common::{CAPACITIES, Census, Counted, later, limited, numbers, rest, soon};
use ringway::{
    ClaimError, Consumer, Ended, Exclusive, Producer, ProducerKind, PublishDeadlineError,
    ReadDeadlineError, TryPublishError, TryReadError, mpmc, mpsc, spmc, spsc,
};
use std::time::Instant;

fn every_verb_publishes<K: ProducerKind>(
    mut tx: Producer<u64, K>,
    mut rx: Consumer<u64, Exclusive>,
) {
    let number = |sequence: ringway::Sequence| sequence.get();
    assert_eq!(number(tx.publish(0).unwrap()), 0);
    assert_eq!(number(tx.try_publish(1).unwrap()), 1);
    assert_eq!(number(tx.publish_deadline(2, later()).unwrap()), 2);
    assert_eq!(number(tx.publish_with(|slot| *slot = 3).unwrap()), 3);
    assert_eq!(number(tx.try_publish_with(|slot| *slot = 4).unwrap()), 4);
    assert_eq!(
        number(tx.publish_with_deadline(|slot| *slot = 5, later()).unwrap()),
        5
    );
    assert_eq!(tx.publish_batch(numbers(6..8)).unwrap(), 2);
    assert_eq!(tx.try_publish_batch(numbers(8..10)).unwrap(), 2);
    assert_eq!(
        tx.publish_batch_deadline(numbers(10..12), later()).unwrap(),
        2
    );
    assert_eq!(tx.publish_slice(&[12, 13]).unwrap(), 2);
    assert_eq!(tx.try_publish_slice(&[14, 15]).unwrap(), 2);
    assert_eq!(tx.publish_slice_deadline(&[16, 17], later()).unwrap(), 2);
    for (start, claim) in [
        (18, tx.claim(2)),
        (20, Err(ClaimError::Full)),
        (20, Err(ClaimError::Full)),
    ] {
        let Ok(mut claim) = claim else { continue };
        claim
            .iter_mut()
            .zip(start..)
            .for_each(|(slot, number)| *slot = number);
        assert_eq!(claim.publish().start().get(), start);
    }
    let mut claim = tx.try_claim(1).unwrap();
    claim.iter_mut().for_each(|slot| *slot = 20);
    assert_eq!((claim.len(), claim.publish().end().get()), (1, 21));
    let mut claim = tx.claim_deadline(1, later()).unwrap();
    (&mut claim).into_iter().for_each(|slot| *slot = 21);
    let _ = claim.publish();
    assert_eq!(
        number(common::executor::block_on(tx.publish_async(22)).unwrap()),
        22
    );
    assert_eq!(rest(&mut rx), Vec::from_iter(0..23));
}

#[test]
fn every_verb_of_a_single_producer_publishes_in_order() {
    limited(|| {
        let (tx, rx) = spsc(64);
        every_verb_publishes(tx, rx);
    });
}

#[test]
fn every_verb_of_a_multi_producer_publishes_in_order() {
    limited(|| {
        let (tx, rx) = mpsc(64);
        every_verb_publishes(tx, rx);
    });
}

#[test]
fn every_reading_verb_sees_the_next_event_and_then_the_end() {
    limited(|| {
        let (mut tx, mut rx) = spsc::<u64>(8);
        assert_eq!(rx.try_read().unwrap_err(), TryReadError::Empty);
        assert_eq!(
            rx.read_deadline(soon()).unwrap_err(),
            ReadDeadlineError::TimedOut
        );
        let mut publish = |number: u64| tx.publish(number).unwrap();
        publish(0);
        assert!(rx.read().unwrap().iter().eq(&[0]));
        publish(1);
        assert!(rx.try_read().unwrap().iter().eq(&[1]));
        publish(2);
        assert!(
            rx.read_deadline(Instant::now()).unwrap().iter().eq(&[2]),
            "it looks once, however late it is"
        );
        publish(3);
        assert_eq!((rx.lag(), rx.is_ended()), (1, false));
        drop(tx);
        assert!(!rx.is_ended(), "one is left");
        assert!(rx.read().unwrap().iter().eq(&[3]));
        assert!(rx.is_ended());
        assert_eq!(rx.read().unwrap_err(), Ended::Drained);
        assert_eq!(
            rx.try_read().unwrap_err(),
            TryReadError::Ended(Ended::Drained)
        );
        assert_eq!(
            rx.read_deadline(later()).unwrap_err(),
            ReadDeadlineError::Ended(Ended::Drained)
        );
    });
}

fn full_means_capacity_unread<K: ProducerKind>(
    mut tx: Producer<u64, K>,
    mut rx: Consumer<u64, Exclusive>,
) {
    let capacity = tx.capacity();
    for lap in 0..3 {
        for number in 0..capacity {
            assert_eq!(tx.free(), capacity - number, "lap {lap}");
            tx.try_publish(number as u64).unwrap();
        }
        assert_eq!(tx.free(), 0);
        let refused = tx.try_publish(99).unwrap_err();
        assert!(
            matches!(refused, TryPublishError::Full(99)),
            "the event comes back"
        );
        let held = rx.try_read().unwrap();
        assert_eq!(held.len(), capacity);
        assert!(
            tx.try_publish(99).is_err(),
            "what a batch holds is not free yet"
        );
        assert!(
            held.iter().copied().eq(0..capacity as u64),
            "nothing was overwritten"
        );
    }
}

#[test]
fn full_means_exactly_the_capacity_is_unread_or_held() {
    limited(|| {
        for capacity in CAPACITIES {
            let (tx, rx) = spsc(capacity);
            assert_eq!(tx.capacity(), capacity.next_power_of_two());
            full_means_capacity_unread(tx, rx);
            let (tx, rx) = mpsc(capacity);
            full_means_capacity_unread(tx, rx);
        }
    });
}

fn claims_of_every_size_at_every_offset<K: ProducerKind>(
    mut tx: Producer<u64, K>,
    mut rx: Consumer<u64, Exclusive>,
) {
    let capacity = tx.capacity();
    let mut next = 0;
    for offset in 0..capacity {
        for size in 1..=capacity {
            let mut claim = tx.try_claim(size).unwrap();
            assert_eq!((claim.len(), claim.is_empty()), (size, false));
            assert_eq!(claim.sequences().start().get(), next as u64);
            for (slot, sequence) in claim.iter_mut().zip(next..) {
                // events carry their sequence plus 1000; a lap is at least as long as the capacity
                let old = slot.checked_sub(1000);
                assert!(
                    old.is_none_or(|old| old as usize + capacity <= sequence),
                    "a claim shows what its slots held: {old:?} at {sequence}"
                );
                assert!(*slot == 0 || old.is_some(), "{slot}");
                *slot = sequence as u64 + 1000;
            }
            assert_eq!(claim.publish().len(), size);
            let batch = rx.try_read().unwrap();
            assert_eq!(
                (batch.len(), batch.sequences().start().get()),
                (size, next as u64)
            );
            assert!(
                batch
                    .iter()
                    .copied()
                    .eq((next..next + size).map(|sequence| sequence as u64 + 1000))
            );
            next += size;
        }
        // so that the next round begins one slot further
        while next % capacity != (offset + 1) % capacity {
            tx.publish(next as u64 + 1000).unwrap();
            drop(rx.read().unwrap());
            next += 1;
        }
    }
}

#[test]
fn claims_and_batches_of_every_size_cross_the_lap_boundary_everywhere() {
    limited(|| {
        for capacity in [1, 2, 4, 16] {
            let (tx, rx) = spsc(capacity);
            claims_of_every_size_at_every_offset(tx, rx);
            let (tx, rx) = mpsc(capacity);
            claims_of_every_size_at_every_offset(tx, rx);
        }
    });
}

#[test]
fn a_claim_that_could_never_fit_is_refused_at_once() {
    limited(|| {
        let (mut tx, _rx) = mpsc::<u64>(3);
        for count in [0, 5, usize::MAX] {
            let too_large = ClaimError::TooLarge { count, capacity: 4 };
            assert_eq!(tx.claim(count).unwrap_err(), too_large);
            assert_eq!(tx.try_claim(count).unwrap_err(), too_large);
            assert_eq!(tx.claim_deadline(count, later()).unwrap_err(), too_large);
            let text = too_large.to_string();
            assert!(
                text.contains(&count.to_string()) && text.contains("between 1 and the capacity, 4"),
                "{text}"
            );
        }
        assert_eq!(tx.claim(4).unwrap().publish().len(), 4);
        assert_eq!(tx.try_claim(1).unwrap_err(), ClaimError::Full);
        assert_eq!(
            tx.claim_deadline(1, soon()).unwrap_err(),
            ClaimError::TimedOut
        );
    });
}

#[test]
fn sequences_of_a_dropped_claim_are_used_again_by_a_single_producer() {
    limited(|| {
        let (mut tx, mut rx) = spsc::<u64>(4);
        for number in 0..10 {
            drop(tx.claim(3).unwrap());
            assert_eq!(tx.publish(number).unwrap().get(), number);
            let batch = rx.try_read().unwrap();
            assert!(batch.iter().eq(&[number]));
            assert_eq!(batch.sequences().len(), 1);
        }
    });
}

#[test]
fn sequences_of_a_dropped_claim_are_stepped_over_by_readers_of_many_producers() {
    limited(|| {
        let (mut tx, mut rx) = mpsc::<u64>(8);
        for number in 0..20 {
            drop(tx.claim(2).unwrap());
            assert_eq!(tx.publish(number).unwrap().get(), 4 * number + 2);
            drop(tx.claim(1).unwrap());
            let mut batch = rx.try_read().unwrap();
            assert_eq!((batch.len(), batch.sequences().len()), (1, 4));
            assert!(batch.iter().eq(&[number]));
            assert_eq!((batch.iter().len(), batch.iter_mut().len()), (1, 1));
            assert!(batch.drain().eq([number]));
        }
        drop(tx.claim(8).unwrap());
        assert_eq!(
            tx.try_publish(0).unwrap_err().into_event(),
            0,
            "abandoned slots count until readers pass them"
        );
        let batch = rx.read().unwrap();
        assert!(batch.is_empty() && batch.iter().next().is_none());
        drop(batch);
        drop(tx.claim(3).unwrap());
        drop(tx);
        assert_eq!(rx.read().unwrap().len(), 0);
        assert_eq!(rx.read().unwrap_err(), Ended::Drained);
    });
}

fn long_batches_pass_a_small_ring<K: ProducerKind>(
    mut tx: Producer<u64, K>,
    mut rx: Consumer<u64, Exclusive>,
) {
    let size = 2 * tx.capacity() + 20;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            assert_eq!(tx.publish_batch(numbers(0..size)).unwrap(), size);
            assert_eq!(
                tx.publish_slice(&Vec::from_iter(numbers(size..2 * size)))
                    .unwrap(),
                size
            );
            assert_eq!(
                tx.publish_batch_deadline(numbers(2 * size..3 * size), later())
                    .unwrap(),
                size
            );
        });
        let mut next = 0;
        while let Ok(batch) = rx.read() {
            for event in &batch {
                assert_eq!(*event, next);
                next += 1;
            }
        }
        assert_eq!(next, 3 * size as u64);
    });
}

#[test]
fn a_batch_larger_than_the_ring_goes_out_in_order_in_chunks() {
    limited(|| {
        for capacity in CAPACITIES {
            let (tx, rx) = spsc(capacity);
            long_batches_pass_a_small_ring(tx, rx);
            let (tx, rx) = mpsc(capacity);
            long_batches_pass_a_small_ring(tx, rx);
        }
    });
}

fn try_batch_takes_what_fits<K: ProducerKind>(
    mut tx: Producer<u32, K>,
    mut rx: Consumer<u32, Exclusive>,
) {
    let mut numbers = 0..10;
    assert_eq!(tx.try_publish_batch(&mut numbers).unwrap(), 4);
    assert_eq!(tx.try_publish_batch(&mut numbers).unwrap(), 0);
    assert_eq!(
        numbers,
        4..10,
        "an event is taken from the iterator only once it has a slot"
    );
    let late = tx.publish_batch_deadline(&mut numbers, soon()).unwrap_err();
    assert_eq!((late.published, late.reason), (0, ClaimError::TimedOut));
    assert_eq!(numbers, 4..10);
    assert_eq!(rest(&mut rx), [0, 1, 2, 3]);
    let late = tx.publish_batch_deadline(&mut numbers, soon()).unwrap_err();
    assert_eq!(
        (late.published, late.reason, numbers),
        (4, ClaimError::TimedOut, 8..10)
    );
    assert!(late.to_string().contains("after 4 events"), "{late}");
    assert_eq!(rest(&mut rx), [4, 5, 6, 7]);
    assert_eq!(tx.try_publish_slice(&[8, 9, 10, 11, 12]).unwrap(), 4);
    assert_eq!(rest(&mut rx), [8, 9, 10, 11]);
    assert_eq!(tx.publish_batch([]).unwrap(), 0);
}

#[test]
fn a_trying_batch_publishes_what_fits_and_leaves_the_rest() {
    limited(|| {
        let (tx, rx) = spsc(4);
        try_batch_takes_what_fits(tx, rx);
        let (tx, rx) = mpsc(4);
        try_batch_takes_what_fits(tx, rx);
    });
}

fn a_refused_claim_leaves_room<K: ProducerKind>(
    mut tx: Producer<u64, K>,
    mut rx: Consumer<u64, Exclusive>,
) {
    tx.publish_batch([0, 1]).unwrap();
    assert_eq!(tx.try_claim(3).unwrap_err(), ClaimError::Full);
    assert_eq!(
        tx.try_publish_batch([2, 3, 4]).unwrap(),
        2,
        "two slots are free"
    );
    assert_eq!(rest(&mut rx), [0, 1, 2, 3]);
}

#[test]
fn the_room_that_was_too_small_for_a_claim_still_serves_a_batch() {
    limited(|| {
        let (tx, rx) = spsc(4);
        a_refused_claim_leaves_room(tx, rx);
        let (tx, rx) = mpsc(4);
        a_refused_claim_leaves_room(tx, rx);
    });
}

#[test]
fn a_deadline_in_the_past_publishes_if_there_is_room() {
    limited(|| {
        let (mut tx, mut rx) = spsc::<String>(1);
        let past = Instant::now();
        tx.publish_deadline("a".into(), past).unwrap();
        let refused = tx.publish_deadline("b".into(), past).unwrap_err();
        assert!(matches!(refused, PublishDeadlineError::TimedOut(_)));
        assert_eq!(refused.into_event(), "b");
        let mut calls = 0;
        assert!(tx.publish_with_deadline(|_| calls += 1, past).is_err());
        assert!(tx.try_publish_with(|_| calls += 1).is_err());
        assert_eq!(calls, 0, "a refused publication does not call its closure");
        assert!(rx.read().unwrap().iter().eq(["a"]));
    });
}

#[test]
fn drain_takes_events_out_and_leaves_the_rest_in_the_batch() {
    limited(|| {
        let census = Census::default();
        let (mut tx, mut rx) = spsc::<Counted>(8);
        tx.publish_batch(Vec::from_iter((0..6).map(|number| census.event(number))))
            .unwrap();
        let mut batch = rx.read().unwrap();
        let first: Vec<u64> = batch.drain().take(2).map(|event| event.number).collect();
        assert_eq!(
            (first, census.living()),
            (vec![0, 1], 4),
            "what was taken is gone at once"
        );
        assert!(
            batch
                .iter()
                .map(|event| event.number)
                .eq([0, 0, 2, 3, 4, 5]),
            "defaults stand where events were taken"
        );
        batch.iter_mut().for_each(|event| event.number += 1);
        assert_eq!(
            batch.drain().map(|event| event.number).sum::<u64>(),
            1 + 1 + 3 + 4 + 5 + 6
        );
        assert_eq!(census.living(), 0);
    });
}

#[test]
fn every_event_is_dropped_once_whoever_goes_first() {
    limited(|| {
        for tx_first in [true, false] {
            let census = Census::default();
            let (mut tx, mut rx) = mpsc::<Counted>(4);
            let mut other = tx.clone();
            for number in 0..6 {
                tx.publish(census.event(number)).unwrap();
                other.publish(census.event(number)).unwrap();
                assert!(census.living() <= 4, "a slot holds one event");
                if number % 2 == 0 {
                    drop(rx.read().unwrap());
                } else {
                    assert_eq!(rx.read().unwrap().drain().count(), 2);
                }
            }
            tx.publish(census.event(6)).unwrap(); // unread
            if tx_first {
                drop((tx, other));
                drop(rx);
            } else {
                drop(rx);
                let refused = tx.publish(census.event(7)).unwrap_err();
                assert_eq!(refused.into_event().number, 7);
                drop((tx, other));
            }
            assert_eq!(census.living(), 0);
        }
    });
}

#[test]
fn a_forgotten_batch_of_a_consumer_is_freed_by_its_next_read() {
    limited(|| {
        let (mut tx, mut rx) = spsc::<u64>(2);
        for lap in 0..4 {
            tx.publish_batch([lap, lap]).unwrap();
            std::mem::forget(rx.read().unwrap());
            assert!(tx.try_publish(0).is_err());
            assert_eq!(
                rx.try_read().unwrap_err(),
                TryReadError::Empty,
                "nothing is delivered twice"
            );
            assert_eq!(tx.free(), 2);
        }
    });
}

#[test]
fn a_forgotten_batch_of_a_worker_is_freed_by_its_next_read() {
    limited(|| {
        let (mut tx, mut rx) = spmc::<u64>(2);
        for lap in 0..4 {
            tx.publish_batch([lap, lap]).unwrap();
            std::mem::forget(rx.read().unwrap());
            assert!(tx.try_publish(0).is_err());
            assert_eq!(
                rx.try_read().unwrap_err(),
                TryReadError::Empty,
                "nothing is delivered twice"
            );
            assert_eq!(
                tx.free(),
                2,
                "or its producer would wait for ever, and it for its producer"
            );
        }
    });
}

#[test]
fn a_forgotten_claim_of_a_single_producer_costs_nothing() {
    limited(|| {
        let (mut tx, mut rx) = spsc::<u64>(2);
        for number in 0..6 {
            std::mem::forget(tx.claim(2).unwrap());
            assert_eq!(tx.publish(number).unwrap().get(), number);
            assert!(rx.try_read().unwrap().iter().eq(&[number]));
        }
    });
}

#[test]
fn a_forgotten_claim_on_one_bus_says_nothing_about_the_next() {
    limited(|| {
        for _ in 0..100 {
            let (mut tx, rx) = mpsc::<u64>(1);
            std::mem::forget(tx.claim(1).unwrap());
            drop((tx, rx)); // the next ring may stand at the same address
            let (mut tx, _rx) = mpsc::<u64>(1);
            tx.publish(0).unwrap();
            let refused = tx.publish_deadline(1, Instant::now()).unwrap_err();
            assert!(
                matches!(refused, PublishDeadlineError::TimedOut(1)),
                "{refused}: nothing of this bus is held here"
            );
        }
    });
}

#[test]
fn each_event_goes_to_exactly_one_worker_and_a_held_batch_holds_only_producers_back() {
    limited(|| {
        let (mut tx, mut one) = mpmc::<u64>(8);
        let mut other = one.clone();
        tx.publish_batch(numbers(0..8)).unwrap();
        let held = one.try_read().unwrap();
        assert_eq!(held.len(), 4, "a fair share of two");
        let mut seen: Vec<u64> = held.iter().copied().collect();
        while let Ok(batch) = other.try_read() {
            seen.extend(&batch);
        }
        assert_eq!((seen, other.lag()), (Vec::from_iter(0..8), 0));
        assert!(
            tx.try_publish(8).is_err(),
            "slots are freed up to the oldest that somebody holds"
        );
        drop(held);
        assert_eq!(tx.free(), 8);
        drop(tx);
        assert!(other.is_ended());
        assert_eq!(one.read().unwrap_err(), Ended::Drained);
    });
}

#[test]
fn events_of_no_size_and_of_large_alignment_are_events() {
    #[derive(Clone, Copy, Debug, Default, PartialEq)]
    #[repr(align(256))]
    struct Aligned([u8; 3]);
    limited(|| {
        let (mut tx, mut rx) = mpsc::<()>(4);
        assert_eq!(tx.try_publish_batch([(); 9]).unwrap(), 4);
        assert_eq!(rx.read().unwrap().drain().count(), 4);
        let (mut tx, mut rx) = spsc::<Aligned>(2);
        tx.publish_slice(&[Aligned([1; 3]), Aligned([2; 3])])
            .unwrap();
        let batch = rx.read().unwrap();
        assert!(batch.iter().eq(&[Aligned([1; 3]), Aligned([2; 3])]));
        assert!(
            batch
                .iter()
                .all(|event| std::ptr::from_ref(event).addr() % 256 == 0)
        );
    });
}

#[test]
fn the_queues_panic_on_a_bad_capacity_with_the_text_of_the_error() {
    let text = common::panic_of(|| spsc::<u64>(0));
    assert_eq!(text, "capacity is 0: accepted is 1 to 2147483648");
    assert_eq!(
        common::panic_of(|| mpmc::<u64>((1 << 31) + 1)),
        text.replace("is 0", "is 2147483649")
    );
}
