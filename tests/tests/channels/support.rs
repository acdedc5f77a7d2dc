//! Where a claim is tested: on plain threads, or in tasks.

use std::thread;

use fiveways::runtime::Runtime;
use fiveways::{Model, inspect, task};

/// Makes three tests of each claim.
macro_rules! everywhere {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn from_threads() {
                super::claims::$name();
            }

            #[test]
            fn from_tasks_of_one_worker() {
                $crate::support::in_tasks(1, super::claims::$name);
            }

            #[test]
            fn from_tasks_of_two_workers() {
                $crate::support::in_tasks(2, super::claims::$name);
            }
        }
    )+};
}

pub(crate) use everywhere;

/// Runs a claim in a task of a new runtime.
pub(crate) fn in_tasks(workers: usize, claim: fn()) {
    let runtime = Runtime::builder().model(Model::Epoll).workers(workers).build();
    runtime.expect("a runtime").block_on(claim);
}

/// Starts a task of a runtime.
pub(crate) fn spawn_in<T: Send + 'static>(
    runtime: &Runtime,
    f: impl FnOnce() -> T + Send + 'static,
) -> task::JoinHandle<T> {
    runtime.block_on(move || task::spawn(f))
}

/// A thread, or a task where the caller is one.
pub(crate) enum Other<T> {
    Thread(thread::JoinHandle<T>),
    Task(task::JoinHandle<T>),
}

/// Starts a thread, or a task where the caller is one.
pub(crate) fn other<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Other<T> {
    if task::in_task() { Other::Task(task::spawn(f)) } else { Other::Thread(thread::spawn(f)) }
}

impl<T> Other<T> {
    pub(crate) fn join(self) -> T {
        match self {
            Other::Thread(thread) => thread.join().expect("the thread does not panic"),
            Other::Task(task) => task.join().expect("the task does not panic"),
        }
    }
}

/// Returns when this many tasks and threads of the process wait for `what`, as a dump tells it.
pub(crate) fn until_waiting(what: &str, count: usize) {
    let options = inspect::Options::new().backtraces(false);
    loop {
        let dump = inspect::dump_with(&options);
        let workers = dump.runtimes.iter().flat_map(|runtime| &runtime.workers);
        let tasks = workers.flat_map(|worker| &worker.tasks).filter_map(|task| task.wait.as_ref());
        let waits = tasks.chain(dump.threads.iter().map(|thread| &thread.wait));
        if waits.filter(|wait| wait.what == what).count() >= count {
            return;
        }
        task::yield_now();
    }
}

/// How often something heavy is done: all of it in release, a part in debug, or as
/// `FIVEWAYS_HEAVY` says in percent.
pub(crate) fn heavy(full: usize) -> usize {
    let percent = std::env::var("FIVEWAYS_HEAVY").ok().and_then(|value| value.parse().ok());
    let percent = percent.unwrap_or(if cfg!(debug_assertions) { 2 } else { 100 });
    (full * percent / 100).max(1)
}
