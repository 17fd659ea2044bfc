//! Latency: the time of single events, in an HDR histogram.

use crate::check::{Check, InOrder};
use crate::duo;
use crate::payload::Payload;
use crate::scenario::{PATIENCE, Round, Setup};
use ringway::{
    Consumer, Delivery, Exclusive, Handler, Latency, Producer, Single, StageError, Topology,
};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// The pause before each event of `wakeup`: long enough for the consumer to give up spinning and sleep.
pub const PAUSE: Duration = Duration::from_micros(200);

/// A bus with one consumer that its user runs, and the producer's end.
type OneToOne<const WORDS: usize> = (
    Producer<Payload<WORDS>, Single>,
    Consumer<Payload<WORDS>, Exclusive>,
);

/// One round of `trips` round trips: one event in flight, over a bus there and a bus back.
///
/// # Errors
/// When a bus refuses its configuration, or the system refuses a thread its core.
pub fn round_trip<const WORDS: usize>(setup: &Setup, trips: u64) -> Result<Round, ringway::Error> {
    let one_to_one = || -> Result<_, ringway::Error> {
        let mut topology = Topology::single(setup.config(), Payload::<WORDS>::blank)?;
        let (_, consumer) = topology.stage("consumer").consumer_mut();
        let (bus, producer) = topology.start()?;
        Ok((bus, (producer, consumer)))
    };
    let (bus_there, (mut ping_out, mut echo_in)): (_, OneToOne<WORDS>) = one_to_one()?;
    let (_bus_back, (mut echo_out, mut ping_in)): (_, OneToOne<WORDS>) = one_to_one()?;
    let ping = |number| {
        let sent = ping_out.publish(Payload::new(0, number));
        sent.ok()
            .and_then(|_| receive(&mut ping_in))
            .map_or(u64::MAX, |event| event.tag())
    };
    let echo = || receive(&mut echo_in).is_some_and(|event| echo_out.publish(event).is_ok());
    let outcome = duo::round_trips(&setup.seats, trips, ping, echo)?;
    Ok(Round {
        events: trips,
        capacity: bus_there.capacity(),
        elapsed: outcome.elapsed,
        latency: Some(outcome.latency),
        parks: None,
        faults: outcome.faults,
        warnings: bus_there
            .warnings()
            .iter()
            .map(ToString::to_string)
            .collect(),
    })
}

/// The one event in flight; `None` if it is torn, not alone, or never comes.
fn receive<const WORDS: usize>(
    consumer: &mut Consumer<Payload<WORDS>, Exclusive>,
) -> Option<Payload<WORDS>> {
    let batch = consumer.read().ok()?;
    let mut events = batch.iter().copied();
    events
        .next()
        .filter(|event| event.is_whole() && events.next().is_none())
}

/// An event that knows when it was published.
struct Stamped<const WORDS: usize> {
    payload: Payload<WORDS>,
    published: Instant,
}

/// Measures the age of what wakes it, and checks it.
struct Sleeper {
    check: InOrder,
    latency: Latency,
    report: Sender<(InOrder, Latency)>,
}

impl<const WORDS: usize> Handler<Stamped<WORDS>> for Sleeper {
    fn on_event(&mut self, event: &Stamped<WORDS>, _at: Delivery) -> Result<(), StageError> {
        self.latency.record(event.published.elapsed());
        self.check
            .see(event.payload.tag(), event.payload.is_whole());
        Ok(())
    }

    fn on_stop(&mut self) {
        let latency = std::mem::replace(&mut self.latency, Latency::new());
        // Nobody listens any more if the round was given up.
        let _ = self.report.send((self.check.clone(), latency));
    }
}

/// One round of `events` events, each published after a pause in which the consumer falls asleep.
///
/// # Errors
/// When the bus refuses its configuration, or the system refuses a thread its core.
pub fn wakeup<const WORDS: usize>(setup: &Setup, events: u64) -> Result<Round, ringway::Error> {
    let unused = Instant::now();
    let mut topology = Topology::single(setup.config(), || Stamped {
        payload: Payload::<WORDS>::blank(),
        published: unused,
    })?;
    let (report, reports) = mpsc::channel();
    let mut stage = topology.stage("sleeper");
    if let Some(core) = setup.seats.core(1) {
        stage = stage.pin(core);
    }
    stage.attach(Sleeper {
        check: InOrder::new(events),
        latency: Latency::new(),
        report,
    });
    let (bus, mut producer) = topology.start()?;
    // Takes the producer with it: the bus ends once its only producer is gone.
    let publish = move || {
        setup.seats.sit(0)?;
        let start = Instant::now();
        let mut counters = 0..events;
        let published = counters.try_for_each(|counter| {
            thread::sleep(PAUSE);
            let payload = Payload::new(0, counter);
            let sent = producer.publish(Stamped {
                payload,
                published: Instant::now(),
            });
            sent.map(drop).map_err(|error| error.without_event())
        });
        Ok::<_, ringway::Error>((start.elapsed(), published))
    };
    let (elapsed, published) = thread::scope(|scope| duo::finish(scope.spawn(publish)))?;
    let capacity = bus.capacity();
    let parks = bus.stats().stages.first().map(|stage| stage.parks);
    let mut faults: Vec<String> = published
        .err()
        .map(|error| error.to_string())
        .into_iter()
        .collect();
    let warnings = bus.warnings().iter().map(ToString::to_string).collect();
    faults.extend(
        bus.shutdown_deadline(Instant::now() + PATIENCE)
            .err()
            .map(|error| error.to_string()),
    );
    let report = reports.try_recv().ok();
    faults.extend(
        report
            .as_ref()
            .map_or(Some("the consumer ended early".to_owned()), |(check, _)| {
                check.verdict().err()
            }),
    );
    let latency = report.map_or_else(Latency::new, |(_, latency)| latency);
    Ok(Round {
        events,
        capacity,
        elapsed,
        latency: Some(latency),
        parks,
        faults,
        warnings,
    })
}
