//! A pool of processes.

use std::fmt;
use std::num::NonZero;
use std::sync::Arc;

use crate::executor::contract::Executor;
use crate::executor::failure::{BuildError, FutureError, SubmitError};
use crate::executor::future::Future;
use crate::executor::map::{ChunkedMap, Map, chunks};
use crate::executor::pool_core::{PoolConfig, PoolCore};
use crate::executor::rpc::call::{Call, Portable, Prepared};
use crate::executor::rpc::serve::is_guarded;
use crate::executor::rpc::wire::check_call;
use crate::executor::rpc::worker_process::{Initializer, Members, call, retire};
use crate::executor::sizing::Sizing;
use crate::executor::thread_pool::{leave, shut_down};

/// Settings of a new [`ProcessPool`].
#[derive(Clone, Debug)]
pub struct ProcessPoolBuilder {
    sizing: Sizing,
    name: Option<String>,
    calls_max: Option<NonZero<u64>>,
    /// `Some(None)`: its arguments could not be serialised.
    initializer: Option<Option<Initializer>>,
}

impl Default for ProcessPoolBuilder {
    fn default() -> ProcessPoolBuilder {
        let (name, calls_max, initializer) = (None, None, None);
        ProcessPoolBuilder { sizing: Sizing::Cpus, name, calls_max, initializer }
    }
}

impl ProcessPoolBuilder {
    /// Sets the maximum number of processes.
    pub fn size(mut self, sizing: Sizing) -> ProcessPoolBuilder {
        self.sizing = sizing;
        self
    }

    /// Names the threads that manage the processes `name-0`, `name-1` ….
    pub fn name(mut self, name: impl Into<String>) -> ProcessPoolBuilder {
        self.name = Some(name.into());
        self
    }

    /// Replaces each process after this many calls: for functions that leak.
    #[doc(alias = "max_tasks_per_child")]
    pub fn calls_per_process(mut self, calls: NonZero<u64>) -> ProcessPoolBuilder {
        self.calls_max = Some(calls);
        self
    }

    /// Sets a call that each process runs before its first one; its result is ignored. It does not
    /// count towards [`calls_per_process`](ProcessPoolBuilder::calls_per_process).
    ///
    /// If it panics the pool is broken: all waiting work fails with [`FutureError::BrokenPool`],
    /// and no more is accepted; calls that have begun in other processes are completed. If the
    /// process dies in it, another one is started, as when it dies before it is ready: after the
    /// third the call fails with [`FutureError::NoWorker`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::OnceLock;
    /// use fiveways::executor::{self, ProcessPool, remote};
    ///
    /// static UNIT: OnceLock<String> = OnceLock::new();
    ///
    /// remote! {
    ///     fn set_unit(unit: String) {
    ///         UNIT.set(unit).expect("once in each process");
    ///     }
    ///     fn measure(length: u64) -> String {
    ///         format!("{length} {}", UNIT.get().expect("it was set"))
    ///     }
    /// }
    ///
    /// fn main() {
    ///     executor::serve_if_worker();
    ///     let pool = ProcessPool::builder().initializer(set_unit::call("mm".to_owned()));
    ///     let pool = pool.build().expect("main has asked");
    ///     let measured = pool.submit(measure::call(5)).expect("it is open");
    ///     assert_eq!(measured.result().expect("it does not panic"), "5 mm");
    /// }
    /// ```
    #[doc(alias = "initargs")]
    pub fn initializer<T: Portable>(mut self, begin: Call<T>) -> ProcessPoolBuilder {
        let fits = |p: &Prepared<T>| check_call(p.name.len(), p.arguments.len()).is_ok();
        let first = begin.prepare().ok().filter(fits);
        self.initializer =
            Some(first.map(|p| Initializer { name: p.name, arguments: p.arguments }));
        self
    }

    /// Makes the pool. Processes start when there is work.
    ///
    /// # Errors
    ///
    /// [`BuildError::ZeroSize`]; [`BuildError::NotGuarded`] if `main` has not called
    /// [`serve_if_worker`](crate::executor::serve_if_worker); [`BuildError::Unencodable`].
    pub fn build(self) -> Result<ProcessPool, BuildError> {
        let size = self.sizing.checked()?;
        if !is_guarded() {
            return Err(BuildError::NotGuarded);
        }
        let first = match self.initializer {
            Some(first) => Some(first.ok_or(BuildError::Unencodable)?),
            None => None,
        };
        let members = Arc::new(Members::new(self.calls_max.map(NonZero::get), first));
        let (begin, end) = (Box::new(|| ()), Box::new(retire));
        let config = PoolConfig { name: self.name, size, stack_size: None, begin, end };
        Ok(ProcessPool { pool_core: PoolCore::new(config), members })
    }
}

/// A pool of processes that run submitted calls concurrently.
///
/// The processes run this same program again, so its `main` begins with
/// [`serve_if_worker`](crate::executor::serve_if_worker), and they can run the functions declared
/// with [`remote!`](crate::executor::remote). They share nothing with this process but environment,
/// directory, standard output and standard error; their standard input is empty. Arguments and
/// results are serialised.
///
/// Processes start when there is work for them, up to the pool's size, and stay until the pool is
/// shut down; then they exit and are collected. They die when this process dies, however it dies.
/// Keys that interrupt this program (Ctrl-C) do not reach them.
///
/// If a function panics, its message is returned as the call's error, and the process continues. A
/// process that dies during a call fails that one call with [`FutureError::BrokenWorker`], and is
/// replaced. A process whose function writes to descriptors that are not its own, so that anything
/// but an answer arrives from it, is killed and treated in the same way. A copy that a function
/// makes by `fork` and lets return is ended.
///
/// # Examples
///
/// ```
/// use fiveways::executor::{self, ProcessPool, remote};
///
/// remote! {
///     fn square(x: u64) -> u64 {
///         x * x
///     }
/// }
///
/// fn main() {
///     executor::serve_if_worker();
///     let pool = ProcessPool::default();
///     let nine = pool.submit(square::call(3)).expect("it is open");
///     assert_eq!(nine.result().expect("it does not panic"), 9);
/// }
/// ```
#[doc(alias = "ProcessPoolExecutor")]
pub struct ProcessPool {
    pool_core: Arc<PoolCore>,
    members: Arc<Members>,
}

impl fmt::Debug for ProcessPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("ProcessPool");
        f.field("size", &self.size()).field("processes", &self.processes()).finish()
    }
}

impl Default for ProcessPool {
    /// Makes a pool with one process per processor.
    ///
    /// # Panics
    ///
    /// If `main` has not called [`serve_if_worker`](crate::executor::serve_if_worker).
    fn default() -> ProcessPool {
        let built = ProcessPool::builder().build();
        built.unwrap_or_else(|error| panic!("no process pool: {error}"))
    }
}

impl ProcessPool {
    /// Makes a pool of this size.
    ///
    /// # Errors
    ///
    /// Those of [`ProcessPoolBuilder::build`].
    pub fn new(sizing: Sizing) -> Result<ProcessPool, BuildError> {
        ProcessPool::builder().size(sizing).build()
    }

    /// Returns a builder with the default settings.
    pub fn builder() -> ProcessPoolBuilder {
        ProcessPoolBuilder::default()
    }

    /// Returns the maximum number of processes.
    pub fn size(&self) -> usize {
        self.pool_core.size()
    }

    /// Returns the ids of its processes, in ascending order.
    pub fn processes(&self) -> Vec<u32> {
        self.members.pids().iter().copied().collect()
    }

    /// Submits a call without waiting for it.
    ///
    /// # Errors
    ///
    /// If the pool is closed, if it has no thread and none can be started, or if the arguments
    /// cannot be serialised or exceed 2 GiB.
    pub fn submit<T: Portable>(&self, work: Call<T>) -> Result<Future<T>, SubmitError> {
        let prepared = work.prepare()?;
        check_call(prepared.name.len(), prepared.arguments.len())
            .map_err(SubmitError::Unencodable)?;
        let members = Arc::clone(&self.members);
        let work = move || {
            let answer = call(&members, &prepared.name, &prepared.arguments)?;
            prepared.read(answer)
        };
        Future::submit(&self.pool_core, Box::new(work))
    }

    /// Submits a call for each item, as in `pool.map(1..=3, square::call)`; the results are in the
    /// order of the items.
    ///
    /// Only waiting for the results suspends.
    ///
    /// # Errors
    ///
    /// Those of [`ProcessPool::submit`]; submitted calls that have not begun are then cancelled.
    pub fn map<A, T: Portable>(
        &self,
        items: impl IntoIterator<Item = A>,
        work: impl FnMut(A) -> Call<T>,
    ) -> Result<Map<T>, SubmitError> {
        Executor::map(self, items, work)
    }

    /// As [`ProcessPool::map`], sending `chunk` calls to a process at a time: for many short calls,
    /// whose transfer would take longer than their execution.
    ///
    /// An error stands for a whole chunk. A chunk counts as one call.
    ///
    /// # Errors
    ///
    /// Those of [`ProcessPool::map`].
    ///
    /// # Panics
    ///
    /// If `chunk` is zero.
    #[doc(alias = "chunksize")]
    #[track_caller]
    pub fn map_chunked<A, T: Portable>(
        &self,
        chunk: usize,
        items: impl IntoIterator<Item = A>,
        work: impl FnMut(A) -> Call<T>,
    ) -> Result<ChunkedMap<T>, SubmitError> {
        let calls = chunks(items.into_iter().map(work), chunk);
        Ok(ChunkedMap::new(self.map(calls, Call::chunk)?))
    }

    /// Accepts no more work from now on; submitted work is completed. May be called again.
    #[doc(alias = "shutdown(wait=False)")]
    pub fn close(&self) {
        self.pool_core.close();
    }

    /// As [`close`](Self::close), and waits until all work is done and the processes have ended.
    ///
    /// # Suspends
    ///
    /// Until all work is done and the processes have ended; a plain thread blocks.
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

impl Drop for ProcessPool {
    fn drop(&mut self) {
        leave(&self.pool_core);
    }
}

impl<T: Portable> Executor<Call<T>> for ProcessPool {
    type Output = T;

    fn submit(&self, work: Call<T>) -> Result<Future<T>, SubmitError> {
        ProcessPool::submit(self, work)
    }

    fn close(&self) {
        ProcessPool::close(self);
    }

    fn shutdown(&self) {
        ProcessPool::shutdown(self);
    }

    fn cancel_queued(&self) -> usize {
        ProcessPool::cancel_queued(self)
    }
}
