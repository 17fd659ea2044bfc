//! An event store: orders are kept as events, and each consumer of them has a position of its own that survives a restart.
//!
//! Storing a position after every event would cost a sync of the device for each, so a consumer stores its own now and then. After a restart it gets
//! what came since the last stored one again: at least once, never less. How often it stores bounds how much comes again; an effect that must
//! not happen twice keeps the sequence beside it, as `Invoices` does here. Segments that every consumer is done with are removed.
//!
//! Two lives of a service; the first one ends without storing where its consumers are.
//!
//! ```sh
//! cargo run --release --example event_store
//! ```

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use ringway::{
    BusConfig, Codec, Journal, JournalConfig, PositionStore, PublishError, Retention, Sequence,
    StageError, Topology,
};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::{env, fs, process};

/// Of one life.
const ORDERS: u64 = 50_000;

#[derive(Default)]
struct Order {
    customer: u32,
    article: String,
}

/// Four bytes for the customer, then the article's name.
struct Orders;

impl Codec for Orders {
    type Event = Order;

    fn id(&self) -> u64 {
        u64::from_le_bytes(*b"orders 1")
    }

    fn encode(&self, order: &Order, bytes: &mut Vec<u8>) -> Result<(), StageError> {
        bytes.extend_from_slice(&order.customer.to_le_bytes());
        bytes.extend_from_slice(order.article.as_bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Order, StageError> {
        let (customer, article) = bytes.split_first_chunk().ok_or("it is too short")?;
        Ok(Order {
            customer: u32::from_le_bytes(*customer),
            article: str::from_utf8(article)?.to_owned(),
        })
    }
}

/// What a consumer makes of the orders. Here it stays in memory; in a service it would be a table, with the sequence in it.
#[derive(Default)]
struct Invoices {
    /// Below it every order has its invoice.
    next: u64,
    /// Orders that came again.
    repeated: u64,
}

impl Invoices {
    fn write(&mut self, sequence: Sequence, _order: &Order) {
        if sequence.get() < self.next {
            self.repeated += 1; // it has its invoice already
            return;
        }
        assert_eq!(sequence.get(), self.next, "no order is left out");
        self.next += 1;
    }
}

/// What consumes orders: how often it stores how far it is, and what it has done.
struct Consumer {
    name: &'static str,
    store_each: u64,
    invoices: Mutex<Invoices>,
}

impl Consumer {
    fn new(name: &'static str, store_each: u64) -> Arc<Self> {
        Arc::new(Self {
            name,
            store_each,
            invoices: Mutex::default(),
        })
    }

    fn handle(
        &self,
        positions: &PositionStore,
        sequence: Sequence,
        order: &Order,
    ) -> Result<(), StageError> {
        let mut invoices = self.invoices.lock().map_err(|_| "a consumer panicked")?;
        invoices.write(sequence, order);
        let done = sequence.get() + 1;
        if done.is_multiple_of(self.store_each) {
            // after the effect, never before
            positions.store(self.name, Sequence::new(done))?;
        }
        Ok(())
    }
}

fn main() -> Result<(), StageError> {
    let directory = env::temp_dir().join(format!("ringway-event-store-{}", process::id()));
    let consumers = [
        Consumer::new("billing", 600),
        Consumer::new("shipping", 3_000),
    ];
    for life in 1..=2 {
        run(life, &directory, &consumers)?;
    }
    for consumer in consumers {
        let (name, store_each) = (consumer.name, consumer.store_each);
        let invoices = consumer
            .invoices
            .lock()
            .map_err(|_| "a consumer panicked")?;
        println!(
            "{name}: {} orders, {} came again after the restart",
            invoices.next, invoices.repeated
        );
        assert_eq!(invoices.next, 2 * ORDERS, "each of them once");
        assert_eq!(
            invoices.repeated,
            ORDERS % store_each,
            "since it last stored"
        );
    }
    fs::remove_dir_all(directory)?;
    Ok(())
}

/// One life of the service.
fn run(life: u32, directory: &Path, consumers: &[Arc<Consumer>]) -> Result<(), StageError> {
    let config = JournalConfig {
        segment_bytes: 64 << 10,
        write_bytes_max: 16 << 10,
        retention: Retention {
            consumed: true, // by every one that has a position
            ..Retention::default()
        },
        ..JournalConfig::default()
    };
    let journal = Journal::open(directory, config, Orders)?;
    let (first, next) = (journal.first(), journal.next());
    println!("life {life}: the journal has the orders from {first} up to {next}");
    assert!(
        life == 1 || first.get() > 0,
        "what both were done with is gone"
    );

    // positions are stored behind the journal, where all is durable: none can be ahead of it
    assert!(journal.recovery().ahead.is_empty());
    let positions = journal.positions();
    for consumer in consumers {
        let stored = positions.load(consumer.name)?.unwrap_or(first);
        if stored == first {
            positions.store(consumer.name, first)?; // nothing goes from now on before this one has seen it
        }
        println!("  {} goes on at {stored}", consumer.name);
        // what the last life did not get to, or got to and did not store
        for record in journal.replay(stored)? {
            let record = record?;
            consumer.handle(&positions, record.sequence, &record.event)?;
        }
    }

    // and then what comes now: its numbers go on where the journal ends
    let mut topology = Topology::single(BusConfig::default(), Order::default)?;
    let durable = topology.stage("journal").journal(journal);
    for consumer in consumers {
        let (consumer, positions) = (consumer.clone(), positions.clone());
        let stage = topology.stage(consumer.name).after([durable]);
        stage.try_handle(move |order, at| consumer.handle(&positions, at.sequence, order));
    }
    let (bus, mut producer) = topology.start()?;
    for number in 0..ORDERS {
        let order = Order {
            customer: (number % 97) as u32,
            article: format!("article {}", number % 13),
        };
        let published = producer.publish(order);
        published.map_err(PublishError::without_event)?;
    }
    drop(producer);
    bus.shutdown()?;
    Ok(())
}
