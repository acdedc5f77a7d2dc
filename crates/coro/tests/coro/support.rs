//! Fibers whose bodies can suspend safely, and tests that run themselves in a process of their own.
#![expect(unsafe_code, reason = "suspends by the thin pointer")]

use std::cell::Cell;
use std::env;
use std::process::{Command, Output};
use std::ptr::NonNull;
use std::rc::Rc;

use fiveways_coro::{Fiber, Stack};

/// A body's handle to suspend itself.
pub(crate) struct Me<H>(Rc<Cell<NonNull<H>>>);

impl<H> Clone for Me<H> {
    fn clone(&self) -> Me<H> {
        Me(Rc::clone(&self.0))
    }
}

impl<H> Me<H> {
    pub(crate) fn suspend(&self) {
        // SAFETY: required: called on that fiber's stack. Only its body has this value.
        unsafe { Fiber::suspend(self.0.get()) };
    }

    pub(crate) fn header(&self) -> &H {
        // SAFETY: required: live. The fiber that has this value runs.
        unsafe { self.0.get().as_ref() }
    }
}

/// A fiber whose body receives its own pointer.
pub(crate) fn fiber<H: 'static>(
    stack: Stack,
    header: H,
    body: impl FnOnce(&Me<H>) + 'static,
) -> Fiber<H> {
    let place = Rc::new(Cell::new(NonNull::dangling()));
    let me = Me(Rc::clone(&place));
    let fiber = Fiber::new(stack, header, move || body(&me));
    place.set(fiber.as_raw());
    fiber
}

/// Runs `body` in a new process: this test binary again, with this one test. `None` in that
/// process, where `body` has been run and has returned.
pub(crate) fn in_a_child(test: &str, body: impl FnOnce()) -> Option<Output> {
    const ROLE: &str = "FIVEWAYS_CORO_TEST";
    if env::var_os(ROLE).is_some_and(|role| role == test) {
        body();
        return None;
    }
    let us = env::current_exe().expect("a path");
    let child = Command::new(us)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ROLE, test)
        .env("RUST_BACKTRACE", "full")
        .output();
    Some(child.expect("started"))
}

/// The output of a process on standard error.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
