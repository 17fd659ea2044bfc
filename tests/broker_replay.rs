//! Topics with a journal: taps that read on there, found by name; and no reason for the journal to stay open.
#![cfg(unix)]

mod common;

use common::journal::Scratch;
use common::{config, limited, until};
use ringway::{
    Broker, Bus, Codec, Consumer, Ended, Error, ErrorKind, Journal, JournalConfig, Multi,
    OnJournalError, OnLag, Plain, Producer, Sequence, StageError, SyncPolicy, Tap, TopicState,
    Topology,
};
use std::sync::{Arc, Weak};

/// Numbers as they are, by a codec that somebody can see; it refuses `u64::MAX`.
struct Seen(
    Plain<u64>,
    #[expect(dead_code, reason = "it is counted")] Arc<()>,
);

impl Codec for Seen {
    type Event = u64;

    fn id(&self) -> u64 {
        self.0.id()
    }

    fn event_bytes(&self) -> u32 {
        self.0.event_bytes()
    }

    fn encode(&self, event: &u64, bytes: &mut Vec<u8>) -> Result<(), StageError> {
        match *event {
            u64::MAX => Err("too large".into()),
            _ => self.0.encode(event, bytes),
        }
    }

    fn decode(&self, bytes: &[u8]) -> Result<u64, StageError> {
        self.0.decode(bytes)
    }
}

type Ends = (Bus<u64>, Producer<u64, Multi>, Consumer<u64>, Weak<()>);

/// A bus with a small ring, a journal and a reader; and whether anybody has the journal's codec.
fn recorded(scratch: &Scratch) -> Ends {
    let (held, on) = (Arc::new(()), OnJournalError::Continue);
    let seen = Arc::downgrade(&held);
    let never = JournalConfig {
        sync: SyncPolicy::Never,
        on_error: on,
        ..JournalConfig::default()
    };
    let journal = Journal::open(scratch.path(), never, Seen(Plain::new(), held));
    let mut topology = Topology::multi(config(8), || 0).expect("it is right");
    let journal = journal.expect("nobody has it open");
    topology.stage("journal").journal(journal);
    let (_, rx) = topology.stage("reader").consumer();
    let (bus, tx) = topology.start().expect("it is right");
    (bus, tx, rx, seen)
}

/// Publishes these, and reads them as any stage does.
fn pass(tx: &mut Producer<u64, Multi>, rx: &mut Consumer<u64>, numbers: std::ops::Range<u64>) {
    for number in numbers {
        tx.publish(number).expect("it is open");
        assert!(rx.read().expect("it is there").iter().eq(&[number]));
    }
}

fn all(mut tap: Tap<u64>) -> (Vec<u64>, Ended) {
    let mut all = Vec::new();
    loop {
        match tap.read() {
            Ok(batch) => all.extend(batch.into_vec()),
            Err(ended) => return (all, ended),
        }
    }
}

/// Fails with this kind, and a text that has all of these in it.
#[track_caller]
fn refused<R>(result: Result<R, Error>, kind: ErrorKind, words: &[&str]) {
    let error = result.err().expect("it is refused");
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "`{word}` in: {error}");
    }
}

#[test]
fn a_tap_of_a_topic_reads_on_in_the_journal_also_without_the_handle_of_the_bus() {
    for detach in [false, true] {
        limited(move || {
            let scratch = Scratch::new("broker-replay");
            let (bus, mut tx, mut rx, _) = recorded(&scratch);
            let broker = Broker::new();
            broker.register("numbers", &bus).expect("it is free");
            let bus = (!detach).then_some(bus); // else its handle is gone
            pass(&mut tx, &mut rx, 0..10);
            let tap = broker.tap::<u64>("numbers", "late", OnLag::Replay);
            let late = tap.expect("there is a journal");
            let tap = broker.tap_from::<u64>("numbers", "from", Sequence::new(5));
            let from = tap.expect("there is a journal");
            let beyond = broker.tap_from::<u64>("numbers", "beyond", Sequence::new(11));
            let range = ["topic `numbers`", "sequence is 11", "0 to 10"];
            refused(beyond, ErrorKind::InvalidConfig, &range);
            pass(&mut tx, &mut rx, 10..1000); // far more than the ring holds
            drop(tx);
            assert_eq!(all(from), ((5..1000).collect(), Ended::Drained));
            assert_eq!(all(late), ((10..1000).collect(), Ended::Drained));
            let ended = broker.tap_from::<u64>("numbers", "later", Sequence::new(5));
            refused(ended, ErrorKind::TopicEnded, &["`numbers`"]);
            drop((bus, rx));
        });
    }
}

/// How many files under this path this process has open.
#[cfg(target_os = "linux")]
fn open_files(scratch: &Scratch) -> usize {
    let files = std::fs::read_dir("/proc/self/fd").expect("it is there");
    let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    let of_it = |target: &std::path::PathBuf| target.starts_with(scratch.path());
    targets.filter(of_it).count()
}

#[test]
fn a_broker_keeps_no_journal_open() {
    limited(|| {
        let scratch = Scratch::new("broker-closed");
        let (bus, mut tx, mut rx, codec) = recorded(&scratch);
        let broker = Broker::new();
        broker.register("numbers", &bus).expect("it is free");
        pass(&mut tx, &mut rx, 0..3);
        let tap = broker.tap::<u64>("numbers", "tap", OnLag::Replay);
        drop(tap.expect("there is a journal"));
        assert_ne!(codec.strong_count(), 0);
        #[cfg(target_os = "linux")]
        assert_ne!(open_files(&scratch), 0);
        drop((tx, rx));
        bus.shutdown().expect("it drains");

        assert_eq!(broker.topics()[0].state, TopicState::Ended);
        #[cfg(target_os = "linux")]
        assert_eq!(open_files(&scratch), 0);
        assert_eq!(codec.strong_count(), 0);
        let tap = broker.tap::<u64>("numbers", "tap", OnLag::Replay);
        refused(tap, ErrorKind::TopicEnded, &["`numbers`"]);
        // the next bus goes on where it ends, under the same name
        let (bus, mut tx, mut rx, _) = recorded(&scratch);
        broker
            .register("numbers", &bus)
            .expect("the first has ended");
        let tap = broker.tap_from::<u64>("numbers", "tap", Sequence::new(0));
        let tap = tap.expect("the journal has it");
        pass(&mut tx, &mut rx, 3..6);
        drop((tx, rx));
        assert_eq!(all(tap), ((0..6).collect(), Ended::Drained));
        bus.shutdown().expect("it drains");
    });
}

#[test]
fn without_a_journal_that_can_be_read_a_tap_of_a_topic_cannot_replay() {
    limited(|| {
        let broker = Broker::new();
        let mut topology = Topology::multi(config(8), || 0_u64).expect("it is right");
        topology.stage("only").handle(|_, _| {});
        let (plain, _plain_tx) = topology.start().expect("it is right");
        broker.register("plain", &plain).expect("it is free");
        let none = ["topic `plain`", "`tap`", "the bus has none"];
        let tap = broker.tap::<u64>("plain", "tap", OnLag::Replay);
        refused(tap, ErrorKind::JournalMisplaced, &none);
        let tap = broker.tap_from::<u64>("plain", "tap", Sequence::new(0));
        refused(tap, ErrorKind::JournalMisplaced, &none);

        let scratch = Scratch::new("broker-failed");
        let (bus, mut tx, mut rx, codec) = recorded(&scratch);
        broker.register("failed", &bus).expect("it is free");
        pass(&mut tx, &mut rx, u64::MAX - 1..u64::MAX);
        tx.publish(u64::MAX)
            .expect("it goes on without the journal");
        drop(bus);
        until(|| codec.strong_count() == 0);
        let tap = broker.tap::<u64>("failed", "tap", OnLag::Replay);
        let gone = ["topic `failed`", "`tap`", "nobody has that open"];
        refused(tap, ErrorKind::JournalMisplaced, &gone);
        let skips = broker.tap::<u64>("failed", "tap", OnLag::Skip);
        assert!(skips.is_ok(), "the bus is open");
    });
}
