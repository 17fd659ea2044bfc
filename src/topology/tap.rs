//! The verb that makes a stage's place a tap's.

use crate::config::{OnLag, Wait};
use crate::consumer::{CHUNK, Tap, lag_of};
use crate::topology::builder::{Runs, StageBuilder};
use crate::topology::graph::Node;

impl<T: Clone + Send + Sync + 'static> StageBuilder<'_, T> {
    /// A reading end that gets copies and may lag, on a thread or in a task of the user's own: see [`Tap`].
    ///
    /// It is no stage: nothing can come after it, and it keeps no bus open. It counts as one in
    /// [`stages_max`](crate::BusConfig::stages_max). It takes at most 64 events at a time, or [`batch_max`](Self::batch_max) if
    /// that is less; [`on_panic`](Self::on_panic) does not concern it. A tap is read by threads or tasks as you like, so the bus is prepared
    /// for one that sleeps, whatever [`wait`](Self::wait) says.
    pub fn tap(mut self, on_lag: OnLag) -> Tap<T> {
        self.check(Runs::Own);
        self.batch_max = self.batch_max.min(CHUNK as usize);
        self.watch_upstream();
        let (lag, after) = lag_of(on_lag);
        let (entry, fits) = self.plan.ring.core.add_tap(lag, after);
        self.check_fits(fits);
        let after = self.parents().collect();
        let plan = &mut *self.plan;
        plan.own_spinners += usize::from(self.wait == Wait::BusySpin);
        plan.nodes.push(Node {
            name: self.name.clone(),
            after,
            mutates: false,
            is_tap: true,
        });
        plan.entries.push([entry].into());
        plan.gates.push([entry].into());
        Tap::new(self.reader(entry), self.waiter(), &self.name, on_lag)
    }
}
