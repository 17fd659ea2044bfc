//! A subscriber that stops now and then, misses nothing, and is in nobody's way.
//!
//! It is a tap under `OnLag::Replay`. While it keeps up it reads the ring. When it falls behind by more than the ring holds, producers go on
//! without it: it reads what it missed in the journal, and then joins the ring again. Use it for readers that have to see everything and
//! cannot promise to be quick: a search index, a connection to a customer, a report that is computed once a minute. Where only
//! the newest events count `OnLag::Skip` is cheaper, and needs no journal; where stages must see what it did, it has to be a stage.
//!
//! ```sh
//! cargo run --release --example slow_subscriber
//! ```

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use ringway::{
    BusConfig, Journal, JournalConfig, OnLag, Plain, Producer, SyncPolicy, Tap, Topology,
};
use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

/// The ring holds a hundredth of what is published while the subscriber sleeps.
const CAPACITY: usize = 1024;
const EVENTS: u64 = 400_000;
/// It sleeps each time that it has read so many.
const NAP_EVERY: u64 = 50_000;
const NAP: Duration = Duration::from_millis(150);

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::temp_dir().join(format!("ringway-slow-subscriber-{}", std::process::id()));
    let outcome = run(&path);
    let removed = std::fs::remove_dir_all(&path);
    outcome?;
    Ok(removed?)
}

fn run(path: &std::path::Path) -> Result<(), Box<dyn Error>> {
    // what only has to survive this process need not be synced
    let config = JournalConfig {
        sync: SyncPolicy::Never,
        ..JournalConfig::default()
    };
    let journal = Journal::open(path, config, Plain::<u64>::new())?;
    let mut topology = Topology::single(
        BusConfig {
            capacity: CAPACITY,
            ..BusConfig::default()
        },
        || 0,
    )?;
    topology.stage("journal").journal(journal);
    let (bus, producer) = topology.start()?;
    let tap = bus.tap("slow", OnLag::Replay)?;

    let publishing = thread::spawn(move || publish(producer));
    let subscribing = thread::spawn(move || subscribe(tap));
    let longest = publishing.join().map_err(|_| "the producer panicked")??;
    bus.shutdown()?;
    let read = subscribing.join().map_err(|_| "the subscriber panicked")?;

    println!(
        "published {EVENTS}; the longest call took {longest:.1?}, while the subscriber slept {NAP:?} at a time"
    );
    println!(
        "read {} in order, {} of them while they were still in the ring",
        read.events, read.soon
    );
    if read.events != EVENTS {
        return Err(format!("{} were missed", EVENTS - read.events).into());
    }
    Ok(())
}

/// Publishes some thousands of events a millisecond; how long the longest call took.
fn publish(mut producer: Producer<u64>) -> Result<Duration, String> {
    let mut longest = Duration::ZERO;
    for number in 0..EVENTS {
        let start = Instant::now();
        producer
            .publish(number)
            .map_err(|error| error.to_string())?;
        longest = longest.max(start.elapsed());
        if number % 1000 == 999 {
            thread::sleep(Duration::from_micros(200));
        }
    }
    Ok(longest)
}

/// What the subscriber has seen.
#[derive(Default)]
struct Read {
    events: u64,
    /// Those that it read when no more than the ring holds was in front of it.
    soon: u64,
}

fn subscribe(mut tap: Tap<u64>) -> Read {
    let mut read = Read::default();
    let mut next_nap = NAP_EVERY;
    loop {
        let soon = tap.lag() <= CAPACITY as u64;
        let Ok(batch) = tap.read() else {
            return read; // the bus was shut down, and all was read
        };
        assert_eq!(batch.skipped(), 0, "a tap that replays skips nothing");
        for &number in &batch {
            assert_eq!(number, read.events, "none is missed, and none comes twice");
            read.events += 1;
        }
        read.soon += if soon { batch.len() as u64 } else { 0 };
        drop(batch);
        if read.events >= next_nap {
            next_nap = read.events + NAP_EVERY;
            thread::sleep(NAP);
        }
    }
}
