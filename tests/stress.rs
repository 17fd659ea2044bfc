//! Graphs under load, at random: every shape with every wait strategy, tiny capacities, random verbs and batch sizes,
//! claims that are dropped or forgotten, batches that are forgotten, workers that come and go. What must hold however
//! the threads are scheduled is checked at every event, or at the end.

mod common;

use common::payload::{Id, Payload};
use common::script::{Progress, Script, Seen, exactly_once, ids, in_order_of_producers};
use common::{
    CAPACITIES, Log, Random, STRATEGIES, bearable, config, later, limited, seeded, waiting,
};
use ringway::{
    BusConfig, Consumer, Delivery, Multi, Producer, ProducerKind, Single, Stage, Topology, Wait,
    Worker,
};
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

/// The stages that each see every event, and say how far they are.
const DIAMOND: [&str; 3] = ["left", "right", "join"];

/// One graph under load.
struct Case {
    wait: Wait,
    capacity: usize,
    batch_max: usize,
    /// How many events each producer publishes.
    events: u64,
    random: Random,
    progress: Progress,
    stages: Vec<(&'static str, Seen)>,
    threads: Vec<JoinHandle<()>>,
}

impl Case {
    fn new(random: &mut Random, wait: Wait, capacity: usize) -> Self {
        Self {
            wait,
            capacity,
            batch_max: 1 + random.below(2 * capacity as u64) as usize,
            events: bearable(120, capacity, wait),
            random: random.fork(),
            progress: Progress::default(),
            stages: Vec::new(),
            threads: Vec::new(),
        }
    }

    fn config(&self) -> BusConfig {
        BusConfig {
            batch_max: self.batch_max,
            ..waiting(self.capacity, self.wait)
        }
    }

    /// A list for a stage of this name.
    fn seen(&mut self, stage: &'static str) -> Seen {
        self.stages.push((stage, Log::new()));
        self.stages[self.stages.len() - 1].1.clone()
    }

    /// A handler that checks and notes what it gets.
    fn handler(&mut self, stage: &'static str) -> impl FnMut(&Payload, Delivery) + Send + use<> {
        let (seen, progress, index) = (
            self.seen(stage),
            self.progress.clone(),
            self.stages.len() - 1,
        );
        let mut random = self.random.fork();
        move |event, at| {
            seen.push((at.sequence.get(), event.watch(&mut random)));
            progress.0[index].store(at.sequence.get() + 1, Ordering::SeqCst);
        }
    }

    fn spawn(&mut self, body: impl FnOnce() + Send + 'static) {
        self.threads.push(thread::spawn(body));
    }

    /// Reads to the end on an own thread, and forgets a batch now and then.
    fn consume(&mut self, stage: &'static str, mut rx: Consumer<Payload>, upstream: Option<Seen>) {
        let (seen, mut random) = (self.seen(stage), self.random.fork());
        self.spawn(move || {
            loop {
                let read = if random.once_in(2) {
                    rx.read().ok()
                } else {
                    rx.read_deadline(later()).ok()
                };
                let Some(batch) = read else { break };
                let first = batch.sequences().start().get();
                assert!(batch.len() <= batch.sequences().len());
                for (offset, id) in batch
                    .iter()
                    .map(|event| event.watch(&mut random))
                    .enumerate()
                {
                    let handled = upstream
                        .as_ref()
                        .is_none_or(|upstream| upstream.contains(&(u64::MAX, id)));
                    assert!(handled, "{id:?} comes after the stage before");
                    seen.push((first + offset as u64, id)); // exact where nothing is abandoned
                }
                if random.once_in(8) {
                    std::mem::forget(batch);
                }
            }
        });
    }

    /// Shares a stage between threads whose workers leave and join all the time.
    fn work(&mut self, stage: &'static str, first: Worker<Payload>) -> Seen {
        let seen = self.seen(stage);
        for mut worker in [first.clone(), first] {
            let (seen, mut random) = (seen.clone(), self.random.fork());
            self.spawn(move || {
                loop {
                    if random.once_in(6) {
                        worker = worker.clone(); // a new member comes, then the old one goes
                    }
                    if random.once_in(8)
                        && let Ok(batch) = worker.clone().try_read()
                    {
                        batch
                            .iter()
                            .for_each(|event| seen.push((u64::MAX, event.watch(&mut random))));
                    }
                    let Ok(batch) = worker.read() else { break };
                    batch
                        .iter()
                        .for_each(|event| seen.push((u64::MAX, event.watch(&mut random))));
                    if random.once_in(10) {
                        std::mem::forget(batch);
                    }
                }
            });
        }
        seen
    }

    /// Starts the bus, publishes from one or two threads, waits for the end, and checks everything.
    fn run<K: ProducerKind>(
        mut self,
        topology: Topology<Payload, K>,
        clone: Option<CloneProducer<K>>,
    ) -> Self {
        let (bus, first) = topology.start().expect("a valid topology");
        let second = clone.map(|clone| clone(&first));
        let (multi, sees_all) = (
            second.is_some(),
            self.stages.iter().all(|(stage, _)| DIAMOND.contains(stage)),
        );
        let distracted = !multi || self.random.once_in(2);
        for (number, producer) in [Some(first), second].into_iter().flatten().enumerate() {
            let script = Script {
                producer,
                number: number as u64,
                events: self.events,
                random: self.random.fork(),
                distracted,
                bound: (sees_all && !(multi && distracted)).then(|| self.progress.clone()),
            };
            self.spawn(move || script.play());
        }
        for thread in self.threads.drain(..) {
            thread.join().expect("the thread found nothing wrong");
        }
        bus.join().expect("no stage failed");
        let producers = 1 + u64::from(multi);
        for (stage, seen) in &self.stages {
            exactly_once(stage, seen, producers, self.events);
        }
        self
    }

    fn take(&self, stage: &str) -> Vec<(u64, Id)> {
        let found = self.stages.iter().find(|(name, _)| *name == stage);
        found.expect("the stage is there").1.take()
    }
}

/// One random case for every strategy, capacity and kind of producer.
fn everywhere(name: &'static str, single: fn(Case), multi: fn(Case)) {
    seeded(name, |mut random| {
        for wait in STRATEGIES {
            for capacity in CAPACITIES {
                for run in [single, multi] {
                    let case = Case::new(&mut random, wait, capacity);
                    limited(move || run(case));
                }
            }
        }
    });
}

fn single(case: &Case) -> Topology<Payload, Single> {
    Topology::single(case.config(), Payload::default).expect("a valid config")
}

fn multi(case: &Case) -> Topology<Payload, Multi> {
    Topology::multi(case.config(), Payload::default).expect("a valid config")
}

type CloneProducer<K> = fn(&Producer<Payload, K>) -> Producer<Payload, K>;
const CLONE: Option<CloneProducer<Multi>> = Some(Clone::clone);

fn diamond<K: ProducerKind>(case: &mut Case, topology: &mut Topology<Payload, K>) {
    let left = topology.stage("left").handle(case.handler("left"));
    let right = topology
        .stage("right")
        .batch_max(2)
        .handle(case.handler("right"));
    let (mut join, arms) = (case.handler("join"), case.progress.clone());
    topology
        .stage("join")
        .after([left, right])
        .handle(move |event, at| {
            let ahead = arms.0[..2]
                .iter()
                .all(|arm| arm.load(Ordering::SeqCst) > at.sequence.get());
            assert!(ahead, "{at:?} comes after both arms");
            join(event, at);
        });
}

fn check_diamond(case: &Case) {
    let [left, right, join] = DIAMOND.map(|stage| case.take(stage));
    assert!(
        left.is_sorted_by(|one, next| one.0 < next.0),
        "in the order of sequences"
    );
    in_order_of_producers(&ids(&left));
    assert_eq!(left, right, "one total order for all");
    assert_eq!(left, join);
}

#[test]
fn broadcast_and_join() {
    everywhere(
        "broadcast_and_join",
        |mut case| {
            let mut topology = single(&case);
            diamond(&mut case, &mut topology);
            check_diamond(&case.run(topology, None));
        },
        |mut case| {
            let mut topology = multi(&case);
            diamond(&mut case, &mut topology);
            check_diamond(&case.run(topology, CLONE));
        },
    );
}

fn editing_chain<K: ProducerKind>(case: &mut Case, topology: &mut Topology<Payload, K>) {
    let mut first = case.handler("edit");
    // each stage edits every event and leaves it whole
    let mut random = case.random.fork();
    let edit = topology.stage("edit").handle_mut(move |event, at| {
        let Id { producer, count } = event.watch(&mut random);
        event.write(Id {
            producer: producer + 10,
            count,
        });
        first(&Payload::new(Id { producer, count }), at);
    });
    let mut random = case.random.fork();
    let back = topology
        .stage("edit back")
        .after([edit])
        .handle_mut(move |event, _| {
            let Id { producer, count } = event.watch(&mut random);
            assert!(producer >= 10, "it comes after the first edit");
            event.write(Id {
                producer: producer - 10,
                count,
            });
        });
    let (_, rx) = topology.stage("end").after([back]).consumer();
    case.consume("end", rx, None);
}

fn check_chain(case: &Case) {
    let [first, end] = ["edit", "end"].map(|stage| ids(&case.take(stage)));
    assert_eq!(first, end);
    in_order_of_producers(&first);
}

#[test]
fn a_chain_that_edits_and_a_consumer_that_forgets() {
    everywhere(
        "a_chain_that_edits_and_a_consumer_that_forgets",
        |mut case| {
            let mut topology = single(&case);
            editing_chain(&mut case, &mut topology);
            check_chain(&case.run(topology, None));
        },
        |mut case| {
            let mut topology = multi(&case);
            editing_chain(&mut case, &mut topology);
            check_chain(&case.run(topology, CLONE));
        },
    );
}

/// A stage after a group: it must see only what the group has handled.
fn behind_group<K: ProducerKind>(
    case: &mut Case,
    topology: &mut Topology<Payload, K>,
    group: Stage,
    handled: &Seen,
) {
    let (mut handler, handled) = (case.handler("behind"), handled.clone());
    topology
        .stage("behind")
        .after([group])
        .handle(move |event, at| {
            assert!(
                handled.contains(&(at.sequence.get(), event.read())),
                "{at:?} comes after the group"
            );
            handler(event, at);
        });
}

fn shared<K: ProducerKind>(case: &mut Case, topology: &mut Topology<Payload, K>) {
    let seen = case.seen("shared");
    let shared = topology.stage("shared").share(3, |_| {
        let (seen, mut random) = (seen.clone(), case.random.fork());
        move |event: &Payload, at: Delivery| {
            seen.push((at.sequence.get(), event.watch(&mut random)))
        }
    });
    behind_group(case, topology, shared, &seen);
}

fn check_shared(case: &Case) {
    let [mut shared, behind] = ["shared", "behind"].map(|stage| case.take(stage));
    shared.sort_unstable();
    assert_eq!(shared, behind, "the same sequences for the same events");
    in_order_of_producers(&ids(&behind));
}

#[test]
fn a_group_and_a_stage_behind_it() {
    everywhere(
        "a_group_and_a_stage_behind_it",
        |mut case| {
            let mut topology = single(&case);
            shared(&mut case, &mut topology);
            check_shared(&case.run(topology, None));
        },
        |mut case| {
            let mut topology = multi(&case);
            shared(&mut case, &mut topology);
            check_shared(&case.run(topology, CLONE));
        },
    );
}

fn keyed<K: ProducerKind>(case: &mut Case, topology: &mut Topology<Payload, K>) {
    let seen = case.seen("keyed");
    let keyed = topology.stage("keyed").share_by(
        3,
        |event: &Payload| event.read().count % 7,
        |_| {
            let (seen, mut random) = (seen.clone(), case.random.fork());
            move |event: &Payload, at: Delivery| {
                seen.push((at.sequence.get(), event.watch(&mut random)))
            }
        },
    );
    behind_group(case, topology, keyed, &seen);
}

fn check_keyed(case: &Case) {
    let [mut keyed, behind] = ["keyed", "behind"].map(|stage| case.take(stage));
    for key in 0..7 {
        let of_key: Vec<u64> = keyed
            .iter()
            .filter(|(_, id)| id.count % 7 == key)
            .map(|(at, _)| *at)
            .collect();
        assert!(
            of_key.is_sorted(),
            "key {key} was handled in the order of its sequences"
        );
    }
    keyed.sort_unstable();
    assert_eq!(keyed, behind);
    in_order_of_producers(&ids(&behind));
}

#[test]
fn a_keyed_group_and_a_stage_behind_it() {
    everywhere(
        "a_keyed_group_and_a_stage_behind_it",
        |mut case| {
            let mut topology = single(&case);
            keyed(&mut case, &mut topology);
            check_keyed(&case.run(topology, None));
        },
        |mut case| {
            let mut topology = multi(&case);
            keyed(&mut case, &mut topology);
            check_keyed(&case.run(topology, CLONE));
        },
    );
}

fn workers<K: ProducerKind>(case: &mut Case, topology: &mut Topology<Payload, K>) {
    let (stage, worker) = topology.stage("workers").workers();
    let handled = case.work("workers", worker);
    let (_, rx) = topology.stage("behind").after([stage]).consumer();
    case.consume("behind", rx, Some(handled));
}

#[test]
fn workers_that_come_and_go_and_forget() {
    everywhere(
        "workers_that_come_and_go_and_forget",
        |mut case| {
            let mut topology = single(&case);
            workers(&mut case, &mut topology);
            in_order_of_producers(&ids(&case.run(topology, None).take("behind")));
        },
        |mut case| {
            let mut topology = multi(&case);
            workers(&mut case, &mut topology);
            in_order_of_producers(&ids(&case.run(topology, CLONE).take("behind")));
        },
    );
}

/// Producers at full speed when somebody closes the bus: how many events were accepted, and how many delivered.
fn close_under_load(random: &mut Random) {
    let mut topology = Topology::multi(config(64), || 0_u64).expect("valid");
    let delivered = Log::new();
    let (all, ready) = (delivered.clone(), delivered.clone());
    topology
        .stage("all")
        .handle(move |event, _| all.push(*event));
    let (bus, producer) = topology.start().expect("a valid topology");
    let publishers = [producer.clone(), producer].map(|mut producer| {
        thread::spawn(move || {
            (0..)
                .find(|event| producer.publish(*event).is_err())
                .expect("it is closed some day")
        })
    });
    let enough = random.below(300) as usize;
    common::until(|| ready.len() >= enough);
    bus.close();
    let accepted: u64 = publishers
        .into_iter()
        .map(|publisher| publisher.join().expect("no panic"))
        .sum();
    bus.join().expect("no stage failed");
    assert_eq!(delivered.len() as u64, accepted);
}

#[test]
fn a_close_in_full_flight_loses_nothing_that_was_accepted() {
    seeded(
        "a_close_in_full_flight_loses_nothing_that_was_accepted",
        |mut random| {
            for _ in 0..100 {
                let mut random = random.fork();
                limited(move || close_under_load(&mut random));
            }
        },
    );
}
