//! What the tests share: waiting for results, and calls that hang.

use std::sync::atomic::{AtomicU32, Ordering};

use fiveways::executor::{Future, FutureError, ProcessPool, SubmitError};
use fiveways_tests::patience::{LONG, eventually};
use rustix::process::Signal;

use crate::functions::hang;
use crate::processes::send;

/// A call that has begun and does not end.
pub(crate) struct Hung {
    pub(crate) future: Future<()>,
    pid: u32,
}

impl Hung {
    pub(crate) fn begin(pool: &ProcessPool) -> Hung {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fiveways-hung-{}-{count}", std::process::id());
        let file = std::env::temp_dir().join(name);
        let future = pool.submit(hang::call(file.clone())).expect("it is open");
        eventually("it begins", || file.exists());
        std::fs::remove_file(&file).expect("it was made");
        let [pid] = pool.processes()[..] else { panic!("one process") };
        Hung { future, pid }
    }

    /// Kills the process, and tells which it was.
    pub(crate) fn kill(&self) -> u32 {
        send(self.pid, Signal::KILL);
        self.pid
    }
}

pub(crate) fn value<T: Clone + Send + 'static>(future: Result<Future<T>, SubmitError>) -> T {
    future.expect("it is open").result_timeout(LONG).expect("it has a value")
}

pub(crate) fn error<T: Clone + Send + 'static>(
    future: Result<Future<T>, SubmitError>,
) -> FutureError {
    match future.expect("it is open").result_timeout(LONG) {
        Ok(_) => panic!("it has a value"),
        Err(error) => error,
    }
}
