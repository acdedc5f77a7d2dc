//! The names of functions in a backtrace, and which of its frames are shown.

use std::collections::HashMap;
use std::ffi::c_void;

use crate::dump_data::Frame;

/// Resolves addresses, each once.
#[derive(Default)]
pub(crate) struct Symbols {
    known: HashMap<usize, Vec<Frame>>,
}

impl Symbols {
    /// Returns the frames of a backtrace that are shown: the call that the user's code made, and
    /// its callers; without the frames that suspend and resume.
    pub(crate) fn resolve(&mut self, addresses: &[usize]) -> Vec<Frame> {
        let mut frames = Vec::new();
        for &address in addresses {
            let found = self.known.entry(address).or_insert_with(|| look_up(address));
            let inner = found.iter().take_while(|frame| !is_root(frame));
            frames.extend(inner.filter(|frame| !is_machinery(frame)).cloned());
            if found.iter().any(is_root) {
                break;
            }
        }
        // The inner frames of the library below the user's call are omitted.
        let inside = frames.iter().take_while(|frame| is_toolbox(frame)).count();
        if inside < frames.len() {
            frames.drain(..inside.saturating_sub(1));
        }
        frames
    }
}

/// Returns the function at a return address, and those inlined there.
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

/// Returns `true` for the outermost function of a task or thread; the frames further out are
/// omitted.
fn is_root(frame: &Frame) -> bool {
    let name = frame.function.split('<').next().unwrap_or_default();
    name.ends_with("__rust_begin_short_backtrace")
        || name.ends_with("run_task") && is_machinery(frame)
}

/// Returns `true` for a frame of the runtime's or std's inner parts.
fn is_machinery(frame: &Frame) -> bool {
    const NAMES: [&str; 12] = [
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
    /// Builds with line tables only have no paths of functions; then the file decides.
    const FILES: [&str; 12] = [
        "/backtrace-",
        "/corosensei-",
        "/crates/coro/src/",
        "/crates/runtime/src/",
        "/fiveways-coro-",
        "/fiveways-runtime-",
        "/library/core/src/bool.rs",
        "/library/core/src/ops/function.rs",
        "/library/core/src/option.rs",
        "/library/core/src/panic/",
        "/library/core/src/result.rs",
        "/library/std/src/panic",
    ];
    is_of(frame, &NAMES, &FILES)
        || frame.function.contains(" as core::ops::function::Fn")
        || frame.function.contains("::interrupt::on_interrupt")
}

/// Returns `true` for a frame of the library that users call.
fn is_toolbox(frame: &Frame) -> bool {
    match &frame.file {
        Some(file) => {
            ["/crates/fiveways/src/", "/fiveways-0."].iter().any(|part| file.contains(part))
        }
        None => frame.function.trim_start_matches(['<', '&']).starts_with("fiveways::"),
    }
}

/// Returns `true` if the function's path, or that of its file, matches.
fn is_of(frame: &Frame, names: &[&str], files: &[&str]) -> bool {
    let name = frame.function.trim_start_matches(['<', '&']);
    let is_in = |file: &String| files.iter().any(|part| file.contains(part));
    names.iter().any(|start| name.starts_with(start)) || frame.file.as_ref().is_some_and(is_in)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::backtrace::own_frames;

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

    fn frame(function: &str, file: &str) -> Frame {
        Frame { function: function.to_owned(), file: Some(file.to_owned()), line: Some(1) }
    }

    #[test]
    fn users_frames_are_kept() {
        assert!(!is_machinery(&frame("shop::serve", "shop/src/main.rs")));
        assert!(!is_machinery(&frame("{closure#0}", "shop/src/main.rs")));
        let call_once = "<core::panic::unwind_safe::AssertUnwindSafe<F> as F>::call_once";
        assert!(is_machinery(&frame(call_once, "shop/src/main.rs")));
    }

    #[test]
    fn the_machinery_is_known_by_name_or_by_file() {
        for (function, file) in [
            ("fiveways_runtime::spawn::run_task", "spawn.rs"),
            ("run_task<(), shop::main::{closure#0}>", "/x/crates/runtime/src/spawn/task.rs"),
        ] {
            assert!(is_root(&frame(function, file)), "{function}");
        }
        assert!(!is_root(&frame("shop::run_task", "shop/src/main.rs")));
        assert!(is_machinery(&frame("switch_and_link", "/r/corosensei-0.3.4/src/unwind.rs")));
    }

    #[test]
    fn of_the_toolbox_only_what_was_called_is_told() {
        let (toolbox, user) = ("/x/crates/fiveways/src/sync/mutex.rs", "shop/src/main.rs");
        let inside = [frame("lock_slowly", toolbox), frame("lock<()>", toolbox)];
        let root = frame("fiveways_runtime::spawn::run_task", "spawn.rs");
        let outside = [frame("serve", user), frame("fiveways::task::scope", toolbox), root];
        let mut symbols = Symbols::default();
        symbols.known.insert(1, inside.to_vec());
        symbols.known.insert(2, outside.to_vec());
        let names: Vec<_> = symbols.resolve(&[1, 2]).into_iter().map(|f| f.function).collect();
        assert_eq!(names, ["lock<()>", "serve", "fiveways::task::scope"]);
        // If there is nothing else, these frames are shown.
        assert_eq!(symbols.resolve(&[1]).len(), 2);
    }
}
