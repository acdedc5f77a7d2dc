//! Where a claim is tested, and how it starts others there.

use std::any::Any;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use fiveways::runtime::{Runtime, current};
use fiveways::{Model, task};

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// For what is expected not to happen.
pub(crate) const SHORT: Duration = Duration::from_millis(10);

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
                crate::support::in_tasks(1, super::claims::$name);
            }

            #[test]
            fn from_tasks_of_two_workers() {
                crate::support::in_tasks(2, super::claims::$name);
            }
        }
    )+};
}

pub(crate) fn in_tasks(workers: usize, claim: fn()) {
    let runtime = Runtime::builder().model(Model::Epoll).workers(workers).build();
    runtime.expect("epoll is everywhere").block_on(claim);
}

/// A thread or a task.
pub(crate) enum Handle<T> {
    Thread(thread::JoinHandle<T>),
    Task(task::JoinHandle<T>),
}

/// Starts a thread, or in a task a task, on each worker in turn.
pub(crate) fn go<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Handle<T> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    if !task::in_task() {
        return Handle::Thread(thread::spawn(f));
    }
    let worker = NEXT.fetch_add(1, Ordering::Relaxed) % current().workers();
    Handle::Task(task::Builder::new().worker(worker).spawn(f).expect("there is memory"))
}

impl<T> Handle<T> {
    pub(crate) fn outcome(self) -> Result<T, Box<dyn Any + Send>> {
        match self {
            Handle::Thread(thread) => thread.join(),
            Handle::Task(task) => task.join().map_err(task::JoinError::into_panic),
        }
    }

    pub(crate) fn join(self) -> T {
        self.outcome().expect("it does not panic")
    }
}
