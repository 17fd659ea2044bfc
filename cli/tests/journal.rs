//! `ringway journal` on journals that the library wrote: whole, cut, damaged, and while they are written.

#![cfg(unix)] // as journals are

#[path = "journal/common.rs"]
mod common;
#[path = "journal/live.rs"]
mod live;
#[path = "journal/records.rs"]
mod records;

use common::*;
use ringway::{Journal, JournalConfig, Plain, Sequence};
use serde_json::Value;
use std::fs;

#[test]
fn a_whole_journal_is_code_0_and_is_not_touched() {
    let directory = Directory::with_pairs("whole", 1000);
    let journal = Journal::open(&directory.0, small(), Plain::<Pair>::new()).expect("it opens");
    let positions = journal.positions();
    for (name, position) in [("billing", 990), ("odd \n name", 0)] {
        let stored = positions.store(name, Sequence::new(position));
        stored.expect("the disk is whole");
    }
    fs::write(directory.0.join("notes.txt"), "mine").expect("it is writable");
    let before = directory.content();
    for locked in [true, false] {
        let path = directory.path();
        let (code, stdout, stderr) = run(&["verify", path]);
        assert_eq!((code, &*stderr), (Some(0), ""));
        assert!(
            stdout.starts_with("sequences 0 up to 1000, in "),
            "{stdout}"
        );
        let (code, table, _) = run(&["inspect", path]);
        assert_eq!(code, Some(0));
        for text in [
            "codec:      0x6e69616c70 (plain)\n",
            "events:     16 bytes each\n",
            "sequences:  0 up to 1000: 1000 records, 0 abandoned, 0 lost\n",
            "synced:     below 1000",
            "opening it would cut nothing off\n",
            "\nbilling ",
            "\nodd \\n name ",
            "\nnotes.txt ",
            " foreign\n",
            "\n.lock ",
        ] {
            assert!(table.contains(text), "{text:?}:\n{table}");
        }
        let (code, json, _) = run(&["inspect", "--json", path]);
        assert_eq!(code, Some(0));
        let json: Value = serde_json::from_str(&json).expect("it is JSON");
        assert_eq!((&json["schema"], &json["first"]), (&1.into(), &0.into()));
        assert_eq!(
            (&json["next"], &json["synced"]),
            (&1000.into(), &1000.into())
        );
        assert_eq!(json["event_bytes"], 16);
        assert_eq!(
            (&json["cut"], &json["corrupt"]),
            (&Value::Null, &Value::Null)
        );
        let segments = json["segments"].as_array().expect("a list");
        assert_eq!(segments.len(), directory.segments().len());
        assert!(segments.len() > 5);
        for pair in segments.windows(2) {
            assert_eq!(pair[0]["next"], pair[1]["first"]);
            assert!(pair[0]["last_time"].as_str() <= pair[1]["first_time"].as_str());
        }
        let lag = |index: usize| &json["consumers"][index]["lag"];
        assert_eq!((lag(0), lag(1)), (&10.into(), &1000.into()));
        for args in [
            &["dump", path][..],
            &["dump", "--frames", path],
            &["tail", path],
            &["export", path],
        ] {
            let (code, stdout, stderr) = run(args);
            assert_eq!((code, &*stderr), (Some(0), ""), "{args:?}");
            assert!(!stdout.is_empty());
        }
        if locked {
            assert!(Journal::open(&directory.0, small(), Plain::<Pair>::new()).is_err());
        }
    }
    assert!(before == directory.content(), "no file has changed");
    drop(journal);
}

#[test]
fn an_unsynced_end_is_code_1() {
    let directory = Directory::with_pairs("unsynced", 100);
    let last = directory.segments().pop().expect("there is one");
    let mut bytes = fs::read(&last).expect("it is readable");
    let end = bytes.len();
    bytes.extend([7; 20]);
    fs::write(&last, &bytes).expect("it is writable");
    let (code, stdout, stderr) = run(&["verify", directory.path()]);
    assert_eq!((code, &*stderr), (Some(1), ""));
    let text = format!("would cut off 20 bytes at offset {end} of ");
    assert!(
        stdout.contains(&text) && stdout.contains("sequence 100"),
        "{stdout}"
    );
    let (code, json, _) = run(&["inspect", "--json", directory.path()]);
    let json: Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!((code, &json["cut"]["bytes"]), (Some(0), &20.into()));
    let (code, stdout, _) = run(&["inspect", directory.path()]);
    assert!(code == Some(0) && stdout.contains(&text), "{stdout}");
    let (code, stdout, _) = run(&["export", directory.path()]);
    assert_eq!((code, lines(&stdout).len()), (Some(0), 100));
}

#[test]
fn damage_is_code_3_with_segment_offset_and_sequence() {
    let directory = Directory::with_pairs("corrupt", 1000);
    // the payload of the first frame of the third segment
    let damaged = directory.damage(2, 64 + 48);
    let name = damaged.file_name().expect("a file").to_string_lossy();
    let first: u64 = name[..20].parse().expect("a number");
    for args in [
        &["verify"][..],
        &["inspect"],
        &["inspect", "--json"],
        &["export"],
    ] {
        let (code, stdout, stderr) = run(&[args, &[directory.path()]].concat());
        assert_eq!(code, Some(3), "{args:?}");
        for text in [&*name, "offset 64, ", &format!("sequence {first}: ")] {
            assert!(stderr.contains(text), "{text}: {stderr}");
        }
        match args {
            ["export"] => assert_eq!(lines(&stdout).len() as u64, first, "all before it"),
            ["verify"] => assert_eq!(stdout, ""),
            ["inspect"] => assert!(stdout.contains("refused: /"), "{stdout}"),
            _ => {
                let json: Value = serde_json::from_str(&stdout).expect("it is JSON");
                let text = json["corrupt"].as_str().expect("a text");
                assert!(text.contains(&*name));
                let segments = directory.segments().len();
                assert_eq!(json["segments"].as_array().map(Vec::len), Some(segments));
            }
        }
    }
    let (code, stdout, stderr) = run(&["dump", directory.path()]);
    assert_eq!(code, Some(3));
    assert!(
        stderr.contains(&*name) && stdout.contains("\n# "),
        "{stderr}"
    );
    assert!(stdout.contains("\n999  "), "what is behind is shown");
    let (code, stdout, stderr) = run(&["dump", "--frames", directory.path()]);
    assert_eq!(code, Some(3));
    assert!(stdout.contains("ends at offset 64") && stderr.contains("offset 64"));

    let directory = Directory::with_pairs("headless", 1000);
    directory.damage(1, 20);
    for verb in ["verify", "inspect", "export", "dump"] {
        let (code, _, stderr) = run(&[verb, directory.path()]);
        assert_eq!(code, Some(3), "{verb}: {stderr}");
        assert!(stderr.contains("header"), "{verb}: {stderr}");
    }
}

#[test]
fn no_journal_is_code_4() {
    let empty = Directory::new("empty");
    fs::create_dir_all(&empty.0).expect("it can be made");
    fs::write(empty.0.join("file"), "text").expect("it is writable");
    let file = empty.0.join("file");
    let nowhere = empty.0.join("nowhere");
    for path in [&empty.0, &file, &nowhere] {
        let path = path.to_str().expect("a plain name");
        for verb in ["inspect", "verify", "dump", "tail", "export"] {
            let (code, stdout, stderr) = run(&[verb, path]);
            assert_eq!((code, &*stdout), (Some(4), ""), "{verb} {path}");
            assert!(
                stderr.contains(path) && stderr.lines().count() == 1,
                "{stderr}"
            );
        }
    }
    assert!(!nowhere.exists(), "looking makes no directory");
}

#[test]
fn wrong_usage_is_code_2_and_says_what_is_accepted() {
    let directory = Directory::with_pairs("usage", 100);
    let inside = directory.0.join("out.jsonl");
    let inside = inside.to_str().expect("a plain name");
    for (args, texts) in [
        (
            &["dump", "--from", "101"][..],
            ["--from is 101", "0 to 100"],
        ),
        (&["tail", "--from", "101"], ["--from is 101", "0 to 100"]),
        (&["tail", "--from", "start"], ["'start'", "--from"]),
        (&["tail", "--from", "1", "-n", "2"], ["--from", "--last"]),
        (&["export", "--from", "101"], ["--from is 101", "0 to 100"]),
        (&["export", "--to", "101"], ["--to is 101", "0 to 100"]),
        (
            &["export", "--from", "9", "--to", "8"],
            ["--to is 8", "9 to 100"],
        ),
        (&["export", "--from", "x"], ["'x'", "--from"]),
        (
            &["export", "--since", "noon"],
            ["'noon'", "accepted is a time"],
        ),
        (
            &["export", "--since", "1s", "--from", "1"],
            ["--since", "--from"],
        ),
        (&["export", "--fields", "a:u64"], ["take 8 bytes", "has 16"]),
        (&["export", "--fields", "a:u65"], ["`a:u65`", "u64 i8"]),
        (&["export", "--format", "xml"], ["'xml'", "jsonl, csv"]),
        (
            &["export", "--payload", "rot13"],
            ["'rot13'", "hex, base64, utf8"],
        ),
        (
            &["export", "--output", inside],
            ["--output is", "outside the journal"],
        ),
        (&["verify", "--loudly"], ["--loudly", "Usage"]),
        (&["mend"], ["'mend'", "Usage"]),
    ] {
        let (code, stdout, stderr) = run(&[args, &[directory.path()]].concat());
        assert_eq!((code, &*stdout), (Some(2), ""), "{args:?}");
        for text in texts {
            assert!(stderr.contains(text), "{args:?}: {text}: {stderr}");
        }
    }
    assert_eq!(run(&["verify"]).0, Some(2));
    let (code, help, _) = run(&["verify", "--help"]);
    assert!(code == Some(0) && help.contains("  3  the journal is corrupt"));
}

#[test]
fn what_was_lost_and_salvaged_is_told() {
    let directory = Directory::with_pairs("salvaged", 1000);
    directory.damage(2, 64 + 48);
    let config = JournalConfig {
        recovery: ringway::RecoveryMode::Salvage,
        ..small()
    };
    let journal = Journal::open(&directory.0, config, Plain::<Pair>::new()).expect("salvaged");
    let lost: usize = journal.recovery().lost.iter().map(|lost| lost.len()).sum();
    assert!(lost > 0);
    drop(journal);
    let (code, stdout, _) = run(&["verify", directory.path()]);
    assert_eq!(code, Some(0), "{stdout}");
    assert!(stdout.contains("were lost before"), "{stdout}");
    let (_, stdout, stderr) = run(&["export", directory.path()]);
    assert_eq!(lines(&stdout).len(), 1000 - lost);
    assert!(stderr.starts_with(&lost.to_string()), "{stderr}");
    let (code, stdout, _) = run(&["dump", directory.path()]);
    assert!(code == Some(0) && stdout.contains("  lost\n"));
    let (_, stdout, _) = run(&["inspect", directory.path()]);
    assert!(stdout.contains(&format!(" {lost} lost\n")) && stdout.contains("  damaged\n"));
}

/// What it writes into is not what is named.
#[test]
fn an_export_does_not_follow_a_link_into_the_journal() {
    let directory = Directory::with_pairs("link", 10);
    let before = directory.content();
    let segment = fs::read_dir(&directory.0)
        .expect("it is there")
        .map(|entry| entry.expect("it is there").path())
        .find(|path| path.extension().is_some_and(|end| end == "segment"));
    let link = directory.0.with_extension("link");
    std::os::unix::fs::symlink(segment.expect("it has one"), &link).expect("a link can be made");
    let output = link.to_str().expect("it is text");
    let (code, _, stderr) = run(&["export", directory.path(), "--output", output]);
    fs::remove_file(&link).expect("it is still a link");
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("outside the journal"), "{stderr}");
    assert_eq!(directory.content(), before);
}
