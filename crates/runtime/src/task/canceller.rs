//! Cancelling a task from anywhere, without its handle.
#![expect(unsafe_code, reason = "the running task's block is reached by pointer")]

use std::fmt;

use crate::WAIT_OBSERVER;
use crate::identity::Identity;
use crate::task_block::TaskId;
use crate::worker::inbox::Message;
use crate::worker::registry;
use crate::worker::with_worker;

/// Cancels one task, from anywhere, any number of times, even after its end.
#[derive(Clone, Copy)]
pub struct Canceller {
    worker: u32,
    id: TaskId,
    identity: Identity,
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Canceller(task {}.{})", self.worker, self.id.index)
    }
}

impl Canceller {
    /// Asks the task to end, as [`JoinHandle::cancel`](crate::JoinHandle::cancel) does.
    pub fn cancel(&self) {
        cancel(self.worker, self.id, Some(self.identity));
    }
}

/// Returns the means to cancel the calling task; `None` on a plain thread.
pub fn canceller() -> Option<Canceller> {
    with_worker(|worker| {
        let task = worker.current()?;
        // SAFETY: required: a live task. It is the running one.
        let block = unsafe { task.as_ref() };
        let (id, identity) = (block.id, block.identity);
        Some(Canceller { worker: worker.number, id, identity })
    })
    .flatten()
}

/// Cancels a task of the worker of this number; the task and the worker may have ended.
pub(crate) fn cancel(worker: u32, id: TaskId, identity: Option<Identity>) {
    if let Some(identity) = identity {
        (WAIT_OBSERVER.asked_to_end)(identity);
    }
    let here = with_worker(|here| {
        let is_own = here.number == worker;
        if is_own {
            here.cancel(id);
        }
        is_own
    });
    if here != Some(true)
        && let Some(inbox) = registry::inbox_of(worker)
    {
        // A worker that has ended has no task to cancel.
        let _ = inbox.send(Message::Cancel(id));
    }
}
