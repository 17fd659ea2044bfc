//! Throughput: producers that publish one event at a time into a graph of stages, or a group of workers, that check them.

use crate::check::{ByProducer, Check, Divided, InOrder};
use crate::duo::finish;
use crate::payload::Payload;
use crate::scenario::{PATIENCE, Round, Setup};
use crate::seats::Seats;
use ringway::{
    Bus, Delivery, Ended, Handler, Multi, Producer, ProducerKind, Single, Stage, StageError,
    Topology, Worker,
};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Instant;

/// Who takes part.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Threads that publish.
    pub producers: usize,
    /// Stages that see every event, each with the indices of those it comes after.
    pub stages: &'static [(&'static str, &'static [usize])],
    /// Workers that divide the events, instead of stages.
    pub members: usize,
}

impl Shape {
    /// How many threads the graph keeps busy.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.producers + self.stages.len() + self.members
    }

    /// The events of each producer.
    fn split(&self, events: u64) -> Vec<u64> {
        let producers = self.producers as u64;
        (0..producers)
            .map(|producer| events / producers + u64::from(producer < events % producers))
            .collect()
    }
}

/// One round: builds the graph, publishes `events` events through it, and takes it down.
///
/// # Errors
/// When the bus refuses its configuration, or the system refuses a thread its core.
pub fn round<const WORDS: usize>(
    shape: &Shape,
    setup: &Setup,
    events: u64,
) -> Result<Round, ringway::Error> {
    let published = shape.split(events);
    if shape.members > 0 {
        let topology = Topology::multi(setup.config(), Payload::<WORDS>::blank)?;
        divided(topology, shape, setup, &published)
    } else if shape.producers > 1 {
        let topology = Topology::multi(setup.config(), Payload::<WORDS>::blank)?;
        let clones = |producer: Producer<_, Multi>| vec![producer; shape.producers];
        staged(
            topology,
            shape,
            setup,
            &published,
            &ByProducer::new(&published),
            clones,
        )
    } else {
        let topology = Topology::single(setup.config(), Payload::<WORDS>::blank)?;
        let only = |producer: Producer<_, Single>| vec![producer];
        staged(
            topology,
            shape,
            setup,
            &published,
            &InOrder::new(events),
            only,
        )
    }
}

/// What a consumer has to say when it has ended.
struct Report<C> {
    name: &'static str,
    check: C,
    ended: Instant,
}

/// A stage that checks what it sees.
struct Reader<C> {
    name: &'static str,
    check: C,
    /// Dropped once it has been used: when all are gone, every stage has started or never will.
    started: Option<Sender<()>>,
    report: Sender<Report<C>>,
}

impl<C: Check, const WORDS: usize> Handler<Payload<WORDS>> for Reader<C> {
    #[inline]
    fn on_event(&mut self, event: &Payload<WORDS>, _at: Delivery) -> Result<(), StageError> {
        self.check.see(event.tag(), event.is_whole());
        Ok(())
    }

    fn on_start(&mut self) -> Result<(), StageError> {
        Ok(self
            .started
            .take()
            .map_or(Ok(()), |started| started.send(()))?)
    }

    fn on_stop(&mut self) {
        let report = Report {
            name: self.name,
            check: self.check.clone(),
            ended: Instant::now(),
        };
        // Nobody listens any more if the round was given up: then there is nobody to tell.
        let _ = self.report.send(report);
    }
}

/// A round through stages that each see every event.
fn staged<C, K, const WORDS: usize>(
    mut topology: Topology<Payload<WORDS>, K>,
    shape: &Shape,
    setup: &Setup,
    published: &[u64],
    check: &C,
    producers: impl FnOnce(Producer<Payload<WORDS>, K>) -> Vec<Producer<Payload<WORDS>, K>>,
) -> Result<Round, ringway::Error>
where
    C: Check,
    K: ProducerKind,
    Producer<Payload<WORDS>, K>: Send,
{
    let (started, starts) = mpsc::channel();
    let (report, reports) = mpsc::channel();
    let mut tokens: Vec<Stage> = Vec::new();
    for (index, (name, after)) in shape.stages.iter().enumerate() {
        let mut stage = topology
            .stage(*name)
            .after(after.iter().map(|upstream| tokens[*upstream]));
        if let Some(core) = setup.seats.core(shape.producers + index) {
            stage = stage.pin(core);
        }
        let (check, started, report) = (check.clone(), Some(started.clone()), report.clone());
        tokens.push(stage.attach(Reader {
            name,
            check,
            started,
            report,
        }));
    }
    drop((started, report)); // only the stages hold them now
    let (bus, producer) = topology.start()?;
    if starts.iter().count() < shape.stages.len() {
        bus.halt(); // or producers would wait for a stage that is not there
    }
    let run = publish(&bus, producers(producer), &setup.seats, published)?;
    let each = |report: &Report<C>| {
        report
            .check
            .verdict()
            .map_err(|fault| format!("{}: {fault}", report.name))
    };
    Ok(run.conclude(&bus, &reports, shape.stages.len(), |reports| {
        reports.iter().try_for_each(each)
    }))
}

/// A round through workers on threads of their own that divide the events.
fn divided<const WORDS: usize>(
    mut topology: Topology<Payload<WORDS>, Multi>,
    shape: &Shape,
    setup: &Setup,
    published: &[u64],
) -> Result<Round, ringway::Error> {
    let (_, worker) = topology.stage("workers").workers();
    let (bus, producer) = topology.start()?;
    let (report, reports) = mpsc::channel();
    let producers = vec![producer; shape.producers];
    thread::scope(|scope| {
        for (member, worker) in vec![worker; shape.members].into_iter().enumerate() {
            let (report, check, seat) = (
                report.clone(),
                Divided::new(published),
                shape.producers + member,
            );
            scope.spawn(move || work(worker, &setup.seats, seat, check, &report));
        }
        let run = publish(&bus, producers, &setup.seats, published);
        // A worker ends only with the bus: without this a failed start would leave it waiting.
        bus.close();
        drop(report);
        let together = |reports: &[Report<Divided>]| {
            reports
                .iter()
                .fold(Divided::new(published), |group, report| {
                    group.and(&report.check)
                })
                .verdict()
        };
        Ok(run?.conclude(&bus, &reports, shape.members, together))
    })
}

fn work<const WORDS: usize>(
    mut worker: Worker<Payload<WORDS>>,
    seats: &Seats,
    seat: usize,
    mut check: Divided,
    report: &Sender<Report<Divided>>,
) {
    let seated = seats.sit(seat);
    let end = loop {
        match worker.read() {
            Ok(batch) => batch
                .iter()
                .for_each(|event| check.see(event.tag(), event.is_whole())),
            Err(end) => break end,
        }
    };
    // A worker that ended otherwise, or sat elsewhere, says nothing, and is reported as missing.
    if matches!(end, Ended::Drained) && seated.is_ok() {
        let _ = report.send(Report {
            name: "worker",
            check,
            ended: Instant::now(),
        });
    }
}

/// The producers' half of a round.
struct Published {
    events: u64,
    start: Instant,
    faults: Vec<String>,
}

/// Publishes each producer's share from a thread of its own; the last to finish closes the bus, at once: a thread that
/// had to be woken for it would be part of what is timed.
fn publish<T, K, const WORDS: usize>(
    bus: &Bus<T>,
    producers: Vec<Producer<Payload<WORDS>, K>>,
    seats: &Seats,
    published: &[u64],
) -> Result<Published, ringway::Error>
where
    T: Send + 'static,
    K: ProducerKind,
    Producer<Payload<WORDS>, K>: Send,
{
    let (barrier, busy) = (
        Barrier::new(producers.len()),
        AtomicUsize::new(producers.len()),
    );
    let share = |index: usize, mut producer: Producer<Payload<WORDS>, K>, count: u64| {
        let seated = seats.sit(index);
        barrier.wait();
        let start = Instant::now();
        let mut counters = 0..count;
        let result = counters
            .try_for_each(|counter| producer.publish(Payload::new(index, counter)).map(drop));
        if busy.fetch_sub(1, Ordering::AcqRel) == 1 {
            bus.close();
        }
        let fault = result
            .err()
            .map(|error| format!("producer {index}: {}", error.without_event()));
        seated.map(|()| (start, fault))
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let (share, shares) = (
            &share,
            producers
                .into_iter()
                .zip(published.iter().copied())
                .enumerate(),
        );
        let spawn = |(index, (producer, count))| scope.spawn(move || share(index, producer, count));
        let threads: Vec<_> = shares.map(spawn).collect();
        threads.into_iter().map(finish).collect::<Result<_, _>>()
    })?;
    let start = outcomes
        .iter()
        .map(|(start, _)| *start)
        .min()
        .unwrap_or_else(Instant::now);
    let faults = outcomes
        .into_iter()
        .filter_map(|(_, fault)| fault)
        .collect();
    Ok(Published {
        events: published.iter().sum(),
        start,
        faults,
    })
}

impl Published {
    /// Waits for the consumers and judges what they saw.
    fn conclude<T: Send + 'static, C>(
        mut self,
        bus: &Bus<T>,
        reports: &Receiver<Report<C>>,
        consumers: usize,
        verdict: impl FnOnce(&[Report<C>]) -> Result<(), String>,
    ) -> Round {
        if let Err(error) = bus.join_deadline(Instant::now() + PATIENCE) {
            self.faults
                .push(format!("the bus did not end well: {error}"));
        }
        // Workers are threads of the harness: they report when they see the end, which may be after the bus has it.
        let reports: Vec<_> = (0..consumers)
            .map_while(|_| reports.recv_timeout(PATIENCE).ok())
            .collect();
        if reports.len() < consumers {
            self.faults.push(format!(
                "{} of {consumers} consumers ended early",
                consumers - reports.len()
            ));
        }
        let end = reports
            .iter()
            .map(|report| report.ended)
            .max()
            .unwrap_or(self.start);
        self.faults.extend(verdict(&reports).err());
        Round {
            events: self.events,
            capacity: bus.capacity(),
            elapsed: end.saturating_duration_since(self.start),
            latency: None,
            parks: None,
            faults: self.faults,
            warnings: bus.warnings().iter().map(ToString::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::PayloadSize;
    use crate::scenario::WaitName;

    #[test]
    fn producers_share_the_events_evenly() {
        let shape = Shape {
            producers: 3,
            stages: &[],
            members: 1,
        };
        assert_eq!(shape.split(11), [4, 4, 3]);
        assert_eq!(shape.split(1), [1, 0, 0]);
    }

    #[test]
    fn what_a_stage_finds_is_a_fault_of_the_round() {
        let shape = Shape {
            producers: 1,
            stages: &[("right", &[]), ("wrong", &[0])],
            members: 0,
        };
        let seats = Seats::among(&[], shape.threads());
        let setup = Setup {
            payload: PayloadSize::Bytes8,
            capacity: 64,
            wait: WaitName::Yield,
            seats,
        };
        let topology =
            Topology::single(setup.config(), Payload::<1>::blank).expect("a valid configuration");
        // Both stages await an event more than there is.
        let round = staged(
            topology,
            &shape,
            &setup,
            &[100],
            &InOrder::new(101),
            |producer| vec![producer],
        );
        let faults = round.expect("a valid topology").faults;
        assert!(
            faults[0].ends_with("101 events published, 100 received"),
            "{faults:?}"
        );
    }
}
