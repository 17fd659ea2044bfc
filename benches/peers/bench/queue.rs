//! What every contender looks like to the scenarios: an end to put events in, an end to take them out, and how to wait.

use crate::CAPACITY;
use ringway_harness::payload::Payload;
use ringway_harness::seats::Seats;
use std::hint;
use std::thread;

/// Looks with a pause in between before a thread without a core of its own lets others run.
const SPINS_BEFORE_YIELD: u32 = 64;

/// How threads wait for each other, the same for all contenders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    /// Spin: every thread has a core.
    Spin,
    /// Spin 64 times, then yield: threads outnumber cores.
    SpinThenYield,
}

impl Idle {
    pub(crate) fn of(seats: &Seats) -> Self {
        if seats.pinned() {
            Self::Spin
        } else {
            Self::SpinThenYield
        }
    }

    /// Waits until `done` is. Inlined for all alike: what `done` counts then stays in registers.
    #[inline(always)]
    pub(crate) fn until(self, mut done: impl FnMut() -> bool) {
        let mut looks = 0;
        while !done() {
            if self == Self::Spin || looks < SPINS_BEFORE_YIELD {
                hint::spin_loop();
                looks += 1;
            } else {
                thread::yield_now();
            }
        }
    }
}

/// Consecutive events of one producer, each made when it is taken.
#[derive(Clone, Debug)]
pub(crate) struct Events<const W: usize> {
    producer: usize,
    next: u64,
    end: u64,
}

impl<const W: usize> Events<W> {
    #[inline]
    pub(crate) fn new(producer: usize, first: u64, count: u64) -> Self {
        Self {
            producer,
            next: first,
            end: first + count,
        }
    }

    /// The next event, which stays.
    #[inline]
    pub(crate) fn peek(&self) -> Option<Payload<W>> {
        (self.next < self.end).then(|| Payload::new(self.producer, self.next))
    }

    /// The next `count`, which stay.
    #[inline]
    pub(crate) fn first(&self, count: usize) -> Self {
        Self::new(self.producer, self.next, count as u64)
    }

    /// Drops the next `count`.
    #[inline]
    pub(crate) fn skip_first(&mut self, count: usize) {
        self.next += count as u64;
    }
}

impl<const W: usize> Iterator for Events<W> {
    type Item = Payload<W>;

    #[inline]
    fn next(&mut self) -> Option<Payload<W>> {
        let event = self.peek()?;
        self.next += 1;
        Some(event)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.end - self.next) as usize;
        (left, Some(left))
    }
}

impl<const W: usize> ExactSizeIterator for Events<W> {}

/// The end to put events in.
pub(crate) trait Sink<const W: usize>: Send + 'static {
    /// Puts an event in; false when there is no room. Those that wait by themselves may.
    fn try_push(&mut self, event: Payload<W>) -> bool;

    /// Takes as many of `events` as there is room for, by one call if there is one.
    #[inline(always)]
    fn try_push_batch(&mut self, events: &mut Events<W>) {
        while events.peek().is_some_and(|event| self.try_push(event)) {
            events.skip_first(1);
        }
    }
}

/// The end to take events out.
pub(crate) trait Source<const W: usize>: Send + 'static {
    /// Takes an event out; `None` when there is none. Those that wait by themselves may.
    fn try_pop(&mut self) -> Option<Payload<W>>;

    /// Shows `see` the events that are there, by one call if there is one, and says how many; 0 when there were none.
    /// Those that wait by themselves answer 0 only at the end.
    #[inline(always)]
    fn drain(&mut self, mut see: impl FnMut(&Payload<W>)) -> usize {
        let mut seen = 0;
        while let Some(event) = self.try_pop() {
            see(&event);
            seen += 1;
        }
        seen
    }
}

/// A kind of queue.
pub(crate) trait Queue: 'static {
    /// Its end to put events in: `Clone` if it takes many producers.
    type Tx<const W: usize>: Sink<W>;
    /// Its end to take events out: `Clone` if consumers may compete.
    type Rx<const W: usize>: Source<W>;

    /// A new one with room for [`CAPACITY`] events.
    fn open<const W: usize>(idle: Idle) -> (Self::Tx<W>, Self::Rx<W>);
}

/// Publishes the events `0..events` of `producer`, `BATCH` at a time.
#[inline(always)]
pub(crate) fn send<const W: usize, const BATCH: u64>(
    tx: &mut impl Sink<W>,
    producer: usize,
    events: u64,
    idle: Idle,
) {
    if BATCH == 1 {
        for counter in 0..events {
            let event = Payload::new(producer, counter);
            idle.until(|| tx.try_push(event));
        }
        return;
    }
    let rest = events % BATCH;
    for batch in 0..events / BATCH {
        send_batch(tx, Events::new(producer, batch * BATCH, BATCH), idle); // of constant length: the compiler may unroll
    }
    if rest > 0 {
        send_batch(tx, Events::new(producer, events - rest, rest), idle);
    }
}

#[inline(always)]
fn send_batch<const W: usize>(tx: &mut impl Sink<W>, mut batch: Events<W>, idle: Idle) {
    idle.until(|| {
        tx.try_push_batch(&mut batch);
        batch.len() == 0
    });
}

/// Shows `see` so many events.
#[inline(always)]
pub(crate) fn receive<const W: usize>(
    rx: &mut impl Source<W>,
    events: u64,
    idle: Idle,
    mut see: impl FnMut(&Payload<W>),
) {
    let mut seen = 0;
    while seen < events {
        idle.until(|| {
            let found = rx.drain(&mut see) as u64;
            seen += found;
            found > 0
        });
    }
}

/// Implements [`Sink`] by an expression.
macro_rules! sink {
    ($type:ty, |$tx:ident, $event:ident| $try_push:expr) => {
        impl<const W: usize> $crate::queue::Sink<W> for $type {
            #[inline(always)]
            fn try_push(&mut self, $event: Payload<W>) -> bool {
                let $tx = self;
                $try_push
            }
        }
    };
}

/// Implements [`Source`] by an expression.
macro_rules! source {
    ($type:ty, |$rx:ident| $try_pop:expr) => {
        impl<const W: usize> $crate::queue::Source<W> for $type {
            #[inline(always)]
            fn try_pop(&mut self) -> Option<Payload<W>> {
                let $rx = self;
                $try_pop
            }
        }
    };
}

/// Makes a [`Queue`] of two ends and the call that opens it.
macro_rules! queue {
    ($(#[$meta:meta])* $name:ident, $tx:ty, $rx:ty, $open:expr) => {
        $(#[$meta])*
        pub(crate) enum $name {}

        impl $crate::queue::Queue for $name {
            type Tx<const W: usize> = $tx;
            type Rx<const W: usize> = $rx;

            fn open<const W: usize>(_: $crate::queue::Idle) -> (Self::Tx<W>, Self::Rx<W>) {
                $open
            }
        }
    };
}

pub(crate) use {queue, sink, source};

/// The capacity as `gil` wants it.
pub(crate) const NON_ZERO_CAPACITY: std::num::NonZeroUsize =
    std::num::NonZeroUsize::new(CAPACITY).expect("it is not zero");
