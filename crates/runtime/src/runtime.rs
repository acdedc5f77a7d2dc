//! The runtime: starting workers, placing tasks, ending.

use std::fmt;
use std::io;
use std::mem;
use std::panic::Location;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use fiveways_coro::StackPool;
use fiveways_driver::{Driver, Model, Opened, Options};
use fiveways_sys::lock::Mutex;
use fiveways_sys::process::generation::{PerProcess, generation};

use crate::clock;
use crate::dump_data::LostTask;
use crate::identity::Identity;
use crate::inspect::format::count;
use crate::inspect::watchdog::{Watched, watch_workers};
use crate::park::limits::in_any_case;
use crate::park::{in_task, sleep_until};
use crate::task::spawn::Spawn;
use crate::worker::handle::Handle;
use crate::worker::inbox::{Inbox, Message};
use crate::worker::registry;
use crate::worker::{Worker, WorkerSet, with_worker};

static NEXT_WORKER: AtomicU32 = AtomicU32::new(1);

/// The most workers of one runtime.
const WORKERS_MAX: usize = 1 << 16;

/// Reserves consecutive numbers for so many workers, that no worker has had.
fn claim_numbers(count: usize) -> io::Result<std::ops::Range<u32>> {
    if count > WORKERS_MAX {
        let message = format!("{count} workers are more than the {WORKERS_MAX} there may be");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let count = count as u32;
    let end = |first: u32| first.checked_add(count).filter(|end| *end <= Identity::WORKERS);
    let claimed = NEXT_WORKER.fetch_update(Ordering::Relaxed, Ordering::Relaxed, end);
    let first = claimed.map_err(|first| {
        let left = Identity::WORKERS - first;
        io::Error::other(format!("of the numbers of workers {left} are left, {count} are needed"))
    })?;
    Ok(first..first + count)
}

/// The first and the longest pause between two looks at workers that are to end.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

/// The settings of a [`Runtime`].
#[derive(Clone, Debug)]
pub struct Builder {
    model: Model,
    driver: Option<DriverFactory>,
    workers: usize,
    stack_size: usize,
    spin: Duration,
    reports_lost: bool,
    watchdog: Option<Duration>,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl Builder {
    /// Bytes reserved for each task's stack by default.
    pub const DEFAULT_STACK_SIZE: usize = 256 * 1024;

    /// How long a worker spins before sleeping by default, while that pays.
    pub const DEFAULT_SPIN: Duration = Duration::from_micros(50);

    /// Creates the default: `auto`, one worker, 256 KiB stacks, adaptive spin of at most 50 µs.
    pub fn new() -> Builder {
        Builder {
            model: Model::Auto,
            driver: None,
            workers: 1,
            stack_size: Builder::DEFAULT_STACK_SIZE,
            spin: Builder::DEFAULT_SPIN,
            reports_lost: false,
            watchdog: None,
        }
    }

    /// Sets the model; one of the cooperative ones.
    pub fn model(mut self, model: Model) -> Builder {
        self.model = model;
        self
    }

    /// Sets a factory of drivers: each worker calls it on its own thread, and waits with the driver
    /// that it returns instead of that of a model.
    ///
    /// So a driver may wrap another one, count operations, or own the time of its worker's tasks
    /// ([`Driver::clock`]).
    pub fn driver(
        mut self,
        factory: impl Fn() -> io::Result<Box<dyn Driver>> + Send + Sync + 'static,
    ) -> Builder {
        self.driver = Some(DriverFactory(Arc::new(factory)));
        self
    }

    /// Sets the number of workers (threads); at least one, and 65,536 at most.
    pub fn workers(mut self, workers: usize) -> Builder {
        self.workers = workers.max(1);
        self
    }

    /// Sets the bytes reserved for each task's stack; memory is only used as it is touched.
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = bytes;
        self
    }

    /// Sets the longest spin before sleeping; zero turns spinning off.
    pub fn spin(mut self, limit: Duration) -> Builder {
        self.spin = limit;
        self
    }

    /// Watches the workers of the whole process: reports on stderr a worker that has not returned
    /// to its scheduler for this long, with the task that computes or blocks the thread. Zero turns
    /// it off.
    ///
    /// Builds with debug assertions watch by default, with a limit of one second. See
    /// [`watch_workers`](crate::watch_workers); the limit that was set last applies.
    pub fn watchdog(mut self, limit: Duration) -> Builder {
        self.watchdog = Some(limit);
        self
    }

    /// Reports on stderr, when the runtime is dropped, the tasks that the drop cancels.
    ///
    /// [`Runtime::shutdown`] returns them as data.
    pub fn report_lost_tasks(mut self, report: bool) -> Builder {
        self.reports_lost = report;
        self
    }

    /// The most workers that a runtime may have: each is a thread with a driver of its own.
    pub const MOST_WORKERS: usize = 4_096;

    fn check(&self) -> io::Result<()> {
        let (count, most) = (self.workers, Builder::MOST_WORKERS);
        if count > most {
            let message = format!("{count} workers are requested; the maximum is {most}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(())
    }

    /// Starts the workers.
    ///
    /// # Errors
    ///
    /// An error if the model is not available here (the message says what is missing), is not a
    /// cooperative one, or a thread cannot be started; an error of the factory of
    /// [`Builder::driver`]; `InvalidInput` for more workers than [`Builder::MOST_WORKERS`]. A
    /// process can start some four million workers in its life.
    pub fn build(self) -> io::Result<Runtime> {
        self.check()?;
        let numbers = claim_numbers(self.workers)?;
        let worker_set: WorkerSet = numbers.map(|number| Arc::new(Inbox::new(number))).collect();
        fiveways_coro::install_overflow_handler()?;
        if let Some(limit) = self.watchdog {
            watch_workers(limit)?;
        }
        // The first reading initialises the clock: done here rather than in a worker's first round.
        clock::coarse_ms();
        let (tx, rx) = mpsc::channel();
        let mut runtime = Runtime::new(Handle::new(worker_set, self.model), self.reports_lost);
        for place in 0..self.workers {
            let (worker_set, tx, how) =
                (Arc::clone(&runtime.handle.worker_set), tx.clone(), self.clone());
            let name = format!("fiveways-{place}");
            let thread = thread::Builder::new()
                .name(name)
                .spawn(move || work(worker_set, place, &how, &tx))?;
            runtime.threads.lock().push(thread);
        }
        drop(tx);
        registry::add(&runtime.handle.worker_set);
        // Each worker reports once; on the first error the drop of `runtime` ends the others.
        for _ in 0..self.workers {
            let lost = || io::Error::other("a worker ended before it began");
            let (model, fell_back) = rx.recv().map_err(|_| lost())??;
            runtime.handle.model = model;
            runtime.handle.fell_back = fell_back;
        }
        Ok(runtime)
    }
}

/// Creates the driver of a worker.
#[derive(Clone)]
struct DriverFactory(Arc<dyn Fn() -> io::Result<Box<dyn Driver>> + Send + Sync>);

impl fmt::Debug for DriverFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriverFactory").finish_non_exhaustive()
    }
}

/// Opens the driver of a worker, on its thread.
fn open(how: &Builder) -> io::Result<Opened> {
    match &how.driver {
        Some(factory) => Ok(Opened { driver: factory.0()?, fell_back: None }),
        None => fiveways_driver::open(how.model, &Options::default()),
    }
}

type Started = io::Result<(Model, Option<Arc<str>>)>;

/// The main function of a worker's thread.
fn work(worker_set: WorkerSet, place: usize, how: &Builder, tx: &mpsc::Sender<Started>) {
    let opened = fiveways_coro::prepare_thread().and_then(|()| open(how));
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => {
            drop(worker_set[place].close());
            let _ = tx.send(Err(error));
            return;
        }
    };
    let started = (opened.driver.model(), opened.fell_back.map(Arc::from));
    let stacks = StackPool::new(how.stack_size);
    let worker = Worker::new(worker_set, place, opened.driver, stacks, how.spin);
    let _ = tx.send(Ok(started));
    if let Err(error) = worker.run() {
        // The driver itself is broken (its selector was closed by other code): no task of this
        // worker can go on, and their stacks must not be freed under them.
        eprintln!("fiveways: worker {place} cannot wait any more: {error}");
        std::process::abort();
    }
}

/// Workers that run tasks; ends them when dropped.
pub struct Runtime {
    handle: Handle,
    /// The generation of the process that has its threads.
    process: u64,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
    reports_lost: bool,
    /// Dropped when the workers have ended.
    _watched: Watched,
}

/// The tasks that the end of a runtime has cancelled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The tasks that had not ended, and were cancelled.
    pub lost: Vec<LostTask>,
}

/// Writes one line for each lost task.
impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lost.iter().try_for_each(|task| writeln!(f, "{task}"))
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl Runtime {
    fn new(handle: Handle, reports_lost: bool) -> Runtime {
        let (process, threads) = (generation(), Mutex::default());
        Runtime { handle, process, threads, reports_lost, _watched: Watched::begin() }
    }

    /// Returns the default settings of a runtime.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Returns the runtime that plain threads use when they spawn. It is started on first use with
    /// the model `auto` and a worker for each processor, and never ended. A fork has one of its
    /// own.
    ///
    /// # Panics
    ///
    /// If it cannot be started because no thread or no descriptor is left.
    pub fn global() -> &'static Runtime {
        // A fork has none of its threads, so it starts another one.
        static GLOBAL: PerProcess<OnceLock<Runtime>> = PerProcess::new();
        GLOBAL.get(OnceLock::new).get_or_init(|| {
            let workers = thread::available_parallelism().map_or(1, usize::from);
            let built = Runtime::builder().workers(workers).build();
            built.unwrap_or_else(|error| panic!("the global runtime could not be started: {error}"))
        })
    }

    /// Returns a handle for spawning.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs `f` as a task and blocks the calling thread until it has ended.
    ///
    /// # Panics
    ///
    /// With the task's panic; also if there is no stack for it.
    #[track_caller]
    pub fn block_on<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> T {
        let here = Location::caller();
        let spawned = Spawn::new().name("main").spawn_on(&self.handle.worker_set[0], here, f);
        let handle = spawned.unwrap_or_else(|error| panic!("block_on could not spawn: {error}"));
        handle.join().unwrap_or_else(|error| error.resume())
    }
}

impl Runtime {
    /// Ends the runtime as dropping it does, and returns the tasks that were cancelled: those that
    /// had not ended, joined or not.
    ///
    /// # Suspends
    ///
    /// Until all tasks have ended; a plain thread blocks.
    ///
    /// # Panics
    ///
    /// In a task of this very runtime, which cannot wait for its own end; the runtime ends.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let runtime = fiveways_runtime::Runtime::builder().build()?;
    /// let at = std::time::Instant::now() + std::time::Duration::from_secs(60);
    /// let spawn = fiveways_runtime::Spawn::new().name("sleeper");
    /// drop(spawn.spawn(runtime.handle(), move || fiveways_runtime::sleep_until(at))?);
    /// assert_eq!(runtime.shutdown().lost[0].name, "sleeper");
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown(mut self) -> ShutdownReport {
        assert!(!self.is_own(), "a runtime cannot be shut down by a task of its own");
        self.list_lost();
        self.end();
        self.take_lost()
    }

    /// Cancels every task and waits for the workers, once.
    fn end(&mut self) {
        // A fork has none of the threads: they go on in the parent, and the handles here are of no
        // thread.
        if self.process != generation() {
            mem::forget(mem::take(self.threads.get_mut()));
            return;
        }
        for inbox in self.handle.worker_set.iter() {
            // An error means that the worker has ended already.
            let _ = inbox.send(Message::Shutdown);
        }
        if self.is_own() {
            return;
        }
        let threads = mem::take(self.threads.get_mut());
        // A task of another runtime lets its worker go on meanwhile. This needs no helper thread:
        // there may be none.
        in_any_case(|| {
            let mut pause = FIRST_PAUSE;
            while in_task() && !threads.iter().all(thread::JoinHandle::is_finished) {
                sleep_until(clock::now() + pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        });
        for thread in threads {
            // The panic hook has reported its panic on stderr.
            let _ = thread.join();
        }
    }

    /// Returns `true` if the caller runs on one of its workers.
    fn is_own(&self) -> bool {
        with_worker(|worker| Arc::ptr_eq(&worker.worker_set, &self.handle.worker_set)) == Some(true)
    }

    /// Requests that the workers list the tasks that they cancel.
    fn list_lost(&self) {
        for inbox in self.handle.worker_set.iter() {
            *inbox.lost.lock() = Some(Vec::new());
        }
    }

    fn take_lost(&self) -> ShutdownReport {
        let take = |inbox: &Arc<Inbox>| inbox.lost.lock().take().unwrap_or_default();
        ShutdownReport { lost: self.handle.worker_set.iter().flat_map(take).collect() }
    }

    fn report_lost_tasks(&self) {
        let ended = self.take_lost();
        if !ended.lost.is_empty() {
            let tasks = count(ended.lost.len(), "task");
            eprint!("\nfiveways: {tasks} cancelled by the end of the runtime:\n{ended}");
        }
    }
}

impl Drop for Runtime {
    /// Cancels every task and waits for the workers to end, unless called from one of them. In a
    /// task of another runtime it suspends that task.
    fn drop(&mut self) {
        if self.reports_lost {
            self.list_lost();
        }
        self.end();
        if self.reports_lost {
            self.report_lost_tasks();
        }
    }
}

/// Returns the handle of the runtime in which the calling task runs; on a plain thread, that of the
/// global runtime.
///
/// # Panics
///
/// As [`Runtime::global`].
pub fn current() -> Handle {
    Handle::of_task().unwrap_or_else(|| Runtime::global().handle.clone())
}
