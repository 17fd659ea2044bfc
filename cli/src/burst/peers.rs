//! The same bursts through bounded channels of others: each waits by its own blocking call.

use super::ends::{Fed, Got, Reader, Sent, Stage};
use super::judge::{Missed, Tally, judge};
use super::load::Load;
use crate::duo::pair;
use crate::payload::Payload;
use crate::scenario::Setup;
use crossbeam_channel as crossbeam;
use tokio::sync::mpsc as tokio;

/// Whether the sender waits when the channel is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Waits,
    Refuses,
}

pub(super) fn crossbeam<const WORDS: usize>(
    full: Full,
    load: &Load,
    setup: &Setup,
    capacity: usize,
) -> Result<Tally, ringway::Error> {
    let (sender, receiver) = crossbeam::bounded::<Payload<WORDS>>(capacity);
    let offer = move |stage: &Stage<'_>| match full {
        Full::Waits => stage.feed(|event, _| {
            let sent = sender.send(event).map(|()| Sent::Accepted(None));
            sent.map_err(|error| error.to_string())
        }),
        Full::Refuses => stage.feed(|event, _| match sender.try_send(event) {
            Ok(()) => Ok(Sent::Accepted(None)),
            Err(crossbeam::TrySendError::Full(_)) => Ok(Sent::Refused),
            Err(error) => Err(error.to_string()),
        }),
    };
    run(load, setup, offer, move || receiver.recv().ok())
}

pub(super) fn tokio<const WORDS: usize>(
    full: Full,
    load: &Load,
    setup: &Setup,
    capacity: usize,
) -> Result<Tally, ringway::Error> {
    let (sender, mut receiver) = tokio::channel::<Payload<WORDS>>(capacity);
    let offer = move |stage: &Stage<'_>| match full {
        Full::Waits => stage.feed(|event, _| {
            let sent = sender.blocking_send(event).map(|()| Sent::Accepted(None));
            sent.map_err(|error| error.to_string())
        }),
        Full::Refuses => stage.feed(|event, _| match sender.try_send(event) {
            Ok(()) => Ok(Sent::Accepted(None)),
            Err(tokio::error::TrySendError::Full(_)) => Ok(Sent::Refused),
            Err(error) => Err(error.to_string()),
        }),
    };
    run(load, setup, offer, move || receiver.blocking_recv())
}

/// One sender, which is gone when it has offered everything, and one receiver, until there is no more.
fn run<const WORDS: usize>(
    load: &Load,
    setup: &Setup,
    offer: impl FnOnce(&Stage<'_>) -> Fed + Send,
    mut receive: impl FnMut() -> Option<Payload<WORDS>> + Send,
) -> Result<Tally, ringway::Error> {
    let stage = Stage::new(load, !setup.seats.pinned());
    let read = || -> Got {
        let mut reader = Reader::new(&stage);
        while let Some(event) = receive() {
            reader.take(&event);
        }
        reader.done()
    };
    let (fed, got) = pair(&setup.seats, || offer(&stage), read)?;
    Ok(judge(load, &fed, &got, Missed::Nothing))
}
