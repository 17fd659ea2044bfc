//! Hints to the processor.

/// What a processor moves between cores at once.
pub(super) const CACHE_LINE: usize = 64;

/// Asks for the cache lines of `bytes` bytes, `ahead` of an address, to be written. It is a hint, and nothing is accessed.
#[inline(always)]
pub(super) fn prefetch_to_write(from: *const u8, ahead: usize, bytes: usize) {
    for line in (0..bytes).step_by(CACHE_LINE) {
        let line = from.wrapping_add(ahead + line);
        #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
        // SAFETY: a hint without effect on memory or flags, and a no-op for processors that do not know it; the compiler's own
        // intrinsic asks only to read unless all processors that it compiles for know it.
        unsafe {
            std::arch::asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
        }
        #[cfg(all(target_arch = "aarch64", not(any(miri, loom))))]
        // SAFETY: a hint without effect on memory or flags.
        unsafe {
            std::arch::asm!("prfm pstl1keep, [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
        }
        #[cfg(any(not(any(target_arch = "x86_64", target_arch = "aarch64")), miri, loom))]
        let _ = line;
    }
}
