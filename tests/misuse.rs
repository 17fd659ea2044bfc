//! What `start()` and the constructors refuse: each mistake with its kind, and a text that names the place, the value
//! and what is accepted.

mod common;

use common::{Census, config, limited};
use ringway::{BusConfig, Delivery, Ended, Error, ErrorKind, Topology, TryReadError, Wait};
use std::error::Error as _;
use std::time::Duration;

type Single<T> = Topology<T, ringway::Single>;

const IDLE: fn(&u64, Delivery) = |_, _| ();

/// What a topology, completed by `build`, is refused with.
fn refusal(config: BusConfig, build: impl FnOnce(&mut Single<u64>)) -> Error {
    let mut topology = Topology::single(config, || 0_u64).expect("the config is valid");
    build(&mut topology);
    topology.start().expect_err("the topology is wrong")
}

fn assert_refusal(error: &Error, kind: ErrorKind, stage: Option<&str>, names: &[&str]) {
    assert_eq!((error.kind(), error.stage()), (kind, stage), "{error}");
    for name in names {
        assert!(
            error.to_string().contains(name),
            "`{error}` does not say `{name}`"
        );
    }
    assert!(error.discarded().is_none() && error.source().is_none());
}

#[test]
fn a_config_outside_its_ranges_names_field_value_and_range() {
    let sleep = |sleep| Wait::Backoff {
        spins: 1,
        yields: 1,
        sleep,
    };
    for (config, names) in [
        (
            BusConfig {
                capacity: 0,
                ..config(1)
            },
            ["capacity is 0", "1 to 2147483648"],
        ),
        (
            BusConfig {
                capacity: (1 << 31) + 1,
                ..config(1)
            },
            ["capacity is 2147483649", "1 to 2147483648"],
        ),
        (
            BusConfig {
                capacity: usize::MAX,
                ..config(1)
            },
            ["capacity is 1844", "1 to 2147483648"],
        ),
        (
            BusConfig {
                batch_max: 0,
                ..config(1)
            },
            ["batch_max is 0", "1 to 65536"],
        ),
        (
            BusConfig {
                batch_max: 65_537,
                ..config(1)
            },
            ["batch_max is 65537", "1 to 65536"],
        ),
        (
            BusConfig {
                stages_max: 0,
                ..config(1)
            },
            ["stages_max is 0", "1 to 1024"],
        ),
        (
            BusConfig {
                stages_max: 1025,
                ..config(1)
            },
            ["stages_max is 1025", "1 to 1024"],
        ),
        (
            BusConfig {
                wait: sleep(Duration::ZERO),
                ..config(1)
            },
            ["wait: Backoff.sleep is 0ns", "1 ns to 1 s"],
        ),
        (
            BusConfig {
                wait: sleep(Duration::from_secs(2)),
                ..config(1)
            },
            ["wait: Backoff.sleep is 2s", "1 ns to 1 s"],
        ),
    ] {
        let single = Topology::single(config.clone(), || 0_u64).unwrap_err();
        let multi = Topology::multi(config.clone(), || 0_u64).unwrap_err();
        assert_refusal(&single, ErrorKind::InvalidConfig, None, &names);
        assert_refusal(&multi, ErrorKind::InvalidConfig, None, &names);
        assert_eq!(
            single.to_string(),
            config.validate().unwrap_err().to_string()
        );
    }
}

#[test]
fn a_ring_that_does_not_fit_into_memory_is_refused_before_a_slot_is_made() {
    const HUGE: usize = 1 << 40;
    for capacity in [1 << 20, 1 << 31] {
        let mut made = 0;
        let error = Topology::single(config(capacity), || -> [u8; HUGE] {
            made += 1;
            unreachable!("no such slot can be made")
        });
        let capacity = format!("capacity is {capacity}");
        assert_refusal(
            &error.unwrap_err(),
            ErrorKind::CapacityTooLarge,
            None,
            &[&capacity, "choose a smaller"],
        );
        assert_eq!(made, 0);
    }
    // a line of these has more bytes than addresses
    let error = Topology::multi(config(1), || -> [u8; 1 << 60] { unreachable!() }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CapacityTooLarge);
}

#[test]
fn a_topology_without_a_stage_is_refused() {
    let error = refusal(config(4), |_| ());
    assert_refusal(
        &error,
        ErrorKind::NoStages,
        None,
        &["no stage", "topology.stage(name)"],
    );
    // a builder that is never ended is no stage
    let error = refusal(config(4), |topology| drop(topology.stage("unfinished")));
    assert_eq!(error.kind(), ErrorKind::NoStages);
}

#[test]
fn names_must_be_usable_and_differ() {
    let error = refusal(config(4), |topology| {
        topology.stage("twin").handle(IDLE);
        topology.stage("other").handle(IDLE);
        topology.stage("twin").handle(IDLE);
    });
    assert_refusal(
        &error,
        ErrorKind::DuplicateStage,
        Some("twin"),
        &["two stages are named `twin`"],
    );
    for name in ["", "a\0b"] {
        let error = refusal(config(4), |topology| drop(topology.stage(name).consumer()));
        assert_refusal(
            &error,
            ErrorKind::InvalidConfig,
            Some(name),
            &["stage name", "without NUL"],
        );
    }
}

#[test]
fn a_token_of_another_topology_is_refused_even_if_its_number_exists_here() {
    let mut other = Topology::single(config(4), || 0_u64).unwrap();
    let foreign = other.stage("a").handle(IDLE);
    let error = refusal(config(4), |topology| {
        let own = topology.stage("a").handle(IDLE);
        topology.stage("b").after([own, foreign]).handle(IDLE);
    });
    assert_refusal(
        &error,
        ErrorKind::ForeignStage,
        Some("b"),
        &["stage `b`", "another topology"],
    );
}

#[test]
fn more_stages_than_declared_are_refused_where_each_keyed_member_counts() {
    let two = BusConfig {
        stages_max: 2,
        ..config(4)
    };
    let error = refusal(two.clone(), |topology| {
        for name in ["a", "b", "c", "d"] {
            topology.stage(name).handle(IDLE);
        }
    });
    let names = [
        "stage `c` does not fit",
        "stages_max is 2",
        "raise stages_max",
    ];
    assert_refusal(&error, ErrorKind::TooManyStages, Some("c"), &names);
    let error = refusal(two.clone(), |topology| {
        topology
            .stage("keyed")
            .share_by(3, |event| *event, |_| IDLE);
    });
    assert_refusal(
        &error,
        ErrorKind::TooManyStages,
        Some("keyed"),
        &["stage `keyed`", "stages_max is 2"],
    );
    let mut topology = Topology::single(two, || 0_u64).unwrap();
    topology.stage("group").share(5, |_| IDLE);
    topology.stage("other").handle(IDLE);
    let (bus, producer) = topology
        .start()
        .expect("the members of an unkeyed group count as one");
    drop(producer);
    bus.shutdown().unwrap();
}

#[test]
fn who_edits_beside_a_reader_is_refused() {
    let refused = |build: fn(&mut Single<u64>)| refusal(config(4), build);
    let race = |error: &Error, editor, reader| {
        let names = [
            &*format!("`{editor}` edits"),
            &format!("`{reader}` may read"),
            ".after",
        ];
        assert_refusal(error, ErrorKind::MutationRace, Some(editor), &names);
    };
    let error = refused(|topology| {
        topology.stage("read").handle(IDLE);
        topology.stage("edit").handle_mut(|_, _| ());
    });
    race(&error, "edit", "read");
    let error = refused(|topology| {
        topology.stage("edit").try_handle_mut(|_, _| Ok(()));
        drop(topology.stage("read").async_consumer());
    });
    race(&error, "edit", "read");
    let error = refused(|topology| {
        drop(topology.stage("edit").consumer_mut());
        drop(topology.stage("read").workers());
    });
    race(&error, "edit", "read");
    let error = refused(|topology| {
        let head = topology.stage("head").handle(IDLE);
        topology
            .stage("left")
            .after([head])
            .share_by(2, |event| *event, |_| IDLE);
        topology.stage("right").after([head]).handle_mut(|_, _| ());
    });
    race(&error, "right", "left");
}

#[test]
fn settings_of_a_stage_are_checked_like_those_of_the_config() {
    let invalid = |build: fn(&mut Single<u64>), stage, names: &[&str]| {
        assert_refusal(
            &refusal(config(4), build),
            ErrorKind::InvalidConfig,
            stage,
            names,
        );
    };
    invalid(
        |topology| _ = topology.stage("s").batch_max(0).handle(IDLE),
        Some("s"),
        &["batch_max is 0", "1 to 65536"],
    );
    invalid(
        |topology| _ = topology.stage("s").share(0, |_| IDLE),
        Some("s"),
        &["members is 0", "1 to 1024"],
    );
    invalid(
        |topology| _ = topology.stage("s").share_by(1025, |event| *event, |_| IDLE),
        Some("s"),
        &["members is 1025", "1 to 1024"],
    );
    let never = Wait::Backoff {
        spins: 0,
        yields: 0,
        sleep: Duration::from_secs(3),
    };
    let error = refusal(config(4), |topology| {
        _ = topology.stage("s").wait(never).handle(IDLE)
    });
    assert_refusal(
        &error,
        ErrorKind::InvalidConfig,
        Some("s"),
        &["wait: Backoff.sleep is 3s"],
    );
    let error = refusal(config(4), |topology| {
        topology.producer_wait(never).stage("s").handle(IDLE);
    });
    assert_refusal(
        &error,
        ErrorKind::InvalidConfig,
        None,
        &["producer_wait: Backoff.sleep is 3s"],
    );
    for build in [
        (|topology| drop(topology.stage("s").pin(7).consumer())) as fn(&mut Single<u64>),
        |topology| drop(topology.stage("s").pin(7).consumer_mut()),
        |topology| drop(topology.stage("s").pin(7).workers()),
        |topology| drop(topology.stage("s").pin(7).async_consumer()),
    ] {
        invalid(
            build,
            Some("s"),
            &[
                "stage `s`: pin is 7",
                "a thread of your own",
                "pin_current_thread",
            ],
        );
    }
}

#[test]
fn the_first_mistake_is_the_one_that_is_told() {
    let error = refusal(config(4), |topology| {
        topology.stage("a").batch_max(0).handle(IDLE);
        topology.stage("a").pin(1_000_000).handle(IDLE);
        topology.stage("c").share(0, |_| IDLE);
    });
    assert_refusal(
        &error,
        ErrorKind::InvalidConfig,
        Some("a"),
        &["batch_max is 0"],
    );
}

#[test]
fn a_refused_topology_leaves_nothing_behind() {
    limited(|| {
        let census = Census::default();
        let (events, captured) = (census.clone(), census.event(99));
        let mut number = 0..;
        let mut topology =
            Topology::multi(config(4), move || events.event(number.next().unwrap())).unwrap();
        topology.stage("twin").handle(move |_, _| _ = &captured);
        let (_, mut rx) = topology.stage("twin").consumer();
        let slots = census.living() - 1;
        assert!(slots >= 4, "{slots} slots");
        assert_eq!(
            topology.start().unwrap_err().kind(),
            ErrorKind::DuplicateStage
        );
        assert_eq!(rx.read().unwrap_err(), Ended::Drained);
        assert_eq!(
            rx.try_read().unwrap_err(),
            TryReadError::Ended(Ended::Drained)
        );
        assert_eq!(
            census.living(),
            slots,
            "the handler is gone, the slots are the reader's"
        );
        drop(rx);
        assert_eq!(census.living(), 0);
    });
}

#[test]
fn a_producer_may_only_sleep_where_readers_look_for_sleepers() {
    limited(|| {
        let mut topology = Topology::single(config(4), || 0_u64).unwrap();
        topology.producer_wait(Wait::Yield).stage("s").handle(IDLE);
        let (bus, mut producer) = topology.start().unwrap();
        for wait in [Wait::Park, Wait::Adaptive] {
            let names = [
                &*format!("wait is {wait:?}"),
                "BusySpin, Yield or Backoff",
                "producer_wait",
            ];
            assert_refusal(
                &producer.set_wait(wait).unwrap_err(),
                ErrorKind::InvalidConfig,
                None,
                &names,
            );
        }
        let never = Wait::Backoff {
            spins: 0,
            yields: 0,
            sleep: Duration::ZERO,
        };
        assert_refusal(
            &producer.set_wait(never).unwrap_err(),
            ErrorKind::InvalidConfig,
            None,
            &["wait: Backoff.sleep"],
        );
        producer.set_wait(Wait::BusySpin).unwrap();
        producer.publish(1).unwrap();
        drop(producer);
        bus.shutdown().unwrap();
        let (mut tx, _rx) = ringway::spsc::<u64>(4);
        tx.set_wait(Wait::Park).unwrap();
    });
}
