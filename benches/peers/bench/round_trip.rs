//! One event in flight, to and fro: the median trip.

use crate::{CAPACITY, seats};
use ringway::{Bus, BusConfig, Consumer, Exclusive, Producer, Topology, Wait};
use ringway_harness::contest::{Contender, Row, Sample, Unit};
use ringway_harness::duo::{self, Trips};
use ringway_harness::limit;
use std::hint;

/// Who takes part.
pub(crate) const ROW: Row = Row {
    name: "round_trip",
    unit: Unit::Nanoseconds,
    ours: Contender {
        name: "ringway",
        run: ringway,
    },
    peers: &[Contender {
        name: "rtrb",
        run: rtrb,
    }],
    limit: Some(Contender {
        name: "bare cache lines",
        run: bare,
    }),
};

fn sample(
    Trips {
        latency,
        elapsed,
        faults,
    }: Trips,
) -> Sample {
    let summary = latency.summary();
    Sample {
        elapsed,
        figure: summary.p50 as f64,
        p99: Some(summary.p99 as f64),
        faults,
    }
}

fn bare(trips: u64) -> Result<Sample, ringway::Error> {
    Ok(sample(limit::ping_pong(&seats(), trips)?))
}

fn ringway(trips: u64) -> Result<Sample, ringway::Error> {
    let (_bus_there, mut ping_out, mut echo_in) = one_to_one()?;
    let (_bus_back, mut echo_out, mut ping_in) = one_to_one()?;
    let ping = move |event| {
        let sent = ping_out.publish(event);
        sent.ok()
            .and_then(|_| receive(&mut ping_in))
            .unwrap_or(u64::MAX)
    };
    let echo = move || receive(&mut echo_in).is_some_and(|event| echo_out.publish(event).is_ok());
    Ok(sample(duo::round_trips(&seats(), trips, ping, echo)?))
}

type OneToOne = (Bus<u64>, Producer<u64>, Consumer<u64, Exclusive>);

fn one_to_one() -> Result<OneToOne, ringway::Error> {
    let config = BusConfig {
        capacity: CAPACITY,
        wait: Wait::BusySpin,
        ..BusConfig::default()
    };
    let mut topology = Topology::single(config, u64::default)?;
    let (_, consumer) = topology.stage("consumer").consumer_mut();
    let (bus, producer) = topology.start()?;
    Ok((bus, producer, consumer))
}

fn receive(consumer: &mut Consumer<u64, Exclusive>) -> Option<u64> {
    consumer.read().ok()?.iter().next().copied()
}

fn rtrb(trips: u64) -> Result<Sample, ringway::Error> {
    let (mut ping_out, mut echo_in) = rtrb::RingBuffer::new(CAPACITY);
    let (mut echo_out, mut ping_in) = rtrb::RingBuffer::new(CAPACITY);
    let ping = move |event| {
        push(&mut ping_out, event);
        pop(&mut ping_in)
    };
    let echo = move || {
        push(&mut echo_out, pop(&mut echo_in));
        true
    };
    Ok(sample(duo::round_trips(&seats(), trips, ping, echo)?))
}

fn push(producer: &mut rtrb::Producer<u64>, event: u64) {
    while producer.push(event).is_err() {
        hint::spin_loop();
    }
}

fn pop(consumer: &mut rtrb::Consumer<u64>) -> u64 {
    loop {
        match consumer.pop() {
            Ok(event) => return event,
            Err(_) => hint::spin_loop(),
        }
    }
}
