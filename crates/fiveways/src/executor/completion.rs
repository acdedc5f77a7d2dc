//! Waiting for several futures.

use std::fmt;
use std::time::{Duration, Instant};

use fiveways_runtime::clock;

use crate::executor::failure::FutureError;
use crate::executor::future::Future;
use crate::executor::waiting::Waiting;

/// Returns an iterator over futures in the order in which they end.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use fiveways::executor::{ThreadPool, as_completed};
/// use fiveways::time::sleep;
///
/// let pool = ThreadPool::default();
/// let futures = [40, 0, 20].map(|delay| {
///     let work = move || { sleep(Duration::from_millis(delay)); delay };
///     pool.submit(work).expect("it is open")
/// });
/// let ended = as_completed(futures).map(|future| future.result().expect("no panic"));
/// assert_eq!(ended.collect::<Vec<_>>(), [0, 20, 40]);
/// ```
#[track_caller]
pub fn as_completed<T: Send + 'static>(
    futures: impl IntoIterator<Item = Future<T>>,
) -> AsCompleted<T> {
    let futures: Vec<_> = futures.into_iter().map(Some).collect();
    let jobs = futures.iter().flatten().map(Future::job);
    AsCompleted { waiting: Waiting::new(jobs), left: futures.len(), futures }
}

/// An iterator over futures in the order in which they end; made by [`as_completed`].
#[must_use = "it waits only when it is iterated"]
pub struct AsCompleted<T> {
    waiting: Waiting,
    futures: Vec<Option<Future<T>>>,
    left: usize,
}

impl<T> fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("left", &self.left).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> AsCompleted<T> {
    /// Waits for the next future to end, for at most `limit`; returns `None` if there are no more.
    ///
    /// # Suspends
    ///
    /// Until one has ended or the limit has passed; a plain thread blocks. A thread of the same
    /// pool runs queued work if otherwise none could end.
    ///
    /// # Cancellation
    ///
    /// If the waiting task is cancelled it is unwound from here.
    ///
    /// # Errors
    ///
    /// [`FutureError::TimedOut`], and [`FutureError::WouldDeadlock`] if the wait would never end.
    /// It can be called again.
    pub fn next_timeout(&mut self, limit: Duration) -> Result<Option<Future<T>>, FutureError> {
        self.next_by(clock::after(limit))
    }

    fn next_by(&mut self, deadline: Option<Instant>) -> Result<Option<Future<T>>, FutureError> {
        if self.left == 0 {
            return Ok(None);
        }
        let number = self.waiting.next(deadline)?;
        self.left -= 1;
        Ok(self.futures[number].take())
    }

    /// Returns the futures that have not been yielded, in their original order.
    fn rest(&mut self) -> impl Iterator<Item = Future<T>> + '_ {
        self.left = 0;
        self.futures.iter_mut().filter_map(Option::take)
    }
}

impl<T: Send + 'static> Iterator for AsCompleted<T> {
    type Item = Future<T>;

    /// Waits for the next to end.
    ///
    /// If the wait would never end, the rest are yielded as they are: their results report the
    /// error.
    fn next(&mut self) -> Option<Future<T>> {
        self.next_by(None).unwrap_or_else(|_would_deadlock| {
            let future = self.futures.iter_mut().find_map(Option::take);
            self.left -= usize::from(future.is_some());
            future
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// The condition on which [`wait`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnWhen {
    /// One future has ended.
    #[doc(alias = "FIRST_COMPLETED")]
    FirstCompleted,
    /// One has ended without a value (cancelled ones do not count), or all have ended.
    #[doc(alias = "FIRST_EXCEPTION")]
    FirstException,
    /// All have ended.
    #[doc(alias = "ALL_COMPLETED")]
    AllCompleted,
}

/// The futures that have ended, and the others; made by [`wait`].
#[derive(Debug)]
pub struct WaitResult<T> {
    /// The futures that have ended: first those that ended during the wait, in that order.
    pub done: Vec<Future<T>>,
    /// The others, in their original order.
    pub not_done: Vec<Future<T>>,
}

/// Waits for several futures, for at most the time limit.
///
/// Returns early if the wait would never end, and at once if there are no futures. Several handles
/// of one future each appear in the result.
///
/// # Suspends
///
/// Until the condition is met or the limit has passed; a plain thread blocks. A thread of the same
/// pool runs queued work in the meantime.
///
/// # Cancellation
///
/// If the waiting task is cancelled it is unwound from here.
///
/// # Examples
///
/// ```
/// use fiveways::executor::{ThreadPool, ReturnWhen, wait};
///
/// let pool = ThreadPool::default();
/// let futures = (0..3).map(|n| pool.submit(move || n * n).expect("it is open"));
/// let waited = wait(futures, ReturnWhen::AllCompleted, None);
/// assert_eq!((waited.done.len(), waited.not_done.len()), (3, 0));
/// ```
#[track_caller]
pub fn wait<T: Send + 'static>(
    futures: impl IntoIterator<Item = Future<T>>,
    until: ReturnWhen,
    limit: Option<Duration>,
) -> WaitResult<T> {
    let deadline = limit.and_then(clock::after);
    let mut futures = as_completed(futures);
    let mut done = Vec::new();
    while let Ok(Some(future)) = futures.next_by(deadline) {
        let failed = future.error().is_some_and(|error| !error.is_cancelled());
        done.push(future);
        if until == ReturnWhen::FirstCompleted || (until == ReturnWhen::FirstException && failed) {
            break;
        }
    }
    // Futures that have ended in the meantime count as ended.
    let (ended, not_done): (Vec<_>, Vec<_>) = futures.rest().partition(Future::is_done);
    done.extend(ended);
    WaitResult { done, not_done }
}
