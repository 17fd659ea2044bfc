//! A smoothed stage that waits for its time: whoever ends the bus wakes it, and whoever changes its rate. A second passes with each change, and no
//! time otherwise: a wake-up that is lost shows as a deadlock.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::Notify;
use loom_tests::{Model, parking, saw, start_managed};
use ringway::{Bus, Smoothing, Topology};

const SLOW: Smoothing = Smoothing {
    rate_per_second: 1,
    burst_max: 1,
};

fn saw_stage(bus: &Bus<u64>) {
    saw(if bus.stats().stages[0].parks > 0 {
        "slept"
    } else {
        "awake"
    });
}

/// The second of two events is never due.
#[test]
fn halt() {
    Model {
        preemptions: 2,
        executions: 100,
        outcomes: &["awake", "slept"],
    }
    .check(|| {
        let mut topology = Topology::single(parking(2), || 0).unwrap();
        topology.stage("slow").smooth(SLOW).handle(|_, _| {});
        let (bus, _producer, threads) = start_managed(topology, &[1, 2]);
        bus.halt();
        threads.into_iter().for_each(|one| one.join().unwrap());
        saw_stage(&bus);
    });
}

/// What has nothing more to do ends without a token.
#[test]
fn close() {
    Model {
        preemptions: 2,
        executions: 100,
        outcomes: &["awake", "slept"],
    }
    .check(|| {
        let mut topology = Topology::single(parking(2), || 0).unwrap();
        topology.stage("slow").smooth(SLOW).handle(|_, _| {});
        let (bus, producer, threads) = start_managed(topology, &[1]);
        drop(producer);
        threads.into_iter().for_each(|one| one.join().unwrap());
        saw_stage(&bus);
    });
}

/// With the change the second event is due.
#[test]
fn change() {
    Model {
        preemptions: 2,
        executions: 100,
        outcomes: &["awake", "slept"],
    }
    .check(|| {
        let handled = Arc::new(Notify::new());
        let mut topology = Topology::single(parking(2), || 0).unwrap();
        let handler = {
            let handled = handled.clone();
            move |event: &u64, _: ringway::Delivery| {
                if *event == 2 {
                    handled.notify();
                }
            }
        };
        let slow = topology.stage("slow").smooth(SLOW).handle(handler);
        let (bus, producer, threads) = start_managed(topology, &[1, 2]);
        // room for two, in case that the first one has not taken its token yet
        let change = Smoothing {
            burst_max: 2,
            ..SLOW
        };
        bus.set_smoothing(slow, change).unwrap();
        handled.wait();
        saw_stage(&bus);
        drop(producer);
        threads.into_iter().for_each(|one| one.join().unwrap());
    });
}
