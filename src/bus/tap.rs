//! Taps that join a bus while it runs.

use crate::bus::Bus;
use crate::config::OnLag;
use crate::consumer::{CHUNK, Reader, Replaying, Seat, Tap, lag_of};
use crate::error::Error;
use crate::rejoin::{Recorded, misplaced};
use crate::ring::cursor::Counters;
use crate::sequence::Sequence;
use crate::wait::Waiter;
use crate::wait::signal::Signal;

impl<T: Clone + Send + Sync + 'static> Bus<T> {
    /// A tap that joins the running bus: it gets copies of what is published from now on, and may lag; see [`Tap`]. It waits as
    /// [`BusConfig::wait`](crate::BusConfig::wait) says.
    ///
    /// It comes after every stage that edits events. When it is dropped its name is free again, and its place in the table
    /// ([`stages_max`](crate::BusConfig::stages_max)). Joining never waits, and may be done in a handler.
    ///
    /// ```
    /// use ringway::{BusConfig, OnLag, Topology};
    /// let mut topology = Topology::single(BusConfig::default(), || 0_u64)?;
    /// topology.stage("work").handle(|_, _| {});
    /// let (bus, mut producer) = topology.start()?;
    /// producer.publish(1)?;
    ///
    /// let mut tap = bus.tap("tap", OnLag::Skip)?;
    /// producer.publish(2)?;
    /// let batch = tap.read()?;
    /// assert_eq!((batch.skipped(), batch.into_vec()), (0, vec![2]));
    ///
    /// drop(producer);
    /// bus.shutdown()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig): a name that is none.
    /// [`DuplicateStage`](crate::ErrorKind::DuplicateStage): a stage, a tap, or a living reader that joined, has the name.
    /// [`Closed`](crate::ErrorKind::Closed): the bus was closed or halted, or nobody was left to read.
    /// [`StageEnded`](crate::ErrorKind::StageEnded): a stage that edits events has ended early.
    /// [`TooManyStages`](crate::ErrorKind::TooManyStages): the table is full.
    /// [`JournalMisplaced`](crate::ErrorKind::JournalMisplaced): it shall replay, and there is no journal, or one that records what
    /// a later stage edits.
    pub fn tap(&self, name: impl Into<String>, on_lag: OnLag) -> Result<Tap<T>, Error> {
        let name = name.into();
        self.join_tap(&name, on_lag)
            .map_err(|error| error.with_stage(&name))
    }

    /// A tap that reads the journal from `sequence` on, then goes over to the running bus, and misses nothing: as one of [`tap`](Self::tap)
    /// with [`OnLag::Replay`] that has lagged so far.
    ///
    /// ```
    /// use ringway::{BusConfig, Journal, JournalConfig, Plain, Sequence, Topology};
    /// # let path = std::env::temp_dir().join(format!("ringway-doc-tap-from-{}", std::process::id()));
    /// let journal = Journal::open(&path, JournalConfig::default(), Plain::<u64>::new())?;
    /// let mut topology = Topology::single(BusConfig { capacity: 4, ..BusConfig::default() }, || 0)?;
    /// topology.stage("journal").journal(journal);
    /// let (bus, mut producer) = topology.start()?;
    /// producer.publish_batch((0..100).collect::<Vec<_>>())?; // far more than the ring holds
    ///
    /// let mut tap = bus.tap_from("audit", Sequence::new(10))?;
    /// drop(producer);
    /// bus.shutdown()?;
    /// let mut all = Vec::new();
    /// while let Ok(batch) = tap.read() {
    ///     all.extend(batch.into_vec());
    /// }
    /// assert_eq!(all, (10..100).collect::<Vec<_>>());
    /// # let _ = std::fs::remove_dir_all(path);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`tap`](Self::tap). [`InvalidConfig`](crate::ErrorKind::InvalidConfig): the journal begins after `sequence`, or nothing so far is
    /// published yet. [`JournalIo`](crate::ErrorKind::JournalIo): its directory cannot be read.
    pub fn tap_from(&self, name: impl Into<String>, sequence: Sequence) -> Result<Tap<T>, Error> {
        let name = name.into();
        self.begin_tap(&name, sequence.get())
            .map_err(|error| error.with_stage(&name))
    }

    fn join_tap(&self, name: &str, on_lag: OnLag) -> Result<Tap<T>, Error> {
        let mut seat = self.admit(name, true)?;
        let core = &self.ring.core;
        let floor = core.position().saturating_sub(core.capacity());
        let past = match on_lag {
            // whatever it will not have read: it joins at this position or further on
            OnLag::Replay => Some(self.past(name, self.first() + floor)?),
            _ => None,
        };
        let (lag, after) = lag_of(on_lag);
        let index = (self.ring.join_tap(lag, after)).ok_or_else(|| self.is_full(name))?;
        seat.take(index, self.ring.core.table.entry(index));
        self.signals
            .notify(Signal::cursor(index), &Counters::default());
        Ok(self.seat_tap(name, index, on_lag, past, seat))
    }

    fn begin_tap(&self, name: &str, sequence: u64) -> Result<Tap<T>, Error> {
        let mut seat = self.admit(name, true)?;
        let past = self.past(name, sequence)?;
        let (first, next) = (self.first(), self.first() + self.ring.core.position());
        let begin = match &self.archive {
            Some(archive) => archive.first()?.unwrap_or(first),
            None => first,
        };
        if !(begin..=next).contains(&sequence) {
            let accepted = format_args!("{begin} to {next}");
            return Err(Error::out_of_range("sequence", sequence, accepted));
        }
        let table = &self.ring.core.table;
        let index = table.insert_detached().ok_or_else(|| self.is_full(name))?;
        seat.take(index, table.entry(index));
        let tap = self.seat_tap(name, index, OnLag::Replay, Some(past), seat);
        Ok(tap.begin_at(sequence.wrapping_sub(first) as i64))
    }

    /// The sequence of the ring's position 0.
    fn first(&self) -> u64 {
        self.ring.core.numbering().first()
    }

    /// The journal, which keeps everything from `sequence` on.
    fn past(&self, name: &str, sequence: u64) -> Result<(Recorded<T>, (usize, &str)), Error> {
        let journal = self.members.terms.journal.as_ref();
        let (entry, journal) = journal.map_err(|why| misplaced(name, why))?;
        let Some(archive) = &self.archive else {
            return Err(misplaced(name, "nobody has that open any more"));
        };
        Ok((Recorded::new(archive, sequence), (*entry, journal)))
    }

    fn seat_tap(
        &self,
        name: &str,
        index: usize,
        on_lag: OnLag,
        past: Option<(Recorded<T>, (usize, &str))>,
        seat: Seat,
    ) -> Tap<T> {
        let (config, editors) = (&self.members.terms.config, &self.members.terms.editors);
        self.watch_for_sleepers(); // a task may read it
        let waiter = Waiter::new(&self.signals, config.wait);
        let replaying = past.map(|(past, journal)| Replaying::new(past, editors, journal));
        let reader = Reader::new(
            &self.ring,
            &self.signals,
            editors.clone(),
            index,
            config.batch_max.min(CHUNK as usize),
            config.tail_pauses,
        );
        Tap::new(reader.seated(seat), waiter, name, on_lag, replaying)
    }
}
