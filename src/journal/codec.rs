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
