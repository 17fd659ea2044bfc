//! Topics: found by name and type, refused with words that help, and no reason for any bus to stay.

mod common;

use common::{config, later, limited, numbers};
use ringway::{
    Broker, Bus, BusConfig, Consumer, Ended, Error, ErrorKind, Multi, OnLag, OnUnread, Producer,
    SubscribeConfig, TopicState, Topology, Wait,
};
#[cfg(unix)]
use ringway::{Journal, JournalConfig, Level, Plain};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A bus of several producers with one reader.
fn multi() -> (Bus<u64>, Producer<u64, Multi>, Consumer<u64>) {
    let mut topology = Topology::multi(config(64), || 0).expect("it is right");
    let (_, rx) = topology.stage("first").consumer();
    let (bus, tx) = topology.start().expect("it is right");
    (bus, tx, rx)
}

fn subscribe(broker: &Broker, topic: &str, reader: &str) -> Result<Consumer<u64>, Error> {
    broker.subscribe(topic, reader, SubscribeConfig::default())
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

/// Reads to the end.
fn all(mut rx: Consumer<u64>) -> (Vec<u64>, Ended) {
    let mut all = Vec::new();
    loop {
        match rx.read() {
            Ok(batch) => all.extend(batch.iter().copied()),
            Err(ended) => return (all, ended),
        }
    }
}

fn states(broker: &Broker) -> Vec<(String, TopicState)> {
    let topics = broker.topics().into_iter();
    topics.map(|topic| (topic.name, topic.state)).collect()
}

#[test]
fn parts_meet_by_name_and_type() {
    limited(|| {
        let broker = Broker::new();
        let (bus, tx, rx) = multi();
        broker.register("numbers", &bus).expect("it is free");
        let elsewhere = broker.clone();
        let late = thread::spawn(move || {
            let late = subscribe(&elsewhere, "numbers", "late").expect("it is open");
            let mut tx = elsewhere.producer::<u64>("numbers").expect("it is open");
            tx.publish_batch(numbers(0..3)).expect("it is open");
            drop(tx);
            late
        });
        let late = late.join().expect("it does not panic");
        drop(tx);
        assert_eq!(all(rx), (vec![0, 1, 2], Ended::Drained));
        assert_eq!(all(late), (vec![0, 1, 2], Ended::Drained));
        bus.shutdown().expect("it drains");
    });
}

#[test]
fn refusals_name_the_topic_and_what_there_is() {
    let broker = Broker::new();
    let none = broker.producer::<u64>("numbers");
    refused(none, ErrorKind::UnknownTopic, &["`numbers`", "none"]);
    let (bus, _tx, _rx) = multi();
    broker.register("numbers", &bus).expect("it is free");

    let known = ["`number`", "registered are numbers"];
    refused(
        broker.producer::<u64>("number"),
        ErrorKind::UnknownTopic,
        &known,
    );
    refused(
        subscribe(&broker, "number", "late"),
        ErrorKind::UnknownTopic,
        &known,
    );

    let types = ["`numbers`", "`u64`", "`alloc::string::String`"];
    let producer = broker.producer::<String>("numbers");
    refused(producer, ErrorKind::TopicType, &types);
    let config = SubscribeConfig::default();
    let reader = broker.subscribe::<String>("numbers", "late", config);
    refused(reader, ErrorKind::TopicType, &types);

    let again = ["`numbers`", "`u64`", "unregister"];
    refused(
        broker.register("numbers", &bus),
        ErrorKind::DuplicateTopic,
        &again,
    );
    refused(
        broker.register("", &bus),
        ErrorKind::InvalidConfig,
        &["name"],
    );
    let taken = subscribe(&broker, "numbers", "first");
    refused(
        taken,
        ErrorKind::DuplicateStage,
        &["topic `numbers`", "`first`"],
    );

    for number in 0..20 {
        let name = format!("more-{number:02}");
        broker
            .register(name, &bus)
            .expect("a bus has several names");
    }
    let text = ["more-07", "and 13 more"];
    refused(broker.producer::<u64>("x"), ErrorKind::UnknownTopic, &text);
}

#[test]
fn a_broker_keeps_no_bus_open() {
    limited(|| {
        let broker = Broker::new();
        let (bus, tx, rx) = multi();
        broker.register("numbers", &bus).expect("it is free");
        assert_eq!(bus.stats().producers.len(), 1, "a broker is no producer");
        drop(tx);
        assert_eq!(all(rx), (vec![], Ended::Drained));
        let ended = ["`numbers`", "ended"];
        refused(
            broker.producer::<u64>("numbers"),
            ErrorKind::TopicEnded,
            &ended,
        );
        refused(
            subscribe(&broker, "numbers", "late"),
            ErrorKind::TopicEnded,
            &ended,
        );
        refused(
            broker.register("other", &bus),
            ErrorKind::TopicEnded,
            &["`other`"],
        );
        assert_eq!(states(&broker), [("numbers".into(), TopicState::Ended)]);
        bus.shutdown().expect("it drains");
    });
}

/// An event that tells when it is dropped.
struct Told(Arc<AtomicUsize>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_broker_keeps_no_ring_alive() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let made = Arc::new(AtomicUsize::new(0));
    let event = {
        let (dropped, made) = (dropped.clone(), made.clone());
        move || {
            made.fetch_add(1, Ordering::SeqCst);
            Told(dropped.clone())
        }
    };
    let mut topology = Topology::multi(config(4), event).expect("it is right");
    let (_, rx) = topology.stage("first").consumer();
    let (bus, tx) = topology.start().expect("it is right");
    let broker = Broker::new();
    broker.register("told", &bus).expect("it is free");
    drop((bus, rx));
    assert_eq!(dropped.load(Ordering::SeqCst), 0, "a producer holds them");
    drop(tx);
    assert_ne!(made.load(Ordering::SeqCst), 0);
    assert_eq!(dropped.load(Ordering::SeqCst), made.load(Ordering::SeqCst));
    assert_eq!(states(&broker), [("told".into(), TopicState::Ended)]);
}

#[test]
fn a_topic_outlives_the_handle_of_its_bus() {
    limited(|| {
        let broker = Broker::new();
        let (bus, tx, rx) = multi();
        broker.register("numbers", &bus).expect("it is free");
        drop(bus);
        let late = subscribe(&broker, "numbers", "late").expect("a producer lives");
        let another = broker.producer::<u64>("numbers");
        let mut another = another.expect("a producer lives");
        drop(tx);
        another.publish(7).expect("it keeps the bus open");
        let third = broker.producer::<u64>("numbers");
        drop(third.expect("another one lives"));
        drop(another);
        assert_eq!(all(late), (vec![7], Ended::Drained));
        assert_eq!(all(rx), (vec![7], Ended::Drained));
        let ended = broker.producer::<u64>("numbers");
        refused(ended, ErrorKind::TopicEnded, &["`numbers`"]);
    });
}

#[test]
fn every_end_of_a_bus_ends_its_topic() {
    type End = fn(&Bus<u64>, Consumer<u64>);
    let ends: [End; 3] = [
        |bus, _| bus.close(),
        |bus, _| bus.halt(),
        |_, readers| drop(readers),
    ];
    for end in ends {
        let broker = Broker::new();
        let (bus, tx, rx) = multi();
        broker.register("numbers", &bus).expect("it is free");
        assert_eq!(states(&broker), [("numbers".into(), TopicState::Open)]);
        end(&bus, rx);
        assert_eq!(states(&broker), [("numbers".into(), TopicState::Ended)]);
        let producer = broker.producer::<u64>("numbers");
        refused(producer, ErrorKind::TopicEnded, &["`numbers`"]);
        let reader = subscribe(&broker, "numbers", "late");
        refused(reader, ErrorKind::TopicEnded, &["`numbers`"]);
        assert_eq!(bus.stats().producers.len(), 1, "only the first");
        drop(tx);
    }
}

#[test]
fn a_topic_that_nobody_reads_stays_where_producers_go_on() {
    let config = BusConfig {
        on_unread: OnUnread::Continue,
        ..config(8)
    };
    let mut topology = Topology::multi(config, || 0_u64).expect("it is right");
    let (_, rx) = topology.stage("first").consumer();
    let (bus, tx) = topology.start().expect("it is right");
    let broker = Broker::new();
    broker.register("numbers", &bus).expect("it is free");
    drop(rx);
    assert_eq!(states(&broker), [("numbers".into(), TopicState::Open)]);
    let another = broker.producer::<u64>("numbers");
    let mut another = another.expect("it is open");
    another.publish(1).expect("it goes on");
    let late = subscribe(&broker, "numbers", "late").expect("it is open");
    drop(tx);
    another.publish(2).expect("it goes on");
    drop(another);
    assert_eq!(all(late), (vec![2], Ended::Drained));
    assert_eq!(states(&broker), [("numbers".into(), TopicState::Ended)]);
}

#[test]
fn a_name_is_free_again_once_its_topic_has_ended_or_is_unregistered() {
    let broker = Broker::new();
    let (first, tx, _rx) = multi();
    broker.register("topic", &first).expect("it is free");
    assert!(broker.unregister("topic"));
    assert!(!broker.unregister("topic"));
    assert_eq!(broker.topics(), []);
    broker.register("topic", &first).expect("it is free again");
    drop(tx);

    let mut topology = Topology::multi(config(8), String::new).expect("it is right");
    let (_, mut lines) = topology.stage("lines").consumer();
    let (second, mut tx) = topology.start().expect("it is right");
    broker.register("topic", &second).expect("the first ended");
    assert_eq!(broker.topics()[0].event, "alloc::string::String");
    let other = broker.producer::<u64>("topic");
    refused(other, ErrorKind::TopicType, &["`u64`"]);
    let mut another = broker.producer("topic").expect("it is open");
    another.publish("a".to_string()).expect("it is open");
    tx.publish("b".to_string()).expect("it is open");
    let read = lines.read_deadline(later()).expect("there is something");
    assert!(read.iter().eq(["a", "b"]));
}

#[cfg(unix)]
#[test]
fn a_new_producer_can_wait_for_the_journal() {
    let scratch = common::journal::Scratch::new("broker-durable");
    let journal = Journal::open(
        scratch.path(),
        JournalConfig::default(),
        Plain::<u64>::new(),
    );
    let mut topology = Topology::multi(config(8), || 0).expect("it is right");
    topology
        .stage("journal")
        .journal(journal.expect("it is new"));
    let (bus, tx) = topology.start().expect("it is right");
    let broker = Broker::new();
    broker.register("durable", &bus).expect("it is free");
    let mut another = broker.producer("durable").expect("it is open");
    drop(tx);
    let sequence = another.publish(7_u64).expect("it keeps the bus open");
    another
        .wait_durable(sequence, Level::Synced)
        .expect("it is");
    drop(another);
    bus.shutdown().expect("it drains");
}

#[test]
fn a_single_producer_has_readers_only() {
    limited(|| {
        let mut topology = Topology::single(config(8), || 0).expect("it is right");
        topology.stage("first").handle(|_, _| {});
        let (bus, mut tx) = topology.start().expect("it is right");
        let broker = Broker::new();
        broker.register("single", &bus).expect("it is free");
        let late = subscribe(&broker, "single", "late").expect("it is open");
        let producer = broker.producer::<u64>("single");
        refused(producer, ErrorKind::SingleProducer, &["`single`", "multi"]);
        tx.publish(1_u64).expect("it is open");
        drop(tx);
        assert_eq!(all(late), (vec![1], Ended::Drained));
        let reader = subscribe(&broker, "single", "later");
        refused(reader, ErrorKind::TopicEnded, &["`single`"]);
        let producer = broker.producer::<u64>("single");
        refused(producer, ErrorKind::TopicEnded, &["`single`"]);
        bus.shutdown().expect("it drains");
    });
}

#[test]
fn a_tap_joins_a_topic_and_keeps_nothing_open() {
    limited(|| {
        let broker = Broker::new();
        let (bus, mut tx, rx) = multi();
        broker.register("numbers", &bus).expect("it is free");
        let other = broker.tap::<String>("numbers", "tap", OnLag::Skip);
        refused(other, ErrorKind::TopicType, &["`numbers`"]);
        let taken = broker.tap::<u64>("numbers", "first", OnLag::Skip);
        refused(taken, ErrorKind::DuplicateStage, &["topic `numbers`"]);
        let tap = broker.tap::<u64>("numbers", "tap", OnLag::Skip);
        let mut tap = tap.expect("it is open");
        tx.publish(7).expect("it is open");
        drop(tx);
        assert_eq!(tap.read().expect("it is there").into_vec(), [7]);
        assert_eq!(tap.read().expect_err("it is over"), Ended::Drained);
        assert_eq!(all(rx), (vec![7], Ended::Drained));
        let late = broker.tap::<u64>("numbers", "late", OnLag::Skip);
        refused(late, ErrorKind::TopicEnded, &["`numbers`"]);
    });
}

#[test]
fn a_new_producer_waits_as_was_declared() {
    let mut topology = Topology::multi(config(8), || 0_u64).expect("it is right");
    topology.producer_wait(Wait::Yield);
    let (_, _rx) = topology.stage("first").consumer();
    let (bus, _tx) = topology.start().expect("it is right");
    let broker = Broker::new();
    broker.register("topic", &bus).expect("it is free");
    let mut producer = broker.producer::<u64>("topic").expect("it is open");
    let parks = producer.set_wait(Wait::Park);
    refused(parks, ErrorKind::InvalidConfig, &["never to park"]);
    producer.set_wait(Wait::BusySpin).expect("it never parks");
}
