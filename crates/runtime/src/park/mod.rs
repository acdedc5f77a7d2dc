//! Parking and sleeping, the same for tasks and plain threads.
//!
//! The token is std's: an unpark before the park makes the park return at once; tokens do not add
//! up. Anything that waits for another task or thread is built on this.
#![expect(unsafe_code, reason = "the running task's block is reached by pointer")]

pub(crate) mod wait_queue;
pub(crate) mod thread_parker;
pub(crate) mod unwinding;
pub(crate) mod blocked_threads;
pub(crate) mod observer;
pub(crate) mod current;
pub(crate) mod limits;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::thread;
use std::time::{Duration, Instant};

use crate::clock;
use crate::detection;
use crate::may_park::{assert_may_park, is_park_forbidden};
use crate::park::blocked_threads::Listed;
use crate::park::current::{Caller, me};
use crate::park::limits::{Interrupt, thread_scope, unwind_cancelled, unwind_expired};
use crate::park::observer::ObservedWait;
use crate::park::thread_parker::ParkToken;
use crate::park::unwinding::{BLOCKED_LIMIT, Unwinding, refuse_endless};
use crate::reason::{Holder, Reason};
use crate::task_block::{State, Task, TaskId, earlier};
use crate::worker::inbox::Message;
use crate::worker::registry;
use crate::worker::{Worker, WorkerSet, with_worker};

/// Why a park ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Unparked, now or before.
    Unparked,
    /// The deadline has come.
    TimedOut,
}

/// Unparks one task or thread, from anywhere, any number of times, even after its end.
///
/// It owns nothing: a task is found by its number and its worker's, which are not used again; a
/// thread by its parker, which is used again with the next generation.
#[derive(Clone, Copy)]
pub struct Unparker(Who);

#[derive(Clone, Copy)]
enum Who {
    Task { worker: u32, id: TaskId },
    Thread(ParkToken),
}

impl fmt::Debug for Unparker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Who::Task { worker, id } => write!(f, "Unparker(task {worker}.{})", id.index),
            Who::Thread(token_of_thread) => write!(f, "Unparker(thread {token_of_thread:?})"),
        }
    }
}

impl Unparker {
    /// Makes the task's or thread's present or next park return.
    #[inline]
    pub fn unpark(&self) {
        match self.0 {
            Who::Thread(token_of_thread) => token_of_thread.give(),
            Who::Task { worker: number, id } => {
                let own = with_worker(|worker| {
                    let own = worker.inbox.index == number;
                    if own {
                        worker.unpark(id);
                    }
                    own
                });
                if own != Some(true) {
                    unpark_elsewhere(number, id);
                }
            }
        }
    }
}

/// Unparks a task of another worker, if both have not ended.
fn unpark_elsewhere(number: u32, id: TaskId) {
    let wake = |worker_set: &WorkerSet| {
        let inbox = registry::member(worker_set, number)?;
        Some(inbox.send(Message::Wake(id)))
    };
    if with_worker(|worker| wake(&worker.worker_set)).flatten().is_none() {
        let _ = registry::with(number).as_ref().and_then(wake);
    }
}

/// Returns `true` if the caller is a task, and may park as one.
#[inline]
pub fn in_task() -> bool {
    with_worker(|worker| worker.current().is_some()) == Some(true) && !thread::panicking()
}

/// Returns the means to unpark the caller.
#[inline]
pub fn unparker() -> Unparker {
    let task = with_worker(|worker| {
        let task = worker.current().filter(|_| !thread::panicking())?;
        // SAFETY: required: a live task. It is the running one.
        let id = unsafe { task.as_ref() }.id;
        Some(Unparker(Who::Task { worker: worker.inbox.index, id }))
    });
    task.flatten().unwrap_or_else(|| Unparker(Who::Thread(ParkToken::of_thread())))
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
    let parked = as_task(|worker, task| park_task(worker, task, State::Parked, None, deadline));
    or_unwind(parked.unwrap_or_else(|| park_thread(None, deadline)))
}

/// As [`park_until`], with a reason that dumps show.
///
/// # Suspends
///
/// Until unparked or late; a plain thread blocks.
///
/// # Cancellation
///
/// A cancelled task is unwound from here.
///
/// # Panics
///
/// With a [`Deadlock`](crate::Deadlock), if deadlocks are to panic and the wait closes one.
#[inline]
pub fn park_for(reason: &Reason<'_>, deadline: Option<Instant>) -> Wake {
    or_unwind(park_unless_interrupted(reason, deadline))
}

/// As [`park_for`], but returns the interruption: the caller may have queues to leave before it
/// unwinds.
// Each frame between the caller and the switch costs a mispredicted return.
#[inline(always)]
pub fn park_unless_interrupted(
    reason: &Reason<'_>,
    deadline: Option<Instant>,
) -> Result<Wake, Interrupt> {
    admit(Some(reason))?;
    let _observed = observe(reason, deadline)?;
    let parked = as_task(|worker, task| {
        // SAFETY: required: a live task. It is the running one.
        let block = unsafe { task.as_ref() };
        let _shown = ShownReason::new(block, reason);
        park_task(worker, task, State::Parked, Some(reason), deadline)
    });
    parked.unwrap_or_else(|| park_thread(Some(reason), deadline))
}

#[inline(always)]
fn or_unwind(parked: Result<Wake, Interrupt>) -> Wake {
    parked.unwrap_or_else(|interrupt| interrupt.unwind())
}

/// As [`park_for`] in the running task, while deadlocks are not looked for.
// Each frame between the caller and the switch costs a mispredicted return.
#[inline(always)]
pub(crate) fn park_here(
    worker: &Worker,
    task: NonNull<Task>,
    reason: &Reason<'_>,
    deadline: Option<Instant>,
) -> Wake {
    // SAFETY: required: a live task. It is the running one.
    let _shown = ShownReason::new(unsafe { task.as_ref() }, reason);
    or_unwind(park_task(worker, task, State::Parked, Some(reason), deadline))
}

/// Refuses a wait where none is allowed, for callers that have queues to leave before they unwind.
#[inline]
fn admit(reason: Option<&Reason<'_>>) -> Result<(), Interrupt> {
    if is_park_forbidden() { caught(|| assert_may_park(reason)) } else { Ok(()) }
}

/// Runs what may panic, for callers that have queues to leave before they unwind.
#[cold]
fn caught<R>(f: impl FnOnce() -> R) -> Result<R, Interrupt> {
    catch_unwind(AssertUnwindSafe(f)).map_err(Interrupt::of)
}

/// Reports the wait to the search for deadlocks, if that is on and can use the reason.
#[inline]
fn observe<'a>(
    reason: &'a Reason<'a>,
    deadline: Option<Instant>,
) -> Result<Option<ObservedWait<'a>>, Interrupt> {
    let is_followed = !matches!(reason.holder, Holder::Anyone | Holder::AnyOf(_));
    if !is_followed || deadline.is_some() || !detection::is_on() {
        return Ok(None);
    }
    let me = Caller::now();
    if me.will_end() { Ok(None) } else { caught(|| ObservedWait::begin(me, reason)).map(Some) }
}

/// Keeps the task's reason in its control block while this lives.
struct ShownReason<'a>(&'a Task);

impl<'a> ShownReason<'a> {
    #[inline(always)]
    fn new(task: &'a Task, reason: &'a Reason<'_>) -> ShownReason<'a> {
        task.reason.set(ptr::from_ref(reason).cast());
        ShownReason(task)
    }
}

impl Drop for ShownReason<'_> {
    fn drop(&mut self) {
        self.0.reason.set(ptr::null());
    }
}

/// Parks until `is_so`, which is checked before each park; returns `false` if the deadline came
/// first.
///
/// Unparks that were not meant for the condition are kept for the caller's next park: another wait
/// of the caller may depend on them.
pub fn park_while_not(is_so: impl Fn() -> bool, deadline: Option<Instant>) -> bool {
    park_by_turns(is_so, || park_until(deadline))
}

/// As [`park_while_not`], with a reason that dumps show.
#[inline]
pub fn park_for_while_not(
    reason: &Reason<'_>,
    is_so: impl Fn() -> bool,
    deadline: Option<Instant>,
) -> bool {
    park_by_turns(is_so, || park_for(reason, deadline))
}

/// Blocks the calling thread until `is_so`; calls `look` in between until that returns `false`.
pub(crate) fn park_watched(
    reason: &Reason<'_>,
    is_so: impl Fn() -> bool,
    interval: Duration,
    mut look: impl FnMut() -> bool,
) {
    assert_may_park(Some(reason));
    let _observed = observe(reason, None).unwrap_or_else(|interrupt| interrupt.unwind());
    let token_of_thread = ParkToken::of_thread();
    let _listed = Listed::new(me(), Some(reason), None);
    let (mut looks, mut keeps) = (true, false);
    while !is_so() {
        let limit = looks.then(|| clock::machine() + interval);
        if token_of_thread.take(limit, || None::<()>) {
            keeps |= !is_so();
        } else {
            looks = look();
        }
    }
    if keeps {
        token_of_thread.give();
    }
}

#[inline(always)]
pub(crate) fn park_by_turns(is_so: impl Fn() -> bool, park: impl Fn() -> Wake) -> bool {
    let mut kept = None;
    let so = loop {
        if is_so() {
            break true;
        }
        if park() == Wake::TimedOut {
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
#[track_caller]
pub fn sleep_until(at: Instant) {
    assert_may_park(None);
    let slept = as_task(|worker, task| {
        if at <= clock::now() {
            yield_task(worker, task);
        } else {
            or_unwind(park_task(worker, task, State::Asleep, None, Some(at)));
        }
    });
    if slept.is_none() {
        let now = clock::now();
        let is_first = |scope: &Instant| *scope < at || at <= now && *scope <= now;
        let scope = thread_scope().filter(is_first);
        thread::sleep(scope.unwrap_or(at).saturating_duration_since(now));
        if let Some(scope) = scope {
            unwind_expired(scope);
        }
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
#[track_caller]
pub fn yield_now() {
    assert_may_park(None);
    if as_task(yield_task).is_none() {
        yield_thread();
    }
}

// Apart, as is `has_come`: what a yield of a task seldom needs took registers that it needs.
#[cold]
fn yield_thread() {
    if let Some(scope) = thread_scope().filter(|scope| has_come(*scope)) {
        unwind_expired(scope);
    }
    thread::yield_now();
}

/// Counts an operation of the caller that may never have to wait; lets other tasks go first if the
/// caller's slice is over.
///
/// # Suspends
///
/// When the slice is over, as [`yield_now`]; a plain thread goes on at once.
///
/// # Cancellation
///
/// A cancelled task is unwound from here when its slice is over.
#[inline]
pub fn spend() {
    if with_worker(Worker::has_spent) == Some(true) {
        end_slice(|worker, task| {
            refuse_by_unwinding(task);
            worker.end_slice(task);
        });
    }
}

/// As [`spend`], but a cancelled task goes on: the next call that can return an error refuses it.
#[inline]
pub fn spend_without_unwinding() {
    if with_worker(Worker::has_spent) == Some(true) {
        end_slice(Worker::end_slice);
    }
}

#[cold]
fn end_slice(f: impl FnOnce(&Worker, NonNull<Task>)) {
    if !is_park_forbidden() {
        as_task(f);
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
    refuse_by_unwinding(task);
    worker.yield_task(task);
}

/// Unwinds the running task if it was cancelled, or if its time is over.
#[inline]
fn refuse_by_unwinding(task: NonNull<Task>) {
    // SAFETY: required: a live task. It is the running one.
    let block = unsafe { task.as_ref() };
    if block.is_to_unwind() {
        unwind_cancelled();
    }
    if let Some(scope) = is_over(block) {
        unwind_expired(scope);
    }
}

// Each frame between the caller and the switch costs a mispredicted return.
#[inline(always)]
fn park_task(
    worker: &Worker,
    task: NonNull<Task>,
    how: State,
    reason: Option<&Reason<'_>>,
    deadline: Option<Instant>,
) -> Result<Wake, Interrupt> {
    admit(reason)?;
    // SAFETY: required: a live task. It is the running one.
    let block = unsafe { task.as_ref() };
    if how == State::Parked && block.token.replace(false) {
        worker.spend(task, 1);
        return Ok(Wake::Unparked);
    }
    if block.is_to_unwind() {
        return Err(Interrupt::cancelled());
    }
    let scope = block.scope.get();
    block.timed_out.set(false);
    if let Some(at) = earlier(deadline, scope) {
        worker.set_timer(task, at);
    }
    worker.suspend(task, how);
    worker.clear_timer(block);
    if block.is_to_unwind() {
        return Err(Interrupt::cancelled());
    }
    if !block.timed_out.get() {
        return Ok(Wake::Unparked);
    }
    match scope {
        Some(scope) if deadline.is_none_or(|own| scope < own) => Err(Interrupt::expired(scope)),
        _ => Ok(Wake::TimedOut),
    }
}

/// The deadline of the innermost `timeout` scope, if it has come.
#[inline]
pub(crate) fn is_over(task: &Task) -> Option<Instant> {
    task.scope.get().filter(|scope| has_come(*scope))
}

#[inline(never)]
fn has_come(scope: Instant) -> bool {
    scope <= clock::now()
}

fn park_thread(reason: Option<&Reason<'_>>, own: Option<Instant>) -> Result<Wake, Interrupt> {
    admit(reason)?;
    let (token_of_thread, me) = (ParkToken::of_thread(), me());
    let scope = thread_scope();
    let deadline = clock::to_machine(earlier(own, scope));
    let mut reported = me.is_thread();
    loop {
        if !me.is_thread() && deadline.is_none() {
            caught(|| refuse_endless(me, reason))?;
        }
        let tick = (!reported).then(|| clock::machine() + BLOCKED_LIMIT);
        if token_of_thread.take(earlier(deadline, tick), || Some(Listed::new(me, reason, deadline)))
        {
            return Ok(Wake::Unparked);
        }
        if tick.is_none() || deadline.is_some_and(|at| at <= clock::machine()) {
            return match scope {
                Some(scope) if own.is_none_or(|own| scope < own) => Err(Interrupt::expired(scope)),
                _ => Ok(Wake::TimedOut),
            };
        }
        reported = true;
        let what = Unwinding(me, reason);
        eprintln!("fiveways: {what}, and blocks its worker until another thread ends that");
    }
}
