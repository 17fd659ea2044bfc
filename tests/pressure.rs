//! The thread that watches a bus: what it finds, what it tells, and that it stands in nobody's way.

mod common;

use common::{Census, Counted, limited, numbers, until};
use ringway::{
    BusConfig, ErrorKind, OnLag, Pressure, PressureLevel, PressureReport, SubscribeConfig, Topology,
};
#[cfg(unix)]
use ringway::{Journal, JournalConfig, Plain};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// A stage counts as stalled late, or soon.
const LATE: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(20);

/// Long enough for a look, on any machine.
const SECONDS: Duration = Duration::from_secs(10);

fn watched(capacity: usize, stalled_after: Duration) -> BusConfig {
    BusConfig {
        capacity,
        pressure: Some(Pressure {
            stalled_after,
            ..Pressure::default()
        }),
        ..BusConfig::default()
    }
}

/// What the callback is told.
fn listen<T: Send + 'static>(
    topology: &mut Topology<T, ringway::Single>,
) -> Receiver<PressureReport> {
    let (tell, told) = mpsc::channel();
    topology.on_pressure(move |report| {
        let _ = tell.send(report.clone()); // the test may be over
    });
    told
}

#[test]
fn the_stage_that_holds_the_ring_back_is_named_and_the_level_comes_and_goes() {
    limited(|| {
        let mut topology = Topology::single(watched(64, LATE), || 0).unwrap();
        let before = topology.stage("before").handle(|_, _| {});
        let (slow, mut reader) = topology
            .stage("slow")
            .after([before])
            .batch_max(40)
            .consumer();
        topology.stage("after").after([slow]).handle(|_, _| {});
        let told = listen(&mut topology);
        let (bus, mut producer) = topology.start().unwrap();
        assert_eq!(bus.pressure().unwrap().level, PressureLevel::Low);

        producer.publish_batch(numbers(0..64)).unwrap();
        let report = loop {
            let report = told.recv().unwrap();
            if report.stage.as_deref() == Some("slow") {
                break report; // it may first have seen `before` at work
            }
        };
        assert_eq!((report.level, report.used), (PressureLevel::High, 64));
        assert_eq!((report.lag, report.sequence.get()), (64, 0));
        assert!(!report.stalled);

        assert_eq!(reader.read().unwrap().len(), 40);
        until(|| bus.pressure().unwrap().used == 24); // 37 percent
        let report = bus.pressure().unwrap();
        assert_eq!(report.level, PressureLevel::Low);
        assert_eq!(report.stage.as_deref(), Some("slow"));
        assert_eq!((report.lag, report.sequence.get()), (24, 40));
        // it may first have seen `after` at work
        while told.recv().unwrap().level == PressureLevel::High {}

        drop((producer, reader));
        bus.shutdown().unwrap();
    });
}

#[test]
fn when_another_stage_is_to_blame_it_is_told_and_each_stage_by_its_own_lag() {
    limited(|| {
        let mut topology = Topology::single(watched(64, LATE), || 0).unwrap();
        let (first, mut first_reader) = topology.stage("first").batch_max(10).consumer();
        let (_, second_reader) = topology.stage("second").after([first]).consumer();
        let told = listen(&mut topology);
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish_batch(numbers(0..64)).unwrap();
        let report = told.recv().unwrap();
        assert_eq!(report.level, PressureLevel::High);
        assert_eq!(report.stage.as_deref(), Some("first"));

        // `second` has not even begun, but has less to do
        drop(first_reader.read().unwrap());
        until(|| bus.pressure().unwrap().sequence.get() == 10);
        let report = bus.pressure().unwrap();
        assert_eq!(report.stage.as_deref(), Some("first"));
        assert_eq!((report.used, report.lag), (64, 54));

        while first_reader.try_read().is_ok() {} // dropped at once
        let report = told.recv_timeout(SECONDS).expect("another one is named");
        assert_eq!(report.level, PressureLevel::High, "as before");
        assert_eq!(report.stage.as_deref(), Some("second"));
        drop((producer, first_reader, second_reader));
        bus.shutdown().unwrap();
    });
}

#[cfg(unix)]
#[test]
fn sequences_are_those_of_the_journal_where_numbers_do_not_begin_at_0() {
    limited(|| {
        let scratch = common::journal::Scratch::new("pressure");
        for life in 0..2 {
            let journal = Journal::open(
                scratch.path(),
                JournalConfig::default(),
                Plain::<u64>::new(),
            );
            let mut topology = Topology::single(watched(8, LATE), || 0).unwrap();
            topology.stage("journal").journal(journal.unwrap());
            let (_, mut reader) = topology.stage("slow").consumer();
            let (bus, mut producer) = topology.start().unwrap();
            let first = life * 5;
            assert_eq!(bus.pressure().unwrap().sequence.get(), first, "none so far");
            producer.publish_batch(numbers(0..5)).unwrap();
            until(|| bus.pressure().unwrap().stage.as_deref() == Some("slow"));
            let report = bus.pressure().unwrap();
            assert_eq!((report.sequence.get(), report.lag), (first, 5));
            drop(reader.read().unwrap());
            until(|| bus.pressure().unwrap().stage.is_none());
            assert_eq!(bus.pressure().unwrap().sequence.get(), first + 5);
            drop((producer, reader));
            bus.shutdown().unwrap();
        }
    });
}

#[test]
fn a_stage_that_does_nothing_though_it_could_is_stalled_until_it_moves() {
    limited(|| {
        let mut topology = Topology::single(watched(1024, SOON), || 0).unwrap();
        let (slow, mut reader) = topology.stage("slow").consumer();
        topology.stage("after").after([slow]).handle(|_, _| {});
        let told = listen(&mut topology);
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish_batch(numbers(0..3)).unwrap();

        let report = told.recv().unwrap();
        assert!(report.stalled && report.still >= SOON, "{report:?}");
        assert_eq!(report.stage.as_deref(), Some("slow"));
        assert_eq!((report.level, report.lag), (PressureLevel::Low, 3));
        drop(reader.read().unwrap());
        assert!(!told.recv().unwrap().stalled);
        until(|| bus.pressure().unwrap().stage.is_none());

        drop((producer, reader));
        bus.shutdown().unwrap();
    });
}

#[test]
fn a_reader_that_joined_is_named_and_a_tap_only_if_it_holds_producers_back() {
    limited(|| {
        let mut topology = Topology::single(watched(64, LATE), || 0).unwrap();
        let edit = topology.stage("edit").handle_mut(|_, _| {});
        let skipping = topology.stage("skipping").after([edit]).tap(OnLag::Skip);
        let (bus, mut producer) = topology.start().unwrap();
        let late = bus.subscribe("late", SubscribeConfig::default()).unwrap();
        let also_skipping = bus.tap("also skipping", OnLag::Skip).unwrap();
        producer.publish_batch(numbers(0..64)).unwrap();
        until(|| bus.pressure().unwrap().stage.as_deref() == Some("late"));
        let report = bus.pressure().unwrap();
        assert_eq!((report.level, report.lag), (PressureLevel::High, 64));

        drop(late);
        until(|| bus.pressure().unwrap().stage.is_none());
        assert_eq!(bus.pressure().unwrap().used, 0, "no tap is in the way");
        let after = Duration::from_secs(3600);
        let evicted = bus.tap("evicted", OnLag::Evict { after }).unwrap();
        producer.publish_batch(numbers(64..128)).unwrap();
        until(|| bus.pressure().unwrap().stage.as_deref() == Some("evicted"));
        drop((evicted, skipping, also_skipping, producer));
        bus.shutdown().unwrap();
    });
}

#[test]
fn nobody_is_blamed_once_the_bus_has_ended() {
    limited(|| {
        let mut topology = Topology::single(watched(8, LATE), || 0).unwrap();
        let (_, reader) = topology.stage("slow").consumer();
        let told = listen(&mut topology);
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish_batch(numbers(0..8)).unwrap();
        assert_eq!(told.recv().unwrap().level, PressureLevel::High);
        bus.halt();
        let last = told.recv().unwrap();
        assert_eq!(
            (last.level, last.used, last.stage),
            (PressureLevel::Low, 0, None)
        );
        assert!(
            told.recv().is_err(),
            "the thread has ended, and dropped the callback"
        );
        assert_eq!(bus.pressure().unwrap().level, PressureLevel::Low);
        drop((reader, producer));
    });
}

/// Something that only the callback holds.
fn guarded(topology: &mut Topology<Counted, ringway::Single>) -> std::sync::Weak<()> {
    let held = Arc::new(());
    let weak = Arc::downgrade(&held);
    topology.on_pressure(move |_| drop(held.clone()));
    weak
}

#[test]
fn it_keeps_nothing_alive() {
    for detach in [false, true] {
        limited(move || {
            let census = Census::default();
            let made = census.clone();
            let config = watched(64, Duration::from_millis(1)); // it looks as often as it can
            let mut topology = Topology::single(config, move || made.event(0)).unwrap();
            topology.stage("sink").handle(|_, _| {});
            let held = guarded(&mut topology);
            let (bus, mut producer) = topology.start().unwrap();
            for number in 0..1000 {
                producer.publish(census.event(number)).unwrap();
            }
            if detach {
                drop(bus);
                drop(producer);
                until(|| census.living() == 0); // once the stage has ended
            } else {
                drop(producer);
                bus.shutdown().unwrap();
                assert_eq!(census.living(), 0, "at once");
            }
            until(|| held.strong_count() == 0);
        });
    }
}

#[test]
fn it_ends_with_a_topology_that_does_not_start() {
    limited(|| {
        let census = Census::default();
        let made = census.clone();
        let mut topology = Topology::single(watched(8, LATE), move || made.event(0)).unwrap();
        topology.stage("two").handle(|_, _| {});
        topology.stage("two").handle(|_, _| {});
        let held = guarded(&mut topology);
        assert_eq!(
            topology.start().map(drop).unwrap_err().kind(),
            ErrorKind::DuplicateStage
        );
        until(|| held.strong_count() == 0 && census.living() == 0);
    });
}

#[test]
fn a_callback_that_does_not_return_delays_nobody_and_keeps_nothing_alive() {
    limited(|| {
        let census = Census::default();
        let made = census.clone();
        let mut topology = Topology::single(watched(8, LATE), move || made.event(0)).unwrap();
        let (_, mut reader) = topology.stage("slow").consumer();
        let (enter, entered) = mpsc::channel();
        let (leave, left) = mpsc::channel::<()>();
        topology.on_pressure(move |_| {
            let _ = enter.send(()); // the test may be over
            let _ = left.recv(); // until it is
        });
        let (bus, mut producer) = topology.start().unwrap();
        let mut fill = || {
            for number in 0..8 {
                producer.publish(census.event(number)).unwrap();
            }
        };
        fill();
        entered.recv().unwrap();
        drop(reader.read().unwrap());
        fill();
        let level = bus.pressure().unwrap().level;
        assert_eq!(level, PressureLevel::High, "nobody looks meanwhile");
        drop((producer, reader));
        bus.shutdown().unwrap();
        assert_eq!(census.living(), 0, "and nobody has the ring");
        drop(leave);
    });
}

#[test]
fn a_callback_that_panics_is_not_called_again_and_kills_nothing() {
    limited(|| {
        let mut topology = Topology::single(watched(8, LATE), || 0).unwrap();
        let (_, mut reader) = topology.stage("slow").consumer();
        let (tell, told) = mpsc::channel();
        topology.on_pressure(move |report| {
            tell.send(report.level).unwrap();
            panic!("as a test wants it");
        });
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish_batch(numbers(0..8)).unwrap();
        assert_eq!(told.recv(), Ok(PressureLevel::High));
        assert!(told.recv().is_err(), "it was dropped");
        drop(reader.read().unwrap());
        until(|| bus.pressure().unwrap().level == PressureLevel::Low);
        producer.publish_batch(numbers(0..8)).unwrap();
        until(|| bus.pressure().unwrap().level == PressureLevel::High);
        drop((producer, reader));
        bus.shutdown().unwrap();
    });
}

#[test]
fn what_is_asked_for_must_be_possible() {
    let with = |pressure| {
        let config = BusConfig {
            pressure: Some(pressure),
            ..BusConfig::default()
        };
        Topology::single(config, || 0_u64).map(drop).unwrap_err()
    };
    let error = with(Pressure {
        high_percent: 101,
        ..Pressure::default()
    });
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert_eq!(
        error.to_string(),
        "pressure.high_percent is 101: accepted is 1 to 100"
    );

    let mut topology = Topology::single(BusConfig::default(), || 0_u64).unwrap();
    topology.stage("sink").handle(|_, _| {});
    topology.on_pressure(|_| {});
    let error = topology.start().map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains("BusConfig::pressure"), "{error}");

    let mut topology = Topology::single(BusConfig::default(), || 0_u64).unwrap();
    topology.stage("sink").handle(|_, _| {});
    let (bus, _producer) = topology.start().unwrap();
    assert_eq!(bus.pressure(), None);
}
