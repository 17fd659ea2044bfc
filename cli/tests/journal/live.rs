//! Beside a writer, a reader that leaves, an interrupt.

use super::common::*;
use ringway::{JournalConfig, Plain, Retention, SyncPolicy};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// All verbs beside a writer that syncs, rolls, removes and uses again.
#[test]
fn a_running_writer_is_no_damage() {
    let directory = Directory::new("running");
    let config = JournalConfig {
        sync: SyncPolicy::EveryBatch,
        retention: Retention {
            bytes_max: Some(2 << 20),
            ..Retention::default()
        },
        segment_bytes: 1 << 17,
        ..small()
    };
    let (bus, mut producer) = directory.start(Plain::<Pair>::new(), config);
    producer.publish([0, 0]).expect("the bus is open");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut number = 1;
            // relaxed: it guards no data
            while !done.load(Ordering::Relaxed) {
                producer.publish([number, 0]).expect("the bus is open");
                number += 1;
                if number % 64 == 0 {
                    thread::sleep(Duration::from_micros(200));
                }
            }
            number
        });
        let path = directory.path();
        let mut codes = Vec::new();
        for _ in 0..10 {
            for args in [
                &["verify", path][..],
                &["inspect", path],
                &["tail", path, "-n", "5"],
            ] {
                let (code, _, stderr) = run(args);
                codes.push((args[0], code, stderr));
            }
        }
        let mut follow = spawn(&[
            "tail",
            path,
            "--follow",
            "--from",
            "end",
            "--fields",
            "number:u64,_:skip8",
        ]);
        let lines = BufReader::new(follow.stdout.take().expect("it is a pipe")).lines();
        let mut followed = Vec::new();
        for line in lines.take(2000) {
            let line = line.expect("it is text");
            let line: Value = serde_json::from_str(&line).expect("it is JSON");
            followed.push((line["sequence"].as_u64(), line["number"].as_u64()));
        }
        done.store(true, Ordering::Relaxed);
        let written = writer.join().expect("it ends");
        for (verb, code, stderr) in codes {
            let is_fine = code == Some(0) || (verb == "verify" && code == Some(1));
            assert!(is_fine, "{verb}: {code:?}: {stderr}");
        }
        for pair in followed.windows(2) {
            assert_eq!(pair[0].0.map(|sequence| sequence + 1), pair[1].0);
        }
        assert!(followed.iter().all(|(sequence, number)| sequence == number));
        assert!(followed.last().is_some_and(|last| last.0 < Some(written)));
        // its reader has left
        assert_eq!(wait(follow), (Some(0), String::new()));
    });
    drop(producer);
    bus.shutdown().expect("nothing failed");
    assert_eq!(run(&["verify", directory.path()]).0, Some(0));
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let directory = Directory::with_pairs("leaves", 5000);
    for args in [
        &["export"][..],
        &["dump"],
        &["inspect"],
        &["verify"],
        &["tail", "-n", "5000"],
    ] {
        let mut child = spawn(&[args, &[directory.path()]].concat());
        drop(child.stdout.take());
        assert_eq!(wait(child), (Some(0), String::new()), "{args:?}");
    }
    // also while there is nothing to write
    let mut child = spawn(&["tail", "-f", "-n", "1", directory.path()]);
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("it is a pipe"));
    stdout.read_line(&mut line).expect("it is text");
    drop(stdout);
    assert!(line.contains(r#""sequence":4999"#), "{line}");
    assert_eq!(wait(child), (Some(0), String::new()));
}

#[test]
fn an_interrupt_ends_a_tail_cleanly() {
    let directory = Directory::with_pairs("interrupt", 100);
    for signal in ["-INT", "-TERM"] {
        let mut child = spawn(&["tail", "-f", directory.path()]);
        let mut stdout = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it is text");
        let id = child.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("there is a kill").success());
        assert_eq!(wait(child), (Some(0), String::new()), "{signal}");
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).expect("it is text");
        assert_eq!(lines(&rest).len(), 9, "whole lines");
    }
}
