//! What all pools have in common.

use crate::executor::failure::SubmitError;
use crate::executor::future::Future;
use crate::executor::map::Map;

/// Takes work of the kind `W` and has it done by others.
///
/// A [`ThreadPool`](crate::executor::ThreadPool) takes closures, and it takes a
/// [`Call`](crate::executor::Call) as a [`ProcessPool`](crate::executor::ProcessPool) does.
/// So code over calls runs on either.
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
    /// What comes of the work.
    type Output: Send + 'static;

    /// Submits work, and returns before it is done.
    ///
    /// # Errors
    ///
    /// When the pool has been shut down or is broken, or cannot do such work.
    fn submit(&self, work: W) -> Result<Future<Self::Output>, SubmitError>;

    /// Submits the work that `work` makes of each item.
    ///
    /// # Errors
    ///
    /// As [`Executor::submit`]; then what was submitted and has not begun is cancelled.
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

    /// Takes no more work from now on; what was submitted is done. May be called again.
    #[doc(alias = "shutdown(wait=False)")]
    fn close(&self);

    /// As [`close`](Self::close), and waits until all work is done and the workers have ended.
    ///
    /// # Suspends
    ///
    /// Until then; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// If the waiting task is cancelled it is unwound from here; the work is done all the same.
    ///
    /// # Panics
    ///
    /// In work or a callback of this very pool, which would wait for its own end.
    fn shutdown(&self);

    /// Cancels all work that has not begun. Answers how much that was.
    #[doc(alias = "cancel_futures")]
    fn cancel_queued(&self) -> usize;
}
