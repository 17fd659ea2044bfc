//! Journals to look at, and the binary that looks.

use ringway::{
    Bus, BusConfig, Bytes, Codec, Journal, JournalConfig, Level, Multi, Plain, Producer, Topology,
};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Two numbers.
pub(crate) type Pair = [u64; 2];

/// A directory that is gone when the test is over.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("journal-{name}"));
        let _ = fs::remove_dir_all(&path); // of a run that was killed
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("Cargo's directory has a plain name")
    }

    pub(crate) fn start<C: Codec<Event: Clone + Default + Send + Sync>>(
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
    pub(crate) fn with_pairs(name: &str, count: u64) -> Self {
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

    pub(crate) fn with_texts(name: &str, texts: &[&[u8]]) -> Self {
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
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).expect("it is there");
        let paths = entries.map(|entry| entry.expect("it is readable").path());
        let mut paths: Vec<PathBuf> = paths
            .filter(|path| path.extension().is_some_and(|end| end == "segment"))
            .collect();
        paths.sort();
        paths
    }

    /// All files and what is in them; a writer that is idle may still prepare the next segment.
    pub(crate) fn content(&self) -> Vec<(PathBuf, Vec<u8>)> {
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
    pub(crate) fn damage(&self, segment: usize, offset: usize) -> PathBuf {
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

pub(crate) fn small() -> JournalConfig {
    JournalConfig {
        segment_bytes: 4096,
        write_bytes_max: 512,
        ..JournalConfig::default()
    }
}

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.arg("journal").args(args).stdin(Stdio::null());
    command
}

/// The exit code, standard output, and standard error.
pub(crate) fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command(args).output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("it is text");
    (status.code(), text(stdout), text(stderr))
}

pub(crate) fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect()
}

pub(crate) fn spawn(args: &[&str]) -> Child {
    let mut command = command(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary runs")
}

/// Ends within ten seconds.
pub(crate) fn wait(mut child: Child) -> (Option<i32>, String) {
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
