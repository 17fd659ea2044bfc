//! Events through a bus: one at a time and in batches, from one producer and from two, through one ring and through lanes.
//!
//! `cargo bench --bench throughput`. The consumer compares and counts each event, so it also proves the order.

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringway::{Batch, BusConfig, Consumer, Exclusive, LaneConsumer, Topology, Wait};
use std::time::Duration;

/// Events in one iteration: enough that the start of the threads does not show.
const EVENTS: u64 = 1_000;
/// Events published at once where they are published in batches.
const BATCH: u64 = 64;
/// The producer's number stands above its count of events.
const COUNTER_BITS: u32 = 48;

/// Passes so many events, and tells how long that took.
type Run = fn(events: u64) -> Duration;

fn config(wait: Wait) -> BusConfig {
    BusConfig {
        wait,
        ..BusConfig::default()
    }
}

/// A reading end.
trait Read {
    fn read(&mut self) -> Batch<'_, u64, Exclusive>;
}

impl Read for Consumer<u64, Exclusive> {
    fn read(&mut self) -> Batch<'_, u64, Exclusive> {
        self.read().expect("the bus runs until all is read")
    }
}

impl Read for LaneConsumer<u64> {
    fn read(&mut self) -> Batch<'_, u64, Exclusive> {
        self.read().expect("the lanes are open until all is read")
    }
}

/// Takes `events` events and checks that each producer's come in order.
fn consume<const PRODUCERS: usize>(mut consumer: impl Read, events: u64) {
    let mut next: [u64; PRODUCERS] =
        std::array::from_fn(|producer| (producer as u64) << COUNTER_BITS);
    let mut seen = 0;
    while seen < events {
        let batch = consumer.read();
        for event in &batch {
            let next = &mut next[(event >> COUNTER_BITS) as usize];
            assert_eq!(*event, *next, "out of order");
            *next += 1;
        }
        seen += batch.len() as u64;
    }
}

fn spsc_one_at_a_time(events: u64) -> Duration {
    let mut topology =
        Topology::single(config(Wait::BusySpin), u64::default).expect("a valid configuration");
    let (_, consumer) = topology.stage("consumer").consumer_mut();
    let (_bus, mut producer) = topology.start().expect("a valid topology");
    let produce = move || {
        for event in 0..events {
            producer.publish(event).expect("the bus is open");
        }
    };
    support::timed(vec![produce], move || consume::<1>(consumer, events))
}

fn spsc_batches(events: u64) -> Duration {
    let mut topology =
        Topology::single(config(Wait::BusySpin), u64::default).expect("a valid configuration");
    let (_, consumer) = topology.stage("consumer").consumer_mut();
    let (_bus, mut producer) = topology.start().expect("a valid topology");
    let produce = move || {
        let mut batch = [0; BATCH as usize];
        for first in (0..events).step_by(BATCH as usize) {
            let size = BATCH.min(events - first);
            let batch = &mut batch[..size as usize];
            batch
                .iter_mut()
                .zip(first..)
                .for_each(|(slot, event)| *slot = event);
            producer.publish_slice(batch).expect("the bus is open");
        }
    };
    support::timed(vec![produce], move || consume::<1>(consumer, events))
}

/// Three threads share what may be two cores: on such a machine a spinning thread would hold up the others.
fn wait_of_three() -> Wait {
    if ringway::usable_cores() < 3 {
        Wait::Yield
    } else {
        Wait::BusySpin
    }
}

/// Two producers that publish their halves one at a time.
fn halves<P>(
    events: u64,
    producer: &P,
    publish: impl Fn(&mut P, u64) + Copy + Send,
) -> Vec<impl FnOnce() + Send>
where
    P: Clone + Send,
{
    let halves = [events.div_ceil(2), events / 2];
    let produce = |(index, mut producer): (usize, P)| {
        let (first, count) = ((index as u64) << COUNTER_BITS, halves[index]);
        move || (first..first + count).for_each(|event| publish(&mut producer, event))
    };
    let producers = [producer.clone(), producer.clone()].into_iter().enumerate();
    producers.map(produce).collect()
}

fn mpsc_one_at_a_time(events: u64) -> Duration {
    let mut topology =
        Topology::multi(config(wait_of_three()), u64::default).expect("a valid configuration");
    let (_, consumer) = topology.stage("consumer").consumer_mut();
    let (_bus, producer) = topology.start().expect("a valid topology");
    let producers = halves(events, &producer, |producer, event| {
        producer.publish(event).expect("the bus is open");
    });
    support::timed(producers, move || consume::<2>(consumer, events))
}

fn lanes_one_at_a_time(events: u64) -> Duration {
    let config = config(wait_of_three());
    let (producer, consumer) = ringway::lanes_with::<u64>(config).expect("a valid configuration");
    let producers = halves(events, &producer, |producer, event| {
        producer.publish(event).expect("the lanes are open");
    });
    support::timed(producers, move || consume::<2>(consumer, events))
}

fn throughput(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("throughput");
    group.throughput(Throughput::Elements(EVENTS));
    let rows: [(&str, Run); 4] = [
        ("spsc one at a time", spsc_one_at_a_time),
        ("spsc batches of 64", spsc_batches),
        ("mpsc one at a time", mpsc_one_at_a_time),
        ("lanes one at a time", lanes_one_at_a_time),
    ];
    for (name, run) in rows {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| run(iterations * EVENTS))
        });
    }
    group.finish();
}

criterion_group!(benches, throughput);
criterion_main!(benches);
