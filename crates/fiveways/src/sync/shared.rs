//! A read-write lock without its data: many readers or one writer.
//!
//! ```text
//!   state   63…2  readers that have it
//!           1     WRITER: a writer has it
//!           0     WAITING: the queue is not empty; the unlocker looks there
//!   writer  who writes, for the search for deadlocks; 0: nobody
//! ```
//!
//! Service is in queue order: a caller queues behind existing waiters. The lock is handed over,
//! never free in between: to one writer, or to all readers up to the next writer. So neither
//! readers nor writers starve.
//!
//! While `WAITING` is set the lock can be taken under the lock of the queue only.

use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use fiveways_runtime::{CHOSEN, Holder, Identity, Reason, Unparker, WaitQueue, Waiter};
use fiveways_sys::lock::Mutex;

const WAITING: usize = 1;
const WRITER: usize = 2;
const READER: usize = 4;

/// A read-write lock without data.
#[derive(Debug)]
pub(super) struct Shared {
    state: AtomicUsize,
    writer: AtomicU64,
    queue: Mutex<WaitQueue<Access>>,
}

/// The access that a caller wants, or has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write(Identity),
}

impl Shared {
    pub(super) const fn new() -> Shared {
        Shared {
            state: AtomicUsize::new(0),
            writer: AtomicU64::new(0),
            queue: Mutex::new(WaitQueue::new()),
        }
    }

    /// Takes it if it is available and there are no waiters.
    #[inline]
    pub(super) fn try_take(&self, access: Access) -> bool {
        self.take(access, WAITING)
    }

    /// Releases it; only for a holder with this access.
    #[inline]
    pub(super) fn release(&self, access: Access) {
        // ORDERING: Release: the next holder sees what was done under the lock.
        let left = match access {
            Access::Read => self.state.fetch_sub(READER, Ordering::Release) - READER,
            Access::Write(_) => {
                self.writer.store(0, Ordering::Relaxed);
                self.state.fetch_and(!WRITER, Ordering::Release) & !WRITER
            }
        };
        if left == WAITING {
            self.hand_over();
        }
    }

    /// Turns the writer into a reader.
    pub(super) fn downgrade(&self) {
        self.writer.store(0, Ordering::Relaxed);
        let was = self.state.fetch_add(READER - WRITER, Ordering::Release);
        if was & WAITING != 0 {
            self.hand_over();
        }
    }

    /// Takes it, waiting if necessary; returns `false` if the deadline came first.
    ///
    /// # Panics
    ///
    /// If the caller holds the write lock already.
    #[cold]
    pub(super) fn take_slowly(
        &self,
        access: Access,
        me: Identity,
        place: &'static Location<'static>,
        deadline: Option<Instant>,
    ) -> bool {
        let own = Identity::from_bits(self.writer.load(Ordering::Relaxed)) == Some(me);
        assert!(!own, "the rwlock is written by the caller, {me}, who would wait for itself");
        let waiter = pin!(Waiter::new());
        let waiter = waiter.as_ref();
        self.join(waiter, access);
        let what = if access == Access::Read { "rwlock read" } else { "rwlock write" };
        let on = std::ptr::from_ref(self).addr();
        let reason = Reason { what, on, holder: Holder::In(&self.writer), place };
        let leave = || self.leave(waiter);
        waiter.wait(&reason, deadline, leave, |_| self.release(access)).is_some()
    }

    /// Enters the queue, and may be served at once.
    fn join(&self, waiter: Pin<&Waiter>, access: Access) {
        let mut queue = self.queue.lock();
        queue.enqueue_with(waiter, access);
        self.state.fetch_or(WAITING, Ordering::Relaxed);
        let mut served = self.serve(&mut queue);
        if waiter.selection().is_some() {
            // It entered last, so it was served last.
            served.pop();
        }
        drop(queue);
        unpark(&served);
    }

    /// Leaves the queue; waiters behind it may have been held up by nothing else.
    fn leave(&self, waiter: Pin<&Waiter>) {
        let mut queue = self.queue.lock();
        queue.remove(waiter);
        let served = self.serve(&mut queue);
        drop(queue);
        unpark(&served);
    }

    #[cold]
    fn hand_over(&self) {
        let served = self.serve(&mut self.queue.lock());
        unpark(&served);
    }

    /// Gives the lock to the first waiters, as many as can share it, and returns them to be
    /// unparked. Called with `WAITING` set, or by a caller that finds the queue empty.
    fn serve(&self, queue: &mut WaitQueue<Access>) -> Vec<Unparker> {
        let mut served = Vec::new();
        while let Some(&access) = queue.want(0) {
            if !self.take(access, 0) {
                return served;
            }
            served.extend(queue.select(0, CHOSEN));
        }
        self.state.fetch_and(!WAITING, Ordering::Relaxed);
        served
    }

    /// Takes the lock if `access` is possible and none of the bits in `against` is set.
    #[inline]
    fn take(&self, access: Access, against: usize) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let (blocked, next) = match access {
                Access::Read => (WRITER | against, state.checked_add(READER)),
                Access::Write(_) => (!WAITING | against, Some(state | WRITER)),
            };
            if state & blocked != 0 {
                return false;
            }
            let next = next.expect("there are less than 2^62 readers");
            // ORDERING: Acquire pairs with the Release of the thread that released it.
            let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
            match self.state.compare_exchange_weak(state, next, success, failure) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        if let Access::Write(me) = access {
            self.writer.store(me.to_bits(), Ordering::Relaxed);
        }
        true
    }
}

/// Unparks the waiters that were served.
fn unpark(served: &[Unparker]) {
    served.iter().for_each(Unparker::unpark);
}
