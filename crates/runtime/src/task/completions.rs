//! Waiting for the ends of several tasks at once, parked once.
//!
//! ```text
//!   JoinHandle::watch ──▶ observer in the task's packet ──end of the task──▶ tag in the queue
//!                                                                              │ enough?
//!                                                         unpark the waiter ◀──┘
//! ```
//!
//! An observer is told exactly once: by the end of its task, which takes it out of the packet under
//! the packet's lock, or by the watching side, which takes it out under the same lock when it finds
//! the task already ended.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::park::{Unparker, park_for_while_not, spend, unparker};
use crate::reason::Reason;

/// A queue of the tasks that have ended, of those it watches; each by the tag it was given.
///
/// See [`JoinHandle::watch`](crate::JoinHandle::watch).
#[derive(Default)]
pub struct Completions {
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ended: VecDeque<usize>,
    /// Who waits, and for how many to be in the queue.
    waiter: Option<(Unparker, usize)>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; a poisoned queue is still a good queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, tag: usize) {
        let mut state = self.lock();
        state.ended.push_back(tag);
        let enough = state.waiter.as_ref().is_some_and(|(_, count)| state.ended.len() >= *count);
        let waiter = if enough { state.waiter.take() } else { None };
        drop(state);
        if let Some((waiter, _)) = waiter {
            waiter.unpark();
        }
    }
}

impl fmt::Debug for Completions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completions").field("len", &self.len()).finish()
    }
}

impl Completions {
    /// Makes an empty queue that watches nothing.
    pub fn new() -> Completions {
        Completions::default()
    }

    /// How many ends are in the queue.
    pub fn len(&self) -> usize {
        self.queue.lock().ended.len()
    }

    /// Is no end in the queue?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the tag of the task that ended first.
    pub fn pop(&mut self) -> Option<usize> {
        self.queue.lock().ended.pop_front()
    }

    /// Waits until `count` ends are in the queue, or the deadline comes (then: false).
    ///
    /// # Suspends
    ///
    /// Until so many tasks have ended; a plain thread blocks. It is woken once, not once for each.
    ///
    /// # Cancellation
    ///
    /// A cancelled task is unwound from here; the queue goes on watching.
    #[track_caller]
    pub fn wait(&mut self, count: usize, deadline: Option<Instant>) -> bool {
        spend();
        let mut state = self.queue.lock();
        if state.ended.len() >= count {
            return true;
        }
        state.waiter = Some((unparker(), count));
        drop(state);
        let _waiting = Waiting(&self.queue);
        let reason = Reason::new("end of tasks", &*self.queue);
        park_for_while_not(&reason, || self.len() >= count, deadline)
    }

    pub(crate) fn observer(&self, tag: usize) -> Observer {
        Observer { queue: Arc::clone(&self.queue), tag }
    }
}

/// Takes the waiter back, however its wait ends.
struct Waiting<'a>(&'a Queue);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiter = None;
    }
}

/// Tells a queue of one task's end.
pub(crate) struct Observer {
    queue: Arc<Queue>,
    tag: usize,
}

impl Observer {
    pub(crate) fn tell(self) {
        self.queue.tell(self.tag);
    }

    /// Does it tell this queue?
    pub(crate) fn is_of(&self, completions: &Completions) -> bool {
        Arc::ptr_eq(&self.queue, &completions.queue)
    }
}
