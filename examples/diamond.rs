//! Stages that depend on each other: every order is checked, then audited and booked side by side, then acknowledged.
//!
//! ```text
//!                        ┌─▶ audit ─┐
//! 2 gateways ─▶ risk ────┤          ├─▶ ack
//!                        └─▶ book ──┘
//! ```
//!
//! Use a graph of stages where an event takes several steps. All steps read the same slot of one ring: nothing is
//! copied or queued again between them, a stage that comes after another one sees its edits, and all see the events in
//! the same order.
//!
//! ```sh
//! cargo run --release --example diamond
//! ```

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use ringway::{BusConfig, Topology};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

const GATEWAYS: u64 = 2;
const ORDERS: u64 = 100_000;
const PRICE_MAX: u64 = 900;

#[derive(Default)]
struct Order {
    price: u64,
    approved: bool,
}

/// What the stages leave behind for the others, and for the end.
#[derive(Default)]
struct Desk {
    /// Every sequence below was audited.
    audited: AtomicU64,
    /// Every sequence below was booked.
    booked: AtomicU64,
    turnover: AtomicU64,
    acknowledged: AtomicU64,
    /// How often acknowledgements were sent: once a batch.
    sends: AtomicU64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let desk = Arc::new(Desk::default());
    let mut topology = Topology::multi(BusConfig::default(), Order::default)?;

    // edits the event, so no other stage may look at it meanwhile: `start` refuses a graph where one could
    let risk = topology
        .stage("risk")
        .handle_mut(|order, _| order.approved = order.price <= PRICE_MAX);

    let at_desk = desk.clone();
    let audit = topology
        .stage("audit")
        .after([risk])
        .handle(move |_order, at| {
            at_desk
                .audited
                .store(at.sequence.get() + 1, Ordering::Release);
        });

    let at_desk = desk.clone();
    let book = topology
        .stage("book")
        .after([risk])
        .handle(move |order, at| {
            if order.approved {
                at_desk.turnover.fetch_add(order.price, Ordering::Relaxed);
            }
            at_desk
                .booked
                .store(at.sequence.get() + 1, Ordering::Release);
        });

    let (at_desk, mut pending) = (desk.clone(), 0);
    topology
        .stage("ack")
        .after([audit, book])
        .handle(move |_order, at| {
            let done = at.sequence.get() + 1;
            assert!(
                at_desk.audited.load(Ordering::Acquire) >= done,
                "audited before it is acknowledged"
            );
            assert!(
                at_desk.booked.load(Ordering::Acquire) >= done,
                "booked before it is acknowledged"
            );
            pending += 1;
            // flush at the end of each batch: many events a flush under load, each at once when it comes alone
            if at.end_of_batch {
                at_desk.acknowledged.fetch_add(pending, Ordering::Relaxed);
                at_desk.sends.fetch_add(1, Ordering::Relaxed);
                pending = 0;
            }
        });

    let (bus, producer) = topology.start()?;
    let gateways: Vec<_> = (0..GATEWAYS)
        .map(|_| {
            let mut producer = producer.clone();
            thread::spawn(move || {
                for number in 0..ORDERS {
                    producer.publish(Order {
                        price: number % 1000,
                        approved: false,
                    })?;
                }
                Ok::<_, ringway::PublishError<Order>>(())
            })
        })
        .collect();
    for gateway in gateways {
        gateway.join().expect("a gateway does not panic")?;
    }
    drop(producer);
    bus.shutdown()?; // everything that was published is acknowledged now, or this is an error

    let sends = desk.sends.load(Ordering::Relaxed);
    let [acknowledged, turnover] =
        [&desk.acknowledged, &desk.turnover].map(|total| total.load(Ordering::Relaxed));
    assert_eq!(acknowledged, GATEWAYS * ORDERS);
    assert_eq!(
        turnover,
        GATEWAYS * (ORDERS / 1000) * (PRICE_MAX * (PRICE_MAX + 1) / 2)
    );
    println!("{acknowledged} orders acknowledged in {sends} sends, a turnover of {turnover}");
    Ok(())
}
