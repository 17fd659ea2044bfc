//! Any number of threads that start together, timed from the first start to the last end.

use crate::duo::{Gate, finish};
use crate::seats::Seats;
use std::thread;
use std::time::{Duration, Instant};

/// What one thread of a crew does.
pub type Duty<'a, R> = Box<dyn FnOnce() -> R + Send + 'a>;

/// Runs every duty on a thread of its own, in the seat of its index; none starts before all threads are there. Returns what
/// each answered, in order, and the time from the first start to the last end.
///
/// # Errors
/// When a thread cannot be pinned to its seat.
///
/// # Panics
/// When a duty does.
pub fn run<R: Send>(
    seats: &Seats,
    duties: Vec<Duty<'_, R>>,
) -> Result<(Vec<R>, Duration), ringway::Error> {
    let gate = Gate::new(duties.len());
    let work = |index: usize, duty: Duty<'_, R>| {
        let open = gate.pass(seats.sit(index))?;
        Ok::<_, ringway::Error>(open.then(|| (Instant::now(), duty(), Instant::now())))
    };
    let shifts: Vec<(Instant, R, Instant)> = thread::scope(|scope| {
        let work = &work;
        let spawn = |(index, duty)| scope.spawn(move || work(index, duty));
        let threads: Vec<_> = duties.into_iter().enumerate().map(spawn).collect();
        let shifts: Result<Vec<_>, _> = threads.into_iter().map(finish).collect();
        // A thread that found the gate shut has nothing to tell; the error of the one that shut it is returned here.
        shifts.map(|shifts| shifts.into_iter().flatten().collect())
    })?;
    let start = shifts.iter().map(|(start, ..)| *start).min();
    let end = shifts.iter().map(|(.., end)| *end).max();
    let elapsed = start.zip(end).map(|(start, end)| end - start);
    let answers = shifts.into_iter().map(|(_, answer, _)| answer).collect();
    Ok((answers, elapsed.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_order_and_the_slowest_ends_the_time() {
        let pause = Duration::from_millis(20);
        let duty = |number: u32| -> Duty<'_, u32> {
            Box::new(move || {
                thread::sleep(pause * number);
                number
            })
        };
        let duties = vec![duty(2), duty(1), duty(0)];
        let (answers, elapsed) = run(&Seats::among(&[], 3), duties).expect("no seat to refuse");
        assert_eq!(answers, [2, 1, 0]);
        assert!(elapsed >= pause * 2);
    }

    #[test]
    fn a_seat_that_does_not_exist_is_an_error_and_nobody_hangs() {
        let seats = Seats::among(&[0, usize::MAX, 0], 3);
        let duties: Vec<Duty<'_, ()>> = (0..3).map(|_| Box::new(|| ()) as Duty<'_, ()>).collect();
        assert!(run(&seats, duties).is_err());
    }
}
