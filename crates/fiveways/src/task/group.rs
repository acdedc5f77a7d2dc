//! Groups: tasks that are counted, awaited and cancelled together.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use fiveways_runtime::{JoinError, JoinHandle, Reason, clock, is_cancel, unwind_cancelled};

use crate::task::tracker::{Member, TaskTracker};
use crate::task::{spawn, spawn_local};

/// Tasks that belong together; a handle, whose clones refer to the same group.
///
/// A task belongs to the group until it ends. Dropping the group does not affect its tasks: they
/// continue, detached. Use a [`scope`](crate::task::scope()) if they must not outlive the caller.
///
/// # Examples
///
/// ```
/// use fiveways::task::Group;
///
/// let group = Group::new();
/// for name in ["eat", "play"] {
///     group.spawn(move || println!("{name}"));
/// }
/// group.join()?;
/// assert!(group.is_empty());
/// # Ok::<(), fiveways::task::JoinError>(())
/// ```
#[doc(alias = "gevent.pool.Group")]
#[doc(alias = "JoinSet")]
#[derive(Clone, Debug, Default)]
pub struct Group {
    tracker: Arc<TaskTracker>,
}

impl Group {
    /// Makes an empty group.
    pub fn new() -> Group {
        Group::default()
    }

    /// Spawns a task in the group. [`Group::join`] reports its panic.
    ///
    /// # Panics
    ///
    /// If there is no memory for its stack.
    #[track_caller]
    pub fn spawn(&self, f: impl FnOnce() + Send + 'static) {
        let recruit = Recruit { f, member: self.tracker.enter() };
        drop(spawn(move || recruit.report()));
    }

    /// Spawns a task in the group and returns a handle to it; joining the handle reports a panic.
    ///
    /// # Panics
    ///
    /// If there is no memory for its stack.
    #[track_caller]
    pub fn spawn_with_handle<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let recruit = Recruit { f, member: self.tracker.enter() };
        spawn(move || recruit.run())
    }

    /// Spawns a task in the group on the caller's own worker; neither the closure nor its value
    /// need be `Send`.
    ///
    /// # Panics
    ///
    /// If the calling thread is not a worker, and if there is no memory for its stack.
    #[track_caller]
    pub fn spawn_local<T: 'static>(&self, f: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
        let recruit = Recruit { f, member: self.tracker.enter() };
        spawn_local(move || recruit.run())
    }

    /// Waits until the group has no task.
    ///
    /// # Suspends
    ///
    /// Until the last task has ended; a plain thread blocks. A task of the group that waits for its
    /// own group waits for itself, that is for ever.
    ///
    /// # Cancellation
    ///
    /// If the joining task is cancelled it is unwound from here; the group continues.
    ///
    /// # Errors
    ///
    /// The first panic, since the last one was returned, of a task that has no handle. In a
    /// destructor that unwinds on a worker, which cannot run tasks: fails at once if tasks are
    /// left.
    #[track_caller]
    pub fn join(&self) -> Result<(), JoinError> {
        if self.tracker.wait(&Reason::new("group", &*self.tracker), None) {
            self.outcome()
        } else {
            Err(JoinError::unending())
        }
    }

    /// Waits until the group has no task, for at most `timeout`. Returns `None` after the timeout.
    ///
    /// # Suspends
    ///
    /// Until the last task has ended or the timeout has passed; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// If the joining task is cancelled it is unwound from here; the group continues.
    #[track_caller]
    pub fn join_timeout(&self, timeout: Duration) -> Option<Result<(), JoinError>> {
        let reason = Reason::new("group", &*self.tracker);
        let joined = self.tracker.wait(&reason, clock::after(timeout));
        joined.then(|| self.outcome())
    }

    fn outcome(&self) -> Result<(), JoinError> {
        match self.tracker.take_failure() {
            Some(payload) => Err(JoinError::panicked(payload)),
            None => Ok(()),
        }
    }

    /// Cancels every task that is in the group now; see the [module](crate::task) for what that
    /// means.
    ///
    /// Does not wait for their end.
    #[doc(alias = "kill")]
    pub fn cancel(&self) {
        self.tracker.cancel();
    }

    /// Returns the number of tasks in the group.
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// Returns `true` if the group has no task.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The body of a tracked task. The fields are dropped in this order: a member counts as long as any
/// part of it exists.
pub(super) struct Recruit<F> {
    pub(super) f: F,
    pub(super) member: Member,
}

impl<T, F: FnOnce() -> T> Recruit<F> {
    /// Runs as a member of the tracker.
    pub(super) fn run(self) -> T {
        let Recruit { f, member } = self;
        if !member.begin() {
            drop(f);
            unwind_cancelled();
        }
        let outcome = catch_unwind(AssertUnwindSafe(f));
        drop(member);
        outcome.unwrap_or_else(|payload| resume_unwind(payload))
    }
}

impl<F: FnOnce()> Recruit<F> {
    /// Runs as a member of the tracker, which records a panic.
    fn report(self) {
        let tracker = Arc::clone(self.member.tracker());
        let Recruit { f, member } = self;
        let caught = move || {
            let outcome = catch_unwind(AssertUnwindSafe(f));
            let Err(payload) = outcome else { return };
            if is_cancel(payload.as_ref()) {
                resume_unwind(payload);
            }
            tracker.fail(payload);
        };
        Recruit { f: caught, member }.run();
    }
}
