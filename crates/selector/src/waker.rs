//! Ends a wait from another thread (D54).
//!
//! An eventfd, and a flag so that only the first of several wakes costs a system call:
//!
//! ```text
//!   idle      there was no wake since the selector took the last one
//!   pending   there was one; a write to the eventfd has been made or is about to be
//!
//!   idle → pending   any thread, in `wake`; the thread that makes the transition writes, the
//!                    others return
//!   pending → idle   the selector, in `take`, after it has seen the write
//! ```
//!
//! Nothing is lost: a wake that finds the flag pending comes before the selector's transition to
//! idle, and what its thread did before is visible to the selector's thread after it. A write that
//! the selector has not seen always has the flag pending, so a selector need not look while it is

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fiveways_sys::event_fd::EventFd;

/// Ends the wait of a selector, or its next one, from any thread.
///
/// Clones wake the same selector. Waking one that was closed does nothing. After a `fork` the two
/// processes share one counter: create selectors after the fork.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    event: EventFd,
    /// States and writers: see the module.
    pending: AtomicBool,
}

impl Waker {
    /// Creates a waker; one for each selector.
    ///
    /// # Errors
    ///
    /// `EMFILE` or `ENFILE` if too many descriptors are open.
    pub fn new() -> io::Result<Waker> {
        Ok(Waker(Arc::new(Inner { event: EventFd::new()?, pending: AtomicBool::new(false) })))
    }

    /// Ends the wait, or the next one if there is none now.
    ///
    /// All that this thread did before is visible to the thread that returns from the wait. Several
    /// wakes before the selector takes one end one wait.
    #[inline]
    pub fn wake(&self) {
        // ORDERING: acquire-release. The release pairs with the acquire in `take`, also for the
        // wake that finds the flag set and writes nothing; the acquire keeps our write after it.
        if !self.0.pending.swap(true, Ordering::AcqRel) {
            self.0.event.add_one();
        }
    }

    /// Returns `true` if a wake is pending. Makes no system call.
    #[inline]
    pub fn is_pending(&self) -> bool {
        self.0.pending.load(Ordering::Acquire)
    }

    /// Takes a wake, after the eventfd was read or its edge was seen.
    #[inline]
    pub(crate) fn take(&self) {
        // ORDERING: acquire pairs with the release in `wake`: reading the `true` of the last wake,
        // we see all that its thread did before. A plain store would not read it.
        self.0.pending.swap(false, Ordering::AcqRel);
    }

    /// Takes a wake if the eventfd is watched by level: reads the eventfd first, so that a wake
    /// between the two steps finds the flag pending and its effects are seen by `take`.
    pub(crate) fn drain(&self) {
        self.0.event.reset();
        self.take();
    }
}

impl AsFd for Waker {
    /// The eventfd, for a selector to watch.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_wakes_write_once_until_noticed() {
        let waker = Waker::new().expect("a waker");
        waker.wake();
        assert!(waker.0.event.reset(), "the first wake writes");
        waker.wake();
        assert!(!waker.0.event.reset(), "the second does not");
        waker.take();
        waker.wake();
        assert!(waker.0.event.reset(), "the first after it was noticed does");
    }
}
