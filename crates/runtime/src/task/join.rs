//! The handle of a task: joining, watching, cancelling.
#![expect(unsafe_code, reason = "a joiner on the task's own worker is registered without a lock")]

use std::fmt;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use crate::WAIT_OBSERVER;
use crate::clock;
use crate::detection;
use crate::identity::Identity;
use crate::park::current::me;
use crate::park::limits::thread_scope;
use crate::park::{as_task, in_task, park_by_turns, park_for_while_not, park_here, unparker};
use crate::reason::{Holder, Reason};
use crate::task::canceller;
use crate::task::completions::{Completions, Observer};
use crate::task::join_error::JoinError;
use crate::task::packet::{HandleSide, JoinState, LocalJoiner};
use crate::worker::registry;
use crate::worker::with_worker;

/// Owns the right to join a task. Dropping it detaches the task.
#[must_use = "a detached task is cancelled when its runtime ends"]
pub struct JoinHandle<T>(pub(crate) HandleSide<T>);

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("finished", &self.is_finished()).finish()
    }
}

impl<T> JoinHandle<T> {
    /// Waits for the task to end and returns its value.
    ///
    /// # Suspends
    ///
    /// Until the task has ended; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// If the joining task is cancelled it is unwound from here.
    ///
    /// # Errors
    ///
    /// [`JoinError`] if the task panicked, was cancelled or could not be started. Also if the task
    /// has not ended and never would: a destructor that unwinds in a task of the same worker joins
    /// it, and so keeps it from running; a task joins itself; or the task belongs to the process
    /// that this one is a fork of, and goes on there.
    #[track_caller]
    #[inline(always)]
    pub fn join(self) -> Result<T, JoinError> {
        let (this, is_done) = self.wait_until(None);
        if is_done { this.0.take() } else { Err(JoinError::unending()) }
    }

    /// Waits for the task to end until the deadline; returns the handle if the task has not ended
    /// by then.
    ///
    /// # Suspends
    ///
    /// Until the task has ended or the deadline has come; a plain thread blocks.
    ///
    /// # Errors
    ///
    /// The handle itself, if the deadline came first.
    #[track_caller]
    pub fn join_until(self, deadline: Instant) -> Result<Result<T, JoinError>, JoinHandle<T>> {
        let (this, is_done) = self.wait_until(Some(deadline));
        if is_done { Ok(this.0.take()) } else { Err(this) }
    }

    /// Waits for the task to end for a duration; returns the handle if the task has not ended by
    /// then.
    ///
    /// # Suspends
    ///
    /// Until the task has ended or the time is over; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// If the joining task is cancelled it is unwound from here.
    ///
    /// # Errors
    ///
    /// The handle itself, if the time is over first.
    #[track_caller]
    pub fn join_timeout(self, timeout: Duration) -> Result<Result<T, JoinError>, JoinHandle<T>> {
        match clock::after(timeout) {
            Some(deadline) => self.join_until(deadline),
            None => Ok(self.join()),
        }
    }

    /// Returns `true` if the task has ended.
    #[inline]
    pub fn is_finished(&self) -> bool {
        self.0.join_state().is_done()
    }

    /// Asks the task to end, without waiting for the end. How the request surfaces in the task is
    /// said at [`crate::with_deadline`] and in the runtime's documentation.
    pub fn cancel(&self) {
        self.0.join_state().ask_to_end();
    }

    /// Returns the value of a task that has ended with one, without taking it: `None` before the
    /// end, and after an end without value.
    ///
    /// It borrows the handle mutably, so that a handle can be `Sync` even if its value is not.
    #[doc(alias = "Greenlet.value")]
    pub fn value(&mut self) -> Option<&T> {
        self.0.outcome().and_then(|outcome| outcome.as_ref().ok())
    }

    /// Puts `tag` into the queue at the task's end; at once if it has ended.
    ///
    /// A task that cannot end while the caller waits, because the caller unwinds on its worker,
    /// counts as ended: [`JoinHandle::join`] then returns the error.
    pub fn watch(&self, completions: &Completions, tag: usize) {
        self.0.join_state().add_observer(completions, tag);
    }

    /// Takes back the request of [`JoinHandle::watch`], unless the task has ended.
    pub fn unwatch(&self, completions: &Completions) {
        if self.0.join_state().is_watched() {
            drop(self.0.join_state().take_observers(completions));
        }
    }

    /// Waits for the end; returns the handle and whether the task has ended.
    // Each frame between the caller and the switch costs a mispredicted return.
    #[inline(always)]
    #[track_caller]
    fn wait_until(self, deadline: Option<Instant>) -> (JoinHandle<T>, bool) {
        let join_state = self.0.join_state();
        // SAFETY: required: we own the handle and keep it until this is over. It is ours by value,
        // and given back afterwards.
        let is_done =
            join_state.is_done() || unsafe { join_state.wait(deadline, Location::caller()) };
        (self, is_done)
    }
}

impl JoinState {
    fn ask_to_end(&self) {
        let Some(id) = self.cancel() else { return };
        let identity = Identity::from_bits(self.identity.load(Ordering::Relaxed));
        canceller::cancel(self.worker, id, identity);
    }

    fn add_observer(&self, completions: &Completions, tag: usize) {
        let observer = completions.observer(tag);
        if self.is_done() || self.is_stuck() {
            return observer.notify();
        }
        self.remote_waiters().get_or_insert_default().observers.push(observer);
        if !self.watch() {
            // An observer is notified by the side that takes it out: here, or by the task's end.
            self.take_observers(completions).into_iter().for_each(Observer::notify);
        }
    }

    fn take_observers(&self, completions: &Completions) -> Vec<Observer> {
        let mut remote_waiters = self.remote_waiters();
        let observers = remote_waiters.iter_mut().flat_map(|remote_waiters| {
            remote_waiters.observers.extract_if(.., |observer| observer.is_of(completions))
        });
        observers.collect()
    }

    /// Returns `true` if the task cannot end while the caller waits, because the caller unwinds on
    /// its worker.
    fn is_stuck(&self) -> bool {
        self.is_here() && as_task(|_, _| ()).is_none()
    }

    /// Returns `true` if the caller runs on the task's worker.
    fn is_here(&self) -> bool {
        with_worker(|worker| self.is_of(worker)) == Some(true)
    }

    /// Waits for the end. On the task's own worker nothing can happen between the check and the
    /// park.
    ///
    /// # Safety
    ///
    /// The caller owns the handle and keeps it until this is over.
    #[inline(always)]
    unsafe fn wait(&self, deadline: Option<Instant>, place: &'static Location<'static>) -> bool {
        let waited = as_task(|worker, task| {
            // SAFETY: required: a live task. It is the running one.
            let block = unsafe { task.as_ref() };
            let is_own = self.identity.load(Ordering::Relaxed) == block.identity.to_bits();
            if !self.is_of(worker) || is_own || detection::is_on() {
                return None;
            }
            let reason = self.reason(place);
            // SAFETY: required: in this task, on its worker, and the handle stays. The first two
            // were checked; the caller promises the third.
            let _noted = unsafe { LocalJoiner::new(self, task) };
            let park = || park_here(worker, task, &reason, deadline);
            Some(park_by_turns(|| self.is_done(), park))
        });
        match waited.flatten() {
            Some(is_done) => is_done,
            // SAFETY: required: the handle stays. The caller promises it.
            None => unsafe { self.wait_watched(deadline, place) },
        }
    }

    /// As [`JoinState::wait`], for the cases that need more than a check and a park.
    ///
    /// # Safety
    ///
    /// As for [`JoinState::wait`].
    #[cold]
    unsafe fn wait_watched(
        &self,
        deadline: Option<Instant>,
        place: &'static Location<'static>,
    ) -> bool {
        let reason = self.reason(place);
        if self.is_own() && !detection::is_on() {
            // The end would not be reported later.
            return false;
        }
        if !self.is_here() {
            return self.wait_elsewhere(&reason, deadline);
        }
        // We unwind and cannot let the task run: it will not end while we wait.
        let Some(me) = as_task(|_, task| task) else { return false };
        // SAFETY: required: in this task, on its worker, and the handle stays. The first two were
        // checked; the caller promises the third.
        let _noted = unsafe { LocalJoiner::new(self, me) };
        park_for_while_not(&reason, || self.is_done(), deadline)
    }

    fn wait_elsewhere(&self, reason: &Reason<'_>, deadline: Option<Instant>) -> bool {
        self.remote_waiters().get_or_insert_default().joiner = Some(unparker());
        self.watch();
        let ends = deadline.is_some() || thread_scope().is_some();
        let watches = !ends && detection::is_on() && !in_task();
        let inbox = registry::inbox_of(self.worker);
        if inbox.is_none() && !ends {
            // The worker has ended: it has run the task, or this is a fork of the process that has
            // both.
            // ORDERING: pairs with the drop of the worker set by its last worker.
            fence(Ordering::Acquire);
            return self.is_done();
        }
        match inbox.filter(|_| watches) {
            Some(inbox) => {
                (WAIT_OBSERVER.joined_on_thread)(reason, &|| self.is_done(), &inbox);
                true
            }
            None => park_for_while_not(reason, || self.is_done(), deadline),
        }
    }

    /// Returns `true` if this is the handle of the calling task itself.
    fn is_own(&self) -> bool {
        self.identity.load(Ordering::Relaxed) == me().to_bits()
    }

    /// Returns the reason of a join: the end of the task, which only the task can bring about.
    #[inline]
    fn reason(&self, place: &'static Location<'static>) -> Reason<'_> {
        // An identity in a word may change, as the holder of a lock does; a task that joins itself
        // stays so.
        let holder = if self.is_own() { Holder::One(me()) } else { Holder::In(&self.identity) };
        Reason { what: "join", on: ptr::from_ref(self).addr(), holder, place }
    }
}
