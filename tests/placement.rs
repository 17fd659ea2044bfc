//! Threads and cores: what `start()` refuses, what it warns of, and where stages run.

mod common;

use common::{Log, config, limited};
use ringway::{
    BusConfig, Error, ErrorKind, Placement, Topology, Wait, cores, pin_current_thread, usable_cores,
};
use std::thread;

const NOWHERE: [usize; 5] = [1023, 1024, 4096, 1_000_000, usize::MAX];

fn placed(placement: Placement) -> BusConfig {
    BusConfig {
        placement,
        wait: Wait::Yield,
        ..config(4)
    }
}

fn kinds(warnings: &[Error]) -> Vec<ErrorKind> {
    warnings.iter().map(Error::kind).collect()
}

/// The cores that the calling thread may run on, where the system tells it as text.
fn mask() -> Option<String> {
    let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    status
        .lines()
        .find_map(|line| Some(line.strip_prefix("Cpus_allowed_list:")?.trim().to_owned()))
}

#[test]
fn a_core_that_does_not_exist_is_refused_or_left_out_but_never_the_end_of_the_process() {
    limited(|| {
        for core in NOWHERE.into_iter().filter(|core| !cores().contains(core)) {
            assert_eq!(
                pin_current_thread(core).unwrap_err().kind(),
                ErrorKind::NoSuchCore
            );
            for placement in [Placement::Strict, Placement::Warn, Placement::BestEffort] {
                let mut topology = Topology::single(placed(placement), || 0_u64).unwrap();
                let first = topology.stage("pinned").pin(core).handle(|_, _| ());
                topology
                    .stage("members")
                    .after([first])
                    .pin(core)
                    .share(2, |_| |_: &u64, _| ());
                let started = topology.start();
                if placement != Placement::BestEffort {
                    let error = started.unwrap_err();
                    assert_eq!(
                        (error.kind(), error.stage()),
                        (ErrorKind::NoSuchCore, Some("pinned"))
                    );
                    let text = error.to_string();
                    assert!(
                        text.contains("stage `pinned`") && text.contains(&format!("core {core}")),
                        "{text}"
                    );
                    continue;
                }
                let (bus, mut producer) = started.unwrap();
                assert_eq!(kinds(bus.warnings()), [ErrorKind::NoSuchCore; 3]);
                assert_eq!(bus.warnings()[2].stage(), Some("members"));
                producer.publish(1).unwrap();
                drop(producer);
                bus.shutdown().unwrap();
            }
        }
    });
}

#[test]
fn stages_run_on_the_core_they_are_pinned_to() {
    limited(|| {
        let Some(&core) = cores().last() else { return };
        let log = Log::new();
        let seen = log.clone();
        let mut topology = Topology::single(placed(Placement::Strict), || 0_u64).unwrap();
        topology.stage("pinned").pin(core).handle(move |_, _| {
            seen.push((
                thread::available_parallelism().unwrap().get(),
                mask().unwrap_or_else(|| core.to_string()),
            ));
        });
        let (bus, mut producer) = topology.start().unwrap();
        assert_eq!(kinds(bus.warnings()), []);
        producer.publish(1).unwrap();
        drop(producer);
        bus.shutdown().unwrap();
        assert_eq!(log.take(), [(1, core.to_string())]);
    });
}

#[test]
fn more_spinning_threads_than_cores_are_an_error_or_a_warning() {
    limited(|| {
        for placement in [Placement::Strict, Placement::Warn, Placement::BestEffort] {
            // stages of its own threads, of the user's, and the producers count
            let mut topology = Topology::single(
                BusConfig {
                    stages_max: 1024,
                    ..placed(placement)
                },
                || 0_u64,
            )
            .unwrap();
            topology.producer_wait(Wait::BusySpin);
            let mut own = Vec::new();
            for spinner in 1..usable_cores() {
                own.push(
                    topology
                        .stage(format!("own {spinner}"))
                        .wait(Wait::BusySpin)
                        .consumer(),
                );
            }
            topology
                .stage("one too many")
                .wait(Wait::BusySpin)
                .handle(|_, _| ());
            let spinners = format!("{} threads wait by BusySpin", usable_cores() + 1);
            match topology.start() {
                Err(error) => {
                    assert_eq!(
                        (placement, error.kind()),
                        (Placement::Strict, ErrorKind::TooManySpinners)
                    );
                    assert!(error.to_string().contains(&spinners), "{error}");
                }
                Ok((bus, _producer)) => {
                    assert_ne!(placement, Placement::Strict);
                    assert_eq!(kinds(bus.warnings()), [ErrorKind::TooManySpinners]);
                    assert!(
                        bus.warnings()[0].to_string().contains(&spinners),
                        "{:?}",
                        bus.warnings()
                    );
                }
            }
        }
    });
}

#[test]
fn as_many_spinning_threads_as_cores_are_no_reason_to_warn() {
    limited(|| {
        let mut topology = Topology::multi(
            BusConfig {
                stages_max: 1024,
                ..placed(Placement::Strict)
            },
            || 0_u64,
        )
        .unwrap();
        let own: Vec<_> = (0..usable_cores())
            .map(|spinner| {
                topology
                    .stage(format!("{spinner}"))
                    .wait(Wait::BusySpin)
                    .workers()
            })
            .collect();
        drop(own);
        topology.stage("parks").wait(Wait::Park).handle(|_, _| ());
        let (bus, _producer) = topology.start().unwrap();
        assert_eq!(kinds(bus.warnings()), []);
    });
}

#[test]
fn a_pinned_thread_that_starts_a_bus_is_warned_and_does_not_hand_its_core_down() {
    limited(|| {
        if cores().len() < 2 {
            return; // nothing is narrower than the process
        }
        pin_current_thread(cores()[0]).unwrap();
        assert_eq!(thread::available_parallelism().unwrap().get(), 1);
        let log = Log::new();
        let parallelism = |log: &Log<usize>| {
            let log = log.clone();
            move |_: &u64, _| log.push(thread::available_parallelism().unwrap().get())
        };
        let mut topology = Topology::single(placed(Placement::Strict), || 0_u64).unwrap();
        topology.stage("free").handle(parallelism(&log));
        let (bus, mut producer) = topology.start().unwrap();
        assert_eq!(kinds(bus.warnings()), [ErrorKind::PinnedStart]);
        producer.publish(1).unwrap();
        drop(producer);
        bus.shutdown().unwrap();
        assert_eq!(log.take(), [usable_cores()]);
    });
}
