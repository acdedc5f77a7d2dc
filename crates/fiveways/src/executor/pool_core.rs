//! Threads that run jobs from one queue: what both pools are made of.
//!
//! ```text
//!   submit ──▶ queue ──▶ runner 0 ┐ started when more jobs wait than runners are idle,
//!                        runner 1 ├ up to the crew's size; idle ones sleep on the condition
//!                        …        ┘
//!   open ──close──▶ closed: the queue is worked off, then the runners end; the last tells
//! ```
//!
//! A job in the queue may have been cancelled, or been run by the runner that waits for it; whoever
//! finds it then skips it.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

use fiveways_runtime::{Completions, Identity, IdentityOfThread, Observer, Reason, ServiceThread};
use fiveways_sys::generation::PerProcess;
use fiveways_sys::lock::{Condvar, Mutex, MutexGuard};

use crate::executor::failure::{FutureError, SubmitError};

/// What a crew runs and what is waited for: a future without its type.
pub(super) trait Job: Send + Sync {
    /// Runs it here, unless it has begun or ended. Never unwinds.
    fn run(self: Arc<Self>) -> bool;

    /// Ends it with this error, unless it has begun or ended. Never unwinds.
    fn refuse(self: Arc<Self>, error: FutureError) -> bool;

    fn status(&self) -> Status;

    /// Calls `each` with every thread that could bring it to its end. False: it has ended.
    fn enders(&self, each: &mut dyn FnMut(Identity)) -> bool;

    /// Has its end reported by this observer; at once if it has ended.
    fn watch(&self, observer: Observer);

    /// Drops the observers that report to this queue.
    fn unwatch(&self, ends: &Completions);
}

/// How far a job is.
pub(super) enum Status {
    Queued(Weak<PoolCore>),
    Running,
    Ended,
}

/// The threads of a crew. The lock is a leaf: nothing is done under it.
#[derive(Debug, Default)]
pub(super) struct Members(Mutex<Vec<Identity>>);

impl Members {
    fn lock(&self) -> MutexGuard<'_, Vec<Identity>> {
        self.0.lock()
    }

    /// Calls `each` with all of them: those who could begin a queued job. Never nobody while there
    /// is one: whoever queues a job sees to that.
    pub(super) fn each(&self, each: &mut dyn FnMut(Identity)) {
        let all = self.lock().clone();
        all.into_iter().for_each(each);
    }
}

static NEXT_CREW: AtomicU64 = AtomicU64::new(0);

/// A thread of a crew.
pub(super) struct PoolThread {
    pub(super) id: Identity,
    pub(super) pool_core: Arc<PoolCore>,
}

thread_local! {
    static RUNNER: OnceCell<PoolThread> = const { OnceCell::new() };
}

/// Runs `f` with the calling thread's runner, if it is one.
pub(super) fn with_runner<R>(f: impl FnOnce(Option<&PoolThread>) -> R) -> R {
    let mut f = Some(f);
    let mut take = || f.take().expect("it is called once");
    // A destructor of another thread-local may ask when ours is gone; then nothing runs here.
    let answer = RUNNER
        .try_with(|pool_thread| pool_thread.get().map(|pool_thread| take()(Some(pool_thread))));
    answer.ok().flatten().unwrap_or_else(|| take()(None))
}

/// The number of the calling thread's runner.
pub(super) fn runner_id() -> Option<Identity> {
    with_runner(|pool_thread| pool_thread.map(|pool_thread| pool_thread.id))
}

/// What a thread does besides jobs.
pub(super) type Hook = Box<dyn Fn() + Send + Sync>;

/// How a crew is made up.
pub(super) struct PoolConfig {
    /// The threads' names begin with it; `None`: `pool-` and the crew's number.
    pub(super) name: Option<String>,
    pub(super) size: usize,
    pub(super) stack_size: Option<usize>,
    /// Done by each thread before its first job; its panic breaks the crew.
    pub(super) begin: Hook,
    /// Done by each thread after its last job.
    pub(super) end: Hook,
}

/// Threads and the queue they run.
pub(super) struct PoolCore {
    config: PoolConfig,
    name: String,
    /// Has it been closed, as far as a fork has to know?
    closed: AtomicBool,
    /// A fork has none of the threads, and nothing to do.
    hall: PerProcess<Hall>,
}

/// What a crew has in one process.
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
    /// Who waits for the last runner to end.
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

    /// How many threads it has.
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

    /// Puts a job into the queue and sees to it that a thread will come to it.
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
        // The lock is held meanwhile, or another job would count on a thread that never comes.
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

    /// The next job; `None` when there will be none.
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

    /// Takes no more jobs from now on.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.lock().closed = true;
        self.hall().work.notify_all();
    }

    /// Takes and runs no more jobs, after its initializer has failed.
    pub(super) fn break_down(&self) {
        self.lock().broken = true;
        self.close();
        self.refuse_queued(&FutureError::BrokenPool);
    }

    /// Ends all that has not begun. Answers how many that were.
    pub(super) fn refuse_queued(&self, error: &FutureError) -> usize {
        let queue = std::mem::take(&mut self.lock().queue);
        queue.into_iter().filter(|job| Arc::clone(job).refuse(error.clone())).count()
    }

    /// Is the calling thread one of its own?
    pub(super) fn is_own_thread(&self) -> bool {
        with_runner(|pool_thread| {
            pool_thread.is_some_and(|pool_thread| std::ptr::eq(&*pool_thread.pool_core, self))
        })
    }

    /// Waits for the end of all threads. The crew is closed, and the caller none of its threads.
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
            // It has left the crew: this ends at once. Panics were contained.
            let _ = thread.join();
        }
    }
}

/// Takes a watch away from the crew, also when the wait is unwound.
struct Leaving<'a> {
    pool_core: &'a PoolCore,
    ends: &'a Completions,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.pool_core.lock().observers.retain(|observer| !observer.is_of(self.ends));
    }
}

/// The life of a crew's thread.
fn serve(pool_thread: PoolThread) {
    let pool_core = Arc::clone(&pool_thread.pool_core);
    let _membership = Membership { pool_core: &pool_core, id: pool_thread.id };
    let set = RUNNER.with(|place| place.set(pool_thread).is_ok());
    debug_assert!(set, "a thread serves once");
    if contain("the initializer of a pool", &pool_core.config.begin) {
        while let Some(job) = pool_core.next() {
            // With the last copy of a job goes its value.
            contain("the drop of a result", || {
                job.run();
            });
        }
    } else {
        pool_core.break_down();
    }
    contain("the end of a pool's thread", &pool_core.config.end);
}

/// A thread's place among the runners.
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
/// returned.
pub(super) fn contain(what: &str, f: impl FnOnce()) -> bool {
    let message = fiveways_runtime::contain(f);
    if let Some(message) = &message {
        eprintln!("fiveways: {what} has panicked: {message}");
    }
    message.is_none()
}
