//! Ending a wait from outside: cancellation and `timeout` scopes.
//!
//! Both surface first as an error at the suspension point (`ECANCELED`, `TimedOut`), and at every
//! later one. If a call cannot return an error (a sleep, a lock), or if a cancelled task has
//! ignored [`MAX_IGNORED_CANCELS`] refusals, the task is unwound from that call: it does not park
//! there, so it is never parked while unwinding. While it unwinds, calls that would park block the
//! thread instead: std counts panics per thread, and a parked unwinding task would make
//! `thread::panicking()` true for the other tasks of its worker.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::Instant;

use fiveways_sys::errno;

use crate::may_park::{is_park_forbidden, permitted};
use crate::task_block::{Limits, Task, earlier};
use crate::worker::{units_of, with_worker};

/// Refusals a cancelled task may ignore before it is unwound.
const MAX_IGNORED_CANCELS: u16 = 100;

/// The payload that unwinds a cancelled task; [`crate::JoinError`] recognises it.
struct Cancelled;

/// The payload that unwinds to the `timeout` scope whose deadline this is.
struct Expired(Instant);

/// Returns `true` if this is the payload that unwinds a cancelled task.
pub fn is_cancel(payload: &(dyn Any + Send)) -> bool {
    payload.is::<Cancelled>()
}

/// Returns `true` if the running task has been cancelled; `false` on a plain thread.
pub fn is_cancelled() -> bool {
    with_task(|task| task.cancelled.get()) == Some(true)
}

/// The reason that a wait does not go on: the caller is to be unwound, as soon as it has left the
/// queues of the wait.
#[must_use = "the caller is to be unwound"]
pub struct Interrupt(Box<dyn Any + Send>);

impl Interrupt {
    /// Wraps a payload; for panics that unwind by themselves.
    pub(crate) fn of(payload: Box<dyn Any + Send>) -> Interrupt {
        Interrupt(payload)
    }

    #[cold]
    pub(crate) fn cancelled() -> Interrupt {
        Interrupt(Box::new(Cancelled))
    }

    #[cold]
    pub(crate) fn expired(scope: Instant) -> Interrupt {
        Interrupt(Box::new(Expired(scope)))
    }

    /// Unwinds the caller.
    #[cold]
    pub fn unwind(self) -> ! {
        make_way();
        resume_unwind(self.0)
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupt").finish_non_exhaustive()
    }
}

/// Refuses a suspension to a cancelled task: with an error, or by unwinding after too many of them.
#[cold]
pub(crate) fn refuse(task: &Task) -> io::Error {
    let refusals = task.refusals.get();
    if refusals >= MAX_IGNORED_CANCELS {
        unwind_cancelled();
    }
    task.refusals.set(refusals + 1);
    io::Error::from_raw_os_error(errno::ECANCELED)
}

/// Unwinds the running task as cancelled, for calls that cannot return an error.
#[cold]
pub fn unwind_cancelled() -> ! {
    make_way();
    resume_unwind(Box::new(Cancelled))
}

/// Unwinds to the `timeout` scope that has expired.
#[cold]
pub(crate) fn unwind_expired(scope: Instant) -> ! {
    make_way();
    resume_unwind(Box::new(Expired(scope)))
}

/// Counts as an operation of the running task that did not wait: a task that catches its unwinding
/// and goes on, again and again, would otherwise keep its worker for ever.
fn make_way() {
    with_worker(|worker| {
        if let Some(task) = worker.current().filter(|_| !thread::panicking()) {
            worker.spend(task, units_of(0));
        }
    });
}

/// The error of a `timeout` scope whose deadline came before the end of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline has elapsed")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}

/// Runs `f`, in which every suspension ends at `deadline` at the latest.
///
/// From then on, calls that return `io::Result` return `TimedOut`; calls that cannot return an
/// error unwind to here. Scopes nest; the earlier deadline counts.
///
/// # Errors
///
/// [`Elapsed`] if `f` was unwound by the deadline. A value that `f` returned is returned, even if
/// it is late.
///
/// On a plain thread the waits of this library keep the deadline; other calls that block the thread
/// are not interrupted.
pub fn with_deadline<T>(deadline: Instant, f: impl FnOnce() -> T) -> Result<T, Elapsed> {
    let outer = limits().own;
    change(|limits| limits.own = earlier(outer, Some(deadline)));
    let outcome = catch_unwind(AssertUnwindSafe(f));
    change(|limits| limits.own = outer);
    match outcome {
        Ok(value) => Ok(value),
        Err(payload) => match payload.downcast::<Expired>() {
            // An outer scope with the same or an earlier deadline is the one that has expired.
            Ok(expired) if is_meant(&expired) => Err(Elapsed),
            Ok(expired) => resume_unwind(expired),
            Err(payload) => resume_unwind(payload),
        },
    }
}

/// Returns `true` if the scope that has just been left is the one that has expired.
fn is_meant(expired: &Expired) -> bool {
    let outer = limits().deadline();
    outer.is_none_or(|outer| expired.0 < outer)
}

/// Runs `f`, in whose waits neither a cancellation nor a `timeout` scope outside unwinds the task.
/// For work that must not be left half done.
pub fn without_interruption<T>(f: impl FnOnce() -> T) -> T {
    let before = limits();
    change(|limits| (limits.own, limits.own_uninterruptible) = (None, true));
    let outcome = catch_unwind(AssertUnwindSafe(f));
    change(|limits| {
        (limits.own, limits.own_uninterruptible) = (before.own, before.own_uninterruptible);
    });
    outcome.unwrap_or_else(|payload| resume_unwind(payload))
}

/// As [`without_interruption`], for code that restores a consistent state: where the caller must
/// not wait (see [`no_park_scope`](crate::no_park_scope)) a wait is not refused, and blocks the
/// thread.
pub fn in_any_case<T>(f: impl FnOnce() -> T) -> T {
    if is_park_forbidden() {
        permitted(|| {
            let mut f = Some(f);
            let done = with_worker(|worker| worker.as_thread(|| f.take().map(|f| f())));
            done.flatten().unwrap_or_else(|| f.take().expect("it has not been run")())
        })
    } else {
        without_interruption(f)
    }
}

/// The time limits of a stack that is suspended by itself (a generator's), and its protection from
/// interruption: they stay with that stack, and its caller's stay with the caller.
#[derive(Clone, Copy, Debug, Default)]
pub struct SavedLimits {
    own: Option<Instant>,
    uninterruptible: bool,
}

/// The limits of a caller, to be restored for it.
#[derive(Clone, Copy, Debug)]
pub struct OuterLimits(Limits);

/// Begins the limits of another stack that runs in the calling task (or thread), within the
/// caller's.
pub fn install_limits(saved: SavedLimits) -> OuterLimits {
    let caller = limits();
    change(|limits| {
        *limits = Limits {
            own: saved.own,
            callers: earlier(caller.own, caller.callers),
            own_uninterruptible: saved.uninterruptible,
            callers_uninterruptible: caller.is_uninterruptible(),
        };
    });
    OuterLimits(caller)
}

/// Restores the caller's limits; returns those that the other stack has now.
pub fn restore_limits(caller: OuterLimits) -> SavedLimits {
    let limits = limits();
    change(|limits| *limits = caller.0);
    SavedLimits { own: limits.own, uninterruptible: limits.own_uninterruptible }
}

thread_local! {
    /// The limits of this plain thread's waits.
    static OF_THREAD: Cell<Limits> = const { Cell::new(Limits::NONE) };
}

/// Returns the limits of the running task's (or plain thread's) waits.
fn limits() -> Limits {
    with_task(|task| task.limits.get()).unwrap_or_else(|| OF_THREAD.get())
}

fn change(f: impl FnOnce(&mut Limits)) {
    let mut limits = limits();
    f(&mut limits);
    if with_task(|task| task.set_limits(limits)).is_none() {
        OF_THREAD.set(limits);
    }
}

/// Returns the deadline of the `timeout` scopes around a plain thread's wait. `None` in a task,
/// also while it unwinds; and while the thread unwinds, because a second panic would end the
/// process.
#[inline]
pub fn thread_scope() -> Option<Instant> {
    let scope = OF_THREAD.get().deadline()?;
    let counts = !thread::panicking() && with_task(|_| ()).is_none();
    counts.then_some(scope)
}

#[expect(unsafe_code, reason = "the running task's block is reached by pointer")]
fn with_task<R>(f: impl FnOnce(&Task) -> R) -> Option<R> {
    with_worker(|worker| {
        let task = worker.current()?;
        // SAFETY: required: a live task. It is the running one.
        Some(f(unsafe { task.as_ref() }))
    })
    .flatten()
}
