//! Two threads against each other: a stream from one to the other, or one message going to and fro.
//!
//! Whatever is compared goes through these two functions, so that a queue, a peer and the bare machine are timed alike.

use crate::seats::Seats;
use ringway::Latency;
use std::panic;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// Trips made before the first that counts: both threads are then running and their lines are warm.
const WARM_UP_TRIPS: u64 = 1_000;

/// What both ends of a stream say afterwards.
type Verdict = Result<(), String>;

/// How long two threads took, and what was wrong.
#[derive(Debug)]
pub struct Timed {
    /// From the producer's start to the consumer's last event.
    pub elapsed: Duration,
    /// What the two ends found; empty when the run was right.
    pub faults: Vec<String>,
}

/// Times `produce` and `consume`, each on a thread of its own that sits in `seats` 0 and 1.
///
/// # Errors
/// When a thread cannot be pinned to its seat.
pub fn stream(
    seats: &Seats,
    produce: impl FnOnce() -> Verdict + Send,
    consume: impl FnOnce() -> Verdict + Send,
) -> Result<Timed, ringway::Error> {
    let produce = || (Instant::now(), produce());
    let consume = || (consume(), Instant::now());
    let ((start, produced), (consumed, end)) = pair(seats, produce, consume)?;
    let faults = [produced, consumed]
        .into_iter()
        .filter_map(Result::err)
        .collect();
    Ok(Timed {
        elapsed: end.saturating_duration_since(start),
        faults,
    })
}

/// The times of many round trips, and what was wrong.
#[derive(Debug)]
pub struct Trips {
    /// The nanoseconds of each trip.
    pub latency: Latency,
    /// From the first trip that counts to the last.
    pub elapsed: Duration,
    /// What came back wrong; empty when the run was right.
    pub faults: Vec<String>,
}

/// Times `trips` round trips with one message in flight, after some that do not count.
///
/// `ping` sends a number and returns the one that comes back; `echo`, on the other thread, waits for one number and sends it
/// back, and tells whether it could. The numbers are 0, 1, 2, ….
///
/// # Errors
/// When a thread cannot be pinned to its seat.
pub fn round_trips(
    seats: &Seats,
    trips: u64,
    mut ping: impl FnMut(u64) -> u64 + Send,
    mut echo: impl FnMut() -> bool + Send,
) -> Result<Trips, ringway::Error> {
    let there = move || {
        let mut latency = Latency::new();
        let mut wrong = (0..WARM_UP_TRIPS)
            .filter(|number| ping(*number) != *number)
            .count();
        let begin = Instant::now();
        for number in WARM_UP_TRIPS..WARM_UP_TRIPS + trips {
            let start = Instant::now();
            let back = ping(number);
            latency.record(start.elapsed());
            wrong += usize::from(back != number);
        }
        (latency, begin.elapsed(), wrong)
    };
    let and_back = move || (0..WARM_UP_TRIPS + trips).all(|_| echo());
    let ((latency, elapsed, wrong), echoed) = pair(seats, there, and_back)?;
    let mut faults = Vec::new();
    if wrong > 0 {
        faults.push(format!("{wrong} of {trips} messages came back wrong"));
    }
    if !echoed {
        faults.push("the far end could not answer".to_owned());
    }
    Ok(Trips {
        latency,
        elapsed,
        faults,
    })
}

/// Runs both closures at once, each in its seat; neither starts before both threads are there.
pub(crate) fn pair<A: Send, B: Send>(
    seats: &Seats,
    first: impl FnOnce() -> A + Send,
    second: impl FnOnce() -> B + Send,
) -> Result<(A, B), ringway::Error> {
    let gate = Gate::new(2);
    thread::scope(|scope| {
        let first = scope.spawn(|| gate.pass(seats.sit(0)).map(|open| open.then(first)));
        let second = scope.spawn(|| gate.pass(seats.sit(1)).map(|open| open.then(second)));
        let (first, second) = (finish(first)?, finish(second)?);
        // A thread that found the gate shut has nothing to tell; the other one's error was returned above.
        Ok(first.zip(second).expect("an open gate lets both pass"))
    })
}

/// A start barrier that opens only if all who come to it are ready: nobody is left waiting for a thread that failed.
pub(crate) struct Gate {
    barrier: Barrier,
    shut: AtomicBool,
}

impl Gate {
    /// For so many threads.
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            barrier: Barrier::new(threads),
            shut: AtomicBool::new(false),
        }
    }

    /// Waits for all; whether all were ready.
    pub(crate) fn pass(&self, ready: Result<(), ringway::Error>) -> Result<bool, ringway::Error> {
        if ready.is_err() {
            self.shut.store(true, Ordering::Relaxed); // the barrier orders it before the others' look
        }
        self.barrier.wait();
        ready.map(|()| !self.shut.load(Ordering::Relaxed))
    }
}

/// The result of a thread; its panic goes on here.
pub(crate) fn finish<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|payload| panic::resume_unwind(payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn anywhere() -> Seats {
        Seats::among(&[], 2)
    }

    #[test]
    fn a_stream_reports_both_ends() {
        let ends =
            stream(&anywhere(), || Err("late".to_owned()), || Ok(())).expect("no seat to refuse");
        assert_eq!(ends.faults, ["late"]);
        let ends =
            stream(&anywhere(), || Ok(()), || Err("lost".to_owned())).expect("no seat to refuse");
        assert_eq!(ends.faults, ["lost"]);
    }

    #[test]
    fn trips_are_counted_and_compared() {
        for (answer, right) in [(0, true), (1, false)] {
            let (there, inbox) = mpsc::channel();
            let (back, outbox) = mpsc::channel();
            let ping = move |number: u64| {
                there.send(number).expect("the echo lives");
                outbox.recv().expect("the echo lives")
            };
            let echo = move || {
                inbox
                    .recv()
                    .is_ok_and(|number| back.send(number + answer).is_ok())
            };
            let trips = round_trips(&anywhere(), 10, ping, echo).expect("no seat to refuse");
            assert_eq!(trips.latency.summary().count, 10);
            assert_eq!(trips.faults.is_empty(), right, "{:?}", trips.faults);
        }
    }

    #[test]
    fn a_seat_that_does_not_exist_is_an_error_and_nobody_hangs() {
        let seats = Seats::among(&[0, usize::MAX], 2);
        assert!(stream(&seats, || Ok(()), || Ok(())).is_err());
    }
}
