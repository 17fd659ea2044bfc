//! Journals that live many lives, by seed: each records by a random script until power fails, the process is killed, the device fails, or it just ends; then
//! it is recovered, also while power fails again, and goes on.
//!
//! What must hold after every recovery, whatever of the unsynced was lost:
//! * The sequences are those that were recorded, without a gap, up to the end; at least to where `synced` was ever seen, and after a kill to `written`.
//! * Their contents are what was recorded last: every life records other bytes, so what was cut once and came back would show, as would anything made up.
//! * A strict open finds no corruption: nothing here rots, things only get lost. `rot` is about what does.
//! * What retention removed is below the `kept_from` of some header, and below the consumer's position if one was ever stored; without retention
//!   nothing is missing at the front. That position is never before the last one that was stored.
//!
//! `RINGWAY_SEEDS=n` runs n seeds, `RINGWAY_SEED=s` one. A seed decides everything, salts and times too: no thread is at work beside.
//!
//! That this finds faults was tried by planting them, one at a time. Found, each within the seeds of one run: the directory is not synced with a new
//! segment; `synced` is raised before the sync; the old segment is not synced at a roll; the segment that a life begins with is not synced; writing
//! is resumed in a segment that was cut; segments are removed before the header that allows it is durable; a removed one is written over before its
//! name is durably gone; recovery does not sync files, or the directory, or leaves later segments; it
//! takes for durable what it reads after a failed sync, or removes the front at once with what is behind it; a position's name is not synced again after a restart; a sync of names counts
//! after one that failed; a directory that is gone is not noticed by a sync; a writer goes on after a failure. Not found: a recycled
//! segment that keeps its salt, as old frames have lower sequences than those expected there; that check and the salt each suffice.

use super::inode::Random;
use super::{EIO, ENOSPC, Op, Plan, SimStorage};
use crate::config::{JournalConfig, Retention, SyncPolicy};
use crate::error::{Error, ErrorKind};
use crate::journal::Recovered;
use crate::journal::codec::{Bytes, Codec};
use crate::journal::format::{
    Content, FRAME_HEADER, FrameHeader, SEGMENT_HEADER, SegmentHeader, parse_segment_name,
    payload_crc, records,
};
use crate::journal::positions::PositionStore;
use crate::journal::recovery;
use crate::journal::storage::Storage;
use crate::journal::writer::Writer;
use crate::sequence::Sequence;
use std::iter::once;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

const SEEDS: u64 = 2000;
/// Of lives in which every call fails once.
const WORLDS: u64 = 24;
/// So many times for each.
const CRASHES: u64 = 3;
const LIVES_MAX: usize = 6;
const STEPS_MAX: usize = 40;
const CONSUMER: &str = "one";

/// What was recorded for a sequence; `None`: it was abandoned.
pub(super) type Entry = Option<Vec<u8>>;

#[derive(Clone)]
pub(super) struct World {
    seed: u64,
    random: Random,
    config: JournalConfig,
    pub(super) storage: SimStorage,
    /// By sequence.
    recorded: Vec<Entry>,
    /// Below this, everything was reported durable.
    synced: u64,
    /// Below this, everything survives a kill.
    written: u64,
    /// The position of a consumer that was stored last, if one ever was; a later one may be there.
    position: Option<u64>,
    life: u64,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let write_bytes_max = 512 << random.below(3);
        let sync = match random.below(3) {
            0 => SyncPolicy::Never,
            1 => SyncPolicy::Interval(Duration::from_millis(1)),
            _ => SyncPolicy::EveryBatch,
        };
        let segments = 1 + random.below(4) as u64;
        let config = JournalConfig {
            segment_bytes: 4096,
            write_bytes_max,
            sync,
            retention: Retention {
                bytes_max: random.one_in(2).then_some(4096 * segments),
                // every event is older
                age_max: random.one_in(6).then_some(Duration::from_nanos(1)),
                consumed: random.one_in(3),
            },
            ..JournalConfig::default()
        };
        Self {
            seed,
            config,
            storage: SimStorage::new(seed),
            recorded: Vec::new(),
            synced: 0,
            written: 0,
            position: None,
            life: 0,
            random,
        }
    }

    fn run(&mut self) {
        let lives = 1 + self.random.below(LIVES_MAX);
        self.lives(lives);
        self.recover();
    }

    pub(super) fn lives(&mut self, lives: usize) {
        for _ in 0..lives {
            self.life += 1;
            let recovered = self.recover();
            let plan = self.life_plan();
            self.live(&recovered, plan);
            self.end();
        }
    }

    /// A plan for a life or a recovery of about so many calls.
    fn mishap(&mut self, calls: usize) -> Plan {
        let at = self.random.below(calls) as u64;
        let codes = [EIO, ENOSPC];
        let code = codes[self.random.below(codes.len())];
        let (often, seldom) = (self.random.below(calls), self.random.below(4));
        let mut plan = match self.random.below(12) {
            0..6 => Plan {
                power_off: Some(at),
                ..Plan::default()
            },
            6 => Plan {
                gone: Some(at),
                ..Plan::default()
            },
            7 => Plan {
                read_only: Some(at),
                ..Plan::default()
            },
            8 => Plan {
                space: Some(self.random.below(20_000)),
                ..Plan::default()
            },
            _ => {
                let (op, nth) = [
                    (Op::Write, often / 2),
                    (Op::Sync, often / 4),
                    (Op::Write, seldom),
                    (Op::Sync, seldom),
                    (Op::SyncDirectory, seldom),
                    (Op::Rename, seldom),
                    (Op::Create, seldom),
                    (Op::Remove, seldom),
                    (Op::Truncate, seldom),
                    (Op::List, 0),
                    (Op::Open, seldom),
                    (Op::Read, often / 2),
                    (Op::Len, seldom),
                ][self.random.below(13)];
                Plan {
                    fail: Some((op, nth as u64, code)),
                    ..Plan::default()
                }
            }
        };
        plan.short_writes = self.random.one_in(4);
        plan
    }

    fn life_plan(&mut self) -> Plan {
        match self.random.below(4) {
            0 => Plan {
                short_writes: self.random.one_in(4),
                ..Plan::default()
            },
            1 => self.mishap(30),
            2 => self.mishap(250),
            _ => {
                let calls = 60 << self.random.below(5);
                self.mishap(calls)
            }
        }
    }

    /// Recovers, perhaps after attempts that fail.
    fn recover(&mut self) -> Recovered {
        while self.random.one_in(3) {
            let plan = self.mishap(60);
            self.storage.plan(plan);
            match self.try_recover() {
                Ok(recovered) => self.accept(&recovered),
                Err(error) => {
                    let expected = [ErrorKind::JournalIo];
                    assert!(expected.contains(&error.kind()), "{error}");
                }
            }
            self.end();
        }
        self.recover_well()
    }

    /// Recovers while nothing goes wrong.
    fn recover_well(&mut self) -> Recovered {
        self.storage.plan(Plan::default());
        let recovered = self.try_recover().unwrap_or_else(|error| {
            panic!("{error}\n{:#?}", self.listing());
        });
        self.accept(&recovered);
        if let Some(least) = self.position {
            let there = self.positions().load(CONSUMER).expect("it can be read");
            let there = there.expect("it was stored").get();
            assert!(there >= least, "position {there} is before {least}");
        }
        recovered
    }

    /// Its files after power failed.
    fn after(&self, crash: u64) -> Self {
        Self {
            storage: self.storage.crash(crash),
            written: 0,
            ..self.clone()
        }
    }

    /// What a recovery reports is durable: from now on all that is.
    fn accept(&mut self, recovered: &Recovered) {
        let next = self.check(recovered);
        self.recorded.truncate(next);
        self.synced = recovered.next;
        self.written = recovered.next;
    }

    fn try_recover(&self) -> Result<Recovered, Error> {
        let storage: Arc<dyn Storage> = Arc::new(self.storage.clone());
        let mode = self.config.recovery;
        recovery::recover(&storage, Bytes.id(), Bytes.event_bytes(), mode)
            .map(|(recovered, _)| recovered)
    }

    /// Compares what is there with what was recorded; how many sequences there are.
    fn check(&mut self, recovered: &Recovered) -> usize {
        let next = usize::try_from(recovered.next).expect("small");
        let (least, most) = (self.synced.max(self.written), self.recorded.len());
        assert!(
            recovered.next >= least && next <= most,
            "{next} were recovered, {least} were kept ({} synced), {most} recorded: {:#?}",
            self.synced,
            self.listing()
        );
        let (entries, kept_from) = read(&self.storage, recovered);
        let first = entries.first().map_or(recovered.next, |entry| entry.0);
        let may_go = match self.config.retention {
            retention if retention == Retention::default() => 0,
            _ => kept_from.min(self.position.unwrap_or(u64::MAX)),
        };
        assert!(
            first <= may_go,
            "the front up to {first} is missing, kept is all from {kept_from}, needed from {:?}: {:#?}",
            self.position,
            self.listing()
        );
        for ((sequence, entry), expected) in entries.iter().zip(first..) {
            assert_eq!(*sequence, expected, "a gap");
            assert_eq!(
                *entry, self.recorded[expected as usize],
                "of sequence {expected}, life {}",
                self.life
            );
        }
        assert_eq!(first + entries.len() as u64, recovered.next);
        next
    }

    /// Writes by a random script until it is over or something fails.
    fn live(&mut self, recovered: &Recovered, plan: Plan) {
        self.storage.plan(plan);
        let storage: Arc<dyn Storage> = Arc::new(self.storage.clone());
        let Ok(mut writer) = Writer::new(&storage, &self.config, &Arc::new(Bytes), recovered)
        else {
            return;
        };
        let positions = self.positions();
        // some are long enough for what retention removes to be used again
        let longer = if self.random.one_in(8) { 5 } else { 1 };
        let steps = self.random.below(STEPS_MAX * longer);
        for _ in 0..steps {
            let was_gone = self.storage.is_gone();
            let result = self.step(&mut writer, &positions);
            let (written, synced) = (writer.written(), writer.synced());
            assert!(!was_gone || synced == self.synced, "synced nowhere");
            assert!(synced <= written && written <= self.recorded.len() as u64);
            assert!(synced >= self.synced && written >= self.written);
            (self.written, self.synced) = (written, synced);
            if let Err(error) = result {
                self.check_failed(&mut writer, &error);
                return;
            }
        }
        if self.random.one_in(3) {
            // whatever fails then, nothing was promised
            let _ = writer.close();
        }
    }

    fn step(&mut self, writer: &mut Writer<Bytes>, positions: &PositionStore) -> Result<(), Error> {
        match self.random.below(9) {
            0..4 => {
                for _ in 0..1 + self.random.below(8) {
                    if self.random.one_in(12) {
                        self.abandon();
                    }
                    let sequence = self.recorded.len() as u64;
                    let event = self.event(sequence);
                    self.recorded.push(Some(event.clone()));
                    writer.record(sequence, once(&event))?;
                }
                Ok(())
            }
            4 | 5 => {
                if self.random.one_in(8) {
                    self.abandon();
                }
                let below = self.recorded.len() as u64;
                writer.flush(below)?;
                assert_eq!(writer.written(), below);
                Ok(())
            }
            6 => {
                writer.sync()?;
                assert_eq!(writer.synced(), writer.written());
                Ok(())
            }
            7 => writer.note_synced(),
            _ => self.consume(positions),
        }
    }

    fn positions(&self) -> PositionStore {
        PositionStore::on(Arc::new(self.storage.clone()))
    }

    /// A consumer goes on, if there is one in this seed. That its position is not stored is nothing to the journal.
    fn consume(&mut self, positions: &PositionStore) -> Result<(), Error> {
        if self.position.is_none() && self.synced < self.written {
            return Ok(()); // where it begins may be gone already
        }
        let behind = self.synced - self.position.unwrap_or(self.synced);
        let position = self.synced - self.random.below(behind as usize + 1) as u64;
        let position = Sequence::new(position);
        if !self.seed.is_multiple_of(3) && positions.store(CONSUMER, position).is_ok() {
            self.position = Some(position.get());
        }
        Ok(())
    }

    fn abandon(&mut self) {
        let count = 1 + self.random.below(3);
        self.recorded.resize(self.recorded.len() + count, None);
    }

    /// Other bytes in every life.
    fn event(&mut self, sequence: u64) -> Vec<u8> {
        let len = match self.random.below(16) {
            0 => 0,
            1 if self.seed.is_multiple_of(2) => 1500 + self.random.below(4000),
            _ => self.random.below(200),
        };
        let mut random = Random::new(self.seed << 40 ^ self.life << 32 ^ sequence);
        (0..len).map(|_| random.next() as u8).collect()
    }

    /// Once failed, it says where, and neither writes nor promises anything more.
    fn check_failed(&mut self, writer: &mut Writer<Bytes>, error: &Error) {
        assert_eq!(error.kind(), ErrorKind::JournalIo, "{error}");
        for word in ["/sim", "offset ", "sequence "] {
            assert!(error.to_string().contains(word), "no {word}in {error}");
        }
        let before = self.storage.files();
        for _ in 0..self.random.below(3) {
            // recorded or not: nobody was told that it was
            let _ = self.step(writer, &self.positions());
        }
        let (written, synced) = (writer.written(), writer.synced());
        assert_eq!((written, synced), (self.written, self.synced), "{error}");
        let after = self.storage.files();
        for (name, bytes) in before {
            if parse_segment_name(&name).is_some() {
                assert!(
                    after.get(&name) == Some(&bytes),
                    "{name} changed after {error}"
                );
            }
        }
    }

    /// Of a life: power fails, or the process is killed, or it has ended by itself.
    fn end(&mut self) {
        let seed = self.random.next();
        if self.storage.is_off() || self.random.one_in(2) {
            self.storage = self.storage.crash(seed);
            self.written = 0;
        } else {
            if self.storage.lied() {
                self.written = 0; // the system may forget what it did not write
            }
            self.storage = self.storage.kill(seed);
        }
    }

    fn listing(&self) -> Vec<(String, usize)> {
        let files = self.storage.files().into_iter();
        files.map(|(name, bytes)| (name, bytes.len())).collect()
    }
}

/// Reads what was recovered by the bytes alone, and the highest `kept_from`. Everything must be whole.
pub(super) fn read(storage: &SimStorage, recovered: &Recovered) -> (Vec<(u64, Entry)>, u64) {
    let files = storage.files();
    let mut entries = Vec::new();
    let mut kept_from = 0;
    for segment in &recovered.segments {
        let bytes = &files[&segment.name()];
        let header = bytes.first_chunk::<SEGMENT_HEADER>().expect("a header");
        let header = SegmentHeader::decode(header).expect("a whole header");
        assert_eq!((header.first, header.salt), (segment.first, segment.salt));
        assert_eq!(header.journal, recovered.id);
        kept_from = kept_from.max(header.kept_from);
        let end = usize::try_from(segment.bytes).expect("small");
        let mut at = SEGMENT_HEADER;
        while at < end {
            let frame = bytes[at..].first_chunk::<FRAME_HEADER>().expect("a header");
            let frame = FrameHeader::decode(frame, segment.salt).expect("a whole frame");
            let payload = &bytes[at + FRAME_HEADER..][..frame.bytes as usize];
            match frame.content {
                Content::Records => {
                    assert_eq!(payload_crc(segment.salt, payload), frame.payload_crc);
                    let records = records(payload, 0).map(|record| record.expect("whole").to_vec());
                    entries.extend((frame.first..).zip(records.map(Some)));
                }
                Content::Abandoned => entries.extend(frame.range().map(|at| (at, None))),
                Content::Lost | Content::Watermark => {}
            }
            assert!(frame.synced <= recovered.next);
            at += usize::try_from(frame.frame_bytes()).expect("small");
        }
        assert_eq!(at, end, "frames end where the segment does");
    }
    (entries, kept_from)
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs a seed; the text of what was wrong.
fn failure(seed: u64, body: fn(u64)) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(|| body(seed))).err()?;
    let text = match panic.downcast_ref::<&str>() {
        Some(text) => (*text).to_owned(),
        None => panic.downcast_ref::<String>().cloned().unwrap_or_default(),
    };
    Some(format!("seed {seed} (again: RINGWAY_SEED={seed}): {text}"))
}

/// Runs `body` with each seed, or the one that was asked for.
pub(super) fn run(seeds: u64, body: fn(u64)) {
    let seeds = match variable("RINGWAY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..seeds,
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let run = |part: usize| {
            let mut own = seeds.clone().skip(part).step_by(threads);
            scope.spawn(move || own.find_map(|seed| failure(seed, body)))
        };
        let parts: Vec<_> = (0..threads).map(run).collect();
        let ends = parts.into_iter().map(|part| part.join());
        ends.filter_map(|end| end.expect("panics are caught"))
            .collect()
    });
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn what_was_synced_survives_every_end() {
    let seeds = variable("RINGWAY_SEEDS").unwrap_or(SEEDS);
    run(seeds, |seed| World::new(seed).run());
}

#[test]
fn a_seed_decides_everything() {
    let lives = |seed| {
        let mut world = World::new(seed);
        world.run();
        (world.storage.files(), world.storage.calls())
    };
    for seed in 0..50 {
        assert!(lives(seed) == lives(seed), "seed {seed}");
    }
}

/// A few lives, each again and again: every call of it fails once, and power fails once in it; then every call of the recovery.
#[test]
fn every_call_may_be_the_last() {
    run(WORLDS, |seed| {
        let points = (0..)
            .map_while(|at| life_that_fails_at(seed, at))
            .sum::<u64>();
        assert!(points > 50, "{points}");
    });
}

/// `None`: the life was over before this call. How many ends were tried.
fn life_that_fails_at(seed: u64, at: u64) -> Option<u64> {
    let off = Plan {
        power_off: Some(at),
        ..Plan::default()
    };
    let error = Plan {
        fail_call: Some((at, EIO)),
        ..Plan::default()
    };
    let mut points = 0;
    for plan in [off, error] {
        let mut world = World::new(seed);
        world.life = 1;
        let recovered = world.recover_well();
        world.live(&recovered, plan);
        if world.storage.calls() <= at {
            return None;
        }
        for crash in 0..CRASHES {
            let mut well = world.after(crash);
            well.recover_well();
            let mut twice = world.after(crash);
            twice.storage.plan(Plan {
                power_off: Some(at % well.storage.calls()),
                ..Plan::default()
            });
            if let Ok(recovered) = twice.try_recover() {
                twice.accept(&recovered);
            }
            twice.after(at).recover_well();
            points += 2;
        }
    }
    Some(points)
}
