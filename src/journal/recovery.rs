//! What is in a journal's directory, and what to do about damage: `docs/format.md` says the rule.
//!
//! Three steps: the *survey* reads; the *decision* is pure; the *cleaning* changes files, in an order in which being killed at any point
//! leaves a directory that leads to the same decision.

use crate::config::RecoveryMode;
use crate::error::Error;
use crate::journal::Recovered;
use crate::journal::decision::{
    Behind, Damage, Decision, Found, first_break, is_left_by_retention, judge, without_husks,
};
use crate::journal::format::{
    Content, FrameHeader, SEGMENT_HEADER, parse_segment_name, segment_name,
};
use crate::journal::names::NEXT;
use crate::journal::renew;
use crate::journal::salvage::salvage;
use crate::journal::scan::{Frames, Shape, Stop, corrupt, io_error, segment_header};
use crate::journal::segment::Segment;
use crate::journal::storage::{File, Storage};
use crate::sequence::{Sequence, SequenceRange};
use std::sync::Arc;

/// What opening a journal found and did.
///
/// ```
/// # let directory = std::env::temp_dir().join(format!("ringway-doc-recovery-{}", std::process::id()));
/// # let path = directory.as_path();
/// use ringway::{Journal, JournalConfig, Plain};
/// let journal = Journal::open(path, JournalConfig::default(), Plain::<u64>::new())?;
/// let recovery = journal.recovery();
/// if let Some(cut) = &recovery.cut {
///     println!("{} bytes behind sequence {} had never been reported durable", cut.bytes, cut.sequence);
/// }
/// assert_eq!((recovery.first.get(), recovery.next.get()), (0, 0), "it is new");
/// # drop(journal);
/// # let _ = std::fs::remove_dir_all(directory);
/// # Ok::<(), ringway::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// The first sequence that is there.
    pub first: Sequence,
    /// The sequence of the next event.
    pub next: Sequence,
    /// How many segments hold them.
    pub segments: usize,
    /// Bytes of their headers and frames.
    pub bytes: u64,
    /// What was cut off: it had never been reported durable.
    pub cut: Option<Cut>,
    /// Sequences that were lost to damage, now or when the journal was salvaged before.
    pub lost: Vec<SequenceRange>,
    /// Segments that were removed and are no loss: those that retention had removed and a loss of power brought back, and one that was
    /// made and never used.
    pub removed: Vec<String>,
    /// Consumers whose stored position is above [`next`](Self::next): they were given events that were not durable, and are gone. The same numbers
    /// will be other events, of which such a consumer would miss some: store a position for it that is right, or remove it.
    pub ahead: Vec<String>,
    /// Consumers whose file holds no position. While there is one, retention removes nothing.
    pub unreadable: Vec<String>,
    /// Files in the directory that are not the journal's. They are left alone.
    pub ignored: Vec<String>,
}

/// The unsynced end of a journal, which opening it cut off: frames that were written in part when the power failed or the process was killed, and
/// whatever stood behind them, be it left from an earlier use of a recycled file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cut {
    /// The file that was cut; later ones were removed.
    pub segment: String,
    /// Where in the file.
    pub offset: u64,
    /// The sequence that begins there anew.
    pub sequence: Sequence,
    /// Up to the last byte that was not zero, in all files: after a crash that counts what recycled files held before.
    pub bytes: u64,
}

/// All of a directory.
pub(crate) struct Survey {
    /// By first sequence.
    pub(crate) found: Vec<Found>,
    /// Files that a roll or a salvage did not finish.
    pub(crate) unfinished: Vec<String>,
    pub(crate) ignored: Vec<String>,
    pub(crate) shape: Shape,
}

/// Makes the directory a journal whose every frame is whole and durable, or says why it is none.
pub(crate) fn recover(
    storage: &Arc<dyn Storage>,
    codec_id: u64,
    event_bytes: u32,
    mode: RecoveryMode,
) -> Result<(Recovered, Recovery), Error> {
    let shape = Shape {
        codec: codec_id,
        event_bytes,
    };
    let storage = &**storage;
    let mut survey = survey(storage, shape)?;
    let mut decision = decide(storage, &mut survey)?;
    if mode == RecoveryMode::Salvage && matches!(decision, Decision::Corrupt(_)) {
        remove(storage, &survey.unfinished)?;
        for index in 0..survey.found.len() {
            look_behind(storage, &mut survey, index)?;
        }
        salvage(storage, &survey)?;
        survey = self::survey(storage, shape)?;
        decision = decide(storage, &mut survey)?;
    }
    match decision {
        Decision::Keep { remove, keep, cut } => clean(storage, survey, &remove, &keep, &cut),
        Decision::Corrupt(damage) => Err(corruption(storage, &survey, &damage)),
    }
}

pub(crate) fn corruption(storage: &dyn Storage, survey: &Survey, damage: &Damage) -> Error {
    let name = survey.found[damage.index].segment.name();
    corrupt(storage, &name, damage.offset, damage.sequence, &damage.why)
}

/// Names of a directory, sorted into segments (first sequence and salt), unfinished files, and what is not the journal's.
pub(crate) fn sort_names(names: Vec<String>) -> (Vec<(u64, u64)>, Vec<String>, Vec<String>) {
    let (mut segments, mut unfinished, mut ignored) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        match parse_segment_name(&name) {
            Some((first, salt)) if first < 1 << 62 => segments.push((first, salt)),
            _ if name.starts_with(NEXT) => unfinished.push(name),
            _ if name.starts_with('.') => {}
            _ => ignored.push(name),
        }
    }
    segments.sort_unstable();
    ignored.sort_unstable();
    (segments, unfinished, ignored)
}

/// The segments of a directory: first sequence and salt, by first sequence.
pub(crate) fn list_segments(storage: &dyn Storage) -> Result<Vec<(u64, u64)>, Error> {
    let names = storage.list();
    let names = names.map_err(|error| io_error(storage, "", "list the directory", error))?;
    Ok(sort_names(names).0)
}

fn survey(storage: &dyn Storage, shape: Shape) -> Result<Survey, Error> {
    let names = storage.list();
    let names = names.map_err(|error| io_error(storage, "", "list the directory", error))?;
    let (segments, unfinished, ignored) = sort_names(names);
    let found = segments
        .into_iter()
        .map(|segment| survey_segment(storage, segment, shape, &mut |_, _, _| {}))
        .collect::<Result<_, _>>()?;
    Ok(Survey {
        found,
        unfinished,
        ignored,
        shape,
    })
}

/// Is told each whole frame: the segment's name, where it begins, its header.
pub(crate) type Seen<'s> = dyn FnMut(&str, u64, &FrameHeader) + 's;

/// A segment with its frames.
pub(crate) fn survey_segment(
    storage: &dyn Storage,
    (first, salt): (u64, u64),
    shape: Shape,
    seen: &mut Seen<'_>,
) -> Result<Found, Error> {
    let name = segment_name(first, salt);
    let failed = |error| io_error(storage, &name, "read it", error);
    let file = storage.open(&name, false).map_err(failed)?;
    let header = segment_header(storage, &name, &*file, (first, salt), Some(shape))?;
    let bytes = header.map_or(0, |_| SEGMENT_HEADER as u64);
    let segment = Segment {
        salt,
        first,
        end: first,
        bytes,
        newest_ns: 0,
    };
    let mut found = Found {
        segment,
        header,
        len: file.len().map_err(failed)?,
        synced: 0,
        stop: Stop::NoFrame,
        lost: Vec::new(),
        behind: None,
    };
    if found.header.is_ok() {
        walk(storage, &name, file, &mut found, shape, seen)?;
    }
    Ok(found)
}

/// Goes on where the known frames of a segment end.
pub(crate) fn walk(
    storage: &dyn Storage,
    name: &str,
    file: Arc<dyn File>,
    found: &mut Found,
    shape: Shape,
    seen: &mut Seen<'_>,
) -> Result<(), Error> {
    let failed = |error| io_error(storage, name, "read it", error);
    let Found {
        segment,
        synced,
        lost,
        ..
    } = found;
    let frames = Frames::new(file, segment.end, segment.salt, shape.event_bytes);
    let mut frames = frames.map_err(failed)?;
    frames.seek(segment.bytes);
    found.stop = loop {
        let offset = frames.offset();
        match frames.advance(0).map_err(failed)? {
            Ok(frame) => {
                *synced = frame.synced.max(*synced);
                segment.newest_ns = frame.unix_ns;
                if frame.content == Content::Lost {
                    lost.push(frame.range());
                }
                seen(name, offset, &frame);
            }
            Err(stop) => break stop,
        }
    };
    segment.end = frames.expected();
    segment.bytes = frames.offset();
    found.len = frames.len();
    Ok(())
}

/// Tries every place behind the frames that were walked.
pub(crate) fn look_behind(
    storage: &dyn Storage,
    survey: &mut Survey,
    index: usize,
) -> Result<(), Error> {
    let found = &mut survey.found[index];
    if found.behind.is_some() {
        return Ok(());
    }
    let Segment {
        first, salt, bytes, ..
    } = found.segment;
    let name = found.segment.name();
    let failed = |error| io_error(storage, &name, "read it", error);
    let file = storage.open(&name, false).map_err(failed)?;
    let mut frames = Frames::new(file, first, salt, survey.shape.event_bytes).map_err(failed)?;
    frames.seek(bytes);
    let mut behind = Behind {
        synced: 0,
        frames: false,
        data_end: bytes,
    };
    while let Some(header) = frames.find_header(&mut behind.data_end).map_err(failed)? {
        behind.frames = true;
        behind.synced = behind.synced.max(header.synced);
        frames.step();
        behind.data_end = frames.offset();
    }
    found.behind = Some(behind);
    Ok(())
}

impl Survey {
    /// The journal's id: that of most whole headers, and of the first of them if as many are of another.
    pub(crate) fn journal_id(&self) -> Option<u64> {
        let ids = || self.found.iter().filter_map(Found::journal);
        let count = |id| ids().filter(|other| *other == id).count();
        // of several that are the greatest `max_by_key` takes the last
        ids().rev().max_by_key(|id| count(*id))
    }

    /// The segments that say nothing else than that they are of this journal: what another one says means nothing to it.
    pub(crate) fn own(&self) -> impl Iterator<Item = &Found> {
        let id = self.journal_id();
        let found = self.found.iter();
        found.filter(move |found| found.header.is_err() || found.journal() == id)
    }
}

/// Looks behind where the decision needs it, and decides.
pub(crate) fn decide(storage: &dyn Storage, survey: &mut Survey) -> Result<Decision, Error> {
    let doubles: Vec<usize> = (0..survey.found.len())
        .filter(|index| {
            let first = |index: usize| survey.found.get(index).map(|found| found.segment.first);
            let own = first(*index);
            let twice = own == first(index + 1) || (*index > 0 && own == first(index - 1));
            twice && survey.found[*index].is_empty()
        })
        .collect();
    for index in doubles {
        look_behind(storage, survey, index)?;
    }
    let (mut remove, mut rest) = without_husks(&survey.found);
    let broken = loop {
        let broken = first_break(&survey.found, &rest);
        let Some(&last) = rest.get(broken) else {
            break broken;
        };
        look_behind(storage, survey, last)?;
        if !is_left_by_retention(&survey.found, &rest, broken) {
            break broken;
        }
        remove.extend(rest.drain(..=broken));
    };
    // from the one before on: if the last one has no frame, it goes, and that one is cut
    for &index in rest.get(broken.saturating_sub(1)..).unwrap_or_default() {
        look_behind(storage, survey, index)?;
    }
    Ok(judge(&survey.found, remove, rest, broken))
}

/// What is said about it, but for the consumers. `cut` are the segments to be removed behind the last one of `keep`.
pub(crate) fn report(
    survey: &Survey,
    removed: &[usize],
    keep: &[usize],
    cut: &[usize],
) -> Recovery {
    let found = |index: &usize| &survey.found[*index];
    let kept = || keep.iter().map(found);
    let last = kept().next_back();
    let next = last.map_or(0, |last| last.segment.end);
    // a header, and a frame that only says what was durable, are nothing that anybody misses
    let of_cut = |found: &Found| match found.is_empty() {
        true => found.data_end() - found.segment.bytes,
        false => found.data_end(),
    };
    let bytes = last.map_or(0, |last| last.data_end() - last.segment.bytes)
        + cut.iter().map(|index| of_cut(found(index))).sum::<u64>();
    let begin = last.or(cut.first().map(found)).filter(|_| bytes > 0);
    Recovery {
        first: Sequence::new(kept().next().map_or(0, |first| first.segment.first)),
        next: Sequence::new(next),
        segments: kept().filter(|found| !found.is_empty()).count(),
        bytes: kept()
            .filter(|found| !found.is_empty())
            .map(|found| found.segment.bytes)
            .sum(),
        cut: begin.map(|begin| Cut {
            segment: begin.segment.name(),
            offset: begin.segment.bytes,
            sequence: Sequence::new(next),
            bytes,
        }),
        lost: kept()
            .flat_map(|found| found.lost.iter().cloned())
            .map(SequenceRange::new)
            .collect(),
        removed: (removed.iter().map(found))
            .map(|found| found.segment.name())
            .collect(),
        ahead: Vec::new(),
        unreadable: Vec::new(),
        ignored: survey.ignored.clone(),
    }
}

/// Carries the decision out: removes what is behind, last first, then cuts, then makes durable what is kept, be it that the system takes
/// it for written, and only then removes what that allows to be missing.
fn clean(
    storage: &dyn Storage,
    survey: Survey,
    removed: &[usize],
    keep: &[usize],
    cut: &[usize],
) -> Result<(Recovered, Recovery), Error> {
    let report = report(&survey, removed, keep, cut);
    let names = |indices: &[usize]| -> Vec<String> {
        indices
            .iter()
            .map(|index| survey.found[*index].segment.name())
            .collect()
    };
    let mut gone = survey.unfinished.clone();
    gone.extend(names(cut).into_iter().rev());
    // without those before them, later ones that the system still has would seem to be what a front was removed from
    let front = if keep.is_empty() { gone.pop() } else { None };
    remove(storage, &gone)?;
    remove(storage, front.as_slice())?;
    let kept: Vec<&Found> = keep.iter().map(|index| &survey.found[*index]).collect();
    if let Some(last) = kept.last().filter(|last| last.len > last.segment.bytes) {
        let name = last.segment.name();
        let file = storage.open(&name, true);
        let cut = file.and_then(|file| file.truncate(last.segment.bytes));
        cut.map_err(|error| io_error(storage, &name, "cut it", error))?;
    }
    let synced = survey.found.iter().map(Found::synced).max().unwrap_or(0);
    for Found { segment, .. } in &kept {
        if renew::is_needed(segment, synced) {
            renew::renew(storage, segment, survey.shape, synced)?;
        }
        let name = segment.name();
        let synced = storage.open(&name, true).and_then(|file| file.sync());
        synced.map_err(|error| io_error(storage, &name, "sync it", error))?;
    }
    sync_directory(storage)?;
    // the header that allows it is durable only now
    remove(storage, &names(removed))?;
    let recovered = Recovered {
        id: survey.journal_id().unwrap_or_else(|| storage.random()),
        segments: kept.iter().map(|found| found.segment.clone()).collect(),
        next: report.next.get(),
    };
    Ok((recovered, report))
}

/// Removes files in this order, durably.
fn remove(storage: &dyn Storage, names: &[String]) -> Result<(), Error> {
    for name in names {
        storage
            .remove(name)
            .map_err(|error| io_error(storage, name, "remove it", error))?;
    }
    if names.is_empty() {
        Ok(())
    } else {
        sync_directory(storage)
    }
}

pub(crate) fn sync_directory(storage: &dyn Storage) -> Result<(), Error> {
    storage
        .sync()
        .map_err(|error| io_error(storage, "", "sync the directory", error))
}
