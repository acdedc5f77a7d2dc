//! Ending a wait from outside: cancellation and `timeout` scopes.
//!
//! Both surface first as an error at the suspension point (`ECANCELED`, `TimedOut`), and at every
//! later one. Where a call has no error to give (a sleep, a lock), or when a cancelled task has
//! ignored [`PATIENCE`] refusals, the task is unwound from where it stands: it does not park there,
//! so it is never parked while unwinding. While it unwinds, calls that would park block the thread
//! instead: std counts panics per thread, and a parked unwinding task would make
//! `thread::panicking()` true for its neighbours.

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
const PATIENCE: u16 = 100;

/// The payload that unwinds a cancelled task; [`crate::JoinError`] recognises it.
struct Cancelled;

/// The payload that unwinds to the `timeout` scope whose deadline this is.
struct Expired(Instant);

/// Is this what a cancelled task unwinds with?
pub fn is_cancel(payload: &(dyn Any + Send)) -> bool {
    payload.is::<Cancelled>()
}

/// Has the running task been cancelled? On a plain thread: no.
pub fn is_cancelled() -> bool {
    with_task(|task| task.cancelled.get()) == Some(true)
}

/// Why a wait does not go on: the caller is to be unwound, as soon as it has left what it waits in.
#[must_use = "the caller is to be unwound"]
pub struct Interrupt(Box<dyn Any + Send>);

impl Interrupt {
    /// As a payload; for what unwinds by itself.
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

    /// Unwinds.
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

/// Refuses a suspension to a cancelled task: an error, or in the end an unwind.
#[cold]
pub(crate) fn refuse(task: &Task) -> io::Error {
    let refusals = task.refusals.get();
    if refusals >= PATIENCE {
        unwind_cancelled();
    }
    task.refusals.set(refusals + 1);
    io::Error::from_raw_os_error(errno::ECANCELED)
}

/// Unwinds the running task as cancelled, for calls that have no error to give.
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

/// Counts for the running task as something done without waiting: one that catches what unwinds it
/// and goes on, again and again, would keep its worker for ever.
fn make_way() {
    with_worker(|worker| {
        if let Some(task) = worker.current().filter(|_| !thread::panicking()) {
            worker.spend(task, units_of(0));
        }
    });
}

/// A `timeout` scope came to its deadline before its work came to its end.
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
/// Calls that give `io::Result` give `TimedOut` from then on; calls that have no error to give
/// unwind to here. Scopes nest; the earlier deadline counts.
///
/// # Errors
///
/// [`Elapsed`] when `f` was unwound by the deadline. A value that `f` returned is returned, even
/// when it is late.
///
/// On a plain thread the waits of this library keep the deadline; what blocks the thread by other
/// means is not interrupted.
pub fn with_deadline<T>(deadline: Instant, f: impl FnOnce() -> T) -> Result<T, Elapsed> {
    let outer = limits().own;
    change(|limits| limits.own = earlier(outer, Some(deadline)));
    let outcome = catch_unwind(AssertUnwindSafe(f));
    change(|limits| limits.own = outer);
    match outcome {
        Ok(value) => Ok(value),
        Err(payload) => match payload.downcast::<Expired>() {
            // An outer scope with the same or an earlier deadline is the one that is meant.
            Ok(expired) if is_meant(&expired) => Err(Elapsed),
            Ok(expired) => resume_unwind(expired),
            Err(payload) => resume_unwind(payload),
        },
    }
}

/// Is the scope that has just been left the one that has expired?
fn is_meant(expired: &Expired) -> bool {
    let outer = limits().deadline();
    outer.is_none_or(|outer| expired.0 < outer)
}

/// Runs `f`, from whose waits nothing unwinds the task that began outside of it: neither a
/// cancellation nor a `timeout` scope. For what must not be left half done.
pub fn without_interruption<T>(f: impl FnOnce() -> T) -> T {
    let before = limits();
    change(|limits| (limits.own, limits.own_uninterruptible) = (None, true));
    let outcome = catch_unwind(AssertUnwindSafe(f));
    change(|limits| {
        (limits.own, limits.own_uninterruptible) = (before.own, before.own_uninterruptible);
    });
    outcome.unwrap_or_else(|payload| resume_unwind(payload))
}

/// As [`without_interruption`], for what puts things in order: where the caller must not wait (see
/// [`no_park_scope`](crate::no_park_scope)) it is not refused, and blocks the thread.
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

/// What a stack that is suspended by itself (a generator's) has of time limits and protection from
/// being interrupted: it takes them along, and leaves its caller's.
#[derive(Clone, Copy, Debug, Default)]
pub struct SavedLimits {
    own: Option<Instant>,
    uninterruptible: bool,
}

/// What a caller has of these, to be given back to it.
#[derive(Clone, Copy, Debug)]
pub struct OuterLimits(Limits);

/// Lets another stack run in the calling task (or thread): in its own limits and the caller's.
pub fn install_limits(standing: SavedLimits) -> OuterLimits {
    let caller = limits();
    change(|limits| {
        *limits = Limits {
            own: standing.own,
            callers: earlier(caller.own, caller.callers),
            own_uninterruptible: standing.uninterruptible,
            callers_uninterruptible: caller.is_uninterruptible(),
        };
    });
    OuterLimits(caller)
}

/// Goes on in the caller; gives what the other stack has now.
pub fn restore_limits(caller: OuterLimits) -> SavedLimits {
    let limits = limits();
    change(|limits| *limits = caller.0);
    SavedLimits { own: limits.own, uninterruptible: limits.own_uninterruptible }
}

thread_local! {
    /// What ends the waits of this plain thread early.
    static OF_THREAD: Cell<Limits> = const { Cell::new(Limits::NONE) };
}

/// What ends the waits of the running task (or plain thread) early.
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

/// The deadline of the `timeout` scopes around a plain thread's wait. `None` in a task, also while
/// it unwinds; and while the thread unwinds, which a second one would end with the process.
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
