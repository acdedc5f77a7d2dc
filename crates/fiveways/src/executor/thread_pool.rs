//! A pool of threads.

use std::fmt;
use std::sync::Arc;

use crate::executor::contract::Executor;
use crate::executor::failure::{BuildError, FutureError, SubmitError};
use crate::executor::future::Future;
use crate::executor::map::{ChunkedMap, Map, chunks};
use crate::executor::pool_core::{PoolConfig, PoolCore};
use crate::executor::rpc::call::{Call, Portable};
use crate::executor::sizing::Sizing;

/// Settings of a new [`ThreadPool`].
pub struct ThreadPoolBuilder {
    sizing: Sizing,
    config: PoolConfig,
}

impl fmt::Debug for ThreadPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("ThreadPoolBuilder");
        f.field("sizing", &self.sizing).field("name", &self.config.name).finish_non_exhaustive()
    }
}

impl Default for ThreadPoolBuilder {
    fn default() -> ThreadPoolBuilder {
        let config = PoolConfig {
            name: None,
            size: 0,
            stack_size: None,
            begin: Box::new(|| ()),
            end: Box::new(|| ()),
        };
        ThreadPoolBuilder { sizing: Sizing::CpusPlusFourAtMost32, config }
    }
}

impl ThreadPoolBuilder {
    /// Sets the maximum number of threads.
    pub fn size(mut self, sizing: Sizing) -> ThreadPoolBuilder {
        self.sizing = sizing;
        self
    }

    /// Names the threads `name-0`, `name-1` … instead of `pool-0-0`, `pool-0-1` ….
    #[doc(alias = "thread_name_prefix")]
    pub fn name(mut self, name: impl Into<String>) -> ThreadPoolBuilder {
        self.config.name = Some(name.into());
        self
    }

    /// Sets the stack size of each thread, in bytes.
    pub fn stack_size(mut self, bytes: usize) -> ThreadPoolBuilder {
        self.config.stack_size = Some(bytes);
        self
    }

    /// Sets a function that each thread calls before its first work.
    ///
    /// If it panics the pool is broken: all waiting work fails with [`FutureError::BrokenPool`],
    /// and no more is accepted.
    pub fn initializer(mut self, begin: impl Fn() + Send + Sync + 'static) -> ThreadPoolBuilder {
        self.config.begin = Box::new(begin);
        self
    }

    /// Makes the pool. Threads start when there is work.
    ///
    /// # Errors
    ///
    /// [`BuildError::ZeroSize`].
    pub fn build(mut self) -> Result<ThreadPool, BuildError> {
        self.config.size = self.sizing.checked()?;
        Ok(ThreadPool { pool_core: PoolCore::new(self.config) })
    }
}

/// A pool of threads that run submitted work concurrently.
///
/// Threads start when there is work for them, up to the pool's size, and stay until the pool is
/// shut down. Dropping the pool waits for all submitted work, as `shutdown()` does; if its own work
/// drops it, that does not wait. To share it, put it into an `Arc` or borrow it.
///
/// If work panics, joining its future returns the panic; the thread continues.
///
/// # Examples
///
/// ```
/// use fiveways::executor::{Sizing, ThreadPool};
///
/// let pool = ThreadPool::builder().size(Sizing::Fixed(3)).build().expect("3 is not 0");
/// let lengths = pool.map(["a", "bc", "def"], str::len).expect("it is open");
/// let lengths: Vec<_> = lengths.map(|length| length.expect("it does not panic")).collect();
/// assert_eq!(lengths, [1, 2, 3]);
/// ```
#[doc(alias = "ThreadPoolExecutor")]
pub struct ThreadPool {
    pool_core: Arc<PoolCore>,
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("ThreadPool");
        f.field("name", &self.pool_core.name())
            .field("size", &self.pool_core.size())
            .finish_non_exhaustive()
    }
}

impl Default for ThreadPool {
    /// Makes a pool of as many threads as there are processors plus four, but at most 32.
    fn default() -> ThreadPool {
        ThreadPoolBuilder::default().build().expect("the default size is not zero")
    }
}

impl ThreadPool {
    /// Makes a pool of this size.
    ///
    /// # Errors
    ///
    /// [`BuildError::ZeroSize`].
    pub fn new(sizing: Sizing) -> Result<ThreadPool, BuildError> {
        ThreadPool::builder().size(sizing).build()
    }

    /// Returns a builder with the default settings.
    pub fn builder() -> ThreadPoolBuilder {
        ThreadPoolBuilder::default()
    }

    /// Returns the maximum number of threads.
    pub fn size(&self) -> usize {
        self.pool_core.size()
    }

    /// Returns the current number of threads.
    pub fn threads(&self) -> usize {
        self.pool_core.threads()
    }

    /// Submits work without waiting for it.
    ///
    /// # Errors
    ///
    /// If the pool is closed or broken, or has no thread and none can be started.
    pub fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Future<T>, SubmitError> {
        Future::submit(&self.pool_core, Box::new(move || Ok(work())))
    }

    /// Submits one function for many items; the results are in the order of the items.
    ///
    /// Only waiting for the results suspends.
    ///
    /// # Errors
    ///
    /// Those of [`ThreadPool::submit`]; submitted work that has not begun is then cancelled.
    pub fn map<A: Send + 'static, T: Send + 'static>(
        &self,
        items: impl IntoIterator<Item = A>,
        work: impl Fn(A) -> T + Send + Sync + 'static,
    ) -> Result<Map<T>, SubmitError> {
        let work = Arc::new(work);
        let mut map = Map::new();
        for item in items {
            let work = Arc::clone(&work);
            map.push(self.submit(move || work(item))?);
        }
        Ok(map)
    }

    /// As [`ThreadPool::map`], submitting `chunk` items at a time: for many short pieces of work.
    ///
    /// An error stands for a whole chunk.
    ///
    /// # Errors
    ///
    /// Those of [`ThreadPool::map`].
    ///
    /// # Panics
    ///
    /// If `chunk` is zero.
    #[doc(alias = "chunksize")]
    #[track_caller]
    pub fn map_chunked<A: Send + 'static, T: Send + 'static>(
        &self,
        chunk: usize,
        items: impl IntoIterator<Item = A>,
        work: impl Fn(A) -> T + Send + Sync + 'static,
    ) -> Result<ChunkedMap<T>, SubmitError> {
        let whole = move |chunk: Vec<A>| chunk.into_iter().map(&work).collect::<Vec<T>>();
        Ok(ChunkedMap::new(self.map(chunks(items, chunk), whole)?))
    }

    /// Accepts no more work from now on; submitted work is completed. May be called again.
    #[doc(alias = "shutdown(wait=False)")]
    pub fn close(&self) {
        self.pool_core.close();
    }

    /// As [`close`](Self::close), and waits until all work is done and the threads have ended.
    ///
    /// # Suspends
    ///
    /// Until all work is done and the threads have ended; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// If the waiting task is cancelled it is unwound from here; the work is completed all the
    /// same.
    ///
    /// # Panics
    ///
    /// If called by the pool's own work or callbacks, which would wait for themselves.
    #[track_caller]
    pub fn shutdown(&self) {
        shut_down(&self.pool_core);
    }

    /// Cancels all work that has not begun. Returns how much that was.
    ///
    /// The callbacks run in the calling thread.
    #[doc(alias = "cancel_futures")]
    pub fn cancel_queued(&self) -> usize {
        self.pool_core.refuse_queued(&FutureError::Cancelled)
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        leave(&self.pool_core);
    }
}

/// Closes a pool and waits for its end.
#[track_caller]
pub(super) fn shut_down(pool_core: &Arc<PoolCore>) {
    pool_core.close();
    let name = pool_core.name();
    assert!(!pool_core.is_own_thread(), "work of {name} must not wait for the end of {name}");
    pool_core.wait_for_end();
}

/// Closes a pool that is dropped, and waits for its end unless the caller is one of its threads.
pub(super) fn leave(pool_core: &Arc<PoolCore>) {
    match pool_core.is_own_thread() {
        true => pool_core.close(),
        false => shut_down(pool_core),
    }
}

impl<F, T> Executor<F> for ThreadPool
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    type Output = T;

    fn submit(&self, work: F) -> Result<Future<T>, SubmitError> {
        ThreadPool::submit(self, work)
    }

    fn close(&self) {
        ThreadPool::close(self);
    }

    fn shutdown(&self) {
        ThreadPool::shutdown(self);
    }

    fn cancel_queued(&self) -> usize {
        ThreadPool::cancel_queued(self)
    }
}

impl<T: Portable> Executor<Call<T>> for ThreadPool {
    type Output = T;

    /// Submits a call. Arguments and result are serialised here too, so that it behaves as in a
    /// process.
    fn submit(&self, call: Call<T>) -> Result<Future<T>, SubmitError> {
        let prepared = call.prepare()?;
        Future::submit(&self.pool_core, Box::new(move || prepared.run_here()))
    }

    fn close(&self) {
        ThreadPool::close(self);
    }

    fn shutdown(&self) {
        ThreadPool::shutdown(self);
    }

    fn cancel_queued(&self) -> usize {
        ThreadPool::cancel_queued(self)
    }
}
