//! `ringway journal` on journals that the library wrote: whole, cut, damaged, and while they are written.

use ringway::{
    Bus, BusConfig, Bytes, Codec, Journal, JournalConfig, Level, Multi, Plain, Producer, Retention,
    Sequence, SyncPolicy, Topology,
};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Two numbers.
type Pair = [u64; 2];

/// A directory that is gone when the test is over.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("journal-{name}"));
        let _ = fs::remove_dir_all(&path); // of a run that was killed
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("Cargo's directory has a plain name")
    }

    fn start<C: Codec<Event: Clone + Default + Send + Sync>>(
        &self,
        codec: C,
        config: JournalConfig,
    ) -> (Bus<C::Event>, Producer<C::Event, Multi>) {
        let journal = Journal::open(&self.0, config, codec).expect("it opens");
        let mut topology =
            Topology::multi(BusConfig::default(), C::Event::default).expect("it is valid");
        topology.stage("journal").journal(journal);
        topology.start().expect("it starts")
    }

    /// Pairs of a number and its square, in segments of 4 KiB.
    fn with_pairs(name: &str, count: u64) -> Self {
        let directory = Self::new(name);
        let (bus, mut producer) = directory.start(Plain::<Pair>::new(), small());
        for number in 0..count {
            let published = producer.publish([number, number * number]);
            let sequence = published.expect("the bus is open");
            if number % 50 == 49 {
                let waited = producer.wait_durable(sequence, Level::Synced);
                waited.expect("the disk is whole");
            }
        }
        drop(producer);
        bus.shutdown().expect("nothing failed");
        directory
    }

    fn with_texts(name: &str, texts: &[&[u8]]) -> Self {
        let directory = Self::new(name);
        let (bus, mut producer) = directory.start(Bytes, small());
        for text in texts {
            producer.publish(text.to_vec()).expect("the bus is open");
        }
        drop(producer);
        bus.shutdown().expect("nothing failed");
        directory
    }

    /// The files of segments, in order.
    fn segments(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).expect("it is there");
        let paths = entries.map(|entry| entry.expect("it is readable").path());
        let mut paths: Vec<PathBuf> = paths
            .filter(|path| path.extension().is_some_and(|end| end == "segment"))
            .collect();
        paths.sort();
        paths
    }

    /// All files and what is in them; a writer that is idle may still prepare the next segment.
    fn content(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(&self.0).expect("it is there");
        let paths = entries.map(|entry| entry.expect("it is readable").path());
        let mut content: Vec<(PathBuf, Vec<u8>)> = paths
            .filter(|path| !path.to_string_lossy().contains("/.next-"))
            .map(|path| (path.clone(), fs::read(path).expect("it is readable")))
            .collect();
        content.sort();
        content
    }

    /// Flips a bit.
    fn damage(&self, segment: usize, offset: usize) -> PathBuf {
        let path = self.segments().swap_remove(segment);
        let mut bytes = fs::read(&path).expect("it is readable");
        bytes[offset] ^= 1;
        fs::write(&path, bytes).expect("it is writable");
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn small() -> JournalConfig {
    JournalConfig {
        segment_bytes: 4096,
        write_bytes_max: 512,
        ..JournalConfig::default()
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.arg("journal").args(args).stdin(Stdio::null());
    command
}

/// The exit code, standard output, and standard error.
fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command(args).output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("it is text");
    (status.code(), text(stdout), text(stderr))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect()
}

fn spawn(args: &[&str]) -> Child {
    let mut command = command(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary runs")
}

/// Ends within ten seconds.
fn wait(mut child: Child) -> (Option<i32>, String) {
    let begun = Instant::now();
    while child.try_wait().expect("it can be asked").is_none() {
        if begun.elapsed() > Duration::from_secs(10) {
            child.kill().expect("it can be killed");
            panic!("it goes on and on");
        }
        thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().expect("it has ended");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), stderr)
}

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
fn dumps_begin_and_end_where_they_should() {
    let directory = Directory::with_texts("dump", &[b"0123456789abcdefgh", b"", b"\xff\n", b"x"]);
    let (_, stdout, _) = run(&["dump", directory.path(), "--limit", "2"]);
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(lines[0].starts_with("0  20") && lines[0].ends_with("Z  18 bytes"));
    assert!(lines[1].ends_with("  |0123456789abcdef|") && lines[2].ends_with("  |gh|"));
    assert!(lines[3].starts_with("1  20") && lines[3].ends_with("Z  0 bytes"));
    assert_eq!(lines.len(), 4);
    let (_, stdout, _) = run(&["dump", directory.path(), "--from", "2"]);
    assert!(stdout.starts_with("2  20") && stdout.contains("ff 0a") && stdout.contains("|..|"));
    assert_eq!(stdout.lines().count(), 4);
    let (code, stdout, _) = run(&["dump", directory.path(), "--from", "4"]);
    assert_eq!((code, &*stdout), (Some(0), ""));
    let (_, stdout, _) = run(&["dump", directory.path(), "--frames"]);
    assert!(stdout.contains("bytes  records   0 up to "), "{stdout}");
    let (_, stdout, _) = run(&["dump", directory.path(), "--frames", "--limit", "1"]);
    assert_eq!(stdout.lines().count(), 2, "segment and frame");
}

#[test]
fn json_lines_have_sequence_time_and_payload() {
    let directory = Directory::with_pairs("jsonl", 1000);
    let (code, stdout, _) = run(&["export", directory.path()]);
    assert_eq!(code, Some(0));
    let all = lines(&stdout);
    assert_eq!(all.len(), 1000);
    for (number, line) in (0_u64..).zip(&all) {
        assert_eq!(line["sequence"], number);
        let hex: String = [number, number * number]
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(line["payload"], hex);
    }
    let fields = ["--fields", "number:u64,square:u64"];
    let part = ["export", directory.path(), "--from", "300", "--to", "302"];
    let (_, stdout, _) = run(&[&part[..], &fields].concat());
    let part = lines(&stdout);
    assert_eq!(part.len(), 2);
    assert_eq!(
        (&part[0]["number"], &part[1]["square"]),
        (&300.into(), &90601.into())
    );
    assert!(
        stdout.starts_with(r#"{"sequence":300,"time":"20"#),
        "{stdout}"
    );
    // what was written together has one time
    let time = all[500]["time"].as_str().expect("a text");
    let (_, stdout, _) = run(&["export", directory.path(), "--since", time]);
    let since = lines(&stdout);
    let begin = all.iter().position(|line| line["time"] == time);
    assert_eq!(Some(&since[..]), begin.map(|begin| &all[begin..]));
    for (since, count) in [("2h", 1000), ("2999-01-01T00:00:00Z", 0)] {
        let (code, stdout, _) = run(&["export", directory.path(), "--since", since]);
        assert_eq!((code, lines(&stdout).len()), (Some(0), count), "{since}");
    }
}

#[test]
fn csv_is_quoted_and_files_are_replaced() {
    let texts: [&[u8]; 4] = [b"plain", b"a,\"b\"\nc", b"", "\u{e9}".as_bytes()];
    let directory = Directory::with_texts("csv", &texts);
    let file = Directory::new("csv-output");
    fs::create_dir_all(&file.0).expect("it can be made");
    let file = file.0.join("out.csv");
    fs::write(&file, "x".repeat(10_000)).expect("it is writable");
    let output = ["--output", file.to_str().expect("a plain name")];
    let args = [
        "export",
        directory.path(),
        "--format",
        "csv",
        "--payload",
        "utf8",
    ];
    let (code, stdout, stderr) = run(&[&args[..], &output].concat());
    assert_eq!((code, &*stdout, &*stderr), (Some(0), "", ""));
    let mut reader = csv::Reader::from_path(&file).expect("it is there");
    let head = reader.headers().expect("there is one").clone();
    assert_eq!(
        head.iter().collect::<Vec<_>>(),
        ["sequence", "time", "payload"]
    );
    for (number, record) in reader.records().enumerate() {
        let record = record.expect("it is CSV");
        assert_eq!(&record[0], number.to_string());
        assert_eq!(record[2].as_bytes(), texts[number]);
    }
    let (_, stdout, _) = run(&[&args[..4], &["--payload", "base64"]].concat());
    assert_eq!(
        stdout
            .lines()
            .nth(1)
            .and_then(|line| line.split(',').nth(2)),
        Some("cGxhaW4=")
    );
    let (_, stdout, _) = run(&[&args[..4], &["--fields", "rest:bytes"]].concat());
    assert!(stdout.starts_with("sequence,time,rest\n") && stdout.contains(",706c61696e\n"));
    let (code, _, stderr) = run(&["export", directory.path(), "--output", "/nowhere/at/all"]);
    assert_eq!(code, Some(4));
    assert!(
        stderr.contains("cannot write /nowhere/at/all: "),
        "{stderr}"
    );
}

#[test]
fn payloads_that_do_not_fit_are_refused_by_sequence() {
    let directory = Directory::with_texts("misfit", &[b"12345678", b"\xff"]);
    for (args, text) in [
        (
            ["--payload", "utf8"],
            "sequence 1: --payload utf8 does not fit: it is no UTF-8",
        ),
        (
            ["--fields", "a:u64"],
            "sequence 1: --fields does not fit: the fields take 8 bytes",
        ),
    ] {
        for verb in ["export", "tail"] {
            let (code, stdout, stderr) = run(&[&[verb, directory.path()][..], &args].concat());
            assert_eq!((code, stdout.lines().count()), (Some(2), 1), "{stderr}");
            assert!(stderr.contains(text), "{stderr}");
        }
    }
}

#[test]
fn the_tail_is_the_last_records() {
    let directory = Directory::with_pairs("tail", 100);
    for (args, first, count) in [
        (&[][..], 90, 10),
        (&["-n", "3"], 97, 3),
        (&["--last", "1000"], 0, 100),
        (&["--from", "98"], 98, 2),
        (&["--from", "end"], 0, 0),
        (&["--from", "100"], 0, 0),
    ] {
        let (code, stdout, _) = run(&[&["tail", directory.path()], args].concat());
        let lines = lines(&stdout);
        assert_eq!((code, lines.len()), (Some(0), count), "{args:?}");
        if let Some(line) = lines.first() {
            assert_eq!(line["sequence"], first, "{args:?}");
        }
    }
}

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

#[cfg(unix)]
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
