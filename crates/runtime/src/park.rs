//! Parking and sleeping, the same for tasks and plain threads.
//!
//! The token is std's: an unpark before the park makes the park return at once; tokens do not add
//! up. Anything that waits for another task or thread is built on this.
#![expect(unsafe_code, reason = "the running task's block is reached by pointer")]

use std::ptr::NonNull;
use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::inbox::{Inbox, Message};
use crate::task::{State, Task, TaskId};
use crate::unwind::{unwind_cancelled, unwind_expired};
use crate::worker::{Worker, with_worker};

/// Why a park ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Unparked, now or before. On plain threads also without a reason, as std's does.
    Unparked,
    /// The deadline has come.
    TimedOut,
}

/// Unparks one task or thread, from anywhere, any number of times, even after its end.
#[derive(Clone)]
pub struct Unparker(Who);

#[derive(Clone)]
enum Who {
    Task { inbox: Arc<Inbox>, id: TaskId },
    Thread(Thread),
}

impl std::fmt::Debug for Unparker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Who::Task { inbox, id } => write!(f, "Unparker(task {}.{})", inbox.index, id.index),
            Who::Thread(thread) => write!(f, "Unparker({:?})", thread.id()),
        }
    }
}

impl Unparker {
    pub(crate) fn of_task(inbox: &Arc<Inbox>, id: TaskId) -> Unparker {
        Unparker(Who::Task { inbox: Arc::clone(inbox), id })
    }

    /// Makes the task's or thread's present or next park return.
    ///
    /// Never suspends.
    pub fn unpark(&self) {
        match &self.0 {
            Who::Thread(thread) => thread.unpark(),
            Who::Task { inbox, id } => {
                let here = with_worker(|worker| {
                    let own = Arc::ptr_eq(&worker.inbox, inbox);
                    if own {
                        worker.unpark(*id);
                    }
                    own
                });
                if here != Some(true) {
                    // A worker that has ended has no task to unpark.
                    let _ = inbox.send(Message::Wake(*id));
                }
            }
        }
    }
}

/// Is the caller a task (and may it park as one)?
#[inline]
pub fn in_task() -> bool {
    with_worker(|worker| worker.current().is_some()) == Some(true) && !thread::panicking()
}

/// Gives the means to unpark the caller.
pub fn unparker() -> Unparker {
    let task = with_worker(|worker| {
        let task = worker.current().filter(|_| !thread::panicking())?;
        // SAFETY: required: a live task. It is the running one.
        let id = unsafe { task.as_ref() }.id;
        Some(Unparker::of_task(&worker.inbox, id))
    });
    task.flatten().unwrap_or_else(|| Unparker(Who::Thread(thread::current())))
}

/// Parks the caller until it is unparked.
///
/// # Suspends
///
/// Until unparked; a plain thread blocks.
///
/// # Cancellation
///
/// A cancelled task is unwound from here.
pub fn park() {
    park_until(None);
}

/// Parks the caller until it is unparked or the deadline comes.
///
/// # Suspends
///
/// Until unparked or late; a plain thread blocks.
///
/// # Cancellation
///
/// A cancelled task is unwound from here.
pub fn park_until(deadline: Option<Instant>) -> Wake {
    let parked = as_task(|worker, task| park_task(worker, task, State::Parked, deadline));
    parked.unwrap_or_else(|| park_thread(deadline))
}

/// Parks until `is_so`, which is looked at before each park; false: the deadline came first.
///
/// Unparks that were meant for others than the condition are kept for the caller's next park: who
/// waits for a task in between must not lose them.
pub(crate) fn park_while_not(is_so: impl Fn() -> bool, deadline: Option<Instant>) -> bool {
    let mut kept = None;
    let so = loop {
        if is_so() {
            break true;
        }
        if park_until(deadline) == Wake::TimedOut {
            break is_so();
        }
        if !is_so() {
            kept.get_or_insert_with(unparker);
        }
    };
    if let Some(me) = kept {
        me.unpark();
    }
    so
}

/// Sleeps until the instant.
///
/// # Suspends
///
/// Until then; a plain thread blocks.
///
/// # Cancellation
///
/// A cancelled task is unwound from here.
pub fn sleep_until(at: Instant) {
    let slept = as_task(|worker, task| {
        if at <= Instant::now() {
            yield_task(worker, task);
        } else {
            park_task(worker, task, State::Asleep, Some(at));
        }
    });
    if slept.is_none() {
        thread::sleep(at.saturating_duration_since(Instant::now()));
    }
}

/// Lets every other task that can run go first.
///
/// # Suspends
///
/// Until its turn comes again; a plain thread yields to the system's scheduler.
///
/// # Cancellation
///
/// A cancelled task is unwound from here.
#[inline]
pub fn yield_now() {
    if as_task(yield_task).is_none() {
        thread::yield_now();
    }
}

/// Runs `f` with the running task, unless there is none or it is unwinding.
#[inline]
pub(crate) fn as_task<R>(f: impl FnOnce(&Worker, NonNull<Task>) -> R) -> Option<R> {
    with_worker(|worker| {
        let task = worker.current()?;
        if thread::panicking() { None } else { Some(f(worker, task)) }
    })
    .flatten()
}

#[inline]
fn yield_task(worker: &Worker, task: NonNull<Task>) {
    // SAFETY: required: a live task. It is the running one.
    let block = unsafe { task.as_ref() };
    if block.is_to_unwind() {
        unwind_cancelled();
    }
    if let Some(scope) = is_over(block) {
        unwind_expired(scope);
    }
    worker.make_ready(task);
    worker.suspend(task, State::Ready);
}

fn park_task(worker: &Worker, task: NonNull<Task>, how: State, deadline: Option<Instant>) -> Wake {
    // SAFETY: required: a live task. It is the running one.
    let block = unsafe { task.as_ref() };
    if how == State::Parked && block.token.replace(false) {
        return Wake::Unparked;
    }
    if block.is_to_unwind() {
        unwind_cancelled();
    }
    let scope = block.scope.get();
    block.timed_out.set(false);
    if let Some(at) = earlier(deadline, scope) {
        worker.set_timer(task, at);
    }
    worker.suspend(task, how);
    worker.clear_timer(block);
    if block.is_to_unwind() {
        unwind_cancelled();
    }
    if !block.timed_out.get() {
        return Wake::Unparked;
    }
    match scope {
        Some(scope) if deadline.is_none_or(|own| scope < own) => unwind_expired(scope),
        _ => Wake::TimedOut,
    }
}

/// The deadline of the innermost `timeout` scope, if it has come.
#[inline]
pub(crate) fn is_over(task: &Task) -> Option<Instant> {
    task.scope.get().filter(|scope| *scope <= Instant::now())
}

/// The earlier of two deadlines.
#[inline]
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn park_thread(deadline: Option<Instant>) -> Wake {
    let Some(at) = deadline else {
        thread::park();
        return Wake::Unparked;
    };
    let left = at.saturating_duration_since(Instant::now());
    if left > Duration::ZERO {
        thread::park_timeout(left);
    }
    if Instant::now() < at { Wake::Unparked } else { Wake::TimedOut }
}
