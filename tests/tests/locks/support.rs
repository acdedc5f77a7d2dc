//! Where these tests run.

use fiveways::Model;
use fiveways::runtime::Runtime;
use fiveways::task;
use fiveways_tests::patience::{LONG, Watchdog};

/// Runs a test as a task among workers of its own.
pub(crate) fn in_tasks<T: Send + 'static>(
    workers: usize,
    test: impl FnOnce() -> T + Send + 'static,
) -> T {
    let _watchdog = Watchdog::new("a test of locks".to_owned(), 4 * LONG);
    let runtime = Runtime::builder().model(Model::Epoll).workers(workers).build();
    runtime.expect("epoll is everywhere").block_on(test)
}

/// Lets all other tasks of the one worker run until they wait, or have had some turns.
pub(crate) fn let_others_run() {
    (0..8).for_each(|_| task::yield_now());
}
