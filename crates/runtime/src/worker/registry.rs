//! The registry of this process's runtimes.

use std::sync::{Arc, Weak};

use fiveways_sys::lock::{Mutex, MutexGuard};
use fiveways_sys::process::generation::PerProcess;

use crate::worker::WorkerSet;
use crate::worker::inbox::Inbox;

/// A runtime, with the numbers of its workers, which are consecutive.
struct Entry {
    first: u32,
    worker_set: Weak<[Arc<Inbox>]>,
}

/// A fork has none of their threads, and may find the lock held, so it starts with an empty list.
static RUNTIMES: PerProcess<Mutex<Vec<Entry>>> = PerProcess::new();

fn lock() -> MutexGuard<'static, Vec<Entry>> {
    RUNTIMES.get(Mutex::default).lock()
}

/// Adds a runtime; its entry is dropped when its worker set is.
pub(crate) fn add(worker_set: &WorkerSet) {
    let Some(first) = worker_set.first() else { return };
    let mut worker_sets = lock();
    worker_sets.retain(|entry| entry.worker_set.strong_count() > 0);
    worker_sets.push(Entry { first: first.index, worker_set: Arc::downgrade(worker_set) });
}

/// Returns the live runtimes, oldest first. Some of their workers may have ended.
pub(crate) fn all() -> Vec<WorkerSet> {
    lock().iter().filter_map(|entry| entry.worker_set.upgrade()).collect()
}

/// Returns the inbox of the worker of this number in its set.
#[inline]
pub(crate) fn member(worker_set: &[Arc<Inbox>], number: u32) -> Option<&Arc<Inbox>> {
    let place = number.checked_sub(worker_set.first()?.index)?;
    worker_set.get(place as usize)
}

/// Returns the set that the worker of this number belongs to, if its runtime lives.
pub(crate) fn with(number: u32) -> Option<WorkerSet> {
    let worker_sets = lock();
    let before = worker_sets.iter().filter(|entry| entry.first <= number);
    let worker_set = before.max_by_key(|entry| entry.first)?.worker_set.upgrade();
    drop(worker_sets);
    worker_set
}

/// Returns the worker set that a worker belongs to.
pub(crate) fn of(inbox: &Arc<Inbox>) -> Option<WorkerSet> {
    all().into_iter().find(|worker_set| worker_set.iter().any(|other| Arc::ptr_eq(other, inbox)))
}

/// Returns the inbox of the worker of this number, while its runtime lives.
pub(crate) fn inbox_of(worker: u32) -> Option<Arc<Inbox>> {
    let worker_set = with(worker)?;
    member(&worker_set, worker).cloned()
}
