//! The table of cursors that hold producers back.
//!
//! It has its full size from the start: no allocation, no lock, no memory to reclaim. Free and half-made entries read as
//! retired. *Insertion* takes an entry by CAS, swaps the position in, raises the highest-used index, then the version. A
//! *refresh* reads every cursor up to that index. Most readers come before their bus starts, so no refresh misses one.
//!
//! In a ring that is *joinable* some come while it runs ([`join`](super::join)). There a refresh looks at the version before and, behind a
//! `SeqCst` fence, after: when it has changed, what was read may lack a cursor, and the old limit stands. The entry of a reader that came
//! so is given back when it has left, and taken again. Rings without a topology are not joinable, and do not pay for the fence.
//!
//! An entry may stand *beside*: others read it and wait for it, and producers go on without it. A journal has one that says how far its
//! events are durable: it has copied them long before, and a slot may be used again while the device is still at work.

use crate::ring::cursor::{Cursor, Lag, POSITION, Snapshot};
use crate::ring::group::Group;
use crate::ring::patience::Patience;
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence, step};
use std::sync::{Arc as PlainArc, OnceLock};
use std::time::Duration;

pub(crate) struct Table {
    /// Shared with the readers, so that each finds its own without a look into the table.
    entries: Box<[PlainArc<Entry>]>,
    /// One above the highest index ever taken.
    highest: AtomicUsize,
    version: AtomicU64,
    /// Whether readers may come while the ring runs; without them the version never changes and needs no fence.
    joinable: bool,
}

pub(crate) struct Entry {
    /// For a group this stands still until the last member has left.
    pub(crate) cursor: Cursor,
    group: OnceLock<Box<Group>>,
    /// The stage ends: whoever reads for it takes nothing more.
    stopped: AtomicBool,
    /// It holds no producer back. For ever: such an entry is a graph's, which nobody else gets.
    beside: OnceLock<()>,
    /// Of a tap that is evicted: how long it may hold producers back.
    pub(crate) patience: Patience,
}

impl Entry {
    /// Whoever reads for this stage takes nothing more. The caller wakes them.
    pub(crate) fn stop(&self) {
        // pairs: STOP (is_stopped)
        self.stopped.swap(true, Ordering::AcqRel);
    }

    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        // pairs: STOP (stop)
        self.stopped.load(Ordering::Acquire)
    }

    /// For a reader that came while the ring ran, has retired its cursor, and whose handle goes now: anybody may take the entry.
    pub(crate) fn give_back(&self) {
        debug_assert!(
            self.group().is_none() && self.beside.get().is_none() && !self.is_stopped(),
            "an entry of a graph is not given back"
        );
        debug_assert!(self.cursor.load().is_retired(), "a cursor retires first");
        self.cursor.give_back();
    }

    pub(crate) fn group(&self) -> Option<&Group> {
        self.group.get().map(|group| &**group)
    }

    /// How far this stage is.
    #[inline]
    pub(crate) fn snapshot(&self) -> Snapshot {
        let word = self.cursor.load();
        match self.group() {
            Some(group) if !word.is_retired() => Snapshot::living(group.frontier()),
            _ => word,
        }
    }
}

/// The cursor that holds producers back, and how far they may go because of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Least {
    pub(crate) position: u64,
    /// `None`: no cursor lives.
    pub(crate) cursor: Option<(usize, Snapshot)>,
}

impl Least {
    /// Whether it is a tap's.
    pub(crate) fn is_tap(&self) -> bool {
        self.cursor.is_some_and(|(_, word)| word.lag().is_some())
    }
}

impl Table {
    pub(crate) fn new(entries: usize, joinable: bool) -> Self {
        let entry = |_| {
            PlainArc::new(Entry {
                cursor: Cursor::free(),
                group: OnceLock::new(),
                stopped: AtomicBool::new(false),
                beside: OnceLock::new(),
                patience: Patience::new(),
            })
        };
        Self {
            entries: (0..=entries).map(entry).collect(),
            highest: AtomicUsize::new(0),
            version: AtomicU64::new(0),
            joinable,
        }
    }

    /// Adds a cursor at `position`, that of a group if `shared`; `None` when the table is full.
    pub(crate) fn insert(&self, position: u64, shared: bool) -> Option<usize> {
        let index = self.take()?;
        self.enter(index, position, shared);
        Some(index)
    }

    /// Adds a cursor that holds no producer back.
    pub(crate) fn insert_beside(&self, position: u64) -> Option<usize> {
        let index = self.take()?;
        self.entries[index].beside.get_or_init(|| ());
        self.enter(index, position, false);
        Some(index)
    }

    /// Adds the cursor of a tap; `after`: how long it may hold producers back, if it is evicted then.
    pub(crate) fn insert_tap(&self, position: u64, lag: Lag, after: Duration) -> Option<usize> {
        let index = self.take()?;
        self.entries[index].patience.begin(after);
        self.entries[index].cursor.insert_tap(position, lag);
        self.count(index);
        Some(index)
    }

    /// Adds the cursor of a tap that has not joined yet.
    pub(crate) fn insert_detached(&self) -> Option<usize> {
        let index = self.take()?;
        self.entries[index].cursor.insert_detached();
        Some(index)
    }

    fn take(&self) -> Option<usize> {
        self.entries[..self.entries.len() - 1]
            .iter()
            .position(|entry| entry.cursor.take())
    }

    /// The one entry beyond the table's size: for every reader of a topology that has too many, and will never start.
    pub(crate) fn insert_beyond(&self, position: u64, shared: bool) -> usize {
        let index = self.entries.len() - 1;
        self.enter(index, position, shared);
        index
    }

    fn enter(&self, index: usize, position: u64, shared: bool) {
        let entry = &self.entries[index];
        if shared {
            entry.group.get_or_init(|| Box::new(Group::new(position)));
        }
        if step("version_first") {
            entry.cursor.insert(position);
            self.count(index);
        } else {
            self.count(index); // the mutant's place for it
            entry.cursor.insert(position);
        }
    }

    /// A refresh reads the entry from now on.
    pub(super) fn count(&self, index: usize) {
        // pairs: JOIN (refresh)
        self.highest.fetch_max(index + 1, Ordering::AcqRel);
        // pairs: JOIN (refresh)
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    #[inline]
    pub(crate) fn entry(&self, index: usize) -> &PlainArc<Entry> {
        &self.entries[index]
    }

    pub(super) fn used(&self) -> &[PlainArc<Entry>] {
        // pairs: JOIN (enter)
        &self.entries[..self.highest.load(Ordering::Acquire)]
    }

    /// Whether readers may come while the ring runs.
    pub(crate) fn is_joinable(&self) -> bool {
        self.joinable
    }

    /// The least of all living cursors and of the producers' `own` position; `None` when the set of cursors changed meanwhile.
    pub(crate) fn refresh(&self, own: u64) -> Option<Least> {
        // pairs: JOIN (enter)
        let version = self.version.load(Ordering::Acquire);
        let own = if step("refresh_unbounded") {
            own
        } else {
            POSITION / 2
        };
        let least = if step("taps_left_out") {
            self.least_of(own, |_| true)
        } else {
            self.least(own)
        };
        if self.joinable {
            fence("refresh_fence"); // pairs: JOIN-FENCE (Ring::join)
            // pairs: JOIN (enter)
            let now = self.version.load(Ordering::Acquire);
            if now != version && step("refresh_unchecked") {
                return None;
            }
        }
        Some(least)
    }

    /// The same of stages alone, without a promise about readers that come meanwhile: what taps must be moved for, and for statistics.
    pub(crate) fn least(&self, own: u64) -> Least {
        self.least_of(own, |word| word.lag().is_none())
    }

    /// The same with the taps that producers wait for.
    pub(crate) fn holding(&self, own: u64) -> Least {
        self.least_of(own, Snapshot::holds_back)
    }

    #[inline(always)]
    fn least_of(&self, own: u64, counts: impl Fn(Snapshot) -> bool) -> Least {
        let mut least = Least {
            position: own,
            cursor: None,
        };
        for (index, entry) in self.used().iter().enumerate() {
            if entry.beside.get().is_some() {
                continue;
            }
            let snapshot = entry.snapshot();
            if !snapshot.is_retired()
                && counts(snapshot)
                && (snapshot.position() < least.position || least.cursor.is_none())
            {
                least = Least {
                    position: least.position.min(snapshot.position()),
                    cursor: Some((index, snapshot)),
                };
            }
        }
        least
    }
}
