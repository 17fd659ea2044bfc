//! Taps under load: what they copy is whole and in order, and what they copy and skip is all there was, whoever stops for how long.

mod common;

use common::executor::block_on;
use common::payload::{Id, Payload};
use common::{CAPACITIES, Random, STRATEGIES, bearable, limited, seeded, waiting};
use ringway::{
    Ended, Multi, OnLag, Producer, ProducerKind, ReadDeadlineError, Single, Tap, Topology,
    TryPublishError, TryReadError, Wait,
};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What a copy panics with, quietly.
const ON_PURPOSE: &str = "no copy";

/// A payload whose copies panic now and then, own memory, and share it.
#[derive(Debug, Default)]
struct Event {
    payload: Payload,
    shared: Arc<Pair>,
    list: Vec<u64>,
    /// So many copies of it panic.
    panics: AtomicU64,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Pair(u64, u64);

impl Event {
    fn new(id: Id, panics: u64) -> Self {
        Self {
            payload: Payload::new(id),
            shared: Arc::new(Pair(id.producer, id.count)),
            list: vec![id.count; (id.count % 7) as usize],
            panics: AtomicU64::new(panics),
        }
    }

    fn read(&self) -> Id {
        let id = self.payload.read();
        assert_eq!(*self.shared, Pair(id.producer, id.count));
        assert_eq!(self.list, vec![id.count; (id.count % 7) as usize]);
        id
    }
}

impl Clone for Event {
    fn clone(&self) -> Self {
        let left = |left: u64| left.checked_sub(1);
        if (self.panics)
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left)
            .is_ok()
        {
            resume_unwind(Box::new(ON_PURPOSE));
        }
        let shared = self.shared.clone();
        if shared.1.is_multiple_of(5) {
            thread::yield_now(); // time for somebody to overwrite the rest
        }
        Self {
            payload: self.payload.clone(),
            shared,
            list: self.list.clone(),
            panics: AtomicU64::new(0),
        }
    }
}

/// What one tap got.
struct Got {
    events: Vec<Id>,
    skipped: u64,
    /// Every sequence below was copied or skipped.
    end: u64,
    ended: Ended,
}

/// A batch: its sequences, what was skipped, the copies.
type Read = (std::ops::Range<u64>, u64, Vec<Event>);

/// Reads by a random verb. `Ok(None)`: nothing was there, or a copy panicked.
fn read(tap: &mut Tap<Event>, random: &mut Random) -> Result<Option<Read>, Ended> {
    let verb = random.below(4);
    let soon = Instant::now() + Duration::from_micros(random.below(500));
    let reading = catch_unwind(AssertUnwindSafe(|| {
        let batch = match verb {
            0 => block_on(tap.read_async())?,
            1 => tap.read()?,
            2 => match tap.read_deadline(soon) {
                Ok(batch) => batch,
                Err(ReadDeadlineError::Ended(ended)) => return Err(ended),
                Err(ReadDeadlineError::TimedOut) => return Ok(None),
            },
            _ => match tap.try_read() {
                Ok(batch) => batch,
                Err(TryReadError::Ended(ended)) => return Err(ended),
                Err(TryReadError::Empty) => return Ok(None),
            },
        };
        let sequences = batch.sequences();
        let range = sequences.start().get()..sequences.end().get();
        Ok(Some((range, batch.skipped(), batch.into_vec())))
    }));
    match reading {
        Ok(read) => read,
        Err(panic) if panic.downcast_ref() == Some(&ON_PURPOSE) => Ok(None),
        Err(panic) => resume_unwind(panic),
    }
}

/// Reads to the end, and stops now and then.
fn follow(tap: &mut Tap<Event>, random: &mut Random, stops: bool) -> Got {
    let (mut events, mut skipped, mut end) = (Vec::new(), 0, 0);
    loop {
        match read(tap, random) {
            Ok(None) => thread::yield_now(),
            Ok(Some((range, jumped, copies))) => {
                assert_eq!(range.start, end + jumped, "nothing is uncounted");
                (skipped, end) = (skipped + jumped, range.end);
                events.extend(copies.iter().map(Event::read));
            }
            Err(ended) => {
                assert_eq!(tap.skipped(), skipped + (tap.stats().position - end));
                return Got {
                    events,
                    skipped: tap.skipped(),
                    end: tap.stats().position,
                    ended,
                };
            }
        }
        if stops && random.once_in(8) {
            thread::sleep(Duration::from_micros(random.below(2000)));
        }
    }
}

/// A bus with a slow stage, whose producers publish so much in random ways, and taps that read beside.
struct Case {
    wait: Wait,
    capacity: usize,
    events: u64,
    panics: bool,
    on_lag: OnLag,
}

fn publish<K: ProducerKind>(
    mut producer: Producer<Event, K>,
    number: u64,
    case: &Case,
    mut random: Random,
) {
    let mut count = 0;
    while count < case.events {
        let panics = u64::from(case.panics && random.once_in(50));
        let event = |count| {
            Event::new(
                Id {
                    producer: number,
                    count,
                },
                panics,
            )
        };
        match random.below(4) {
            0 => {
                let most = (case.events - count).min(case.capacity as u64 + 3);
                let batch = (count..count + most).map(event).collect::<Vec<_>>();
                producer.publish_batch(batch).expect("it is open");
                count += most;
            }
            1 => match producer.try_publish(event(count)) {
                Ok(_) => count += 1,
                Err(TryPublishError::Full(_)) => thread::yield_now(),
                Err(closed) => panic!("{closed}"),
            },
            2 => {
                block_on(producer.publish_async(event(count))).expect("it is open");
                count += 1;
            }
            _ => {
                producer.publish(event(count)).expect("it is open");
                count += 1;
            }
        }
    }
}

/// Every producer's events are in order, each at most once.
fn check(got: &Got, producers: u64, events: u64) {
    assert_eq!(got.events.len() as u64 + got.skipped, got.end);
    if got.ended == Ended::Drained {
        assert_eq!(got.end, producers * events, "all there was");
    }
    for producer in 0..producers {
        let mine = (got.events.iter()).filter(|id| id.producer == producer);
        let counts: Vec<_> = mine.map(|id| id.count).collect();
        assert!(counts.is_sorted_by(|a, b| a < b), "{counts:?}");
    }
}

fn run<K: ProducerKind>(
    mut topology: Topology<Event, K>,
    case: &Case,
    mut random: Random,
    clone: impl Fn(&Producer<Event, K>) -> Option<Producer<Event, K>>,
) -> Vec<Got> {
    let mut pauses = random.fork();
    let work = topology.stage("work").handle(move |event, _| {
        event.read();
        if pauses.once_in(30) {
            thread::yield_now();
        }
    });
    let mut taps = [
        topology.stage("quick").tap(case.on_lag),
        topology.stage("slow").tap(case.on_lag),
        topology.stage("behind").after([work]).tap(case.on_lag),
    ];
    let mut dropped = topology.stage("dropped").tap(case.on_lag);
    let (bus, producer) = topology.start().expect("the graph is right");
    let others: Vec<_> = (1..3).filter_map(|_| clone(&producer)).collect();
    let producers = 1 + others.len() as u64;
    let got = thread::scope(|scope| {
        for (number, producer) in (0..).zip([producer].into_iter().chain(others)) {
            let random = random.fork();
            scope.spawn(move || publish(producer, number, case, random));
        }
        let mut leaver = random.fork();
        scope.spawn(move || {
            for _ in 0..leaver.below(20) {
                if read(&mut dropped, &mut leaver).is_err() {
                    break;
                }
            }
        });
        let following: Vec<_> = (taps.iter_mut().enumerate())
            .map(|(index, tap)| {
                let mut random = random.fork();
                scope.spawn(move || follow(tap, &mut random, index > 0))
            })
            .collect();
        following
            .into_iter()
            .map(|thread| thread.join().expect("it does not panic"))
            .collect::<Vec<_>>()
    });
    bus.shutdown().expect("no stage fails");
    got.iter()
        .for_each(|got| check(got, producers, case.events));
    got
}

fn both_kinds(name: &str, case: Case, mut random: Random) -> Vec<Got> {
    let config = waiting(case.capacity, case.wait);
    let context = format!("{name}: {:?}, capacity {}", case.wait, case.capacity);
    let got = catch_unwind(AssertUnwindSafe(|| {
        let single =
            Topology::<_, Single>::single(config.clone(), Event::default).expect("it is open");
        let mut got = run(single, &case, random.fork(), |_| None);
        let multi =
            Topology::<_, Multi>::multi(config.clone(), Event::default).expect("it is open");
        got.extend(run(multi, &case, random.fork(), |one| Some(one.clone())));
        got
    }));
    got.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        panic!("{context}: {}", text.unwrap_or_default())
    })
}

#[test]
fn what_a_tap_copies_and_skips_is_all_there_was() {
    limited(|| {
        seeded(
            "what_a_tap_copies_and_skips_is_all_there_was",
            |mut random| {
                let (mut copied, mut skipped) = (0, 0);
                for wait in STRATEGIES {
                    for capacity in CAPACITIES {
                        let case = Case {
                            wait,
                            capacity,
                            events: bearable(400, capacity, wait),
                            panics: capacity % 2 == 0,
                            on_lag: OnLag::Skip,
                        };
                        for got in both_kinds("skip", case, random.fork()) {
                            assert_eq!(got.ended, Ended::Drained);
                            copied += got.events.len() as u64;
                            skipped += got.skipped;
                        }
                    }
                }
                assert!(copied > 1000 && skipped > 1000, "{copied}, {skipped}");
            },
        );
    });
}

#[test]
fn what_a_tap_copies_before_it_is_evicted_has_no_gap() {
    limited(|| {
        seeded(
            "what_a_tap_copies_before_it_is_evicted_has_no_gap",
            |mut random| {
                let (mut drained, mut evicted) = (0, 0);
                for wait in STRATEGIES {
                    for (capacity, micros) in
                        [(1, 100), (3, 0), (4, 500), (64, 2000), (2, 1_000_000)]
                    {
                        let case = Case {
                            wait,
                            capacity,
                            events: bearable(200, capacity, wait),
                            panics: false,
                            on_lag: OnLag::Evict {
                                after: Duration::from_micros(micros),
                            },
                        };
                        for got in both_kinds("evict", case, random.fork()) {
                            assert_eq!(got.skipped, 0);
                            match got.ended {
                                Ended::Drained => drained += 1,
                                Ended::Evicted { .. } => evicted += 1,
                                ended => panic!("{ended}"),
                            }
                        }
                    }
                }
                assert!(drained > 10 && evicted > 5, "{drained}, {evicted}");
            },
        );
    });
}
