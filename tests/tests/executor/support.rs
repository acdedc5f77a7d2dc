//! What the tests of pools share.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

use fiveways::executor::{Future, Sizing, ThreadPool};
use fiveways_tests::patience::{LONG, Watchdog};

/// A pool of so many threads.
pub(crate) fn pool(threads: usize) -> ThreadPool {
    ThreadPool::new(Sizing::Fixed(threads)).expect("not zero")
}

/// Ends the program if the test hangs.
pub(crate) fn in_time() -> Watchdog {
    Watchdog::new(std::thread::current().name().unwrap_or("a test").to_owned(), LONG)
}

/// Work that holds its thread until it is let go.
pub(crate) struct Hold {
    pub(crate) future: Future<()>,
    go: Sender<()>,
}

impl Hold {
    /// Occupies a thread of the pool, and returns when it is occupied.
    pub(crate) fn of(pool: &ThreadPool) -> Hold {
        let (go, gone) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let work = move || {
            tell.send(()).expect("it is awaited");
            let _ = gone.recv();
        };
        let future = pool.submit(work).expect("it is open");
        told.recv().expect("it begins");
        Hold { future, go }
    }

    /// Lets the thread go.
    pub(crate) fn end(self) {
        drop(self.go);
        self.future.result().expect("it does not panic");
    }
}

/// A list that several threads write.
pub(crate) type Log<T> = Arc<Mutex<Vec<T>>>;

/// Adds to the list.
pub(crate) fn note<T>(log: &Log<T>, entry: T) {
    log.lock().expect("nobody panics with it").push(entry);
}

/// What is in the list.
pub(crate) fn noted<T: Clone>(log: &Log<T>) -> Vec<T> {
    log.lock().expect("nobody panics with it").clone()
}

/// Two ends, the far one for work that waits for the near one.
pub(crate) fn gate() -> (Sender<()>, Receiver<()>) {
    mpsc::channel()
}
