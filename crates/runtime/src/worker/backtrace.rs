//! Backtraces, taken as addresses; they are resolved to names later and elsewhere.
#![expect(unsafe_code, reason = "walks the stack without the lock that symbols need")]

/// Frames that are kept of one stack.
pub(crate) const FRAMES_MAX: usize = 64;

/// Calls `each` with the return address and the stack pointer of each frame, innermost first, until
/// it returns `false`. Takes no lock and allocates nothing.
pub(crate) fn walk(mut each: impl FnMut(usize, usize) -> bool) {
    // SAFETY: required: no other use of the crate's state meanwhile. Walking a stack does not use
    // it.
    unsafe { backtrace::trace_unsynchronized(|frame| each(frame.ip().addr(), frame.sp().addr())) }
}

/// Returns the addresses of the caller's own frames.
#[inline(never)]
pub(crate) fn own_frames() -> Vec<usize> {
    let mut frames = Vec::new();
    walk(|address, _| {
        frames.push(address);
        frames.len() < FRAMES_MAX
    });
    frames
}

/// Adds the addresses of the frames on another stack, up to `base`, without the caller's own, which
/// are on this stack.
pub(crate) fn other_stack(base: usize, into: &mut Vec<usize>) {
    let mut first = None;
    let mut stack = Stack::Callers;
    walk(|address, pointer| {
        let first = *first.get_or_insert(pointer);
        let is_here = (first..=base).contains(&pointer);
        stack = match stack {
            Stack::Callers if is_here => return true,
            Stack::Callers => Stack::Tasks,
            Stack::Tasks if is_here => return false,
            Stack::Tasks => Stack::Tasks,
        };
        into.push(address);
        into.len() < FRAMES_MAX
    });
}

enum Stack {
    Callers,
    Tasks,
}
