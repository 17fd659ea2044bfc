//! Cores: which ones this process may use, and pinning threads to them.
//!
//! The system answers such questions for one thread, and a new thread inherits the mask of the one that starts it. So a
//! pinned thread, asked naively, sees a machine of one core, and hands that core to all its children. This module
//! answers for the *process*: its mask is taken to be every core that the calling thread or the main thread may use
//! now, or could use when a function of this module was first called.
//!
//! That fails in one case: the main thread was pinned by other means before the first call, and the caller inherited
//! its mask or is narrower still. Nothing distinguishes such a process from one that was started on few cores.
//!
//! Outside Linux, where masks cannot always be read back, the cores are those of the first call and no thread counts as
//! pinned.

use crate::error::{Error, ErrorKind};
use core_affinity::CoreId;
use std::num::NonZeroUsize;
use std::thread;

pub(crate) use system::{caller_is_pinned, unpin_current_thread};

/// The system's ids of the cores that this process may use, ascending; the same from a pinned thread as from any other.
///
/// Ids need not start at 0 nor be consecutive: a process in a container or under `taskset` has a few out of many. Empty
/// if the system does not tell, as on a machine that numbers its cores to 1,024 and beyond. Costs a few microseconds.
///
/// If the main thread was pinned by other means than [`pin_current_thread`] before this library was first used, only
/// the cores left to it and to the caller are known.
///
/// ```
/// let cores = ringway::cores();
/// println!("{} cores: {cores:?}", cores.len());
/// ```
#[must_use]
pub fn cores() -> Vec<usize> {
    system::process_cores()
}

/// How many threads of this process can run at the same time: its [`cores`], or fewer under a quota (a control group's
/// share of time); at least 1.
///
/// The same from a pinned thread as from any other; to find out, a pinned caller starts a thread for a moment, which
/// costs some 50 µs. If none can be started it gets the figure for itself.
///
/// ```
/// let spinners = ringway::usable_cores() - 1; // one core stays free for everybody else
/// # assert!(spinners < ringway::usable_cores());
/// ```
#[must_use]
pub fn usable_cores() -> usize {
    let for_caller = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
    if !caller_is_pinned() {
        return for_caller();
    }
    let for_process = move || {
        unpin_current_thread();
        for_caller()
    };
    let asked = thread::Builder::new()
        .name("ringway-cores".into())
        .spawn(for_process);
    asked
        .ok()
        .and_then(|thread| thread.join().ok())
        .unwrap_or_else(for_caller)
}

/// Pins the calling thread to one core, for as long as it lives or until it is pinned to another.
///
/// For threads of your own, producers for instance; a managed stage is pinned by `.pin(core)` where it is added. Two
/// spinning threads on one core take turns of milliseconds, so give each its own. Threads started by a pinned thread
/// inherit its one core: start them first. Costs a few microseconds, once, and the move to that core.
///
/// # Errors
/// [`NoSuchCore`](ErrorKind::NoSuchCore) if the core is not one of [`cores`], or if the system refuses it.
///
/// ```
/// let before = ringway::cores();
/// if let Some(&core) = before.last() {
///     ringway::pin_current_thread(core)?;
/// }
/// assert_eq!(ringway::cores(), before); // still those of the process, even if this is its main thread
/// # Ok::<(), ringway::Error>(())
/// ```
pub fn pin_current_thread(core: usize) -> Result<(), Error> {
    check_core(core)?;
    #[expect(clippy::disallowed_methods, reason = "the id was checked")]
    let pinned = core_affinity::set_for_current(CoreId { id: core });
    if pinned {
        return Ok(());
    }
    let text = format!(
        "core {core}: the system refuses to pin to it; choose another of {}, or restart the process, whose limits \
         (cpuset, container) may have changed since it was started",
        ranges(&cores())
    );
    Err(Error::new(ErrorKind::NoSuchCore, text))
}

/// Whether a thread could be pinned to this core.
///
/// Asking comes before pinning, always: `core_affinity` indexes a table of 1,024 bits with the id and aborts the whole
/// process beyond its end. No list of cores holds such an id.
pub(crate) fn check_core(core: usize) -> Result<(), Error> {
    let cores = cores();
    if cores.contains(&core) {
        return Ok(());
    }
    let text = if cores.is_empty() {
        format!("core {core}: this system does not say which cores there are; do not pin")
    } else {
        format!(
            "core {core}: this process cannot use it; accepted is {}; choose one of these, or start the process with \
             more cores (taskset, cpuset, container)",
            ranges(&cores)
        )
    };
    Err(Error::new(ErrorKind::NoSuchCore, text))
}

/// Ascending ids as text, runs of them shortened: `0 to 3, 8`.
fn ranges(cores: &[usize]) -> String {
    let runs = cores.chunk_by(|core, next| core + 1 == *next);
    let texts: Vec<String> = runs
        .map(|run| match run {
            [first, .., last] => format!("{first} to {last}"),
            _ => run[0].to_string(),
        })
        .collect();
    texts.join(", ")
}

#[cfg(target_os = "linux")]
mod system {
    use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};
    use std::sync::OnceLock;

    pub(super) fn process_cores() -> Vec<usize> {
        let mask = process_mask();
        (0..CpuSet::MAX_CPU)
            .filter(|&core| mask.is_set(core))
            .collect()
    }

    /// Whether the calling thread may use fewer cores than the process; threads that it starts inherit that.
    pub(crate) fn caller_is_pinned() -> bool {
        mask_of(None) != process_mask()
    }

    /// Gives the calling thread all the cores of the process.
    pub(crate) fn unpin_current_thread() {
        // Refused only if no core of the mask is left to this process: then it stays where the system put it.
        let _ = sched_setaffinity(None, &process_mask());
    }

    fn process_mask() -> CpuSet {
        // Every function of this module that may narrow a mask comes here first, so this holds the main thread's mask
        // from before we pinned it.
        static AT_FIRST_USE: OnceLock<CpuSet> = OnceLock::new();
        let now = union(mask_of(None), main_thread_mask());
        union(now, *AT_FIRST_USE.get_or_init(|| now))
    }

    fn main_thread_mask() -> CpuSet {
        // The main thread's id is the process's.
        let main = i32::try_from(std::process::id())
            .ok()
            .and_then(Pid::from_raw);
        main.map_or_else(CpuSet::new, |main| mask_of(Some(main)))
    }

    /// `None` is the calling thread. Empty if unknown: the main thread may have ended, the machine may have more cores
    /// than a `CpuSet`.
    fn mask_of(thread: Option<Pid>) -> CpuSet {
        sched_getaffinity(thread).unwrap_or_default()
    }

    fn union(mut one: CpuSet, other: CpuSet) -> CpuSet {
        (0..CpuSet::MAX_CPU)
            .filter(|&core| other.is_set(core))
            .for_each(|core| one.set(core));
        one
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::sync::OnceLock;

    pub(super) fn process_cores() -> Vec<usize> {
        // Some of these systems answer for the calling thread, which may be pinned by the time of a later call.
        static AT_FIRST_USE: OnceLock<Vec<usize>> = OnceLock::new();
        AT_FIRST_USE.get_or_init(ask).clone()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "remembered: a call from a pinned thread does not narrow it"
    )]
    fn ask() -> Vec<usize> {
        let told = core_affinity::get_core_ids().unwrap_or_default();
        let mut cores: Vec<usize> = told.iter().map(|core| core.id).collect();
        cores.sort_unstable();
        cores
    }

    /// Whether the calling thread may use fewer cores than the process: not known here.
    pub(crate) fn caller_is_pinned() -> bool {
        false
    }

    /// Gives the calling thread all the cores of the process: never needed here.
    pub(crate) fn unpin_current_thread() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_core_and_they_ascend() {
        assert!(!cores().is_empty());
        assert!(cores().is_sorted_by(|core, next| core < next));
        assert!((1..=cores().len()).contains(&usable_cores()));
    }

    #[test]
    fn a_core_that_does_not_exist_is_refused_with_what_is_accepted() {
        let last = *cores().last().unwrap();
        for core in [last + 1, 1023.max(last + 1), 1024, 1_000_000, usize::MAX] {
            let error = pin_current_thread(core).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NoSuchCore);
            let text = error.to_string();
            assert!(text.contains(&format!("core {core}:")), "{text}");
            assert!(
                text.contains(&format!("accepted is {};", ranges(&cores()))),
                "{text}"
            );
        }
        assert!(!caller_is_pinned());
    }

    #[test]
    fn check_core_accepts_exactly_the_cores() {
        let cores = cores();
        for core in 0..2048 {
            assert_eq!(
                check_core(core).is_ok(),
                cores.contains(&core),
                "core {core}"
            );
        }
    }

    #[test]
    fn runs_of_cores_are_shortened() {
        assert_eq!(ranges(&[]), "");
        assert_eq!(ranges(&[5]), "5");
        assert_eq!(ranges(&[0, 1, 2, 3, 8, 10, 11]), "0 to 3, 8, 10 to 11");
    }

    /// Other systems may refuse to pin, or not tell whether they did.
    #[cfg(target_os = "linux")]
    mod pinned {
        use super::*;
        use rustix::thread::sched_getcpu;

        /// Pinning outlives a test, and the harness may reuse its thread: each body runs on a thread of its own.
        fn on_own_thread<R: Send>(body: impl FnOnce() -> R + Send) -> R {
            thread::scope(|scope| scope.spawn(body).join().expect("the body passes"))
        }

        #[expect(
            clippy::disallowed_methods,
            reason = "it tells the calling thread's cores only, as wanted here"
        )]
        fn own_mask() -> Vec<usize> {
            core_affinity::get_core_ids()
                .unwrap()
                .iter()
                .map(|core| core.id)
                .collect()
        }

        #[test]
        fn a_pinned_thread_sees_the_whole_process() {
            let (cores_before, usable_before) = (cores(), usable_cores());
            for &core in &cores_before {
                on_own_thread(|| {
                    pin_current_thread(core).unwrap();
                    assert_eq!(cores(), cores_before);
                    assert_eq!(usable_cores(), usable_before);
                });
            }
        }

        #[test]
        fn a_pinned_thread_may_move_to_any_other_core() {
            on_own_thread(|| {
                for core in cores() {
                    pin_current_thread(core).unwrap();
                }
            });
        }

        #[test]
        fn pinning_takes_effect() {
            for core in cores() {
                on_own_thread(|| {
                    pin_current_thread(core).unwrap();
                    assert_eq!(own_mask(), [core]);
                    assert_eq!(sched_getcpu(), core);
                });
            }
        }

        #[test]
        fn a_child_inherits_the_core_and_unpinning_gives_it_all() {
            on_own_thread(|| {
                let core = cores()[0];
                pin_current_thread(core).unwrap();
                on_own_thread(|| {
                    assert_eq!(own_mask(), [core]);
                    assert_eq!(caller_is_pinned(), cores().len() > 1);
                    unpin_current_thread();
                    assert_eq!(own_mask(), cores());
                    assert!(!caller_is_pinned());
                });
                assert_eq!(own_mask(), [core], "only the thread that asked is unpinned");
            });
        }
    }
}
