//! What is damage, and what an unsynced end: pure, on what a survey of the files found.

use crate::journal::format::SegmentHeader;
use crate::journal::scan::Stop;
use crate::journal::segment::Segment;
use std::ops::Range;

/// A segment as it was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Up to the first place where no frame begins; without a whole header: no bytes.
    pub(crate) segment: Segment,
    pub(crate) header: Result<SegmentHeader, &'static str>,
    /// Bytes of the file.
    pub(crate) len: u64,
    /// The highest `synced` in these frames.
    pub(crate) synced: u64,
    pub(crate) stop: Stop,
    pub(crate) lost: Vec<Range<u64>>,
    pub(crate) behind: Option<Behind>,
}

/// What is behind the first place where no frame begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behind {
    /// The highest `synced` in a frame's header, and whether there is one.
    pub(crate) synced: u64,
    pub(crate) frames: bool,
    /// Behind the last byte that is not zero.
    pub(crate) data_end: u64,
}

impl Found {
    /// No frame begins where the first should.
    pub(crate) fn is_empty(&self) -> bool {
        self.segment.end == self.segment.first
    }

    /// Neither is there one behind.
    pub(crate) fn is_husk(&self) -> bool {
        self.is_empty() && self.behind.is_some_and(|behind| !behind.frames)
    }

    /// The id of the journal that it is of, if its header is whole.
    pub(crate) fn journal(&self) -> Option<u64> {
        Some(self.header.ok()?.journal)
    }

    pub(crate) fn kept_from(&self) -> u64 {
        self.header.map_or(0, |header| header.kept_from)
    }

    pub(crate) fn synced(&self) -> u64 {
        self.synced
            .max(self.behind.map_or(0, |behind| behind.synced))
    }

    pub(crate) fn data_end(&self) -> u64 {
        let behind = self.behind.map_or(0, |behind| behind.data_end);
        behind.max(self.segment.bytes)
    }
}

/// What to do. Indices are those of the survey.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Keep {
        /// What retention left behind, and empty doubles.
        remove: Vec<usize>,
        /// The journal: each begins where the one before it ends.
        keep: Vec<usize>,
        /// Behind the last one's frames, nothing was ever reported durable.
        cut: Vec<usize>,
    },
    Corrupt(Damage),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) index: usize,
    pub(crate) offset: u64,
    pub(crate) sequence: u64,
    pub(crate) why: String,
}

/// Separates segments without any frame from others that begin with the same sequence: one that was made and never used.
pub(crate) fn without_husks(found: &[Found]) -> (Vec<usize>, Vec<usize>) {
    let (mut husks, mut rest): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    for (index, this) in found.iter().enumerate() {
        let before = rest.last().map(|before| &found[*before]);
        if before.is_some_and(|before| before.segment.first == this.segment.first) {
            // of two without a frame, one with a whole header stays
            let is_better =
                this.header.is_ok() && before.is_some_and(|before| before.header.is_err());
            let both = before.is_some_and(Found::is_husk) && this.is_husk();
            if this.is_husk() && !(both && is_better) {
                husks.push(index);
                continue;
            }
            if before.is_some_and(Found::is_husk) {
                husks.extend(rest.pop());
            }
        }
        rest.push(index);
    }
    (husks, rest)
}

/// Which of `rest` is the last that the one after it does not continue.
pub(crate) fn first_break(found: &[Found], rest: &[usize]) -> usize {
    let continues = |pair: &[usize]| {
        let [before, after] = [pair[0], pair[1]].map(|index| &found[index].segment);
        before.end == after.first && before.end > before.first
    };
    let broken = rest.windows(2).position(|pair| !continues(pair));
    broken.unwrap_or(rest.len().saturating_sub(1))
}

/// What is below need not be there, the headers of this chain say.
fn missing_below(found: &[Found], chain: &[usize]) -> u64 {
    let kept = chain.iter().map(|index| found[*index].kept_from());
    kept.max().unwrap_or(0)
}

/// Segments up to the break may be missing: retention removed what is missing, and the system forgot some of the removals. Nothing is removed
/// before the header that allows it is durable, with all that is before it: so what follows is a chain up to that header.
/// A header that only happens to be there, of an end that was never synced, says nothing.
pub(crate) fn is_left_by_retention(found: &[Found], rest: &[usize], broken: usize) -> bool {
    let this = &found[rest[broken]];
    let Some(rest @ [next, ..]) = rest.get(broken + 1..) else {
        return false;
    };
    let next = &found[*next].segment;
    let kept_from = missing_below(found, &rest[..=first_break(found, rest)]);
    let frames = this.behind.is_none_or(|behind| behind.frames);
    this.segment.end < next.first && next.first <= kept_from && !frames
}

/// The rule. `rest` up to `broken` is a chain of segments; what is behind was looked at.
pub(crate) fn judge(
    found: &[Found],
    remove: Vec<usize>,
    mut rest: Vec<usize>,
    broken: usize,
) -> Decision {
    let mut ids = found
        .iter()
        .enumerate()
        .filter_map(|(index, found)| Some((index, found.journal()?)));
    let damaged = |index: usize, offset, sequence, why: String| {
        Decision::Corrupt(Damage {
            index,
            offset,
            sequence,
            why,
        })
    };
    if let Some((_, id)) = ids.next()
        && let Some((index, _)) = ids.find(|(_, other)| *other != id)
    {
        return damaged(
            index,
            16,
            found[index].segment.first,
            "it is of another journal".into(),
        );
    }
    let (Some(&start), Some(&last)) = (rest.first(), rest.get(broken)) else {
        return Decision::Keep {
            remove,
            keep: rest,
            cut: Vec::new(),
        };
    };
    let first = found[start].segment.first;
    let kept_from = missing_below(found, &rest[..=broken]);
    if first > kept_from {
        let why = format!(
            "the first segment begins here, and those before it, from sequence {kept_from} on, are missing"
        );
        return damaged(start, 0, first, why);
    }
    let Found {
        segment,
        header,
        stop,
        ..
    } = &found[last];
    let why = header.err().map_or_else(|| stop.to_string(), String::from);
    let next = rest.get(broken + 1).map(|index| &found[*index].segment);
    if let Some(next) = next.filter(|next| next.first < segment.end || next.first == segment.first)
    {
        let why = format!("{} holds this sequence too", segment.name());
        return damaged(rest[broken + 1], 0, next.first, why);
    }
    let synced = found.iter().map(Found::synced).max().unwrap_or(0);
    if segment.end < synced {
        let missing = next.map_or(String::new(), |next| {
            format!(", and the next segment begins with {}", next.first)
        });
        let why = format!("{why}{missing}; everything below {synced} had been durable");
        return damaged(last, segment.bytes, segment.end, why);
    }
    if header.is_err() && last == start && first > 0 {
        // without this file nobody would know where the numbers go on
        return damaged(last, 0, first, why);
    }
    // one header stays to say that what is missing before the first segment was removed, and where the numbers go on
    let is_needless = found[last].is_empty() && first <= missing_below(found, &rest[..broken]);
    let cut = rest.split_off(if is_needless { broken } else { broken + 1 });
    Decision::Keep {
        remove,
        keep: rest,
        cut,
    }
}
