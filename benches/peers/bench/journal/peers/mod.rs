//! The others, each by the calls that its documentation recommends for the work.

mod commitlog;
mod fjall;
mod okaywal;
mod raft_engine;
mod redb;
mod sqlite;

pub(crate) use commitlog::CommitLog;
pub(crate) use fjall::Fjall;
pub(crate) use okaywal::OkayWal;
pub(crate) use raft_engine::RaftEngine;
pub(crate) use redb::Redb;
pub(crate) use sqlite::Sqlite;

/// Where an event stands among all: a key that sorts by publisher and number.
fn key(publisher: u64, number: u64) -> [u8; 16] {
    (u128::from(publisher) << 64 | u128::from(number)).to_be_bytes()
}
