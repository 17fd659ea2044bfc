//! Ringway's policies: what a producer does when the ring is full, and what happens to a reader that is too slow.

use super::ends::{Fed, Got, Reader, Sent, Stage};
use super::judge::{Missed, Tally, judge};
use super::load::Load;
use super::record::{Folder, Words};
use crate::duo::pair;
use crate::payload::Payload;
use crate::scenario::{PATIENCE, Setup};
use ringway::{
    Bus, Consumer, Ended, ErrorKind, Journal, JournalConfig, OnLag, Producer, PublishDeadlineError,
    Sequence, SubscribeConfig, SyncPolicy, Tap, Topology, TryPublishError,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How late an event may be accepted under `publish_deadline`, counted from when it was due.
pub const DEADLINE: Duration = Duration::from_millis(5);
/// How long producers wait for the tap under `tap_evict`.
pub const EVICT_AFTER: Duration = Duration::from_millis(5);

/// What one run showed.
pub(super) struct Run {
    pub(super) tally: Tally,
    pub(super) slots: u64,
}

/// The verb that the producer calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Publish,
    TryPublish,
    Deadline,
    OrDrop,
}

/// A slow reader beside a stage that keeps up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lagging {
    Tap(OnLag),
    /// Joins when the first event is due.
    Subscriber,
}

type Bench<const WORDS: usize> = (Topology<Payload<WORDS>, ringway::Single>, Arc<AtomicU64>);

/// A topology that counts the slots that its ring makes.
fn topology<const WORDS: usize>(setup: &Setup) -> Result<Bench<WORDS>, ringway::Error> {
    let slots = Arc::new(AtomicU64::new(0));
    let counter = slots.clone();
    let topology = Topology::single(setup.config(), move || {
        counter.fetch_add(1, Ordering::Relaxed);
        Payload::blank()
    })?;
    Ok((topology, slots))
}

/// A producer that uses `verb`, and one reader, which is slow.
pub(super) fn stream<const WORDS: usize>(
    verb: Verb,
    load: &Load,
    setup: &Setup,
) -> Result<Run, ringway::Error> {
    let (mut topology, slots) = topology::<WORDS>(setup)?;
    let (_, consumer) = topology.stage("reader").consumer();
    let (bus, producer) = topology.start()?;
    let stage = Stage::new(load, !setup.seats.pinned());
    let feed = || offer(&stage, verb, producer);
    let read = || read_all(&stage, consumer);
    let (fed, (got, _)) = pair(&setup.seats, feed, read)?;
    let mut tally = judge(load, &fed, &got, Missed::Nothing);
    tally.faults.extend(end(&bus));
    Ok(Run {
        tally,
        slots: slots.load(Ordering::Relaxed),
    })
}

/// A producer that waits for a stage which keeps up, and beside that a reader that does not.
pub(super) fn beside<const WORDS: usize>(
    lagging: Lagging,
    load: &Load,
    setup: &Setup,
) -> Result<Run, ringway::Error> {
    let (mut topology, slots) = topology::<WORDS>(setup)?;
    let (in_order, out_of_place) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut work = topology.stage("work");
    if let Some(core) = setup.seats.core(2) {
        work = work.pin(core);
    }
    work.handle({
        let (in_order, out_of_place) = (in_order.clone(), out_of_place.clone());
        move |event: &Payload<WORDS>, at| {
            let right = event.tag() == at.sequence.get() && event.is_whole();
            let counter = if right { &in_order } else { &out_of_place };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    let folder = match lagging {
        Lagging::Tap(OnLag::Replay) => Some(journal(&mut topology)?),
        _ => None,
    };
    let tap = match lagging {
        Lagging::Tap(on_lag) => Some((topology.stage("tap").tap(on_lag), on_lag)),
        Lagging::Subscriber => None,
    };
    let (bus, producer) = topology.start()?;
    let stage = Stage::new(load, !setup.seats.pinned());
    let feed = || offer(&stage, Verb::Publish, producer);
    let read = || match tap {
        Some((tap, on_lag)) => read_tap(&stage, tap, on_lag),
        None => read_late(&stage, &bus),
    };
    let (fed, (got, missed)) = pair(&setup.seats, feed, read)?;
    let mut tally = judge(load, &fed, &got, missed);
    tally.faults.extend(end(&bus));
    drop(folder);
    let (seen, wrong) = (
        in_order.load(Ordering::Relaxed),
        out_of_place.load(Ordering::Relaxed),
    );
    if seen != tally.published || wrong > 0 {
        let published = tally.published;
        (tally.faults).push(format!(
            "the stage that keeps up had {seen} of {published} events in order, {wrong} out of place"
        ));
    }
    Ok(Run {
        tally,
        slots: slots.load(Ordering::Relaxed),
    })
}

/// Adds a journal in a folder of its own; it writes, and does not sync: a tap reads what is written.
fn journal<const WORDS: usize>(
    topology: &mut Topology<Payload<WORDS>, ringway::Single>,
) -> Result<Folder, ringway::Error> {
    let folder = Folder::new();
    let config = JournalConfig {
        sync: SyncPolicy::Never,
        ..JournalConfig::default()
    };
    let journal = Journal::open(folder.path(), config, Words::<WORDS>)?;
    topology.stage("journal").journal(journal);
    Ok(folder)
}

/// What was wrong with the end of a bus whose producer is gone.
fn end<T: Send + 'static>(bus: &Bus<T>) -> Option<String> {
    let joined = bus.join_deadline(Instant::now() + PATIENCE);
    joined
        .err()
        .map(|error| format!("the bus did not end well: {error}"))
}

/// Offers all events; takes the producer with it, which closes the bus.
fn offer<const WORDS: usize>(
    stage: &Stage<'_>,
    verb: Verb,
    mut producer: Producer<Payload<WORDS>>,
) -> Fed {
    let accepted = |sequence: Sequence| Ok(Sent::Accepted(Some(sequence.get())));
    let mut fed = match verb {
        Verb::Publish => stage.feed(|event, _| match producer.publish(event) {
            Ok(sequence) => accepted(sequence),
            Err(error) => Err(error.to_string()),
        }),
        Verb::TryPublish => stage.feed(|event, _| match producer.try_publish(event) {
            Ok(sequence) => accepted(sequence),
            Err(TryPublishError::Full(back)) => handed_back(event, back),
            Err(error) => Err(error.to_string()),
        }),
        Verb::Deadline => stage.feed(|event, due| {
            let deadline = stage.clock.at(due) + DEADLINE;
            match producer.publish_deadline(event, deadline) {
                Ok(sequence) => accepted(sequence),
                Err(PublishDeadlineError::TimedOut(back)) => handed_back(event, back),
                Err(error) => Err(error.to_string()),
            }
        }),
        Verb::OrDrop => stage.feed(|event, _| match producer.publish_or_drop(event) {
            Ok(Some(sequence)) => accepted(sequence),
            Ok(None) => Ok(Sent::Refused),
            Err(error) => Err(error.to_string()),
        }),
    };
    let refused = fed.accepted.iter().filter(|accepted| !**accepted).count() as u64;
    if verb == Verb::OrDrop && producer.dropped() != refused {
        let dropped = producer.dropped();
        let text = format!("{refused} events were dropped, and {dropped} counted");
        fed.fault.get_or_insert(text);
    }
    fed
}

/// A refused event must be the one that was offered.
fn handed_back<const WORDS: usize>(
    event: Payload<WORDS>,
    back: Payload<WORDS>,
) -> Result<Sent, String> {
    if event == back {
        Ok(Sent::Refused)
    } else {
        let (event, back) = (event.tag(), back.tag());
        Err(format!("event {event} was refused, and {back} handed back"))
    }
}

/// Reads to the end; tells the number of the first event too.
fn read_all<const WORDS: usize>(
    stage: &Stage<'_>,
    mut consumer: Consumer<Payload<WORDS>>,
) -> (Got, Option<u64>) {
    let (mut reader, mut first) = (Reader::new(stage), None);
    let ended = loop {
        match consumer.read() {
            Ok(batch) => {
                first.get_or_insert(batch.sequences().start().get());
                batch.iter().for_each(|event| reader.take(event));
            }
            Err(ended) => break ended,
        }
    };
    if ended != Ended::Drained {
        reader.fault(format!("the reader ended otherwise: {ended}"));
    }
    (reader.done(), first)
}

/// Joins when the first event is due, and so misses some, and reads to the end.
fn read_late<const WORDS: usize>(stage: &Stage<'_>, bus: &Bus<Payload<WORDS>>) -> (Got, Missed) {
    let events = stage.load.events() as u64;
    stage.pass_until(stage.load.starts.first().copied().unwrap_or_default());
    match bus.subscribe("late", SubscribeConfig::default()) {
        Ok(consumer) => {
            let (got, first) = read_all(stage, consumer);
            (got, Missed::Below(first.unwrap_or(events)))
        }
        Err(error) => {
            let mut reader = Reader::new(stage);
            // a run so short that it is over
            if error.kind() != ErrorKind::Closed {
                reader.fault(error.to_string());
            }
            (reader.done(), Missed::Below(events))
        }
    }
}

/// Reads copies to the end, and checks each gap against what the tap tells of it.
fn read_tap<const WORDS: usize>(
    stage: &Stage<'_>,
    mut tap: Tap<Payload<WORDS>>,
    on_lag: OnLag,
) -> (Got, Missed) {
    let (mut reader, mut next, mut told) = (Reader::new(stage), 0, 0);
    let ended = loop {
        match tap.read() {
            Ok(batch) => {
                let (sequences, skipped) = (batch.sequences(), batch.skipped());
                let start = sequences.start().get();
                let begins = batch.iter().next().map(Payload::tag);
                if start != next + skipped || begins != Some(start) {
                    reader.fault(format!(
                        "a batch at {start} begins with event {begins:?}; {next} was next, and {skipped} were skipped"
                    ));
                }
                (next, told) = (sequences.end().get(), told + skipped);
                batch.iter().for_each(|event| reader.take(event));
            }
            Err(ended) => break ended,
        }
    };
    let missed = match ended {
        Ended::Drained if on_lag == OnLag::Replay => Missed::Nothing,
        Ended::Drained => {
            let rest = tap.skipped().checked_sub(told);
            if rest.is_none() {
                reader.fault(format!("{told} events were skipped, and fewer counted"));
            }
            Missed::Counted(tap.skipped())
        }
        Ended::Evicted { lag, .. } => Missed::Tail(lag),
        ended => {
            reader.fault(format!("the tap ended otherwise: {ended}"));
            Missed::Nothing
        }
    };
    (reader.done(), missed)
}
