//! Journals in directories of their own, of events that tell which they are, and processes that write them and are stopped.

use super::{Random, mix};
use ringway::{Bytes, Error, Journal, JournalConfig};
use std::env;
use std::fmt::Display;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

/// A directory that is removed at the end, unless the test fails: then it is evidence.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("ringway-{name}-{}-{call}", std::process::id()));
        // of an earlier run that failed
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a directory can be made");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !thread::panicking() {
            // at worst it stays
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// The event with this number that was written in this life: numbers, then bytes that follow from them, of another length for each.
pub(crate) fn event(number: u64, life: u64) -> Vec<u8> {
    let mut bytes = [number.to_le_bytes(), life.to_le_bytes()].concat();
    let mut random = Random::new(mix(number) ^ life);
    let len = if random.once_in(32) { 3000 } else { 200 };
    let len = random.below(len);
    bytes.extend((0..len).map(|_| random.next() as u8));
    bytes
}

/// In which life the event with this number was written, if it is one that was.
pub(crate) fn life_of(bytes: &[u8], number: u64) -> Option<u64> {
    let (_, rest) = bytes.split_first_chunk::<8>()?;
    let (life, _) = rest.split_first_chunk::<8>()?;
    let life = u64::from_le_bytes(*life);
    (event(number, life) == bytes).then_some(life)
}

/// The lives in which the events of a journal were written: it must begin at 0, without a gap and with nothing made up.
pub(crate) fn lives(path: &Path, config: &JournalConfig) -> Result<Vec<u64>, Error> {
    let (first, lives) = lives_from(path, config)?;
    assert_eq!(first, 0, "the front is missing");
    Ok(lives)
}

/// The same of a journal of which the front may have been removed: with the first sequence.
pub(crate) fn lives_from(path: &Path, config: &JournalConfig) -> Result<(u64, Vec<u64>), Error> {
    let journal = Journal::open(path, config.clone(), Bytes)?;
    let (first, mut lives) = (journal.first().get(), Vec::new());
    for record in journal.replay(journal.first())? {
        let record = record?;
        let number = first + lives.len() as u64;
        assert_eq!(record.sequence.get(), number, "a gap");
        let Some(life) = life_of(&record.event, number) else {
            panic!("event {number} was never published: {:?}", record.event);
        };
        lives.push(life);
    }
    assert_eq!(journal.next().get(), first + lives.len() as u64);
    Ok((first, lives))
}

/// The same test program as a process that runs only the test `name`, which finds `arguments` in the environment.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
    reader: JoinHandle<()>,
}

const ARGUMENTS: &str = "RINGWAY_CHILD";

/// What this process was started with, if it is such a one.
pub(crate) fn arguments() -> Option<Vec<String>> {
    let arguments = env::var(ARGUMENTS).ok()?;
    Some(arguments.split('\n').map(str::to_owned).collect())
}

/// Tells the parent, past what the test harness does to printing.
pub(crate) fn say(line: impl Display) {
    // one write; a parent that is gone does not matter
    let _ = io::stdout().write_all(format!("says {line}\n").as_bytes());
}

impl Process {
    pub(crate) fn start(name: &str, arguments: &[&dyn Display]) -> Self {
        let program = env::current_exe().expect("it has a name");
        Self::run(Command::new(program), name, arguments)
    }

    /// One that a signal does not end: what is ignored stays so in the program that a shell becomes.
    pub(crate) fn start_ignoring(signal: &str, name: &str, arguments: &[&dyn Display]) -> Self {
        let mut command = Command::new("sh");
        let program = env::current_exe().expect("it has a name");
        command
            .args(["-c", &format!("trap '' {signal}; exec \"$0\" \"$@\"")])
            .arg(program);
        Self::run(command, name, arguments)
    }

    fn run(mut command: Command, name: &str, arguments: &[&dyn Display]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let mut child = command
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(ARGUMENTS, arguments.join("\n"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process can be started");
        let output = child.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        let read = move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // the harness says things, too, and the first of ours may follow one of its own
                let Some((_, said)) = line.split_once("says ") else {
                    continue;
                };
                if sender.send(said.to_owned()).is_err() {
                    return;
                }
            }
        };
        let reader = thread::Builder::new()
            .spawn(read)
            .expect("a thread can be started");
        Self {
            child,
            lines,
            reader,
        }
    }

    /// The next line it says; `None`: it has ended.
    pub(crate) fn line(&self) -> Option<String> {
        self.lines.recv().ok()
    }

    /// Ends it as nothing can defer, if it has not ended; what else it said.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
        self.reader.join().expect("it does not panic");
        self.lines.try_iter().collect()
    }

    /// What else it says up to its end, which must be a good one.
    pub(crate) fn finish(mut self) -> Vec<String> {
        let lines = self.lines.iter().collect();
        let status = self.child.wait().expect("it is our child");
        assert!(status.success(), "{status}: {lines:?}");
        self.reader.join().expect("it does not panic");
        lines
    }
}
