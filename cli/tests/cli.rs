//! The command line as a user meets it: exit codes, and what goes where.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Small enough for any machine; no figure of such a run is looked at.
const TINY: [&str; 5] = ["--quick", "--events", "2000", "--rounds", "1"];

fn ringway(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.args(args).stdin(Stdio::null());
    command
}

fn output(args: &[&str]) -> Output {
    ringway(args).output().expect("the binary runs")
}

fn code(args: &[&str]) -> Option<i32> {
    output(args).status.code()
}

/// A file of this test's own in the directory that Cargo keeps for that.
fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn path(path: &Path) -> &str {
    path.to_str().expect("Cargo's directory has a plain name")
}

#[test]
fn all_scenarios_are_measured_and_verified() {
    let file = scratch("all.json");
    let output = output(&[&["bench"], &TINY[..], &["--json", path(&file)]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let table = String::from_utf8(output.stdout).expect("the table is text");
    let json: Value = serde_json::from_reader(std::fs::File::open(file).expect("it was written"))
        .expect("it is JSON");
    assert_eq!(json["schema"], 1);
    assert!(json["machine"]["cores"].is_array() && json["machine"]["clock"].is_object());
    assert!(json["limit"].is_object());
    let scenarios = json["scenarios"].as_array().expect("a list");
    let names: Vec<&str> = scenarios
        .iter()
        .filter_map(|scenario| scenario["name"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "spsc",
            "mpsc",
            "broadcast",
            "work_sharing",
            "pipeline",
            "diamond",
            "round_trip",
            "wakeup"
        ]
    );
    for scenario in scenarios {
        let name = scenario["name"].as_str().expect("a name");
        assert_eq!(scenario["verified"], true, "{name}");
        assert_eq!(scenario["config"]["events"], 2000, "{name}");
        assert!(
            table.lines().any(|line| line.starts_with(name)),
            "{name} has a row"
        );
        assert!(stderr.contains(name), "{name} was announced");
        if matches!(name, "round_trip" | "wakeup") {
            let latency = &scenario["latency_ns"];
            assert_eq!(latency["count"], 2000, "{name}");
            for percentile in ["p50", "p90", "p99", "p999", "max"] {
                assert!(latency[percentile].is_u64(), "{name} {percentile}");
            }
        } else {
            let spread = &scenario["events_per_second"];
            assert_eq!(spread["rounds"].as_array().map(Vec::len), Some(1), "{name}");
            assert!(
                spread["median"].is_f64() && spread["min"].is_f64() && spread["max"].is_f64(),
                "{name}"
            );
        }
    }
}

#[test]
fn every_payload_wait_and_capacity_is_right() {
    for payload in ["8", "16", "64", "256"] {
        for wait in ["yield", "backoff", "park", "adaptive"] {
            let args = [
                "bench",
                "mpsc",
                "diamond",
                "--payload",
                payload,
                "--wait",
                wait,
                "--capacity",
                "256",
            ];
            assert_eq!(
                code(&[&args[..], &TINY].concat()),
                Some(0),
                "{payload} bytes, {wait}"
            );
        }
    }
}

#[test]
fn wrong_usage_is_code_2() {
    for args in [
        &["bench", "nonsense"][..],
        &["bench", "--payload", "7"],
        &["bench", "--rounds", "0"],
        &["bench", "--events", "0"],
        &["bench", "--wait", "never"],
        &["bench", "--capacity", "0"],
        &["bench", "--capacity", "99999999999999"],
        &["nonsense"],
        &[],
    ] {
        let output = output(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{args:?}"
        );
    }
}

#[test]
fn a_file_that_cannot_be_written_is_code_3_before_anything_is_measured() {
    let output = output(&["bench", "--json", "/nowhere/at/all.json"]);
    assert_eq!(output.status.code(), Some(3));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        message.contains("cannot write /nowhere/at/all.json"),
        "{message}"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let mut child = ringway(&[&["bench", "spsc"], &TINY[..]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn help_and_version_go_to_stdout() {
    for args in [&["--help"][..], &["bench", "--help"], &["--version"]] {
        let output = output(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(
            !output.stdout.is_empty() && output.stderr.is_empty(),
            "{args:?}"
        );
    }
}
