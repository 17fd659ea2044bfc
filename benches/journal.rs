//! The journal on the disk that the target directory is on: recording, opening, reading back.
//!
//! `cargo bench --bench journal`. For what a change of ours does: beside others and the bare disk stands `journal_peers` of
//! `benches/peers`. Files are below the target directory, and gone afterwards. Events are numbered; what is read back is checked.

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use ringway::{
    Bus, BusConfig, Journal, JournalConfig, Level, Plain, Producer, Sequence, SyncPolicy, Topology,
    Wait,
};
use ringway_harness::seats::Seats;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// An event of so many words, the first of which is its number.
type Event<const WORDS: usize> = [u64; WORDS];
/// 64 bytes.
const SMALL: usize = 8;
/// 1 KiB.
const LARGE: usize = 128;

/// Bytes of events in one iteration where nothing is synced.
const ITERATION_BYTES: usize = 256 << 10;
/// Events that are published at once.
const BATCH: u64 = 256;
/// Bytes of events in the ring.
const RING_BYTES: usize = 1 << 20;
/// Bytes of events in the journal that is opened and read.
const PREPARED_BYTES: usize = 32 << 20;

/// A directory that is empty at first and gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let (process, number) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let name = format!("bench-journal-{process}-{number}");
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("the target directory is writable");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open<const W: usize>(scratch: &Scratch, sync: SyncPolicy) -> Journal<Plain<Event<W>>> {
    let config = JournalConfig {
        sync,
        segment_bytes: 16 << 20,
        ..JournalConfig::default()
    };
    Journal::open(&scratch.0, config, Plain::new()).expect("nobody else has it")
}

/// A bus whose one stage is the journal, on `core` if there is one.
fn begin<const W: usize>(
    scratch: &Scratch,
    sync: SyncPolicy,
    wait: Wait,
    core: Option<usize>,
) -> (Bus<Event<W>>, Producer<Event<W>>) {
    let config = BusConfig {
        capacity: RING_BYTES / size_of::<Event<W>>(),
        wait,
        ..BusConfig::default()
    };
    let mut topology = Topology::single(config, || [0; W]).expect("a valid configuration");
    let mut stage = topology.stage("journal");
    if let Some(core) = core {
        stage = stage.pin(core);
    }
    stage.journal(open::<W>(scratch, sync));
    topology.start().expect("a valid topology")
}

/// Publishes so many events, at least one, in batches, and waits until the last one is as durable as asked.
fn publish<const W: usize>(
    producer: &mut Producer<Event<W>>,
    first: u64,
    events: u64,
    level: Level,
) {
    let mut next = first;
    while next < first + events {
        let count = BATCH.min(first + events - next);
        let mut claim = producer.claim(count as usize).expect("the bus is open");
        for (event, number) in claim.iter_mut().zip(next..) {
            *event = [number; W];
        }
        next = claim.publish().end().get();
    }
    let last = Sequence::new(next - 1);
    (producer.wait_durable(last, level)).expect("the disk takes it");
}

/// Records events as fast as possible, nothing synced, until all are written.
fn record<const W: usize>(scratch: &Scratch, events: u64) -> Duration {
    let seats = Seats::for_threads(2);
    let wait = match seats.pinned() {
        true => Wait::BusySpin,
        false => Wait::Yield,
    };
    let (bus, mut producer) = begin::<W>(scratch, SyncPolicy::Never, wait, seats.core(1));
    let publisher = || {
        seats.sit(0).expect("a usable core can be pinned to");
        let start = Instant::now();
        publish(&mut producer, 0, events, Level::Written);
        start.elapsed()
    };
    let elapsed = thread::scope(|scope| scope.spawn(publisher).join());
    drop(producer);
    bus.shutdown().expect("it ends in good order");
    elapsed.expect("the publisher does not panic")
}

/// Records `rounds` times `events`, each time durable before the next.
fn confirm(rounds: u64, events: u64) -> Duration {
    let scratch = Scratch::new();
    // whoever spun would take a core from the system, which has the work here
    let (bus, mut producer) = begin::<SMALL>(&scratch, SyncPolicy::EveryBatch, Wait::Park, None);
    publish(&mut producer, 0, events, Level::Synced); // it makes durable what was prepared
    let start = Instant::now();
    for round in 1..=rounds {
        publish(&mut producer, round * events, events, Level::Synced);
    }
    let elapsed = start.elapsed();
    drop(producer);
    bus.shutdown().expect("it ends in good order");
    elapsed
}

/// Reads all there is, and checks that it is all that was recorded.
fn replay(journal: &Journal<Plain<Event<SMALL>>>, events: u64) {
    let mut next = 0;
    let records = journal.replay(journal.first()).expect("it was opened");
    for record in records {
        let record = record.expect("it is whole");
        assert_eq!(record.event, [next; SMALL], "out of order");
        next += 1;
    }
    assert_eq!(next, events, "events are missing");
}

fn record_rows<const W: usize>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str) {
    let events = (ITERATION_BYTES / size_of::<Event<W>>()) as u64;
    group.throughput(Throughput::Bytes(ITERATION_BYTES as u64));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| record::<W>(&Scratch::new(), iterations * events));
    });
}

fn journal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("journal");
    // few samples, all equally long: every one begins a journal, and what it writes has to fit on the disk
    group.sampling_mode(SamplingMode::Flat);
    group.sample_size(20);
    group.warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs(2));

    record_rows::<SMALL>(&mut group, "never, 64 bytes");
    record_rows::<LARGE>(&mut group, "never, 1 KiB");
    for (name, events) in [
        ("group commit of 256", BATCH),
        ("confirmed one at a time", 1),
    ] {
        group.throughput(Throughput::Elements(events));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| confirm(rounds, events));
        });
    }

    let scratch = Scratch::new();
    let events = (PREPARED_BYTES / size_of::<Event<SMALL>>()) as u64;
    record::<SMALL>(&scratch, events);
    let open = || open::<SMALL>(&scratch, SyncPolicy::Never);
    group.throughput(Throughput::Bytes(PREPARED_BYTES as u64));
    group.bench_function("opening", |bencher| {
        bencher.iter(|| drop(open())); // at once: a directory has one writer
    });
    let opened = open();
    assert_eq!(opened.next().get(), events);
    group.bench_function("replay", |bencher| bencher.iter(|| replay(&opened, events)));
    group.finish();
}

criterion_group!(benches, journal);
criterion_main!(benches);
