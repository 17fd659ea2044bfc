//! The rate of a smoothed stage: said when it is built, changed while it runs.

use crate::bus::Bus;
use crate::config::Smoothing;
use crate::error::{Error, ErrorKind};
use crate::sync::Arc;
use crate::topology::builder::{Runs, StageBuilder};
use crate::topology::{Plan, Stage};
use crate::wait::pace::Pace;
use crate::wait::signal::Signal;

impl<T: Send + 'static> StageBuilder<'_, T> {
    /// It takes events at a steady rate at most, whatever the producers do: for what comes after it and cannot bear bursts.
    ///
    /// The stage takes as many events at a time as there are tokens for; with none it waits as its [`wait`](Self::wait) says until some are due,
    /// where the rate is above 4,000 a second for a quarter of a millisecond's worth. So every millisecond gets its share, and every second
    /// its rate, as far as [`burst_max`](Smoothing::burst_max) allows. Meanwhile events gather in the ring, and producers wait when it is full:
    /// it absorbs at least [`capacity`](crate::BusConfig::capacity) events of a burst. Only sequences count, what a
    /// producer abandoned included; how long the handler takes does not. Members of a group keep the rate together, a keyed member that was
    /// behind the others excepted: what they have passed it may pass as fast as it can.
    ///
    /// A bus that is closed still drains at the rate; halting it stops the stage at once. [`Bus::set_smoothing`] changes the values while it runs.
    /// It costs the stage a lock and a look at the clock a batch, and others nothing. It is for stages on threads of the bus, and
    /// not for a [journal](Self::journal): `start()` refuses it elsewhere.
    ///
    /// ```
    /// use ringway::{BusConfig, Smoothing, Topology};
    /// use std::time::{Duration, Instant};
    /// let mut topology = Topology::single(BusConfig::default(), || 0)?;
    /// topology
    ///     .stage("upload")
    ///     .smooth(Smoothing { rate_per_second: 1_000, burst_max: 10 })
    ///     .handle(|_, _| { /* send it */ });
    /// let (bus, mut producer) = topology.start()?;
    /// let started = Instant::now();
    /// producer.publish_batch(0..60)?; // a burst, which the ring takes at once
    /// drop(producer);
    /// bus.shutdown()?;
    /// assert!(started.elapsed() >= Duration::from_millis(50)); // 10 at once, then one each millisecond
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn smooth(mut self, smoothing: Smoothing) -> Self {
        self.smoothing = Some(smoothing);
        self
    }

    /// What is wrong with its smoothing.
    pub(super) fn check_smoothing(&self, runs: Runs) -> Option<Error> {
        let smoothing = self.smoothing?;
        if runs == Runs::Managed {
            return smoothing.validate().err();
        }
        let text = format!(
            "stage `{}` is smoothed, but runs on a thread or task of your own: a stage keeps a rate only on threads of the bus",
            self.name
        );
        Some(Error::new(ErrorKind::InvalidConfig, text))
    }

    /// What its members keep to.
    pub(super) fn pace(&self) -> Option<Arc<Pace>> {
        let smoothing = self.smoothing.filter(|values| values.validate().is_ok())?;
        let (signals, signal) = (&self.plan.signals, self.plan.paced_signal());
        Some(Arc::new(Pace::new(smoothing, signals, signal, self.wait)))
    }
}

impl<T> Plan<T> {
    /// How many signal words there are: one for each entry of the cursor table, one for that beyond it, one for smoothed stages.
    pub(super) fn signal_words(stages_max: usize) -> usize {
        stages_max + 2
    }

    /// What smoothed stages watch that wait for their time.
    fn paced_signal(&self) -> Signal {
        Signal::cursor(Self::signal_words(self.config.stages_max) - 1)
    }
}

impl<T: Send + 'static> Bus<T> {
    /// Swaps the values of a stage that was built with [`smooth`](StageBuilder::smooth). A stage that waits goes by the new ones at once;
    /// what it had saved for a burst it keeps, up to the new `burst_max`. `stage` is the token that the topology returned.
    ///
    /// # Errors
    /// [`ForeignStage`](ErrorKind::ForeignStage): the token is another topology's. [`InvalidConfig`](ErrorKind::InvalidConfig): a value is outside
    /// its range, or the stage was built without `smooth`. Nothing is changed then.
    ///
    /// ```
    /// use ringway::{BusConfig, Smoothing, Topology};
    /// let slow = Smoothing { rate_per_second: 1, burst_max: 1 };
    /// let mut topology = Topology::single(BusConfig::default(), || 0)?;
    /// let upload = topology.stage("upload").smooth(slow).handle(|_, _| {});
    /// let (bus, mut producer) = topology.start()?;
    /// producer.publish_batch(0..1_000)?;
    /// bus.set_smoothing(upload, Smoothing { rate_per_second: 100_000, burst_max: 64 })?; // not in 1,000 seconds
    /// drop(producer);
    /// bus.shutdown()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_smoothing(&self, stage: Stage, smoothing: Smoothing) -> Result<(), Error> {
        let paces = &self.paces;
        if stage.topology != paces.topology {
            let text = "the stage is one of another topology: use a token of the one that this bus was started from";
            return Err(Error::new(ErrorKind::ForeignStage, text));
        }
        let (name, pace) = &paces.stages[stage.index];
        let Some(pace) = pace else {
            let text = format!(
                "stage `{name}` keeps no rate that could be changed: build it with .smooth(..)"
            );
            return Err(Error::new(ErrorKind::InvalidConfig, text).with_stage(name));
        };
        smoothing
            .validate()
            .map_err(|error| error.with_stage(name))?;
        pace.set(smoothing);
        Ok(())
    }
}
