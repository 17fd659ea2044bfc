//! Named, typed topics: how parts of a service find a bus without knowing each other.
//!
//! A broker knows a bus by what [`WeakBus`] has of it, which keeps nothing open or alive. Whether a topic can still be joined is therefore
//! asked of the bus itself, at each call: a broker writes down nothing that could be out of date.
//!
//! **Its lock** guards the map and nothing else. A bus is looked at, and let go, only without it: the ring of one that ends meanwhile is dropped
//! by whoever looks at it last, with what events there are, and a drop of the user's may call the broker.

use crate::bus::{Bus, WeakBus};
use crate::config::{OnLag, SubscribeConfig};
use crate::consumer::{Consumer, Tap};
use crate::error::{Error, ErrorKind};
use crate::producer::{Multi, Producer};
use crate::sequence::Sequence;
use std::any::{Any, type_name};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// How many topics the text of an error lists.
const LISTED_MAX: usize = 8;

/// Topics: buses by name. Clones are the same broker; any thread may use it.
///
/// Whoever builds a bus [`register`](Self::register)s it; others [`subscribe`](Self::subscribe), [`tap`](Self::tap) it, or ask for a
/// [`producer`](Self::producer), knowing no more than the name and the type of the events. There may be any number of brokers; none is global.
///
/// **It keeps no bus open and none alive**, nor its journal. A topic ends as its bus does: when the last producer is dropped, or it is closed or halted, or
/// nobody is left to read it (and [`OnUnread`](crate::OnUnread) does not say otherwise). From then on each verb answers [`TopicEnded`](ErrorKind::TopicEnded), and the name may be registered again. What
/// a broker hands out is an end like any other: *a producer that somebody keeps, keeps the bus open*. Of a topic that has ended a broker keeps the
/// name and no event, some kilobytes at most, until it is registered anew or [unregistered](Self::unregister).
///
/// **Cost.** Each call takes a lock and looks a name up, and so takes about a microsecond; joining as a reader takes what
/// [`Bus::subscribe`] says. It is there for the start of a part, not for each event: what it hands out is as fast as any other end.
///
/// ```
/// use ringway::{Broker, BusConfig, ErrorKind, SubscribeConfig, Topology};
///
/// let broker = Broker::new();
/// let mut topology = Topology::multi(BusConfig::default(), || 0_u64)?;
/// topology.stage("log").handle(|_, _| {});
/// let (bus, producer) = topology.start()?;
/// broker.register("readings", &bus)?;
///
/// // somewhere else
/// let mut readings = broker.subscribe::<u64>("readings", "alarm", SubscribeConfig::default())?;
/// broker.producer::<u64>("readings")?.publish(7)?;
/// assert!(readings.read()?.iter().eq(&[7]));
///
/// // the last producer is gone, although the broker is there
/// drop(producer);
/// assert_eq!(broker.producer::<u64>("readings").unwrap_err().kind(), ErrorKind::TopicEnded);
/// bus.shutdown()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Broker {
    topics: Arc<RwLock<BTreeMap<String, Registered>>>,
}

/// What a broker knows of a topic.
#[derive(Clone)]
struct Registered {
    bus: Arc<dyn Watched>,
    event: &'static str,
}

/// A [`WeakBus`] of any type.
trait Watched: Any + Send + Sync {
    fn is_open(&self) -> bool;
}

impl<T: Send + 'static> Watched for WeakBus<T> {
    fn is_open(&self) -> bool {
        self.upgrade().is_some_and(|bus| bus.is_open())
    }
}

/// A topic, as [`Broker::topics`] found it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// The type of its events, as [`type_name`] tells it: for people.
    pub event: &'static str,
    /// Whether it can be joined.
    pub state: TopicState,
}

/// Whether a [`Topic`] can be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TopicState {
    /// Events may come.
    Open,
    /// Its bus has ended, or is closed and drains. It stays so; the name may be registered again.
    Ended,
}

impl Broker {
    /// A broker without topics.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a running bus known by this name. A topic of that name that has ended is replaced, whatever its type.
    ///
    /// Of a bus with a [single](crate::Topology::single) producer others may become readers, but get no [`producer`](Self::producer).
    /// A bus may have several names.
    ///
    /// # Errors
    /// [`DuplicateTopic`](ErrorKind::DuplicateTopic): the name is that of a topic that has not ended.
    /// [`TopicEnded`](ErrorKind::TopicEnded): the bus is closed already.
    /// [`InvalidConfig`](ErrorKind::InvalidConfig): an empty name.
    pub fn register<T: Send + 'static>(
        &self,
        name: impl Into<String>,
        bus: &Bus<T>,
    ) -> Result<(), Error> {
        let name = name.into();
        if name.is_empty() {
            let accepted = "any text, at least one character";
            return Err(Error::out_of_range("name of the topic", "\"\"", accepted));
        }
        if !bus.is_open() {
            return Err(ended(&name));
        }
        let registered = Registered {
            bus: Arc::new(WeakBus::new(bus)),
            event: type_name::<T>(),
        };
        let mut gone = None;
        while let Some(present) = self.insert(&name, &registered, gone.as_ref()) {
            if present.bus.is_open() {
                let text = format!(
                    "topic `{name}` is registered, with events of type `{}`, and has not ended: choose another name, or unregister it first",
                    present.event
                );
                return Err(Error::new(ErrorKind::DuplicateTopic, text));
            }
            gone = Some(present);
        }
        Ok(())
    }

    /// Inserts a topic unless there is one of that name, other than `gone`, which it returns then.
    fn insert(
        &self,
        name: &str,
        new: &Registered,
        gone: Option<&Registered>,
    ) -> Option<Registered> {
        let mut topics = self.write();
        match topics.get(name) {
            Some(present) if gone.is_none_or(|gone| !Arc::ptr_eq(&gone.bus, &present.bus)) => {
                Some(present.clone())
            }
            _ => {
                let replaced = topics.insert(name.to_owned(), new.clone());
                drop(topics); // before what was replaced
                drop(replaced);
                None
            }
        }
    }

    /// Forgets a topic; what was handed out goes on. Returns whether there was one.
    pub fn unregister(&self, name: &str) -> bool {
        let removed = self.write().remove(name);
        removed.is_some() // dropped only now, without the lock
    }

    /// The topics that are registered, those that have ended included, by name.
    #[must_use]
    pub fn topics(&self) -> Vec<Topic> {
        let topics = self.read().clone();
        let look = |(name, Registered { bus, event })| Topic {
            name,
            event,
            state: if bus.is_open() {
                TopicState::Open
            } else {
                TopicState::Ended
            },
        };
        topics.into_iter().map(look).collect()
    }

    /// Another producer of a topic's bus. It keeps the bus open until it is dropped, as every producer does, and waits as was declared for all of
    /// them ([`Topology::producer_wait`](crate::Topology::producer_wait)).
    ///
    /// Where it races with the drop of the last one: either it comes before, and what it publishes is delivered, or the topic has ended.
    ///
    /// # Errors
    /// [`UnknownTopic`](ErrorKind::UnknownTopic), [`TopicType`](ErrorKind::TopicType), [`TopicEnded`](ErrorKind::TopicEnded).
    /// [`SingleProducer`](ErrorKind::SingleProducer): the bus was built by [`Topology::single`](crate::Topology::single).
    pub fn producer<T: Send + 'static>(&self, topic: &str) -> Result<Producer<T, Multi>, Error> {
        let bus = self.find(topic)?;
        if !bus.is_open() {
            return Err(ended(topic));
        }
        if !bus.is_multi() {
            let text = format!(
                "topic `{topic}` has a single producer, which whoever built its bus holds: build it by Topology::multi to let others publish"
            );
            return Err(Error::new(ErrorKind::SingleProducer, text));
        }
        bus.join_producers().ok_or_else(|| ended(topic))
    }

    /// A reader called `reader` that joins a topic's bus: see [`Bus::subscribe`]. It holds producers back, and sees every event from now on.
    ///
    /// # Errors
    /// [`UnknownTopic`](ErrorKind::UnknownTopic), [`TopicType`](ErrorKind::TopicType), [`TopicEnded`](ErrorKind::TopicEnded); and those of
    /// [`Bus::subscribe`], but for `Closed`: of those [`DuplicateStage`](ErrorKind::DuplicateStage) says that another reader of the bus is called so.
    pub fn subscribe<T: Send + Sync + 'static>(
        &self,
        topic: &str,
        reader: impl Into<String>,
        config: SubscribeConfig,
    ) -> Result<Consumer<T>, Error> {
        let bus = self.find::<T>(topic)?;
        bus.subscribe(reader, config)
            .map_err(|error| of_topic(topic, error))
    }

    /// A tap called `tap` that joins a topic's bus: see [`Bus::tap`]. It gets copies, and holds nobody back, but under [`OnLag::Evict`] for the
    /// time given there.
    ///
    /// Under [`OnLag::Replay`] the tap has the bus's journal open, until it is dropped; the broker has not.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe). [`JournalMisplaced`](ErrorKind::JournalMisplaced): it shall replay, and there is no journal that it
    /// can read; nor is there one that has failed, once the [`Bus`] is dropped.
    pub fn tap<T: Clone + Send + Sync + 'static>(
        &self,
        topic: &str,
        tap: impl Into<String>,
        on_lag: OnLag,
    ) -> Result<Tap<T>, Error> {
        let known = self.known::<T>(topic)?;
        let bus = match on_lag {
            OnLag::Replay => known.upgrade_with_archive(),
            OnLag::Skip | OnLag::Evict { .. } => known.upgrade(),
        };
        let bus = bus.ok_or_else(|| ended(topic))?;
        bus.tap(tap, on_lag).map_err(|error| of_topic(topic, error))
    }

    /// A tap called `tap` that reads the journal of a topic's bus from `sequence` on, then goes over to the running bus: see [`Bus::tap_from`].
    ///
    /// ```
    /// use ringway::{Broker, BusConfig, Journal, JournalConfig, Plain, Sequence, Topology};
    /// # let path = std::env::temp_dir().join(format!("ringway-doc-broker-tap-{}", std::process::id()));
    /// let journal = Journal::open(&path, JournalConfig::default(), Plain::<u64>::new())?;
    /// let mut topology = Topology::multi(BusConfig { capacity: 4, ..BusConfig::default() }, || 0)?;
    /// topology.stage("journal").journal(journal);
    /// let (bus, mut producer) = topology.start()?;
    /// let broker = Broker::new();
    /// broker.register("orders", &bus)?;
    /// producer.publish_batch((0..100).collect::<Vec<_>>())?; // far more than the ring holds
    ///
    /// // somewhere else
    /// let mut audit = broker.tap_from::<u64>("orders", "audit", Sequence::new(0))?;
    /// drop(producer);
    /// bus.shutdown()?;
    /// let mut all = Vec::new();
    /// while let Ok(batch) = audit.read() {
    ///     all.extend(batch.into_vec());
    /// }
    /// assert_eq!(all, (0..100).collect::<Vec<_>>());
    /// # let _ = std::fs::remove_dir_all(path);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`tap`](Self::tap), and those of [`Bus::tap_from`].
    pub fn tap_from<T: Clone + Send + Sync + 'static>(
        &self,
        topic: &str,
        tap: impl Into<String>,
        sequence: Sequence,
    ) -> Result<Tap<T>, Error> {
        let bus = self.known::<T>(topic)?.upgrade_with_archive();
        let bus = bus.ok_or_else(|| ended(topic))?;
        bus.tap_from(tap, sequence)
            .map_err(|error| of_topic(topic, error))
    }

    /// The bus of a topic, if nobody has ended it so far.
    fn find<T: Send + 'static>(&self, topic: &str) -> Result<Bus<T>, Error> {
        let bus = self.known::<T>(topic)?.upgrade();
        bus.ok_or_else(|| ended(topic))
    }

    /// What is known of a topic with events of this type.
    fn known<T: Send + 'static>(&self, topic: &str) -> Result<Arc<WeakBus<T>>, Error> {
        let topics = self.read();
        let Some(Registered { bus, event }) = topics.get(topic).cloned() else {
            return Err(unknown(topic, &topics));
        };
        drop(topics);
        let bus: Arc<dyn Any + Send + Sync> = bus;
        bus.downcast::<WeakBus<T>>().map_err(|_| {
            let text = format!(
                "topic `{topic}` has events of type `{event}`, not of type `{}`",
                type_name::<T>()
            );
            Error::new(ErrorKind::TopicType, text)
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Registered>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Registered>> {
        self.topics.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = self.read().clone();
        let events = events.iter().map(|(name, topic)| (name, topic.event));
        f.debug_map().entries(events).finish()
    }
}

fn ended(topic: &str) -> Error {
    let text = format!(
        "the bus of topic `{topic}` has ended: its last producer is gone, or it was closed or halted, or nobody is left to read it"
    );
    Error::new(ErrorKind::TopicEnded, text)
}

fn unknown(topic: &str, known: &BTreeMap<String, Registered>) -> Error {
    let text = if known.is_empty() {
        format!("there is no topic `{topic}`: none is registered")
    } else {
        let names = known.keys().take(LISTED_MAX).map(String::as_str);
        let more = known.len().saturating_sub(LISTED_MAX);
        let and_more = match more {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let names = names.collect::<Vec<_>>().join(", ");
        format!("there is no topic `{topic}`: registered are {names}{and_more}")
    };
    Error::new(ErrorKind::UnknownTopic, text)
}

/// Why a reader could not join a topic, for somebody who does not know its bus.
fn of_topic(topic: &str, error: Error) -> Error {
    if error.kind() == ErrorKind::Closed {
        return ended(topic);
    }
    error.within(format_args!("topic `{topic}`"))
}
