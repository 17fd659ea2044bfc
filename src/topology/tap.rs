//! The verb that makes a stage's place a tap's.

use crate::config::{OnLag, Wait};
use crate::consumer::{CHUNK, Past, Replaying, Tap, lag_of};
use crate::rejoin::{Recorded, misplaced};
use crate::topology::builder::{Runs, StageBuilder};
use crate::topology::graph::Node;

impl<T: Clone + Send + Sync + 'static> StageBuilder<'_, T> {
    /// A reading end that gets copies and may lag, on a thread or in a task of the user's own: see [`Tap`].
    ///
    /// It is no stage: nothing can come after it, and it keeps no bus open. It counts as one in
    /// [`stages_max`](crate::BusConfig::stages_max). It takes at most 64 events at a time, or [`batch_max`](Self::batch_max) if
    /// that is less; [`on_panic`](Self::on_panic) does not concern it. A tap is read by threads or tasks as you like, so the bus is prepared
    /// for one that sleeps, whatever [`wait`](Self::wait) says.
    ///
    /// With [`OnLag::Replay`] the journal must have been added before the tap, and every stage that edits events come before the journal:
    /// else [`start`](crate::Topology::start) answers [`JournalMisplaced`](crate::ErrorKind::JournalMisplaced).
    pub fn tap(self, on_lag: OnLag) -> Tap<T> {
        let past = match (&self.plan.archive, on_lag) {
            (Some(archive), OnLag::Replay) => {
                let first = self.plan.ring.core.numbering().first();
                Some(Recorded::new(archive, first))
            }
            _ => None,
        };
        self.tap_with(on_lag, past)
    }

    /// The same that reads on in `past`.
    pub(crate) fn tap_with(
        mut self,
        on_lag: OnLag,
        past: Option<impl Past<T> + 'static>,
    ) -> Tap<T> {
        self.check(Runs::Own);
        self.batch_max = self.batch_max.min(CHUNK as usize);
        self.watch_upstream();
        let (lag, after) = lag_of(on_lag);
        let (entry, fits) = self.plan.ring.core.add_tap(lag, after);
        self.check_fits(fits);
        let after = self.parents().collect();
        let upstream = self.upstream();
        let plan = &mut *self.plan;
        plan.own_spinners += usize::from(self.wait == Wait::BusySpin);
        let replaying = past.zip(plan.journal).map(|(past, journal)| {
            let journal = (plan.entries[journal][0], &*plan.nodes[journal].name);
            Replaying::new(past, &upstream, journal)
        });
        if on_lag == OnLag::Replay && replaying.is_none() {
            let why = "the bus has none yet: add one with topology.stage(name).journal(journal), before the tap";
            plan.note(misplaced(&self.name, why));
        }
        plan.nodes.push(Node {
            name: self.name.clone(),
            after,
            mutates: false,
            is_tap: true,
            replays: on_lag == OnLag::Replay,
        });
        plan.entries.push([entry].into());
        plan.gates.push([entry].into());
        let (reader, waiter) = (self.reader(entry), self.waiter());
        Tap::new(reader, waiter, &self.name, on_lag, replaying)
    }
}
