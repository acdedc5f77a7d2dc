//! Where a claim is tested, and how it starts others there.

use std::thread;
use std::time::Duration;

use fiveways::runtime::Runtime;
use fiveways::{Model, task};

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
    runtime.expect("a runtime").block_on(claim);
}

/// A thread, or a task where the caller is one.
pub(crate) enum Other<T> {
    Thread(thread::JoinHandle<T>),
    Task(task::JoinHandle<T>),
}

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

pub(crate) fn let_others_go_first() {
    task::yield_now();
}

pub(crate) const SHORT: Duration = Duration::from_millis(5);
pub(crate) const LONG: Duration = Duration::from_secs(40);
pub(crate) const STRESS: usize = if cfg!(debug_assertions) { 2_000 } else { 20_000 };
