//! What is printed of records.

use super::common::*;
use std::fs;

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
