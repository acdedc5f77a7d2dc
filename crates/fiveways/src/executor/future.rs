//! A result that will be available later.
//!
//! A future and the pool that runs its work share a [`Core`]:
//!
//! ```text
//!   Queued ──run──▶ Running ──end──▶ Ended (a value, taken or not, or an error)
//!      └──cancel, refuse──────────────▲
//! ```
//!
//! The thread that moves it to `Ended` notifies the watches, then calls the callbacks, in the order
//! in which they were added. Later ones find it ended.
//!
//! Copies of the value are made by user code, which may wait, or use the same future: so the value
//! is under a lock of its own, which suspends tasks, and which its holder may take again.

use std::cell::RefCell;
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use fiveways_runtime::{Completions, Identity, Observer, clock, spend};
use fiveways_sys::lock::{Mutex, MutexGuard};

use crate::executor::failure::{FutureError, Panic, SubmitError};
use crate::executor::pool_core::{Job, Members, PoolCore, Status, contain, runner_id};
use crate::executor::waiting::Waiting;
use crate::sync::ReentrantMutex;

/// The work of a future.
pub(super) type Work<T> = Box<dyn FnOnce() -> Result<T, FutureError> + Send>;

type Callback<T> = Box<dyn FnOnce(&Future<T>) + Send>;

enum Stage<T> {
    Queued(Work<T>),
    Running,
    Ended(Result<(), FutureError>),
}

struct Core<T> {
    parts: Mutex<Parts<T>>,
    /// Set before the end; `None` again once it was taken. Never shared with another thread, not
    /// even for copying: it need not be `Sync`.
    value: ReentrantMutex<RefCell<Option<T>>>,
    /// [`QUEUED`], [`ENDED`], or the thread that runs it: written under the lock of the parts, read
    /// without.
    pool_thread: AtomicU64,
    pool_core: Weak<PoolCore>,
    /// The threads of its pool.
    members: Arc<Members>,
}

const QUEUED: u64 = 0;
const ENDED: u64 = u64::MAX;

struct Parts<T> {
    stage: Stage<T>,
    observers: Vec<Observer>,
    callbacks: Vec<Callback<T>>,
}

impl<T: Send + 'static> Core<T> {
    /// Moves it to its end and notifies all watches.
    fn end(
        self: &Arc<Self>,
        mut parts: MutexGuard<'_, Parts<T>>,
        outcome: Result<(), FutureError>,
    ) {
        let before = mem::replace(&mut parts.stage, Stage::Ended(outcome));
        self.pool_thread.store(ENDED, Ordering::Relaxed);
        let observers = mem::take(&mut parts.observers);
        let callbacks = mem::take(&mut parts.callbacks);
        drop(parts);
        contain("the drop of cancelled work", || drop(before));
        observers.into_iter().for_each(Observer::notify);
        let future = Future { core: Arc::clone(self) };
        callbacks.into_iter().for_each(|callback| future.call(callback));
    }
}

impl<T: Send + 'static> Job for Core<T> {
    fn run(self: Arc<Self>) -> bool {
        let me = runner_id().expect("jobs run on threads of pools");
        let mut parts = self.parts.lock();
        if !matches!(parts.stage, Stage::Queued(_)) {
            return false;
        }
        let Stage::Queued(work) = mem::replace(&mut parts.stage, Stage::Running) else {
            unreachable!("it was looked at under the same lock")
        };
        // ORDERING: none: before this thread is seen to wait, it takes the lock of the threads that
        // look.
        self.pool_thread.store(me.to_bits(), Ordering::Relaxed);
        drop(parts);
        let outcome = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(outcome) => outcome.map(|value| drop(self.value.lock().replace(Some(value)))),
            Err(payload) => Err(FutureError::Panicked(Panic::new(payload))),
        };
        self.end(self.parts.lock(), outcome);
        true
    }

    fn refuse(self: Arc<Self>, error: FutureError) -> bool {
        let parts = self.parts.lock();
        let queued = matches!(parts.stage, Stage::Queued(_));
        if queued {
            self.end(parts, Err(error));
        }
        queued
    }

    fn status(&self) -> Status {
        match &self.parts.lock().stage {
            Stage::Queued(_) => Status::Queued(Weak::clone(&self.pool_core)),
            Stage::Running => Status::Running,
            Stage::Ended(_) => Status::Ended,
        }
    }

    fn enders(&self, each: &mut dyn FnMut(Identity)) -> bool {
        let pool_thread = self.pool_thread.load(Ordering::Relaxed);
        match (pool_thread, Identity::from_bits(pool_thread)) {
            (ENDED, _) => return false,
            (_, Some(pool_thread)) => each(pool_thread),
            (_, None) => self.members.each(each),
        }
        true
    }

    fn watch(&self, observer: Observer) {
        let mut parts = self.parts.lock();
        if matches!(parts.stage, Stage::Ended(_)) {
            drop(parts);
            return observer.notify();
        }
        parts.observers.push(observer);
    }

    fn unwatch(&self, ends: &Completions) {
        self.parts.lock().observers.retain(|observer| !observer.is_of(ends));
    }
}

/// A result that will be available later, of work that was submitted to a pool.
///
/// Clones are handles to the same result, so that several places can wait for it, inspect it and
/// receive it in callbacks. Therefore [`result`](Future::result) returns a copy, any number of
/// times; a value that cannot or should not be copied is moved out by [`take`](Future::take), once.
/// Dropping all handles has no effect on the work.
///
/// On a thread of a pool, waiting for work of the same pool that has not begun runs that work in
/// the waiting thread; so work may wait for work that it has submitted, however few threads there
/// are. A wait that could never end (the awaited work waits for the job that waits for it) fails
/// with [`FutureError::WouldDeadlock`]; with deadlock detection
/// ([`inspect`](crate::inspect#deadlocks)) this also applies to tasks and other threads, and to
/// cycles through locks and joins.
///
/// # Examples
///
/// ```
/// use fiveways::executor::{FutureError, ThreadPool};
///
/// let pool = ThreadPool::default();
/// let sum = pool.submit(|| (1..=10).sum::<u32>()).expect("it is open");
/// sum.add_done_callback(|sum| println!("it is {:?}", sum.result()));
/// assert_eq!(sum.result().expect("nothing goes wrong"), 55);
///
/// let broken = pool.submit(|| -> u32 { panic!("no way") }).expect("it is open");
/// assert_eq!(broken.result().expect_err("it panics").to_string(), "the work panicked: no way");
/// ```
pub struct Future<T> {
    core: Arc<Core<T>>,
}

impl<T> Clone for Future<T> {
    fn clone(&self) -> Future<T> {
        Future { core: Arc::clone(&self.core) }
    }
}

impl<T> fmt::Debug for Future<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.core.parts.lock();
        let stage = match &parts.stage {
            Stage::Queued(_) => "queued".to_owned(),
            Stage::Running => "running".to_owned(),
            Stage::Ended(Ok(())) => "done".to_owned(),
            Stage::Ended(Err(error)) => error.to_string(),
        };
        // Formatting may run user code, which may wait.
        drop(parts);
        write!(f, "Future({stage})")
    }
}

impl<T: Send + 'static> Future<T> {
    /// Submits work to a pool.
    pub(super) fn submit(
        pool_core: &Arc<PoolCore>,
        work: Work<T>,
    ) -> Result<Future<T>, SubmitError> {
        let parts =
            Parts { stage: Stage::Queued(work), observers: Vec::new(), callbacks: Vec::new() };
        let core = Arc::new(Core {
            parts: Mutex::new(parts),
            value: ReentrantMutex::new(RefCell::new(None)),
            pool_thread: AtomicU64::new(QUEUED),
            pool_core: Arc::downgrade(pool_core),
            members: Arc::clone(pool_core.members()),
        });
        pool_core.submit(Arc::clone(&core) as Arc<dyn Job>)?;
        Ok(Future { core })
    }

    /// Returns this future as a job to wait for.
    pub(super) fn job(&self) -> Arc<dyn Job> {
        Arc::clone(&self.core) as Arc<dyn Job>
    }

    /// Waits for the result and returns a copy of it.
    ///
    /// # Suspends
    ///
    /// Until the work has ended; a plain thread blocks. A thread of the same pool runs the work if
    /// it has not begun.
    ///
    /// # Cancellation
    ///
    /// If the waiting task is cancelled it is unwound from here; the work continues.
    ///
    /// # Errors
    ///
    /// The error with which the work ended; [`FutureError::WouldDeadlock`] if the wait would never
    /// end; [`FutureError::Taken`] if [`take`](Future::take) came first.
    #[track_caller]
    pub fn result(&self) -> Result<T, FutureError>
    where
        T: Clone,
    {
        self.result_by(None)
    }

    /// Waits for the result, for at most `limit`, and returns a copy of it.
    ///
    /// A limit too large to represent means no limit. A thread of the same pool runs the work
    /// itself only if otherwise the result could not be available within the limit; then it may be
    /// late.
    ///
    /// # Suspends
    ///
    /// As [`Future::result`], until the limit at the latest.
    ///
    /// # Cancellation
    ///
    /// As [`Future::result`].
    ///
    /// # Errors
    ///
    /// Those of [`Future::result`], and [`FutureError::TimedOut`].
    #[track_caller]
    pub fn result_timeout(&self, limit: Duration) -> Result<T, FutureError>
    where
        T: Clone,
    {
        self.result_by(clock::after(limit))
    }

    #[track_caller]
    fn result_by(&self, deadline: Option<Instant>) -> Result<T, FutureError>
    where
        T: Clone,
    {
        self.wait(deadline)?;
        self.error().map_or(Ok(()), Err)?;
        let value = self.core.value.lock();
        let value = value.borrow();
        value.clone().ok_or(FutureError::Taken)
    }

    /// Waits for the result and moves it out.
    ///
    /// Later calls, through any handle, fail with [`FutureError::Taken`].
    ///
    /// # Suspends
    ///
    /// As [`Future::result`].
    ///
    /// # Cancellation
    ///
    /// As [`Future::result`].
    ///
    /// # Errors
    ///
    /// Those of [`Future::result`].
    #[track_caller]
    pub fn take(&self) -> Result<T, FutureError> {
        self.take_by(None)
    }

    /// Waits for the result, for at most `limit`, and moves it out.
    ///
    /// # Suspends
    ///
    /// As [`Future::result_timeout`].
    ///
    /// # Cancellation
    ///
    /// As [`Future::result`].
    ///
    /// # Errors
    ///
    /// Those of [`Future::result_timeout`].
    #[track_caller]
    pub fn take_timeout(&self, limit: Duration) -> Result<T, FutureError> {
        self.take_by(clock::after(limit))
    }

    #[track_caller]
    pub(super) fn take_by(&self, deadline: Option<Instant>) -> Result<T, FutureError> {
        self.wait(deadline)?;
        self.error().map_or(Ok(()), Err)?;
        let value = self.core.value.lock();
        // Borrowed by the caller's own copying, which has called this.
        let mut value = value.try_borrow_mut().map_err(|_| FutureError::WouldDeadlock)?;
        value.take().ok_or(FutureError::Taken)
    }

    /// Waits for the work to end and returns its error, if it failed.
    ///
    /// # Suspends
    ///
    /// As [`Future::result`].
    ///
    /// # Cancellation
    ///
    /// As [`Future::result`].
    #[track_caller]
    pub fn exception(&self) -> Option<FutureError> {
        self.exception_by(None)
    }

    /// Waits for the work to end, for at most `limit`, and returns its error, if it failed:
    /// [`FutureError::TimedOut`] if it has not ended.
    ///
    /// # Suspends
    ///
    /// As [`Future::result_timeout`].
    ///
    /// # Cancellation
    ///
    /// As [`Future::result`].
    #[track_caller]
    pub fn exception_timeout(&self, limit: Duration) -> Option<FutureError> {
        self.exception_by(clock::after(limit))
    }

    #[track_caller]
    fn exception_by(&self, deadline: Option<Instant>) -> Option<FutureError> {
        self.wait(deadline).err().or_else(|| self.error())
    }

    /// Returns the error with which it has ended, if any.
    pub(super) fn error(&self) -> Option<FutureError> {
        match &self.core.parts.lock().stage {
            Stage::Ended(Err(error)) => Some(error.clone()),
            _ => None,
        }
    }

    #[track_caller]
    fn wait(&self, deadline: Option<Instant>) -> Result<(), FutureError> {
        spend();
        if self.is_done() {
            return Ok(());
        }
        Waiting::new([self.job()]).next(deadline).map(|_| ())
    }

    /// Cancels the work unless it has begun. Returns `true` if it is cancelled, now or before.
    ///
    /// The callbacks run in the calling thread.
    pub fn cancel(&self) -> bool {
        let cancelled = Arc::clone(&self.core).refuse(FutureError::Cancelled);
        cancelled || self.is_cancelled()
    }

    /// Returns `true` if the work was cancelled before it began.
    #[doc(alias = "cancelled")]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.core.parts.lock().stage, Stage::Ended(Err(FutureError::Cancelled)))
    }

    /// Returns `true` if the work is running.
    #[doc(alias = "running")]
    pub fn is_running(&self) -> bool {
        matches!(self.core.parts.lock().stage, Stage::Running)
    }

    /// Returns `true` if the work has ended, in any way.
    #[doc(alias = "done")]
    pub fn is_done(&self) -> bool {
        matches!(self.core.parts.lock().stage, Stage::Ended(_))
    }

    /// Calls `callback` with this future as soon as it has ended: exactly once.
    ///
    /// Callbacks run in the order in which they were added, on the pool's thread that did the work
    /// or in the caller that cancelled it; if the work has already ended, in the calling thread.
    /// They may use the result, which is available. The pool's thread does nothing else in the
    /// meantime. Waiting for the result does not wait for the callbacks; shutting the pool down
    /// does.
    ///
    /// A panic in a callback is contained and reported on standard error.
    ///
    /// # Suspends
    ///
    /// Only if `callback` does.
    pub fn add_done_callback(&self, callback: impl FnOnce(&Future<T>) + Send + 'static) {
        let mut parts = self.core.parts.lock();
        if !matches!(parts.stage, Stage::Ended(_)) {
            parts.callbacks.push(Box::new(callback));
            return;
        }
        drop(parts);
        self.call(Box::new(callback));
    }

    fn call(&self, callback: Callback<T>) {
        contain("the callback of a future", || callback(self));
    }
}
