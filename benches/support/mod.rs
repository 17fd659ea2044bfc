//! What the benchmarks share: threads that start together, each on a core of its own if there are enough.

use ringway_harness::seats::Seats;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// From the common start of all producers to the return of the consumer.
pub(crate) fn timed<P: FnOnce() + Send>(
    producers: Vec<P>,
    consume: impl FnOnce() + Send,
) -> Duration {
    let threads = producers.len() + 1;
    let seats = Seats::for_threads(threads);
    let barrier = Barrier::new(threads);
    let begin = |thread: usize| {
        (seats.sit(thread)).expect("a usable core can be pinned to");
        barrier.wait();
        Instant::now()
    };
    thread::scope(|scope| {
        let begin = &begin;
        let consumer = scope.spawn(move || {
            begin(threads - 1);
            consume();
            Instant::now()
        });
        let spawn = |(index, produce): (usize, P)| {
            scope.spawn(move || {
                let start = begin(index);
                produce();
                start
            })
        };
        let producers: Vec<_> = producers.into_iter().enumerate().map(spawn).collect();
        let starts = producers
            .into_iter()
            .map(|producer| producer.join().expect("a producer does not panic"));
        let start = starts.min().expect("there is a producer");
        consumer
            .join()
            .expect("the consumer does not panic")
            .saturating_duration_since(start)
    })
}
