//! A stage with several threads: each event goes to one of them. By need (`share`) where any thread will do; by key
//! (`share_by`) where the events of one key must stay in order.
//!
//! Use it for work that takes longer than it takes to hand it over: parsing, compressing, calling something else. A
//! stage that comes after the group still sees every event, in the order of publication, once its worker has finished
//! with it.
//!
//! ```sh
//! cargo run --release --example work_sharing
//! ```

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use ringway::{BusConfig, Topology};
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

const MEMBERS: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    by_need()?;
    by_key()
}

/// A number to work on, and its result: workers get `&Job`, so the result is something that can be set through it.
#[derive(Default)]
struct Job {
    number: u64,
    steps: AtomicU64,
}

const JOBS: u64 = 10_000;

fn by_need() -> Result<(), Box<dyn Error>> {
    let mut topology = Topology::single(BusConfig::default(), Job::default)?;
    let handled: Arc<[AtomicU64; MEMBERS]> = Arc::default();

    let counts = handled.clone();
    // work that takes long is taken in small shares, so that nobody is left with much of it
    let work = topology
        .stage("work")
        .batch_max(16)
        .share(MEMBERS, |member| {
            let counts = counts.clone();
            move |job: &Job, _| {
                job.steps.store(count_steps(job.number), Ordering::Relaxed);
                counts[member].fetch_add(1, Ordering::Relaxed);
            }
        });
    // a stage on this thread: results need no sharing
    let (_, mut done) = topology.stage("done").after([work]).consumer();
    let (bus, mut producer) = topology.start()?;

    let publisher = std::thread::spawn(move || {
        for number in 1..=JOBS {
            // in place: the slot's atomic is reused, like everything that a slot holds
            producer.publish_with(|job| job.number = number)?;
        }
        Ok::<_, ringway::PublishError<()>>(())
    });
    let (mut next, mut steps, mut longest) = (1, 0, (0, 0));
    while let Ok(batch) = done.read() {
        for job in &batch {
            assert_eq!(
                job.number, next,
                "in the order of publication, whoever worked on it"
            );
            let taken = job.steps.load(Ordering::Relaxed);
            steps += taken;
            longest = longest.max((taken, job.number));
            next += 1;
        }
    }
    publisher.join().expect("the publisher does not panic")?;
    bus.shutdown()?;

    let handled: Vec<u64> = handled
        .iter()
        .map(|count| count.load(Ordering::Relaxed))
        .collect();
    assert_eq!(handled.iter().sum::<u64>(), JOBS, "each job by one member");
    assert_eq!(next - 1, JOBS);
    assert_eq!(steps, (1..=JOBS).map(count_steps).sum::<u64>());
    println!(
        "by need: {JOBS} jobs, {handled:?} by each member; job {} took longest, {} steps",
        longest.1, longest.0
    );
    Ok(())
}

/// Something to compute: how many steps the Collatz sequences of some numbers take to arrive at 1.
fn count_steps(job: u64) -> u64 {
    (job * 30..job * 30 + 30).map(steps_to_one).sum()
}

fn steps_to_one(mut number: u64) -> u64 {
    let mut steps = 0;
    while number > 1 {
        number = if number.is_multiple_of(2) {
            number / 2
        } else {
            3 * number + 1
        };
        steps += 1;
    }
    steps
}

#[derive(Clone, Copy, Default)]
struct Payment {
    account: usize,
    /// Counts the payments of its account, from 0.
    number: u64,
    cents: u64,
}

const ACCOUNTS: usize = 50;
const PAYMENTS: u64 = 1_000;

fn by_key() -> Result<(), Box<dyn Error>> {
    let mut topology = Topology::single(BusConfig::default(), Payment::default)?;
    // locked by one member each, since an account has one member: never contended
    let balances: Arc<[Mutex<(u64, u64)>]> = (0..ACCOUNTS).map(|_| Mutex::default()).collect();

    let ledger = balances.clone();
    topology.stage("ledger").share_by(
        MEMBERS,
        |payment: &Payment| payment.account,
        |_member| {
            let ledger = ledger.clone();
            move |payment: &Payment, _| {
                let mut account = ledger[payment.account]
                    .try_lock()
                    .expect("an account has one member");
                let (count, balance) = &mut *account;
                assert_eq!(
                    payment.number, *count,
                    "the payments of an account come in order"
                );
                *count += 1;
                *balance += payment.cents;
            }
        },
    );
    let (bus, mut producer) = topology.start()?;
    for number in 0..PAYMENTS {
        producer.publish_batch((0..ACCOUNTS).map(|account| Payment {
            account,
            number,
            cents: account as u64 + 1,
        }))?;
    }
    drop(producer);
    bus.shutdown()?; // an error if an assertion of a member failed

    let mut total = 0;
    for (account, balance) in balances.iter().enumerate() {
        let (count, balance) = *balance.lock().expect("no member has panicked");
        assert_eq!(
            (count, balance),
            (PAYMENTS, PAYMENTS * (account as u64 + 1))
        );
        total += balance;
    }
    println!(
        "by key: {} payments into {ACCOUNTS} accounts, {total} cents",
        PAYMENTS * ACCOUNTS as u64
    );
    Ok(())
}
