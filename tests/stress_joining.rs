//! Readers that join and leave at random under full load: each sees a gapless piece of what the bus's own reader sees, from where it
//! joined to where it left.

mod common;

use common::{Log, Random, STRATEGIES, bearable, limited, mix, seeded, waiting};
use ringway::{
    Bus, BusConfig, Consumer, Ended, Error, ErrorKind, OnUnread, Producer, ProducerKind,
    SubscribeConfig, Topology, Wait,
};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// A tiny one, where joins meet refreshes all the time, and some that are not.
const CAPACITIES: [usize; 4] = [1, 2, 8, 64];
const JOINERS: u64 = 2;

/// An event that shows when it was torn, or is another one's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Event {
    producer: u64,
    number: u64,
    edited: bool,
    check: u64,
}

impl Event {
    fn new(producer: u64, number: u64) -> Self {
        Self {
            producer,
            number,
            edited: false,
            check: mix(producer << 32 | number),
        }
    }

    fn assert_whole(&self) {
        assert_eq!(
            self.check,
            mix(self.producer << 32 | self.number),
            "{self:?}"
        );
    }
}

/// `Topology::single` or `Topology::multi`.
type Make<K> = fn(BusConfig, fn() -> Event) -> Result<Topology<Event, K>, Error>;

/// What a reader saw: sequences and events.
type Seen = Log<(u64, Event)>;

/// Reads at most so many batches, with pauses; the end if it came to one. What it sees is whole, and gapless from `next` on.
fn read(
    rx: &mut Consumer<Event>,
    mut next: u64,
    batches: u64,
    random: &mut Random,
    seen: &Seen,
) -> Option<Ended> {
    for _ in 0..batches {
        let batch = match rx.read() {
            Ok(batch) => batch,
            Err(ended) => return Some(ended),
        };
        assert_eq!(batch.sequences().start().get(), next, "gapless");
        for (offset, event) in batch.iter().enumerate() {
            event.assert_whole();
            if random.once_in(16) {
                thread::yield_now(); // as long as it holds the event nobody writes it
                event.assert_whole();
            }
            seen.push((next + offset as u64, *event));
        }
        next = batch.sequences().end().get();
        if random.once_in(32) {
            thread::sleep(Duration::from_micros(random.below(200)));
        }
        if random.once_in(8) {
            std::mem::forget(batch);
        }
    }
    None
}

/// Joins and leaves until the bus has closed.
fn come_and_go(bus: &Bus<Event>, name: &str, mut random: Random, seen: &Seen) -> (u64, u64) {
    let (mut joins, mut drained) = (0, 0);
    loop {
        let config = SubscribeConfig {
            batch_max: Some(1 + random.below(8) as usize),
            wait: Some(STRATEGIES[random.below(4) as usize]), // each but BusySpin
        };
        let before = bus.stats().position;
        let mut late = match bus.subscribe(name, config) {
            Ok(late) => late,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
                return (joins, drained);
            }
        };
        joins += 1;
        let after = bus.stats();
        let own = after.stages.iter().find(|stage| stage.name == name);
        let first = own.expect("it lives").position;
        // with several producers the position counts what is only claimed
        assert!(first <= after.position, "{first} of {}", after.position);
        assert!(first + bus.capacity() as u64 >= before, "{first}, {before}");
        if random.once_in(2) {
            thread::sleep(Duration::from_micros(random.below(100)));
        }
        let batches = random.below(6);
        if let Some(ended) = read(&mut late, first, batches, &mut random, seen) {
            assert_eq!(ended, Ended::Drained);
            drained += 1;
        }
    }
}

struct Case {
    capacity: usize,
    wait: Wait,
    random: Random,
}

fn run<K: ProducerKind>(
    mut case: Case,
    edits: bool,
    topology: Make<K>,
    producers: impl FnOnce(Producer<Event, K>) -> Vec<Producer<Event, K>>,
) -> u64
where
    Producer<Event, K>: Send + 'static,
{
    let config = BusConfig {
        stages_max: 2 + JOINERS as usize,
        ..waiting(case.capacity, case.wait)
    };
    let mut topology = topology(config, Event::default).expect("the configuration is right");
    let editor = topology.stage("edit");
    let edit = if edits {
        editor.handle_mut(|event, _| event.edited = true)
    } else {
        editor.handle(|event, _| event.assert_whole())
    };
    let (_, mut rx) = topology.stage("own").after([edit]).consumer();
    let (bus, tx) = topology.start().expect("the graph is right");
    let bus = Arc::new(bus);
    let events = bearable(600, case.capacity, case.wait);

    let (all, late) = (Seen::new(), Seen::new());
    let own = thread::spawn({
        let (all, mut random) = (all.clone(), case.random.fork());
        move || read(&mut rx, 0, u64::MAX, &mut random, &all)
    });
    let joiners: Vec<_> = (0..JOINERS)
        .map(|joiner| {
            let (bus, late, random) = (bus.clone(), late.clone(), case.random.fork());
            thread::spawn(move || come_and_go(&bus, &format!("late-{joiner}"), random, &late))
        })
        .collect();
    let producers = producers(tx);
    let published = events * producers.len() as u64;
    let writers: Vec<_> = (0..)
        .zip(producers)
        .map(|(producer, mut tx)| {
            thread::spawn(move || {
                for number in 0..events {
                    tx.publish(Event::new(producer, number))
                        .expect("it is open");
                }
            })
        })
        .collect();
    for thread in writers {
        thread.join().expect("it publishes");
    }
    assert_eq!(own.join().expect("it reads"), Some(Ended::Drained));
    let joins = joiners
        .into_iter()
        .map(|joiner| joiner.join().expect("it joins").0)
        .sum();
    let all = all.take();
    assert_eq!(all.len() as u64, published, "the bus's own reader sees all");
    for (sequence, event) in late.take() {
        assert_eq!(event.edited, edits, "it comes after the stage that edits");
        assert_eq!(
            all[sequence as usize],
            (sequence, event),
            "the same for all"
        );
    }
    assert_eq!(bus.stats().stages.len(), 2, "all who joined have left");
    joins
}

/// A run for each capacity and strategy, with one producer and with several.
fn everywhere(name: &'static str, edits: bool) {
    let mut joins = 0;
    for wait in STRATEGIES {
        for capacity in CAPACITIES {
            seeded(
                &format!("{name}, {wait:?}, capacity {capacity}"),
                |mut random| {
                    let mut case = || Case {
                        capacity,
                        wait,
                        random: random.fork(),
                    };
                    let (one, several) = (case(), case());
                    joins += limited(move || run(one, edits, Topology::single, |tx| vec![tx]));
                    joins += limited(move || {
                        run(several, edits, Topology::multi, |tx| {
                            vec![tx.clone(), tx.clone(), tx]
                        })
                    });
                },
            );
        }
    }
    assert!(joins > 100, "{joins} joins prove little");
}

#[test]
fn behind_producers() {
    everywhere("behind producers", false);
}

#[test]
fn behind_a_stage_that_edits() {
    everywhere("behind a stage that edits", true);
}

/// Producers that never wait for anything but the one who joins: what a join gets wrong shows when it reads later than it might.
fn in_full_flight<K: ProducerKind>(
    on_unread: OnUnread,
    topology: Make<K>,
    producers: impl FnOnce(Producer<Event, K>) -> Vec<Producer<Event, K>>,
    mut random: Random,
) where
    Producer<Event, K>: Send + 'static,
{
    let joins = if cfg!(miri) { 10 } else { 3000 };
    let config = BusConfig {
        on_unread,
        ..waiting(64, Wait::Yield)
    };
    let mut topology = topology(config, Event::default).expect("it is right");
    let (_, rx) = topology.stage("leaves").consumer();
    if on_unread == OnUnread::Close {
        let stays = topology.stage("stays");
        stays.handle(|event, _| event.assert_whole());
    }
    let (bus, tx) = topology.start().expect("the graph is right");
    drop(rx);
    let writers: Vec<_> = (0..)
        .zip(producers(tx))
        .map(|(producer, mut tx)| {
            thread::spawn(move || {
                (0..)
                    .take_while(|&number| tx.publish(Event::new(producer, number)).is_ok())
                    .count()
            })
        })
        .collect();
    let mut next = vec![None; writers.len()];
    for _ in 0..joins {
        next.fill(None);
        let mut late = (bus.subscribe("late", SubscribeConfig::default())).expect("it is open");
        let stats = bus.stats();
        let first = stats.stages.last().expect("it lives").position;
        let pause = random.below(2000);
        (0..pause).for_each(|_| std::hint::spin_loop());
        for round in 0..2 {
            let batch = late.read().expect("it is open");
            assert!(round > 0 || batch.sequences().start().get() == first);
            let start = batch.sequences().start().get();
            for (sequence, event) in (start..).zip(&batch) {
                event.assert_whole();
                // with one producer each is its own sequence
                assert!(
                    next.len() > 1 || event.number == sequence,
                    "{event:?} at {sequence}"
                );
                let next = &mut next[event.producer as usize];
                assert!(
                    next.is_none_or(|next| next == event.number),
                    "{event:?}, not {next:?}"
                );
                *next = Some(event.number + 1);
            }
        }
    }
    bus.close();
    for writer in writers {
        assert!(writer.join().expect("it publishes") > 0);
    }
    bus.join().expect("no handler fails");
}

#[test]
fn in_full_flight_with_one_producer_and_with_two() {
    for on_unread in [OnUnread::Close, OnUnread::Continue] {
        seeded(&format!("in full flight, {on_unread:?}"), |mut random| {
            let (one, two) = (random.fork(), random.fork());
            limited(move || in_full_flight(on_unread, Topology::single, |tx| vec![tx], one));
            limited(move || {
                in_full_flight(on_unread, Topology::multi, |tx| vec![tx.clone(), tx], two);
            });
        });
    }
}
