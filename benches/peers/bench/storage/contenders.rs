//! Who takes part: each layout with its tuning, the shipped bus, and rtrb.

use crate::rings::{Consumer, Cursor, Event, Header, Layout, Line, Producer, Stamp, Tuning, ring};
use ringway::{BusConfig, Exclusive, Topology, Wait};
use ringway_harness::check::{Check, InOrder};
use ringway_harness::duo;
use ringway_harness::seats::Seats;
use std::fmt;
use std::hint;
use std::ops::Range;
use std::time::{Duration, Instant};

/// What all contenders of one table do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// Of an event.
    pub(crate) bytes: usize,
    /// In events.
    pub(crate) capacity: usize,
    /// Events published at once.
    pub(crate) batch: u64,
    /// The most that a consumer takes at once.
    pub(crate) batch_max: usize,
    /// Nanoseconds that a consumer works at an event, beside one compare and one add.
    pub(crate) work: u64,
    /// Steps of that work.
    pub(crate) steps: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            bytes,
            capacity,
            batch,
            work,
            ..
        } = self;
        write!(
            f,
            "{bytes} bytes, capacity {capacity}, batches of {batch}, {work} ns an event"
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Design {
    Cursor,
    Stamp,
    /// A mark and what fits beside it in one cache line.
    Line,
    Header8,
    Header32,
    Ringway,
    /// Ringway with a consumer that writes to every event.
    Edited,
    /// Ringway with a consumer that reads with a deadline, and so keeps no distance.
    Deadline,
    /// Read by chunks.
    Rtrb,
    /// Read event by event.
    RtrbPop,
}

#[inline(always)]
fn event<const W: usize>(number: u64) -> Event<W> {
    std::array::from_fn(|word| number.wrapping_add(word as u64))
}

/// The consumer's side: order, wholeness, and work that cannot begin before that at the last event is done.
struct Work<const HEAVY: bool> {
    check: InOrder,
    steps: u64,
    state: u64,
}

impl<const HEAVY: bool> Work<HEAVY> {
    #[inline(always)]
    fn see<const W: usize>(&mut self, event: &Event<W>) {
        let words = event.iter().zip(event[0]..);
        let torn = words.fold(0, |torn, (word, expected)| torn | (word ^ expected));
        self.check.see(event[0], torn == 0);
        if HEAVY {
            self.state = work(self.state ^ event[0], self.steps);
        }
    }
}

#[inline(always)]
fn work(state: u64, steps: u64) -> u64 {
    (0..steps).fold(state, |state, step| {
        (state ^ step).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    })
}

/// How many steps of work take so many nanoseconds.
pub(crate) fn steps(nanoseconds: u64) -> u64 {
    const STEPS: u64 = 10_000_000;
    let start = Instant::now();
    hint::black_box(work(hint::black_box(1), STEPS));
    nanoseconds * STEPS / (start.elapsed().as_nanos() as u64).max(1)
}

trait Publish<const W: usize>: Send {
    fn one(&mut self, number: u64);
    fn many(&mut self, numbers: Range<u64>);
}

trait Read<const W: usize>: Send {
    /// Shows what is there, if anything is, to `work`.
    fn read<const HEAVY: bool>(&mut self, most: usize, work: &mut Work<HEAVY>);
}

impl<const W: usize, L: Layout<Event<W>>> Publish<W> for Producer<Event<W>, L> {
    #[inline(always)]
    fn one(&mut self, number: u64) {
        self.put(event(number));
    }

    #[inline(always)]
    fn many(&mut self, numbers: Range<u64>) {
        self.put_all(numbers, event);
    }
}

impl<const W: usize, L: Layout<Event<W>>> Read<W> for Consumer<Event<W>, L> {
    #[inline(always)]
    fn read<const HEAVY: bool>(&mut self, most: usize, work: &mut Work<HEAVY>) {
        self.read(most as u64, |event| work.see(event));
    }
}

impl<const W: usize> Publish<W> for ringway::Producer<Event<W>> {
    #[inline(always)]
    fn one(&mut self, number: u64) {
        self.publish(event(number)).expect("the bus is open");
    }

    #[inline(always)]
    fn many(&mut self, numbers: Range<u64>) {
        let count = (numbers.end - numbers.start) as usize;
        let events = (0..count).map(|n| event(numbers.start + n as u64));
        self.publish_batch(events).expect("the bus is open");
    }
}

impl<const W: usize> Read<W> for ringway::Consumer<Event<W>, Exclusive> {
    #[inline(always)]
    fn read<const HEAVY: bool>(&mut self, _: usize, work: &mut Work<HEAVY>) {
        let batch = self.read().expect("the bus is open");
        batch.iter().for_each(|event| work.see(event));
    }
}

/// A consumer that writes to what it has read.
struct Editor<const W: usize>(ringway::Consumer<Event<W>, Exclusive>);

impl<const W: usize> Read<W> for Editor<W> {
    #[inline(always)]
    fn read<const HEAVY: bool>(&mut self, _: usize, work: &mut Work<HEAVY>) {
        let mut batch = self.0.read().expect("the bus is open");
        batch.iter_mut().for_each(|event| {
            work.see(event);
            event[0] = u64::MAX;
        });
    }
}

/// A consumer with a deadline that never comes: one for all reads, so that nothing but the way of reading differs.
struct Deadline<const W: usize>(ringway::Consumer<Event<W>, Exclusive>, Instant);

impl<const W: usize> Read<W> for Deadline<W> {
    #[inline(always)]
    fn read<const HEAVY: bool>(&mut self, _: usize, work: &mut Work<HEAVY>) {
        let batch = self.0.read_deadline(self.1).expect("the bus is open");
        batch.iter().for_each(|event| work.see(event));
    }
}

impl<const W: usize> Publish<W> for rtrb::Producer<Event<W>> {
    #[inline(always)]
    fn one(&mut self, number: u64) {
        while self.push(event(number)).is_err() {
            hint::spin_loop();
        }
    }

    #[inline(always)]
    fn many(&mut self, mut numbers: Range<u64>) {
        while !numbers.is_empty() {
            let count = self.slots().min((numbers.end - numbers.start) as usize);
            let chunk = self.write_chunk_uninit(count).expect("there is room");
            numbers.start += chunk.fill_from_iter(numbers.clone().map(event)) as u64;
        }
    }
}

impl<const W: usize> Read<W> for rtrb::Consumer<Event<W>> {
    #[inline(always)]
    fn read<const HEAVY: bool>(&mut self, most: usize, work: &mut Work<HEAVY>) {
        let count = self.slots().min(most);
        let chunk = self.read_chunk(count).expect("they are there");
        let (first, second) = chunk.as_slices();
        first.iter().for_each(|event| work.see(event));
        second.iter().for_each(|event| work.see(event));
        chunk.commit_all();
    }
}

struct Popper<const W: usize>(rtrb::Consumer<Event<W>>);

impl<const W: usize> Read<W> for Popper<W> {
    #[inline(always)]
    fn read<const HEAVY: bool>(&mut self, _: usize, work: &mut Work<HEAVY>) {
        match self.0.pop() {
            Ok(event) => work.see(&event),
            Err(_) => hint::spin_loop(),
        }
    }
}

/// How many of `events` came through in a nanosecond.
pub(crate) fn run(
    design: Design,
    tuning: Tuning,
    case: &Case,
    seats: &Seats,
    events: u64,
) -> Result<f64, String> {
    let go = Go {
        design,
        tuning,
        case,
        seats,
        events,
    };
    match case.bytes {
        8 => go.sized::<1>(),
        16 => go.sized::<2>(),
        32 => go.sized::<4>(),
        64 => go.sized::<8>(),
        256 => go.sized::<32>(),
        bytes => Err(format!("no events of {bytes} bytes: 8, 16, 32, 64 or 256")),
    }
}

struct Go<'g> {
    design: Design,
    tuning: Tuning,
    case: &'g Case,
    seats: &'g Seats,
    events: u64,
}

impl Go<'_> {
    fn sized<const W: usize>(&self) -> Result<f64, String> {
        match self.design {
            Design::Cursor => self.prototype::<W, Cursor>(),
            Design::Stamp => self.prototype::<W, Stamp>(),
            Design::Line => self.prototype::<W, Line>(),
            Design::Header8 => self.prototype::<W, Header<8>>(),
            Design::Header32 => self.prototype::<W, Header<32>>(),
            Design::Ringway | Design::Edited | Design::Deadline => {
                self.ringway::<W>().map_err(|e| e.to_string())?
            }
            Design::Rtrb => self.between(rtrb::RingBuffer::<Event<W>>::new(self.case.capacity)),
            Design::RtrbPop => {
                let (producer, consumer) = rtrb::RingBuffer::<Event<W>>::new(self.case.capacity);
                self.between((producer, Popper(consumer)))
            }
        }
    }

    fn prototype<const W: usize, L: Layout<Event<W>>>(&self) -> Result<f64, String> {
        self.between(ring::<W, L>(self.case.capacity as u64, self.tuning))
    }

    fn ringway<const W: usize>(&self) -> Result<Result<f64, String>, ringway::Error> {
        let config = BusConfig {
            capacity: self.case.capacity,
            wait: Wait::BusySpin,
            batch_max: self.case.batch_max,
            tail_pauses: self.tuning.pauses,
            ..BusConfig::default()
        };
        let mut topology = Topology::single(config, || [0; W])?;
        let (_, consumer) = topology.stage("consumer").consumer_mut();
        let (_bus, producer) = topology.start()?;
        Ok(match self.design {
            Design::Edited => self.between((producer, Editor(consumer))),
            Design::Deadline => {
                let never = Instant::now() + Duration::from_secs(3600);
                self.between((producer, Deadline(consumer, never)))
            }
            _ => self.between((producer, consumer)),
        })
    }

    fn between<const W: usize>(
        &self,
        (producer, consumer): (impl Publish<W>, impl Read<W>),
    ) -> Result<f64, String> {
        if self.case.work == 0 {
            self.stream::<W, false>(producer, consumer)
        } else {
            self.stream::<W, true>(producer, consumer)
        }
    }

    fn stream<const W: usize, const HEAVY: bool>(
        &self,
        mut producer: impl Publish<W>,
        mut consumer: impl Read<W>,
    ) -> Result<f64, String> {
        let (events, batch, most) = (self.events, self.case.batch, self.case.batch_max);
        let mut work = Work::<HEAVY> {
            check: InOrder::new(events),
            steps: self.case.steps,
            state: 1,
        };
        let produce = move || {
            if batch == 1 {
                (0..events).for_each(|number| producer.one(number));
            } else {
                let firsts = (0..events).step_by(batch as usize);
                firsts.for_each(|first| producer.many(first..events.min(first + batch)));
            }
            Ok(())
        };
        let consume = move || {
            while work.check.seen() < events {
                consumer.read(most, &mut work);
            }
            hint::black_box(work.state);
            work.check.verdict()
        };
        let timed = duo::stream(self.seats, produce, consume).map_err(|e| e.to_string())?;
        match timed.faults.first() {
            None => Ok(events as f64 / timed.elapsed.as_nanos().max(1) as f64),
            Some(fault) => Err(fault.clone()),
        }
    }
}
