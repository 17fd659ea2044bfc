//! Smoothed stages: never faster than allowed, everything delivered, and no longer than the bus.
//!
//! Machines may be as slow as they like, so nothing here says how fast a stage must be: only how fast it may be at most, counted from before
//! the topology was made.

mod common;

use common::{Log, STRATEGIES, config, limited, numbers, until, waiting};
use ringway::{
    Bus, BusConfig, Delivery, Ended, ErrorKind, Handler, OnPanic, Smoothing, Stage, StageBuilder,
    StageError, Topology, Wait,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const fn rate(rate_per_second: u64, burst_max: u32) -> Smoothing {
    Smoothing {
        rate_per_second,
        burst_max,
    }
}

/// As good as never.
const SLOWEST: Smoothing = rate(1, 1);

/// What a stage was given, and when.
type Seen = Log<(u64, Instant)>;

/// No more than allowed had come at any time since `started`; all of `0..count` came, each once.
fn check(seen: &Seen, count: u64, started: Instant, smoothing: Smoothing) {
    let mut seen = seen.take();
    seen.sort_by_key(|&(_, at)| at);
    for (earlier, &(_, at)) in seen.iter().enumerate() {
        let over = (earlier as u64 + 1).saturating_sub(smoothing.burst_max.into());
        let least = Duration::from_nanos(over * 1_000_000_000 / smoothing.rate_per_second);
        assert!(at - started >= least, "event {earlier} came too early");
    }
    let mut events: Vec<_> = seen.iter().map(|&(event, _)| event).collect();
    events.sort_unstable();
    assert!(events.iter().copied().eq(0..count), "{events:?}");
}

/// Runs a bus whose only stage `end` builds.
fn run(
    wait: Wait,
    smoothing: Smoothing,
    count: usize,
    end: fn(StageBuilder<'_, u64>, Seen) -> Stage,
) {
    limited(move || {
        let (started, seen) = (Instant::now(), Log::new());
        let mut topology = Topology::single(waiting(64, wait), || 0).expect("it is right");
        end(topology.stage("smooth").smooth(smoothing), seen.clone());
        let (bus, mut producer) = topology.start().expect("it is right");
        producer
            .publish_batch(numbers(0..count))
            .expect("it is right");
        drop(producer);
        bus.shutdown().expect("it is right"); // a closed bus drains at the rate
        check(&seen, count as u64, started, smoothing);
    });
}

fn note(seen: &Seen, event: u64) {
    seen.push((event, Instant::now()));
}

struct Attached(Seen);

impl Handler<u64> for Attached {
    fn on_event(&mut self, event: &u64, _: Delivery) -> Result<(), StageError> {
        note(&self.0, *event);
        Ok(())
    }
}

#[test]
fn every_kind_of_stage_keeps_the_rate_and_gets_everything() {
    const VERBS: [fn(StageBuilder<'_, u64>, Seen) -> Stage; 5] = [
        |stage, seen| stage.handle(move |event, _| note(&seen, *event)),
        |stage, seen| stage.handle_mut(move |event, _| note(&seen, std::mem::take(event))),
        |stage, seen| {
            stage.try_handle(move |event, _| {
                note(&seen, *event);
                Ok(())
            })
        },
        |stage, seen| {
            stage.try_handle_mut(move |event, _| {
                note(&seen, *event);
                Ok(())
            })
        },
        |stage, seen| stage.attach(Attached(seen)),
    ];
    for verb in VERBS {
        run(Wait::Adaptive, rate(2_000, 20), 120, verb);
    }
}

#[test]
fn members_keep_the_rate_together() {
    run(Wait::Adaptive, rate(2_000, 20), 150, |stage, seen| {
        stage.share(4, |_| {
            let seen = seen.clone();
            move |event: &u64, _| note(&seen, *event)
        })
    });
}

#[test]
fn keyed_members_pay_once_for_each_event() {
    // each member passes every event: paid for by each, 150 would take four times as long, and the limit is one more than that
    run(Wait::Adaptive, rate(2_000, 20), 150, |stage, seen| {
        stage.share_by(
            4,
            |event: &u64| *event,
            |_| {
                let seen = seen.clone();
                move |event: &u64, _| note(&seen, *event)
            },
        )
    });
    limited(|| {
        let mut topology = Topology::single(config(64), || 0).unwrap();
        let seen = Seen::new();
        topology.stage("keyed").smooth(rate(1, 40)).share_by(
            4,
            |event: &u64| *event,
            |_| {
                let seen = seen.clone();
                move |event: &u64, _| note(&seen, *event)
            },
        );
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish_batch(numbers(0..40)).unwrap();
        until(|| seen.len() == 40); // not in 120 seconds
        drop(producer);
        bus.shutdown().unwrap();
    });
}

#[test]
fn every_strategy_waits_for_tokens() {
    for wait in STRATEGIES {
        run(wait, rate(500, 2), 20, |stage, seen| {
            stage.handle(move |event, _| note(&seen, *event))
        });
    }
}

#[test]
fn a_high_rate_gets_through_in_large_portions() {
    run(
        Wait::Adaptive,
        rate(1_000_000, 4096),
        50_000,
        |stage, seen| stage.handle(move |event, _| note(&seen, *event)),
    );
}

/// Runs a stage that counts, as slow as can be at first.
fn counting(
    config: BusConfig,
    body: impl FnOnce(Bus<u64>, ringway::Producer<u64>, Stage, Arc<AtomicU64>) + Send + 'static,
) {
    limited(move || {
        let count = Arc::new(AtomicU64::new(0));
        let mut topology = Topology::single(config, || 0).expect("it is right");
        let stage = topology.stage("slow").smooth(SLOWEST).handle({
            let count = count.clone();
            move |_, _| {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        let (bus, producer) = topology.start().expect("it is right");
        body(bus, producer, stage, count);
    });
}

#[test]
fn halt_leaves_what_is_not_due() {
    for wait in STRATEGIES {
        counting(waiting(64, wait), |bus, mut producer, _, count| {
            producer.publish_batch(numbers(0..64)).unwrap();
            until(|| count.load(Ordering::SeqCst) > 0);
            bus.halt(); // not in 63 seconds
            let error = bus.join().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Halted);
            assert!(error.discarded() > Some(0));
        });
    }
}

#[test]
fn a_faster_rate_counts_at_once() {
    for wait in STRATEGIES {
        counting(waiting(1024, wait), |bus, mut producer, stage, count| {
            producer.publish_batch(numbers(0..1000)).unwrap();
            until(|| count.load(Ordering::SeqCst) > 0);
            bus.set_smoothing(stage, rate(100_000, 512)).unwrap(); // not in 1,000 seconds
            until(|| count.load(Ordering::SeqCst) == 1000);
            drop(producer);
            bus.shutdown().unwrap();
        });
    }
}

#[test]
fn a_slower_rate_counts_from_its_moment_on() {
    counting(config(64), |bus, mut producer, stage, count| {
        bus.set_smoothing(stage, rate(1_000_000, 1000)).unwrap();
        producer.publish_batch(numbers(0..50)).unwrap();
        until(|| count.load(Ordering::SeqCst) == 50);
        let changed = Instant::now();
        bus.set_smoothing(stage, rate(100, 1)).unwrap();
        producer.publish_batch(numbers(0..11)).unwrap();
        until(|| count.load(Ordering::SeqCst) == 61);
        assert!(changed.elapsed() >= Duration::from_millis(100));
        drop(producer);
        bus.shutdown().unwrap();
    });
}

#[test]
fn only_the_stage_itself_is_held_back_and_those_after_it() {
    limited(|| {
        let (before, after) = (Seen::new(), Seen::new());
        let mut topology = Topology::single(config(64), || 0).unwrap();
        let note_in = |seen: &Seen| {
            let seen = seen.clone();
            move |event: &u64, _: Delivery| note(&seen, *event)
        };
        let first = topology.stage("before").handle(note_in(&before));
        let slow = topology.stage("slow").after([first]).smooth(SLOWEST);
        let slow = slow.handle(|_, _| {});
        topology
            .stage("after")
            .after([slow])
            .handle(note_in(&after));
        let (bus, mut producer) = topology.start().unwrap();
        let started = Instant::now();
        producer.publish_batch(numbers(0..64)).unwrap();
        until(|| before.len() == 64);
        let most = 2 + started.elapsed().as_secs() as usize;
        assert!(after.len() <= most, "{} of {most}", after.len());
        bus.halt();
        bus.join().unwrap_err();
    });
}

#[test]
fn a_stage_with_nothing_to_do_or_nothing_due_sleeps() {
    counting(config(64), |bus, mut producer, stage, count| {
        let started = Instant::now();
        bus.set_smoothing(stage, rate(1_000, 1)).unwrap();
        producer.publish_batch(numbers(0..50)).unwrap();
        until(|| count.load(Ordering::SeqCst) == 50);
        std::thread::sleep(Duration::from_millis(50));
        let stats = bus.stats().stages[0].clone();
        let tokens = started.elapsed().as_millis() as u64 + 1;
        // once for each token, once for each time that there was no event, and for the start
        let most = tokens.min(50) + 50 + 10;
        assert!(stats.stalls <= most, "{stats:?}, {tokens} tokens");
        drop(producer);
        bus.shutdown().unwrap();
    });
}

#[test]
fn a_handler_that_fails_is_treated_as_in_any_other_stage() {
    for (on_panic, handled) in [(OnPanic::Skip, 9), (OnPanic::Retire, 5), (OnPanic::Halt, 5)] {
        limited(move || {
            let seen = Seen::new();
            let mut topology = Topology::single(config(64), || 0).unwrap();
            let stage = topology.stage("fails").smooth(rate(10_000, 3));
            let fails = stage.on_panic(on_panic).try_handle({
                let seen = seen.clone();
                move |event, _| match *event {
                    5 => Err("five".into()),
                    event => {
                        note(&seen, event);
                        Ok(())
                    }
                }
            });
            let (_, mut after) = topology.stage("after").after([fails]).consumer();
            let (bus, mut producer) = topology.start().unwrap();
            producer.publish_batch(numbers(0..10)).unwrap();
            drop(producer);
            let ended = loop {
                if let Err(ended) = after.read() {
                    break ended;
                }
            };
            assert_eq!(ended == Ended::Drained, on_panic == OnPanic::Skip);
            assert_eq!(bus.shutdown().is_ok(), on_panic == OnPanic::Skip);
            assert_eq!(seen.len(), handled);
        });
    }
}

/// The error that `start()` answers.
fn refused(build: impl FnOnce(&mut Topology<u64, ringway::Single>)) -> String {
    let mut topology = Topology::single(config(64), || 0).expect("it is right");
    build(&mut topology);
    let error = topology.start().map(drop).expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    assert_eq!(error.stage(), Some("slow"));
    error.to_string()
}

#[test]
fn values_are_checked_when_the_bus_starts() {
    let with = |smoothing| {
        refused(move |topology| {
            topology.stage("slow").smooth(smoothing).handle(|_, _| {});
        })
    };
    assert_eq!(
        with(rate(0, 1)),
        "rate_per_second is 0: accepted is 1 to 1000000000"
    );
    assert_eq!(
        with(rate(1, 0)),
        "burst_max is 0: accepted is 1 to 2147483648"
    );
}

#[test]
fn only_threads_of_the_bus_keep_a_rate() {
    let texts = [
        refused(|topology| drop(topology.stage("slow").smooth(SLOWEST).consumer())),
        refused(|topology| drop(topology.stage("slow").smooth(SLOWEST).consumer_mut())),
        refused(|topology| drop(topology.stage("slow").smooth(SLOWEST).workers())),
        refused(|topology| drop(topology.stage("slow").smooth(SLOWEST).async_consumer())),
    ];
    for text in texts {
        assert!(text.contains("thread or task of your own"), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn a_journal_keeps_no_rate() {
    use ringway::{Journal, JournalConfig, Plain};
    let name = format!("ringway-smoothing-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let journal = Journal::open(&path, JournalConfig::default(), Plain::<u64>::new()).unwrap();
    let text = refused(|topology| {
        topology.stage("slow").smooth(SLOWEST).journal(journal);
    });
    assert!(text.contains("a journal keeps no rate"), "{text}");
    std::fs::remove_dir_all(path).unwrap();
}

#[test]
fn a_change_that_is_refused_changes_nothing() {
    let mut topology = Topology::single(config(64), || 0).unwrap();
    let slow = topology.stage("slow").smooth(SLOWEST).handle(|_, _| {});
    let fast = topology.stage("fast").handle(|_, _| {});
    let mut other = Topology::single(config(64), || 0).unwrap();
    let foreign = other
        .stage("slow")
        .smooth(SLOWEST)
        .handle(|_, _: Delivery| {});
    let (bus, mut producer) = topology.start().unwrap();

    let error = bus.set_smoothing(foreign, SLOWEST).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ForeignStage);
    let error = bus.set_smoothing(fast, SLOWEST).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains(".smooth(..)"), "{error}");
    let error = bus.set_smoothing(slow, rate(0, 1)).unwrap_err();
    assert_eq!(
        (error.kind(), error.stage()),
        (ErrorKind::InvalidConfig, Some("slow"))
    );

    producer.publish(1).unwrap();
    drop(producer);
    bus.shutdown().unwrap();
}
