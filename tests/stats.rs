//! What a bus tells about itself: positions, lags, counters.

mod common;

use common::{config, limited, numbers};
use ringway::{BusStats, OnPanic, StageStats, Topology, Wait};

fn stage<'s>(stats: &'s BusStats, name: &str) -> &'s StageStats {
    stats
        .stages
        .iter()
        .find(|stage| stage.name == name)
        .expect("the stage is there")
}

#[test]
fn positions_and_lags_follow_what_was_published_and_freed() {
    limited(|| {
        let mut topology = Topology::single(config(8), || 0).unwrap();
        let (first, mut rx) = topology.stage("first").batch_max(3).consumer();
        let (_, mut behind) = topology.stage("second").after([first]).consumer();
        let (bus, mut producer) = topology.start().unwrap();
        let fresh = bus.stats();
        assert_eq!(
            (
                fresh.capacity,
                fresh.position,
                fresh.stages.len(),
                fresh.producers.len()
            ),
            (8, 0, 2, 1)
        );
        producer.publish_batch(numbers(0..6)).unwrap();
        producer.publish(6).unwrap();
        let held = rx.read().unwrap();
        let stats = bus.stats();
        assert_eq!(
            (
                stats.position,
                stats.producers[0].events,
                stats.producers[0].batches
            ),
            (7, 7, 1)
        );
        assert_eq!(
            (stage(&stats, "first").position, stage(&stats, "first").lag),
            (0, 7),
            "a held batch is not passed"
        );
        drop(held);
        drop(behind.read().unwrap());
        let stats = bus.stats();
        let first = stage(&stats, "first");
        assert_eq!(
            (
                first.position,
                first.lag,
                first.events,
                first.batches,
                first.ended
            ),
            (3, 4, 3, 1, false)
        );
        assert_eq!(
            (
                stage(&stats, "second").position,
                stage(&stats, "second").events
            ),
            (3, 3)
        );
        drop(rx);
        let stats = bus.stats();
        assert!(stage(&stats, "first").ended && !stage(&stats, "second").ended);
        drop(producer);
        assert_eq!(bus.stats().producers, []);
        bus.shutdown().unwrap();
    });
}

#[test]
fn groups_count_what_all_of_their_members_did() {
    limited(|| {
        let mut topology = Topology::multi(config(16), || 0).unwrap();
        topology.stage("shared").share(3, |_| |_: &u64, _| ());
        topology
            .stage("keyed")
            .share_by(2, |event: &u64| *event, |_| |_: &u64, _| ());
        let (bus, mut producer) = topology.start().unwrap();
        drop(producer.claim(2).unwrap());
        producer.publish_batch(numbers(0..100)).unwrap();
        let other = producer.clone();
        assert_eq!(bus.stats().producers.len(), 2);
        drop((producer, other));
        common::until(|| bus.stats().stages.iter().all(|stage| stage.ended));
        let stats = bus.stats();
        let (shared, keyed) = (stage(&stats, "shared"), stage(&stats, "keyed"));
        assert_eq!(
            (shared.events, shared.position, shared.lag, shared.ended),
            (100, 102, 0, true)
        );
        assert_eq!(
            (keyed.events, keyed.position, keyed.lag, keyed.ended),
            (200, 102, 0, true),
            "each member looks"
        );
        assert!(shared.batches > 0 && keyed.batches > 0);
        bus.shutdown().unwrap();
    });
}

#[test]
fn stalls_parks_and_wakes_are_counted_where_they_happen() {
    limited(|| {
        let mut topology = Topology::single(config(1), || 0).unwrap();
        topology.producer_wait(Wait::Park);
        let (_, mut rx) = topology.stage("reader").wait(Wait::Park).consumer();
        let (bus, mut producer) = topology.start().unwrap();
        let publisher = std::thread::spawn(move || {
            producer.publish_batch(numbers(0..2)).unwrap();
            producer
        });
        common::until(|| bus.stats().producers[0].parks > 0);
        drop(rx.read().unwrap());
        let mut producer = publisher.join().unwrap();
        let stats = bus.stats();
        assert!(stats.producers[0].stalls > 0);
        assert!(
            stage(&stats, "reader").wakes > 0,
            "the reader woke its producer"
        );
        drop(rx.read().unwrap());
        let reader = std::thread::spawn(move || rx.read().map(|batch| batch.len()));
        common::until(|| stage(&bus.stats(), "reader").parks > 0);
        producer.publish(2).unwrap();
        assert_eq!(reader.join().unwrap(), Ok(1));
        let stats = bus.stats();
        assert!(stage(&stats, "reader").stalls > 0 && stats.producers[0].wakes > 0);
    });
}

#[test]
fn failures_are_counted_and_the_failed_events_too() {
    limited(|| {
        let mut topology = Topology::single(config(4), || 0).unwrap();
        topology
            .stage("skips")
            .on_panic(OnPanic::Skip)
            .try_handle(|event, _| match event % 2 {
                0 => Ok(()),
                _ => Err("odd".into()),
            });
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish_batch(numbers(0..10)).unwrap();
        drop(producer);
        common::until(|| stage(&bus.stats(), "skips").ended);
        let stats = bus.stats();
        assert_eq!(
            (
                stage(&stats, "skips").events,
                stage(&stats, "skips").failures
            ),
            (10, 5)
        );
        bus.shutdown().unwrap();
    });
}

#[test]
fn nobody_sleeps_on_a_bus_that_only_spins() {
    limited(|| {
        let mut topology = Topology::single(config(4), || 0).unwrap();
        topology.producer_wait(Wait::Yield);
        topology.stage("yields").wait(Wait::Yield).handle(|_, _| ());
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish_batch(numbers(0..1000)).unwrap();
        let stats = bus.stats();
        assert_eq!((stats.producers[0].parks, stats.producers[0].wakes), (0, 0));
        assert_eq!(
            (stage(&stats, "yields").parks, stage(&stats, "yields").wakes),
            (0, 0)
        );
        drop(producer);
        bus.shutdown().unwrap();
    });
}

#[test]
fn dropped_events_are_counted_for_each_producer_and_for_all_that_ever_were() {
    let mut topology = Topology::multi(config(2), || 0).unwrap();
    let (_, _reader) = topology.stage("never read").consumer();
    let (bus, mut producer) = topology.start().unwrap();
    let mut other = producer.clone();
    for event in 0..5 {
        producer.publish_or_drop(event).unwrap();
    }
    other.publish_or_drop(5).unwrap();
    let each = |bus: &ringway::Bus<u64>| {
        let stats = bus.stats();
        let producers = stats.producers.iter().map(|producer| producer.dropped);
        (Vec::from_iter(producers), stats.dropped)
    };
    assert_eq!(each(&bus), (vec![3, 1], 4));
    drop(producer);
    assert_eq!(each(&bus), (vec![1], 4));
    bus.halt();
}
