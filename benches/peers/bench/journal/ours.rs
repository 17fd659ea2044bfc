//! Ringway, as its users would call it: a topology with a journal.

use crate::append::{PUBLISHERS, batches, together};
use crate::directory::Directory;
use crate::event::{Check, Event, as_bytes, blank, bytes, stamp};
use crate::{
    Answer, BATCH, CHUNK_BYTES, DURABLE_BYTES, DURABLE_FILE_BYTES, UNSYNCED_BYTES, sample, seats,
};
use ringway::{
    Bus, BusConfig, Error, Journal, JournalConfig, Level, Plain, Producer, ProducerKind, Sequence,
    Single, SyncPolicy, Topology, Wait,
};
use ringway_harness::contest::{Sample, Task};
use std::path::Path;
use std::slice;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// Room for so many bytes of events, whatever their size.
pub(crate) const RING_BYTES: u64 = 4 << 20;

type Started<const W: usize, K> = (Bus<Event<W>>, Producer<Event<W>, K>);

/// Without syncs the journal writes 512 KiB at once; with them its files are as large as those of the others.
pub(crate) fn open<const W: usize>(
    directory: &Path,
    sync: SyncPolicy,
) -> Result<Journal<Plain<Event<W>>>, Error> {
    let unsynced = JournalConfig {
        sync,
        write_bytes_max: CHUNK_BYTES as usize,
        ..JournalConfig::default()
    };
    let config = match sync {
        SyncPolicy::Never => unsynced,
        _ => JournalConfig {
            segment_bytes: DURABLE_FILE_BYTES,
            ..unsynced
        },
    };
    Journal::open(directory, config, Plain::new())
}

pub(crate) fn bus_config<const W: usize>(wait: Wait) -> BusConfig {
    BusConfig {
        capacity: (RING_BYTES / bytes::<W>()) as usize,
        batch_max: (CHUNK_BYTES / bytes::<W>()) as usize,
        wait,
        ..BusConfig::default()
    }
}

/// A publisher and a journal that are always busy: each has a core, if there are two, and spins.
fn busy<const W: usize>(directory: &Path) -> Result<Started<W, Single>, Error> {
    let (core, wait) = match seats().core(1) {
        Some(core) => (Some(core), Wait::BusySpin),
        None => (None, Wait::Yield),
    };
    let topology = Topology::single(bus_config::<W>(wait), blank::<W>)?;
    begin(topology, directory, SyncPolicy::Never, core)
}

/// They wait for the disk most of the time: whoever spun or kept a core meanwhile would take it from the system, whose work this is.
const WHILE_SYNCING: Wait = Wait::Park;

fn begin<const W: usize, K: ProducerKind>(
    mut topology: Topology<Event<W>, K>,
    directory: &Path,
    sync: SyncPolicy,
    core: Option<usize>,
) -> Result<Started<W, K>, Error> {
    let stage = topology.stage("journal");
    let stage = match core {
        Some(core) => stage.pin(core),
        None => stage,
    };
    stage.journal(open::<W>(directory, sync)?);
    topology.start()
}

/// As fast as possible, till all is written.
pub(crate) fn never<const W: usize>(_: Task) -> Result<Sample, Error> {
    let events = UNSYNCED_BYTES / bytes::<W>();
    sample(|| {
        let directory = Directory::new()?;
        let (bus, mut producer) = busy::<W>(directory.path())?;
        let elapsed = on_first_core(|| {
            let start = Instant::now();
            let last = publish_all(&mut producer, events)?;
            producer.wait_durable(last, Level::Written)?;
            Ok(start.elapsed())
        })?;
        drop(producer);
        bus.shutdown()?;
        let faults = faults::<W>(directory.path(), &[events])?;
        Ok(Sample::timed(UNSYNCED_BYTES, elapsed, faults))
    })
}

/// Records events of one publisher, without any hurry, and ends.
pub(crate) fn record<const W: usize>(directory: &Path, events: u64) -> Answer {
    let (bus, mut producer) = busy::<W>(directory)?;
    publish_all(&mut producer, events)?;
    drop(producer);
    Ok(bus.shutdown()?)
}

/// The sequence of the last one.
fn publish_all<const W: usize>(producer: &mut Producer<Event<W>>, events: u64) -> Answer<Sequence> {
    let mut next = 0;
    loop {
        let last = publish_batch(producer, next, BATCH.min(events - next))?;
        next += BATCH;
        if next >= events {
            return Ok(last);
        }
    }
}

#[inline(always)]
fn publish_batch<const W: usize>(
    producer: &mut Producer<Event<W>>,
    first: u64,
    events: u64,
) -> Answer<Sequence> {
    let mut claim = producer.claim(events as usize)?;
    for (event, number) in claim.iter_mut().zip(first..) {
        stamp(event, 0, number);
    }
    Ok(Sequence::new(claim.publish().end().get() - 1))
}

/// Batches, each durable before the next.
pub(crate) fn group_commit<const W: usize>(task: Task) -> Result<Sample, Error> {
    durable::<W, BATCH>(task)
}

/// Events, each durable before the next.
pub(crate) fn confirmed_1<const W: usize>(task: Task) -> Result<Sample, Error> {
    durable::<W, 1>(task)
}

fn durable<const W: usize, const B: u64>(task: Task) -> Result<Sample, Error> {
    let batches = batches::<W>(task.events, B, 1, DURABLE_BYTES);
    sample(|| {
        let directory = Directory::new()?;
        let topology = Topology::single(bus_config::<W>(WHILE_SYNCING), blank::<W>)?;
        let (bus, mut producer) = begin(topology, directory.path(), SyncPolicy::EveryBatch, None)?;
        let mut confirm = |batch| {
            let last = publish_batch(&mut producer, batch * B, B)?;
            Answer::Ok(producer.wait_durable(last, Level::Synced)?)
        };
        confirm(0)?;
        directory.settle()?;
        let start = Instant::now();
        (1..batches + 1).try_for_each(&mut confirm)?;
        let elapsed = start.elapsed();
        drop(producer);
        bus.shutdown()?;
        let faults = faults::<W>(directory.path(), &[(batches + 1) * B])?;
        Ok(Sample::timed(batches * B, elapsed, faults))
    })
}

/// Eight publishers, each waiting for each of its events.
pub(crate) fn confirmed_8<const W: usize>(task: Task) -> Result<Sample, Error> {
    let each = batches::<W>(task.events, 1, PUBLISHERS, DURABLE_BYTES);
    sample(|| {
        let directory = Directory::new()?;
        let topology = Topology::multi(bus_config::<W>(WHILE_SYNCING), blank::<W>)?;
        let (bus, producer) = begin(topology, directory.path(), SyncPolicy::EveryBatch, None)?;
        let producers: Vec<_> = (0..PUBLISHERS)
            .map(|_| Mutex::new(producer.clone()))
            .collect();
        drop(producer);
        let confirm = |publisher: u64, mut numbers: std::ops::Range<u64>| {
            let producer = &producers[publisher as usize];
            let mut producer = producer.lock().unwrap_or_else(PoisonError::into_inner);
            numbers.try_for_each(|number| {
                let sequence = producer.publish_with(|event| stamp(event, publisher, number))?;
                Answer::Ok(producer.wait_durable(sequence, Level::Synced)?)
            })
        };
        (0..PUBLISHERS).try_for_each(|publisher| confirm(publisher, 0..1))?;
        directory.settle()?;
        let elapsed = together(PUBLISHERS, |publisher| confirm(publisher, 1..each + 1))?;
        drop(producers);
        bus.shutdown()?;
        let faults = faults::<W>(directory.path(), &[each + 1; PUBLISHERS as usize])?;
        Ok(Sample::timed(each * PUBLISHERS, elapsed, faults))
    })
}

/// Runs it on a thread that has the first core to itself, if there are two.
fn on_first_core<T: Send>(run: impl FnOnce() -> Answer<T> + Send) -> Answer<T> {
    let pinned = || {
        seats().sit(0)?;
        run()
    };
    thread::scope(|scope| {
        scope
            .spawn(pinned)
            .join()
            .map_err(|_| "the producer panicked")?
    })
}

/// Opens the journal, reads all of it, and says what was wrong.
pub(crate) fn faults<const W: usize>(directory: &Path, confirmed: &[u64]) -> Answer<Vec<String>> {
    let mut check = Check::new(bytes::<W>(), confirmed.len());
    replay(&open::<W>(directory, SyncPolicy::Never)?, &mut check)?;
    Ok(check.faults(confirmed))
}

/// Shows it everything that is there.
pub(crate) fn replay<const W: usize>(
    journal: &Journal<Plain<Event<W>>>,
    check: &mut Check,
) -> Answer {
    for record in journal.replay(journal.first())? {
        check.see(as_bytes(slice::from_ref(&record?.event)));
    }
    Ok(())
}
