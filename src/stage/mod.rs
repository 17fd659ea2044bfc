//! Stages on threads of their own: what a handler is, and the loop that runs it.

mod handler;
mod thread;

pub use handler::Handler;
pub(crate) use handler::{Each, EachMut, Handling, KeyedHandling, TryEach, TryEachMut, Work};
pub(crate) use thread::{Failure, Job, Roster, Source, panic_text};

use crate::sequence::Sequence;

/// What a handler is told about the event at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The event's number.
    pub sequence: Sequence,
    /// Whether this is the last event of its batch that the handler gets: the moment to flush what it has gathered. A member of a
    /// group gets it with the last event of its own; one that gets none of a batch is not told of its end.
    pub end_of_batch: bool,
}
