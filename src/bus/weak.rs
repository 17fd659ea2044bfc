//! A bus as somebody knows it who keeps it neither open nor alive.

use crate::bus::{Bus, Members};
use crate::journal::replay::{Archive, WeakArchive};
use crate::producer::{Multi, Producer};
use crate::ring::{Kind, Ring};
use crate::sync::{Weak, downgrade};
use crate::wait::durability::Durability;
use crate::wait::pace::Paces;
use crate::wait::signal::Signals;
use std::sync::{Arc as PlainArc, Mutex};

/// A bus without its ring. Names and terms it has for itself: they keep no event, no thread and no file.
///
/// Whoever may read or publish holds ring and signals, so both are there while the bus is open.
pub(crate) struct WeakBus<T> {
    ring: Weak<Ring<T>>,
    signals: Weak<Signals>,
    members: PlainArc<Members>,
    durability: Option<Durability>,
    archive: Option<WeakArchive<T>>,
}

impl<T: Send + 'static> WeakBus<T> {
    pub(crate) fn new(bus: &Bus<T>) -> Self {
        Self {
            ring: downgrade(&bus.ring),
            signals: downgrade(&bus.signals),
            members: bus.members.clone(),
            durability: bus.durability.clone(),
            archive: bus.archive.as_ref().map(Archive::downgrade),
        }
    }

    /// The bus, to be joined; `None`: nobody is there any more. Threads, paces and who watches it are the handle's of whoever started it; so is
    /// the archive, but for [`upgrade_with_archive`](Self::upgrade_with_archive).
    ///
    /// The ring lives as long as what this returns. So its events may be dropped with it, on this thread: a lock that a drop of the user's
    /// could ask for must not be held then.
    pub(crate) fn upgrade(&self) -> Option<Bus<T>> {
        Some(Bus {
            watch: None,
            ring: self.ring.upgrade()?,
            signals: self.signals.upgrade()?,
            roster: PlainArc::default(),
            threads: Mutex::default(),
            members: self.members.clone(),
            warnings: Vec::new(),
            durability: self.durability.clone(),
            archive: None,
            paces: Paces::default(),
        })
    }

    /// The same, with what its journal holds, as long as that is written or the handle of the bus is there. Only for who reads it: whoever has
    /// an archive keeps the journal's directory open.
    pub(crate) fn upgrade_with_archive(&self) -> Option<Bus<T>> {
        let mut bus = self.upgrade()?;
        if bus.is_open() {
            bus.archive = self.archive.as_ref().and_then(WeakArchive::upgrade);
        }
        Some(bus)
    }
}

impl<T> Bus<T> {
    /// Whether there is somebody to publish, and somebody to read where that is asked for. Once it is `false` it stays so.
    pub(crate) fn is_open(&self) -> bool {
        // the last producer has taken the count to 0 before it closes the ring
        self.ring.core.is_open() && self.ring.core.has_producers()
    }

    /// Whether there may be several producers.
    pub(crate) fn is_multi(&self) -> bool {
        self.ring.core.kind() == Kind::Multi
    }

    /// Another producer of a multi-producer bus; `None` once that is not open.
    ///
    /// **How it counts.** The bus closes when the count of its producers falls to 0, by whoever takes it there, and for good. So a new one is
    /// counted by a compare-and-swap that never raises it from 0, as a weak reference is upgraded. Either it counts while another one lives:
    /// then that one's drop does not close the bus, and what the new one publishes is delivered. Or the last one was gone before.
    pub(crate) fn join_producers(&self) -> Option<Producer<T, Multi>> {
        if !self.is_open() {
            return None;
        }
        let producer = Producer::join(&self.ring, &self.signals, self.members.terms.producer_wait)?;
        Some(producer.with_durability(self.durability.clone()))
    }
}
