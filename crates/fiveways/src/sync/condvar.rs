//! A condition variable: std's, for tasks and plain threads.

use std::fmt;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LockResult, PoisonError};
use std::time::{Duration, Instant};

use fiveways_runtime::{CHOSEN, Reason, Selection, Unparker, WaitQueue, Waiter, clock};
use fiveways_sys::lock::{Mutex as StdMutex, MutexGuard as StdGuard};

use super::mutex::MutexGuard;

/// Notified together with all others; [`CHOSEN`]: notified alone.
const TOGETHER: Selection = CHOSEN.saturating_add(1);

/// Lets the holder of a [`Mutex`](super::Mutex) wait for a change of the protected data, as
/// [`std::sync::Condvar`].
///
/// As with std, waits may end without a notification: check the condition again, or use
/// [`Condvar::wait_while`].
///
/// # Cancellation
///
/// A task that is unwound while it waits does not hold the mutex, so it does not poison it. A
/// notification that had reached it passes to another waiter.
///
/// # Examples
///
/// ```
/// use fiveways::sync::{Condvar, Mutex};
/// use fiveways::task;
///
/// static READY: Mutex<bool> = Mutex::new(false);
/// static NEWS: Condvar = Condvar::new();
///
/// let waits = task::spawn(|| {
///     let ready = READY.lock().expect("nobody panics");
///     *NEWS.wait_while(ready, |ready| !*ready).expect("nobody panics")
/// });
/// *READY.lock().expect("nobody panics") = true;
/// NEWS.notify_one();
/// assert!(waits.join().expect("it does not panic"));
/// ```
#[doc(alias("Condition", "threading.Condition", "pthread_cond_t"))]
pub struct Condvar {
    /// The length of the queue; written under its lock. A holder of the mutex that reads 0 knows
    /// that nobody waits for its change: the mutex orders this, so it needs no ordering of its own.
    waiting: AtomicUsize,
    queue: StdMutex<WaitQueue>,
}

/// Whether a wait ended because of its timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Returns `true` if the wait ended because of its timeout.
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

/// The value of a wait with a time limit: the guard, and whether the timeout passed.
type Reacquired<'a, T> = (MutexGuard<'a, T>, WaitTimeoutResult);

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}

impl Condvar {
    /// Makes a condition variable without waiters.
    pub const fn new() -> Condvar {
        Condvar { waiting: AtomicUsize::new(0), queue: StdMutex::new(WaitQueue::new()) }
    }

    /// Unlocks the mutex, waits for a notification, and locks it again.
    ///
    /// # Suspends
    ///
    /// Until notified, and until the mutex is unlocked; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task is unwound from here, without the lock.
    ///
    /// # Errors
    ///
    /// The guard in a [`PoisonError`], if the mutex is poisoned when it is locked again.
    #[doc(alias = "pthread_cond_wait")]
    #[track_caller]
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.wait_at(guard, None, Location::caller()).0
    }

    /// Waits as long as the condition, which is evaluated under the lock, is `true`.
    ///
    /// # Suspends
    ///
    /// Until notified while `condition` is `false`; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task is unwound from here, without the lock.
    ///
    /// # Errors
    ///
    /// The guard in a [`PoisonError`], if the mutex is poisoned when it is locked again.
    #[doc(alias = "wait_for")]
    #[track_caller]
    pub fn wait_while<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<MutexGuard<'a, T>> {
        let place = Location::caller();
        let mut guard = guard;
        while condition(&mut guard) {
            guard = self.wait_at(guard, None, place).0?;
        }
        Ok(guard)
    }

    /// As [`Condvar::wait`], for no longer than `timeout`.
    ///
    /// # Suspends
    ///
    /// Until notified or the timeout has passed, and until the mutex is unlocked; a plain thread
    /// blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task is unwound from here, without the lock.
    ///
    /// # Errors
    ///
    /// Both in a [`PoisonError`], if the mutex is poisoned when it is locked again.
    #[doc(alias = "pthread_cond_timedwait")]
    #[track_caller]
    pub fn wait_timeout<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> LockResult<Reacquired<'a, T>> {
        let deadline = clock::after(timeout);
        let (guard, result) = self.wait_at(guard, deadline, Location::caller());
        with_result(guard, result)
    }

    /// As [`Condvar::wait_while`], for no longer than `timeout`.
    ///
    /// The result reports a timeout only if the condition is still `true`.
    ///
    /// # Suspends
    ///
    /// Until notified while `condition` is `false` or the timeout has passed, and until the mutex
    /// is unlocked; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task is unwound from here, without the lock.
    ///
    /// # Errors
    ///
    /// Both in a [`PoisonError`], if the mutex is poisoned when it is locked again.
    #[track_caller]
    pub fn wait_timeout_while<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<Reacquired<'a, T>> {
        let place = Location::caller();
        let deadline = clock::after(timeout);
        let (mut guard, mut late) = (guard, false);
        loop {
            if !condition(&mut guard) {
                return Ok((guard, WaitTimeoutResult(false)));
            }
            if late {
                return Ok((guard, WaitTimeoutResult(true)));
            }
            let (next, result) = self.wait_at(guard, deadline, place);
            (guard, late) = with_result(next, result).map(|(guard, result)| (guard, result.0))?;
        }
    }

    /// Wakes one waiter, the first.
    #[doc(alias("notify", "pthread_cond_signal"))]
    pub fn notify_one(&self) {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut queue = self.queue.lock();
        let chosen = queue.select_first(CHOSEN);
        self.unlock(queue);
        if let Some(unparker) = chosen {
            unparker.unpark();
        }
    }

    /// Wakes all waiters.
    #[doc(alias = "pthread_cond_broadcast")]
    pub fn notify_all(&self) {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut queue = self.queue.lock();
        let chosen = queue.select_all(TOGETHER);
        self.unlock(queue);
        chosen.iter().for_each(Unparker::unpark);
    }

    fn wait_at<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Option<Instant>,
        place: &'static Location<'static>,
    ) -> (LockResult<MutexGuard<'a, T>>, WaitTimeoutResult) {
        let mutex = guard.mutex();
        let waiter = pin!(Waiter::new());
        let waiter = waiter.as_ref();
        let mut queue = self.queue.lock();
        queue.enqueue(waiter);
        self.unlock(queue);
        drop(guard);
        let mut passing = PassOn { condvar: self, armed: false };
        passing.armed = self.wait_in_line(waiter, deadline, place) == Some(CHOSEN);
        let result = WaitTimeoutResult(waiter.selection().is_none());
        let guard = mutex.lock_at(place);
        passing.armed = false;
        (guard, result)
    }

    fn wait_in_line(
        &self,
        waiter: Pin<&Waiter>,
        deadline: Option<Instant>,
        place: &'static Location<'static>,
    ) -> Option<Selection> {
        let reason = Reason { place, ..Reason::new("condvar", self) };
        let leave = || self.leave(waiter);
        waiter.wait(&reason, deadline, leave, |selected| {
            if selected == CHOSEN {
                self.notify_one();
            }
        })
    }

    fn leave(&self, waiter: Pin<&Waiter>) {
        let mut queue = self.queue.lock();
        queue.remove(waiter);
        self.unlock(queue);
    }

    fn unlock(&self, queue: StdGuard<'_, WaitQueue>) {
        self.waiting.store(queue.len(), Ordering::Relaxed);
    }
}

impl Default for Condvar {
    fn default() -> Condvar {
        Condvar::new()
    }
}

/// Passes a notification on if its receiver is unwound before it could act on it.
struct PassOn<'a> {
    condvar: &'a Condvar,
    armed: bool,
}

impl Drop for PassOn<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.condvar.notify_one();
        }
    }
}

fn with_result<'a, T: ?Sized>(
    guard: LockResult<MutexGuard<'a, T>>,
    result: WaitTimeoutResult,
) -> LockResult<Reacquired<'a, T>> {
    match guard {
        Ok(guard) => Ok((guard, result)),
        Err(error) => Err(PoisonError::new((error.into_inner(), result))),
    }
}
