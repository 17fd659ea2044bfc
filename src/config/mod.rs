//! Plain config structs: public fields, `Default`, presets, one `validate()` that never corrects silently.

mod flow;
mod journal;

pub use flow::{Pressure, Smoothing};
pub use journal::{JournalConfig, OnJournalError, RecoveryMode, Retention, SyncPolicy};

use crate::error::{Error, ErrorKind};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The most slots a ring may have: 2^31, which every `usize` can hold.
const CAPACITY_MAX: usize = 1 << 31;
pub(crate) const BATCH_MAX: usize = 1 << 16;
const STAGES_MAX: usize = 1024;
const TAIL_PAUSES_MAX: u32 = 4096;

/// What a thread does while it has nothing to do. A value, chosen for each stage and for the producers.
///
/// | strategy | a hand-off costs | an idle thread costs | needs |
/// |---|---|---|---|
/// | `BusySpin` | least: about one cache-line transfer | a whole core | a core for each such thread |
/// | `Yield` | a little more | a whole core, given up to others that want it | – |
/// | `Backoff` | up to `sleep` when idle | little; wakes 1/`sleep` times a second | – |
/// | `Park` | a system call to the waker when idle, and the time the system takes to wake a thread | nothing | – |
/// | `Adaptive` | as `BusySpin` while events flow, as `Park` when idle | nothing | – |
///
/// Each publish or release tests one word, which says whether somebody sleeps. Where somebody may park (`Park`, `Adaptive`,
/// async ends) it also costs a full fence, about 10 ns, but on Linux only from the moment that one goes to sleep until it
/// has done without sleep for a while; going to sleep then interrupts, once, each core that runs a thread of the process
/// (`membarrier`). Where the system refuses that, as some containers do, the fence is always paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// Look again at once, for ever.
    BusySpin,
    /// Spin a little, then give the core to whoever wants it between looks.
    Yield,
    /// Spin, then yield, then sleep between looks. Nobody has to wake it.
    Backoff {
        /// Looks with a pause between them; default 64.
        spins: u32,
        /// Then looks with a yield between them; default 16.
        yields: u32,
        /// Then sleeps of this length; default 50 µs, at least 1 ns and at most 1 s.
        sleep: Duration,
    },
    /// Sleep until woken. Waking a thread costs the waker some microseconds.
    Park,
    /// Spin while that pays, then yield, then park: safe when threads outnumber cores. Waking it out of its
    /// sleep costs the waker some microseconds; how often that happened stands in [`BusStats`](crate::BusStats).
    #[default]
    Adaptive,
}

impl Wait {
    /// `Backoff` with its defaults: 64 spins, 16 yields, sleeps of 50 µs.
    #[must_use]
    pub const fn backoff() -> Self {
        Self::Backoff {
            spins: 64,
            yields: 16,
            sleep: Duration::from_micros(50),
        }
    }

    /// Whether a thread that waits so may sleep until somebody wakes it.
    pub(crate) const fn parks(self) -> bool {
        matches!(self, Self::Park | Self::Adaptive)
    }

    pub(crate) fn validate(self, field: &str) -> Result<(), Error> {
        match self {
            Self::Backoff { sleep, .. } if sleep.is_zero() || sleep > Duration::from_secs(1) => {
                Err(Error::out_of_range(
                    &format!("{field}: Backoff.sleep"),
                    format_args!("{sleep:?}"),
                    "1 ns to 1 s",
                ))
            }
            _ => Ok(()),
        }
    }
}

/// What happens when a handler panics or returns an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnPanic {
    /// The whole bus halts; `join` says which stage failed, and how many events were discarded.
    #[default]
    Halt,
    /// The stage ends before the event at hand; its dependants drain to there and end, independent stages go on.
    Retire,
    /// The event at hand counts as handled and the stage goes on. A `handle_mut` stage may have edited it by half.
    Skip,
}

/// What happens to a [`Tap`](crate::Tap) that lags so far behind that it keeps producers from going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnLag {
    /// It is moved on and misses what lies between; the next batch says how much that was.
    Skip,
    /// Producers wait for it, as for a stage, but no longer than this; then it ends with [`Ended::Evicted`](crate::Ended::Evicted).
    Evict {
        /// How long. It counts from when a producer first finds no room because of the tap, and anew once the tap has read a quarter of the
        /// ring since, or finds nothing left to read. So a tap that is slow, but reads a quarter of the ring in this time, stays, and so does one that
        /// reads everything as it comes. 0: producers do not wait at all.
        after: Duration,
    },
    /// It misses nothing: it reads on in the bus's journal until it has caught up, then in the ring again. Producers do not wait.
    Replay,
}

/// What `start()` does about threads that do not fit the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// A core that does not exist, or more busy-spinning threads than usable cores, is an error.
    Strict,
    /// A core that does not exist is an error; more busy-spinning threads than usable cores is a warning.
    #[default]
    Warn,
    /// Both are warnings; a stage whose core does not exist runs unpinned.
    BestEffort,
}

/// What producers do when nobody reads: every stage, and every reader that joined, has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnread {
    /// The bus closes for good: publishing answers `Closed`.
    #[default]
    Close,
    /// They go on, also when there are only taps from the start, and what they publish is lost unless somebody [joins](crate::Bus::subscribe) in time. Of several producers each
    /// then looks at the mark of every slot before it uses it again, read or not: some nanoseconds an event.
    Continue,
}

/// How a bus is built. The default is safe on any machine; the presets are starting points for tuning.
///
/// ```
/// use ringway::{BusConfig, Wait};
/// let config = BusConfig { capacity: 1 << 14, ..BusConfig::low_latency() };
/// assert_eq!(config.wait, Wait::BusySpin);
/// config.validate()?;
///
/// let error = BusConfig { capacity: 0, ..BusConfig::default() }.validate().unwrap_err();
/// assert!(error.to_string().starts_with("capacity is 0"));
/// # Ok::<(), ringway::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusConfig {
    /// Slots in the ring, in events: how far the slowest stage may lag before producers wait. Default 8,192; 1 to 2^31,
    /// rounded up to a power of two. Larger absorbs longer bursts; smaller stays in cache, and is fastest when the ring fits the
    /// second-level one.
    ///
    /// Memory: events of up to 28 bytes share cache lines with the marks that publish them, and take 8 bytes each if they have up to 7, 16
    /// up to 14, else 32; with one producer 2 or 4 if they have one, or up to 3. Larger ones take 8 to 16 bytes more than their size (more if
    /// aligned to more than 64), those without a size 8. Lines are whole, and a power of two of them: there are as many slots as the
    /// capacity or up to twice as many, but never fewer than one line's, that is eight of large events, and up to 56 of small ones.
    /// 512 bytes follow.
    pub capacity: usize,
    /// How stages and producers wait unless they say otherwise. Default [`Wait::Adaptive`]. Spinning is fastest and costs a core
    /// a thread; parking costs nothing while idle.
    pub wait: Wait,
    /// The most events a stage takes before it reports progress, unless it says otherwise. Default 256; 1 to 65,536.
    /// Larger amortises more; smaller frees slots, and shows dependants events, sooner.
    pub batch_max: usize,
    /// While events stream, how many pauses (about 10 to 50 ns each, by processor) a reader that may wait makes once it has caught
    /// up with producers, before it looks again; then it leaves the last kilobyte of events alone until it has paused once more. Default 64;
    /// 0 to 4,096, and never more than an eighth of the capacity. A reader at the producers' heels takes the cache lines away that they are
    /// writing; a distance can more than double the throughput of small events published one at a time, and delays those in a stream by as long.
    /// A lone event is not kept waiting, but the first one after a burst is. 0, no distance at all, for least latency under load. A ring of many
    /// producers takes four times as many. [Lanes](crate::lanes()) pause only: their reader leaves nothing alone.
    /// A read with a deadline does not pause.
    pub tail_pauses: u32,
    /// What to do about threads that do not fit the machine. Default [`Placement::Warn`].
    pub placement: Placement,
    /// What to do when a handler fails, unless a stage says otherwise. Default [`OnPanic::Halt`].
    pub on_panic: OnPanic,
    /// What to do when nobody reads. Default [`OnUnread::Close`].
    pub on_unread: OnUnread,
    /// Entries in the table of cursors: stages, where each keyed member counts as one, and readers that join later. Default 32; 1 to 1,024.
    /// Each takes 384 bytes; producers that find the ring full read those in use.
    pub stages_max: usize,
    /// Whether a thread watches how full the ring is, and when that counts as pressure. Default `None`: nobody watches. See
    /// [`Topology::on_pressure`](crate::Topology::on_pressure) and [`Bus::pressure`](crate::Bus::pressure).
    pub pressure: Option<Pressure>,
}

impl Default for BusConfig {
    fn default() -> Self {
        Self {
            capacity: 8192,
            wait: Wait::Adaptive,
            batch_max: 256,
            tail_pauses: 64,
            placement: Placement::Warn,
            on_panic: OnPanic::Halt,
            on_unread: OnUnread::Close,
            stages_max: 32,
            pressure: None,
        }
    }
}

impl BusConfig {
    /// Least latency: every thread spins on a core of its own; small batches free slots early.
    #[must_use]
    pub fn low_latency() -> Self {
        Self {
            capacity: 1024,
            wait: Wait::BusySpin,
            batch_max: 64,
            tail_pauses: 0,
            ..Self::default()
        }
    }

    /// Most events a second: every thread spins on a core of its own; a deep ring and large batches.
    #[must_use]
    pub fn throughput() -> Self {
        Self {
            capacity: 1 << 14,
            wait: Wait::BusySpin,
            batch_max: 1024,
            tail_pauses: 128,
            ..Self::default()
        }
    }

    /// A machine shared with others: idle threads sleep, 50 µs at a time, and nobody has to pay for waking them.
    #[must_use]
    pub fn shared_cpu() -> Self {
        Self {
            wait: Wait::backoff(),
            ..Self::default()
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) with the first field that is outside its range, its value, and the range.
    pub fn validate(&self) -> Result<(), Error> {
        in_range("capacity", self.capacity, CAPACITY_MAX)?;
        validate_batch_max(self.batch_max)?;
        in_range("stages_max", self.stages_max, STAGES_MAX)?;
        if self.tail_pauses > TAIL_PAUSES_MAX {
            return Err(Error::out_of_range(
                "tail_pauses",
                self.tail_pauses,
                format_args!("0 to {TAIL_PAUSES_MAX}"),
            ));
        }
        if let Some(pressure) = &self.pressure {
            pressure.validate()?;
        }
        self.wait.validate("wait")
    }
}

/// How a reader joins a running bus: see [`Bus::subscribe`](crate::Bus::subscribe).
///
/// ```
/// use ringway::{SubscribeConfig, Wait};
/// let config = SubscribeConfig { wait: Some(Wait::Park), ..SubscribeConfig::default() };
/// config.validate()?;
/// # Ok::<(), ringway::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscribeConfig {
    /// How it waits. Default `None`: as [`BusConfig::wait`] says. It may sleep on any bus; where the system has no `membarrier` and nobody
    /// could sleep on what it waits for before, it looks again each millisecond in the first tenth of a second, and producers fence from then on.
    pub wait: Option<Wait>,
    /// The most events it takes before it reports progress. Default `None`: as [`BusConfig::batch_max`] says; 1 to 65,536.
    pub batch_max: Option<usize>,
}

impl SubscribeConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// As [`BusConfig::validate`].
    pub fn validate(&self) -> Result<(), Error> {
        self.batch_max.map_or(Ok(()), validate_batch_max)?;
        self.wait.map_or(Ok(()), |wait| wait.validate("wait"))
    }
}

/// Whether a stage, or a reader that joins, may be called so.
pub(crate) fn validate_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.contains('\0') {
        let text = format!(
            "stage name {name:?}: accepted is any text without NUL, at least one character"
        );
        return Err(Error::new(ErrorKind::InvalidConfig, text).with_stage(name));
    }
    Ok(())
}

pub(crate) fn validate_batch_max(batch_max: usize) -> Result<(), Error> {
    in_range("batch_max", batch_max, BATCH_MAX)
}

fn in_range(field: &str, value: usize, max: usize) -> Result<(), Error> {
    in_range_of(field, value, 1..=max)
}

fn in_range_of<N: PartialOrd + Display>(
    field: &str,
    value: N,
    range: RangeInclusive<N>,
) -> Result<(), Error> {
    if range.contains(&value) {
        Ok(())
    } else {
        Err(Error::out_of_range(
            field,
            value,
            format_args!("{} to {}", range.start(), range.end()),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_and_default_are_valid() {
        for config in [
            BusConfig::default(),
            BusConfig::low_latency(),
            BusConfig::throughput(),
            BusConfig::shared_cpu(),
        ] {
            config.validate().unwrap();
        }
    }

    #[test]
    fn each_field_is_checked_and_named() {
        let ok = BusConfig::default;
        let zero_sleep = Wait::Backoff {
            spins: 0,
            yields: 0,
            sleep: Duration::ZERO,
        };
        for (config, field) in [
            (
                BusConfig {
                    capacity: 0,
                    ..ok()
                },
                "capacity",
            ),
            (
                BusConfig {
                    capacity: CAPACITY_MAX + 1,
                    ..ok()
                },
                "capacity",
            ),
            (
                BusConfig {
                    batch_max: 0,
                    ..ok()
                },
                "batch_max",
            ),
            (
                BusConfig {
                    batch_max: BATCH_MAX + 1,
                    ..ok()
                },
                "batch_max",
            ),
            (
                BusConfig {
                    stages_max: 0,
                    ..ok()
                },
                "stages_max",
            ),
            (
                BusConfig {
                    stages_max: STAGES_MAX + 1,
                    ..ok()
                },
                "stages_max",
            ),
            (
                BusConfig {
                    tail_pauses: TAIL_PAUSES_MAX + 1,
                    ..ok()
                },
                "tail_pauses",
            ),
            (
                BusConfig {
                    pressure: Some(Pressure {
                        high_percent: 0,
                        ..Pressure::default()
                    }),
                    ..ok()
                },
                "pressure",
            ),
            (
                BusConfig {
                    wait: zero_sleep,
                    ..ok()
                },
                "wait",
            ),
        ] {
            let error = config.validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.to_string().starts_with(field), "{error}");
            assert!(error.to_string().contains("accepted"), "{error}");
        }
    }
}
