//! Threads that wake no task: they only observe, or are idle.

use std::sync::atomic::{AtomicUsize, Ordering};

use fiveways_sys::process::generation::PerProcess;

/// A fork has none of them, so it counts from 0.
static SERVICE_THREADS: PerProcess<AtomicUsize> = PerProcess::new();

fn service_threads() -> &'static AtomicUsize {
    SERVICE_THREADS.get(AtomicUsize::default)
}

/// Counts the calling thread, while this lives, as one that wakes no task by itself.
#[derive(Debug)]
pub struct ServiceThread(());

impl ServiceThread {
    /// Counts the calling thread.
    pub fn enter() -> ServiceThread {
        service_threads().fetch_add(1, Ordering::Relaxed);
        ServiceThread(())
    }

    /// Returns the number of service threads.
    pub(crate) fn count() -> usize {
        service_threads().load(Ordering::Relaxed)
    }
}

impl Drop for ServiceThread {
    fn drop(&mut self) {
        service_threads().fetch_sub(1, Ordering::Relaxed);
    }
}
