//! The segments of a journal that is being written: the one that grows, those before it, and the order in which they become
//! durable and go.

use crate::config::{JournalConfig, SyncPolicy};
use crate::error::{Error, ErrorKind};
use crate::journal::Recovered;
use crate::journal::format::{
    Content, FRAME_HEADER, FrameHeader, SEGMENT_HEADER, SegmentHeader, payload_crc,
};
use crate::journal::pins::Pins;
use crate::journal::positions::PositionStore;
use crate::journal::retention::{Limits, choose_kept_from};
use crate::journal::segment::Segment;
use crate::journal::storage::{File, Storage, failed, write_all};
use crate::journal::supply::{Prepared, Supply, clean, plain, reserved, spare_name};
use crate::sequence::Sequence;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// So many segments may wait for a sync, each with an open file; the oldest is synced when there is one more.
const UNSYNCED_MAX: usize = 8;
/// Opening waits no longer for a prepared segment: a large one takes its time, and the first one does without.
const PREPARED_WAIT: Duration = Duration::from_secs(1);

/// Appends frames; knows of them only how long they are and which sequences they hold.
pub(crate) struct Chain {
    storage: Arc<dyn Storage>,
    config: JournalConfig,
    positions: PositionStore,
    pins: Pins,
    /// `None` under `SyncPolicy::Never`, which gains nothing by zeros.
    supply: Option<Supply>,
    /// Of the segment that grows.
    header: SegmentHeader,
    current: Segment,
    file: Arc<dyn File>,
    /// It holds bytes that no sync has covered.
    dirty: bool,
    /// Those before it, oldest first.
    sealed: Vec<Segment>,
    /// The files of those that were sealed dirty, oldest first.
    unsynced: Vec<(Segment, Arc<dyn File>)>,
    /// A segment's name appeared or went since the directory was synced.
    names_changed: bool,
    /// A name went since then.
    names_went: bool,
    /// The greatest `kept_from` of a header, and of one that is durable: nothing at or above that is removed.
    kept_from: u64,
    kept_durable: u64,
}

impl Chain {
    /// Begins a segment behind what was recovered; `header` gives what all segments of the journal share. All is durable then.
    pub(crate) fn open(
        storage: &Arc<dyn Storage>,
        config: &JournalConfig,
        header: SegmentHeader,
        recovered: &Recovered,
    ) -> Result<Self, Error> {
        let cleaned = clean(&**storage);
        cleaned.map_err(|error| failed(&**storage, "", "removing leftovers in", error))?;
        // with another one of the same first sequence behind it, its order would not be known
        let (sealed, empty): (Vec<_>, Vec<_>) = recovered
            .segments
            .iter()
            .cloned()
            .partition(|segment| segment.first < segment.end);
        let mut supply = match config.sync {
            SyncPolicy::Never => None,
            SyncPolicy::Interval(_) | SyncPolicy::EveryBatch => {
                Supply::start(storage, config.segment_bytes)
            }
        };
        let positions = PositionStore::on(storage.clone());
        let pins = Pins::default();
        let limits = limits(&**storage, config, &positions, &pins);
        let header = SegmentHeader {
            first: recovered.next,
            kept_from: match &limits {
                Some(limits) => choose_kept_from(&sealed, recovered.next, limits),
                None => (sealed.first()).map_or(recovered.next, |segment| segment.first),
            },
            ..header
        };
        // what was recovered is durable: known from now on, so that a damage of it is never taken for an unsynced tail
        let watermark = (recovered.next > 0).then(|| FrameHeader {
            content: Content::Watermark,
            bytes: 0,
            count: 0,
            first: recovered.next,
            synced: recovered.next,
            unix_ns: storage.unix_ns(),
            payload_crc: 0,
        });
        let prepared = match &mut supply {
            Some(supply) => supply.wait(PREPARED_WAIT),
            None => reserved(&**storage, config.segment_bytes).ok(),
        };
        let begun = begin(&**storage, prepared, header, watermark, true)?;
        let (header, current, file) = begun;
        sync_names(&**storage, &current)?;
        for empty in &empty {
            let name = empty.name();
            let removed = storage.remove(&name).and_then(|()| storage.sync());
            removed.map_err(|error| failed(&**storage, &name, "removing", error))?;
        }
        Ok(Self {
            storage: storage.clone(),
            config: config.clone(),
            positions,
            pins,
            supply,
            kept_from: header.kept_from,
            kept_durable: header.kept_from,
            header,
            current,
            file,
            dirty: false,
            sealed,
            unsynced: Vec::new(),
            names_changed: false,
            names_went: false,
        })
    }

    /// What keeps segments from being removed while they are read.
    pub(crate) fn pins(&self) -> &Pins {
        &self.pins
    }

    /// For the next frame.
    pub(crate) fn unix_ns(&self) -> u64 {
        self.storage.unix_ns()
    }

    /// Of the segment that grows.
    pub(crate) fn salt(&self) -> u64 {
        self.header.salt
    }

    /// Begins a new segment at `first` if the one that grows has no room for so many bytes. One that has no sequence yet takes any number.
    pub(crate) fn make_room(&mut self, bytes: u64, first: u64) -> Result<(), Error> {
        let full = self.current.bytes + bytes > self.config.segment_bytes;
        if full && self.current.first < self.current.end {
            self.roll(first)?;
        }
        Ok(())
    }

    /// Writes a frame, whose sequences go up to `end`.
    pub(crate) fn append(&mut self, frame: &[u8], end: u64, unix_ns: u64) -> Result<(), Error> {
        let offset = self.current.bytes;
        self.dirty = true;
        write_all(&*self.file, frame, offset).map_err(|error| {
            let what = format!(
                "writing sequence {} at offset {offset} of",
                self.current.end
            );
            failed(&*self.storage, &self.current.name(), &what, error)
        })?;
        self.current.bytes += frame.len() as u64;
        self.current.end = end;
        self.current.newest_ns = unix_ns;
        Ok(())
    }

    /// Cuts off what is behind the last frame. Nothing depends on it, so nothing is said if it fails.
    pub(crate) fn cut_rest(&self) {
        let _ = self.file.truncate(self.current.bytes);
    }

    /// Makes durable all that was appended: the older segments before the one that grows, then their names.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        for (segment, file) in &self.unsynced {
            self.sync_file(segment, &**file)?;
        }
        self.unsynced.clear();
        if self.dirty {
            self.sync_file(&self.current, &*self.file)?;
            self.dirty = false;
        }
        if self.names_changed {
            self.sync_names()?;
            self.names_changed = false;
        }
        self.kept_durable = self.kept_from;
        Ok(())
    }

    fn sync_file(&self, segment: &Segment, file: &dyn File) -> Result<(), Error> {
        file.sync().map_err(|error| {
            let what = format!("syncing {} of", up_to(segment));
            failed(&*self.storage, &segment.name(), &what, error)
        })
    }

    fn sync_names(&mut self) -> Result<(), Error> {
        sync_names(&*self.storage, &self.current)?;
        self.names_went = false;
        Ok(())
    }

    fn roll(&mut self, first: u64) -> Result<(), Error> {
        let limits = limits(&*self.storage, &self.config, &self.positions, &self.pins);
        let allowed = self.header.kept_from;
        let before = self.current.clone();
        let kept_from = match &limits {
            Some(limits) => {
                let all: Vec<Segment> = self.sealed.iter().chain([&before]).cloned().collect();
                choose_kept_from(&all, first, limits)
            }
            None => allowed,
        };
        let header = SegmentHeader {
            first,
            kept_from,
            ..self.header
        };
        let prepared = match &mut self.supply {
            Some(supply) => supply.take(),
            None => reserved(&*self.storage, self.config.segment_bytes).ok(),
        };
        let (header, current, file) = begin(&*self.storage, prepared, header, None, false)?;
        let file = std::mem::replace(&mut self.file, file);
        if self.dirty {
            self.unsynced.push((before.clone(), file));
        }
        self.sealed.push(before);
        (self.header, self.current) = (header, current);
        self.kept_from = self.kept_from.max(kept_from);
        self.dirty = true;
        self.names_changed = true;
        if self.unsynced.len() > UNSYNCED_MAX {
            let (segment, file) = self.unsynced.remove(0);
            self.sync_file(&segment, &*file)?;
        }
        match limits {
            Some(limits) => self.remove_below(allowed.min(limits.needed_from())),
            None => Ok(()),
        }
    }

    /// Removes the oldest segments up to a `kept_from` that stands in a header, one after the other: a loss of power must not leave one before a gap. What cannot be
    /// removed stays: that harms nobody, and it is tried again when the next segment is begun.
    fn remove_below(&mut self, below: u64) -> Result<(), Error> {
        while let Some(oldest) = self.sealed.first().filter(|oldest| oldest.end <= below) {
            let (name, end) = (oldest.name(), oldest.end);
            if end > self.kept_durable {
                self.sync()?;
            }
            if self.names_went {
                self.sync_names()?;
            }
            let pins = self.pins.hold();
            if pins.least().is_some_and(|least| least < end) {
                break; // somebody began to read since
            }
            let removed = match &mut self.supply {
                Some(supply) => {
                    let spare = spare_name(&name);
                    let renamed = self.storage.rename(&name, &spare);
                    renamed.map(|()| supply.leave(spare))
                }
                None => self.storage.remove(&name),
            };
            drop(pins);
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => break,
                _ => {}
            }
            self.sealed.remove(0);
            self.names_changed = true;
            self.names_went = true;
        }
        Ok(())
    }
}

/// Where it ends, for error texts.
fn up_to(segment: &Segment) -> String {
    format!("up to sequence {} at offset {}", segment.end, segment.bytes)
}

/// Makes durable which segments there are, up to the one that grows.
fn sync_names(storage: &dyn Storage, current: &Segment) -> Result<(), Error> {
    storage.sync().map_err(|error| {
        let what = format!("syncing the names of segments {} in", up_to(current));
        failed(storage, "", &what, error)
    })
}

/// `None`: nothing is ever removed.
fn limits(
    storage: &dyn Storage,
    config: &JournalConfig,
    positions: &PositionStore,
    pins: &Pins,
) -> Option<Limits> {
    let retention = config.retention;
    let some = retention.consumed || retention.bytes_max.is_some() || retention.age_max.is_some();
    some.then(|| Limits {
        retention,
        segment_bytes: config.segment_bytes,
        // a position that cannot be read may be any
        slowest: match positions.slowest() {
            Ok(slowest) => slowest.map(Sequence::get),
            Err(_) => Some(0),
        },
        pinned: pins.hold().least(),
        now_ns: storage.unix_ns(),
    })
}

/// Gives a file its header, then the name of a segment. `durably`: its bytes, not its name.
fn begin(
    storage: &dyn Storage,
    prepared: Option<Prepared>,
    header: SegmentHeader,
    watermark: Option<FrameHeader>,
    durably: bool,
) -> Result<(SegmentHeader, Segment, Arc<dyn File>), Error> {
    let prepared = match prepared {
        Some(prepared) => prepared,
        None => {
            let made = plain(storage);
            made.map_err(|error| {
                let what = format!(
                    "making a segment at sequence {}, offset 0, in",
                    header.first
                );
                failed(storage, "", &what, error)
            })?
        }
    };
    let Prepared { name, file, salt } = prepared;
    let header = SegmentHeader { salt, ..header };
    let mut bytes = Vec::with_capacity(SEGMENT_HEADER + FRAME_HEADER);
    bytes.extend_from_slice(&header.encode());
    if let Some(frame) = watermark {
        let payload_crc = payload_crc(salt, &[]);
        let frame = FrameHeader {
            payload_crc,
            ..frame
        };
        bytes.extend_from_slice(&frame.encode(salt));
    }
    let segment = Segment {
        salt,
        first: header.first,
        end: header.first,
        bytes: bytes.len() as u64,
        newest_ns: watermark.map_or(0, |frame| frame.unix_ns),
    };
    let becomes = segment.name();
    let begun = write_all(&*file, &bytes, 0)
        .and_then(|()| if durably { file.sync() } else { Ok(()) })
        .and_then(|()| storage.rename(&name, &becomes));
    begun.map_err(|error| {
        let path = storage.path(&becomes);
        let text = format!(
            "beginning {} at sequence {}, offset 0, failed: {error}",
            path.display(),
            header.first
        );
        Error::new(ErrorKind::JournalIo, text).with_source(Arc::new(error))
    })?;
    Ok((header, segment, file))
}
