//! Waiting for the ends of several tasks at once, parked once.
//!
//! ```text
//!   JoinHandle::watch ──▶ observer in the task's packet ──end of the task──▶ tag in the queue
//!                                                                              │ enough?
//!                                                         unpark the waiter ◀──┘
//! ```
//!
//! # Invariants
//!
//! Tests are in the workspace's `tests/task_toolbox/joins.rs`.
//!
//! 1. An observer reports the end of its task exactly once. It is taken out of the packet under the
//!    packet's lock: by the end of the task, or by the watching side if that finds the task already
//!    ended (`no_end_is_missed_heavy`).
//! 2. Each queue has observers of its own: several queues may watch the same task
//!    (`several_may_wait_for_the_same_tasks`).
//! 3. A waiter is in the queue only during its own wait, and is unparked once, when enough tasks
//!    have ended (`wait_any_gives_the_first_that_ends`, `join_all_waits_for_all`).
//! 4. A wait that is unwound takes its waiter back and leaves the watched tasks alone
//!    (`a_cancelled_wait_for_all_leaves_the_tasks_alone`).

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use fiveways_sys::lock::Mutex;

use crate::park::{Unparker, park_for_while_not, spend, unparker};
use crate::reason::Reason;

/// A queue of those of the watched tasks that have ended, each by the tag it was given.
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
    /// The waiter, and how many ends it waits for.
    waiter: Option<(Unparker, usize)>,
}

impl Queue {
    fn notify(&self, tag: usize) {
        let mut state = self.state.lock();
        state.ended.push_back(tag);
        let enough = state.waiter.as_ref().is_some_and(|(_, count)| state.ended.len() >= *count);
        let waiter = if enough { state.waiter.take() } else { None };
        drop(state);
        if let Some((waiter, _)) = waiter {
            waiter.unpark();
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("tag", &self.tag).finish_non_exhaustive()
    }
}

impl fmt::Debug for Completions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completions").field("len", &self.len()).finish()
    }
}

impl Completions {
    /// Creates an empty queue that watches nothing.
    pub fn new() -> Completions {
        Completions::default()
    }

    /// Returns the number of ends in the queue.
    pub fn len(&self) -> usize {
        self.queue.state.lock().ended.len()
    }

    /// Returns `true` if no end is in the queue.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the tag of the task that ended first.
    pub fn pop(&self) -> Option<usize> {
        self.queue.state.lock().ended.pop_front()
    }

    /// Waits until `count` ends are in the queue; returns `false` if the deadline came first.
    ///
    /// # Suspends
    ///
    /// Until that many tasks have ended; a plain thread blocks. The waiter is woken once, not once
    /// for each.
    ///
    /// # Cancellation
    ///
    /// A cancelled task is unwound from here; the queue goes on watching.
    #[track_caller]
    pub fn wait(&mut self, count: usize, deadline: Option<Instant>) -> bool {
        spend();
        let reason = Reason::new("end of tasks", &*self.queue);
        self.wait_for(&reason, count, deadline)
    }

    /// As [`wait`](Completions::wait), with a reason that dumps show. One caller waits at a time.
    pub fn wait_for(&self, reason: &Reason<'_>, count: usize, deadline: Option<Instant>) -> bool {
        let mut state = self.queue.state.lock();
        if state.ended.len() >= count {
            return true;
        }
        state.waiter = Some((unparker(), count));
        drop(state);
        let _waiting = Waiting(&self.queue);
        park_for_while_not(reason, || self.len() >= count, deadline)
    }

    /// Creates an observer that puts this tag into the queue.
    pub fn observer(&self, tag: usize) -> Observer {
        Observer { queue: Arc::clone(&self.queue), tag }
    }
}

/// Takes the waiter out of the queue, however its wait ends.
struct Waiting<'a>(&'a Queue);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state.lock().waiter = None;
    }
}

/// Reports one end to a queue.
pub struct Observer {
    queue: Arc<Queue>,
    tag: usize,
}

impl Observer {
    /// Puts the tag into the queue, and unparks the waiter if it has waited for no more.
    pub fn notify(self) {
        self.queue.notify(self.tag);
    }

    /// Returns `true` if this observer reports to that queue.
    pub fn is_of(&self, completions: &Completions) -> bool {
        Arc::ptr_eq(&self.queue, &completions.queue)
    }
}

#[cfg(test)]
mod tests {
    use crate::clock;

    use super::*;

    #[test]
    fn an_end_before_the_wait_is_there() {
        let ends = Completions::new();
        ends.observer(3).notify();
        ends.observer(4).notify();
        let wait = |until| {
            ends.wait_for(&Reason::new("test", &ends), 1, until);
            ends.pop()
        };
        assert_eq!([wait(None), wait(None)], [Some(3), Some(4)]);
        assert_eq!(wait(Some(clock::machine())), None);
        assert!(ends.queue.state.lock().waiter.is_none(), "nobody waits any more");
    }
}
