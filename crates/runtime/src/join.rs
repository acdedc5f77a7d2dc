//! The handle of a task: joining, watching, cancelling.
#![expect(unsafe_code, reason = "takes the outcome out of what the task shares with it")]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use crate::canceller;
use crate::completions::{Completions, Observer};
use crate::deadlock::{self, Detection};
use crate::identity::Identity;
use crate::join_error::JoinError;
use crate::packet::Packet;
use crate::park::{as_task, in_task, me, park_for_while_not, unparker};
use crate::quiet;
use crate::reason::{Holder, Reason};
use crate::task::TaskId;
use crate::worker::with_worker;

/// Owns the right to join a task. Dropping it detaches the task.
#[must_use = "a task that nobody joins may be cut short when its runtime ends"]
pub struct JoinHandle<T> {
    pub(crate) packet: Arc<Packet<T>>,
}

// SAFETY: required: usable from other threads. Then `T` comes out there, hence `T: Send`; all else
// in the packet is atomic, locked or left to the task's worker.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: required: shared use is harmless. `&JoinHandle` gives no `T` out.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("finished", &self.is_finished()).finish()
    }
}

impl<T> JoinHandle<T> {
    /// Waits for the task to end and gives its value.
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
    /// [`JoinError`] when the task panicked, was cancelled or could not be started; and when it has
    /// not ended and never would: joined by a destructor of a task of the same worker that unwinds,
    /// and so cannot let it run; and a task that joins itself.
    #[track_caller]
    pub fn join(self) -> Result<T, JoinError> {
        if self.wait_until(None) { self.take() } else { Err(JoinError::unending()) }
    }

    /// Waits for the task to end until the deadline; gives the handle back if it has not.
    ///
    /// # Suspends
    ///
    /// Until the task has ended or the deadline has come; a plain thread blocks.
    ///
    /// # Errors
    ///
    /// The handle itself, when the deadline has come.
    #[track_caller]
    pub fn join_until(self, deadline: Instant) -> Result<Result<T, JoinError>, JoinHandle<T>> {
        if self.wait_until(Some(deadline)) { Ok(self.take()) } else { Err(self) }
    }

    /// Waits for the task to end for a duration; gives the handle back if it has not.
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
    /// The handle itself, when the time is over.
    #[track_caller]
    pub fn join_timeout(self, timeout: Duration) -> Result<Result<T, JoinError>, JoinHandle<T>> {
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.join_until(deadline),
            None => Ok(self.join()),
        }
    }

    /// Has the task ended? Never suspends.
    pub fn is_finished(&self) -> bool {
        self.packet.finished.load(Ordering::Acquire)
    }

    /// Asks the task to end: see [`crate::with_deadline`] and the runtime's documentation for how
    /// that surfaces in it. Never suspends; does not wait for the end.
    pub fn cancel(&self) {
        self.packet.cancelled.store(true, Ordering::Relaxed);
        // ORDERING: pairs with the fence in `start_for`.
        fence(Ordering::SeqCst);
        let Some(id) = TaskId::from_bits(self.packet.id.load(Ordering::Relaxed)) else { return };
        let identity = Identity::from_bits(self.packet.identity.load(Ordering::Relaxed));
        canceller::cancel(&self.packet.inbox, id, identity);
    }

    /// Gives the value of a task that has ended with one, without taking it: `None` before the end,
    /// and after an end without value. Never suspends.
    ///
    /// It borrows the handle mutably, so that handles can be shared whose values cannot.
    #[doc(alias = "Greenlet.value")]
    pub fn value(&mut self) -> Option<&T> {
        if !self.is_finished() {
            return None;
        }
        // SAFETY: required: no other writer. `finished` was seen set, so the task has written, and
        // only the owner of the one handle takes.
        let outcome = unsafe { &*self.packet.outcome.get() };
        outcome.as_ref().and_then(|outcome| outcome.as_ref().ok())
    }

    /// Has `tag` put into the queue at the task's end; at once if it has ended.
    ///
    /// A task that cannot end while the caller waits, because the caller unwinds on its worker,
    /// counts as ended: [`JoinHandle::join`] says what is the matter.
    ///
    /// Never suspends.
    pub fn watch(&self, completions: &Completions, tag: usize) {
        let observer = completions.observer(tag);
        if self.is_finished() || self.is_stuck() {
            return observer.tell();
        }
        self.packet.strangers().get_or_insert_default().observers.push(observer);
        // ORDERING: SeqCst with `finish`'s, as there.
        self.packet.waiting.store(true, Ordering::SeqCst);
        if self.packet.finished.load(Ordering::SeqCst) {
            // Whoever takes it out tells, we or the task's end.
            self.take_observers(completions).into_iter().for_each(Observer::tell);
        }
    }

    /// Takes back what [`JoinHandle::watch`] asked for, unless the task has ended.
    ///
    /// Never suspends.
    pub fn unwatch(&self, completions: &Completions) {
        if self.packet.waiting.load(Ordering::Relaxed) {
            drop(self.take_observers(completions));
        }
    }

    fn take_observers(&self, completions: &Completions) -> Vec<Observer> {
        let mut strangers = self.packet.strangers();
        let observers = strangers.iter_mut().flat_map(|strangers| {
            strangers.observers.extract_if(.., |observer| observer.is_of(completions))
        });
        observers.collect()
    }

    /// Can it not end while the caller waits, because the caller unwinds on its worker?
    fn is_stuck(&self) -> bool {
        let own = with_worker(|worker| Arc::ptr_eq(&worker.inbox, &self.packet.inbox));
        own == Some(true) && as_task(|_, _| ()).is_none()
    }

    #[inline]
    #[track_caller]
    fn wait_until(&self, deadline: Option<Instant>) -> bool {
        if self.is_finished() {
            return true;
        }
        let reason = self.reason();
        if self.is_own() && deadlock::detection() == Detection::Off {
            // Nobody will say so later.
            return false;
        }
        let own = with_worker(|worker| Arc::ptr_eq(&worker.inbox, &self.packet.inbox));
        if own != Some(true) {
            return self.wait_elsewhere(&reason, deadline);
        }
        // SAFETY: required: a live task. It is the running one.
        let me = as_task(|_, task| unsafe { task.as_ref() }.id);
        // Unwinding, we cannot let the task run: it will not end while we wait.
        me.is_some_and(|me| self.wait_next_door(me, &reason, deadline))
    }

    /// Is it the handle of the calling task itself?
    #[inline]
    fn is_own(&self) -> bool {
        self.packet.identity.load(Ordering::Relaxed) == me().to_bits()
    }

    /// What a join waits for: the end of the task, which only it can bring.
    #[track_caller]
    fn reason(&self) -> Reason<'_> {
        let task = &self.packet.identity;
        // A word may be passed on, as locks are; that one is itself is final.
        let holder = if self.is_own() { Holder::One(me()) } else { Holder::In(task) };
        Reason::new("join", &*self.packet).held(holder)
    }

    /// Waits on the task's own worker: nothing can happen between a look and a park.
    #[inline]
    fn wait_next_door(&self, me: TaskId, reason: &Reason<'_>, deadline: Option<Instant>) -> bool {
        let look = || {
            self.packet.neighbour.set(Some(me));
            self.is_finished()
        };
        let finished = park_for_while_not(reason, look, deadline);
        self.packet.neighbour.set(None);
        finished
    }

    fn wait_elsewhere(&self, reason: &Reason<'_>, deadline: Option<Instant>) -> bool {
        let me = unparker();
        self.packet.strangers().get_or_insert_default().joiner = Some(me);
        // ORDERING: SeqCst with `finish`'s, as there.
        self.packet.waiting.store(true, Ordering::SeqCst);
        let is_finished = || self.packet.finished.load(Ordering::SeqCst);
        if deadline.is_none() && deadlock::detection() != Detection::Off && !in_task() {
            quiet::park_watching(reason, is_finished, &self.packet.inbox);
            return true;
        }
        park_for_while_not(reason, is_finished, deadline)
    }

    fn take(self) -> Result<T, JoinError> {
        // SAFETY: required: no other access. `finished` was seen set, and only the owner of the
        // one handle takes, once, by value.
        let outcome = unsafe { &mut *self.packet.outcome.get() };
        outcome.take().expect("an outcome is taken once")
    }
}
