//! What happens meanwhile, on standard error: a line that changes on a terminal, one line a scenario elsewhere.

use std::io::{self, IsTerminal, Write};

/// Clears a terminal's line and goes to its beginning.
const CLEAR_LINE: &str = "\r\x1b[2K";

/// A line about what is being done.
#[derive(Debug)]
pub struct Progress {
    on_terminal: bool,
}

impl Progress {
    /// On standard error.
    #[must_use]
    pub fn new() -> Self {
        Self {
            on_terminal: io::stderr().is_terminal(),
        }
    }

    /// Something that the next call may replace. Not shown in a file, where nothing can be replaced.
    pub fn now(&self, text: &str) {
        if self.on_terminal {
            write(&format!("{CLEAR_LINE}{text}"));
        }
    }

    /// Something that stays.
    pub fn done(&self, text: &str) {
        let clear = if self.on_terminal { CLEAR_LINE } else { "" };
        write(&format!("{clear}{text}\n"));
    }

    /// Takes the changing line away, before results are printed.
    pub fn clear(&self) {
        self.now("");
    }
}

/// Where nobody reads standard error there is nobody to tell.
fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush());
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}
