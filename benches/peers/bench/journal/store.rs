//! What every journal, log and database is asked to do.

use crate::Answer;
use crate::event::{Check, Event};
use std::path::Path;

/// A place in which events are recorded one after the other.
pub(crate) trait Store: Sized + Sync {
    /// What it is once opened to be read.
    type Opened;

    /// A new one in an empty directory. `durable`: whatever [`append`](Self::append) has taken survives a power failure.
    fn create(directory: &Path, durable: bool) -> Answer<Self>;

    /// Appends events of one publisher, the first of them of number `first`, by the best call there is for so many.
    fn append<const W: usize>(&self, publisher: u64, first: u64, events: &[Event<W>]) -> Answer;

    /// Ends it in good order.
    fn close(self) -> Answer {
        Ok(())
    }

    /// Opens it to be read, after whatever it does to find out what is there.
    fn open(directory: &Path) -> Answer<Self::Opened>;

    /// Reads it all, in order.
    fn read(opened: Self::Opened, check: &mut Check) -> Answer;

    /// Looks through everything that was recorded for damage.
    fn recover(directory: &Path) -> Answer {
        Self::open(directory).map(drop)
    }
}
