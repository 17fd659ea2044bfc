//! One event in flight, to and fro between two threads on cores of their own.
//!
//! `cargo bench --bench latency`. A figure is a round trip: two hand-offs. The echo is compared, so it also proves the order.

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use ringway::{Bus, BusConfig, Consumer, Exclusive, Producer, Topology, Wait};
use std::time::Duration;

type OneToOne<T> = (Bus<T>, Producer<T>, Consumer<T, Exclusive>);

fn one_to_one<T: Default + Send + 'static>(wait: Wait) -> OneToOne<T> {
    let config = BusConfig {
        wait,
        ..BusConfig::default()
    };
    let mut topology = Topology::single(config, T::default).expect("a valid configuration");
    let (_, consumer) = topology.stage("consumer").consumer_mut();
    let (bus, producer) = topology.start().expect("a valid topology");
    (bus, producer, consumer)
}

/// How long so many trips took; `of` makes an event.
fn round_trips<T>(trips: u64, wait: Wait, of: fn(u64) -> T) -> Duration
where
    T: Clone + Default + PartialEq + Send + 'static,
{
    let (_there, mut ping_out, mut echo_in) = one_to_one::<T>(wait);
    let (_back, mut echo_out, mut ping_in) = one_to_one::<T>(wait);
    let ping = move || {
        for trip in 0..trips {
            ping_out.publish(of(trip)).expect("the bus is open");
            let batch = ping_in.read().expect("the echo runs until all is sent");
            assert!(batch.iter().eq([&of(trip)]), "another event came back");
        }
    };
    let echo = move || {
        for _ in 0..trips {
            let batch = echo_in.read().expect("the ping runs until all is back");
            for event in &batch {
                echo_out.publish(event.clone()).expect("the bus is open");
            }
        }
    };
    support::timed(vec![echo], ping)
}

fn latency(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("round trip");
    for (name, wait) in [("spinning", Wait::BusySpin), ("adaptive", Wait::Adaptive)] {
        group.bench_function(format!("8 bytes, {name}"), |bencher| {
            bencher.iter_custom(|trips| round_trips(trips, wait, |trip| trip));
        });
        group.bench_function(format!("128 bytes, {name}"), |bencher| {
            bencher.iter_custom(|trips| round_trips(trips, wait, |trip| [trip; 16]));
        });
    }
    group.finish();
}

criterion_group!(benches, latency);
criterion_main!(benches);
