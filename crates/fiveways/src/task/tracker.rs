//! The live tasks of a group, a pool or a scope.
//!
//! ```text
//!   enter ──▶ coming ──begin──▶ inside ──Member dropped──▶ (gone)
//!               └───────────dropped unrun─────────────────────┘
//! ```
//!
//! A member counts from `enter`, in its creator, until its [`Member`] is dropped, which is the last
//! part of it: at its own end, or when a task that never began is dropped. Cancelling reaches the
//! members of that moment: those running by their cancellers, the others when they begin.

use std::any::Any;
use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use fiveways_runtime::{
    Canceller, Reason, Unparker, canceller, park_for_while_not, spend, unparker, worker_index,
};
use fiveways_sys::lock::Mutex;

/// The set of live tasks that belong together.
#[derive(Default)]
pub(super) struct TaskTracker {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The members; each with its canceller once it has begun.
    members: BTreeMap<u64, Option<Canceller>>,
    /// The id of the next member.
    next: u64,
    /// Members with smaller ids are cancelled.
    cancelled_below: u64,
    /// The threads and tasks that wait until there is no member, by ids of their own.
    waiting: BTreeMap<u64, Unparker>,
    /// The payload of the first panic.
    failure: Option<Box<dyn Any + Send>>,
}

impl std::fmt::Debug for TaskTracker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskTracker").field("members", &self.len()).finish_non_exhaustive()
    }
}

impl TaskTracker {
    /// Adds a new member.
    pub(super) fn enter(self: &Arc<TaskTracker>) -> Member {
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        state.members.insert(number, None);
        Member { tracker: Arc::clone(self), number }
    }

    /// Returns the number of members.
    pub(super) fn len(&self) -> usize {
        self.state.lock().members.len()
    }

    /// Cancels all present members.
    pub(super) fn cancel(&self) {
        let next = self.state.lock().next;
        self.cancel_below(next);
    }

    /// Cancels all members, and those that are added later.
    pub(super) fn close(&self) {
        self.cancel_below(u64::MAX);
    }

    fn cancel_below(&self, number: u64) {
        let mut state = self.state.lock();
        state.cancelled_below = state.cancelled_below.max(number);
        let cancellers: Vec<_> = state.members.values().flatten().cloned().collect();
        drop(state);
        for canceller in cancellers {
            canceller.cancel();
        }
    }

    /// Keeps the payload of a member's panic, if it is the first.
    pub(super) fn fail(&self, payload: Box<dyn Any + Send>) {
        let mut state = self.state.lock();
        let later =
            if state.failure.is_none() { state.failure.replace(payload) } else { Some(payload) };
        // Its destructor is the user's.
        drop(state);
        drop(later);
    }

    /// Takes the payload of the first panic.
    pub(super) fn take_failure(&self) -> Option<Box<dyn Any + Send>> {
        self.state.lock().failure.take()
    }

    /// Waits until it has no members; returns `false` if the deadline comes first, and at once if
    /// the caller's worker unwinds and cannot run members.
    pub(super) fn wait(&self, reason: &Reason<'_>, deadline: Option<Instant>) -> bool {
        spend();
        let mut state = self.state.lock();
        if state.members.is_empty() {
            return true;
        }
        if thread::panicking() && worker_index().is_some() {
            return false;
        }
        let number = state.next;
        state.next += 1;
        drop(state);
        let _waiting = Waiting { tracker: self, number };
        let me = unparker();
        // Entered at each check: new members may have come since it was woken.
        let look = || {
            let mut state = self.state.lock();
            let empty = state.members.is_empty();
            if !empty {
                state.waiting.insert(number, me);
            }
            empty
        };
        park_for_while_not(reason, look, deadline)
    }
}

/// Removes a waiter, however its wait ends.
struct Waiting<'a> {
    tracker: &'a TaskTracker,
    number: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.tracker.state.lock().waiting.remove(&self.number);
    }
}

/// The membership of one task in a tracker.
#[derive(Debug)]
pub(super) struct Member {
    tracker: Arc<TaskTracker>,
    number: u64,
}

impl Member {
    /// Records that the calling task is this member. Returns `false` if it was cancelled before it
    /// began.
    pub(super) fn begin(&self) -> bool {
        let mut state = self.tracker.state.lock();
        let cancelled = self.number < state.cancelled_below;
        if !cancelled {
            state.members.insert(self.number, canceller());
        }
        !cancelled
    }

    /// Returns `true` if it was cancelled with its tracker.
    pub(super) fn is_cancelled(&self) -> bool {
        self.number < self.tracker.state.lock().cancelled_below
    }

    pub(super) fn tracker(&self) -> &Arc<TaskTracker> {
        &self.tracker
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut state = self.tracker.state.lock();
        state.members.remove(&self.number);
        let waiting =
            if state.members.is_empty() { mem::take(&mut state.waiting) } else { BTreeMap::new() };
        drop(state);
        for waiter in waiting.into_values() {
            waiter.unpark();
        }
    }
}
