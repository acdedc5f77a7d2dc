//! What a task and its handle share.
//!
//! ```text
//!   outcome    written once by the task's end (returned, panicked, cancelled, never started)
//!   finished   false → true, after `outcome`; the reader's permission to take it
//!   neighbour  a joiner on the same worker: no lock, no atomic
//!   strangers  a joiner elsewhere, and who watches for the end; `waiting`: the end must look
//! ```
#![expect(unsafe_code, reason = "the packet is shared between the task and its joiner")]

use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::completions::Observer;
use crate::inbox::Inbox;
use crate::join_error::JoinError;
use crate::park::Unparker;
use crate::task::TaskId;
use crate::worker::{Worker, with_worker};

/// What a task and its handle share.
pub(crate) struct Packet<T> {
    pub(crate) outcome: UnsafeCell<Option<Result<T, JoinError>>>,
    /// false → true, by the task's end.
    pub(crate) finished: AtomicBool,
    /// false → true, by who has left something in `strangers`.
    pub(crate) waiting: AtomicBool,
    /// false → true, by `cancel`.
    pub(crate) cancelled: AtomicBool,
    /// The task's number once it has one, see [`TaskId::to_bits`]; written by its worker.
    pub(crate) id: AtomicU64,
    /// Which task it is, once it has begun: for who asks whom a join waits for.
    pub(crate) identity: AtomicU64,
    /// The worker that has the task, or will have it.
    pub(crate) inbox: Arc<Inbox>,
    /// A joiner on the task's own worker. Touched by that worker's thread only.
    pub(crate) neighbour: Cell<Option<TaskId>>,
    /// Who is to be told of the end, besides.
    strangers: Mutex<Option<Box<Strangers>>>,
}

// SAFETY: required: shareable between the task's thread and the joiner's. `outcome` is written
// before `finished` is set and taken after it was seen set, by the one owner of the handle;
// `neighbour` is touched by the thread of the task's worker only; the rest is atomic or locked.
unsafe impl<T: Send> Sync for Packet<T> {}

impl<T> Packet<T> {
    pub(crate) fn new(inbox: Arc<Inbox>) -> Packet<T> {
        Packet {
            outcome: UnsafeCell::new(None),
            finished: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            id: AtomicU64::new(0),
            identity: AtomicU64::new(0),
            inbox,
            neighbour: Cell::new(None),
            strangers: Mutex::default(),
        }
    }

    /// Notes which task it is: the worker's newest.
    pub(crate) fn started(&self, worker: &Worker, id: TaskId) {
        self.identity.store(worker.newest().to_bits(), Ordering::Relaxed);
        self.id.store(id.to_bits(), Ordering::Relaxed);
    }

    pub(crate) fn strangers(&self) -> MutexGuard<'_, Option<Box<Strangers>>> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who waits for a task from outside its worker, or for several tasks.
#[derive(Default)]
pub(crate) struct Strangers {
    pub(crate) joiner: Option<Unparker>,
    pub(crate) observers: Vec<Observer>,
}

impl Strangers {
    fn tell(self) {
        if let Some(joiner) = self.joiner {
            joiner.unpark();
        }
        self.observers.into_iter().for_each(Observer::tell);
    }
}

/// The task's side of the packet; being dropped unfinished means cancelled.
pub(crate) struct Finisher<T>(pub(crate) Arc<Packet<T>>);

impl<T> Finisher<T> {
    pub(crate) fn finish(&self, outcome: Result<T, JoinError>) {
        let packet = &*self.0;
        // SAFETY: required: no other access. `finished` is not set, and only we set it.
        unsafe { *packet.outcome.get() = Some(outcome) };
        // ORDERING: SeqCst with those of `wait_elsewhere` and `watch`: either we see their
        // `waiting` or they see our `finished`.
        packet.finished.store(true, Ordering::SeqCst);
        if packet.waiting.load(Ordering::SeqCst) {
            let strangers = packet.strangers().take();
            strangers.into_iter().for_each(|strangers| strangers.tell());
        }
        with_worker(|worker| {
            // A task that never started may be dropped on another thread, and then has no
            // neighbour either: its joiner would have had to be there.
            let own = Arc::ptr_eq(&worker.inbox, &packet.inbox);
            if let Some(joiner) = own.then(|| packet.neighbour.take()).flatten() {
                worker.unpark(joiner);
            }
        });
    }
}

impl<T> Drop for Finisher<T> {
    fn drop(&mut self) {
        if !self.0.finished.load(Ordering::Relaxed) {
            self.finish(Err(JoinError::cancelled()));
        }
    }
}
