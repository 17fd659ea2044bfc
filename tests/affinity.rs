//! What a process's first question about cores finds when a pinned thread asks it. One test, because a process has one
//! first question; the unit tests cover all later ones.
#![cfg(target_os = "linux")]
#![expect(
    clippy::disallowed_methods,
    reason = "the thread must be pinned behind the library's back"
)]

use std::thread;

#[test]
fn a_thread_pinned_before_the_first_call_sees_the_whole_process() {
    let all = core_affinity::get_core_ids().expect("Linux tells the cores");
    let last = *all.last().expect("a process has a core");
    let ids: Vec<usize> = all.iter().map(|core| core.id).collect();
    thread::spawn(move || {
        assert!(core_affinity::set_for_current(last));
        assert_eq!(
            thread::available_parallelism().expect("Linux tells").get(),
            1
        );
        assert_eq!(ringway::cores(), ids, "the main thread still has them all");
        assert!(ids.len() == 1 || ringway::usable_cores() > 1);
    })
    .join()
    .expect("the pinned thread passes");
}
