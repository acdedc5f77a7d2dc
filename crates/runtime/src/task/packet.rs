//! What a task and its handle share, and which of them frees it.
//!
//! ```text
//!   TaskSide ──▶ ┌────────────────────┐ ◀── HandleSide, in the JoinHandle
//!   (in the      │ Packet: join_state │
//!    task's      │          outcome   │     one allocation, no count: each side lets go once,
//!    body)       └────────────────────┘     and the side that finds the other gone frees it
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
//! # Invariants
//!
//! Tests are in `tests/runtime/letting_go.rs`, if no other file is named.
//!
//! 1. The second side to let go frees the packet, and only that side. All bits are in one word, so
//!    the second side sees what the first has done
//!    (`the_value_is_dropped_once_wherever_and_whenever_the_handle_goes`).
//! 2. `outcome` is written once, by the task's side, before `DONE`; afterwards only the handle's
//!    side touches it, until that is gone (the same test, on all ways to use a handle).
//! 3. `remote_waiters` are taken under their lock, by the end of the task or by the handle's side,
//!    and each is woken or notified once (`no_end_is_missed_heavy` in `tests/task_toolbox`).
//! 4. The word is moved by atomic read-and-write, except in two cases in which the other side
//!    cannot run meanwhile because it belongs to the same thread:
//!    - *A joiner on the task's own worker.* While `local_joiner` is set, the handle lies in the
//!      frame of a task that is suspended in `join` on that worker
//!      (`a_local_joiner_that_gives_up_is_not_woken_by_the_end`).
//!    - *A handle dropped on the task's own worker.* A task that has begun on a worker stays there
//!      (I3), so the task's side cannot be running on that thread
//!      (`the_value_is_dropped_once_whatever_is_done_with_the_handle_on_its_worker`).
#![expect(unsafe_code, reason = "the packet is shared between the task and its joiner")]

use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

use fiveways_sys::lock::{Mutex, MutexGuard};

use crate::park::Unparker;
use crate::task::completions::Observer;
use crate::task::join_error::JoinError;
use crate::task_block::{Numbers, Task, TaskId};
use crate::worker::{Worker, with_worker};

const DONE: u32 = 1;
const TASK_GONE: u32 = 2;
const WATCHED: u32 = 4;
const HANDLE_GONE: u32 = 8;

/// What both sides know, whatever the type of the task's value is.
pub(crate) struct JoinState {
    /// See the picture above.
    state: AtomicU32,
    /// The number of the worker that has the task, or will have it.
    pub(crate) worker: u32,
    /// The task's number once it has one, see [`TaskId::to_bits`]; written by its worker.
    pub(crate) id: AtomicU64,
    /// The task's identity, once it has begun: the task that a join waits for, in the search for
    /// deadlocks.
    pub(crate) identity: AtomicU64,
    /// false → true, by `cancel`.
    cancelled: AtomicBool,
    /// A joiner on the task's own worker, while it waits. Used by that worker's thread only.
    local_joiner: Cell<Option<NonNull<Task>>>,
    /// Further waiters for the end.
    remote_waiters: Mutex<Option<Box<RemoteWaiters>>>,
}

/// Waiters for a task from outside its worker, and waiters for several tasks.
#[derive(Default)]
pub(crate) struct RemoteWaiters {
    pub(crate) joiner: Option<Unparker>,
    pub(crate) observers: Vec<Observer>,
}

impl RemoteWaiters {
    fn notify(self) {
        if let Some(joiner) = self.joiner {
            joiner.unpark();
        }
        self.observers.into_iter().for_each(Observer::notify);
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

    /// Stores the numbers of the task, which begins.
    #[inline]
    pub(crate) fn started(&self, numbers: &Numbers) {
        self.identity.store(numbers.identity.to_bits(), Ordering::Relaxed);
        self.id.store(numbers.id.to_bits(), Ordering::Relaxed);
    }

    /// Stores the request to cancel the task; returns the task's number if it has one.
    pub(crate) fn cancel(&self) -> Option<TaskId> {
        self.cancelled.store(true, Ordering::Relaxed);
        // ORDERING: pairs with the fence in `is_cancelled`: either we see the number, or that call
        // sees our request.
        fence(Ordering::SeqCst);
        TaskId::from_bits(self.id.load(Ordering::Relaxed))
    }

    /// Returns `true` if the task was cancelled before it had a number.
    pub(crate) fn is_cancelled(&self) -> bool {
        // ORDERING: pairs with the fence in `cancel`.
        fence(Ordering::SeqCst);
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Returns `true` if the task has ended; the caller may then take the outcome.
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        // ORDERING: Acquire: with the Release that has set it, for the outcome.
        self.state.load(Ordering::Acquire) & DONE != 0
    }

    pub(crate) fn remote_waiters(&self) -> MutexGuard<'_, Option<Box<RemoteWaiters>>> {
        self.remote_waiters.lock()
    }

    /// Requests that the end of the task notifies `remote_waiters`; returns `false` if it has ended
    /// already.
    pub(crate) fn watch(&self) -> bool {
        self.state.fetch_or(WATCHED, Ordering::AcqRel) & DONE == 0
    }

    /// Returns `true` if [`JoinState::watch`] was called.
    pub(crate) fn is_watched(&self) -> bool {
        self.state.load(Ordering::Relaxed) & WATCHED != 0
    }

    /// Returns `true` if the task belongs to this worker.
    #[inline]
    pub(crate) fn is_of(&self, worker: &Worker) -> bool {
        self.worker == worker.number
    }

    /// Returns `true` if the calling thread is the worker that runs the task, which has begun.
    #[inline]
    fn is_on_own_worker(&self) -> bool {
        let is_here = with_worker(|worker| self.is_of(worker)) == Some(true);
        is_here && self.id.load(Ordering::Relaxed) != 0
    }
}

/// Keeps a joiner on the task's own worker registered while this lives.
pub(crate) struct LocalJoiner<'a>(&'a JoinState);

impl<'a> LocalJoiner<'a> {
    /// Registers the calling task.
    ///
    /// # Safety
    ///
    /// The caller runs on the worker of `join_state`, in the task `joiner`, and owns the handle.
    /// This is dropped before the handle is moved or used elsewhere.
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

/// Creates the two sides of a task that runs, or will run, on the worker of this number.
#[inline]
pub(crate) fn pair<T>(worker: u32) -> (TaskSide<T>, HandleSide<T>) {
    // Written in its final place: a copy would wait for the writes to the first.
    let place = Box::leak(Box::new_uninit());
    let packet =
        place.write(Packet { join_state: JoinState::new(worker), outcome: UnsafeCell::new(None) });
    let packet = NonNull::from(packet);
    (TaskSide { packet, owns: PhantomData }, HandleSide { packet, owns: PhantomData })
}

/// The task's side of the packet; dropping it unfinished means that the task was cancelled.
pub(crate) struct TaskSide<T> {
    packet: NonNull<Packet<T>>,
    owns: PhantomData<Packet<T>>,
}

// SAFETY: required: usable on another thread. The outcome goes in there, and comes out where the
// handle is, hence `T: Send`; `local_joiner` is read on the worker's thread only, which is checked;
// all else is atomic or locked.
unsafe impl<T: Send> Send for TaskSide<T> {}

/// A packet whose other side has let go, to be dropped by the holder of this.
pub(crate) struct Orphan<T>(#[expect(dead_code, reason = "it is to be dropped")] Box<Packet<T>>);

impl<T> TaskSide<T> {
    #[inline]
    pub(crate) fn join_state(&self) -> &JoinState {
        // SAFETY: required: live, never borrowed exclusively. We have not let go of it.
        unsafe { &self.packet.as_ref().join_state }
    }

    /// Writes the task's outcome, once, before [`TaskSide::finish`] announces it.
    #[inline(always)]
    pub(crate) fn write(&mut self, outcome: Result<T, JoinError>) {
        // SAFETY: required: live. We have not let go of it.
        let place = unsafe { self.packet.as_ref() }.outcome.get();
        // SAFETY: required: writable, no other access. Only our side uses it before `DONE` is set,
        // and only we set that (invariant 2).
        unsafe { place.write(Some(outcome)) };
    }

    /// Announces that the task has ended and lets go; returns the packet if the other side has let
    /// go.
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

    /// As [`TaskSide::finish`], for any joiner on any thread.
    #[inline(never)]
    fn let_go(&self) -> Option<Orphan<T>> {
        // A reference to this word only: the packet may be freed while the reference still exists.
        let state = &self.join_state().state;
        // ORDERING: Release: a reader of `DONE` sees the outcome. Acquire: if the other side is
        // gone, we see all that it did.
        let ended =
            state.compare_exchange(0, DONE | TASK_GONE, Ordering::Release, Ordering::Relaxed);
        if ended.is_ok() {
            return None;
        }
        if state.fetch_or(DONE, Ordering::AcqRel) & WATCHED != 0 {
            let remote_waiters = self.join_state().remote_waiters().take();
            remote_waiters.into_iter().for_each(|remote_waiters| remote_waiters.notify());
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

    /// Returns the outcome, if the task has ended.
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
    /// If the task has not ended.
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
        // A reference to this word only: the packet may be freed while the reference still exists.
        let state = &join_state.state;
        // ORDERING: Acquire: if the other side is gone, we see all that it did. Release: so does
        // the other side.
        let seen = state.load(Ordering::Acquire);
        if seen & TASK_GONE == 0 {
            if join_state.is_on_own_worker() {
                // The task's side is on this thread, and cannot run meanwhile.
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
