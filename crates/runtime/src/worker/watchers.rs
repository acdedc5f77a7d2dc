//! Watchdogs that sleep while no worker works, and their waking by the first worker that does.
//!
//! A watchdog announces that it is going to sleep, and looks at the workers once more after a pause
//! that is far longer than a store takes to be seen. A worker first writes into its status that it
//! is awake, then looks whether a watchdog has announced itself. So the watchdog's last look sees
//! that worker awake, or the worker wakes the watchdog; and a worker pays one load for it, each
//! time that it was asleep.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};

use fiveways_sys::lock::{Mutex, MutexGuard};
use fiveways_sys::process::generation::PerProcess;

/// Whether the list has entries. Written under its lock. In a fork perhaps wrong, until the first
/// worker wakes up.
static IS_ANY: AtomicBool = AtomicBool::new(false);

static ASLEEP: PerProcess<Mutex<Vec<Arc<Sleeper>>>> = PerProcess::new();

fn lock() -> MutexGuard<'static, Vec<Arc<Sleeper>>> {
    ASLEEP.get(Mutex::default).lock()
}

/// A watchdog that is about to sleep.
#[derive(Debug)]
pub(crate) struct Sleeper {
    thread: Thread,
    /// Whether a worker has woken up. false → true, by that worker.
    is_over: AtomicBool,
}

impl Sleeper {
    /// Announces that the calling thread is going to sleep until a worker works.
    pub(crate) fn announce() -> Arc<Sleeper> {
        let here = Sleeper { thread: thread::current(), is_over: AtomicBool::new(false) };
        let here = Arc::new(here);
        let mut asleep = lock();
        asleep.push(Arc::clone(&here));
        IS_ANY.store(true, Ordering::Relaxed);
        here
    }

    /// Returns `true` if a worker has woken up since.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

/// Wakes the watchdogs that sleep; to be called by a worker that has noted that it is awake.
#[inline]
pub(crate) fn wake() {
    if IS_ANY.load(Ordering::Relaxed) {
        wake_all();
    }
}

#[cold]
fn wake_all() {
    let mut asleep = lock();
    IS_ANY.store(false, Ordering::Relaxed);
    let woken = mem::take(&mut *asleep);
    drop(asleep);
    for sleeper in woken {
        sleeper.is_over.store(true, Ordering::Relaxed);
        sleeper.thread.unpark();
    }
}
