//! Bits that flip in journals that have lived: what was known to be durable is refused or whole, and salvaged but for the frame that was hit.

use super::inode::Random;
use super::seeds::{Entry, World, read, run};
use super::{Plan, SimStorage};
use crate::config::RecoveryMode;
use crate::error::{Error, ErrorKind};
use crate::journal::Recovered;
use crate::journal::codec::{Bytes, Codec};
use crate::journal::format::{FRAME_HEADER, FrameHeader, SEGMENT_HEADER, parse_segment_name};
use crate::journal::recovery::{Recovery, recover};
use std::ops::Range;
use std::sync::Arc;

const SEEDS: u64 = 300;
/// Flipped in each, one at a time.
const BITS: usize = 8;

fn open(storage: &SimStorage, mode: RecoveryMode) -> Result<(Recovered, Recovery), Error> {
    recover(
        &(Arc::new(storage.clone()) as Arc<_>),
        Bytes.id(),
        Bytes.event_bytes(),
        mode,
    )
}

/// Where frames lie of which something is below `synced`, and what their sequences are; a segment's header has none.
fn known_durable(
    storage: &SimStorage,
    recovered: &Recovered,
) -> Vec<(String, Range<usize>, Range<u64>)> {
    let files = storage.files();
    let mut places = Vec::new();
    let mut frames = Vec::new();
    let mut synced = 0;
    for segment in &recovered.segments {
        let bytes = &files[&segment.name()];
        frames.push((
            segment.name(),
            0..SEGMENT_HEADER,
            segment.first..segment.first,
        ));
        let mut at = SEGMENT_HEADER;
        while (at as u64) < segment.bytes {
            let header = bytes[at..].first_chunk::<FRAME_HEADER>().expect("a header");
            let header = FrameHeader::decode(header, segment.salt).expect("a whole frame");
            synced = synced.max(header.synced);
            let end = at + header.frame_bytes() as usize;
            frames.push((segment.name(), at..end, header.range()));
            at = end;
        }
    }
    places.extend(
        frames
            .into_iter()
            .filter(|(_, _, range)| range.start < synced),
    );
    places
}

fn rot(seed: u64) {
    let mut world = World::new(seed);
    world.lives(3);
    let storage = world.storage.kill(seed);
    let (before, _) = open(&storage, RecoveryMode::Strict).expect("nothing has rotted yet");
    let whole: Vec<(u64, Entry)> = read(&storage, &before).0;
    let places = known_durable(&storage, &before);
    if places.is_empty() {
        return;
    }
    let mut random = Random::new(seed);
    for _ in 0..BITS {
        let (name, bytes, hit) = &places[random.below(places.len())];
        let at = bytes.start + random.below(bytes.len());
        let rotten = storage.kill(seed);
        rotten.plan(Plan::default());
        rotten.flip(name, at, random.below(8));
        let place = format!(
            "{name}, byte {at} of the frame at {}, sequences {hit:?}",
            bytes.start
        );
        let files = rotten.files();
        match open(&rotten, RecoveryMode::Strict) {
            Ok((after, _)) => {
                let (kept, kept_from) = read(&rotten, &after);
                // a segment that retention had allowed to go may have gone
                let first = kept.first().map_or(after.next, |entry| entry.0);
                let is_front = kept.len() == whole.len() || first <= kept_from && hit.end <= first;
                assert!(whole.ends_with(&kept) && is_front, "not noticed: {place}");
                continue;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::JournalCorrupt, "{error}, {place}"),
        }
        let segments = |name: &String| parse_segment_name(name).is_some();
        assert!(
            files
                .keys()
                .filter(|name| segments(name))
                .all(|name| rotten.files().get(name) == files.get(name))
        );
        let (after, report) = open(&rotten, RecoveryMode::Salvage).expect("it can be salvaged");
        let kept = read(&rotten, &after).0;
        let expected: Vec<_> = whole
            .iter()
            .filter(|(at, _)| !hit.contains(at))
            .cloned()
            .collect();
        assert!(
            kept == expected,
            "{place}: {} kept of {}",
            kept.len(),
            whole.len()
        );
        // that the front was removed may have stood in the header that was hit
        let first = before.segments.first().map_or(0, |first| first.first);
        let ranges = report.lost.iter();
        let lost = ranges
            .map(|lost| lost.start().get()..lost.end().get())
            .filter(|lost| lost.start >= first);
        assert!(
            lost.eq((!hit.is_empty()).then(|| hit.clone())),
            "{place}: {:?}",
            report.lost
        );
        assert_eq!(after.next, before.next);
    }
}

#[test]
fn what_rots_below_the_watermark_is_refused_and_only_that_is_lost() {
    run(SEEDS, rot);
}
