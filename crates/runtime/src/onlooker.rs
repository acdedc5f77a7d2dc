//! Threads that wake no task: they only look, or have nothing to do.

use std::sync::atomic::{AtomicUsize, Ordering};

static ONLOOKERS: AtomicUsize = AtomicUsize::new(0);

/// Counts the calling thread, while this lives, as one that wakes no task by itself.
#[derive(Debug)]
pub struct Onlooker(());

impl Onlooker {
    /// Counts it.
    pub fn enter() -> Onlooker {
        ONLOOKERS.fetch_add(1, Ordering::Relaxed);
        Onlooker(())
    }

    /// How many there are.
    pub(crate) fn count() -> usize {
        ONLOOKERS.load(Ordering::Relaxed)
    }
}

impl Drop for Onlooker {
    fn drop(&mut self) {
        ONLOOKERS.fetch_sub(1, Ordering::Relaxed);
    }
}
