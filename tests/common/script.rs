//! What a producer under load does, at random, and what must hold of everything that was published.

use super::payload::{Id, Payload, silent_panic};
use super::{Log, Random, later};
use ringway::{Producer, ProducerKind, Single};
use std::any::TypeId;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// What one stage saw, in the order in which it did.
pub(crate) type Seen = Log<(u64, Id)>;

/// How far the stages are that see every event; what is above a stage's progress it has not freed.
#[derive(Clone, Default)]
pub(crate) struct Progress(pub(crate) Arc<[AtomicU64; 3]>);

impl Progress {
    pub(crate) fn least(&self) -> u64 {
        self.0
            .iter()
            .map(|stage| stage.load(Ordering::SeqCst))
            .min()
            .expect("three")
    }
}

/// What one producer does.
pub(crate) struct Script<K: ProducerKind> {
    pub(crate) producer: Producer<Payload, K>,
    pub(crate) number: u64,
    pub(crate) events: u64,
    pub(crate) random: Random,
    /// Whether it claims slots that it does not publish.
    pub(crate) distracted: bool,
    /// To check that nothing is published above what the stages have freed; only where no sequence is abandoned.
    pub(crate) bound: Option<Progress>,
}

impl<K: ProducerKind> Script<K> {
    pub(crate) fn play(mut self) {
        let mut count = 0;
        while count < self.events {
            if self.distracted {
                self.distract();
            }
            let (last, published) = self.publish_some(count);
            count += published;
            if let Some(progress) = &self.bound {
                let freed = progress.least();
                assert!(
                    last < freed + self.producer.capacity() as u64,
                    "{last} is published, {freed} is handled"
                );
            }
        }
    }

    /// Publishes a few events, by some verb; the last one's sequence, and how many.
    fn publish_some(&mut self, count: u64) -> (u64, u64) {
        let Self {
            producer,
            number,
            events,
            random,
            ..
        } = self;
        let capacity = producer.capacity() as u64;
        let id = |count| Id {
            producer: *number,
            count,
        };
        let left = *events - count;
        match random.below(6) {
            0 => (
                producer
                    .publish(Payload::new(id(count)))
                    .expect("open")
                    .get(),
                1,
            ),
            1 => (
                producer
                    .publish_with(|slot| slot.write(id(count)))
                    .expect("open")
                    .get(),
                1,
            ),
            2 => (
                producer
                    .publish_deadline(Payload::new(id(count)), later())
                    .expect("open")
                    .get(),
                1,
            ),
            3 => {
                let mut event = Payload::new(id(count));
                loop {
                    match producer.try_publish(event) {
                        Ok(sequence) => return (sequence.get(), 1),
                        Err(full) => event = full.into_event(),
                    }
                    thread::yield_now();
                }
            }
            4 => {
                let size = 1 + random.below(left.min(capacity));
                let mut claim = producer.claim(size as usize).expect("open");
                claim
                    .iter_mut()
                    .zip(count..)
                    .for_each(|(slot, count)| slot.write(id(count)));
                (claim.publish().end().get() - 1, size)
            }
            _ => {
                let size = (1 + random.below(left.min(2 * capacity))) as usize;
                let events = (0..size).map(|offset| Payload::new(id(count + offset as u64)));
                assert_eq!(producer.publish_batch(events), Ok(size));
                (0, size as u64)
            }
        }
    }

    /// Claims slots, spoils them, and does not publish them.
    fn distract(&mut self) {
        let Self {
            producer, random, ..
        } = self;
        let most = producer.capacity() as u64;
        match random.below(12) {
            0 => {
                let mut claim = producer
                    .claim(1 + random.below(most) as usize)
                    .expect("open");
                claim.iter_mut().for_each(Payload::spoil);
            }
            1 => {
                let publication = || {
                    producer.publish_with(|slot| {
                        slot.spoil();
                        silent_panic();
                    })
                };
                assert!(catch_unwind(AssertUnwindSafe(publication)).is_err());
            }
            2 if TypeId::of::<K>() == TypeId::of::<Single>() => {
                // forgotten, it costs nothing
                let Ok(mut claim) = producer.try_claim(1 + random.below(most) as usize) else {
                    return;
                };
                claim.iter_mut().for_each(Payload::spoil);
                std::mem::forget(claim);
            }
            _ => {}
        }
    }
}

/// Every event of every producer, once.
pub(crate) fn exactly_once(stage: &str, seen: &Seen, producers: u64, events: u64) {
    let all = seen.take();
    let mut ids = ids(&all);
    ids.sort_unstable();
    let expected =
        (0..producers).flat_map(|producer| (0..events).map(move |count| Id { producer, count }));
    assert!(ids.into_iter().eq(expected), "stage {stage}: {all:?}");
    all.into_iter().for_each(|one| seen.push(one));
}

/// Each producer's events are all there from the first on, and in its order, in a list that is in the order of sequences.
pub(crate) fn in_order_of_producers(seen: &[Id]) {
    let mut next = HashMap::new();
    for id in seen {
        let expected = next.entry(id.producer).or_insert(0);
        assert_eq!(id.count, *expected, "{seen:?}");
        *expected += 1;
    }
}

/// Without the sequences.
pub(crate) fn ids(seen: &[(u64, Id)]) -> Vec<Id> {
    seen.iter().map(|(_, id)| *id).collect()
}
