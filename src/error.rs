//! Errors: one tiny enum for each verb that moves events, one [`Error`] for everything else.

use std::error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a fallible handler returns: any error, by `?` or `.into()`.
pub type StageError = Box<dyn error::Error + Send + Sync>;

/// Implements what the three publishing errors share. `Debug` needs no `T: Debug`, so `unwrap` and `?` work for any event.
macro_rules! carries_event {
    ($name:ident { $($variant:ident => $text:literal),+ }) => {
        impl<T> $name<T> {
            /// The event that was not published.
            pub fn into_event(self) -> T {
                match self { $(Self::$variant(event))|+ => event }
            }

            /// The same error without the event: `'static` whatever `T` is, so that `?` can box it.
            pub fn without_event(self) -> $name<()> {
                match self { $(Self::$variant(_) => $name::$variant(())),+ }
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant(_) => concat!(stringify!($variant), "(..)")),+ })
            }
        }

        impl<T> fmt::Display for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant(_) => $text),+ })
            }
        }

        impl<T> error::Error for $name<T> {}
    };
}

const CLOSED: &str = "the bus is closed";

/// Why [`publish`](crate::Producer::publish) did not publish; gives the event back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PublishError<T> {
    /// The bus was closed or halted, or nobody is left to read.
    Closed(T),
    /// The ring is full, and this thread itself may keep it so: it runs a handler of this bus or holds a claim.
    WouldDeadlock(T),
}

/// Why [`try_publish`](crate::Producer::try_publish) did not publish; gives the event back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TryPublishError<T> {
    /// There is no room now.
    Full(T),
    /// The bus was closed or halted, or nobody is left to read.
    Closed(T),
}

/// Why [`publish_deadline`](crate::Producer::publish_deadline) did not publish; gives the event back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PublishDeadlineError<T> {
    /// There was no room up to the deadline.
    TimedOut(T),
    /// The bus was closed or halted, or nobody is left to read.
    Closed(T),
    /// The ring is full, and this thread itself may keep it so: it runs a handler of this bus or holds a claim.
    WouldDeadlock(T),
}

carries_event!(PublishError {
    Closed => "the bus is closed",
    WouldDeadlock => "the ring is full and this thread, which runs a handler of the bus or holds a claim, might wait for itself"
});
carries_event!(TryPublishError { Full => "the ring is full", Closed => "the bus is closed" });
carries_event!(PublishDeadlineError {
    TimedOut => "the ring stayed full up to the deadline",
    Closed => "the bus is closed",
    WouldDeadlock => "the ring is full and this thread, which runs a handler of the bus or holds a claim, might wait for itself"
});

/// Why nothing was claimed, or why a batch stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimError {
    /// None, or more than the ring holds: it could never be granted.
    TooLarge {
        /// How many were asked for.
        count: usize,
        /// How many the ring holds.
        capacity: usize,
    },
    /// There is no room now.
    Full,
    /// There was no room up to the deadline.
    TimedOut,
    /// The bus was closed or halted, or nobody is left to read.
    Closed,
    /// The ring is full, and this thread itself may keep it so: it runs a handler of this bus or holds a claim.
    WouldDeadlock,
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { count, capacity } => {
                write!(f, "a claim of {count} events is never granted: claim between 1 and the capacity, {capacity}")
            }
            Self::Full => f.write_str("the ring is full"),
            Self::TimedOut => f.write_str("the ring stayed full up to the deadline"),
            Self::Closed => f.write_str(CLOSED),
            Self::WouldDeadlock => f.write_str("the ring is full and this thread, which runs a handler of the bus or holds a claim, might wait for itself"),
        }
    }
}

impl error::Error for ClaimError {}

/// A batch that was published in part: the first [`published`](Self::published) events are out, in order; of a slice the
/// rest is still the caller's, of an iterator nothing more was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchError {
    /// How many events were published.
    pub published: usize,
    /// Why it stopped; never [`TooLarge`](ClaimError::TooLarge).
    pub reason: ClaimError,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} after {} events of the batch",
            self.reason, self.published
        )
    }
}

impl error::Error for BatchError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.reason)
    }
}

/// Why a reader gets no more events, ever.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The bus was closed, and everything published was delivered.
    Drained,
    /// The bus was halted: what was still in the ring is not delivered.
    Halted,
    /// A stage that this one depends on ended early; everything that passed it was delivered.
    Upstream {
        /// The name of the stage that ended.
        stage: String,
    },
    /// A [`Tap`](crate::Tap) lagged so far behind that producers would have had to wait any longer: see [`OnLag::Evict`](crate::OnLag::Evict).
    Evicted {
        /// How many sequences it had not read when it found out.
        lag: u64,
        /// How long producers had waited for it.
        after: Duration,
    },
    /// A [`Tap`](crate::Tap) that lagged could not read on in the journal: see [`OnLag::Replay`](crate::OnLag::Replay).
    Unreadable {
        /// What is wrong with the journal, and where.
        reason: String,
    },
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drained => f.write_str("the bus was closed and is drained"),
            Self::Halted => f.write_str("the bus was halted"),
            Self::Upstream { stage } => {
                write!(f, "stage `{stage}`, which this one depends on, ended early")
            }
            Self::Unreadable { reason } => write!(
                f,
                "the tap lagged, and the journal cannot be read: {reason}"
            ),
            Self::Evicted { lag, after } => {
                write!(
                    f,
                    "the tap held producers back for {after:?} and was evicted, {lag} sequences behind"
                )
            }
        }
    }
}

impl error::Error for Ended {}

/// Why [`try_read`](crate::Consumer::try_read) returned nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TryReadError {
    /// Nothing to read now.
    Empty,
    /// Nothing will come any more.
    Ended(Ended),
}

impl fmt::Display for TryReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("nothing to read now"),
            Self::Ended(ended) => ended.fmt(f),
        }
    }
}

impl error::Error for TryReadError {}

/// Why [`read_deadline`](crate::Consumer::read_deadline) returned nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadDeadlineError {
    /// Nothing came up to the deadline.
    TimedOut,
    /// Nothing will come any more.
    Ended(Ended),
}

impl ReadDeadlineError {
    /// The error of a read that waits as long as it takes.
    pub(crate) fn without_deadline(self) -> Ended {
        match self {
            Self::Ended(ended) => ended,
            Self::TimedOut => unreachable!("there is no deadline"),
        }
    }
}

impl fmt::Display for ReadDeadlineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("nothing to read up to the deadline"),
            Self::Ended(ended) => ended.fmt(f),
        }
    }
}

impl error::Error for ReadDeadlineError {}

/// Why an event is not known to be durable, or never will be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DurabilityError {
    /// The journal failed before it was; what it wrote stays, and a restart recovers that.
    Failed(Arc<Error>),
    /// The journal has ended before it: the bus was halted, or closed with fewer events, or a stage that the journal comes after ended early.
    Ended,
    /// It was not up to the deadline.
    TimedOut,
    /// This thread runs a handler of the bus or holds a claim, so the journal might wait for it.
    WouldDeadlock,
    /// The bus has no journal.
    NoJournal,
}

impl fmt::Display for DurabilityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "the journal failed: {error}"),
            Self::Ended => f.write_str("the journal ended before the event was durable"),
            Self::TimedOut => f.write_str("the event was not durable up to the deadline"),
            Self::WouldDeadlock => f.write_str("the event is not durable yet and this thread, which runs a handler of the bus or holds a claim, might wait for itself"),
            Self::NoJournal => f.write_str("the bus has no journal"),
        }
    }
}

impl error::Error for DurabilityError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Failed(error) => Some(&**error),
            _ => None,
        }
    }
}

/// Everything that can go wrong outside the data plane: building, starting, ending a bus.
///
/// [`kind`](Self::kind) is for programs; the text names the field or stage, the value, and what is accepted.
pub struct Error {
    kind: ErrorKind,
    text: String,
    stage: Option<String>,
    discarded: Option<u64>,
    source: Option<Arc<dyn error::Error + Send + Sync>>,
}

/// What an [`Error`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A field of a config struct, or an argument, is outside its range.
    InvalidConfig,
    /// The slots do not fit into memory.
    CapacityTooLarge,
    /// Two stages of one name, or a reader that joins by a name that is taken.
    DuplicateStage,
    /// `.after` was given a token of another topology.
    ForeignStage,
    /// A topology without a stage.
    NoStages,
    /// More stages (keyed members count) and readers that joined than `stages_max`.
    TooManyStages,
    /// Nothing can join the bus: it was closed or halted, or nobody was left to read.
    Closed,
    /// A stage that edits events has ended, so nothing gets to whoever would join behind it.
    StageEnded,
    /// A [`Broker`](crate::Broker) knows no topic of this name: the text lists those that it knows.
    UnknownTopic,
    /// A topic of this name is registered, and its bus has not ended.
    DuplicateTopic,
    /// The events of a topic are of another type: the text names both.
    TopicType,
    /// The bus of a topic has ended, or is closed already.
    TopicEnded,
    /// A topic's bus has a single producer, which there is only one of.
    SingleProducer,
    /// A stage that edits events runs beside one that may read them at the same time.
    MutationRace,
    /// A stage is pinned to a core that this process cannot use.
    NoSuchCore,
    /// More threads spin than there are cores for them.
    TooManySpinners,
    /// `start()` was called from a thread that is pinned to fewer cores than the process has.
    PinnedStart,
    /// A thread could not be started.
    Spawn,
    /// A handler panicked or returned an error.
    StageFailed,
    /// The bus was halted by request: see [`Error::discarded`].
    Halted,
    /// A deadline passed before all stages had ended.
    TimedOut,
    /// The calling thread might wait for itself.
    WouldDeadlock,
    /// The system refused something about a journal's files: the text names the file and where in it.
    JournalIo,
    /// A journal is damaged where it must not be: the text names segment, offset and sequence.
    JournalCorrupt,
    /// Another process, or another part of this one, writes to the journal.
    JournalLocked,
    /// A journal was made with another codec or event size, or by a newer version.
    JournalMismatch,
    /// A codec failed on an event.
    Codec,
    /// More than one journal in a topology, or events of it that are not the topology's.
    JournalMisplaced,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            stage: None,
            discarded: None,
            source: None,
        }
    }

    /// The usual text of a value outside its range.
    pub(crate) fn out_of_range(
        field: &str,
        value: impl fmt::Display,
        accepted: impl fmt::Display,
    ) -> Self {
        Self::new(
            ErrorKind::InvalidConfig,
            format!("{field} is {value}: accepted is {accepted}"),
        )
    }

    /// The same text, with where it was before it.
    pub(crate) fn within(mut self, place: impl fmt::Display) -> Self {
        self.text = format!("{place}: {}", self.text);
        self
    }

    pub(crate) fn with_stage(mut self, stage: impl Into<String>) -> Self {
        self.stage = Some(stage.into());
        self
    }

    pub(crate) fn with_discarded(mut self, discarded: u64) -> Self {
        self.discarded = Some(discarded);
        self
    }

    pub(crate) fn with_source(mut self, source: Arc<dyn error::Error + Send + Sync>) -> Self {
        self.source = Some(source);
        self
    }

    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The stage it is about, if it is about one.
    #[must_use]
    pub fn stage(&self) -> Option<&str> {
        self.stage.as_deref()
    }

    /// After a halt: how many published sequences did not pass every stage.
    #[must_use]
    pub fn discarded(&self) -> Option<u64> {
        self.discarded
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn the_event_comes_back_whatever_it_is() {
        let text = String::from("a");
        assert_eq!(PublishError::Closed(text.as_str()).into_event(), "a");
        let boxed: Box<dyn error::Error + 'static> =
            Box::new(PublishDeadlineError::TimedOut(text.as_str()).without_event());
        assert!(boxed.to_string().contains("deadline"));
        assert_eq!(
            format!("{:?}", TryPublishError::Full(Cell::new(1))),
            "Full(..)"
        );
    }

    #[test]
    fn an_error_names_field_value_and_range() {
        let error = Error::out_of_range("batch_max", 0, "1 to 65536");
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert_eq!(error.to_string(), "batch_max is 0: accepted is 1 to 65536");
    }
}
