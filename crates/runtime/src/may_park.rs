//! Refusing waits in user code that must not wait, because it runs under a lock that blocks
//! threads.
//!
//! A comparison that suspended its task there would leave the lock held: the next task of the
//! worker that asks for the lock blocks the thread, and no other can release it. So the check is
//! made where a wait begins, with the caller's place at hand; and once more by the worker, which
//! ends the process rather than suspend a task there.

use std::cell::Cell;
use std::fmt;
use std::process;
use std::thread;

use fiveways_sys::fault::write_to_stderr;

use crate::reason::Reason;

thread_local! {
    /// What the running code is called for, if it must not wait.
    static FORBIDDEN: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Runs `f`, in which every wait is refused with a panic that names `what`: a clause like
/// `priorities are compared`.
#[inline]
pub fn no_park_scope<R>(what: &'static str, f: impl FnOnce() -> R) -> R {
    let _before = Before(FORBIDDEN.replace(Some(what)));
    f()
}

/// Restores the previous state when dropped.
struct Before(Option<&'static str>);

impl Drop for Before {
    #[inline]
    fn drop(&mut self) {
        FORBIDDEN.set(self.0);
    }
}

/// Returns `true` if the caller must not wait.
#[inline]
pub(crate) fn is_park_forbidden() -> bool {
    FORBIDDEN.get().is_some()
}

/// Runs `f`, which restores a consistent state and must not be refused; it must not suspend either.
pub(crate) fn permitted<R>(f: impl FnOnce() -> R) -> R {
    let _before = Before(FORBIDDEN.take());
    f()
}

/// Ends the process if the running task is about to be suspended where it must not wait, although
/// all earlier checks were passed.
#[inline]
pub(crate) fn abort_if_park_forbidden() {
    if let Some(what) = FORBIDDEN.get() {
        die(what);
    }
}

#[cold]
fn die(what: &str) -> ! {
    write_to_stderr(b"fiveways: ");
    write_to_stderr(what.as_bytes());
    write_to_stderr(b", and a wait has begun there that was not refused\n");
    process::abort()
}

/// Refuses a wait that is about to begin where none is allowed.
///
/// # Panics
///
/// Inside [`no_park_scope`]. Not in a destructor that runs while the thread unwinds: a second panic
/// would end the process, so the wait blocks the thread instead.
#[inline]
#[track_caller]
pub fn assert_may_park(reason: Option<&Reason<'_>>) {
    if let Some(what) = FORBIDDEN.get() {
        refuse(what, reason);
    }
}

#[cold]
#[track_caller]
fn refuse(what: &str, reason: Option<&Reason<'_>>) {
    if thread::panicking() {
        return;
    }
    match reason {
        Some(reason) => panic!("{what}: nothing may wait here, as {} does", WaitOf(reason)),
        None => panic!("{what}: nothing may wait here"),
    }
}

/// A reason, shown with the place in the user's code.
struct WaitOf<'a>(&'a Reason<'a>);

impl fmt::Display for WaitOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' at {}", self.0.what, self.0.place)
    }
}
