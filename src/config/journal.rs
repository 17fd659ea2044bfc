//! How a journal is kept.

use crate::error::Error;
use std::time::Duration;

const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 4096..=1 << 40;
const WRITE_BYTES: std::ops::RangeInclusive<usize> = 512..=1 << 28;
const INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// When a journal makes durable what it has written. What each can lose, at most:
///
/// | policy | the process is killed | the system crashes, or power fails | the disk refuses a write or a sync |
/// |---|---|---|---|
/// | `Never` | what was not yet *written*: events still in the ring | what the system had not yet put on the device, typically the last 30 s | what was not yet *written*, and of that what the system had not put on the device |
/// | `Interval(t)` | the same | what was not yet *synced*: the last `t`, and what comes during one sync | what was not yet *synced* |
/// | `EveryBatch` | the same | what was not yet *synced*: what comes during two syncs | what was not yet *synced* |
///
/// Stages [`after`](crate::StageBuilder::after) the journal see *written* events under `Never`, and only *synced* ones under
/// the other two; a wait for [`Level::Synced`](crate::Level::Synced) asks for a sync at once under any policy. So nothing
/// that was reported durable is ever lost, whatever the policy is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Only when somebody waits for it, when the journal is closed, when retention removes something, and when more than eight
    /// segments wait for it.
    Never,
    /// At the latest so long after an event was written; above 0, at most an hour.
    Interval(Duration),
    /// After each write, which takes all events that came during the sync before it (group commit).
    #[default]
    EveryBatch,
}

/// What becomes of the bus when its journal fails: a write or sync that the system refused, a codec that failed.
///
/// The journal itself never writes again: what it had written stays, and a restart recovers it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnJournalError {
    /// The bus halts; `join` says what failed.
    #[default]
    Halt,
    /// The bus goes on without durability: stages after the journal get what is durable, then end; the others run on.
    Continue,
}

/// What [`Journal::open`](crate::Journal::open) does about damage below what is known to have been durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecoveryMode {
    /// It refuses, and names segment, offset and sequence. No file is changed.
    #[default]
    Strict,
    /// It keeps every frame that is whole, and what is lost is known as lost from then on: see
    /// [`Recovery::lost`](crate::Recovery::lost). Damaged segments stay in the directory under another name.
    Salvage,
}

/// Which segments may be removed. Each limit by itself allows it, a stored position forbids it; the default keeps everything.
/// Whole segments go, oldest first, when a new one is begun; never the newest two. A position's file that cannot be read may hold any: then none goes, see
/// [`Recovery::unreadable`](crate::Recovery::unreadable).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The most bytes that segments may take together. Default: no limit; at least one segment's.
    pub bytes_max: Option<u64>,
    /// Segments whose newest event is older than this go. Default: no limit; above 0.
    pub age_max: Option<Duration>,
    /// Segments go when every position stored in the [`PositionStore`](crate::PositionStore) is past them. Default `false`.
    pub consumed: bool,
}

/// How a journal is kept. The default may be slow, never lossy.
///
/// ```
/// use ringway::{JournalConfig, SyncPolicy};
/// use std::time::Duration;
/// let config = JournalConfig { sync: SyncPolicy::Interval(Duration::from_millis(5)), ..JournalConfig::default() };
/// config.validate()?;
///
/// let error = JournalConfig { segment_bytes: 1, ..JournalConfig::default() }.validate().unwrap_err();
/// assert!(error.to_string().starts_with("segment_bytes is 1"));
/// # Ok::<(), ringway::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalConfig {
    /// Bytes of a segment file, which is the unit that retention removes. Default 64 MiB; 4 KiB to 1 TiB. A larger one rolls less
    /// often. Unless `sync` is `Never`, one is zeroed ahead on a thread beside (about 2 ms a MiB): opening waits for the first, for up to a second; where less
    /// room is left than two segments take, none is. A write that is larger by itself gets a longer segment.
    pub segment_bytes: u64,
    /// When what was written is made durable. Default [`SyncPolicy::EveryBatch`].
    pub sync: SyncPolicy,
    /// A write is begun when this many encoded bytes have gathered, at the latest. Default 1 MiB; 512 bytes to 256 MiB, and
    /// at most half a segment. It is also the memory that the journal takes, or what one larger event takes.
    pub write_bytes_max: usize,
    /// What becomes of the bus when the journal fails. Default [`OnJournalError::Halt`].
    pub on_error: OnJournalError,
    /// Which segments may be removed. Default: none.
    pub retention: Retention,
    /// What opening does about damage. Default [`RecoveryMode::Strict`].
    pub recovery: RecoveryMode,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            sync: SyncPolicy::EveryBatch,
            write_bytes_max: 1 << 20,
            on_error: OnJournalError::Halt,
            retention: Retention::default(),
            recovery: RecoveryMode::Strict,
        }
    }
}

impl JournalConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) with the first field that is outside its range, its value, and the range.
    pub fn validate(&self) -> Result<(), Error> {
        if !SEGMENT_BYTES.contains(&self.segment_bytes) {
            let accepted = format_args!("{} to {}", SEGMENT_BYTES.start(), SEGMENT_BYTES.end());
            return Err(Error::out_of_range(
                "segment_bytes",
                self.segment_bytes,
                accepted,
            ));
        }
        let half = usize::try_from(self.segment_bytes / 2).unwrap_or(usize::MAX);
        let most = half.min(*WRITE_BYTES.end());
        if !(*WRITE_BYTES.start()..=most).contains(&self.write_bytes_max) {
            let accepted = format_args!(
                "{} to {most}, at most half of segment_bytes",
                WRITE_BYTES.start()
            );
            return Err(Error::out_of_range(
                "write_bytes_max",
                self.write_bytes_max,
                accepted,
            ));
        }
        if let SyncPolicy::Interval(interval) = self.sync
            && (interval.is_zero() || interval > INTERVAL_MAX)
        {
            let value = format_args!("{interval:?}");
            return Err(Error::out_of_range(
                "sync: Interval",
                value,
                "above 0, at most 3600 s",
            ));
        }
        if let Some(bytes) = self
            .retention
            .bytes_max
            .filter(|bytes| *bytes < self.segment_bytes)
        {
            let accepted = format_args!("at least segment_bytes, {}", self.segment_bytes);
            return Err(Error::out_of_range("retention.bytes_max", bytes, accepted));
        }
        if self.retention.age_max.is_some_and(|age| age.is_zero()) {
            return Err(Error::out_of_range("retention.age_max", "0", "above 0"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn each_field_is_checked_and_named() {
        let ok = JournalConfig::default;
        ok().validate().expect("the default is valid");
        let retention = |bytes_max, age_max| Retention {
            bytes_max,
            age_max,
            consumed: false,
        };
        for (config, field) in [
            (
                JournalConfig {
                    segment_bytes: 4095,
                    ..ok()
                },
                "segment_bytes",
            ),
            (
                JournalConfig {
                    segment_bytes: (1 << 40) + 1,
                    ..ok()
                },
                "segment_bytes",
            ),
            (
                JournalConfig {
                    write_bytes_max: 511,
                    ..ok()
                },
                "write_bytes_max",
            ),
            (
                JournalConfig {
                    segment_bytes: 4096,
                    write_bytes_max: 2049,
                    ..ok()
                },
                "write_bytes_max",
            ),
            (
                JournalConfig {
                    sync: SyncPolicy::Interval(Duration::ZERO),
                    ..ok()
                },
                "sync: Interval",
            ),
            (
                JournalConfig {
                    sync: SyncPolicy::Interval(Duration::from_secs(3601)),
                    ..ok()
                },
                "sync: Interval",
            ),
            (
                JournalConfig {
                    retention: retention(Some(4096), None),
                    ..ok()
                },
                "retention.bytes_max",
            ),
            (
                JournalConfig {
                    retention: retention(None, Some(Duration::ZERO)),
                    ..ok()
                },
                "retention.age_max",
            ),
        ] {
            let error = config.validate().expect_err(field);
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.to_string().starts_with(field), "{error}");
            assert!(error.to_string().contains("accepted"), "{error}");
        }
    }
}
