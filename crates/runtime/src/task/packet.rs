//! What a task and its handle share, and which of them frees it.
//!
//! ```text
//!   TaskSide ──▶ ┌────────────────────┐ ◀── HandleSide, in the JoinHandle
//!   (in the      │ Packet: join_state │
//!    task's      │          outcome   │     one allocation, no count: each side lets go once,
//!    body)       └────────────────────┘     and who finds the other gone frees it
//!
//!   state        DONE         `outcome` is there; the handle's side may take it  ┐ by the task's
//!                TASK_GONE    the task's side has let go                         ┘ side
//!                WATCHED      `remote_waiters` wait for the end                  ┐ by the handle's
//!                HANDLE_GONE  the handle's side has let go                       ┘ side
//!
//!   joined       0 ──task ends──▶ DONE TASK_GONE ──handle lets go──▶ freed
//!   detached     0 ──handle lets go──▶ HANDLE_GONE ──task ends──▶ freed
//!   watched      WATCHED ──task ends──▶ + DONE ──waiters woken──▶ + TASK_GONE
//! ```
//!
//! All bits are in one word, so whoever comes second sees what the first has done. The word is
//! moved by atomic read-and-write, but for two cases in which the other side stands still because
//! it belongs to the same thread:
//!
//! - *A joiner next door.* While `local_joiner` is set, the handle lies in the frame of a task that
//!   is suspended in `join` on the worker of this very task.
//! - *A handle let go next door.* A task that has begun its life on a worker stays there (I3), so
//!   on that thread nothing of the task's side is going on.
#![expect(unsafe_code, reason = "the packet is shared between the task and its joiner")]

use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::park::Unparker;
use crate::task::completions::Observer;
use crate::task::join_error::JoinError;
use crate::task_block::{Numbers, Task, TaskId};
use crate::worker::{Worker, with_worker};

const DONE: u32 = 1;
const TASK_GONE: u32 = 2;
const WATCHED: u32 = 4;
const HANDLE_GONE: u32 = 8;

/// What both sides know, whatever the task's value is.
pub(crate) struct JoinState {
    /// See the picture above.
    state: AtomicU32,
    /// The number of the worker that has the task, or will have it.
    pub(crate) worker: u32,
    /// The task's number once it has one, see [`TaskId::to_bits`]; written by its worker.
    pub(crate) id: AtomicU64,
    /// Which task it is, once it has begun: for who asks whom a join waits for.
    pub(crate) identity: AtomicU64,
    /// false → true, by `cancel`.
    cancelled: AtomicBool,
    /// A joiner on the task's own worker, while it waits. Touched by that worker's thread only.
    local_joiner: Cell<Option<NonNull<Task>>>,
    /// Who is to be told of the end, besides.
    remote_waiters: Mutex<Option<Box<Strangers>>>,
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

impl JoinState {
    #[inline(always)]
    fn new(worker: u32) -> JoinState {
        JoinState {
            state: AtomicU32::new(0),
            worker,
            id: AtomicU64::new(0),
            identity: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
            local_joiner: Cell::new(None),
            remote_waiters: Mutex::new(None),
        }
    }

    /// Notes which task it is.
    #[inline]
    pub(crate) fn started(&self, numbers: &Numbers) {
        self.identity.store(numbers.identity.to_bits(), Ordering::Relaxed);
        self.id.store(numbers.id.to_bits(), Ordering::Relaxed);
    }

    /// Notes that it is to be cancelled; gives its number if it has one.
    pub(crate) fn cancel(&self) -> Option<TaskId> {
        self.cancelled.store(true, Ordering::Relaxed);
        // ORDERING: pairs with the fence in `is_cancelled`: either we see the number or that sees
        // our wish.
        fence(Ordering::SeqCst);
        TaskId::from_bits(self.id.load(Ordering::Relaxed))
    }

    /// Was it cancelled before it had a number?
    pub(crate) fn is_cancelled(&self) -> bool {
        // ORDERING: pairs with the fence in `cancel`.
        fence(Ordering::SeqCst);
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Has the task ended? Who has seen it may take the outcome.
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        // ORDERING: Acquire: with the Release that has set it, for the outcome.
        self.state.load(Ordering::Acquire) & DONE != 0
    }

    pub(crate) fn remote_waiters(&self) -> MutexGuard<'_, Option<Box<Strangers>>> {
        self.remote_waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the end look at `remote_waiters`; false: the task has ended already.
    pub(crate) fn watch(&self) -> bool {
        self.state.fetch_or(WATCHED, Ordering::AcqRel) & DONE == 0
    }

    /// Was [`JoinState::watch`] called?
    pub(crate) fn is_watched(&self) -> bool {
        self.state.load(Ordering::Relaxed) & WATCHED != 0
    }

    /// Is the task this worker's?
    #[inline]
    pub(crate) fn is_of(&self, worker: &Worker) -> bool {
        self.worker == worker.number
    }

    /// Does the calling thread run the task, which has begun its life there?
    #[inline]
    fn is_next_door(&self) -> bool {
        let is_here = with_worker(|worker| self.is_of(worker)) == Some(true);
        is_here && self.id.load(Ordering::Relaxed) != 0
    }
}

/// Notes a joiner on the task's own worker, while this lives.
pub(crate) struct LocalJoiner<'a>(&'a JoinState);

impl<'a> LocalJoiner<'a> {
    /// Notes the calling task.
    ///
    /// # Safety
    ///
    /// The caller runs on the bond's worker, in this task, and owns the handle of the bond. This is
    /// dropped before the handle goes anywhere else.
    #[inline(always)]
    pub(crate) unsafe fn new(join_state: &'a JoinState, joiner: NonNull<Task>) -> LocalJoiner<'a> {
        join_state.local_joiner.set(Some(joiner));
        LocalJoiner(join_state)
    }
}

impl Drop for LocalJoiner<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.local_joiner.set(None);
    }
}

struct Packet<T> {
    join_state: JoinState,
    outcome: UnsafeCell<Option<Result<T, JoinError>>>,
}

/// Makes the two sides of a task that the worker of this number has or will have.
#[inline]
pub(crate) fn pair<T>(worker: u32) -> (TaskSide<T>, HandleSide<T>) {
    // Written where it stays: a copy would wait for the writes to the first.
    let place = Box::leak(Box::new_uninit());
    let packet =
        place.write(Packet { join_state: JoinState::new(worker), outcome: UnsafeCell::new(None) });
    let packet = NonNull::from(packet);
    (TaskSide { packet, owns: PhantomData }, HandleSide { packet, owns: PhantomData })
}

/// The task's side of the packet; being dropped unfinished means cancelled.
pub(crate) struct TaskSide<T> {
    packet: NonNull<Packet<T>>,
    owns: PhantomData<Packet<T>>,
}

// SAFETY: required: usable on another thread. The outcome goes in there, and comes out where the
// handle is, hence `T: Send`; `local_joiner` is looked at on the worker's thread only, which is
// asked for; all else is atomic or locked.
unsafe impl<T: Send> Send for TaskSide<T> {}

/// A packet that the other side has let go of.
pub(crate) struct Orphan<T>(#[expect(dead_code, reason = "it is to be dropped")] Box<Packet<T>>);

impl<T> TaskSide<T> {
    #[inline]
    pub(crate) fn join_state(&self) -> &JoinState {
        // SAFETY: required: live, never borrowed exclusively. We have not let go of it.
        unsafe { &self.packet.as_ref().join_state }
    }

    /// Writes how the task has ended, once, before [`TaskSide::finish`] says so.
    #[inline(always)]
    pub(crate) fn write(&mut self, outcome: Result<T, JoinError>) {
        // SAFETY: required: live. We have not let go of it.
        let place = unsafe { self.packet.as_ref() }.outcome.get();
        // SAFETY: required: writable, no other access. Before `DONE` is set nobody else touches it,
        // and only we set it.
        unsafe { place.write(Some(outcome)) };
    }

    /// Says that the task has ended and lets go; gives the packet if the other side has, too.
    #[inline(always)]
    pub(crate) fn finish(self) -> Option<Orphan<T>> {
        let this = ManuallyDrop::new(self);
        with_worker(|worker| this.finish_on(worker)).unwrap_or_else(|| this.let_go())
    }

    #[inline(always)]
    fn finish_on(&self, worker: &Worker) -> Option<Orphan<T>> {
        let join_state = self.join_state();
        // A task that never started may be dropped on another thread.
        let joiner = if join_state.is_of(worker) { join_state.local_joiner.get() } else { None };
        let Some(joiner) = joiner else { return self.let_go() };
        let orphan = if join_state.state.load(Ordering::Relaxed) == 0 {
            // The joiner, which owns the handle, is suspended on this thread.
            join_state.state.store(DONE | TASK_GONE, Ordering::Release);
            None
        } else {
            self.let_go()
        };
        worker.unpark_task(joiner);
        orphan
    }

    /// As [`TaskSide::finish`], whoever else is at work.
    #[inline(never)]
    fn let_go(&self) -> Option<Orphan<T>> {
        // As a reference to this word only: the packet may be freed while it is still there.
        let state = &self.join_state().state;
        // ORDERING: Release: who sees `DONE` sees the outcome. Acquire: who finds the other side
        // gone sees all that it did.
        let ended =
            state.compare_exchange(0, DONE | TASK_GONE, Ordering::Release, Ordering::Relaxed);
        if ended.is_ok() {
            return None;
        }
        if state.fetch_or(DONE, Ordering::AcqRel) & WATCHED != 0 {
            let remote_waiters = self.join_state().remote_waiters().take();
            remote_waiters.into_iter().for_each(|remote_waiters| remote_waiters.tell());
        }
        if state.fetch_or(TASK_GONE, Ordering::AcqRel) & HANDLE_GONE == 0 {
            return None;
        }
        // SAFETY: required: from a leaked box, freed once. Both sides are gone, the other first.
        Some(Orphan(unsafe { Box::from_raw(self.packet.as_ptr()) }))
    }
}

impl<T> Drop for TaskSide<T> {
    fn drop(&mut self) {
        self.write(Err(JoinError::cancelled()));
        let side = TaskSide { packet: self.packet, owns: PhantomData };
        drop(side.finish());
    }
}

/// The handle's side of the packet.
pub(crate) struct HandleSide<T> {
    packet: NonNull<Packet<T>>,
    owns: PhantomData<Packet<T>>,
}

// SAFETY: required: usable from other threads. Then `T` comes out there, hence `T: Send`; all else
// in the packet is atomic, locked or left to the task's worker.
unsafe impl<T: Send> Send for HandleSide<T> {}
// SAFETY: required: shared use is harmless. `&HandleSide` gives no `T` out.
unsafe impl<T: Send> Sync for HandleSide<T> {}

impl<T> HandleSide<T> {
    #[inline]
    pub(crate) fn join_state(&self) -> &JoinState {
        // SAFETY: required: live, never borrowed exclusively. We have not let go of it.
        unsafe { &self.packet.as_ref().join_state }
    }

    /// The outcome, if the task has ended.
    pub(crate) fn outcome(&mut self) -> Option<&Result<T, JoinError>> {
        if !self.join_state().is_done() {
            return None;
        }
        // SAFETY: required: live. We have not let go of it.
        let place = unsafe { self.packet.as_ref() }.outcome.get();
        // SAFETY: required: no writer. `DONE` was seen, so the task's side has written; the
        // handle's is borrowed exclusively.
        unsafe { &*place }.as_ref()
    }

    /// Takes the outcome and lets go.
    ///
    /// # Panics
    ///
    /// When the task has not ended.
    #[inline]
    pub(crate) fn take(self) -> Result<T, JoinError> {
        let join_state = self.join_state();
        assert!(join_state.is_done(), "an outcome is taken when it is there");
        // SAFETY: required: live. We have not let go of it.
        let place = unsafe { self.packet.as_ref() }.outcome.get();
        // SAFETY: required: no other access. `DONE` was seen, so the task's side has written, and
        // we own the handle's.
        let outcome = unsafe { &mut *place }.take();
        outcome.expect("an outcome is taken once")
    }
}

impl<T> Drop for HandleSide<T> {
    #[inline]
    fn drop(&mut self) {
        let join_state = self.join_state();
        // As a reference to this word only: the packet may be freed while it is still there.
        let state = &join_state.state;
        // ORDERING: Acquire: who finds the other side gone sees all that it did. Release: so does
        // the other side.
        let seen = state.load(Ordering::Acquire);
        if seen & TASK_GONE == 0 {
            if join_state.is_next_door() {
                // The task's side is on this thread, and stands still.
                state.store(seen | HANDLE_GONE, Ordering::Release);
                return;
            }
            if state.fetch_or(HANDLE_GONE, Ordering::AcqRel) & TASK_GONE == 0 {
                return;
            }
        }
        // SAFETY: required: from a leaked box, freed once. Both sides are gone, the other first.
        drop(unsafe { Box::from_raw(self.packet.as_ptr()) });
    }
}
