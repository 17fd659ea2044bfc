//! The others: each library through its own calls, as [`Sink`](crate::queue::Sink), [`Source`](crate::queue::Source) and
//! [`Queue`](crate::queue::Queue).

pub(crate) mod blocking;
pub(crate) mod channels;
pub(crate) mod disruptor;
pub(crate) mod gil;
pub(crate) mod photon;
pub(crate) mod rings;
