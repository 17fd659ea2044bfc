//! One producer, one consumer, one event at a time.

use crate::{CAPACITY, seats};
use ringway::{BusConfig, Topology, Wait};
use ringway_harness::check::{Check, InOrder};
use ringway_harness::contest::{Contender, Row, Sample, Unit};
use ringway_harness::duo::{self, Timed};
use std::hint;

/// Who takes part.
pub(crate) const ROW: Row = Row {
    name: "spsc",
    unit: Unit::EventsPerSecond,
    ours: Contender {
        name: "ringway",
        run: ringway,
    },
    peers: &[Contender {
        name: "rtrb",
        run: rtrb,
    }],
    limit: None,
};

fn sample(events: u64, Timed { elapsed, faults }: Timed) -> Sample {
    Sample {
        elapsed,
        figure: events as f64 / elapsed.as_secs_f64(),
        p99: None,
        faults,
    }
}

fn ringway(events: u64) -> Result<Sample, ringway::Error> {
    let config = BusConfig {
        capacity: CAPACITY,
        wait: Wait::BusySpin,
        ..BusConfig::default()
    };
    let mut topology = Topology::single(config, u64::default)?;
    let (_, mut consumer) = topology.stage("consumer").consumer_mut();
    let (_bus, mut producer) = topology.start()?;
    let produce = move || {
        (0..events)
            .try_for_each(|event| producer.publish(event).map(drop))
            .map_err(|e| e.to_string())
    };
    let consume = move || {
        let mut check = InOrder::new(events);
        while check.seen() < events {
            let batch = consumer.read().map_err(|end| end.to_string())?;
            batch.iter().for_each(|event| check.see(*event, true));
        }
        check.verdict()
    };
    Ok(sample(events, duo::stream(&seats(), produce, consume)?))
}

fn rtrb(events: u64) -> Result<Sample, ringway::Error> {
    let (mut producer, mut consumer) = rtrb::RingBuffer::new(CAPACITY);
    let produce = move || {
        for event in 0..events {
            while producer.push(event).is_err() {
                hint::spin_loop();
            }
        }
        Ok(())
    };
    let consume = move || {
        let mut check = InOrder::new(events);
        while check.seen() < events {
            match consumer.pop() {
                Ok(event) => check.see(event, true),
                Err(_) => hint::spin_loop(),
            }
        }
        check.verdict()
    };
    Ok(sample(events, duo::stream(&seats(), produce, consume)?))
}
