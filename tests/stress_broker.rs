//! Topics that come, go and are looked for at the same time.

mod common;

use common::{config, later, limited};
use ringway::{
    Broker, Bus, Consumer, Ended, Error, ErrorKind, Multi, Producer, SubscribeConfig, TopicState,
    Topology,
};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

/// A bus of several producers with one reader.
fn multi() -> (Bus<u64>, Producer<u64, Multi>, Consumer<u64>) {
    let mut topology = Topology::multi(config(64), || 0).expect("it is right");
    let (_, rx) = topology.stage("first").consumer();
    let (bus, tx) = topology.start().expect("it is right");
    (bus, tx, rx)
}

/// It is refused, because the topic has ended.
#[track_caller]
fn has_ended<R>(result: Result<R, Error>) {
    let error = result.err().expect("it is refused");
    assert_eq!(error.kind(), ErrorKind::TopicEnded, "{error}");
}

#[test]
fn of_many_who_register_a_name_one_gets_it() {
    let broker = Broker::new();
    for _ in 0..if cfg!(miri) { 5 } else { 200 } {
        let start = Barrier::new(3);
        let buses = thread::scope(|scope| {
            let register = || {
                let (bus, tx, rx) = multi();
                start.wait();
                let registered = broker.register("topic", &bus);
                (registered.map_err(|error| error.kind()), bus, tx, rx)
            };
            let parts = [(); 3].map(|()| scope.spawn(register));
            parts.map(|part| part.join().expect("it does not panic"))
        });
        let mut producer = broker.producer::<u64>("topic").expect("one did");
        producer.publish(7).expect("it is open");
        for (registered, _bus, _tx, mut rx) in buses {
            match registered {
                Ok(()) => assert!(rx.try_read().expect("it is this one").iter().eq(&[7])),
                Err(kind) => {
                    assert_eq!(kind, ErrorKind::DuplicateTopic);
                    assert!(rx.try_read().is_err());
                }
            }
        }
    }
}

/// An event whose drop looks at the broker; `by_looker`: how many were dropped by a thread that was looking for topics.
struct Looks {
    broker: Broker,
    by_looker: Arc<AtomicUsize>,
}

const LOOKER: &str = "looker";

impl Drop for Looks {
    fn drop(&mut self) {
        drop(self.broker.topics());
        self.broker.unregister("nothing");
        if thread::current().name() == Some(LOOKER) {
            self.by_looker.fetch_add(1, Ordering::SeqCst);
        }
    }
}

type Ends = (Bus<Looks>, Producer<Looks, Multi>, Consumer<Looks>);

/// A bus of such events, registered as `topic`.
fn looks(broker: &Broker, by_looker: &Arc<AtomicUsize>) -> Ends {
    let event = || Looks {
        broker: broker.clone(),
        by_looker: by_looker.clone(),
    };
    let mut topology = Topology::multi(config(1), event).expect("it is right");
    let (_, rx) = topology.stage("first").consumer();
    let (bus, tx) = topology.start().expect("it is right");
    broker.register("topic", &bus).expect("the last one ended");
    (bus, tx, rx)
}

fn start_looker(look: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
    let looker = thread::Builder::new().name(LOOKER.into());
    looker.spawn(look).expect("a thread can be started")
}

#[test]
fn whoever_looks_for_topics_may_be_the_one_who_drops_their_events() {
    limited(|| {
        let (broker, by_looker) = (Broker::new(), Arc::<AtomicUsize>::default());
        let patience = Instant::now() + Duration::from_secs(5);
        while by_looker.load(Ordering::SeqCst) < 20 && Instant::now() < patience {
            let ends = looks(&broker, &by_looker);
            let (start, done) = (Arc::new(Barrier::new(2)), Arc::new(AtomicBool::new(false)));
            let looker = start_looker({
                let (broker, start, done) = (broker.clone(), start.clone(), done.clone());
                move || {
                    start.wait();
                    while !done.load(Ordering::SeqCst) {
                        drop(broker.topics());
                        drop(broker.producer::<Looks>("topic"));
                    }
                }
            });
            start.wait();
            drop(ends);
            done.store(true, Ordering::SeqCst);
            looker.join().expect("it does not panic");
        }
    });
}

/// Becomes a name just when somebody joins under it, and ends the bus then.
struct Ending(Ends);

impl From<Ending> for String {
    fn from(Ending(ends): Ending) -> Self {
        drop(ends);
        "late".into()
    }
}

#[test]
fn a_bus_that_ends_while_somebody_joins_is_let_go_by_him() {
    limited(|| {
        let (broker, by_looker) = (Broker::new(), Arc::<AtomicUsize>::default());
        let ends = looks(&broker, &by_looker);
        let looker = start_looker({
            let broker = broker.clone();
            move || {
                let config = SubscribeConfig::default();
                let late = broker.subscribe::<Looks>("topic", Ending(ends), config);
                has_ended(late);
            }
        });
        looker.join().expect("it does not panic");
        assert_ne!(by_looker.load(Ordering::SeqCst), 0, "nobody else has it");
        assert_eq!(broker.topics()[0].state, TopicState::Ended);
    });
}

#[test]
fn the_last_drop_and_a_lookup_agree() {
    const ROUNDS: u64 = if cfg!(miri) { 10 } else { 3000 };
    limited(|| {
        let broker = Broker::new();
        let mut outcomes = BTreeSet::new();
        for round in 0..ROUNDS {
            let (bus, mut tx, rx) = multi();
            broker
                .register("numbers", &bus)
                .expect("the last one ended");
            tx.publish(1).expect("it is open");
            let start = Arc::new(Barrier::new(2));
            let (elsewhere, go) = (broker.clone(), start.clone());
            // on one core whoever comes second to the barrier goes on, and so would win always
            let together = round % 2 == 0;
            let looking = thread::spawn(move || {
                if together {
                    go.wait();
                    (0..round % 64).for_each(|_| std::hint::spin_loop());
                }
                match elsewhere.producer::<u64>("numbers") {
                    Ok(mut tx) => {
                        tx.publish(2).expect("it keeps the bus open");
                        true
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::TopicEnded, "{error}");
                        false
                    }
                }
            });
            if together {
                start.wait();
            }
            drop(tx);
            let joined = looking.join().expect("it does not panic");
            let expected = if joined { vec![1, 2] } else { vec![1] };
            let (all, ended) = read_until(rx, None);
            assert_eq!((all, ended), (expected, Some(Ended::Drained)));
            assert_eq!(bus.stats().producers.len(), 0);
            has_ended(broker.producer::<u64>("numbers"));
            outcomes.insert(joined);
        }
        assert!(cfg!(miri) || outcomes.len() == 2, "seen: {outcomes:?}");
    });
}

#[test]
fn topics_come_and_go_while_parts_look_for_them() {
    const BUSES: usize = if cfg!(miri) { 5 } else { 300 };
    const ENOUGH: usize = 20;
    limited(|| {
        let broker = Broker::new();
        let stop = AtomicBool::new(false);
        let published = AtomicUsize::new(0);
        let read = AtomicUsize::new(0);
        let mut ended = Vec::new();
        thread::scope(|scope| {
            for part in 0..3 {
                let (broker, stop, published) = (&broker, &stop, &published);
                scope.spawn(move || {
                    let reader = format!("late-{part}");
                    while !stop.load(Ordering::Relaxed) {
                        let found = broker.producer::<u64>("numbers").and_then(|mut tx| {
                            let config = SubscribeConfig::default();
                            let late = broker.subscribe("numbers", &reader, config)?;
                            if tx.publish(part).is_ok() {
                                published.fetch_add(1, Ordering::Relaxed);
                                drop(tx);
                                let (_, ended) = read_until(late, Some(part));
                                assert_eq!(ended, None, "it was there when {part} was published");
                            }
                            Ok(())
                        });
                        if let Err(error) = found {
                            let kinds = [ErrorKind::UnknownTopic, ErrorKind::TopicEnded];
                            assert!(kinds.contains(&error.kind()), "{error}");
                        }
                        drop(broker.topics());
                    }
                });
            }
            for round in 0..BUSES {
                let (bus, tx, mut rx) = multi();
                while broker.register("numbers", &bus).is_err() {
                    thread::yield_now(); // parts still hold the last one open
                }
                let mut tx = Some(tx);
                let mut events = 0;
                while let Ok(batch) = rx.read_deadline(later()) {
                    events += batch.len();
                    drop(batch);
                    tx = None; // from now on it ends whenever nobody has a producer
                    if events > ENOUGH {
                        bus.close(); // or somebody always has one
                    }
                }
                assert!(tx.is_none(), "nobody found round {round}");
                read.fetch_add(events, Ordering::Relaxed);
                ended.push(events > ENOUGH);
                if round % 3 == 0 {
                    broker.unregister("numbers");
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(
            published.load(Ordering::Relaxed),
            read.load(Ordering::Relaxed)
        );
        assert!(ended.contains(&true), "no bus was closed");
    });
}

/// Reads until this event has come, or nothing will.
fn read_until(mut rx: Consumer<u64>, event: Option<u64>) -> (Vec<u64>, Option<Ended>) {
    let mut read = Vec::new();
    loop {
        match rx.read() {
            Ok(batch) => read.extend(batch.iter().copied()),
            Err(ended) => return (read, Some(ended)),
        }
        if event.is_some_and(|event| read.contains(&event)) {
            return (read, None);
        }
    }
}
