//! A bus between threads and async tasks, here on a Tokio runtime of one thread. Any executor will do: the library
//! needs none.
//!
//! Use it where one side of the bus is async code: a thread that must not wait for a runtime publishes, tasks read, and
//! the other way round. A task that waits, for events or for room, sleeps by its waker and takes no thread.
//!
//! ```sh
//! cargo run --release --example async_consumer
//! ```

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use ringway::{AsyncConsumer, BusConfig, Multi, Producer, PublishError, Topology};
use std::error::Error;
use std::thread;

const LINES: usize = 20_000;

#[derive(Clone, Default)]
struct Line {
    from_task: bool,
    /// Counts the lines of its producer, from 0.
    number: usize,
    text: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // small, so that both sides really wait for each other
    let config = BusConfig {
        capacity: 64,
        ..BusConfig::default()
    };
    let mut topology = Topology::multi(config, Line::default)?;
    let (upper, to_upper) = topology.stage("upper").async_consumer();
    let (_, to_count) = topology.stage("count").after([upper]).async_consumer();
    let (bus, producer) = topology.start()?;

    let from_thread = producer.clone();
    let thread = thread::spawn(move || publish(from_thread));
    // the bus closes once both producers are gone; then the readers have read everything, and end
    let (published, upper, counted) =
        tokio::join!(publish_async(producer), read(to_upper), read(to_count));
    published?;
    thread.join().expect("the publisher does not panic")?;
    bus.join()?;

    assert_eq!(
        upper, counted,
        "both stages see the same events in the same order"
    );
    assert_eq!(upper.lines, 2 * LINES);
    assert_eq!(
        upper.bytes,
        2 * (0..LINES).map(|number| text(number).len()).sum::<usize>()
    );
    println!(
        "{} lines, half from a thread and half from a task, {} bytes",
        upper.lines, upper.bytes
    );
    Ok(())
}

fn text(number: usize) -> String {
    format!("line {number}")
}

fn publish(mut producer: Producer<Line, Multi>) -> Result<(), PublishError<Line>> {
    for number in 0..LINES {
        producer.publish(Line {
            from_task: false,
            number,
            text: text(number),
        })?;
    }
    Ok(())
}

async fn publish_async(mut producer: Producer<Line, Multi>) -> Result<(), PublishError<Line>> {
    for number in 0..LINES {
        producer
            .publish_async(Line {
                from_task: true,
                number,
                text: text(number),
            })
            .await?;
    }
    Ok(())
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    lines: usize,
    bytes: usize,
    /// Of all lines, in the order in which they came.
    fingerprint: usize,
}

async fn read(mut lines: AsyncConsumer<Line>) -> Seen {
    let mut seen = Seen::default();
    let mut next = [0, 0];
    while let Ok(batch) = lines.read().await {
        for line in &batch {
            let next = &mut next[usize::from(line.from_task)];
            assert_eq!(line.number, *next, "in order for each producer");
            *next += 1;
            seen.lines += 1;
            seen.bytes += line.text.len();
            seen.fingerprint = seen
                .fingerprint
                .wrapping_mul(31)
                .wrapping_add(2 * line.number + usize::from(line.from_task));
        }
        // the batch ends here; one that is held across an `.await` keeps its slots, and may stop the bus
    }
    seen
}
