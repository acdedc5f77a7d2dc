//! Tasks: functions that run concurrently on coroutines.
//!
//! A task costs one page of memory and about 100 ns to start. It runs on one worker from beginning
//! to end; a call that must wait (a read, a sleep, a join) lets the worker's other tasks run.
//! Inside a runtime new tasks go to that runtime; on a plain thread they go to a global one, which
//! starts on first use with one worker per processor.
//!
//! # Cancellation
//!
//! [`JoinHandle::cancel`] ends the task's present wait and every later one: calls that return
//! `io::Result` fail with `ECANCELED`; calls that cannot fail (a sleep, a join) unwind the task, as
//! does any call after a hundred such failures. Destructors run. A result that was already there is
//! delivered.

mod pool;
mod permits;
mod scope;
mod group;
mod tracker;
mod join;

use std::io;
use std::time::Duration;

pub use fiveways_runtime::{Elapsed, JoinError, JoinHandle, in_task, is_cancelled, yield_now};
use fiveways_runtime::{Spawn, clock, current, with_deadline};

pub use group::Group;
pub use join::{join_all, join_all_timeout, wait_any, wait_any_timeout};
pub use pool::{Imap, ImapUnordered, Pool};
pub use scope::{Scope, ScopedJoinHandle, scope};

/// Spawns a task.
///
/// The task begins when the caller waits for something, or immediately on another worker.
///
/// # Panics
///
/// If there is no memory for its stack; [`Builder::spawn`] returns an error instead.
///
/// # Examples
///
/// ```
/// let sum = fiveways::task::spawn(|| (1..=10).sum::<u32>());
/// assert_eq!(sum.join().expect("it did not panic"), 55);
/// ```
#[doc(alias = "go")]
#[track_caller]
pub fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let spawned = match Spawn::new().spawn_in_task(f) {
        Ok(spawned) => spawned,
        Err((spawn, f)) => spawn.spawn(&current(), f),
    };
    match spawned {
        Ok(handle) => handle,
        // Not in a closure, so that the reported location is the caller's.
        Err(error) => panic!("could not spawn a task: {error}"),
    }
}

/// Spawns a task on the caller's own worker; neither the closure nor its value need be `Send`.
///
/// # Panics
///
/// If the calling thread is not a worker, as is the case for handlers under the models `threads`,
/// `pool` and `blocking` ([`spawn`] works there), and if there is no memory for its stack.
/// [`Builder::spawn_local`] returns an error instead.
#[track_caller]
pub fn spawn_local<T: 'static>(f: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    let spawned = Spawn::new().spawn_local(f);
    match spawned {
        Ok(handle) => handle,
        // Not in a closure, so that the reported location is the caller's.
        Err(error) => panic!("could not spawn a task: {error}"),
    }
}

/// Settings of a new task, as [`std::thread::Builder`].
#[derive(Clone, Debug, Default)]
pub struct Builder {
    spawn: Spawn,
    worker: Option<usize>,
}

impl Builder {
    /// Makes a builder with the defaults: no name, the runtime's stack size, any worker.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Names the task, for messages.
    pub fn name(mut self, name: impl AsRef<str>) -> Builder {
        self.spawn = self.spawn.name(name.as_ref());
        self
    }

    /// Reserves a stack of this many bytes; memory is used only as it is touched.
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.spawn = self.spawn.stack_size(bytes);
        self
    }

    /// Places the task on this worker, counted from 0.
    pub fn worker(mut self, worker: usize) -> Builder {
        self.worker = Some(worker);
        self
    }

    /// Spawns the task.
    ///
    /// # Errors
    ///
    /// If there is no memory for its stack, or no such worker.
    #[track_caller]
    pub fn spawn<T: Send + 'static>(
        self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        match self.worker {
            None => self.spawn.spawn(&current(), f),
            Some(worker) => self.spawn.spawn_at(&current(), worker, f),
        }
    }

    /// Spawns the task on the caller's own worker.
    ///
    /// # Errors
    ///
    /// `Unsupported` on a thread that is not a worker, as is the case for handlers under the models
    /// `threads`, `pool` and `blocking`; an error if there is no memory for its stack.
    #[track_caller]
    pub fn spawn_local<T: 'static>(
        self,
        f: impl FnOnce() -> T + 'static,
    ) -> io::Result<JoinHandle<T>> {
        self.spawn.spawn_local(f)
    }
}

/// Returns `true` for the error of a call that failed because its task is cancelled (error number
/// `ECANCELED`); looks through wrapped errors.
///
/// # Examples
///
/// ```
/// use std::io::Read;
/// use fiveways::{net, task};
///
/// # fn main() -> std::io::Result<()> {
/// let (mut stream, _peer) = net::UnixStream::pair()?;
/// let reader = task::spawn(move || stream.read(&mut [0; 8]));
/// reader.cancel();
/// // One that had not begun ends without a value.
/// if let Ok(Err(error)) = reader.join() {
///     assert!(task::is_cancelled_error(&error));
/// }
/// # Ok(())
/// # }
/// ```
pub fn is_cancelled_error(error: &io::Error) -> bool {
    if error.raw_os_error() == Some(fiveways_sys::errno::ECANCELED) {
        return true;
    }
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>());
    inner.is_some_and(is_cancelled_error)
}

/// Runs `f` with a time limit on everything it waits for.
///
/// After the limit, calls that return `io::Result` fail with `TimedOut` (and [`Elapsed`] as the
/// source), and calls that cannot fail unwind `f`. A value that `f` returns is returned, even if it
/// is late.
///
/// On a plain thread the limit applies to the waits of this library: reads, writes, accepts and
/// connects, sleeps, locks, channels, joins. Other calls that block the thread (std's own sockets
/// and locks, name resolution) are not ended.
///
/// # Errors
///
/// [`Elapsed`] if `f` was unwound.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use fiveways::{task, time};
///
/// let late = task::spawn(|| {
///     task::timeout(Duration::from_millis(5), || time::sleep(Duration::from_secs(60)))
/// });
/// assert!(late.join().expect("it did not panic").is_err());
/// ```
#[doc(alias = "gevent.Timeout")]
pub fn timeout<T>(limit: Duration, f: impl FnOnce() -> T) -> Result<T, Elapsed> {
    match clock::after(limit) {
        Some(deadline) => with_deadline(deadline, f),
        None => Ok(f()),
    }
}

/// A join without its parentheses would wait for nothing, and does not compile.
///
/// ```compile_fail,E0615
/// let task = fiveways::task::spawn(|| 1);
/// task.join;
/// ```
///
/// With them it compiles.
///
/// ```
/// let task = fiveways::task::spawn(|| 1);
/// task.join().expect("it does not panic");
/// ```
///
/// A lost handle is noticed as well: the expected warning comes.
///
/// ```
/// #![deny(unfulfilled_lint_expectations)]
/// #[expect(unused_must_use)]
/// fiveways::task::spawn(|| 1);
/// ```
#[cfg(doctest)]
struct Forgotten;
