//! What statistics cost: the same stream with nobody looking, and with a thread that takes a snapshot every millisecond.
//!
//! `cargo bench --bench stats`. The two figures must not differ by more than their noise.

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringway::{BusConfig, Topology, Wait};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Events in one iteration: enough that the start of the threads does not show.
const EVENTS: u64 = 1_000;
/// Between two snapshots.
const PAUSE: Duration = Duration::from_millis(1);

/// Streams `events` events from one thread to another, while a third may look.
fn stream(events: u64, observed: bool) -> Duration {
    let config = BusConfig {
        wait: Wait::BusySpin,
        ..BusConfig::default()
    };
    let mut topology = Topology::single(config, u64::default).expect("a valid configuration");
    let (_, mut consumer) = topology.stage("consumer").consumer_mut();
    let (bus, mut producer) = topology.start().expect("a valid topology");
    let produce = move || {
        for event in 0..events {
            producer.publish(event).expect("the bus is open");
        }
    };
    let consume = move || {
        let mut next = 0;
        while next < events {
            for event in &consumer.read().expect("the bus runs until all is read") {
                assert_eq!(*event, next, "out of order");
                next += 1;
            }
        }
    };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        if observed {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    black_box(bus.stats());
                    thread::sleep(PAUSE);
                }
            });
        }
        let elapsed = support::timed(vec![produce], consume);
        done.store(true, Ordering::Relaxed);
        elapsed
    })
}

fn stats(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stats");
    group.throughput(Throughput::Elements(EVENTS));
    for (name, observed) in [
        ("nobody looks", false),
        ("a snapshot every millisecond", true),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| stream(iterations * EVENTS, observed))
        });
    }
    group.finish();
}

criterion_group!(benches, stats);
criterion_main!(benches);
