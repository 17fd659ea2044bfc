//! Stages on threads of their own: what a handler is, and the loop that runs it.

mod handler;
mod thread;

pub use handler::Handler;
pub(crate) use handler::{Each, EachMut, Handling, KeyedHandling, TryEach, TryEachMut, Work};
pub(crate) use thread::{Failure, Job, Roster, Source};

use crate::sequence::Sequence;

/// What a handler is told about the event at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The event's number.
    pub sequence: Sequence,
    /// Whether this is the last event that the handler gets for now: the moment to flush what it has gathered.
    pub end_of_batch: bool,
}
