//! Journals of types that serde knows.
#![cfg(feature = "postcard")]

mod common;

use common::journal::Scratch;
use ringway::{
    BusConfig, Bytes, Codec, ErrorKind, Journal, JournalConfig, JournalReader, Postcard, Topology,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    Opened { account: u64, owner: String },
    Paid { account: u64, cents: i64 },
    Closed,
}

fn event(number: u64) -> Event {
    match number % 3 {
        0 => Event::Opened {
            account: number,
            owner: "x".repeat(number as usize % 100),
        },
        1 => Event::Paid {
            account: number << 32,
            cents: -(number as i64),
        },
        _ => Event::Closed,
    }
}

#[test]
fn what_was_recorded_comes_back_and_goes_on() {
    let scratch = Scratch::new("postcard");
    let config = || JournalConfig {
        segment_bytes: 16 << 10,
        write_bytes_max: 2 << 10,
        ..JournalConfig::default()
    };
    for life in 0..3 {
        let journal = Journal::open(scratch.path(), config(), Postcard::<Event>::new()).unwrap();
        let next = journal.next().get();
        assert_eq!(next, life * 1_000);
        let replay = journal.replay(journal.first()).unwrap();
        let found: Vec<Event> = replay.map(|record| record.unwrap().event).collect();
        assert!(found.into_iter().eq((0..next).map(event)));
        let mut topology = Topology::single(BusConfig::default(), || Event::Closed).unwrap();
        topology.stage("journal").journal(journal);
        let (bus, mut producer) = topology.start().unwrap();
        for number in next..next + 1_000 {
            producer.publish(event(number)).unwrap();
        }
        drop(producer);
        bus.shutdown().unwrap();
    }
    let other = Postcard::<Event>::with_id(1);
    let error = Journal::open(scratch.path(), config(), other).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::JournalMismatch);
    let error = Journal::open(scratch.path(), config(), Bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::JournalMismatch);
    let reader = JournalReader::open(scratch.path(), Postcard::<Event>::new()).unwrap();
    assert_eq!(
        reader.replay(reader.first().unwrap()).unwrap().count(),
        3_000
    );
}

#[test]
fn a_record_of_any_other_length_is_no_event() {
    let codec = Postcard::<Event>::new();
    let mut bytes = b"before".to_vec();
    codec.encode(&event(3), &mut bytes).unwrap();
    let record = bytes.strip_prefix(b"before").expect("it appends");
    assert_eq!(codec.decode(record).unwrap(), event(3));
    for length in 0..record.len() {
        codec.decode(&record[..length]).unwrap_err();
    }
    let error = codec.decode(&[record, b"x"].concat()).unwrap_err();
    let (all, event) = (record.len() + 1, record.len());
    assert_eq!(
        error.to_string(),
        format!("the record has {all} bytes, the event {event}")
    );
}

#[test]
fn a_type_that_cannot_be_encoded_fails_the_codec_not_the_process() {
    /// A sequence whose length serde is not told, which postcard asks for.
    struct Endless;
    impl Serialize for Endless {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serde::ser::SerializeSeq::end(serializer.serialize_seq(None)?)
        }
    }
    impl<'de> Deserialize<'de> for Endless {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Ok(Self)
        }
    }
    let error = Postcard::<Endless>::new()
        .encode(&Endless, &mut Vec::new())
        .unwrap_err();
    assert!(error.to_string().contains("cannot be encoded"), "{error}");
}
