//! Handles of a runtime: its workers, and the choice of one for a new task.

use std::fmt;
use std::sync::Arc;

use fiveways_driver::{Counters, Model};

use crate::worker::inbox::Inbox;
use crate::worker::{WorkerSet, with_worker};

/// A local task more than this above the least busy worker is placed there instead.
const SLACK: usize = 16;

/// Spawns tasks on a runtime, from anywhere; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) worker_set: WorkerSet,
    pub(crate) model: Model,
    pub(crate) fell_back: Option<Arc<str>>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workers = self.worker_set.len();
        f.debug_struct("Handle").field("model", &self.model).field("workers", &workers).finish()
    }
}

/// Figures of a runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Live tasks of each worker.
    pub tasks: Vec<usize>,
}

impl Handle {
    pub(crate) fn new(worker_set: WorkerSet, model: Model) -> Handle {
        Handle { worker_set, model, fell_back: None }
    }

    /// Returns the handle of the runtime in which the calling task runs.
    pub fn of_task() -> Option<Handle> {
        with_worker(|worker| {
            let model = worker.driver.borrow().model();
            Handle::new(Arc::clone(&worker.worker_set), model)
        })
    }

    /// Returns the model that its workers wait with; never `auto`.
    pub fn model(&self) -> Model {
        self.model
    }

    /// Returns why `auto` did not take its first choice, if it did not.
    pub fn fell_back(&self) -> Option<&str> {
        self.fell_back.as_deref()
    }

    /// Returns the number of its workers.
    pub fn workers(&self) -> usize {
        self.worker_set.len()
    }

    /// Returns its figures now.
    pub fn stats(&self) -> Stats {
        Stats { tasks: self.worker_set.iter().map(|inbox| inbox.load()).collect() }
    }

    /// Returns the number of the worker with the fewest tasks.
    pub fn least_busy(&self) -> usize {
        let load = |at: &usize| self.worker_set[*at].load();
        (0..self.worker_set.len()).min_by_key(load).unwrap_or(0)
    }

    /// Returns the worker for a new task.
    #[inline]
    pub(crate) fn place(&self) -> &Arc<Inbox> {
        place(&self.worker_set)
    }
}

/// Returns the figures of this worker's driver, if the caller is a task.
pub fn counters() -> Option<Counters> {
    with_worker(|worker| worker.driver.borrow().counters())
}

/// Returns the least busy worker, with a preference for the caller's own.
#[inline]
pub(crate) fn place(worker_set: &WorkerSet) -> &Arc<Inbox> {
    if let [only] = &**worker_set {
        return only;
    }
    let load = |inbox: &Arc<Inbox>| inbox.load();
    let least = worker_set.iter().min_by_key(|inbox| load(inbox)).expect("a runtime has a worker");
    let own = with_worker(|worker| {
        let own = worker_set.iter().find(|inbox| Arc::ptr_eq(inbox, &worker.inbox))?;
        (load(own) <= load(least) + SLACK).then_some(own)
    });
    own.flatten().unwrap_or(least)
}
