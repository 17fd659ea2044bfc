//! Exit codes, and output that survives a reader who leaves.

use ringway::ErrorKind;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How a command ended: the same four codes for every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Good,
    /// The answer is bad: a run that could not be verified.
    Bad,
    /// The command line or the configuration is wrong.
    Usage,
    /// Reading or writing failed.
    Io,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Good => Self::SUCCESS,
            Outcome::Bad => Self::from(1),
            Outcome::Usage => Self::from(2),
            Outcome::Io => Self::from(3),
        }
    }
}

/// Why a command could not answer at all.
#[derive(Debug)]
pub enum Failure {
    /// The library refused what it was asked to build.
    Bus(ringway::Error),
    /// A file could not be written.
    File(PathBuf, io::Error),
    /// Standard output could not be written.
    Stdout(io::Error),
}

impl Failure {
    /// The exit code that belongs to it.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Bus(error) if matches!(error.kind(), ErrorKind::Spawn | ErrorKind::JournalIo) => {
                Outcome::Io
            }
            Self::Bus(_) => Outcome::Usage,
            Self::File(..) | Self::Stdout(_) => Outcome::Io,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bus(error) => error.fmt(f),
            Self::File(path, error) => write!(f, "cannot write {}: {error}", path.display()),
            Self::Stdout(error) => write!(f, "cannot write the results: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<ringway::Error> for Failure {
    fn from(error: ringway::Error) -> Self {
        Self::Bus(error)
    }
}

/// Writes results to standard output. A reader that has left (`| head`) has seen all it wanted: that is no failure.
///
/// # Errors
/// When standard output cannot be written for another reason.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Stdout(error)),
        _ => Ok(()),
    }
}

/// Tells the user something that is no result. Where nobody reads standard error there is nobody to tell.
pub fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A file for results, opened before they are made: a path that cannot be written must not cost a minute of measuring.
#[derive(Debug)]
pub struct JsonFile {
    path: PathBuf,
    file: File,
}

impl JsonFile {
    /// Opens or creates the file; what is in it stays until [`write`](Self::write).
    ///
    /// # Errors
    /// When the file cannot be opened for writing.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        let file = file.map_err(|error| Failure::File(path.to_owned(), error))?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// Replaces its content with `report`, on lines of its own.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(mut self, report: &impl serde::Serialize) -> Result<(), Failure> {
        let written = serde_json::to_string_pretty(report)
            .map_err(io::Error::from)
            .and_then(|text| {
                // A pipe or a terminal has no length to cut.
                if self.file.metadata()?.is_file() {
                    self.file.set_len(0)?;
                }
                writeln!(self.file, "{text}")
            });
        written.map_err(|error| Failure::File(self.path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_file_is_replaced_whole() {
        let path =
            std::env::temp_dir().join(format!("ringway-outcome-{}.json", std::process::id()));
        std::fs::write(&path, "x".repeat(100)).expect("a temporary file");
        JsonFile::open(&path)
            .expect("it exists")
            .write(&[1])
            .expect("it is writable");
        let text = std::fs::read_to_string(&path).expect("it was written");
        std::fs::remove_file(&path).expect("it exists");
        assert_eq!(text, "[\n  1\n]\n");
    }

    #[test]
    fn a_path_that_cannot_be_written_is_an_io_failure_that_names_it() {
        let failure =
            JsonFile::open(Path::new("/nowhere/at/all.json")).expect_err("no such directory");
        assert_eq!(failure.outcome(), Outcome::Io);
        assert!(failure.to_string().contains("/nowhere/at/all.json"));
    }

    #[test]
    fn a_refused_configuration_is_a_usage_failure() {
        let config = ringway::BusConfig {
            capacity: 0,
            ..ringway::BusConfig::default()
        };
        let error = config.validate().expect_err("no slots");
        assert_eq!(Failure::from(error).outcome(), Outcome::Usage);
    }
}
