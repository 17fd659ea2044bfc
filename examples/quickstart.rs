//! A queue between two threads: the smallest use of the library, and often all that is needed.
//!
//! Use it where one thread makes something and another one consumes it. `mpsc`, `spmc` and `mpmc` are the same with
//! more threads at either end; events that several stages must see, one after another or side by side, need a
//! `Topology`: see `diamond.rs`.
//!
//! ```sh
//! cargo run --release --example quickstart
//! ```

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::error::Error;
use std::thread;

const EVENTS: u64 = 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    // room for 1,024 events; publishing waits while it is full
    let (mut tx, mut rx) = ringway::spsc::<u64>(1024);

    let consumer = thread::spawn(move || {
        let mut sum = 0;
        // waits for events; ends once the producer is gone and everything was read
        while let Ok(batch) = rx.read() {
            sum += batch.iter().sum::<u64>();
        } // the batch is dropped: its slots are free again
        sum
    });

    for number in 0..EVENTS {
        tx.publish(number)?;
    }
    drop(tx);

    let sum = consumer.join().expect("the consumer does not panic");
    assert_eq!(sum, EVENTS * (EVENTS - 1) / 2);
    println!("{EVENTS} events, their sum is {sum}");
    Ok(())
}
