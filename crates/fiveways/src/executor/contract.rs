//! The interface common to all pools.

use crate::executor::failure::SubmitError;
use crate::executor::future::Future;
use crate::executor::map::Map;

/// Runs work of type `W` elsewhere.
///
/// A [`ThreadPool`](crate::executor::ThreadPool) runs closures, and also a
/// [`Call`](crate::executor::Call), as a [`ProcessPool`](crate::executor::ProcessPool) does. So
/// code that submits calls works with either.
///
/// # Examples
///
/// ```
/// use fiveways::executor::{Call, Executor, ThreadPool, remote};
///
/// remote! {
///     /// The square of a number.
///     fn square(x: u64) -> u64 {
///         x * x
///     }
/// }
///
/// fn squares(pool: &impl Executor<Call<u64>, Output = u64>) -> u64 {
///     let squares = pool.map(1..=3, square::call).expect("it is open");
///     squares.map(|square| square.expect("it does not panic")).sum()
/// }
///
/// assert_eq!(squares(&ThreadPool::default()), 14);
/// ```
pub trait Executor<W> {
    /// The result of the work.
    type Output: Send + 'static;

    /// Submits work without waiting for it.
    ///
    /// # Errors
    ///
    /// If the pool is closed or broken, or cannot run such work.
    fn submit(&self, work: W) -> Result<Future<Self::Output>, SubmitError>;

    /// Submits one piece of work, made by `work`, for each item.
    ///
    /// # Errors
    ///
    /// Those of [`Executor::submit`]; submitted work that has not begun is then cancelled.
    fn map<A>(
        &self,
        items: impl IntoIterator<Item = A>,
        mut work: impl FnMut(A) -> W,
    ) -> Result<Map<Self::Output>, SubmitError>
    where
        Self: Sized,
    {
        let mut map = Map::new();
        for item in items {
            map.push(self.submit(work(item))?);
        }
        Ok(map)
    }

    /// Accepts no more work from now on; submitted work is completed. May be called again.
    #[doc(alias = "shutdown(wait=False)")]
    fn close(&self);

    /// As [`close`](Self::close), and waits until all work is done and the workers have ended.
    ///
    /// # Suspends
    ///
    /// Until all work is done and the workers have ended; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// If the waiting task is cancelled it is unwound from here; the work is completed all the
    /// same.
    ///
    /// # Panics
    ///
    /// If called by the pool's own work or callbacks, which would wait for themselves.
    fn shutdown(&self);

    /// Cancels all work that has not begun. Returns how much that was.
    #[doc(alias = "cancel_futures")]
    fn cancel_queued(&self) -> usize;
}
