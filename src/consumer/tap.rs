//! The end of a reader that owns copies, and may lag.
//!
//! What its cursor says, and who may change it, stands in [`taps`](crate::ring). A read looks how far it may go, begins to *read*
//! by an exchange of the word that it looked from, copies at most [`CHUNK`] events, and clears the bit with the new position. Only then does any code of
//! the user's run; but for `Clone`, which is why a chunk is small, and why the bit is cleared by a guard.

use crate::config::OnLag;
use crate::consumer::copies::TapBatch;
use crate::consumer::reader::{Reader, Station};
use crate::consumer::replaying::Replaying;
use crate::error::{Ended, ReadDeadlineError, TryReadError};
use crate::ring::barrier::{Readable, Stop};
use crate::ring::cursor::{Lag, Snapshot};
use crate::ring::slots::{ReadToken, Shared};
use crate::sequence::SequenceRange;
use crate::sync::step;
use crate::wait::Waiter;
use crate::wait::context::Inside;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The most events that are copied while producers may have to wait.
pub(crate) const CHUNK: u64 = 64;

/// A reader that gets copies, and that producers do not wait for when it lags: [`OnLag`] says what happens to it then.
///
/// It suits a display, a log, a metric, a debugger: whatever may miss events sooner than slow the bus down. Nothing can come
/// [`after`](crate::StageBuilder::after) it, and it keeps no bus open: when the last stage has ended it gets what was published, and ends.
///
/// **How long it can hold producers back.** A read copies at most 64 events, and only so long nobody may move the tap. A producer that needs the
/// room meanwhile waits: for as long as 64 calls of `Clone` take, or as long as the system does not run the tap's thread in the midst of
/// them. Between reads, and while a [`TapBatch`] lives, it holds nobody back but, under [`OnLag::Evict`], for the time given there.
///
/// A `Clone` that panics leaves the tap where it was: the next read tries the same events again.
///
/// Under [`OnLag::Replay`] a read of a tap that lags reads the journal's files, [`try_read`](Self::try_read) and
/// [`read_async`](Self::read_async) too; it decodes events then, and does not clone them.
///
/// ```
/// use ringway::{BusConfig, OnLag, Topology};
/// let config = BusConfig { capacity: 4, ..BusConfig::default() };
/// let mut topology = Topology::single(config, String::new)?;
/// topology.stage("work").handle(|_, _| {});
/// let mut tap = topology.stage("display").tap(OnLag::Skip);
/// let (bus, mut producer) = topology.start()?;
/// for number in 0..10 {
///     producer.publish(number.to_string())?; // waits for `work`, not for the tap
/// }
/// drop(producer);
/// bus.shutdown()?;
///
/// let (mut seen, mut skipped) = (0, 0);
/// while let Ok(batch) = tap.read() {
///     skipped += batch.skipped();
///     seen += batch.iter().filter(|text| !text.is_empty()).count() as u64;
/// }
/// assert_eq!(seen + skipped, 10);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The copies are made from `&T` on the tap's thread, while stages and other taps may have `&T` on theirs. So events must be [`Sync`], be
/// their `Clone` ever so harmless in one thread alone:
///
/// ```compile_fail,E0277
/// use ringway::{BusConfig, OnLag, Topology};
/// use std::cell::RefCell;
/// let mut topology = Topology::single(BusConfig::default(), || RefCell::new(0)).unwrap();
/// let tap = topology.stage("tap").tap(OnLag::Skip);
/// ```
/// ```
/// use ringway::{BusConfig, OnLag, Topology};
/// use std::sync::Arc;
/// let mut topology = Topology::single(BusConfig::default(), || Arc::new(0)).unwrap();
/// let tap = topology.stage("tap").tap(OnLag::Skip);
/// ```
pub struct Tap<T> {
    reader: Reader<T>,
    waiter: Waiter,
    name: Box<str>,
    on_lag: OnLag,
    /// What the last read copied.
    copies: Vec<T>,
    /// Where the next batch begins if the tap is not moved: a position of the ring, below 0 where the journal has what was published
    /// before this bus.
    expected: i64,
    /// Of one that reads on in the journal when it is detached.
    replaying: Option<Replaying<T>>,
    /// The tap saw the clock of its patience run, as it says itself, when it was here.
    held: (u64, i64),
    ended: Option<Ended>,
}

/// What a look finds.
enum Found {
    /// So much may be read while the cursor is what it was.
    Events(Snapshot, Readable),
    /// A producer has ended the tap.
    Evicted,
    /// So far the journal may be read.
    Past(i64),
    /// All that the journal has was read.
    CaughtUp,
}

/// While it lives nobody moves the tap's cursor; then it stands at `to`.
struct Reading<'t> {
    station: &'t Station,
    seen: Snapshot,
    to: u64,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let cursor = &self.station.entry().cursor;
        cursor.end_reading(self.seen, self.to);
        if step("tap_clear_unnotified") {
            self.station.notify(&cursor.counters);
        }
    }
}

impl<T> Tap<T> {
    pub(crate) fn new(
        reader: Reader<T>,
        waiter: Waiter,
        name: &str,
        on_lag: OnLag,
        replaying: Option<Replaying<T>>,
    ) -> Self {
        let expected = reader.entry().cursor.own_position() as i64;
        Self {
            replaying,
            reader,
            waiter,
            name: name.into(),
            on_lag,
            copies: Vec::new(),
            expected,
            held: (0, 0),
            ended: None,
        }
    }

    /// The same for one that begins in the journal, at a position below 0 too.
    pub(crate) fn begin_at(mut self, position: i64) -> Self {
        self.expected = position;
        self.note_position();
        self
    }

    /// For the statistics of one that is in the journal: its cursor does not tell.
    fn note_position(&self) {
        let sequence = self.sequence(self.expected);
        let cursor = &self.reader.entry().cursor;
        cursor.counters.position.set(sequence);
    }

    fn sequence(&self, position: i64) -> u64 {
        (self.reader.station().numbering().first()).wrapping_add_signed(position)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many published sequences are in front of it, as far as it has not been moved over them; those of a batch that it has read are
    /// behind it.
    #[must_use]
    pub fn lag(&self) -> u64 {
        let position = self.reader.ring().core.position() as i64;
        (position - self.position()).max(0) as u64
    }

    /// How many sequences it has been moved over, all in all: what the batches said, and what the next one will say. What it is moved over after
    /// its last read counts too, though no batch tells it.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        let counted = self.reader.entry().cursor.counters.skipped.get();
        counted + (self.position() - self.expected) as u64
    }

    /// Whether nothing will come any more, and everything was read.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        if self.ended.is_some() {
            return true;
        }
        let word = self.reader.entry().cursor.load();
        let reads_ring = !word.is_retired() && word.position() as i64 == self.expected;
        match self.replaying.as_ref().filter(|_| !reads_ring) {
            Some(replaying) => replaying.has_ended(&self.reader, self.expected),
            None => word.is_retired() || self.reader.has_ended(word.position()),
        }
    }

    /// What is next: where its cursor stands, unless it reads in the journal.
    fn position(&self) -> i64 {
        match &self.replaying {
            Some(_) => self.expected,
            None => self.reader.entry().cursor.load().position() as i64,
        }
    }

    pub(crate) fn reader(&self) -> &Reader<T> {
        &self.reader
    }

    /// Looks without reading. A word that is retired was so by a producer: this end has noted what it did itself.
    ///
    /// One that replays reads the ring where its cursor stands at what is next, and else the journal: up to the cursor, if it has one. When there is
    /// nothing more in the journal it joins the ring again, at a position that the journal comes to sooner or later.
    fn look(
        reader: &Reader<T>,
        replaying: &Option<Replaying<T>>,
        expected: i64,
    ) -> Result<Found, Stop> {
        let seen = reader.entry().cursor.load();
        let at = (!seen.is_retired()).then(|| seen.position() as i64);
        let Some(replaying) = replaying.as_ref().filter(|_| at != Some(expected)) else {
            if at.is_none() {
                return Ok(Found::Evicted);
            }
            let readable = reader.look(seen.position())?;
            return Ok(Found::Events(seen, readable));
        };
        match (replaying.written(reader, expected), at) {
            (Ok(end), _) => Ok(Found::Past(at.map_or(end, |at| end.min(at)))),
            (Err(Stop::Empty(_)), None) => Ok(Found::CaughtUp),
            (Err(stop), _) => Err(stop),
        }
    }

    fn look_now(&self) -> Result<Found, Stop> {
        Self::look(&self.reader, &self.replaying, self.expected)
    }

    /// Why nothing will come any more.
    fn ended_by(&mut self, stop: Stop) -> Ended {
        let journal = self.replaying.as_ref().and_then(|one| one.ended(stop));
        let ended = journal.unwrap_or_else(|| self.reader.ended(stop));
        self.end(ended)
    }

    /// Nothing will come any more: it need hold nobody back, nor keep what a journal has.
    #[cold]
    fn end(&mut self, ended: Ended) -> Ended {
        self.retire();
        self.ended.insert(ended).clone()
    }

    #[cold]
    fn evicted(&mut self) -> Ended {
        let after = match self.on_lag {
            OnLag::Evict { after } => after,
            OnLag::Skip | OnLag::Replay => Duration::ZERO,
        };
        let lag = self.reader.lag(self.expected as u64);
        self.end(Ended::Evicted { lag, after })
    }

    /// What it was moved over after its last read no batch will tell: it is counted here. One that replays is never moved.
    fn retire(&mut self) {
        let at = self.reader.retire_tap(self.expected) as i64;
        if self.replaying.take().is_none() {
            let counters = &self.reader.entry().cursor.counters;
            counters.skipped.add((at - self.expected) as u64);
        }
        self.expected = at;
    }

    /// It reads the ring from now on, as far as that is.
    #[cold]
    fn rejoin(&self) {
        let station = self.reader.station();
        self.reader.ring().rejoin_tap(station.index());
        station.notify(&station.entry().cursor.counters);
    }

    /// Copies events of the journal. What was copied when it fails counts as not read.
    fn copy_past(&mut self, end: i64) -> Result<(SequenceRange, u64), Ended> {
        let most = CHUNK.min(self.reader.batch_max()) as usize;
        let range = self.sequence(self.expected)..self.sequence(end);
        self.copies.clear();
        self.copies.reserve(most);
        let replaying = (self.replaying.as_mut()).expect("what looked into the journal has one");
        let next = match replaying.read(range.clone(), most, &mut self.copies) {
            Ok(next) => next,
            Err(error) => {
                self.copies.clear();
                let reason = error.to_string();
                return Err(self.end(Ended::Unreadable { reason }));
            }
        };
        self.expected += (next - range.start) as i64;
        self.note_position();
        let counters = &self.reader.entry().cursor.counters;
        counters.count_batch(self.copies.len() as u64);
        Ok((SequenceRange::new(range.start..next), 0))
    }

    /// A tap that has read everything is in nobody's way, whatever its clock says.
    fn note_empty(&self) {
        let patience = &self.reader.entry().patience;
        if matches!(self.on_lag, OnLag::Evict { .. }) && patience.since() != 0 {
            patience.stop();
        }
    }

    /// A tap that makes its way has its patience measured anew.
    fn note_progress(&mut self, start: i64) {
        let next = self.sequence(self.expected);
        if let Some(replaying) = &mut self.replaying {
            replaying.read_ring(next);
            self.note_position();
        }
        if !matches!(self.on_lag, OnLag::Evict { .. }) {
            return;
        }
        let patience = &self.reader.entry().patience;
        let since = patience.since();
        if since != self.held.0 {
            self.held = (since, start);
        }
        let quarter = self.reader.ring().core.capacity() / 4;
        if since != 0 && self.expected - self.held.1 >= quarter as i64 {
            patience.stop();
        }
    }
}

impl<T: Clone + Sync> Tap<T> {
    /// Copies what is there, at most 64 events; never waits.
    ///
    /// # Errors
    /// [`TryReadError`]. Behind many producers it may answer `Empty` with events there when its thread was stopped in this very call while
    /// the ring came round 64 times or more; the next call finds them.
    ///
    /// # Panics
    /// When a `clone` does.
    pub fn try_read(&mut self) -> Result<TapBatch<'_, T>, TryReadError> {
        loop {
            if let Some(ended) = &self.ended {
                return Err(TryReadError::Ended(ended.clone()));
            }
            let found = self.look_now();
            if matches!(found, Err(Stop::Empty(_))) {
                self.note_empty();
                return Err(TryReadError::Empty);
            }
            if let Some((range, skipped)) = self.settle(found).map_err(TryReadError::Ended)? {
                return Ok(self.batch(range, skipped));
            }
        }
    }

    /// Copies what is there, at most 64 events; waits for the first. Right behind producers it keeps a distance, as
    /// [`Consumer::read`](crate::Consumer::read) does.
    ///
    /// # Errors
    /// [`Ended`], once everything that it gets was read.
    ///
    /// # Panics
    /// When a `clone` does.
    pub fn read(&mut self) -> Result<TapBatch<'_, T>, Ended> {
        self.reader
            .keep_distance(|| self.reader.entry().cursor.own_position());
        let (range, skipped) = self
            .read_until(None)
            .map_err(ReadDeadlineError::without_deadline)?;
        Ok(self.batch(range, skipped))
    }

    /// [`read`](Self::read), waiting no longer than `deadline`.
    ///
    /// # Errors
    /// [`ReadDeadlineError`].
    ///
    /// # Panics
    /// When a `clone` does.
    pub fn read_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<TapBatch<'_, T>, ReadDeadlineError> {
        let (range, skipped) = self.read_until(Some(deadline))?;
        Ok(self.batch(range, skipped))
    }

    /// [`read`](Self::read) for a task of any executor. Dropping the future before it is ready has taken nothing.
    ///
    /// # Errors
    /// The future's output: [`Ended`], once everything that it gets was read.
    ///
    /// # Panics
    /// The future does when a `clone` does.
    pub fn read_async(&mut self) -> TapReadFuture<'_, T> {
        TapReadFuture { tap: Some(self) }
    }

    fn read_until(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<(SequenceRange, u64), ReadDeadlineError> {
        loop {
            let found = match self.ended.clone() {
                Some(ended) => return Err(ReadDeadlineError::Ended(ended)),
                None => self.look_now(),
            };
            let found = match found {
                Err(Stop::Empty(_)) => {
                    self.note_empty();
                    let Self {
                        reader,
                        waiter,
                        replaying,
                        expected,
                        ..
                    } = self;
                    let counters = &reader.entry().cursor.counters;
                    let look = || Self::look(reader, replaying, *expected);
                    (reader.wait(waiter, deadline, counters, look))
                        .ok_or(ReadDeadlineError::TimedOut)?
                }
                found => found,
            };
            if let Some(read) = self.settle(found).map_err(ReadDeadlineError::Ended)? {
                return Ok(read);
            }
        }
    }

    /// For a task: registers its waker when there is nothing.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<(SequenceRange, u64), Ended>> {
        loop {
            if let Some(ended) = &self.ended {
                return Poll::Ready(Err(ended.clone()));
            }
            let Self {
                reader,
                waiter,
                replaying,
                expected,
                ..
            } = self;
            let counters = &reader.entry().cursor.counters;
            let look = || Self::look(reader, replaying, *expected);
            let Poll::Ready(found) = reader.poll(waiter, context, counters, look) else {
                self.note_empty();
                return Poll::Pending;
            };
            if let Some(read) = self.settle(found).transpose() {
                return Poll::Ready(read);
            }
        }
    }

    /// Copies what was found; `None`: the tap was moved meanwhile, look again.
    fn settle(
        &mut self,
        found: Result<Found, Stop>,
    ) -> Result<Option<(SequenceRange, u64)>, Ended> {
        match found {
            Ok(Found::Events(seen, readable)) => Ok(self.copy(seen, readable)),
            Ok(Found::Past(end)) => self.copy_past(end).map(Some),
            Ok(Found::CaughtUp) => {
                self.rejoin();
                Ok(None)
            }
            Ok(Found::Evicted) => Err(self.evicted()),
            Err(stop) => Err(self.ended_by(stop)),
        }
    }

    /// Copies events, if the cursor is still what it was. Their sequences, and how many before them were skipped.
    fn copy(&mut self, seen: Snapshot, readable: Readable) -> Option<(SequenceRange, u64)> {
        let range = readable.range();
        // before others may have to wait for it: what is freed and allocated here
        self.copies.clear();
        self.copies.reserve((range.end - range.start) as usize);
        let station = self.reader.station();
        let cursor = &station.entry().cursor;
        if !cursor.begin_reading(seen) {
            return None;
        }
        let mut reading = Reading {
            station,
            seen,
            to: range.start,
        };
        let ring = self.reader.ring();
        {
            // a copy that waits for room in this very ring would wait for itself
            let _inside = Inside::enter(ring.core.id());
            // SAFETY: the barrier saw every sequence of the range published, or passed by the only producer or every upstream stage
            // (Acquire), from a cursor that stood at its start. The exchange has found the cursor still there, so no producer has
            // got a slot of the range since: its claims are below the least of all cursors, this one included, plus the capacity,
            // and it moves this one only by an exchange of a word without the bit. That stays until `reading` ends, which the
            // token does not outlive. Every stage that edits comes before this tap (`topology::graph`), so the others only look.
            let token = unsafe {
                ReadToken::<T, Shared>::mint(&ring.slots, range.clone(), ring.core.has_gaps())
            };
            self.copies.extend(token.iter().cloned());
        }
        reading.to = range.end;
        drop(reading);
        let start = range.start as i64;
        let skipped = (start - self.expected) as u64;
        cursor.counters.skipped.add(skipped);
        cursor.counters.count_batch(self.copies.len() as u64);
        self.expected = range.end as i64;
        self.note_progress(start);
        Some((self.reader.station().numbering().range(range), skipped))
    }

    pub(super) fn batch(&mut self, sequences: SequenceRange, skipped: u64) -> TapBatch<'_, T> {
        TapBatch {
            copies: &mut self.copies,
            sequences,
            skipped,
        }
    }
}

impl<T> Drop for Tap<T> {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.retire();
        }
    }
}

impl<T> fmt::Debug for Tap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap")
            .field("name", &self.name)
            .field("on_lag", &self.on_lag)
            .field("lag", &self.lag())
            .finish_non_exhaustive()
    }
}

/// A read that waits for events: see [`Tap::read_async`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct TapReadFuture<'t, T> {
    /// Taken when the future is ready.
    tap: Option<&'t mut Tap<T>>,
}

impl<'t, T: Clone + Sync> Future for TapReadFuture<'t, T> {
    type Output = Result<TapBatch<'t, T>, Ended>;

    /// # Panics
    /// When a `clone` does, and when polled after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let tap = self.tap.take().expect("polled after it was ready");
        match tap.poll_read(context) {
            Poll::Pending => {
                self.tap = Some(tap);
                Poll::Pending
            }
            Poll::Ready(read) => {
                Poll::Ready(read.map(|(range, skipped)| tap.batch(range, skipped)))
            }
        }
    }
}

impl<T> Drop for TapReadFuture<'_, T> {
    fn drop(&mut self) {
        if let Some(tap) = &self.tap {
            tap.waiter.disarm();
        }
    }
}

/// What the ring is told of a tap.
pub(crate) fn lag_of(on_lag: OnLag) -> (Lag, Duration) {
    match on_lag {
        OnLag::Skip => (Lag::Moves, Duration::ZERO),
        OnLag::Evict { after } => (Lag::Evicts, after),
        OnLag::Replay => (Lag::Detaches, Duration::ZERO),
    }
}
