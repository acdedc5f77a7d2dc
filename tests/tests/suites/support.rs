//! Where a claim is tested: on plain threads, in tasks of several models, and among both.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use fiveways::runtime::Runtime;
use fiveways::{Model, task};
use fiveways_tests::stage;

/// What is waited for in vain.
pub(crate) const SHORT: Duration = Duration::from_millis(5);

/// Longer than anything here takes.
pub(crate) const LONG: Duration = fiveways_tests::patience::LONG;

/// Makes a test of each claim for each place.
macro_rules! everywhere {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn from_threads() {
                $crate::support::on_threads(stringify!($name), |_| super::$name());
            }

            #[test]
            fn from_tasks_on_epoll() {
                let model = fiveways::Model::Epoll;
                $crate::support::on(stringify!($name), model, |model| {
                    $crate::support::in_tasks(model, 1, super::$name);
                });
            }

            #[test]
            fn from_tasks_on_uring() {
                let model = fiveways::Model::Uring;
                $crate::support::on(stringify!($name), model, |model| {
                    $crate::support::in_tasks(model, 2, super::$name);
                });
            }

            #[test]
            fn from_tasks_on_poll_and_threads() {
                let model = fiveways::Model::Poll;
                $crate::support::on(stringify!($name), model, |model| {
                    $crate::support::among_both(model, super::$name);
                });
            }
        }
    )+};
}

/// Makes tests of each claim in tasks only: for what plain threads cannot do.
macro_rules! among_tasks {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn on_epoll() {
                let model = fiveways::Model::Epoll;
                $crate::support::on(stringify!($name), model, |model| {
                    $crate::support::in_tasks(model, 1, super::$name);
                });
            }

            #[test]
            fn on_uring() {
                let model = fiveways::Model::Uring;
                $crate::support::on(stringify!($name), model, |model| {
                    $crate::support::in_tasks(model, 2, super::$name);
                });
            }

            #[test]
            fn on_select() {
                let model = fiveways::Model::Select;
                $crate::support::on(stringify!($name), model, |model| {
                    $crate::support::in_tasks(model, 1, super::$name);
                });
            }
        }
    )+};
}

pub(crate) use {among_tasks, everywhere};

/// What [`other`] starts: only the like of its caller, or both in turn.
static TURN: AtomicUsize = AtomicUsize::new(ALIKE);

const ALIKE: usize = usize::MAX;

/// Runs a claim on the test's thread, and looks for what it has left behind.
pub(crate) fn on_threads(name: &str, claim: fn(Model)) {
    on(name, Model::Threads, claim);
}

/// Runs a claim where a model is needed, and looks for what it has left behind.
pub(crate) fn on(name: &str, model: Model, claim: fn(Model)) {
    // The runtime for tasks of plain threads stays, once it is there.
    task::spawn(|| ()).join().unwrap();
    stage::run(name, model, claim);
}

/// Runs a claim in a task of a new runtime.
pub(crate) fn in_tasks(model: Model, workers: usize, claim: fn()) {
    let runtime = Runtime::builder().model(model).workers(workers).build();
    runtime.unwrap().block_on(claim);
}

/// Runs a claim in a task, with every other of its others a plain thread.
pub(crate) fn among_both(model: Model, claim: fn()) {
    // Tests of one process come one after the other: `stage` sees to that.
    TURN.store(0, Ordering::Relaxed);
    in_tasks(model, 1, claim);
    TURN.store(ALIKE, Ordering::Relaxed);
}

/// A thread or a task.
pub(crate) enum Other<T> {
    Thread(thread::JoinHandle<T>),
    Task(task::JoinHandle<T>),
}

/// Starts a thread, or a task where the caller is one; where both are tested, one or the other.
pub(crate) fn other<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Other<T> {
    let both = TURN.load(Ordering::Relaxed) != ALIKE;
    let odd = both && TURN.fetch_add(1, Ordering::Relaxed) % 2 == 1;
    if task::in_task() && !odd {
        Other::Task(task::spawn(f))
    } else {
        Other::Thread(thread::spawn(f))
    }
}

/// Starts so many, with their numbers.
pub(crate) fn others<T: Send + 'static>(
    count: usize,
    f: impl Fn(usize) -> T + Clone + Send + 'static,
) -> Vec<Other<T>> {
    let start = |number| {
        let f = f.clone();
        other(move || f(number))
    };
    (0..count).map(start).collect()
}

impl<T> Other<T> {
    /// Its value.
    #[track_caller]
    pub(crate) fn join(self) -> T {
        self.outcome().unwrap_or_else(|_| panic!("it has panicked"))
    }

    /// Its value, if it has not panicked.
    pub(crate) fn outcome(self) -> Result<T, ()> {
        match self {
            Other::Thread(thread) => {
                // It may wait for tasks of this worker, which must not be held up.
                while task::in_task() && !thread.is_finished() {
                    task::yield_now();
                }
                thread.join().map_err(drop)
            }
            Other::Task(task) => task.join().map_err(drop),
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        match self {
            Other::Thread(thread) => thread.is_finished(),
            Other::Task(task) => task.is_finished(),
        }
    }
}

/// All values.
pub(crate) fn joined<T>(others: impl IntoIterator<Item = Other<T>>) -> Vec<T> {
    others.into_iter().map(Other::join).collect()
}

/// Gives others the time to come to where they wait. Claims hold whether they have or not.
pub(crate) fn let_others_wait() {
    for _ in 0..60 {
        pause();
    }
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let end = std::time::Instant::now() + LONG;
    while !holds() {
        assert!(std::time::Instant::now() < end, "never happened: {what}");
        pause();
    }
}

/// Lets one other go on.
pub(crate) fn pause() {
    if task::in_task() { task::yield_now() } else { thread::yield_now() }
}

/// How often something heavy is done: all of it in release, a part in debug.
pub(crate) fn heavy(full: usize) -> usize {
    (if cfg!(debug_assertions) { full / 20 } else { full }).max(1)
}
