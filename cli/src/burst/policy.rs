//! The rows: who does what when there is no room.

use super::bus::{self, EVICT_AFTER, Lagging, Run, Verb};
use super::judge::Tally;
use super::load::Load;
use super::peers::{self, Full};
use crate::payload::PayloadSize;
use crate::scenario::Setup;
use ringway::OnLag;

/// What happens when the reader is slower than a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// `publish`: the producer waits.
    Publish,
    /// `try_publish`: the producer gets the event back.
    TryPublish,
    /// `publish_deadline`: the producer waits until the event is five milliseconds late, and gets it back.
    PublishDeadline,
    /// `publish_or_drop`: the event is dropped, and counted.
    PublishOrDrop,
    /// A tap under `OnLag::Skip`: the reader misses events.
    TapSkip,
    /// A tap under `OnLag::Evict`: producers wait for five milliseconds, then the reader is out.
    TapEvict,
    /// A tap under `OnLag::Replay`: the reader reads on in a journal, which the bus has for that.
    TapReplay,
    /// A reader that joins the running bus: the producer waits for it from then on.
    Subscribe,
    /// crossbeam-channel, `send` on a bounded channel.
    CrossbeamSend,
    /// crossbeam-channel, `try_send`.
    CrossbeamTrySend,
    /// tokio's bounded `mpsc`, `blocking_send`.
    TokioSend,
    /// tokio's bounded `mpsc`, `try_send`.
    TokioTrySend,
}

/// One run, and the memory that it took for events.
pub(super) struct Trial {
    pub(super) tally: Tally,
    pub(super) memory_bytes: u64,
}

impl Policy {
    /// All, in the order of the table.
    pub const ALL: [Self; 12] = [
        Self::Publish,
        Self::PublishDeadline,
        Self::TryPublish,
        Self::PublishOrDrop,
        Self::TapSkip,
        Self::TapEvict,
        Self::TapReplay,
        Self::Subscribe,
        Self::CrossbeamSend,
        Self::CrossbeamTrySend,
        Self::TokioSend,
        Self::TokioTrySend,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::TryPublish => "try_publish",
            Self::PublishDeadline => "publish_deadline",
            Self::PublishOrDrop => "publish_or_drop",
            Self::TapSkip => "tap_skip",
            Self::TapEvict => "tap_evict",
            Self::TapReplay => "tap_replay",
            Self::Subscribe => "subscribe",
            Self::CrossbeamSend => "crossbeam_send",
            Self::CrossbeamTrySend => "crossbeam_try_send",
            Self::TokioSend => "tokio_send",
            Self::TokioTrySend => "tokio_try_send",
        }
    }

    /// How many threads it keeps busy: producer, slow reader, and what a lagging reader stands beside: a stage, and the journal.
    #[must_use]
    pub const fn threads(self) -> usize {
        match self.lagging() {
            Some(Lagging::Tap(OnLag::Replay)) => 4,
            Some(_) => 3,
            None => 2,
        }
    }

    /// Whether it is one of this library's.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        self.peer().is_none()
    }

    const fn lagging(self) -> Option<Lagging> {
        match self {
            Self::TapSkip => Some(Lagging::Tap(OnLag::Skip)),
            Self::TapEvict => Some(Lagging::Tap(OnLag::Evict { after: EVICT_AFTER })),
            Self::TapReplay => Some(Lagging::Tap(OnLag::Replay)),
            Self::Subscribe => Some(Lagging::Subscriber),
            _ => None,
        }
    }

    const fn peer(self) -> Option<Full> {
        match self {
            Self::CrossbeamSend | Self::TokioSend => Some(Full::Waits),
            Self::CrossbeamTrySend | Self::TokioTrySend => Some(Full::Refuses),
            _ => None,
        }
    }

    const fn verb(self) -> Verb {
        match self {
            Self::TryPublish => Verb::TryPublish,
            Self::PublishDeadline => Verb::Deadline,
            Self::PublishOrDrop => Verb::OrDrop,
            _ => Verb::Publish,
        }
    }

    pub(super) fn run(self, load: &Load, setup: &Setup) -> Result<Trial, ringway::Error> {
        match setup.payload {
            PayloadSize::Bytes8 => self.run_of::<1>(load, setup),
            PayloadSize::Bytes16 => self.run_of::<2>(load, setup),
            PayloadSize::Bytes64 => self.run_of::<8>(load, setup),
            PayloadSize::Bytes256 => self.run_of::<32>(load, setup),
        }
    }

    fn run_of<const WORDS: usize>(
        self,
        load: &Load,
        setup: &Setup,
    ) -> Result<Trial, ringway::Error> {
        // as the ring rounds it
        let capacity = setup.capacity.next_power_of_two();
        let event = setup.payload.bytes() as u64;
        let (tally, slots) = match (self, self.peer(), self.lagging()) {
            (Self::CrossbeamSend | Self::CrossbeamTrySend, Some(full), _) => {
                let tally = peers::crossbeam::<WORDS>(full, load, setup, capacity)?;
                (tally, capacity as u64)
            }
            (_, Some(full), _) => {
                let tally = peers::tokio::<WORDS>(full, load, setup, capacity)?;
                let most = tally.waiting_max;
                (tally, most)
            }
            (_, None, Some(lagging)) => {
                let Run { tally, slots } = bus::beside::<WORDS>(lagging, load, setup)?;
                (tally, slots)
            }
            (_, None, None) => {
                let Run { tally, slots } = bus::stream::<WORDS>(self.verb(), load, setup)?;
                (tally, slots)
            }
        };
        Ok(Trial {
            tally,
            memory_bytes: slots * event,
        })
    }
}
