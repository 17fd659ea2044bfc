//! Handlers that panic or return an error, in every form of handler and hook, under each policy: what the stage, its
//! dependants, its neighbours and `join` make of it.

mod common;

use common::{Log, config, limited, numbers};
use ringway::{
    Bus, BusConfig, Delivery, Ended, Error, ErrorKind, Handler, OnPanic, Producer, Sequence,
    Single, StageBuilder, StageError, Topology,
};
use std::error::Error as _;
use std::sync::mpsc;

/// The event on which handlers fail.
const BAD: u64 = 5;

/// What fails, and where the failure is told to be.
struct Form {
    name: &'static str,
    /// The sequence that `join` names.
    at: Option<u64>,
    add: fn(StageBuilder<'_, u64>, Log<u64>) -> ringway::Stage,
}

fn bad(event: u64) -> Result<(), StageError> {
    if event == BAD {
        Err("bad event".into())
    } else {
        Ok(())
    }
}

/// Every form of handler that sees each event itself; each logs what it handled.
fn forms() -> [Form; 5] {
    [
        Form {
            name: "handle",
            at: Some(BAD),
            add: |stage, log| {
                stage.handle(move |event, _| {
                    assert_ne!(*event, BAD, "bad event");
                    log.push(*event);
                })
            },
        },
        Form {
            name: "handle_mut",
            at: Some(BAD),
            add: |stage, log| {
                stage.handle_mut(move |event, _| {
                    assert_ne!(*event, BAD, "bad event");
                    log.push(*event);
                })
            },
        },
        Form {
            name: "try_handle",
            at: Some(BAD),
            add: |stage, log| {
                stage.try_handle(move |event, _| bad(*event).map(|()| log.push(*event)))
            },
        },
        Form {
            name: "try_handle_mut",
            at: Some(BAD),
            add: |stage, log| {
                stage.try_handle_mut(move |event, _| bad(*event).map(|()| log.push(*event)))
            },
        },
        Form {
            name: "attach",
            at: Some(BAD),
            add: |stage, log| {
                stage.attach(Hooked {
                    log,
                    fails: Hook::Event(BAD),
                })
            },
        },
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Hook {
    Event(u64),
    BatchEnd,
    Start,
    Stop,
    Drop,
}

/// Fails in one of its hooks.
struct Hooked {
    log: Log<u64>,
    fails: Hook,
}

impl Handler<u64> for Hooked {
    fn on_event(&mut self, event: &u64, _: Delivery) -> Result<(), StageError> {
        if self.fails == Hook::Event(*event) {
            return Err("bad event".into());
        }
        self.log.push(*event);
        Ok(())
    }
    fn on_batch_end(&mut self, below: Sequence) -> Result<(), StageError> {
        if self.fails == Hook::BatchEnd {
            Err(format!("bad batch below {below}").into())
        } else {
            Ok(())
        }
    }
    fn on_start(&mut self) -> Result<(), StageError> {
        assert_ne!(self.fails, Hook::Start, "bad start");
        Ok(())
    }
    fn on_stop(&mut self) {
        self.log.push(1000);
        assert_ne!(self.fails, Hook::Stop, "bad stop");
    }
}

impl Drop for Hooked {
    fn drop(&mut self) {
        self.log.push(2000);
        assert_ne!(self.fails, Hook::Drop, "bad drop");
    }
}

/// A stage under test, one that depends on it, and one that does not.
struct Setting {
    bus: Bus<u64>,
    producer: Producer<u64, Single>,
    dependant: ringway::Consumer<u64>,
    neighbour: mpsc::Receiver<u64>,
}

fn setting(
    on_panic: OnPanic,
    add: impl FnOnce(StageBuilder<'_, u64>) -> ringway::Stage,
) -> Setting {
    let config = BusConfig {
        batch_max: 4,
        ..config(16)
    };
    let mut topology = Topology::single(config, || 0).expect("a valid config");
    let (tell, neighbour) = mpsc::channel();
    // before the stage under test, which may edit; what ends does not end what comes before it
    let first = topology.stage("neighbour").handle(move |event, _| {
        let _ = tell.send(*event); // not every test listens
    });
    let failing = add(topology.stage("failing").after([first]).on_panic(on_panic));
    let (_, dependant) = topology
        .stage("dependant")
        .after([failing])
        .batch_max(16)
        .consumer();
    let (bus, producer) = topology.start().expect("a valid topology");
    Setting {
        bus,
        producer,
        dependant,
        neighbour,
    }
}

/// Everything a reader gets, and why no more.
fn all(mut rx: ringway::Consumer<u64>) -> (Vec<u64>, Ended) {
    let mut all = Vec::new();
    loop {
        match rx.read() {
            Ok(batch) => all.extend(&batch),
            Err(ended) => return (all, ended),
        }
    }
}

fn assert_told(error: &Error, at: Option<u64>, cause: &str) {
    assert_eq!(
        (error.kind(), error.stage()),
        (ErrorKind::StageFailed, Some("failing")),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("stage `failing` failed") && text.contains(cause),
        "{text}"
    );
    assert_eq!(text.contains("at sequence"), at.is_some(), "{text}");
    assert!(
        at.is_none_or(|at| text.contains(&format!("at sequence {at}"))),
        "{text}"
    );
    assert!(
        error
            .source()
            .expect("the handler's error")
            .to_string()
            .contains(cause)
    );
}

#[test]
fn skip_counts_the_event_as_handled_and_goes_on() {
    limited(|| {
        for form in forms() {
            let log = Log::new();
            let Setting {
                bus,
                mut producer,
                dependant,
                neighbour,
            } = setting(OnPanic::Skip, |stage| (form.add)(stage, log.clone()));
            producer.publish_batch(numbers(0..12)).unwrap();
            drop(producer);
            assert_eq!(
                all(dependant),
                (Vec::from_iter(0..12), Ended::Drained),
                "{}",
                form.name
            );
            bus.shutdown().unwrap();
            let handled: Vec<u64> = log
                .take()
                .into_iter()
                .filter(|event| *event < 100)
                .collect();
            assert_eq!(
                handled,
                [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11],
                "{}",
                form.name
            );
            assert!(neighbour.iter().eq(0..12));
        }
    });
}

#[test]
fn retire_ends_the_stage_before_the_event_and_lets_the_others_go_on() {
    limited(|| {
        for form in forms() {
            let log = Log::new();
            let Setting {
                bus,
                mut producer,
                dependant,
                neighbour,
            } = setting(OnPanic::Retire, |stage| (form.add)(stage, log.clone()));
            producer.publish_batch(numbers(0..12)).unwrap();
            let ended = Ended::Upstream {
                stage: "failing".into(),
            };
            assert_eq!(
                all(dependant),
                (Vec::from_iter(0..BAD), ended),
                "{}",
                form.name
            );
            producer
                .publish_batch(numbers(12..40))
                .expect("the ring does not fill up behind a stage that ended");
            drop(producer);
            let failed = bus.shutdown().unwrap_err();
            assert_told(&failed, form.at, "bad event");
            assert_eq!(failed.discarded(), None);
            let handled: Vec<u64> = log
                .take()
                .into_iter()
                .filter(|event| *event < 100)
                .collect();
            assert_eq!(handled, Vec::from_iter(0..BAD), "{}", form.name);
            assert!(neighbour.iter().eq(0..40));
        }
    });
}

#[test]
fn halt_ends_the_bus_and_wakes_everybody() {
    limited(|| {
        for form in forms() {
            let log = Log::new();
            let Setting {
                bus,
                mut producer,
                dependant,
                neighbour,
            } = setting(OnPanic::Halt, |stage| (form.add)(stage, log.clone()));
            let publisher = std::thread::spawn(move || {
                let refused = (0..).find(|number| producer.publish(*number).is_err());
                (refused, producer.is_closed())
            });
            let (seen, ended) = all(dependant);
            assert_eq!(ended, Ended::Halted, "{}", form.name);
            assert!(seen.len() as u64 <= BAD && seen.iter().copied().eq(0..seen.len() as u64));
            assert!(publisher.join().unwrap().1);
            let failed = bus.join().unwrap_err();
            assert_told(&failed, form.at, "bad event");
            assert!(failed.discarded().unwrap() > 0);
            assert!(neighbour.iter().count() as u64 >= BAD);
        }
    });
}

#[test]
fn a_batch_end_that_fails_undoes_the_batch_for_dependants() {
    limited(|| {
        for (policy, passed) in [(OnPanic::Retire, 0..0), (OnPanic::Skip, 0..12)] {
            let log = Log::new();
            let Setting {
                bus,
                mut producer,
                dependant,
                ..
            } = setting(policy, |stage| {
                stage.attach(Hooked {
                    log: log.clone(),
                    fails: Hook::BatchEnd,
                })
            });
            producer.publish_batch(numbers(0..12)).unwrap();
            drop(producer);
            assert!(all(dependant).0.into_iter().eq(passed));
            match (policy, bus.shutdown()) {
                (OnPanic::Skip, outcome) => outcome.unwrap(),
                (_, outcome) => assert_told(&outcome.unwrap_err(), None, "bad batch below"),
            }
            assert!(
                log.take().ends_with(&[1000, 2000]),
                "on_stop is called, then the handler goes"
            );
        }
    });
}

#[test]
fn a_start_that_fails_ends_the_stage_before_its_first_event() {
    limited(|| {
        for policy in [OnPanic::Retire, OnPanic::Skip, OnPanic::Halt] {
            let log = Log::new();
            let Setting {
                bus,
                mut producer,
                dependant,
                ..
            } = setting(policy, |stage| {
                stage.attach(Hooked {
                    log: log.clone(),
                    fails: Hook::Start,
                })
            });
            let published = producer.publish_batch(numbers(0..12));
            drop(producer);
            let (seen, ended) = all(dependant);
            let outcome = bus.shutdown();
            let calls = log.take();
            assert!(calls.ends_with(&[1000, 2000]), "{policy:?}: {calls:?}");
            match policy {
                OnPanic::Skip => {
                    assert_eq!(
                        (seen.len(), ended, published.unwrap()),
                        (12, Ended::Drained, 12)
                    );
                    outcome.unwrap();
                }
                OnPanic::Retire => {
                    assert_eq!(
                        (seen.len(), ended),
                        (
                            0,
                            Ended::Upstream {
                                stage: "failing".into()
                            }
                        )
                    );
                    assert_told(&outcome.unwrap_err(), None, "bad start");
                }
                OnPanic::Halt => {
                    assert_eq!((seen.len(), ended, calls.len()), (0, Ended::Halted, 2));
                    assert_told(&outcome.unwrap_err(), None, "bad start");
                }
            }
        }
    });
}

#[test]
fn a_stop_or_a_drop_that_fails_is_told_and_loses_nothing() {
    limited(|| {
        for (fails, cause) in [(Hook::Stop, "bad stop"), (Hook::Drop, "bad drop")] {
            let log = Log::new();
            let Setting {
                bus,
                mut producer,
                dependant,
                neighbour,
            } = setting(OnPanic::Retire, |stage| {
                stage.attach(Hooked {
                    log: log.clone(),
                    fails,
                })
            });
            producer.publish_batch(numbers(0..12)).unwrap();
            drop(producer);
            assert_eq!(all(dependant), (Vec::from_iter(0..12), Ended::Drained));
            assert_told(&bus.shutdown().unwrap_err(), None, cause);
            assert_eq!(neighbour.iter().count(), 12);
            assert_eq!(log.take().len(), 14);
        }
    });
}

#[test]
fn a_panic_with_a_value_that_is_no_text_is_told_as_such() {
    limited(|| {
        let Setting {
            bus, mut producer, ..
        } = setting(OnPanic::Retire, |stage| {
            stage.handle(|_, _| std::panic::panic_any(7))
        });
        producer.publish(1).unwrap();
        drop(producer);
        assert_told(&bus.shutdown().unwrap_err(), Some(0), "not text");
    });
}

/// A group whose members fail on the bad event.
fn failing_group(stage: StageBuilder<'_, u64>, keyed: bool, log: &Log<u64>) -> ringway::Stage {
    let make = |_| {
        let log = log.clone();
        move |event: &u64, _: Delivery| {
            assert_ne!(*event, BAD, "bad event");
            log.push(*event);
        }
    };
    let stage = stage.batch_max(2);
    if keyed {
        stage.share_by(3, |event| *event, make)
    } else {
        stage.share(3, make)
    }
}

#[test]
fn a_member_that_fails_ends_its_group_before_the_event() {
    limited(|| {
        for keyed in [false, true] {
            let log = Log::new();
            let Setting {
                bus,
                mut producer,
                dependant,
                neighbour,
            } = setting(OnPanic::Retire, |stage| failing_group(stage, keyed, &log));
            let publisher = std::thread::spawn(move || producer.publish_batch(numbers(0..60)));
            let (seen, ended) = all(dependant);
            assert_eq!(publisher.join().unwrap(), Ok(60), "the others go on");
            assert_eq!(
                ended,
                Ended::Upstream {
                    stage: "failing".into()
                },
                "keyed: {keyed}"
            );
            let passed = seen.len() as u64;
            assert!(
                passed <= BAD && seen.into_iter().eq(0..passed),
                "nothing passes the event that failed"
            );
            assert_told(&bus.shutdown().unwrap_err(), Some(BAD), "bad event");
            let mut handled = log.take();
            handled.sort_unstable();
            assert!(
                handled.windows(2).all(|two| two[0] < two[1]),
                "none was handled twice: {handled:?}"
            );
            assert!(
                (0..passed).all(|event| handled.contains(&event)),
                "what passed was handled"
            );
            assert_eq!(neighbour.iter().count(), 60);
        }
    });
}

#[test]
fn a_member_that_skips_counts_the_event_and_the_group_goes_on() {
    limited(|| {
        for keyed in [false, true] {
            let log = Log::new();
            let Setting {
                bus,
                mut producer,
                dependant,
                ..
            } = setting(OnPanic::Skip, |stage| failing_group(stage, keyed, &log));
            let publisher =
                std::thread::spawn(move || producer.publish_batch(numbers(0..60)).unwrap());
            assert_eq!(
                all(dependant),
                (Vec::from_iter(0..60), Ended::Drained),
                "keyed: {keyed}"
            );
            assert_eq!(publisher.join().unwrap(), 60);
            bus.shutdown().unwrap();
            let mut handled = log.take();
            handled.sort_unstable();
            assert!(
                handled
                    .into_iter()
                    .eq((0..60).filter(|event| *event != BAD))
            );
        }
    });
}

#[test]
fn a_member_that_fails_under_halt_ends_the_bus() {
    limited(|| {
        for keyed in [false, true] {
            let Setting {
                bus,
                mut producer,
                dependant,
                ..
            } = setting(OnPanic::Halt, |stage| {
                failing_group(stage, keyed, &Log::new())
            });
            assert!((0..).any(|number| producer.publish(number).is_err()));
            let (seen, ended) = all(dependant);
            assert!(
                ended == Ended::Halted && seen.len() as u64 <= BAD,
                "keyed: {keyed}"
            );
            drop(producer);
            assert_told(&bus.join().unwrap_err(), Some(BAD), "bad event");
        }
    });
}

#[test]
fn the_only_stage_that_retires_closes_the_bus_for_producers_that_wait() {
    limited(|| {
        let mut topology = Topology::multi(config(2), || 0).unwrap();
        topology
            .stage("failing")
            .on_panic(OnPanic::Retire)
            .try_handle(|event, _| bad(*event));
        let (bus, producer) = topology.start().unwrap();
        let publishers: Vec<_> = (0..2)
            .map(|_| {
                let mut producer = producer.clone();
                std::thread::spawn(move || {
                    (BAD..).find(|number| producer.publish(*number).is_err())
                })
            })
            .collect();
        for publisher in publishers {
            assert!(publisher.join().unwrap().is_some());
        }
        assert!(producer.is_closed());
        assert_eq!(bus.shutdown().unwrap_err().kind(), ErrorKind::StageFailed);
    });
}

#[test]
fn several_failures_are_told_by_the_first_and_counted() {
    limited(|| {
        let mut topology = Topology::multi(config(8), || 0).unwrap();
        for name in ["failing", "failing too", "and this one"] {
            topology
                .stage(name)
                .on_panic(OnPanic::Retire)
                .try_handle(|event, _| bad(*event));
        }
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish(BAD).unwrap();
        common::until(|| producer.is_closed());
        let failed = bus.shutdown().unwrap_err();
        assert!(
            failed.to_string().contains("and 2 more failures"),
            "{failed}"
        );
    });
}
