//! How events become bytes.

use crate::error::StageError;
use std::marker::PhantomData;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// How the events of a journal become bytes and come back. Pure: the same bytes for the same event, on every machine.
///
/// A codec that fails or panics is a journal failure: see [`OnJournalError`](crate::OnJournalError).
///
/// ```
/// use ringway::{Codec, StageError};
///
/// /// A text as its UTF-8.
/// struct Text;
/// impl Codec for Text {
///     type Event = String;
///     fn id(&self) -> u64 { u64::from_le_bytes(*b"my text1") }
///     fn encode(&self, event: &String, bytes: &mut Vec<u8>) -> Result<(), StageError> {
///         bytes.extend_from_slice(event.as_bytes());
///         Ok(())
///     }
///     fn decode(&self, bytes: &[u8]) -> Result<String, StageError> {
///         Ok(std::str::from_utf8(bytes)?.to_owned())
///     }
/// }
/// ```
pub trait Codec: Send + Sync + 'static {
    /// What is recorded.
    type Event;

    /// Names the encoding, with its version: a journal opens only with the codec that it was made with.
    fn id(&self) -> u64;

    /// How many bytes every event takes; 0: it varies, and each event's length is recorded.
    fn event_bytes(&self) -> u32 {
        0
    }

    /// Appends the event to `bytes`, which may hold others before it.
    ///
    /// # Errors
    /// Whatever it likes.
    fn encode(&self, event: &Self::Event, bytes: &mut Vec<u8>) -> Result<(), StageError>;

    /// Makes an event of what [`encode`](Self::encode) appended for it.
    ///
    /// # Errors
    /// Whatever it likes.
    fn decode(&self, bytes: &[u8]) -> Result<Self::Event, StageError>;
}

/// Plain data, recorded as it lies in memory: numbers, arrays, `#[repr(C)]` structs without padding. No time is spent on encoding.
///
/// A journal of it is for machines of one byte order, as is the event type's own layout: bring
/// [`zerocopy`](https://docs.rs/zerocopy)'s derives for structs, and its `byteorder` types to be independent of that.
pub struct Plain<T> {
    id: u64,
    event: PhantomData<fn() -> T>,
}

impl<T> Plain<T> {
    /// The codec of any plain type of this size. Types of one size are not told apart: see [`with_id`](Self::with_id).
    #[must_use]
    pub const fn new() -> Self {
        Self::with_id(u64::from_le_bytes(*b"plain\0\0\0"))
    }

    /// The same with an id of your own: change it whenever the type's fields change their meaning.
    #[must_use]
    pub const fn with_id(id: u64) -> Self {
        Self {
            id,
            event: PhantomData,
        }
    }
}

impl<T> Default for Plain<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> std::fmt::Debug for Plain<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plain").field("id", &self.id).finish()
    }
}

impl<T: FromBytes + IntoBytes + Immutable + 'static> Codec for Plain<T> {
    type Event = T;

    fn id(&self) -> u64 {
        self.id
    }

    fn event_bytes(&self) -> u32 {
        // a larger event than fits is refused by the journal, which finds that it is not encoded in so many bytes
        u32::try_from(size_of::<T>()).unwrap_or(u32::MAX)
    }

    #[inline]
    fn encode(&self, event: &T, bytes: &mut Vec<u8>) -> Result<(), StageError> {
        bytes.extend_from_slice(event.as_bytes());
        Ok(())
    }

    #[inline]
    fn decode(&self, bytes: &[u8]) -> Result<T, StageError> {
        T::read_from_bytes(bytes).map_err(|_| {
            let (found, expected) = (bytes.len(), size_of::<T>());
            format!("the record has {found} bytes, the event {expected}").into()
        })
    }
}

/// Byte strings of any length, as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bytes;

impl Codec for Bytes {
    type Event = Vec<u8>;

    fn id(&self) -> u64 {
        u64::from_le_bytes(*b"bytes\0\0\0")
    }

    fn encode(&self, event: &Vec<u8>, bytes: &mut Vec<u8>) -> Result<(), StageError> {
        bytes.extend_from_slice(event);
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, StageError> {
        Ok(bytes.to_vec())
    }
}

/// Events of any type that [`serde`](https://docs.rs/serde) knows, in the compact form of [`postcard`](https://docs.rs/postcard): an integer takes as
/// many bytes as it needs. Behind the feature `postcard`.
///
/// The form has neither names nor types in it: fields are read back in the order in which they stand. So a type that changes asks for another
/// id, [`with_id`](Self::with_id); variants added behind the last one of an enum do not.
///
/// ```
/// # let directory = std::env::temp_dir().join(format!("ringway-doc-postcard-{}", std::process::id()));
/// # let path = directory.as_path();
/// use ringway::{BusConfig, Journal, JournalConfig, Postcard, Topology};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// enum Event { Opened { account: u64, owner: String }, Paid { account: u64, cents: i64 } }
///
/// let open = || Journal::open(path, JournalConfig::default(), Postcard::<Event>::new());
/// let mut topology = Topology::single(BusConfig::default(), || Event::Paid { account: 0, cents: 0 })?;
/// topology.stage("journal").journal(open()?);
/// let (bus, mut producer) = topology.start()?;
/// producer.publish(Event::Opened { account: 7, owner: "Ada".into() })?;
/// drop(producer);
/// bus.shutdown()?;
///
/// let journal = open()?;
/// let recorded = journal.replay(journal.first())?.next().expect("one was recorded")?;
/// assert_eq!(recorded.event, Event::Opened { account: 7, owner: "Ada".into() });
/// # drop(journal);
/// # let _ = std::fs::remove_dir_all(directory);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "postcard")]
pub struct Postcard<T> {
    id: u64,
    event: PhantomData<fn() -> T>,
}

#[cfg(feature = "postcard")]
mod postcard_codec {
    use super::{Codec, PhantomData, Postcard, StageError};
    use postcard::ser_flavors::Flavor;
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    impl<T> Postcard<T> {
        /// The codec of any such type. Types are not told apart: see [`with_id`](Self::with_id).
        #[must_use]
        pub const fn new() -> Self {
            Self::with_id(u64::from_le_bytes(*b"postcard"))
        }

        /// The same with an id of your own: change it whenever the type changes.
        #[must_use]
        pub const fn with_id(id: u64) -> Self {
            Self {
                id,
                event: PhantomData,
            }
        }
    }

    impl<T> Default for Postcard<T> {
        fn default() -> Self {
            Self::new()
        }
    }

    impl<T> std::fmt::Debug for Postcard<T> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("Postcard").field("id", &self.id).finish()
        }
    }

    impl<T: Serialize + DeserializeOwned + 'static> Codec for Postcard<T> {
        type Event = T;

        fn id(&self) -> u64 {
            self.id
        }

        fn encode(&self, event: &T, bytes: &mut Vec<u8>) -> Result<(), StageError> {
            postcard::serialize_with_flavor(event, Append(bytes))
                .map_err(|error| format!("the event cannot be encoded: {error}").into())
        }

        fn decode(&self, bytes: &[u8]) -> Result<T, StageError> {
            let (event, rest) = postcard::take_from_bytes(bytes)
                .map_err(|error| format!("the record is no such event: {error}"))?;
            if rest.is_empty() {
                Ok(event)
            } else {
                let (all, rest) = (bytes.len(), rest.len());
                Err(format!("the record has {all} bytes, the event {}", all - rest).into())
            }
        }
    }

    /// Writes behind what is there already, without a buffer between.
    struct Append<'b>(&'b mut Vec<u8>);

    impl Flavor for Append<'_> {
        type Output = ();

        fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
            self.0.push(byte);
            Ok(())
        }

        fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }

        fn finalize(self) -> postcard::Result<()> {
            Ok(())
        }
    }
}
