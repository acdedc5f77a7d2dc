//! Scopes: tasks that borrow from their parent and never outlive it.
//!
//! Soundness is std's argument for `std::thread::scope`. A child may hold references that live for
//! `'scope`. [`scope`] owns the [`Scope`], lends it for exactly that long, and returns or unwinds
//! only when no child is left. A child counts until everything that it has borrowed is dropped: its
//! [`Recruit`] drops the closure first and its membership in the tracker last, on every path (it
//! ends, it unwinds, it is dropped unrun). Leaking a handle leaks no membership: that belongs to
//! the child. If the scope cannot wait, the process aborts.
//!
//! ```text
//!   body runs ──returns──▶ wait for all ──▶ first panic of a child, or the body's value
//!       │                      │ cancelled, timeout
//!       └──unwinds──┐          ▼
//!                   └──▶ cancel all ──▶ wait for all, uninterrupted ──▶ go on unwinding
//!   a child panics ────▶ cancel all the others
//! ```
#![expect(unsafe_code, reason = "closures that borrow are given to tasks that know no lifetimes")]

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use fiveways_runtime::{
    JoinError, JoinHandle, Reason, assert_may_park, is_cancel, panic_message, unwind_cancelled,
    without_interruption, worker_index,
};
use fiveways_sys::lock::Mutex;

use crate::task::tracker::{Member, TaskTracker};
use crate::task::{spawn, spawn_local};

/// Runs `f`, which can spawn tasks that borrow from the caller; all of them have ended when this
/// returns.
///
/// If a child panics, the others are cancelled; all are if `f` panics or the calling task is
/// cancelled or exceeds a [`timeout`](crate::task::timeout). Children that have begun are waited
/// for in any case. On a plain thread the children run in the global runtime.
///
/// # Suspends
///
/// Until the last child has ended; a plain thread blocks.
///
/// # Cancellation
///
/// The children are cancelled, and waited for; then the caller is unwound from here.
///
/// # Panics
///
/// With the panic of `f`, otherwise with the first one of a child. Also panics if called while a
/// [`PriorityQueue`](crate::queue::PriorityQueue) compares priorities, where waiting is not
/// allowed.
///
/// # Differences from std
///
/// The panic of a child ends the scope even if its handle is joined: its work was not done.
///
/// # Examples
///
/// ```
/// use fiveways::task;
///
/// let mut numbers = vec![1, 2, 3];
/// let sum = task::scope(|s| {
///     let sum = s.spawn(|| numbers.iter().sum::<i32>());
///     sum.join().expect("it does not panic")
/// });
/// numbers.push(sum);
/// assert_eq!(numbers, [1, 2, 3, 6]);
/// ```
///
/// Borrowed data cannot be taken out of the scope:
///
/// ```compile_fail,E0597
/// use fiveways::task;
///
/// let handle = {
///     let text = String::from("short-lived");
///     task::scope(|s| s.spawn(|| text.len()))
/// };
/// ```
///
/// A value computed from it can:
///
/// ```
/// use fiveways::task;
///
/// let length = {
///     let text = String::from("short-lived");
///     task::scope(|s| s.spawn(|| text.len()).join().expect("it does not panic"))
/// };
/// assert_eq!(length, 11);
/// ```
///
/// A child cannot borrow from the closure it is spawned in, which ends before the child does:
///
/// ```compile_fail,E0373
/// use fiveways::task;
///
/// task::scope(|s| {
///     let text = String::from("short-lived");
///     s.spawn(|| text.len());
/// });
/// ```
///
/// It can borrow from what existed before the scope:
///
/// ```
/// use fiveways::task;
///
/// let text = String::from("longer-lived");
/// task::scope(|s| {
///     s.spawn(|| text.len());
/// });
/// ```
///
/// A function with a scope as parameter must declare that its borrowed data lives as long:
///
/// ```compile_fail,E0521
/// use fiveways::task;
///
/// fn smuggle<'scope, 'env>(scope: &'scope task::Scope<'scope, 'env>, text: &str) {
///     let _ = scope.spawn(move || text.len());
/// }
/// ```
///
/// ```
/// use fiveways::task;
///
/// fn lend<'scope, 'env>(scope: &'scope task::Scope<'scope, 'env>, text: &'scope str) {
///     let _ = scope.spawn(move || text.len());
/// }
/// ```
#[doc(alias = "nursery")]
#[doc(alias = "TaskGroup")]
#[doc(alias = "errgroup")]
#[track_caller]
pub fn scope<'env, T, F>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope { tracker: Arc::default(), scope: PhantomData, env: PhantomData };
    let tracker = &scope.tracker;
    let reason = Reason::new("scope", &**tracker);
    // Checked now: later there would be children to wait for.
    assert_may_park(Some(&reason));
    let inside = AbortUnlessLeft;
    let outcome = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    let wait = || {
        insist_on_waiting(tracker);
        tracker.wait(&reason, None);
    };
    // The body's value is kept in the meantime: its destructor is the user's, and may unwind.
    let interruption = outcome.is_ok().then(|| catch_unwind(AssertUnwindSafe(wait)).err());
    let interruption = interruption.flatten();
    if outcome.is_err() || interruption.is_some() {
        tracker.close();
    }
    leave(tracker, &reason);
    mem::forget(inside);
    let value = outcome.unwrap_or_else(|payload| resume_unwind(payload));
    match interruption.or_else(|| tracker.take_failure()) {
        Some(payload) => resume_unwind(payload),
        None => value,
    }
}

/// Waits for the children in any case.
fn leave(tracker: &TaskTracker, reason: &Reason<'_>) {
    insist_on_waiting(tracker);
    without_interruption(|| tracker.wait(reason, None));
    assert!(tracker.len() == 0, "a scope is left when it is empty");
}

/// A worker that unwinds cannot run children, and they must not be left behind.
fn insist_on_waiting(tracker: &TaskTracker) {
    if thread::panicking() && worker_index().is_some() && tracker.len() > 0 {
        eprintln!("fiveways: a task scope with live tasks ends in a destructor during unwinding");
        process::abort();
    }
}

/// Aborts the process rather than leave a scope with a child alive.
struct AbortUnlessLeft;

impl Drop for AbortUnlessLeft {
    fn drop(&mut self) {
        eprintln!("fiveways: a task scope could not wait for its tasks");
        process::abort();
    }
}

/// Spawns tasks that may borrow data that lives for `'scope`; see [`scope`].
#[derive(Debug)]
pub struct Scope<'scope, 'env: 'scope> {
    tracker: Arc<TaskTracker>,
    /// Invariant: otherwise the scope could be coerced to a shorter one, and lend too little.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

impl<'scope> Scope<'scope, '_> {
    /// Spawns a task in the scope, on any worker of the runtime.
    ///
    /// It begins when the caller waits for something, or immediately on another worker. In a
    /// destructor that unwinds on a worker, where no task could run, `f` runs in the caller.
    ///
    /// # Panics
    ///
    /// If there is no memory for its stack.
    #[track_caller]
    pub fn spawn<T, F>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let (run, outcome) = self.prepare(f);
        let run: Box<dyn FnOnce(Place) + Send + 'scope> = Box::new(run);
        // SAFETY: required: nothing borrowed for 'scope is used after it. `scope` ends only when
        // the tracker is empty, and the closure's membership is the last thing it drops.
        let run: Box<dyn FnOnce(Place) + Send + 'static> = unsafe { mem::transmute(run) };
        let task = start(run, |run| spawn(|| run(Place::Task)));
        ScopedJoinHandle { task, outcome, scope: PhantomData }
    }

    /// Spawns a task in the scope, on the caller's own worker; neither the closure nor its value
    /// need be `Send`.
    ///
    /// # Panics
    ///
    /// If the calling thread is not a worker, and if there is no memory for its stack.
    #[track_caller]
    pub fn spawn_local<T, F>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + 'scope,
        T: 'scope,
    {
        let (run, outcome) = self.prepare(f);
        let run: Box<dyn FnOnce(Place) + 'scope> = Box::new(run);
        // SAFETY: required: nothing borrowed for 'scope is used after it. As in `spawn`.
        let run: Box<dyn FnOnce(Place) + 'static> = unsafe { mem::transmute(run) };
        let task = start(run, |run| spawn_local(|| run(Place::Task)));
        ScopedJoinHandle { task, outcome, scope: PhantomData }
    }

    /// Cancels every task that is in the scope now.
    pub fn cancel(&self) {
        self.tracker.cancel();
    }

    fn prepare<T, F>(&self, f: F) -> (impl FnOnce(Place) + use<T, F>, Arc<Outcome<T>>)
    where
        F: FnOnce() -> T,
    {
        let outcome = Outcome { result: Mutex::new(None), cancelled: AtomicBool::new(false) };
        let outcome = Arc::new(outcome);
        let member = self.tracker.enter();
        let child = Child { f: Some(f), outcome: Arc::clone(&outcome), member };
        (move |place| child.run(place), outcome)
    }
}

/// Where a child runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a task of its own.
    Task,
    /// In a destructor that unwinds: it must not unwind out of it, nor cancel the task it runs in.
    Here,
}

/// Starts a child, or runs it here if none could be started.
#[track_caller]
fn start<F: FnOnce(Place)>(
    run: F,
    spawn: impl FnOnce(F) -> JoinHandle<()>,
) -> Option<JoinHandle<()>> {
    if thread::panicking() && worker_index().is_some() {
        run(Place::Here);
        return None;
    }
    Some(spawn(run))
}

/// The outcome of a child.
struct Outcome<T> {
    result: Mutex<Option<Result<T, JoinError>>>,
    /// false → true, by the owner of its handle.
    cancelled: AtomicBool,
}

impl<T> Outcome<T> {}

/// A child of a scope. The fields are dropped in this order: it counts as long as anything that it
/// has borrowed exists.
struct Child<T, F> {
    f: Option<F>,
    outcome: Arc<Outcome<T>>,
    member: Member,
}

impl<T, F: FnOnce() -> T> Child<T, F> {
    fn run(mut self, place: Place) {
        let f = self.f.take().expect("a child runs once");
        let begins = match place {
            Place::Task => self.member.begin(),
            Place::Here => !self.member.is_cancelled(),
        };
        if !begins {
            drop(f);
            return self.end_cancelled(place);
        }
        match catch_unwind(AssertUnwindSafe(f)) {
            Ok(value) => self.end(Ok(value)),
            Err(payload) if is_cancel(payload.as_ref()) => self.end_cancelled(place),
            Err(payload) => {
                let (copy, payload) = copy_of(payload);
                self.fail(payload);
                self.end(Err(JoinError::panicked(copy)));
            }
        }
    }

    fn end(self, outcome: Result<T, JoinError>) {
        *self.outcome.result.lock() = Some(outcome);
    }

    fn end_cancelled(self, place: Place) {
        *self.outcome.result.lock() = Some(Err(JoinError::cancelled()));
        drop(self);
        if place == Place::Task {
            unwind_cancelled();
        }
    }
}

impl<T, F> Child<T, F> {
    fn fail(&self, payload: Box<dyn Any + Send>) {
        self.member.tracker().fail(payload);
        self.member.tracker().close();
    }
}

impl<T, F> Drop for Child<T, F> {
    fn drop(&mut self) {
        let unrun = self.f.take().is_some();
        let unasked =
            !self.outcome.cancelled.load(Ordering::Relaxed) && !self.member.is_cancelled();
        if unrun && unasked {
            self.fail(Box::new("a task of the scope could not be started".to_owned()));
        }
    }
}

/// Copies the message of a panic, for a second reader.
fn copy_of(payload: Box<dyn Any + Send>) -> (Box<dyn Any + Send>, Box<dyn Any + Send>) {
    let message = panic_message(payload.as_ref()).unwrap_or("a panic without a message");
    (Box::new(message.to_owned()), payload)
}

/// Owns the right to join a task of a scope. Dropping it has no effect: the scope waits anyway.
pub struct ScopedJoinHandle<'scope, T> {
    /// `None` if it ran in the caller.
    task: Option<JoinHandle<()>>,
    outcome: Arc<Outcome<T>>,
    scope: PhantomData<&'scope ()>,
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle").field("finished", &self.is_finished()).finish()
    }
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits for the task to end and returns its value.
    ///
    /// # Suspends
    ///
    /// Until the task has ended; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// If the joining task is cancelled it is unwound from here.
    ///
    /// # Errors
    ///
    /// If the task was cancelled or could not be started; if it panicked, with a copy of the
    /// panic's message (the panic itself goes to the scope).
    pub fn join(self) -> Result<T, JoinError> {
        let ended = self.task.map_or(Ok(()), JoinHandle::join);
        let result = self.outcome.result.lock().take();
        match (result, ended) {
            (Some(result), _) => result,
            (None, Err(error)) => Err(error),
            (None, Ok(())) => unreachable!("a child that has ended well leaves a result"),
        }
    }

    /// Cancels the task; see the [module](crate::task) for what that means. Other tasks of the
    /// scope are not affected.
    pub fn cancel(&self) {
        self.outcome.cancelled.store(true, Ordering::Relaxed);
        if let Some(task) = &self.task {
            task.cancel();
        }
    }

    /// Returns `true` if the task has ended.
    pub fn is_finished(&self) -> bool {
        self.task.as_ref().is_none_or(JoinHandle::is_finished)
    }
}
