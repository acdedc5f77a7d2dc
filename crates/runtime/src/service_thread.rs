//! Threads that wake no task: they only look, or have nothing to do.

use std::sync::atomic::{AtomicUsize, Ordering};

use fiveways_sys::generation::PerProcess;

/// A fork has none.
static ONLOOKERS: PerProcess<AtomicUsize> = PerProcess::new();

fn onlookers() -> &'static AtomicUsize {
    ONLOOKERS.get(AtomicUsize::default)
}

/// Counts the calling thread, while this lives, as one that wakes no task by itself.
#[derive(Debug)]
pub struct Onlooker(());

impl Onlooker {
    /// Counts it.
    pub fn enter() -> Onlooker {
        onlookers().fetch_add(1, Ordering::Relaxed);
        Onlooker(())
    }

    /// How many there are.
    pub(crate) fn count() -> usize {
        onlookers().load(Ordering::Relaxed)
    }
}

impl Drop for Onlooker {
    fn drop(&mut self) {
        onlookers().fetch_sub(1, Ordering::Relaxed);
    }
}
