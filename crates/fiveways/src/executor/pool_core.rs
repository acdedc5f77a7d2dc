//! Threads that run jobs from one queue: the common core of both pools.
//!
//! ```text
//!   submit ──▶ queue ──▶ runner 0 ┐ started when more jobs wait than runners are idle,
//!                        runner 1 ├ up to the pool's size; idle ones sleep on the condition
//!                        …        ┘
//!   open ──close──▶ closed: the queue is worked off, then the runners end; the last tells
//! ```
//!
//! A job in the queue may have been cancelled, or been run by the pool thread that waits for it; a
//! thread that takes it from the queue then skips it.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

use fiveways_runtime::{Completions, Identity, IdentityOfThread, Observer, Reason, ServiceThread};
use fiveways_sys::lock::{Condvar, Mutex, MutexGuard};
use fiveways_sys::process::generation::PerProcess;

use crate::executor::failure::{FutureError, SubmitError};

/// A job of a pool, that others can wait for: a future without its type.
pub(super) trait Job: Send + Sync {
    /// Runs it in the calling thread, unless it has begun or ended. Never unwinds.
    fn run(self: Arc<Self>) -> bool;

    /// Ends it with this error, unless it has begun or ended. Never unwinds.
    fn refuse(self: Arc<Self>, error: FutureError) -> bool;

    fn status(&self) -> Status;

    /// Calls `each` with every thread that could end it. Returns `false` if it has ended.
    fn enders(&self, each: &mut dyn FnMut(Identity)) -> bool;

    /// Reports its end to this observer; at once if it has already ended.
    fn watch(&self, observer: Observer);

    /// Drops the observers that report to this queue.
    fn unwatch(&self, ends: &Completions);
}

/// The state of a job.
pub(super) enum Status {
    Queued(Weak<PoolCore>),
    Running,
    Ended,
}

/// The threads of a pool. The lock is a leaf: nothing else happens under it.
#[derive(Debug, Default)]
pub(super) struct Members(Mutex<Vec<Identity>>);

impl Members {
    fn lock(&self) -> MutexGuard<'_, Vec<Identity>> {
        self.0.lock()
    }

    /// Calls `each` with all of them: the threads that could begin a queued job. Never empty while
    /// there is a job: submitting one makes sure of that.
    pub(super) fn each(&self, each: &mut dyn FnMut(Identity)) {
        let all = self.lock().clone();
        all.into_iter().for_each(each);
    }
}

static NEXT_CREW: AtomicU64 = AtomicU64::new(0);

/// A thread of a pool.
pub(super) struct PoolThread {
    pub(super) id: Identity,
    pub(super) pool_core: Arc<PoolCore>,
}

thread_local! {
    static RUNNER: OnceCell<PoolThread> = const { OnceCell::new() };
}

/// Runs `f` with the calling thread's `PoolThread`, if it is one.
pub(super) fn with_runner<R>(f: impl FnOnce(Option<&PoolThread>) -> R) -> R {
    let mut f = Some(f);
    let mut take = || f.take().expect("it is called once");
    // A destructor of another thread-local may call this after ours is destroyed; then nothing runs
    // here.
    let answer = RUNNER
        .try_with(|pool_thread| pool_thread.get().map(|pool_thread| take()(Some(pool_thread))));
    answer.ok().flatten().unwrap_or_else(|| take()(None))
}

/// The identity of the calling pool thread.
pub(super) fn runner_id() -> Option<Identity> {
    with_runner(|pool_thread| pool_thread.map(|pool_thread| pool_thread.id))
}

/// A function that a thread runs besides jobs.
pub(super) type Hook = Box<dyn Fn() + Send + Sync>;

/// The configuration of a pool.
pub(super) struct PoolConfig {
    /// The prefix of the threads' names; `None`: `pool-` and the pool's number.
    pub(super) name: Option<String>,
    pub(super) size: usize,
    pub(super) stack_size: Option<usize>,
    /// Run by each thread before its first job; its panic breaks the pool.
    pub(super) begin: Hook,
    /// Run by each thread after its last job.
    pub(super) end: Hook,
}

/// Threads and the queue of jobs that they run.
pub(super) struct PoolCore {
    config: PoolConfig,
    name: String,
    /// `true` if it is closed: the flag that a fork reads.
    closed: AtomicBool,
    /// A fork has none of the threads, and no jobs.
    hall: PerProcess<Hall>,
}

/// The state of a pool in one process.
struct Hall {
    /// Changed under the lock of the state only.
    members: Arc<Members>,
    state: Mutex<State>,
    work: Condvar,
}

struct State {
    queue: VecDeque<Arc<dyn Job>>,
    idle: usize,
    closed: bool,
    broken: bool,
    threads: Vec<JoinHandle<()>>,
    /// The observers of those that wait for the last thread to end.
    observers: Vec<Observer>,
}

impl PoolCore {
    pub(super) fn new(config: PoolConfig) -> Arc<PoolCore> {
        let number = NEXT_CREW.fetch_add(1, Ordering::Relaxed);
        let name = config.name.clone().unwrap_or_else(|| format!("pool-{number}"));
        let (closed, hall) = (AtomicBool::new(false), PerProcess::new());
        Arc::new(PoolCore { config, name, closed, hall })
    }

    fn hall(&self) -> &Hall {
        self.hall.get(|| {
            let state = State {
                queue: VecDeque::new(),
                idle: 0,
                closed: self.closed.load(Ordering::Relaxed),
                broken: false,
                threads: Vec::new(),
                observers: Vec::new(),
            };
            Hall { members: Arc::default(), state: Mutex::new(state), work: Condvar::new() }
        })
    }

    pub(super) fn size(&self) -> usize {
        self.config.size
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The number of its threads.
    pub(super) fn threads(&self) -> usize {
        self.hall().members.lock().len()
    }

    /// Its threads.
    pub(super) fn members(&self) -> &Arc<Members> {
        &self.hall().members
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.hall().state.lock()
    }

    /// Queues a job and makes sure that a thread will run it.
    pub(super) fn submit(self: &Arc<Self>, job: Arc<dyn Job>) -> Result<(), SubmitError> {
        let mut state = self.lock();
        if state.broken {
            return Err(SubmitError::Broken);
        }
        if state.closed {
            return Err(SubmitError::Closed);
        }
        state.queue.push_back(job);
        let short = state.queue.len() > state.idle && self.threads() < self.config.size;
        // The lock is held meanwhile, or another job would rely on a thread that never starts.
        if short
            && let Err(error) = self.start(&mut state)
            && self.threads() == 0
        {
            state.queue.pop_back();
            return Err(SubmitError::NoThread(error));
        }
        self.hall().work.notify_one();
        Ok(())
    }

    fn start(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        let identity = IdentityOfThread::new();
        let id = identity.number();
        let mut builder = thread::Builder::new();
        builder = builder.name(format!("{}-{}", self.name, state.threads.len()));
        if let Some(bytes) = self.config.stack_size {
            builder = builder.stack_size(bytes);
        }
        let pool_core = Arc::clone(self);
        let life = move || {
            identity.take();
            serve(PoolThread { id, pool_core });
        };
        state.threads.push(builder.spawn(life)?);
        self.hall().members.lock().push(id);
        Ok(())
    }

    /// Returns the next job; `None` if there will be none.
    fn next(&self) -> Option<Arc<dyn Job>> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.queue.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            let idle = ServiceThread::enter();
            state = self.hall().work.wait(state);
            drop(idle);
            state.idle -= 1;
        }
    }

    /// Accepts no more jobs from now on.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.lock().closed = true;
        self.hall().work.notify_all();
    }

    /// Accepts and runs no more jobs, after its initializer has failed.
    pub(super) fn break_down(&self) {
        self.lock().broken = true;
        self.close();
        self.refuse_queued(&FutureError::BrokenPool);
    }

    /// Ends all jobs that have not begun. Returns how many that were.
    pub(super) fn refuse_queued(&self, error: &FutureError) -> usize {
        let queue = std::mem::take(&mut self.lock().queue);
        queue.into_iter().filter(|job| Arc::clone(job).refuse(error.clone())).count()
    }

    /// Returns `true` if the calling thread is one of its own.
    pub(super) fn is_own_thread(&self) -> bool {
        with_runner(|pool_thread| {
            pool_thread.is_some_and(|pool_thread| std::ptr::eq(&*pool_thread.pool_core, self))
        })
    }

    /// Waits for the end of all threads. The pool is closed, and the caller is none of its threads.
    #[track_caller]
    pub(super) fn wait_for_end(&self) {
        let ends = Completions::new();
        let leaving = Leaving { pool_core: self, ends: &ends };
        let mut state = self.lock();
        let anybody = self.threads() > 0;
        if anybody {
            state.observers.push(ends.observer(0));
        }
        drop(state);
        if anybody {
            ends.wait_for(&Reason::new("end of a pool", self), 1, None);
        }
        drop(leaving);
        let threads = std::mem::take(&mut self.lock().threads);
        for thread in threads {
            // It has left the pool: this ends soon. Panics were caught.
            let _ = thread.join();
        }
    }
}

/// Removes a watch from the pool, also if the wait is unwound.
struct Leaving<'a> {
    pool_core: &'a PoolCore,
    ends: &'a Completions,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.pool_core.lock().observers.retain(|observer| !observer.is_of(self.ends));
    }
}

/// The main function of a pool's thread.
fn serve(pool_thread: PoolThread) {
    let pool_core = Arc::clone(&pool_thread.pool_core);
    let _membership = Membership { pool_core: &pool_core, id: pool_thread.id };
    let set = RUNNER.with(|place| place.set(pool_thread).is_ok());
    debug_assert!(set, "a thread serves once");
    if contain("the initializer of a pool", &pool_core.config.begin) {
        while let Some(job) = pool_core.next() {
            // The value of a job is dropped with its last copy.
            contain("the drop of a result", || {
                job.run();
            });
        }
    } else {
        pool_core.break_down();
    }
    contain("the end of a pool's thread", &pool_core.config.end);
}

/// A thread's membership in the pool.
struct Membership<'a> {
    pool_core: &'a PoolCore,
    id: Identity,
}

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        let mut state = self.pool_core.lock();
        let mut members = self.pool_core.hall().members.lock();
        members.retain(|id| *id != self.id);
        let is_last = members.is_empty();
        drop(members);
        if is_last {
            let observers = std::mem::take(&mut state.observers);
            drop(state);
            observers.into_iter().for_each(Observer::notify);
        }
    }
}

/// Runs user code that has no caller to panic to, and reports its panic. Returns `true` if it
/// returned normally.
pub(super) fn contain(what: &str, f: impl FnOnce()) -> bool {
    let message = fiveways_runtime::contain(f);
    if let Some(message) = &message {
        eprintln!("fiveways: {what} has panicked: {message}");
    }
    message.is_none()
}
