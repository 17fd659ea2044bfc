//! What two cores can do for each other without any queue between them: the limits that a bus is held against.

use crate::duo::{self, Timed, Trips};
use crate::payload::PayloadSize;
use crate::report::Limit;
use crate::seats::Seats;
use crate::spread;
use std::hint;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Words in a cache line.
const WORDS: usize = 8;
/// The writer shows its progress, and the reader frees lines, this often in a buffer: rarely enough to cost nothing.
const BATCHES: usize = 8;
/// Below this many lines the two indices would be what is measured.
const LINES_MIN: usize = 64;

/// A word on a pair of lines of its own: the hardware fetches lines in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Alone(AtomicU64);

/// A cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Line([AtomicU64; WORDS]);

/// Both limits, measured for about `time` each; nothing if the process has fewer than two cores.
///
/// The stream goes through a buffer of as many bytes as a ring of `capacity` events of that size would take.
///
/// # Errors
/// When a thread cannot be pinned.
pub fn measure(
    payload: PayloadSize,
    capacity: usize,
    time: Duration,
) -> Result<Limit, ringway::Error> {
    let seats = Seats::for_threads(2);
    if !seats.pinned() {
        return Ok(Limit::default());
    }
    // Three rounds after a short one that tells how many fill the time.
    let pace = ping_pong(&seats, 10_000)?.elapsed;
    let Trips {
        latency,
        mut faults,
        ..
    } = ping_pong(&seats, fill(10_000, pace, time))?;
    let trips = latency.summary();
    let buffer = Buffer::new(capacity.saturating_mul(payload.bytes()) / size_of::<Line>());
    let pace = buffer.stream(&seats, 100_000)?.elapsed;
    let lines = buffer.whole(fill(buffer.whole(100_000), pace, time / 3));
    let mut rates = Vec::new();
    for _ in 0..3 {
        let streamed = buffer.stream(&seats, lines)?;
        let bytes = lines as f64 * size_of::<Line>() as f64;
        rates.push(bytes / streamed.elapsed.as_secs_f64());
        faults.extend(streamed.faults);
    }
    Ok(Limit {
        ping_pong_ns: Some(trips.p50),
        ping_pong_p99_ns: Some(trips.p99),
        stream_bytes_per_second: spread::median(&rates),
        faults,
    })
}

/// How many fill `time` when `count` took `elapsed`.
fn fill(count: u64, elapsed: Duration, time: Duration) -> u64 {
    (count as f64 * time.as_secs_f64() / elapsed.as_secs_f64().max(1e-9)).max(1.0) as u64
}

/// Round trips of one cache line each way: store, and wait for the other's store.
///
/// # Errors
/// When a thread cannot be pinned to its seat.
pub fn ping_pong(seats: &Seats, trips: u64) -> Result<Trips, ringway::Error> {
    let (there, back) = (
        Alone(AtomicU64::new(u64::MAX)),
        Alone(AtomicU64::new(u64::MAX)),
    );
    let await_number = |word: &AtomicU64, number| {
        while word.load(Ordering::Acquire) != number {
            hint::spin_loop();
        }
        number
    };
    let ping = |number| {
        there.0.store(number, Ordering::Release);
        await_number(&back.0, number)
    };
    let mut numbers = 0..;
    let echo = || {
        numbers.next().is_some_and(|number| {
            back.0
                .store(await_number(&there.0, number), Ordering::Release);
            true
        })
    };
    duo::round_trips(seats, trips, ping, echo)
}

/// A ring of whole lines with one index store for a large batch of them. The words are relaxed atomics, which compile to
/// plain moves; the indices order them.
#[derive(Debug)]
struct Buffer {
    lines: Box<[Line]>,
    batch: usize,
}

impl Buffer {
    fn new(lines: usize) -> Self {
        let lines = lines.clamp(LINES_MIN, 1 << 24).next_multiple_of(BATCHES);
        Self {
            batch: lines / BATCHES,
            lines: (0..lines).map(|_| Line(Default::default())).collect(),
        }
    }

    /// So many lines in whole batches.
    fn whole(&self, lines: u64) -> u64 {
        lines.next_multiple_of(self.batch as u64)
    }

    /// Streams `lines` lines, in whole batches, and checks each word.
    fn stream(&self, seats: &Seats, lines: u64) -> Result<Timed, ringway::Error> {
        let batches = lines.div_ceil(self.batch as u64);
        let (written, read) = (Alone(AtomicU64::new(0)), Alone(AtomicU64::new(0)));
        let write = || {
            for batch in 0..batches {
                // Room for this batch: the one written a lap ago has been read. Acquire, with the reader's Release below:
                // the words are not overwritten before they were read.
                while batch.saturating_sub(read.0.load(Ordering::Acquire)) >= BATCHES as u64 {
                    hint::spin_loop();
                }
                let words = self.batch(batch).iter().flat_map(|line| &line.0);
                words
                    .zip(self.first_word(batch)..)
                    .for_each(|(word, value)| word.store(value, Ordering::Relaxed));
                // With the reader's Acquire below: whoever sees this number sees the words.
                written.0.store(batch + 1, Ordering::Release);
            }
            Ok(())
        };
        let check = || {
            let mut wrong = 0;
            for batch in 0..batches {
                while written.0.load(Ordering::Acquire) <= batch {
                    hint::spin_loop();
                }
                let words = self.batch(batch).iter().flat_map(|line| &line.0);
                wrong |= words
                    .zip(self.first_word(batch)..)
                    .fold(0, |wrong, (word, value)| {
                        wrong | (word.load(Ordering::Relaxed) ^ value)
                    });
                read.0.store(batch + 1, Ordering::Release);
            }
            if wrong == 0 {
                Ok(())
            } else {
                Err("a line of the bare stream was wrong".to_owned())
            }
        };
        duo::stream(seats, write, check)
    }

    fn batch(&self, batch: u64) -> &[Line] {
        let first = (batch % BATCHES as u64) as usize * self.batch;
        &self.lines[first..first + self.batch]
    }

    fn first_word(&self, batch: u64) -> u64 {
        batch * (self.batch * WORDS) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anywhere() -> Seats {
        Seats::for_threads(2)
    }

    #[test]
    fn the_bare_stream_checks_itself() {
        let timed = Buffer::new(0)
            .stream(&anywhere(), 1_000)
            .expect("seats exist");
        assert!(timed.faults.is_empty(), "{:?}", timed.faults);
    }

    #[test]
    fn the_bare_ping_pong_counts_its_trips() {
        let trips = ping_pong(&anywhere(), 100).expect("seats exist");
        assert_eq!(trips.latency.summary().count, 100);
        assert!(trips.faults.is_empty());
    }

    #[test]
    fn a_buffer_is_whole_batches() {
        for lines in [0, 65, 1_000, 8_192] {
            let buffer = Buffer::new(lines);
            assert_eq!(buffer.lines.len(), buffer.batch * BATCHES);
            assert!(buffer.lines.len() >= lines);
        }
    }
}
