//! Bursts in, a steady stream out: a producer that publishes everything at once, and an uploader that keeps a rate.
//!
//! Use it in front of whatever answers bursts with errors or long queues: an API with a rate limit, a disk that other programs
//! share, a link of fixed capacity. The ring takes the burst at the speed of memory, `.smooth(..)` lets it out at the rate, and the
//! capacity says how much may wait in between: when that much does, the producer waits too. The pressure signals tell before it comes to
//! that, while there is time to send less. It is not for a stage that is too slow: a rate makes nothing faster.
//!
//! ```sh
//! cargo run --release --example burst_buffer
//! ```

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use ringway::{BusConfig, Pressure, PressureReport, Producer, PublishError, Smoothing, Topology};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const BURSTS: u64 = 6;
const BURST: u64 = 1_500;
const BETWEEN_BURSTS: Duration = Duration::from_millis(500);
/// A little less than comes on average, 3,000 a second: so the ring fills up, and says so.
const RATE: Smoothing = Smoothing {
    rate_per_second: 2_800,
    burst_max: 50,
};
const TICK: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Counts {
    published: AtomicU64,
    uploaded: AtomicU64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let config = BusConfig {
        capacity: 2048,
        pressure: Some(Pressure::default()), // high at three quarters, low again at one half
        ..BusConfig::default()
    };
    let counts = Arc::new(Counts::default());
    let mut topology = Topology::single(config, || 0)?;
    let mut expected = 0;
    topology.stage("upload").smooth(RATE).handle({
        let counts = counts.clone();
        move |number: &u64, _| {
            assert_eq!(
                *number, expected,
                "nothing is lost, and nothing comes twice"
            );
            expected += 1;
            counts.uploaded.store(expected, Ordering::Relaxed);
        }
    });
    topology.on_pressure(tell);
    let started = Instant::now();
    let (bus, producer) = topology.start()?;

    let spikes = thread::spawn({
        let counts = counts.clone();
        move || publish(producer, started, &counts)
    });
    watch(&counts);
    spikes.join().expect("it does not panic")?;
    bus.shutdown()?; // what is left goes out at the rate, too

    let (uploaded, took) = (counts.uploaded.load(Ordering::Relaxed), started.elapsed());
    assert_eq!(uploaded, BURSTS * BURST);
    let due = RATE.rate_per_second as f64 * took.as_secs_f64() + f64::from(RATE.burst_max);
    assert!(uploaded as f64 <= due, "faster than allowed");
    println!(
        "uploaded {uploaded} in {:.2} s, in order",
        took.as_secs_f64()
    );
    Ok(())
}

/// A burst every now and then, as fast as the ring takes it. The bus closes when the producer is dropped.
fn publish(
    mut producer: Producer<u64>,
    started: Instant,
    counts: &Counts,
) -> Result<(), PublishError<u64>> {
    for burst in 0..BURSTS {
        let at = started + BETWEEN_BURSTS * burst as u32;
        thread::sleep(at.saturating_duration_since(Instant::now()));
        for number in burst * BURST..(burst + 1) * BURST {
            producer.publish(number)?;
            counts.published.store(number + 1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// What came in and what went out in each tenth of a second, until all of it has.
fn watch(counts: &Counts) {
    println!("   ms   in/s  out/s  waiting");
    let (mut published, mut uploaded, mut at) = (0, 0, Instant::now());
    let started = at;
    while uploaded < BURSTS * BURST {
        thread::sleep(TICK);
        let seconds = at.elapsed().as_secs_f64();
        at = Instant::now();
        let out = counts.uploaded.load(Ordering::Relaxed);
        let come = counts.published.load(Ordering::Relaxed).max(out);
        println!(
            "{:>5} {:>6.0} {:>6.0}  {:>7}  {}",
            started.elapsed().as_millis(),
            (come - published) as f64 / seconds,
            (out - uploaded) as f64 / seconds,
            come - out,
            "#".repeat(((out - uploaded) as f64 / seconds / 100.0) as usize)
        );
        (published, uploaded) = (come, out);
    }
}

/// Runs on the thread that watches the ring: a place to shed load, or to raise an alarm.
fn tell(report: &PressureReport) {
    let stage = report.stage.as_deref().unwrap_or("nobody");
    println!(
        "      pressure {:?}: {stage} is {} behind, at {}",
        report.level, report.lag, report.sequence
    );
}
