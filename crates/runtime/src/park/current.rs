//! The caller: its identity, and what limits its waits.
#![expect(unsafe_code, reason = "the running task's block is reached by pointer")]

use std::ptr::NonNull;
use std::thread;

use crate::exits;
use crate::identity::{Identity, this_thread};
use crate::park::limits::thread_scope;
use crate::task_block::Task;
use crate::worker::with_worker;

/// The calling task (also while it unwinds) or thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) identity: Identity,
    /// Its control block, if it is a task.
    pub(crate) task: Option<NonNull<Task>>,
}

impl Caller {
    pub(crate) fn now() -> Caller {
        let task = with_worker(|worker| worker.current()).flatten();
        // SAFETY: required: a live task. It is the running one.
        let identity = task.map(|task| unsafe { task.as_ref() }.identity);
        Caller { identity: identity.unwrap_or_else(this_thread), task }
    }

    /// Returns `true` if its waits will end by themselves, by a cancel or a `timeout` scope.
    pub(crate) fn will_end(self) -> bool {
        // SAFETY: required: a live task. It is the running one.
        let block = self.task.map(|task| unsafe { task.as_ref() });
        match block {
            _ if thread::panicking() => false,
            Some(block) => block.is_to_unwind() || block.scope.get().is_some(),
            None => thread_scope().is_some(),
        }
    }
}

/// Returns the caller's identity: of the running task (also while it unwinds), else of this thread.
#[inline]
pub fn me() -> Identity {
    let task = with_worker(|worker| {
        // SAFETY: required: a live task. It is the running one.
        worker.current().map(|task| unsafe { task.as_ref() }.identity)
    });
    task.flatten().unwrap_or_else(this_thread)
}

/// Returns the caller's identity, and records its end from now on.
pub(crate) fn current_watched() -> Identity {
    let me = Caller::now();
    match me.task {
        Some(task) => {
            // SAFETY: required: a live task. It is the running one.
            let block = unsafe { task.as_ref() };
            if !block.exit_watched.replace(true) {
                exits::watch(me.identity);
            }
        }
        None => watch_this_thread(),
    }
    me.identity
}

/// Records the end of this thread.
fn watch_this_thread() {
    thread_local! {
        static WATCHED: WatchedExit = WatchedExit::new();
    }
    // A thread that is about to end and cannot be recorded counts as one that never ends.
    if WATCHED.try_with(|_| ()).is_err() {
        exits::watch(this_thread());
    }
}

struct WatchedExit(Identity);

impl WatchedExit {
    fn new() -> WatchedExit {
        let me = this_thread();
        exits::watch(me);
        WatchedExit(me)
    }
}

impl Drop for WatchedExit {
    fn drop(&mut self) {
        exits::notify_exit(self.0);
    }
}
