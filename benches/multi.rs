//! Many producers: what a publication costs alone, beside the locked instruction in it, and how it fares among others.
//!
//! `cargo bench --bench multi`. Every consumer compares each event with the next that it awaits from its producer.

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringway::{BusConfig, Consumer, Exclusive, Multi, Producer, Topology, Wait};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Events in one iteration: enough that the start of the threads does not show.
const EVENTS: u64 = 8192;
/// Events published at once where they are published in batches.
const BATCH: usize = 64;
/// The producer's number stands above its count of events.
const COUNTER_BITS: u32 = 48;
const PRODUCERS_MAX: usize = 8;

fn ends() -> (Producer<u64, Multi>, Consumer<u64, Exclusive>) {
    let config = BusConfig {
        wait: Wait::Yield, // threads may outnumber cores
        ..BusConfig::default()
    };
    let mut topology = Topology::multi(config, u64::default).expect("a valid configuration");
    let (_, consumer) = topology.stage("consumer").consumer_mut();
    let (_bus, producer) = topology.start().expect("a valid topology");
    (producer, consumer)
}

/// One thread fills an empty ring, which is timed, and drains it, which is not.
fn publish_alone(rings: u64) -> Duration {
    let (mut producer, mut consumer) = ends();
    let mut spent = Duration::ZERO;
    for _ in 0..rings {
        let start = Instant::now();
        for event in 0..EVENTS {
            producer.try_publish(event).expect("the ring is empty");
        }
        spent += start.elapsed();
        let mut next = 0;
        while let Ok(batch) = consumer.try_read() {
            for event in &batch {
                assert_eq!(*event, next, "out of order");
                next += 1;
            }
        }
        assert_eq!(next, EVENTS);
    }
    spent
}

/// The locked instruction alone: no ring of many producers is faster.
fn fetch_add(rings: u64) -> Duration {
    let counter = AtomicU64::new(0);
    let counter = black_box(&counter);
    let start = Instant::now();
    for _ in 0..rings * EVENTS {
        counter.fetch_add(1, Ordering::AcqRel);
    }
    start.elapsed()
}

/// The same with one store of what it returned, which the next locked instruction waits for: no ring that stores an event is.
fn fetch_add_and_store(rings: u64) -> Duration {
    let (counter, slot) = (AtomicU64::new(0), AtomicU64::new(0));
    let (counter, slot) = black_box((&counter, &slot));
    let start = Instant::now();
    for _ in 0..rings * EVENTS {
        // relaxed: nobody reads it
        slot.store(counter.fetch_add(1, Ordering::AcqRel), Ordering::Relaxed);
    }
    start.elapsed()
}

fn consume(mut consumer: Consumer<u64, Exclusive>, events: u64) {
    let first = |producer: usize| (producer as u64) << COUNTER_BITS;
    let mut next: [u64; PRODUCERS_MAX] = std::array::from_fn(first);
    let mut seen = 0;
    while seen < events {
        let batch = consumer.read().expect("the bus runs until all is read");
        for event in &batch {
            let next = &mut next[(event >> COUNTER_BITS) as usize];
            assert_eq!(*event, *next, "out of order");
            *next += 1;
        }
        seen += batch.len() as u64;
    }
}

fn publish(mut producer: Producer<u64, Multi>, first: u64, count: u64, batch: usize) {
    if batch == 1 {
        for event in first..first + count {
            producer.publish(event).expect("the bus is open");
        }
        return;
    }
    for at in (first..first + count).step_by(batch) {
        let size = (first + count - at).min(batch as u64) as usize;
        let events = (0..size).map(|offset| at + offset as u64);
        producer.publish_batch(events).expect("the bus is open");
    }
}

fn among(producers: usize, batch: usize, rings: u64) -> Duration {
    let count = rings * EVENTS / producers as u64;
    let (producer, consumer) = ends();
    let one = |(index, producer): (usize, Producer<u64, Multi>)| {
        move || publish(producer, (index as u64) << COUNTER_BITS, count, batch)
    };
    let producers = vec![producer; producers];
    let events = count * producers.len() as u64;
    support::timed(
        producers.into_iter().enumerate().map(one).collect(),
        move || consume(consumer, events),
    )
}

fn multi(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("multi");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("publish alone", |b| b.iter_custom(publish_alone));
    group.bench_function("fetch-add", |b| b.iter_custom(fetch_add));
    group.bench_function("fetch-add and store", |b| {
        b.iter_custom(fetch_add_and_store)
    });
    for producers in [1, 2, 4, PRODUCERS_MAX] {
        for batch in [1, BATCH] {
            group.bench_function(format!("{producers} producers, batches of {batch}"), |b| {
                b.iter_custom(|rings| among(producers, batch, rings))
            });
        }
    }
    group.finish();
}

criterion_group!(benches, multi);
criterion_main!(benches);
