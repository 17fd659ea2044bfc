//! Where results go.

use crate::journal::Failure;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Standard output, or a file; errors say which.
pub(crate) struct Output {
    sink: BufWriter<Box<dyn Write>>,
    path: Option<PathBuf>,
}

impl Output {
    pub(crate) fn stdout() -> Self {
        Self {
            sink: BufWriter::with_capacity(1 << 16, Box::new(io::stdout().lock())),
            path: None,
        }
    }

    /// A file that begins anew; one inside the journal is none of ours to write.
    pub(crate) fn file(path: &Path, journal: &Path) -> Result<Self, Failure> {
        // a link leads to where it writes
        let real = path.canonicalize().unwrap_or(path.to_owned());
        let folder = real.parent().filter(|parent| *parent != Path::new(""));
        let folder = folder.unwrap_or(Path::new(".")).canonicalize();
        if let (Ok(folder), Ok(journal)) = (folder, journal.canonicalize())
            && folder == journal
        {
            let path = path.display();
            let text = format!("--output is {path}: accepted is a file outside the journal");
            return Err(Failure::Usage(text));
        }
        let file = File::create(path).map_err(|error| named(Some(path), &error))?;
        Ok(Self {
            sink: BufWriter::with_capacity(1 << 16, Box::new(file)),
            path: Some(path.to_owned()),
        })
    }

    /// Whether what is written is in the way of progress.
    pub(crate) fn is_terminal(&self) -> bool {
        self.path.is_none() && io::stdout().is_terminal()
    }

    fn named(&self, error: &io::Error) -> io::Error {
        named(self.path.as_deref(), error)
    }
}

fn named(path: Option<&Path>, error: &io::Error) -> io::Error {
    let name = path.map_or("standard output".into(), |path| path.display().to_string());
    io::Error::new(error.kind(), format!("{name}: {error}"))
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(bytes);
        written.map_err(|error| self.named(&error))
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.sink.flush();
        flushed.map_err(|error| self.named(&error))
    }
}
