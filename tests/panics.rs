//! User code that panics, at every place where a bus calls it: nobody may be left stuck, and nothing that was published
//! may be lost or delivered twice.
#![expect(
    clippy::unwrap_used,
    reason = "the lint does not see that functions called by tests are tests"
)]

mod common;

use common::executor::{bell, poll_once};
use common::payload::silent_panic;
use common::{Log, config, limited, numbers, panic_of, rest};
use ringway::{BusConfig, Consumer, Exclusive, Producer, ProducerKind, Topology, mpsc, spsc};
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::thread;

/// An event whose drop panics when it is armed; so large that lines have eight slots, and a slot is overwritten after eight events.
#[derive(Debug, Default)]
struct Bomb {
    number: u64,
    armed: bool,
    _large: [u64; 4],
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if std::mem::take(&mut self.armed) {
            panic!("bomb {}", self.number);
        }
    }
}

fn harmless(number: u64) -> Bomb {
    Bomb {
        number,
        ..Bomb::default()
    }
}

fn armed(number: u64) -> Bomb {
    Bomb {
        number,
        armed: true,
        ..Bomb::default()
    }
}

/// What is there now, by number.
fn bombs(rx: &mut Consumer<Bomb, Exclusive>) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let Ok(batch) = rx.try_read() {
        numbers.extend(batch.iter().map(|event| event.number));
    }
    numbers
}

#[test]
fn the_factory_of_slots() {
    let mut made = 0;
    let text = panic_of(|| {
        Topology::single(config(4), || {
            made += 1;
            assert!(made < 3, "the factory");
            harmless(made)
        })
    });
    assert!(text.contains("the factory"));
    assert!(panic_of(|| spsc::<Refusing>(2)).contains("no default"));
}

struct Refusing;
impl Default for Refusing {
    fn default() -> Self {
        panic!("no default");
    }
}

fn publish_closures<K: ProducerKind>(mut tx: Producer<u64, K>, mut rx: Consumer<u64, Exclusive>) {
    for lap in 0..3 {
        assert_eq!(panic_of(|| tx.publish_with(|_| panic!("write"))), "write");
        assert_eq!(
            panic_of(|| tx.try_publish_with(|_| panic!("write"))),
            "write"
        );
        assert_eq!(
            panic_of(|| tx.publish_with_deadline(|_| panic!("write"), common::later())),
            "write"
        );
        let text = panic_of(|| {
            let mut claim = tx.claim(2).unwrap();
            claim.iter_mut().for_each(|slot| *slot = 99);
            panic!("held a claim");
        });
        assert_eq!(text, "held a claim");
        tx.publish(lap).unwrap();
        assert_eq!(
            rest(&mut rx),
            [lap],
            "a publication that panicked published nothing, and nobody waits for it"
        );
    }
}

#[test]
fn closures_of_publications_and_holders_of_claims() {
    limited(|| {
        let (tx, rx) = spsc(8);
        publish_closures(tx, rx);
        let (tx, rx) = mpsc(8);
        publish_closures(tx, rx);
    });
}

/// Says that it has so many events, and yields others.
struct Liar {
    says: usize,
    has: std::ops::Range<u64>,
    panics_at: u64,
}

impl Iterator for Liar {
    type Item = u64;
    fn next(&mut self) -> Option<u64> {
        assert_ne!(self.has.start, self.panics_at, "the iterator");
        self.has.next()
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.says, Some(self.says))
    }
}

impl ExactSizeIterator for Liar {
    fn len(&self) -> usize {
        assert_ne!(self.says, usize::MAX - 1, "the length");
        self.says
    }
}

fn lying_iterators<K: ProducerKind>(mut tx: Producer<u64, K>, mut rx: Consumer<u64, Exclusive>) {
    let never = u64::MAX;
    let mut seen = || rest(&mut rx);
    assert_eq!(
        tx.publish_batch(Liar {
            says: 5,
            has: 0..3,
            panics_at: never
        })
        .unwrap(),
        3
    );
    assert_eq!(seen(), [0, 1, 2], "shorter than it says");
    assert_eq!(
        tx.publish_batch(Liar {
            says: usize::MAX,
            has: 0..3,
            panics_at: never
        })
        .unwrap(),
        3
    );
    assert_eq!(seen(), [0, 1, 2], "much shorter than it says");
    assert_eq!(
        tx.publish_batch(Liar {
            says: 2,
            has: 0..5,
            panics_at: never
        })
        .unwrap(),
        5
    );
    assert_eq!(seen(), [0, 1, 2, 3, 4], "longer than it says");
    assert_eq!(
        tx.publish_batch(Liar {
            says: 0,
            has: 0..5,
            panics_at: never
        })
        .unwrap(),
        0
    );
    let text = panic_of(|| {
        tx.publish_batch(Liar {
            says: 5,
            has: 10..15,
            panics_at: 13,
        })
    });
    assert!(text.contains("the iterator"), "{text}");
    assert_eq!(seen(), [10, 11, 12], "what it had yielded is published");
    let text = panic_of(|| {
        tx.publish_batch(Liar {
            says: usize::MAX - 1,
            has: 0..5,
            panics_at: never,
        })
    });
    assert!(text.contains("the length"), "{text}");
    tx.publish_slice(&[20, 21]).unwrap();
    assert_eq!(seen(), [20, 21]);
}

#[test]
fn iterators_of_batches_and_iterators_that_lie_about_their_length() {
    limited(|| {
        let (tx, rx) = spsc(8);
        lying_iterators(tx, rx);
        let (tx, rx) = mpsc(8);
        lying_iterators(tx, rx);
    });
}

fn drops_on_overwrite<K: ProducerKind>(
    mut tx: Producer<Bomb, K>,
    mut rx: Consumer<Bomb, Exclusive>,
) {
    for number in 0..8 {
        tx.publish(armed(number)).unwrap();
    }
    assert!(bombs(&mut rx).into_iter().eq(0..8));
    assert_eq!(panic_of(|| tx.publish(harmless(8))), "bomb 0");
    assert_eq!(
        panic_of(|| tx.publish_batch([harmless(9), harmless(10), harmless(11)])).len(),
        "bomb 1".len()
    );
    let mut delivered = bombs(&mut rx);
    while tx.publish_with(|slot| slot.armed = false).is_ok() && delivered.len() < 16 {
        delivered.extend(bombs(&mut rx));
    }
    let batch = [harmless(20), harmless(21)];
    tx.publish_batch(batch).unwrap();
    let after = bombs(&mut rx);
    assert_eq!(after[after.len() - 2..], [20, 21], "the ring goes on");
}

/// The same for events of which several share a cache line and its mark.
#[derive(Debug, Default)]
struct SmallBomb(Option<u32>);

impl Drop for SmallBomb {
    fn drop(&mut self) {
        if self.0.take() == Some(ARMED) {
            panic!("bomb");
        }
    }
}

const ARMED: u32 = u32::MAX;

#[test]
fn drops_of_events_that_share_a_line() {
    limited(|| {
        let (mut tx, mut rx) = spsc::<SmallBomb>(16);
        let read = |rx: &mut Consumer<SmallBomb, Exclusive>, all: &mut Vec<u32>| {
            while let Ok(mut batch) = rx.try_read() {
                let numbers = batch.iter_mut().filter_map(|event| event.0);
                all.extend(numbers.filter(|&number| number != ARMED));
            }
        };
        let (mut delivered, mut expected, mut panics) = (Vec::new(), Vec::new(), 0);
        for number in 0..1000 {
            let bomb = || (number % 7 == 3).then(|| tx.publish(SmallBomb(Some(ARMED))));
            panics += u32::from(catch_unwind(AssertUnwindSafe(bomb)).is_err());
            let batch = [Some(number), Some(number + 1_000_000)].map(SmallBomb);
            let published = catch_unwind(AssertUnwindSafe(|| tx.publish_batch(batch)));
            let before = delivered.len();
            read(&mut rx, &mut delivered);
            if published.is_ok() {
                expected.extend([number, number + 1_000_000]);
            } else {
                panics += 1; // what it had published before the panic is there
                expected.extend_from_slice(&delivered[before..]);
            }
        }
        // so that none is left when the ring goes
        while catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..64 {
                tx.publish(SmallBomb(None)).unwrap();
                drop(rx.read());
            }
        }))
        .is_err()
        {}
        assert!(panics > 0, "some slot held a bomb");
        assert_eq!(delivered, expected);
    });
}

/// Counts its drops; the armed one panics in its.
#[derive(Debug, Default)]
struct Counted(Arc<AtomicUsize>, bool);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        assert!(!self.1, "the armed one");
    }
}

#[test]
fn a_drop_that_panics_at_the_end_keeps_no_other_event_alive() {
    limited(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let mut made = 0;
        let topology = Topology::single(config(8), || {
            made += 1;
            Counted(drops.clone(), made == 4)
        });
        assert!(panic_of(|| drop(topology)).contains("the armed one"));
        assert_eq!(drops.load(Ordering::Relaxed), made);
        assert_eq!(Arc::strong_count(&drops), 1);
    });
}

#[test]
fn drops_of_events_that_are_overwritten() {
    limited(|| {
        let (tx, rx) = spsc(8);
        drops_on_overwrite(tx, rx);
        let (tx, rx) = mpsc(8);
        drops_on_overwrite(tx, rx);
    });
}

#[test]
fn drops_of_events_at_the_end() {
    limited(|| {
        let (mut tx, rx) = spsc(4);
        tx.publish(armed(1)).unwrap();
        drop(tx);
        assert_eq!(panic_of(|| drop(rx)), "bomb 1");
        let (mut tx, mut rx) = spsc(4);
        tx.publish_batch([armed(1), harmless(2)]).unwrap();
        assert_eq!(panic_of(|| rx.read().unwrap().drain().count()), "bomb 1");
        tx.publish(harmless(3)).unwrap();
        assert_eq!(bombs(&mut rx), [3], "a batch that was unwound is over");
    });
}

#[derive(Debug, PartialEq)]
struct Fussy(u64);
static FUSSY: AtomicBool = AtomicBool::new(false);
impl Default for Fussy {
    fn default() -> Self {
        assert!(!FUSSY.load(Ordering::SeqCst), "no default now");
        Self(0)
    }
}

#[test]
fn defaults_that_a_drain_leaves_behind() {
    limited(|| {
        let (mut tx, mut rx) = spsc::<Fussy>(4);
        tx.publish_batch([Fussy(1), Fussy(2)]).unwrap();
        let mut batch = rx.read().unwrap();
        FUSSY.store(true, Ordering::SeqCst);
        assert_eq!(panic_of(|| batch.drain().next()), "no default now");
        FUSSY.store(false, Ordering::SeqCst);
        assert!(batch.iter().eq(&[Fussy(1), Fussy(2)]), "nothing was taken");
        assert!(batch.drain().eq([Fussy(1), Fussy(2)]));
        drop(batch);
        assert_eq!(tx.free(), 4);
    });
}

#[test]
fn readers_that_hold_a_batch() {
    limited(|| {
        let (mut tx, mut rx) = mpsc::<u64>(2);
        let mut topology = Topology::single(config(2), || 0).unwrap();
        let (_, worker) = topology.stage("workers").workers();
        let (_bus, mut producer) = topology.start().unwrap();
        for lap in 0..3 {
            tx.publish_slice(&[lap, lap]).unwrap();
            let text = panic_of(|| rx.read().map(|batch| assert_eq!(batch.len(), 0, "held")));
            assert!(text.contains("held"));
            assert_eq!(tx.free(), 2, "its slots are free");
            producer.publish_slice(&[lap, lap]).unwrap();
            let mut member = worker.clone();
            let died = thread::spawn(move || {
                member
                    .read()
                    .map(|batch| assert_eq!(batch.len(), 0))
                    .is_ok()
            });
            assert!(died.join().is_err());
            producer.publish_batch(numbers(0..1)).unwrap();
            let mut member = worker.clone();
            common::until(|| member.try_read().is_err());
        }
    });
}

/// A waker that panics when it is used, and counts how often.
#[derive(Default)]
struct Grenade(AtomicUsize);
impl Wake for Grenade {
    fn wake(self: Arc<Self>) {
        panic!(
            "the waker, used {} times before",
            self.0.fetch_add(1, Ordering::SeqCst)
        );
    }
}

#[test]
fn wakers_of_readers() {
    limited(|| {
        let mut topology = Topology::single(config(4), || 0).unwrap();
        let (_, mut first) = topology.stage("first").async_consumer();
        let (_, mut second) = topology.stage("second").async_consumer();
        let (_, mut third) = topology.stage("third").consumer();
        let (bus, mut producer) = topology.start().unwrap();
        let grenade = Waker::from(Arc::new(Grenade::default()));
        let (bell, waker) = bell();
        let (mut one, mut two) = (pin!(first.read()), pin!(second.read()));
        assert!(poll_once(one.as_mut(), &grenade).is_pending());
        assert!(poll_once(two.as_mut(), &waker).is_pending());
        let thread = thread::spawn(move || third.read().map(|batch| batch.len()));
        common::until(|| bus.stats().stages[2].parks > 0);
        producer
            .publish(1)
            .expect("a waker's panic is none of the publisher's business");
        assert_eq!(bell.rung(), 1, "everybody else is woken");
        assert_eq!(thread.join().unwrap(), Ok(1));
        assert!(poll_once(one, &waker).is_ready() && poll_once(two, &waker).is_ready());
        assert_eq!(producer.publish(2).map(|sequence| sequence.get()), Ok(1));
        drop(producer);
        bus.shutdown().unwrap();
    });
}

#[test]
fn wakers_that_a_stage_wakes_do_not_end_the_stage() {
    limited(|| {
        let mut topology = Topology::single(config(4), || 0).unwrap();
        let first = topology.stage("managed").handle(|_, _| ());
        let (_, mut rx) = topology.stage("task").after([first]).async_consumer();
        let (bus, mut producer) = topology.start().unwrap();
        let grenade = Arc::new(Grenade::default());
        let waker = Waker::from(grenade.clone());
        for number in 0..3 {
            let mut read = pin!(rx.read());
            assert!(poll_once(read.as_mut(), &waker).is_pending());
            producer.publish(number).unwrap();
            common::until(|| grenade.0.load(Ordering::SeqCst) > number as usize);
            assert!(poll_once(read, &waker).is_ready());
        }
        drop(producer);
        bus.shutdown().expect("no stage failed");
    });
}

/// A waker that panics when nobody has it any more.
struct Fragile;
impl Wake for Fragile {
    fn wake(self: Arc<Self>) {}
}
impl Drop for Fragile {
    fn drop(&mut self) {
        panic!("the waker's drop");
    }
}

#[test]
fn drops_of_wakers() {
    limited(|| {
        let mut topology = Topology::single(config(4), || 0).unwrap();
        let (_, mut rx) = topology.stage("task").async_consumer();
        let (_bus, mut producer) = topology.start().unwrap();
        let (bell, waker) = bell();
        let mut read = Box::pin(rx.read());
        let fragile = Waker::from(Arc::new(Fragile));
        assert!(poll_once(read.as_mut(), &fragile).is_pending());
        drop(fragile); // the registered one is the last
        assert!(poll_once(read.as_mut(), &waker).is_pending()); // replaced by another; its panic goes no further
        drop(read);
        for number in 0..3 {
            let mut read = pin!(rx.read());
            assert!(poll_once(read.as_mut(), &waker).is_pending());
            assert_eq!(
                bell.rung(),
                number as usize,
                "it sleeps, and does not ask to be polled at once"
            );
            producer.publish(number).unwrap();
            assert_eq!(bell.rung(), number as usize + 1, "it is still woken");
            assert!(poll_once(read, &waker).is_ready());
        }
    });
}

/// A key whose hash panics for one event.
struct Key(u64);
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        assert_ne!(self.0, 5, "the hash");
        state.write_u64(self.0);
    }
}

#[test]
fn keys_and_their_hashes() {
    limited(|| {
        let log = Log::new();
        let mut topology = Topology::multi(
            BusConfig {
                on_panic: ringway::OnPanic::Skip,
                ..config(16)
            },
            || 0,
        )
        .unwrap();
        let key = |event: &u64| {
            assert_ne!(*event, 3, "the key");
            Key(*event)
        };
        topology.stage("keyed").share_by(2, key, |_| {
            let log = log.clone();
            move |event: &u64, _| log.push(*event)
        });
        let (bus, mut producer) = topology.start().unwrap();
        producer.publish_batch(numbers(0..10)).unwrap();
        drop(producer);
        common::until(|| bus.stats().stages[0].ended);
        assert_eq!(
            bus.stats().stages[0].failures,
            4,
            "each member failed on both"
        );
        bus.shutdown().unwrap();
        let mut seen = log.take();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 4, 6, 7, 8, 9]);
    });
}

/// Under `Skip` the last event that a member gets of a batch is the end of it, whatever comes after it.
#[test]
fn keys_at_the_end_of_a_batch() {
    limited(|| {
        for bad in 0_u32..1 << 6 {
            let log = Log::new();
            let mut topology = Topology::single(config(8), || 0).unwrap();
            let (gate, mut open) = topology.stage("gate").consumer();
            let group = (topology.stage("keyed").after([gate])).on_panic(ringway::OnPanic::Skip);
            let key = move |event: &u64| {
                (bad >> event & 1 == 1).then(silent_panic);
            };
            group.share_by(1, key, |_| {
                let log = log.clone();
                move |event: &u64, at: ringway::Delivery| log.push((*event, at.end_of_batch))
            });
            let (bus, mut producer) = topology.start().unwrap();
            producer.publish_batch(numbers(0..6)).unwrap();
            drop(open.read().unwrap()); // all at once
            drop((producer, open));
            common::until(|| bus.stats().stages[1].ended);
            assert_eq!(bus.stats().stages[1].failures, u64::from(bad.count_ones()));
            bus.shutdown().unwrap();
            let good: Vec<u64> = (0..6).filter(|event| bad >> event & 1 == 0).collect();
            let expected = good
                .iter()
                .map(|event| (*event, good.last() == Some(event)));
            assert!(log.take().into_iter().eq(expected), "bad: {bad:b}");
        }
    });
}

#[test]
fn makers_of_members() {
    limited(|| {
        for (keyed, dies_at) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
            let mut topology = Topology::multi(config(4), || 0).unwrap();
            let make = |dies: bool| {
                move |member: usize| {
                    assert!(!dies || member != dies_at, "the maker");
                    |_: &u64, _| ()
                }
            };
            let mut add = |dies: bool| match keyed {
                false => topology.stage("group").share(3, make(dies)),
                true => topology
                    .stage("group")
                    .share_by(3, |event: &u64| *event, make(dies)),
            };
            assert_eq!(panic_of(|| add(true)), "the maker");
            add(false); // as if the first had never been tried
            let (bus, mut producer) = topology.start().unwrap();
            producer.publish_batch(numbers(0..20)).unwrap();
            drop(producer);
            bus.shutdown().unwrap();
        }
    });
}
