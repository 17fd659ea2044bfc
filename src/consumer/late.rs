//! Readers that join a running bus: their names, and their entries in the cursor table, while they live.

use crate::ring::table::Entry;
use std::sync::{Arc as PlainArc, Mutex as PlainMutex, MutexGuard, PoisonError};

/// Who has joined and not left. A lock that nobody takes to read or publish: names are outside the protocol.
#[derive(Debug, Default)]
pub(crate) struct LateReaders {
    list: PlainMutex<List>,
}

#[derive(Debug, Default)]
struct List {
    readers: Vec<LateReader>,
    /// How many there ever were.
    numbers: u64,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LateReader {
    pub(crate) name: String,
    is_tap: bool,
    /// Its entry; `None` while it is about to join.
    pub(crate) index: Option<usize>,
    /// No other one of this bus ever has it.
    number: u64,
}

impl LateReaders {
    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a reader of this name, or a tap; `None`: another one has the name.
    pub(crate) fn reserve(self: &PlainArc<Self>, name: &str, is_tap: bool) -> Option<Seat> {
        let mut list = self.lock();
        if list.readers.iter().any(|reader| reader.name == name) {
            return None;
        }
        list.numbers += 1;
        let number = list.numbers;
        list.readers.push(LateReader {
            name: name.to_owned(),
            is_tap,
            index: None,
            number,
        });
        Some(Seat {
            readers: self.clone(),
            number,
            entry: None,
        })
    }

    /// What `look` says of each that has an entry, of taps or of the others. It takes no lock meanwhile, and whoever leaves meanwhile is left out: another one
    /// may have the entry by then.
    pub(crate) fn each<R>(&self, taps: bool, mut look: impl FnMut(&str, usize) -> R) -> Vec<R> {
        let before = self.lock().readers.clone();
        let looks: Vec<_> = before
            .into_iter()
            .filter(|reader| reader.is_tap == taps)
            .filter_map(|reader| Some((look(&reader.name, reader.index?), reader)))
            .collect();
        let now = self.lock();
        looks
            .into_iter()
            .filter(|(_, reader)| now.readers.contains(reader))
            .map(|(seen, _)| seen)
            .collect()
    }
}

/// A late reader's name and entry, given back when it is dropped: as the last part of the reading end, whose cursor has retired by then.
pub(crate) struct Seat {
    readers: PlainArc<LateReaders>,
    number: u64,
    entry: Option<PlainArc<Entry>>,
}

impl Seat {
    /// The reader has this entry from now on.
    pub(crate) fn take(&mut self, index: usize, entry: &PlainArc<Entry>) {
        self.entry = Some(entry.clone());
        let mut list = self.readers.lock();
        let readers = list.readers.iter_mut();
        readers
            .filter(|reader| reader.number == self.number)
            .for_each(|reader| reader.index = Some(index));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut list = self.readers.lock();
        list.readers.retain(|reader| reader.number != self.number);
        drop(list);
        // last: nobody who looked at the list takes another reader's entry for this one's
        if let Some(entry) = self.entry.take() {
            entry.give_back();
        }
    }
}
