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
fn bursts_are_measured_and_every_event_is_accounted_for() {
    let file = scratch("burst.json");
    let args = [
        "--intensity",
        "50",
        "--capacity",
        "256",
        "--json",
        path(&file),
    ];
    let output = output(&[&["bench", "burst"], &TINY[..], &args].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let table = String::from_utf8(output.stdout).expect("the table is text");
    let json: Value = serde_json::from_reader(std::fs::File::open(file).expect("it was written"))
        .expect("it is JSON");
    let rows = json["scenarios"].as_array().expect("a list");
    let policies: Vec<&str> = rows
        .iter()
        .filter_map(|row| row["policy"].as_str())
        .collect();
    assert_eq!(
        policies,
        [
            "publish",
            "publish_deadline",
            "try_publish",
            "publish_or_drop",
            "tap_skip",
            "tap_evict",
            "tap_replay",
            "subscribe",
            "crossbeam_send",
            "crossbeam_try_send",
            "tokio_send",
            "tokio_try_send"
        ]
    );
    for row in rows {
        let policy = row["policy"].as_str().expect("a name");
        assert_eq!(
            (&row["name"], &row["verified"]),
            (&"burst".into(), &true.into())
        );
        assert_eq!(row["load"], "bursts_50x", "{policy}");
        assert!(table.contains(&format!("  {policy} ")) && stderr.contains(policy));
        let others = row["loads"].as_array().expect("a list");
        assert_eq!(others.len(), 4, "{policy}");
        for load in std::iter::once(row).chain(others) {
            let count = |key: &str| load[key].as_u64().expect("a number");
            assert_eq!(count("published") + count("refused"), 2000, "{policy}");
            assert_eq!(
                count("published"),
                count("delivered") + count("skipped"),
                "{policy}"
            );
            for times in ["producer_latency_ns", "lateness_ns", "drain_ns"] {
                for percentile in ["p50", "p90", "p99", "p999", "max", "count"] {
                    assert!(
                        load[times][percentile].is_u64(),
                        "{policy} {times} {percentile}"
                    );
                }
            }
            assert_eq!(load["producer_latency_ns"]["count"], 2000, "{policy}");
            assert_eq!(load["lateness_ns"]["count"], count("delivered"), "{policy}");
        }
        // under all loads together: a thread that the system stops may spoil one of them
        let all = std::iter::once(row).chain(others);
        let [refused, skipped] = ["refused", "skipped"].map(|key| {
            let counts = all.clone().filter_map(|load| load[key].as_u64());
            counts.sum::<u64>()
        });
        let may = match policy {
            "publish" | "tap_replay" | "crossbeam_send" | "tokio_send" => {
                [refused == 0, skipped == 0]
            }
            "tap_skip" | "tap_evict" | "subscribe" => [refused == 0, true],
            "publish_deadline" => [true, skipped == 0],
            _ => [refused > 0, skipped == 0],
        };
        assert_eq!(
            may, [true; 2],
            "{policy}: refused {refused}, skipped {skipped}"
        );
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
        &["bench", "burst", "--intensity", "0"],
        &["bench", "burst", "--intensity", "1000"],
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
