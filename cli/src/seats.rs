//! A core for each thread, or none for any: half-pinned threads would measure the scheduler's mood.

use std::thread;

/// Where the threads of one run sit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seats(Option<Vec<usize>>);

impl Seats {
    /// A core of its own for each of `threads` threads if this process may use that many.
    #[must_use]
    pub fn for_threads(threads: usize) -> Self {
        let mut cores = ringway::cores();
        cores.truncate(ringway::usable_cores());
        Self::among(&cores, threads)
    }

    /// The first `threads` of `cores`, or nobody is pinned.
    #[must_use]
    pub fn among(cores: &[usize], threads: usize) -> Self {
        Self(cores.get(..threads).map(<[usize]>::to_vec))
    }

    /// Whether every thread has a core of its own.
    #[must_use]
    pub fn pinned(&self) -> bool {
        self.0.is_some()
    }

    /// All cores taken, in order of threads; `None` if nobody is pinned.
    #[must_use]
    pub fn cores(&self) -> Option<&[usize]> {
        self.0.as_deref()
    }

    /// The core of one thread.
    #[must_use]
    pub fn core(&self, thread: usize) -> Option<usize> {
        self.0.as_ref()?.get(thread).copied()
    }

    /// Moves the calling thread to the seat of `thread`, if it has one.
    ///
    /// # Errors
    /// When the system refuses to pin it.
    pub fn sit(&self, thread: usize) -> Result<(), ringway::Error> {
        self.core(thread)
            .map_or(Ok(()), ringway::pin_current_thread)
    }
}

/// Whether this system lets a thread be pinned: tried on a thread of its own, since a mask once set is inherited.
#[must_use]
pub fn can_pin() -> bool {
    let Some(core) = ringway::cores().first().copied() else {
        return false;
    };
    thread::spawn(move || ringway::pin_current_thread(core).is_ok())
        .join()
        .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_threads_sit_or_none() {
        let seats = Seats::among(&[4, 6, 9], 2);
        assert_eq!(seats.cores(), Some(&[4, 6][..]));
        assert_eq!((seats.core(1), seats.core(2)), (Some(6), None));
        let crowded = Seats::among(&[4, 6, 9], 4);
        assert!(!crowded.pinned());
        assert_eq!(crowded.core(0), None);
        assert!(
            crowded.sit(0).is_ok(),
            "an unpinned thread stays where it is"
        );
    }
}
