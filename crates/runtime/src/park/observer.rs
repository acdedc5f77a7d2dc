//! What the engine reports of waits to the search for deadlocks, which lies above it.
//!
//! The engine calls through [`WAIT_OBSERVER`](crate::WAIT_OBSERVER), which the crate's root fills
//! in. So nothing in the engine imports the diagnosis, and the diagnosis may use all of the engine.
#![expect(unsafe_code, reason = "the observer keeps pointers to reasons")]

use std::marker::PhantomData;
use std::sync::Arc;

use crate::WAIT_OBSERVER;
use crate::identity::Identity;
use crate::park::current::Caller;
use crate::reason::Reason;
use crate::worker::inbox::Inbox;

/// The functions of the diagnosis that the engine calls.
pub(crate) struct WaitObserver {
    /// A wait without a deadline begins whose enders are known. Panics with a
    /// [`Deadlock`](crate::Deadlock) if the wait is to be refused.
    ///
    /// # Safety
    ///
    /// The reason lives until `wait_ends` is called for the caller, unless this panics.
    pub(crate) wait_begins: unsafe fn(Caller, &Reason<'_>),
    /// The wait that this task or thread began last has ended.
    pub(crate) wait_ends: fn(Identity),
    /// A task was cancelled: its waits end by themselves.
    pub(crate) asked_to_end: fn(Identity),
    /// Blocks a plain thread until the condition holds, which a task of that worker brings about.
    pub(crate) joined_on_thread: fn(&Reason<'_>, &dyn Fn() -> bool, &Arc<Inbox>),
}

/// Keeps a wait observed while it lives.
pub(crate) struct ObservedWait<'a> {
    who: Identity,
    reason: PhantomData<&'a Reason<'a>>,
}

impl<'a> ObservedWait<'a> {
    /// Reports that the caller begins a wait.
    ///
    /// # Panics
    ///
    /// With a [`Deadlock`](crate::Deadlock), if deadlocks are to panic and the wait closes one.
    pub(crate) fn begin(me: Caller, reason: &'a Reason<'a>) -> ObservedWait<'a> {
        // SAFETY: required: the reason lives until `wait_ends` is called. The value created here
        // borrows it, and calls that when dropped; its owner keeps it on the stack.
        unsafe { (WAIT_OBSERVER.wait_begins)(me, reason) };
        ObservedWait { who: me.identity, reason: PhantomData }
    }
}

impl Drop for ObservedWait<'_> {
    fn drop(&mut self) {
        (WAIT_OBSERVER.wait_ends)(self.who);
    }
}
