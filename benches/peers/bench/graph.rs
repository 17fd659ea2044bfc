//! One producer and several stages that each see every event: broadcast, pipeline, diamond. Libraries that know graphs build
//! them; with queues users chain them, or push into several.

use crate::CAPACITY;
use crate::ours;
use crate::peers::disruptor::Publishing;
use crate::peers::photon::{self, Gated};
use crate::peers::{channels, gil, rings};
use crate::queue::{Idle, Queue, Sink, Source, receive, send};
use crate::stream::{contender, row, scenario};
use crate::work::Labour;
use disruptor::{BusySpin, build_single_producer};
use photon_ring::DependencyBarrier;
use ringway::Topology;
use ringway_harness::check::InOrder;
use ringway_harness::contest::{Contender, Row, Sample, Scenario, Task};
use ringway_harness::crew::{self, Duty};
use ringway_harness::payload::Payload;
use ringway_harness::seats::Seats;
use std::marker::PhantomData;

/// Which graph; a number because constants of other kinds cannot be parameters.
type Shape = u8;
/// Two stages side by side.
const BROADCAST: Shape = 0;
/// Three stages in a row.
const PIPELINE: Shape = 1;
/// A stage, two side by side after it, one after both.
const DIAMOND: Shape = 2;

pub(crate) fn broadcast() -> Scenario {
    let mut row = graph::<BROADCAST>();
    row.peers.push(contender("bus", run::<Bus, BROADCAST>));
    scenario("broadcast", row)
}

pub(crate) fn pipeline() -> Scenario {
    scenario("pipeline", graph::<PIPELINE>())
}

pub(crate) fn diamond() -> Scenario {
    scenario("diamond", graph::<DIAMOND>())
}

fn graph<const SHAPE: Shape>() -> Row {
    Row {
        peers: vec![
            contender("disruptor", run::<Disruptor, SHAPE>),
            contender("photon-ring", run::<Photon, SHAPE>),
            queues::<rings::Rtrb, SHAPE>("rtrb"),
            queues::<rings::RtrbChunks, SHAPE>("rtrb chunks"),
            queues::<rings::RingbufSlices, SHAPE>("ringbuf slices"),
            queues::<gil::Gil, SHAPE>("gil"),
            queues::<gil::GilBulk, SHAPE>("gil bulk"),
            queues::<rings::Nexus, SHAPE>("nexus-queue"),
            queues::<channels::Crossbeam, SHAPE>("crossbeam-channel"),
            queues::<rings::ArrayQueue, SHAPE>("ArrayQueue"),
            queues::<channels::Crossfire, SHAPE>("crossfire"),
            queues::<channels::KanalDrain, SHAPE>("kanal drain"),
            queues::<channels::FlumeDrain, SHAPE>("flume drain"),
            queues::<channels::Thingbuf, SHAPE>("thingbuf"),
            queues::<channels::Std, SHAPE>("std"),
        ],
        ..row(contender("ringway", run::<Ringway, SHAPE>), 1.25)
    }
}

fn queues<Q: Queue, const SHAPE: Shape>(name: &'static str) -> Contender {
    contender(name, run::<Queues<Q>, SHAPE>)
}

/// What all threads need to know.
#[derive(Clone, Copy)]
struct Plan<const WORKS: bool> {
    events: u64,
    idle: Idle,
}

/// What one thread finds.
type Verdict = Result<(), String>;
/// The threads of a graph: the producer, then the stages.
type Duties = Vec<Duty<'static, Verdict>>;

/// A library that has an answer to these shapes.
trait Graph: 'static {
    fn duties<const WORKS: bool>(shape: Shape, plan: Plan<WORKS>) -> Duties;
}

fn run<G: Graph, const SHAPE: Shape>(task: Task) -> Result<Sample, ringway::Error> {
    let events = task.events;
    let threads = [3, 4, 5][usize::from(SHAPE)];
    let seats = Seats::for_threads(threads);
    let idle = Idle::of(&seats);
    let duties = if task.work {
        G::duties(SHAPE, Plan::<true> { events, idle })
    } else {
        G::duties(SHAPE, Plan::<false> { events, idle })
    };
    debug_assert_eq!(duties.len(), threads);
    let (verdicts, elapsed) = crew::run(&seats, duties)?;
    let faults = verdicts.into_iter().filter_map(Result::err).collect();
    Ok(Sample::timed(events, elapsed, faults))
}

impl<const WORKS: bool> Plan<WORKS> {
    fn produce(self, mut tx: impl Sink<1>) -> Duty<'static, Verdict> {
        Box::new(move || {
            send::<1, 1>(&mut tx, 0, self.events, self.idle);
            Ok(())
        })
    }

    /// A stage that checks, and passes on to all of `outs`.
    fn stage<const OUTS: usize>(
        self,
        mut rx: impl Source<1>,
        mut outs: [impl Sink<1>; OUTS],
    ) -> Duty<'static, Verdict> {
        Box::new(move || {
            let mut labour = Labour::<_, WORKS>::new(InOrder::new(self.events));
            receive(&mut rx, self.events, self.idle, |event| {
                labour.see(event);
                for out in &mut outs {
                    self.idle.until(|| out.try_push(*event));
                }
            });
            labour.verdict()
        })
    }

    fn last(self, rx: impl Source<1>) -> Duty<'static, Verdict> {
        self.stage(rx, [] as [Nowhere; 0])
    }

    /// A stage that waits for each event from both sides.
    fn join(self, mut left: impl Source<1>, mut right: impl Source<1>) -> Duty<'static, Verdict> {
        Box::new(move || {
            let mut labour = Labour::<_, WORKS>::new(InOrder::new(self.events));
            let mut apart = 0;
            receive(&mut left, self.events, self.idle, |event| {
                let mut other = None;
                self.idle.until(|| {
                    other = right.try_pop();
                    other.is_some()
                });
                apart += u64::from(other != Some(*event));
                labour.see(event);
            });
            labour.verdict()?;
            if apart > 0 {
                return Err(format!("{apart} events came from one side only"));
            }
            Ok(())
        })
    }
}

/// Where the last stage passes events on to.
struct Nowhere;

impl Sink<1> for Nowhere {
    fn try_push(&mut self, _: Payload<1>) -> bool {
        true
    }
}

/// Both at once.
struct Both<S>([S; 2], Idle);

impl<S: Sink<1>> Sink<1> for Both<S> {
    #[inline(always)]
    fn try_push(&mut self, event: Payload<1>) -> bool {
        let Self([left, right], idle) = self;
        idle.until(|| left.try_push(event));
        idle.until(|| right.try_push(event));
        true
    }
}

/// A queue for every edge of the graph.
struct Queues<Q>(PhantomData<fn(Q)>);

impl<Q: Queue> Graph for Queues<Q> {
    fn duties<const WORKS: bool>(shape: Shape, plan: Plan<WORKS>) -> Duties {
        let edge = || Q::open::<1>(plan.idle);
        let (first_tx, first) = edge();
        let (second_tx, second) = edge();
        if shape == BROADCAST {
            let produce = plan.produce(Both([first_tx, second_tx], plan.idle));
            return vec![produce, plan.last(first), plan.last(second)];
        }
        let (third_tx, third) = edge();
        if shape == PIPELINE {
            return vec![
                plan.produce(first_tx),
                plan.stage(first, [second_tx]),
                plan.stage(second, [third_tx]),
                plan.last(third),
            ];
        }
        let ((left_tx, left), (right_tx, right)) = (edge(), edge());
        vec![
            plan.produce(first_tx),
            plan.stage(first, [second_tx, third_tx]),
            plan.stage(second, [left_tx]),
            plan.stage(third, [right_tx]),
            plan.join(left, right),
        ]
    }
}

/// One ring for the whole graph.
enum Ringway {}

impl Graph for Ringway {
    fn duties<const WORKS: bool>(shape: Shape, plan: Plan<WORKS>) -> Duties {
        let after: &[&[usize]] = match shape {
            BROADCAST => &[&[], &[]],
            PIPELINE => &[&[], &[0], &[1]],
            _ => &[&[], &[0], &[0], &[1, 2]],
        };
        let names = ["first", "second", "third", "fourth"];
        let config = ours::config(plan.idle);
        let mut topology = Topology::single(config, Payload::blank).expect("a valid configuration");
        let (mut tokens, mut stages) = (Vec::new(), Vec::new());
        for (name, after) in names.iter().zip(after) {
            let after = after.iter().map(|upstream| tokens[*upstream]);
            let (token, consumer) = topology.stage(*name).after(after).consumer();
            tokens.push(token);
            stages.push(plan.last(consumer));
        }
        let (_bus, producer) = topology.start().expect("a valid topology");
        let mut duties = vec![plan.produce(producer)];
        duties.append(&mut stages);
        duties
    }
}

/// One ring for the whole graph.
enum Disruptor {}

impl Graph for Disruptor {
    fn duties<const WORKS: bool>(shape: Shape, plan: Plan<WORKS>) -> Duties {
        let builder = build_single_producer(CAPACITY, Payload::<1>::blank, BusySpin);
        let (first, builder) = builder.new_event_poller();
        if shape == BROADCAST {
            let (second, builder) = builder.new_event_poller();
            let produce = plan.produce(Publishing(builder.build()));
            return vec![produce, plan.last(first), plan.last(second)];
        }
        let (second, builder) = builder.and_then().new_event_poller();
        if shape == PIPELINE {
            let (third, builder) = builder.and_then().new_event_poller();
            let produce = plan.produce(Publishing(builder.build()));
            let stages = (plan.last(first), plan.last(second), plan.last(third));
            return vec![produce, stages.0, stages.1, stages.2];
        }
        let (third, builder) = builder.new_event_poller();
        let (fourth, builder) = builder.and_then().new_event_poller();
        vec![
            plan.produce(Publishing(builder.build())),
            plan.last(first),
            plan.last(second),
            plan.last(third),
            plan.last(fourth),
        ]
    }
}

/// One ring, and subscribers gated by others.
enum Photon {}

impl Graph for Photon {
    fn duties<const WORKS: bool>(shape: Shape, plan: Plan<WORKS>) -> Duties {
        let (tx, ring) = photon::bounded::<1>();
        let produce = plan.produce(tx);
        let first = ring.subscribe();
        let second = ring.subscribe();
        if shape == BROADCAST {
            return vec![produce, plan.last(first), plan.last(second)];
        }
        let behind_first = || DependencyBarrier::from_subscribers(&[&first]);
        let (third, second_gate) = (ring.subscribe(), behind_first());
        if shape == PIPELINE {
            let third_gate = DependencyBarrier::from_subscribers(&[&second]);
            let second = plan.last(Gated(second, second_gate));
            let third = plan.last(Gated(third, third_gate));
            return vec![produce, plan.last(first), second, third];
        }
        let third_gate = behind_first();
        let fourth_gate = DependencyBarrier::from_subscribers(&[&second, &third]);
        vec![
            produce,
            plan.last(first),
            plan.last(Gated(second, second_gate)),
            plan.last(Gated(third, third_gate)),
            plan.last(Gated(ring.subscribe(), fourth_gate)),
        ]
    }
}

/// Broadcast and nothing else.
enum Bus {}

impl Graph for Bus {
    fn duties<const WORKS: bool>(_broadcast: Shape, plan: Plan<WORKS>) -> Duties {
        let mut bus = bus::Bus::<Payload<1>>::new(CAPACITY);
        let (left, right) = (bus.add_rx(), bus.add_rx());
        vec![plan.produce(bus), plan.last(left), plan.last(right)]
    }
}
