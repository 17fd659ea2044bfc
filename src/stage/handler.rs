//! Handlers, and the forms of work that a stage's thread can do with a batch.

use crate::consumer::Batch;
use crate::error::StageError;
use crate::ring::slots::{Access, Exclusive, Shared};
use crate::ring::walk::{Iter, Numbered};
use crate::sequence::Sequence;
use crate::stage::Delivery;
use crate::stage::thread::{Pass, Stopped};
use std::any::Any;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// A handler with hooks, for [`StageBuilder::attach`](crate::StageBuilder::attach); most stages need only a closure.
///
/// Everything runs on the stage's thread. An `Err` from any of these is treated as a panic is, by [`OnPanic`](crate::OnPanic).
///
/// ```
/// use ringway::{BusConfig, Delivery, Handler, Sequence, StageError, Topology};
/// use std::sync::mpsc;
///
/// struct Flush { gathered: Vec<u64>, out: mpsc::Sender<Vec<u64>> }
/// impl Handler<u64> for Flush {
///     fn on_event(&mut self, event: &u64, _: Delivery) -> Result<(), StageError> {
///         self.gathered.push(*event);
///         Ok(())
///     }
///     fn on_batch_end(&mut self, _below: Sequence) -> Result<(), StageError> {
///         Ok(self.out.send(std::mem::take(&mut self.gathered))?)
///     }
/// }
///
/// let (out, flushed) = mpsc::channel();
/// let mut topology = Topology::single(BusConfig::default(), || 0)?;
/// topology.stage("flush").attach(Flush { gathered: Vec::new(), out });
/// let (bus, mut producer) = topology.start()?;
/// producer.publish_batch([1, 2, 3])?;
/// drop(producer);
/// bus.shutdown()?;
/// assert_eq!(flushed.iter().flatten().collect::<Vec<_>>(), [1, 2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Handler<T> {
    /// Handles one event.
    ///
    /// # Errors
    /// Whatever it likes: see [`OnPanic`](crate::OnPanic).
    fn on_event(&mut self, event: &T, at: Delivery) -> Result<(), StageError>;

    /// Called when every event of a batch was handled, before the stage's cursor says so: everything below `below` is done if
    /// it succeeds. When it fails under [`Retire`](crate::OnPanic::Retire) or [`Halt`](crate::OnPanic::Halt), the whole batch
    /// counts as not handled.
    ///
    /// # Errors
    /// As [`on_event`](Self::on_event).
    fn on_batch_end(&mut self, below: Sequence) -> Result<(), StageError> {
        let _ = below;
        Ok(())
    }

    /// Called once on the stage's thread, before the first event.
    ///
    /// # Errors
    /// As [`on_event`](Self::on_event).
    fn on_start(&mut self) -> Result<(), StageError> {
        Ok(())
    }

    /// Called once on the stage's thread when the stage has ended, however it ended.
    fn on_stop(&mut self) {}
}

/// A closure that cannot fail.
pub(crate) struct Each<F>(pub(crate) F);

impl<T, F: FnMut(&T, Delivery)> Handler<T> for Each<F> {
    #[inline(always)]
    fn on_event(&mut self, event: &T, at: Delivery) -> Result<(), StageError> {
        (self.0)(event, at);
        Ok(())
    }
}

/// A closure that can fail.
pub(crate) struct TryEach<F>(pub(crate) F);

impl<T, F: FnMut(&T, Delivery) -> Result<(), StageError>> Handler<T> for TryEach<F> {
    #[inline(always)]
    fn on_event(&mut self, event: &T, at: Delivery) -> Result<(), StageError> {
        (self.0)(event, at)
    }
}

/// What the thread of a stage does.
pub(crate) trait Work<T, A: Access>: Send + 'static {
    fn start(&mut self) -> Result<(), StageError> {
        Ok(())
    }

    /// Handles a batch, as far as it gets.
    fn deliver(&mut self, batch: &mut Batch<'_, T, A>, pass: &mut Pass<'_>) -> Result<(), Stopped>;

    fn batch_end(&mut self, _below: Sequence) -> Result<(), StageError> {
        Ok(())
    }

    fn stop(&mut self) {}
}

/// Every event to a handler.
pub(crate) struct Handling<H>(pub(crate) H);

impl<T: Sync, H: Handler<T> + Send + 'static> Work<T, Shared> for Handling<H> {
    fn start(&mut self) -> Result<(), StageError> {
        self.0.on_start()
    }

    #[inline]
    fn deliver(
        &mut self,
        batch: &mut Batch<'_, T, Shared>,
        pass: &mut Pass<'_>,
    ) -> Result<(), Stopped> {
        pass.deliver(batch.iter(), |event, at| self.0.on_event(event, at))
    }

    fn batch_end(&mut self, below: Sequence) -> Result<(), StageError> {
        self.0.on_batch_end(below)
    }

    fn stop(&mut self) {
        self.0.on_stop();
    }
}

/// Every event to a closure that may edit it.
pub(crate) struct EachMut<F>(pub(crate) F);

impl<T, F: FnMut(&mut T, Delivery) + Send + 'static> Work<T, Exclusive> for EachMut<F> {
    #[inline]
    fn deliver(
        &mut self,
        batch: &mut Batch<'_, T, Exclusive>,
        pass: &mut Pass<'_>,
    ) -> Result<(), Stopped> {
        pass.deliver(batch.iter_mut(), |event, at| {
            (self.0)(event, at);
            Ok(())
        })
    }
}

/// Every event to a closure that may edit it, and fail.
pub(crate) struct TryEachMut<F>(pub(crate) F);

impl<T, F> Work<T, Exclusive> for TryEachMut<F>
where
    F: FnMut(&mut T, Delivery) -> Result<(), StageError> + Send + 'static,
{
    #[inline]
    fn deliver(
        &mut self,
        batch: &mut Batch<'_, T, Exclusive>,
        pass: &mut Pass<'_>,
    ) -> Result<(), Stopped> {
        pass.deliver(batch.iter_mut(), &mut self.0)
    }
}

/// Of every event, those whose key falls to this member.
///
/// A keyed group has no protocol of its own: each member is a consumer with a cursor of its own that passes every event, and
/// whatever comes after the group is gated on all of these. They share only that one that fails stops the others, as a member of
/// an unkeyed group does.
pub(crate) struct KeyedHandling<H, F, Q> {
    pub(crate) handler: H,
    pub(crate) key: F,
    pub(crate) member: u64,
    pub(crate) members: u64,
    pub(crate) key_type: PhantomData<fn() -> Q>,
}

impl<T, H, F, Q> Work<T, Shared> for KeyedHandling<H, F, Q>
where
    T: Sync,
    H: Handler<T> + Send + 'static,
    F: Fn(&T) -> Q + Send + 'static,
    Q: Hash + 'static,
{
    fn deliver(
        &mut self,
        batch: &mut Batch<'_, T, Shared>,
        pass: &mut Pass<'_>,
    ) -> Result<(), Stopped> {
        let Self {
            handler,
            key,
            member,
            members,
            ..
        } = self;
        let mine = |event: &T| {
            let mut hasher = DefaultHasher::new();
            key(event).hash(&mut hasher);
            hasher.finish() % *members == *member
        };
        let own = Own::new(batch.iter(), mine, pass.skips());
        pass.deliver(own, |event, at| match event {
            Ok(event) => handler.on_event(event, at),
            Err(panic) => resume_unwind(panic),
        })
    }
}

/// An event, or the panic of its key.
type Keyed<'b, T> = Result<&'b T, Box<dyn Any + Send>>;

/// The events for which `mine` holds, or panics: such an event is every member's, and each fails on it in its turn.
struct Own<'b, T, M> {
    all: Iter<'b, T>,
    mine: M,
    /// Whether the member goes on after a panic.
    skips: bool,
    /// Those before the next one on which `mine` panicked.
    failed: VecDeque<(u64, Box<dyn Any + Send>)>,
    /// The next one that goes to the handler, so that the last is known as such.
    next: Option<(u64, &'b T)>,
}

impl<'b, T, M: FnMut(&T) -> bool> Own<'b, T, M> {
    fn new(all: Iter<'b, T>, mine: M, skips: bool) -> Self {
        let mut own = Self {
            all,
            mine,
            skips,
            failed: VecDeque::new(),
            next: None,
        };
        own.find();
        own
    }

    fn find(&mut self) {
        while let Some((sequence, event)) = self.all.next_numbered() {
            match catch_unwind(AssertUnwindSafe(|| (self.mine)(event))) {
                Ok(true) => return self.next = Some((sequence, event)),
                Ok(false) => {}
                Err(panic) => {
                    self.failed.push_back((sequence, panic));
                    if !self.skips {
                        return; // the member ends there
                    }
                }
            }
        }
    }
}

impl<'b, T, M: FnMut(&T) -> bool> Numbered for Own<'b, T, M> {
    type Event = Keyed<'b, T>;

    fn next_numbered(&mut self) -> Option<(u64, Self::Event)> {
        if let Some((sequence, panic)) = self.failed.pop_front() {
            return Some((sequence, Err(panic)));
        }
        let (sequence, event) = self.next.take()?;
        self.find();
        Some((sequence, Ok(event)))
    }

    fn has_more(&self) -> bool {
        self.next.is_some()
    }
}
