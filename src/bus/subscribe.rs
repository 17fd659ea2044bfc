//! Readers that join a bus while it runs.

use crate::bus::Bus;
use crate::config::{BusConfig, SubscribeConfig, Wait, validate_name};
use crate::consumer::{Consumer, Reader, Seat, UpstreamNames};
use crate::error::{Error, ErrorKind};
use crate::ring::cursor::Counters;
use crate::ring::join::Joined;
use crate::sync::step;
use crate::wait::Waiter;
use crate::wait::signal::Signal;

/// What the bus says about those who join it.
#[derive(Debug)]
pub(crate) struct Terms {
    /// How it was built.
    pub(crate) config: BusConfig,
    /// How its producers were declared to wait.
    pub(crate) producer_wait: Wait,
    /// Stages that edit events: who joins comes after each of them.
    pub(crate) editors: UpstreamNames,
    /// The entry and name of a journal that records what these have edited; else why there is none.
    pub(crate) journal: Result<(usize, Box<str>), String>,
}

impl<T: Send + Sync + 'static> Bus<T> {
    /// A reader that joins the running bus: a stage like any other, on a thread of the caller's own, which sees every event from now on. What
    /// is published after this has returned it gets for sure, what was published meanwhile perhaps; from its first event on
    /// none is left out.
    ///
    /// It comes after every stage that edits events, and no stage can come after it. It holds producers back as every stage does, and
    /// the bus stays open while it is there, until it is dropped. Then its name is free again, and its place in the table
    /// ([`stages_max`](BusConfig::stages_max)).
    ///
    /// Joining takes a few microseconds, of several producers some more: it looks at the mark of each slot of the ring. It costs those who
    /// are on the bus next to nothing: a `try_` verb of a producer may answer that the ring is full when it is not, once.
    ///
    /// ```
    /// use ringway::{BusConfig, Ended, SubscribeConfig, Topology};
    /// let mut topology = Topology::single(BusConfig::default(), || 0_u64)?;
    /// topology.stage("edit").handle_mut(|event, _| *event *= 10);
    /// let (bus, mut producer) = topology.start()?;
    /// producer.publish(1)?;
    ///
    /// let mut late = bus.subscribe("late", SubscribeConfig::default())?;
    /// producer.publish(2)?;
    /// assert!(late.read()?.iter().eq(&[20]));
    /// drop(late); // producers go on without it
    ///
    /// drop(producer);
    /// bus.shutdown()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig): a field outside its range, or a name that is none.
    /// [`DuplicateStage`](ErrorKind::DuplicateStage): a stage, or a living reader that joined, has the name.
    /// [`Closed`](ErrorKind::Closed): the bus was closed or halted, or nobody was left to read.
    /// [`StageEnded`](ErrorKind::StageEnded): a stage that edits events has ended early.
    /// [`TooManyStages`](ErrorKind::TooManyStages): the table is full.
    pub fn subscribe(
        &self,
        name: impl Into<String>,
        config: SubscribeConfig,
    ) -> Result<Consumer<T>, Error> {
        let name = name.into();
        let seat = config
            .validate()
            .and_then(|()| self.admit(&name, false))
            .map_err(|error| error.with_stage(&name))?;
        let wait = config.wait.unwrap_or(self.members.terms.config.wait);
        if wait.parks() {
            self.watch_for_sleepers();
        }
        let waiter = Waiter::new(&self.signals, wait);
        let (joined, seat) = self
            .take_seat(&name, seat)
            .map_err(|error| error.with_stage(&name))?;
        let reader = Reader::new(
            &self.ring,
            &self.signals,
            self.members.terms.editors.clone(),
            joined.index,
            config
                .batch_max
                .unwrap_or(self.members.terms.config.batch_max),
            self.members.terms.config.tail_pauses,
        );
        Ok(Consumer::new(reader.seated(seat), waiter))
    }

    /// Whether such a reader may join, as far as one can tell before; its name is taken then.
    pub(super) fn admit(&self, name: &str, is_tap: bool) -> Result<Seat, Error> {
        validate_name(name)?;
        let core = &self.ring.core;
        if !core.is_open() {
            return Err(closed(name));
        }
        let ended = |(index, _): &&(usize, _)| core.table.entry(*index).snapshot().is_retired();
        if let Some((_, editor)) = self.members.terms.editors.iter().find(ended) {
            let text = format!(
                "`{name}` would come after stage `{editor}`, which edits events and has ended: nothing passes it any more"
            );
            return Err(Error::new(ErrorKind::StageEnded, text));
        }
        let mut named = self.members.stages.iter().chain(self.members.taps.iter());
        let is_taken = named.any(|(other, _)| other == name);
        let seat = self
            .members
            .late
            .reserve(name, is_tap)
            .filter(|_| !is_taken);
        seat.ok_or_else(|| {
            let text = format!(
                "`{name}` is the name of a stage or a tap, or of a reader that joined: choose another one"
            );
            Error::new(ErrorKind::DuplicateStage, text)
        })
    }

    /// The reader may sleep on what it comes after. Whether anybody ever would was not known when the bus started.
    pub(super) fn watch_for_sleepers(&self) {
        match &*self.members.terms.editors {
            [] => self.signals.watch_late(Signal::PUBLISHED),
            editors => (editors.iter())
                .for_each(|(entry, _)| self.signals.watch_late(Signal::cursor(*entry))),
        }
    }

    /// Joins the ring, and counts among its readers.
    fn take_seat(&self, name: &str, mut seat: Seat) -> Result<(Joined, Seat), Error> {
        let core = &self.ring.core;
        let joined = self.ring.join().ok_or_else(|| self.is_full(name))?;
        let (entry, counters) = (core.table.entry(joined.index), Counters::default());
        seat.take(joined.index, entry);
        let signal = Signal::cursor(joined.index);
        if step("join_unnotified") {
            self.signals.notify(signal, &counters);
        }
        let counts = core.count_reader();
        if !counts {
            entry.cursor.retire();
            self.signals.notify(signal, &counters);
        }
        counts.then_some((joined, seat)).ok_or_else(|| closed(name))
    }

    #[cold]
    pub(super) fn is_full(&self, name: &str) -> Error {
        let max = self.members.terms.config.stages_max;
        let text = format!(
            "`{name}` does not fit: stages_max is {max}, which counts stages, keyed members, a journal twice, taps, and readers that joined and live; raise stages_max"
        );
        Error::new(ErrorKind::TooManyStages, text)
    }
}

pub(super) fn closed(name: &str) -> Error {
    let text = format!("`{name}` cannot join: the bus was closed or halted, or nobody reads it");
    Error::new(ErrorKind::Closed, text)
}
