//! Parts of a service that find each other by topic: each knows the broker, and the types of the events it deals with.
//!
//! Use it where the parts of one process are written, started and tested apart, or come and go: plug-ins, handlers chosen by a
//! configuration, a recorder that is switched on for an hour. Where one place knows all the parts, a `Topology` says more: who comes after
//! whom, who edits what. A topic's bus is such a topology; the broker only makes it known.
//!
//! The broker keeps nothing open. Here the orders end when the shop drops its last producer; then risk has read them all and drops its
//! producer of bookings, so these end too, and billing with them.
//!
//! ```sh
//! cargo run --release --example topics
//! ```

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use ringway::{Broker, ErrorKind};
use std::error::Error;
use std::thread;

type Failure = Box<dyn Error + Send + Sync>;

const ORDERS: u64 = 10_000;

fn main() -> Result<(), Failure> {
    let broker = Broker::new();
    let shop = orders::open(&broker)?;
    let risk = risk::start(&broker)?;
    let billing = billing::start(&broker)?;

    // whoever asks for what is not there, or is something else, is told so
    let unknown = broker.producer::<orders::Order>("order").map(|_| ());
    println!("{}", unknown.expect_err("it is called `orders`"));
    let other = broker.producer::<u64>("orders").map(|_| ());
    println!("{}", other.expect_err("these are no numbers"));

    // two parts publish, and know nothing of each other
    let web = thread::spawn({
        let broker = broker.clone();
        move || orders::place(&broker, 0..ORDERS / 2)
    });
    orders::place(&broker, ORDERS / 2..ORDERS)?;
    web.join().expect("it does not panic")?;
    shop.close()?;

    let refused = risk.join().expect("it does not panic")?;
    let (booked, cents) = billing.join().expect("it does not panic")?;
    println!("{ORDERS} orders: {refused} refused, {booked} booked for {cents} cents");
    assert_eq!((refused, booked), (ORDERS / 10, ORDERS - ORDERS / 10));
    let expected = (0..ORDERS).filter(|id| !id.is_multiple_of(10)).sum::<u64>();
    assert_eq!(cents, expected);

    for topic in broker.topics() {
        println!("topic {} of {}: {:?}", topic.name, topic.event, topic.state);
    }
    let late = broker.producer::<orders::Order>("orders").map(|_| ());
    let ended = late.expect_err("its last producer is gone").kind();
    assert_eq!(ended, ErrorKind::TopicEnded);
    Ok(())
}

/// Takes orders, and lets anybody place some.
mod orders {
    use crate::Failure;
    use ringway::{Broker, Bus, BusConfig, Error, Multi, Producer, Topology};
    use std::ops::Range;

    #[derive(Default)]
    pub(crate) struct Order {
        pub(crate) id: u64,
        pub(crate) cents: u64,
    }

    pub(crate) struct Shop {
        bus: Bus<Order>,
        producer: Producer<Order, Multi>,
    }

    pub(crate) fn open(broker: &Broker) -> Result<Shop, Error> {
        let mut topology = Topology::multi(BusConfig::default(), Order::default)?;
        topology
            .stage("log")
            .handle(|_order, _| { /* write it down */ });
        let (bus, producer) = topology.start()?;
        broker.register("orders", &bus)?;
        Ok(Shop { bus, producer })
    }

    /// From any part, on any thread.
    pub(crate) fn place(broker: &Broker, ids: Range<u64>) -> Result<(), Failure> {
        // asked for once, and kept while there is something to publish
        let mut producer = broker.producer("orders")?;
        for id in ids {
            let order = Order { id, cents: id };
            producer
                .publish(order)
                .map_err(|error| error.without_event())?;
        }
        Ok(())
    }

    impl Shop {
        pub(crate) fn close(self) -> Result<(), Error> {
            drop(self.producer); // the last one: the bus drains and ends
            self.bus.join()
        }
    }
}

/// Reads orders, and makes bookings of those that may be.
mod risk {
    use crate::Failure;
    use crate::orders::Order;
    use ringway::{Broker, BusConfig, Error, SubscribeConfig, Topology};
    use std::thread::{self, JoinHandle};

    #[derive(Default)]
    pub(crate) struct Booking {
        pub(crate) cents: u64,
    }

    pub(crate) fn start(broker: &Broker) -> Result<JoinHandle<Result<u64, Failure>>, Error> {
        let mut orders = broker.subscribe::<Order>("orders", "risk", SubscribeConfig::default())?;
        // one producer, so whoever looks for bookings can only read them
        let mut topology = Topology::single(BusConfig::default(), Booking::default)?;
        topology.stage("count").handle(|_booking, _| {});
        let (bus, mut bookings) = topology.start()?;
        broker.register("bookings", &bus)?;

        Ok(thread::spawn(move || {
            let mut refused = 0;
            while let Ok(batch) = orders.read() {
                for order in &batch {
                    if order.id.is_multiple_of(10) {
                        refused += 1;
                        continue;
                    }
                    let cents = order.cents;
                    let published = bookings.publish(Booking { cents });
                    published.map_err(|error| error.without_event())?;
                }
            }
            drop(bookings);
            bus.join()?;
            Ok(refused)
        }))
    }
}

/// Reads bookings.
mod billing {
    use crate::Failure;
    use crate::risk::Booking;
    use ringway::{Broker, Error, SubscribeConfig};
    use std::thread::{self, JoinHandle};

    /// How many bookings there were, and their sum.
    type Total = (u64, u64);

    pub(crate) fn start(broker: &Broker) -> Result<JoinHandle<Result<Total, Failure>>, Error> {
        let config = SubscribeConfig::default();
        let mut bookings = broker.subscribe::<Booking>("bookings", "billing", config)?;
        Ok(thread::spawn(move || {
            let mut total = (0, 0);
            while let Ok(batch) = bookings.read() {
                total.0 += batch.len() as u64;
                total.1 += batch.iter().map(|booking| booking.cents).sum::<u64>();
            }
            Ok(total)
        }))
    }
}
