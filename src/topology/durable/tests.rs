//! The journal's stage over a sink that tells what was asked of it, waits where it is told to, and fails where it is told to.

use super::*;
use crate::bus::Bus;
use crate::config::{BusConfig, OnJournalError, OnPanic, Wait};
use crate::error::{DurabilityError, Ended, StageError};
use crate::producer::{Multi, Producer};
use crate::sequence::Sequence;
use crate::stage::{Delivery, Handler};
use crate::topology::Topology;
use crate::wait::durability::Level;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Record(u64, u64),
    Flush(u64),
    Sync(u64),
    Note(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fails {
    /// On recording this sequence.
    Record(u64),
    RecordPanics(u64),
    /// On writing this sequence; what is before it is written.
    Flush(u64),
    /// On syncing this sequence.
    Sync(u64),
}

#[derive(Default)]
pub(super) struct Tape {
    asked: Mutex<Vec<Asked>>,
    /// No sync is done.
    is_held: Mutex<bool>,
    changed: Condvar,
}

impl Tape {
    pub(super) fn hold(&self, is_held: bool) {
        *self.is_held.lock().expect(SOUND) = is_held;
        self.changed.notify_all();
    }

    fn note(&self, asked: Asked) {
        self.asked.lock().expect(SOUND).push(asked);
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect(SOUND).clone()
    }

    fn syncs(&self) -> usize {
        let asked = self.asked.lock().expect(SOUND);
        (asked.iter())
            .filter(|asked| matches!(asked, Asked::Sync(_)))
            .count()
    }
}

pub(super) struct Head {
    tape: Arc<Tape>,
    written: u64,
    synced: u64,
    fails: Option<Fails>,
}

fn refused() -> Error {
    Error::new(ErrorKind::JournalIo, "no space left")
}

impl Sink for Head {
    type Event = u64;

    fn written(&self) -> u64 {
        self.written
    }

    fn synced(&self) -> u64 {
        self.synced
    }

    fn record<'e>(&mut self, first: u64, events: impl Iterator<Item = &'e u64>) -> Result<(), Error>
    where
        u64: 'e,
    {
        for (sequence, event) in (first..).zip(events) {
            match self.fails {
                Some(Fails::Record(at)) if at == sequence => return Err(refused()),
                Some(Fails::RecordPanics(at)) if at == sequence => panic!("it cannot be encoded"),
                _ => {}
            }
            self.tape.note(Asked::Record(sequence, *event));
        }
        Ok(())
    }

    fn flush(&mut self, below: u64) -> Result<(), Error> {
        if let Some(Fails::Flush(at)) = self.fails
            && at < below
        {
            self.written = at;
            return Err(refused());
        }
        self.written = below;
        self.tape.note(Asked::Flush(below));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        if let Some(Fails::Sync(at)) = self.fails
            && at < self.written
        {
            return Err(refused());
        }
        let held = self.tape.is_held.lock().expect(SOUND);
        drop(
            self.tape
                .changed
                .wait_while(held, |held| *held)
                .expect(SOUND),
        );
        self.synced = self.written;
        self.tape.note(Asked::Sync(self.synced));
        Ok(())
    }

    fn note_synced(&mut self) -> Result<(), Error> {
        self.tape.note(Asked::Note(self.synced));
        Ok(())
    }
}

pub(super) struct Setup {
    pub(super) first: u64,
    pub(super) sync: SyncPolicy,
    pub(super) on_error: OnJournalError,
    pub(super) fails: Option<Fails>,
    pub(super) tape: Arc<Tape>,
}

impl Setup {
    pub(super) fn new(sync: SyncPolicy) -> Self {
        Self {
            first: 0,
            sync,
            on_error: OnJournalError::Halt,
            fails: None,
            tape: Arc::default(),
        }
    }

    pub(super) fn failing(sync: SyncPolicy, on_error: OnJournalError, fails: Fails) -> Self {
        Self {
            on_error,
            fails: Some(fails),
            ..Self::new(sync)
        }
    }

    pub(super) fn add(&self, stage: StageBuilder<'_, u64>) -> Stage {
        let policy = Policy {
            sync: self.sync,
            on_error: self.on_error,
        };
        let head = Head {
            tape: self.tape.clone(),
            written: self.first,
            synced: self.first,
            fails: self.fails,
        };
        stage.record(head, policy)
    }
}

const HOUR: Duration = Duration::from_secs(3600);
/// No test panics while it holds a lock, and each says what is right.
const SOUND: &str = "it is sound";
const LAZY: SyncPolicy = SyncPolicy::Interval(HOUR);

pub(super) fn topology(capacity: usize) -> Topology<u64, Multi> {
    let config = BusConfig {
        capacity,
        wait: Wait::Park,
        ..BusConfig::default()
    };
    Topology::multi(config, || 0).expect(SOUND)
}

/// A bus with a journal alone.
pub(super) fn alone(
    setup: &Setup,
    capacity: usize,
) -> (Bus<u64>, Producer<u64, Multi>, Durability) {
    let mut topology = topology(capacity);
    setup.add(topology.stage("journal"));
    let (bus, producer) = topology.start().expect(SOUND);
    let durability = bus.durability().expect(SOUND);
    (bus, producer, durability)
}

pub(super) fn spawn<R: Send + 'static>(
    body: impl FnOnce() -> R + Send + 'static,
) -> thread::JoinHandle<R> {
    (thread::Builder::new().spawn(body)).expect("a thread can be started")
}

/// A deadline that must not pass.
pub(super) fn later() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_millis(20)
}

pub(super) fn until(mut happened: impl FnMut() -> bool) {
    let give_up = later();
    while !happened() {
        assert!(Instant::now() < give_up, "it does not happen");
        thread::yield_now();
    }
}

#[test]
fn every_public_number_goes_on_where_the_journal_ended() {
    struct Ends(mpsc::Sender<(u64, u64)>);
    impl Handler<u64> for Ends {
        fn on_event(&mut self, event: &u64, at: Delivery) -> Result<(), StageError> {
            assert_eq!(*event, at.sequence.get());
            Ok(())
        }
        fn on_batch_end(&mut self, below: Sequence) -> Result<(), StageError> {
            Ok(self.0.send((0, below.get()))?)
        }
    }
    let setup = Setup {
        first: 1000,
        ..Setup::new(SyncPolicy::EveryBatch)
    };
    let mut topology = topology(8);
    // made before the journal is
    let (_, mut early) = topology.stage("early").consumer();
    let durable = setup.add(topology.stage("journal"));
    let (_, mut confirmed) = topology.stage("confirmed").after([durable]).consumer();
    let (_, mut worker) = topology.stage("workers").workers();
    let (ends, ended) = mpsc::channel();
    topology.stage("ends").attach(Ends(ends));
    topology
        .stage("fails")
        .on_panic(OnPanic::Retire)
        .try_handle(|event, _| match event {
            1002 => Err("refused".into()),
            _ => Ok(()),
        });
    let (bus, mut producer) = topology.start().unwrap();
    let durability = bus.durability().unwrap();
    assert_eq!(durability.synced().get(), 1000);
    assert_eq!(bus.stats().position, 1000);
    assert_eq!(bus.stats().producers[0].position, 1000);
    // what was there before is durable
    durability.wait(Sequence::new(999), Level::Synced).unwrap();

    assert_eq!(producer.publish(1000).unwrap().get(), 1000);
    assert_eq!(
        producer.publish_with(|slot| *slot = 1001).unwrap().get(),
        1001
    );
    let mut claim = producer.claim(2).unwrap();
    assert_eq!((claim.len(), claim.sequences().start().get()), (2, 1002));
    (claim.iter_mut().zip(1002..)).for_each(|(slot, number)| *slot = number);
    assert_eq!(claim.publish().end().get(), 1004);
    assert_eq!(producer.publish_batch([1004, 1005]), Ok(2));

    let last = Sequence::new(1005);
    durability
        .wait_deadline(last, Level::Synced, later())
        .unwrap();
    assert_eq!(
        (durability.written().get(), durability.synced().get()),
        (1006, 1006)
    );
    let mut read = 1000;
    while read < 1006 {
        let batch = confirmed.read().unwrap();
        assert_eq!(batch.sequences().start().get(), read);
        assert!(
            batch
                .iter()
                .copied()
                .eq(read..batch.sequences().end().get())
        );
        read = batch.sequences().end().get();
    }
    assert_eq!(early.read().unwrap().sequences().start().get(), 1000);
    assert_eq!(worker.read().unwrap().sequences().start().get(), 1000);
    let stats = bus.stats();
    assert_eq!((stats.position, stats.producers[0].position), (1006, 1006));
    assert_eq!((stats.stages[1].position, stats.stages[1].lag), (1006, 0));
    drop((early, worker, confirmed, producer));
    let error = bus.shutdown().unwrap_err();
    assert_eq!(
        error.to_string(),
        "stage `fails` failed at sequence 1002: refused"
    );
    assert_eq!(ended.into_iter().last(), Some((0, 1006)));
    let records = (1000..1006).map(|number| Asked::Record(number, number));
    let asked = setup.tape.asked();
    assert!(
        (asked
            .iter()
            .filter(|asked| matches!(asked, Asked::Record(..))))
        .cloned()
        .eq(records)
    );
    assert_eq!(asked.last(), Some(&Asked::Note(1006)));
}

#[test]
fn abandoned_sequences_are_left_out_and_written_over() {
    let setup = Setup::new(SyncPolicy::EveryBatch);
    let (bus, mut producer, durability) = alone(&setup, 8);
    drop(producer.claim(2).unwrap());
    let last = producer.publish(7).unwrap();
    durability.wait(last, Level::Synced).unwrap();
    drop(producer.claim(1).unwrap());
    drop(producer);
    bus.shutdown().unwrap();
    let asked = setup.tape.asked();
    let records = asked
        .iter()
        .filter(|asked| matches!(asked, Asked::Record(..)));
    assert!(records.eq(&[Asked::Record(2, 7)]));
    assert!(asked.ends_with(&[Asked::Sync(4), Asked::Note(4)]));
}

#[test]
fn producers_wait_for_what_is_written_and_not_for_what_is_synced() {
    let setup = Setup::new(SyncPolicy::EveryBatch);
    setup.tape.hold(true);
    let (bus, mut producer, durability) = alone(&setup, 4);
    let first = producer.publish(0).unwrap();
    durability.wait(first, Level::Written).unwrap();
    (1..=4).for_each(|event| assert!(producer.try_publish(event).is_ok()));
    assert!(producer.try_publish(5).is_err(), "those are not written");
    assert_eq!(durability.synced().get(), 0);
    let waited = durability.wait_deadline(first, Level::Synced, soon());
    assert!(matches!(waited, Err(DurabilityError::TimedOut)));
    setup.tape.hold(false);
    durability.wait(first, Level::Synced).unwrap();
    drop(producer);
    bus.shutdown().unwrap();
}

#[test]
fn stages_after_it_see_what_is_synced_or_written_where_it_never_syncs() {
    for (sync, sees_written) in [
        (SyncPolicy::EveryBatch, false),
        (LAZY, false),
        (SyncPolicy::Never, true),
    ] {
        let setup = Setup::new(sync);
        setup.tape.hold(true);
        let mut topology = topology(8);
        let durable = setup.add(topology.stage("journal"));
        let (_, mut after) = topology.stage("after").after([durable]).consumer();
        let (_, mut beside) = topology.stage("beside").consumer();
        let (bus, mut producer) = topology.start().unwrap();
        let durability = bus.durability().unwrap();
        let sequence = producer.publish(7).unwrap();
        durability.wait(sequence, Level::Written).unwrap();
        assert!(beside.read().unwrap().iter().eq(&[7]));
        assert_eq!(
            after.read_deadline(soon()).is_ok(),
            sees_written,
            "{sync:?}"
        );
        setup.tape.hold(false);
        durability.wait(sequence, Level::Synced).unwrap();
        if !sees_written {
            assert!(after.read().unwrap().iter().eq(&[7]));
        }
        producer.publish(8).unwrap();
        drop(producer);
        // the end is synced at once: `after` waits for it
        assert!(after.read().unwrap().iter().eq(&[8]), "{sync:?}");
        assert_eq!(after.read().unwrap_err(), Ended::Drained);
        drop(beside);
        bus.shutdown().unwrap();
        assert!(
            (setup.tape.asked()).ends_with(&[Asked::Sync(2), Asked::Note(2)]),
            "{sync:?}"
        );
    }
}

#[test]
fn a_request_wakes_a_journal_that_would_never_sync() {
    for sync in [SyncPolicy::Never, LAZY] {
        let setup = Setup::new(sync);
        let (bus, mut producer, durability) = alone(&setup, 64);
        for round in 0..200 {
            let sequence = producer.publish(round).unwrap();
            if round % 3 == 0 {
                producer.wait_durable(sequence, Level::Written).unwrap();
                assert!(durability.synced() <= sequence);
            }
            let waited = producer.wait_durable_deadline(sequence, Level::Synced, later());
            assert!(waited.is_ok(), "{sync:?}, round {round}: {waited:?}");
            assert!(durability.synced() > sequence && durability.written() > sequence);
        }
        assert_eq!(setup.tape.syncs(), 200);
        producer.publish(0).unwrap();
        drop(producer);
        bus.shutdown().unwrap();
    }
}

#[test]
fn an_interval_syncs_an_idle_tail_and_no_sooner() {
    let interval = Duration::from_millis(50);
    let setup = Setup::new(SyncPolicy::Interval(interval));
    let (bus, mut producer, durability) = alone(&setup, 1024);
    for _ in 0..3 {
        let begun = Instant::now();
        producer.publish(0).unwrap();
        let sequence = producer.publish(0).unwrap();
        let syncs = setup.tape.syncs();
        until(|| durability.synced() > sequence);
        assert!(begun.elapsed() >= interval);
        assert!(setup.tape.syncs() - syncs <= 2);
    }
    until(|| matches!(setup.tape.asked().last(), Some(Asked::Note(6))));
    drop(producer);
    bus.shutdown().unwrap();
}

#[test]
fn half_a_ring_is_synced_without_waiting_for_its_time() {
    let setup = Setup::new(LAZY);
    let (bus, mut producer, durability) = alone(&setup, 16);
    for _ in 0..8 {
        producer.publish(0).unwrap();
    }
    until(|| durability.synced().get() == 8);
    drop(producer);
    bus.shutdown().unwrap();
}

#[test]
fn a_full_ring_behind_a_lazy_journal_does_not_wait_for_its_time() {
    for capacity in [1, 2, 4, 16] {
        let setup = Setup::new(LAZY);
        let mut topology = topology(capacity);
        let durable = setup.add(topology.stage("journal"));
        topology.stage("after").after([durable]).handle(|_, _| {});
        let (bus, mut producer) = topology.start().unwrap();
        for round in 0..100 {
            // a claim of the whole ring needs every event before it to have passed
            match round % 3 {
                0 => drop(
                    producer
                        .claim_deadline(capacity, later())
                        .expect("room")
                        .publish(),
                ),
                1 => assert!(producer.publish_deadline(0, later()).is_ok()),
                _ => until(|| {
                    producer
                        .try_claim(capacity)
                        .map(|claim| claim.publish())
                        .is_ok()
                }),
            }
        }
        drop(producer);
        bus.shutdown().unwrap();
    }
}

/// Whoever waits for what is a lap ahead or more asks for a sync only when it comes near.
#[test]
fn what_is_far_ahead_is_not_synced_for() {
    let setup = Setup::new(SyncPolicy::Never);
    let (bus, mut producer, durability) = alone(&setup, 8);
    let (far, waits) = (Sequence::new(99), durability.clone());
    let waited = waits.wait_deadline(Sequence::new(1_000_000), Level::Synced, soon());
    assert!(matches!(waited, Err(DurabilityError::TimedOut)));
    let waiter = spawn(move || waits.wait(far, Level::Synced));
    for event in 0..80 {
        let sequence = producer.publish(event).unwrap();
        durability.wait(sequence, Level::Written).unwrap();
    }
    assert_eq!(setup.tape.syncs(), 0);
    for event in 80..100 {
        producer.publish(event).unwrap();
    }
    waiter.join().unwrap().unwrap();
    assert!(setup.tape.syncs() <= 9, "{}", setup.tape.syncs());
    drop(producer);
    bus.shutdown().unwrap();
}
