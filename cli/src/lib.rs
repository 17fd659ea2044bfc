//! The measuring harness behind `ringway bench` and the comparison with other queues (`cargo bench --bench peers`).
//!
//! Three rules run through it. *A figure counts only if the run was right*: every event carries its producer and
//! number, and every consumer checks order, completeness and wholeness ([`check`]) while it is being timed. *Only ratios
//! inside one run mean anything*: rounds are repeated, the first is thrown away, and the bare limits of the machine
//! ([`limit`]) are taken beside them. *A thread has a core of its own or says that it has none* ([`seats`]).
//!
//! | module | answers |
//! |---|---|
//! | [`payload`], [`check`] | what an event carries, and was everything delivered? |
//! | [`seats`], [`machine`] | where do the threads run, and on what? |
//! | [`duo`], [`crew`] | how are two threads timed against each other, and how more? |
//! | [`limit`] | what can this machine do without any queue? |
//! | [`scenario`], [`graph`], [`latency`] | what is measured, and one round of it |
//! | [`burst`] | what becomes of bursts that a reader is too slow for? |
//! | [`suite`] | how many rounds of how many events? |
//! | [`contest`], [`verdict`] | how do several contenders take turns, and what follows? |
//! | [`spread`], [`report`], [`progress`], [`outcome`] | what the user gets to see |

#![forbid(unsafe_code)]

pub mod burst;
pub mod check;
pub mod contest;
pub mod crew;
pub mod duo;
pub mod graph;
pub mod latency;
pub mod limit;
pub mod machine;
pub mod outcome;
pub mod payload;
pub mod progress;
pub mod report;
pub mod scenario;
pub mod seats;
pub mod spread;
pub mod suite;
pub mod verdict;
