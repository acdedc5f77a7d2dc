//! Threads that wake no task: they only look, or have nothing to do.

use std::sync::atomic::{AtomicUsize, Ordering};

use fiveways_sys::generation::PerProcess;

/// A fork has none.
static SERVICE_THREADS: PerProcess<AtomicUsize> = PerProcess::new();

fn service_threads() -> &'static AtomicUsize {
    SERVICE_THREADS.get(AtomicUsize::default)
}

/// Counts the calling thread, while this lives, as one that wakes no task by itself.
#[derive(Debug)]
pub struct ServiceThread(());

impl ServiceThread {
    /// Counts it.
    pub fn enter() -> ServiceThread {
        service_threads().fetch_add(1, Ordering::Relaxed);
        ServiceThread(())
    }

    /// How many there are.
    pub(crate) fn count() -> usize {
        service_threads().load(Ordering::Relaxed)
    }
}

impl Drop for ServiceThread {
    fn drop(&mut self) {
        service_threads().fetch_sub(1, Ordering::Relaxed);
    }
}
