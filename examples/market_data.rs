//! Many producers, two stages side by side, each thread on a core of its own: ticks of several venues into one order
//! that all stages agree on.
//!
//! Use it where latency matters more than processor time. Threads spin, and are pinned, if there is a core for each of
//! them; else they sleep when they have nothing to do, and only as many are pinned as leave a core to the others.
//! Spinning with more threads than cores is slow: a thread that waits keeps the one that it waits for from running.
//!
//! ```sh
//! cargo run --release --example market_data
//! ```

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use ringway::{BusConfig, Multi, Producer, StageBuilder, Topology, Wait};
use std::error::Error;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const VENUES: u64 = 2;
const TICKS: u64 = 100_000;
const SYMBOLS: usize = 64;
/// The stages `last` and `volume`, and the venues.
const THREADS: usize = 2 + VENUES as usize;

#[derive(Clone, Copy, Debug, Default)]
struct Tick {
    venue: u64,
    /// Counts the ticks of its venue, from 0.
    number: u64,
    symbol: usize,
    price: u64,
    volume: u64,
}

/// What both stages must agree on: one order of all ticks.
#[derive(Debug, Default, PartialEq, Eq)]
struct Order {
    ticks: u64,
    next: [u64; VENUES as usize],
    fingerprint: u64,
}

impl Order {
    fn note(&mut self, tick: &Tick) {
        let next = &mut self.next[tick.venue as usize];
        assert_eq!(tick.number, *next, "the ticks of a venue come in order");
        *next += 1;
        self.ticks += 1;
        self.fingerprint = self
            .fingerprint
            .wrapping_mul(31)
            .wrapping_add(tick.number * VENUES + tick.venue);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut cores, wait) = seats();
    let config = BusConfig {
        capacity: 1 << 12,
        wait,
        ..BusConfig::default()
    };
    let mut topology = Topology::multi(config, Tick::default)?;

    // each stage sends what it has when its last batch ends: here when its closure is dropped, at the end of the bus
    let (last_prices, last_prices_out) = mpsc::sync_channel(1);
    let mut last = Outcome {
        order: Order::default(),
        by_symbol: [0; SYMBOLS],
        out: last_prices,
    };
    pinned(topology.stage("last"), cores.next()).handle(move |tick, _| {
        last.order.note(tick);
        last.by_symbol[tick.symbol] = tick.price;
    });

    let (volumes, volumes_out) = mpsc::sync_channel(1);
    let mut volume = Outcome {
        order: Order::default(),
        by_symbol: [0; SYMBOLS],
        out: volumes,
    };
    pinned(topology.stage("volume"), cores.next()).handle(move |tick, _| {
        volume.order.note(tick);
        volume.by_symbol[tick.symbol] += tick.volume;
    });

    let (bus, producer) = topology.start()?;
    for warning in bus.warnings() {
        println!("warning: {warning}");
    }
    let venues: Vec<_> = (0..VENUES)
        .map(|venue| {
            let (producer, core) = (producer.clone(), cores.next());
            thread::spawn(move || publish(venue, producer, core))
        })
        .collect();
    drop(producer);
    for venue in venues {
        venue.join().expect("a venue does not panic")?;
    }
    let ended = bus.shutdown_deadline(Instant::now() + Duration::from_secs(60));
    let stats = bus.stats();
    ended?;

    let (order, last) = last_prices_out.recv()?;
    let (other_order, volumes) = volumes_out.recv()?;
    assert_eq!(order, other_order, "both stages see one and the same order");
    assert_eq!(order.ticks, VENUES * TICKS);
    assert!(last.iter().all(|price| (1_000..2_000).contains(price)));
    let expected: u64 = (0..VENUES)
        .map(|venue| {
            (0..TICKS)
                .map(|number| tick(venue, number).volume)
                .sum::<u64>()
        })
        .sum();
    assert_eq!(volumes.iter().sum::<u64>(), expected);
    println!(
        "{} ticks of {VENUES} venues, a volume of {expected}",
        order.ticks
    );
    for stage in &stats.stages {
        let per_batch = stage.events as f64 / stage.batches.max(1) as f64;
        println!(
            "{:>8}: {per_batch:.1} ticks a batch, waited {} times",
            stage.name, stage.stalls
        );
    }
    Ok(())
}

/// How threads wait, and on which cores they run: none for those that do not fit.
fn seats() -> (impl Iterator<Item = usize>, Wait) {
    let mut cores = ringway::cores();
    // a quota may allow less than there are cores
    let fit = cores.len().min(ringway::usable_cores()) >= THREADS;
    let pinned = if fit {
        THREADS
    } else {
        cores.len().saturating_sub(1).min(THREADS)
    };
    cores.truncate(pinned);
    let wait = if fit { Wait::BusySpin } else { Wait::Adaptive };
    println!("{THREADS} threads, {pinned} of them pinned, to cores {cores:?}; waiting is {wait:?}");
    (cores.into_iter(), wait)
}

fn pinned(stage: StageBuilder<'_, Tick>, core: Option<usize>) -> StageBuilder<'_, Tick> {
    match core {
        Some(core) => stage.pin(core),
        None => stage,
    }
}

/// Something that looks like a market.
fn tick(venue: u64, number: u64) -> Tick {
    let noise = (number * VENUES + venue).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let symbol = noise as usize % SYMBOLS;
    Tick {
        venue,
        number,
        symbol,
        price: 1_000 + noise % 1_000,
        volume: 1 + noise % 100,
    }
}

fn publish(
    venue: u64,
    mut producer: Producer<Tick, Multi>,
    core: Option<usize>,
) -> Result<(), ringway::Error> {
    if let Some(core) = core {
        ringway::pin_current_thread(core)?; // a thread of our own pins itself
    }
    for number in 0..TICKS {
        if producer.publish(tick(venue, number)).is_err() {
            break; // the bus has ended: what went wrong there is told by its shutdown
        }
    }
    Ok(())
}

/// What a stage gathers; it goes to whoever wants it when the stage ends.
struct Outcome {
    order: Order,
    by_symbol: [u64; SYMBOLS],
    out: mpsc::SyncSender<(Order, [u64; SYMBOLS])>,
}

impl Drop for Outcome {
    fn drop(&mut self) {
        // nobody listens any more: nothing to do about it
        let _ = self
            .out
            .send((std::mem::take(&mut self.order), self.by_symbol));
    }
}
