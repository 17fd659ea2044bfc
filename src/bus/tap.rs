//! Taps that join a bus while it runs.

use crate::bus::Bus;
use crate::config::OnLag;
use crate::consumer::{CHUNK, Reader, Tap, lag_of};
use crate::error::Error;
use crate::ring::cursor::Counters;
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
    pub fn tap(&self, name: impl Into<String>, on_lag: OnLag) -> Result<Tap<T>, Error> {
        let name = name.into();
        self.join_tap(&name, on_lag)
            .map_err(|error| error.with_stage(&name))
    }

    fn join_tap(&self, name: &str, on_lag: OnLag) -> Result<Tap<T>, Error> {
        let mut seat = self.admit(name, true)?;
        let config = &self.terms.config;
        self.watch_for_sleepers(); // a task may read it
        let waiter = Waiter::new(&self.signals, config.wait);
        let (lag, after) = lag_of(on_lag);
        let index = (self.ring.join_tap(lag, after)).ok_or_else(|| self.is_full(name))?;
        seat.take(index, self.ring.core.table.entry(index));
        self.signals
            .notify(Signal::cursor(index), &Counters::default());
        let reader = Reader::new(
            &self.ring,
            &self.signals,
            self.terms.editors.clone(),
            index,
            config.batch_max.min(CHUNK as usize),
            config.tail_pauses,
        );
        Ok(Tap::new(reader.seated(seat), waiter, name, on_lag))
    }
}
