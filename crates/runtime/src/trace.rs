//! Backtraces: taken as addresses, resolved to names later and elsewhere.
#![expect(unsafe_code, reason = "walks the stack without the lock that symbols need")]

use std::collections::HashMap;
use std::ffi::c_void;

use crate::snapshot::Frame;

/// Frames that are kept of one stack.
pub(crate) const FRAMES_MAX: usize = 64;

/// Calls `each` with the return address and the stack pointer of each frame, innermost first, until
/// it says false. Takes no lock and allocates nothing.
pub(crate) fn walk(mut each: impl FnMut(usize, usize) -> bool) {
    // SAFETY: required: no other use of the crate's state meanwhile. Walking alone has none.
    unsafe { backtrace::trace_unsynchronized(|frame| each(frame.ip().addr(), frame.sp().addr())) }
}

/// Takes the addresses of the caller's own frames.
#[inline(never)]
pub(crate) fn own_frames() -> Vec<usize> {
    let mut frames = Vec::new();
    walk(|address, _| {
        frames.push(address);
        frames.len() < FRAMES_MAX
    });
    frames
}

/// Takes the addresses of the frames between the caller's own, which are on this stack, and those
/// further out on the same stack, up to `base`.
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

/// Resolves addresses, each once.
#[derive(Default)]
pub(crate) struct Symbols {
    known: HashMap<usize, Vec<Frame>>,
}

impl Symbols {
    /// The frames of a backtrace, without those of the machinery that suspends and resumes.
    pub(crate) fn resolve(&mut self, addresses: &[usize]) -> Vec<Frame> {
        let mut frames = Vec::new();
        for &address in addresses {
            let found = self.known.entry(address).or_insert_with(|| look_up(address));
            if found.iter().any(|frame| is_root(&frame.function)) {
                break;
            }
            frames.extend(found.iter().filter(|frame| !is_machinery(&frame.function)).cloned());
        }
        frames
    }
}

/// The function at a return address, and those inlined there.
fn look_up(address: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    backtrace::resolve(address as *mut c_void, |symbol| {
        let name = symbol.name().map(|name| format!("{name:#}"));
        let file = symbol.filename().map(|path| path.display().to_string());
        let function = name.unwrap_or_else(|| format!("{address:#x}"));
        frames.push(Frame { function, file, line: symbol.lineno() });
    });
    if frames.is_empty() {
        frames.push(Frame { function: format!("{address:#x}"), file: None, line: None });
    }
    frames
}

/// Is it the outermost of a task's or thread's life, of which nothing further out is of interest?
fn is_root(function: &str) -> bool {
    function.starts_with("fiveways_runtime::spawn::run_task")
        || function.ends_with("::__rust_begin_short_backtrace")
}

/// Is it below what a user wants to see, or in between?
fn is_machinery(function: &str) -> bool {
    const PREFIXES: [&str; 12] = [
        "__restore_rt",
        "__rust_",
        "backtrace::",
        "core::bool::",
        "core::ops::function::",
        "core::option::",
        "core::panic::unwind_safe::",
        "core::result::",
        "corosensei::",
        "fiveways_coro::",
        "fiveways_runtime::",
        "std::panic",
    ];
    let name = function.trim_start_matches(['<', '&']);
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || name.contains(" as core::ops::function::Fn")
        || name.contains("::interrupt::on_interrupt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_own_function_is_found_by_name() {
        let own = own_frames();
        let names: Vec<_> = own.iter().flat_map(|at| look_up(*at)).map(|f| f.function).collect();
        assert!(names.iter().any(|name| name.contains("found_by_name")), "{names:?}");
    }

    #[test]
    fn an_address_of_nothing_is_told_as_a_number() {
        let frames = Symbols::default().resolve(&[8]);
        assert_eq!(frames[0].function, "0x8");
    }

    #[test]
    fn users_frames_are_kept() {
        assert!(!is_machinery("shop::serve"));
        assert!(is_machinery("fiveways_runtime::spawn::run_task"));
        assert!(is_machinery("<core::panic::unwind_safe::AssertUnwindSafe<F> as F>::call_once"));
    }
}
