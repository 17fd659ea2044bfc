//! Instructions an event, counted by valgrind: unlike times they are the same in every run, so a committed budget can hold
//! each of them.
//!
//! `cargo bench --bench instructions` compares them with `benches/instructions.txt`; `-- --write` writes that file anew: once a
//! change is worth what it costs, has made something cheaper, or the compiler has changed. The budget is one of x86-64.
//!
//! A case runs twice as a process of its own, the second time with twice the events; the difference is what its events
//! cost, without the start of a process and of a bus. All of it happens on one thread, but for `handle`, so nobody waits.
//!
//! Exit codes: 0 all is well, 1 over budget, 2 valgrind is missing or the usage is wrong, 3 running a case or writing failed.

use ringway::{
    BusConfig, Consumer, Error, Exclusive, Multi, Producer, ProducerKind, Single, Topology, Wait,
};
use ringway_harness::outcome::{self, Failure, Outcome};
use std::fmt::{self, Write as _};
use std::hint::black_box;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::{self, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;

/// Events of the first run; whole batches of either size, and whole lines of seven.
const EVENTS: usize = BATCH * READ * 7 / 4;
/// Events of the second run. They all fit into a ring, so that a producer needs no consumer.
const EVENTS_MAX: usize = 2 * EVENTS;
/// Events published at once where they are published in batches.
const BATCH: usize = 64;
/// Events read at once: the default.
const READ: usize = 256;

/// Parking that is allowed while nobody sleeps may cost a publication so many instructions.
const PARKING_MAX: f64 = 4.0;
/// Above the budget by this factor is over it.
const TOLERANCE: f64 = 1.02;

const BUDGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");

type Event = u64;
type Large = [u64; 8];

/// Passes so many events.
type Case = fn(usize);

const SPINNING: &str = "publish";
const PARKING: &str = "publish, parking allowed";

/// Reads and adds up all events; consumers and workers read alike, but are of no common kind.
macro_rules! sum_up {
    ($rx:expr, $events:expr) => {
        let mut sum = 0;
        for _ in (0..$events).step_by(READ) {
            let batch = $rx.read().expect(FILLED);
            batch.iter().for_each(|event| sum += event);
        }
        black_box(sum);
    };
}

const CASES: &[(&str, Case)] = &[
    (SPINNING, |events| {
        one_by_one(single(Wait::BusySpin), events, |event| event);
    }),
    (PARKING, |events| {
        one_by_one(single(Wait::Adaptive), events, |event| event);
    }),
    ("publish, 64 bytes", |events| {
        one_by_one::<Large, _>(single(Wait::BusySpin), events, |event| [event; 8]);
    }),
    ("publish_with", |events| {
        let (mut tx, _rx) = single::<Event>(Wait::BusySpin);
        for event in 0..events {
            (tx.publish_with(|slot| *slot = event as Event)).expect(ROOM);
        }
    }),
    ("try_publish", |events| {
        let (mut tx, _rx) = single::<Event>(Wait::BusySpin);
        for event in 0..events {
            tx.try_publish(event as Event).expect(ROOM);
        }
    }),
    ("publish_batch of 64", |events| {
        in_batches(single(Wait::BusySpin), events);
    }),
    ("publish_slice of 64", |events| {
        let (mut tx, _rx) = single::<Event>(Wait::BusySpin);
        let slice = [7; BATCH];
        for _ in (0..events).step_by(BATCH) {
            tx.publish_slice(black_box(&slice)).expect(ROOM);
        }
    }),
    ("claim of 64, for_each", |events| {
        let (mut tx, _rx) = single::<Event>(Wait::BusySpin);
        for first in (0..events).step_by(BATCH) {
            let mut claim = tx.claim(BATCH).expect(ROOM);
            let slots = claim.iter_mut().zip(first..);
            slots.for_each(|(slot, event)| *slot = event as Event);
            claim.publish();
        }
    }),
    ("multi: publish", |events| {
        one_by_one(multi(Wait::BusySpin), events, |event| event);
    }),
    ("multi: publish_batch of 64", |events| {
        in_batches(multi(Wait::BusySpin), events);
    }),
    ("read 256, for", |events| {
        let (_tx, mut rx) = filled();
        let mut sum = 0;
        for _ in (0..events).step_by(READ) {
            for event in &rx.read().expect(FILLED) {
                sum += event;
            }
        }
        black_box(sum);
    }),
    ("read 256, for_each", |events| {
        let (_tx, mut rx) = filled();
        sum_up!(rx, events);
    }),
    ("read 256, drain", |events| {
        let (_tx, mut rx) = filled();
        let mut sum = 0;
        for _ in (0..events).step_by(READ) {
            for event in rx.read().expect(FILLED).drain() {
                sum += event;
            }
        }
        black_box(sum);
    }),
    ("multi: read 256, for_each", |events| {
        let (mut tx, mut rx) = multi::<Event>(Wait::BusySpin);
        fill(&mut tx);
        sum_up!(rx, events);
    }),
    ("worker: read 256, for_each", |events| {
        let (mut tx, mut rx) = ringway::spmc::<Event>(EVENTS_MAX);
        fill(&mut tx);
        sum_up!(rx, events);
    }),
    ("publish and read, by turns", |events| {
        let (mut tx, mut rx) = single::<Event>(Wait::BusySpin);
        let mut sum = 0;
        for event in 0..events {
            publish(&mut tx, event as Event);
            rx.read()
                .expect(FILLED)
                .iter()
                .for_each(|event| sum += event);
        }
        black_box(sum);
    }),
    ("handle", handle),
];

const ROOM: &str = "the ring has room for all";
const FILLED: &str = "all was published";

fn config(wait: Wait) -> BusConfig {
    BusConfig {
        wait,
        capacity: EVENTS_MAX,
        batch_max: READ,
        ..BusConfig::default()
    }
}

type Ends<T, K> = (Producer<T, K>, Consumer<T, Exclusive>);

fn single<T: Default + Send + 'static>(wait: Wait) -> Ends<T, Single> {
    ends(Topology::single(config(wait), T::default))
}

fn multi<T: Default + Send + 'static>(wait: Wait) -> Ends<T, Multi> {
    ends(Topology::multi(config(wait), T::default))
}

fn ends<T: Send + 'static, K: ProducerKind>(topology: Result<Topology<T, K>, Error>) -> Ends<T, K> {
    let mut topology = topology.expect("a valid configuration");
    let (_, consumer) = topology.stage("consumer").consumer_mut();
    let (_, producer) = topology.start().expect("a valid topology");
    (producer, consumer)
}

#[inline(always)]
fn publish<T, K: ProducerKind>(producer: &mut Producer<T, K>, event: T) {
    if producer.publish(event).is_err() {
        unreachable!("{ROOM}");
    }
}

/// Publishes events one by one; nobody reads them.
#[inline(always)]
fn one_by_one<T, K: ProducerKind>(
    (mut tx, _rx): Ends<T, K>,
    events: usize,
    event: impl Fn(u64) -> T,
) {
    (0..events).for_each(|number| publish(&mut tx, event(number as u64)));
}

/// The same in batches.
#[inline(always)]
fn in_batches<K: ProducerKind>((mut tx, _rx): Ends<Event, K>, events: usize) {
    for first in (0..events).step_by(BATCH) {
        let batch = (first..first + BATCH).map(|event| event as Event);
        tx.publish_batch(batch).expect(ROOM);
    }
}

/// Each event is its own sequence.
fn fill<K: ProducerKind>(producer: &mut Producer<Event, K>) {
    (0..EVENTS_MAX).for_each(|event| publish(producer, event as Event));
}

fn filled() -> Ends<Event, Single> {
    let (mut producer, consumer) = single(Wait::BusySpin);
    fill(&mut producer);
    (producer, consumer)
}

/// The stage's thread begins when all was published, and ends the process at its last event.
fn handle(events: usize) {
    let (open, gate) = mpsc::channel::<()>();
    let mut topology =
        Topology::single(config(Wait::Park), Event::default).expect("a valid configuration");
    let mut sum = 0;
    topology.stage("stage").handle(move |event, _| {
        if *event == 0 {
            gate.recv().expect("the gate opens");
        }
        sum += event;
        if *event + 1 == events as Event {
            black_box(sum);
            process::exit(0);
        }
    });
    let (_bus, mut producer) = topology.start().expect("a valid topology");
    fill(&mut producer);
    open.send(()).expect("the stage lives");
    loop {
        thread::park();
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench") // cargo says that this is a benchmark
        .collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args[..] {
        [] => compare(),
        ["--write"] => renew(),
        [name, events] => return run(name, events),
        _ => Err(Trouble::Usage),
    };
    let outcome = outcome.unwrap_or_else(|trouble| {
        let (text, outcome) = trouble.explain();
        outcome::tell(&format!("instructions: {text}"));
        outcome
    });
    outcome.into()
}

/// Under valgrind: one case.
fn run(name: &str, events: &str) -> ExitCode {
    let case = CASES.iter().find(|(known, _)| *known == name);
    let (Some((_, case)), Ok(events)) = (case, events.parse()) else {
        return Outcome::Usage.into();
    };
    case(events);
    Outcome::Good.into()
}

fn compare() -> Result<Outcome, Trouble> {
    let budget = Budget::read(Path::new(BUDGET))?;
    let mut rows = Vec::new();
    for (name, _) in CASES {
        rows.push(Row {
            name,
            count: per_event(name)?,
            budget: budget.of(name),
        });
    }
    if rows.iter().any(Row::is_lax) {
        outcome::tell("instructions: some events cost less than they may: renew the budget");
    }
    let count = |name| (rows.iter().find(|row| row.name == name)).map_or(f64::NAN, |row| row.count);
    rows.push(Row {
        name: "of that for parking",
        count: count(PARKING) - count(SPINNING),
        budget: Some(PARKING_MAX),
    });
    let table: String = rows.iter().map(Row::to_string).collect();
    outcome::print(&format!("instructions an event, and their budget\n{table}"))?;
    if rows.iter().all(Row::is_within) {
        return Ok(Outcome::Good);
    }
    outcome::tell("instructions: over budget; if that is worth it, renew it with --write");
    Ok(Outcome::Bad)
}

/// What an event costs, and what it may cost.
struct Row {
    name: &'static str,
    count: f64,
    /// None is a fault.
    budget: Option<f64>,
}

impl Row {
    fn is_within(&self) -> bool {
        (self.budget).is_some_and(|budget| self.count <= budget * TOLERANCE)
    }

    fn is_lax(&self) -> bool {
        (self.budget).is_some_and(|budget| self.count * TOLERANCE < budget)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let budget = self.budget.unwrap_or(f64::NAN);
        let verdict = if self.is_within() { "" } else { "  OVER" };
        let Self { name, count, .. } = self;
        writeln!(f, "{name:<28} {count:7.1} {budget:7.1}{verdict}")
    }
}

fn renew() -> Result<Outcome, Trouble> {
    let mut budget = String::from(
        "# Instructions an event on x86-64; written by: cargo bench --bench instructions -- --write\n",
    );
    for (name, _) in CASES {
        let _ = writeln!(budget, "{:6.1}  {name}", per_event(name)?);
    }
    let file = Path::new(BUDGET);
    std::fs::write(file, &budget).map_err(|error| Failure::File(file.to_owned(), error))?;
    outcome::print(&budget)?;
    Ok(Outcome::Good)
}

/// What each case may cost.
struct Budget(String);

impl Budget {
    fn read(file: &Path) -> Result<Self, Trouble> {
        (std::fs::read_to_string(file).map(Self)).map_err(Trouble::Budget)
    }

    fn of(&self, name: &str) -> Option<f64> {
        let lines = self.0.lines().map(str::trim_start);
        lines
            .filter_map(|line| line.split_once("  "))
            .find_map(|(count, case)| (case == name).then(|| count.parse().ok())?)
    }
}

/// What one event of a case costs.
fn per_event(name: &str) -> Result<f64, Trouble> {
    let (once, twice) = thread::scope(|scope| {
        let once = scope.spawn(|| count(name, EVENTS));
        let twice = count(name, EVENTS_MAX);
        (once.join().expect("counting does not panic"), twice)
    });
    Ok((twice? as f64 - once? as f64) / (EVENTS_MAX - EVENTS) as f64)
}

/// The instructions of a process that passes so many events.
fn count(name: &str, events: usize) -> Result<u64, Trouble> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().map_err(Trouble::Start)?)
        .args([name, &events.to_string()])
        .stdout(Stdio::null())
        .output()
        .map_err(Trouble::Start)?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text
        .split_once("Collected : ")
        .and_then(|(_, rest)| rest.lines().next()?.trim().parse().ok());
    match collected {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(Trouble::Case(name.into(), text.into())),
    }
}

/// Why nothing was counted.
enum Trouble {
    Usage,
    Start(io::Error),
    Budget(io::Error),
    /// What it told.
    Case(String, String),
    Output(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Output(failure)
    }
}

impl Trouble {
    fn explain(&self) -> (String, Outcome) {
        match self {
            Self::Usage => ("the only option is --write".into(), Outcome::Usage),
            Self::Start(error) if error.kind() == ErrorKind::NotFound => (
                "valgrind is missing; install it, for instance by: apt-get install valgrind".into(),
                Outcome::Usage,
            ),
            Self::Start(error) => (format!("valgrind does not start: {error}"), Outcome::Io),
            Self::Budget(error) => (format!("cannot read {BUDGET}: {error}"), Outcome::Io),
            Self::Case(name, told) => (format!("`{name}` failed:\n{told}"), Outcome::Io),
            Self::Output(failure) => (failure.to_string(), failure.outcome()),
        }
    }
}
