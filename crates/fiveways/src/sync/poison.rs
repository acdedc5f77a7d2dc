//! Whether somebody was unwound while holding a lock; the same rule as std's.
//!
//! A task never changes thread and is never parked while it unwinds, so `thread::panicking` speaks
//! of the running task as it would of a thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
use std::thread;

/// false → true by a guard that is dropped by unwinding; back by `clear`.
///
/// The lock orders what its holders see of it.
#[derive(Debug)]
pub(super) struct Poison(AtomicBool);

/// Was the holder unwinding already when it took the lock? Then its end says nothing.
#[derive(Debug)]
pub(super) struct Entry {
    unwinding: bool,
}

impl Poison {
    pub(super) const fn new() -> Poison {
        Poison(AtomicBool::new(false))
    }

    #[inline]
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn enter(&self) -> Entry {
        Entry { unwinding: thread::panicking() }
    }

    #[inline]
    pub(super) fn leave(&self, entry: &Entry) {
        if !entry.unwinding && thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Participants out what was locked, as an error when the lock is poisoned.
    #[inline]
    pub(super) fn pass<T>(&self, locked: T) -> LockResult<T> {
        if self.is_set() { Err(PoisonError::new(locked)) } else { Ok(locked) }
    }

    /// As [`Poison::pass`], where the lock may not have been had.
    #[inline]
    pub(super) fn pass_some<T>(&self, locked: Option<T>) -> TryLockResult<T> {
        let locked = locked.ok_or(TryLockError::WouldBlock)?;
        self.pass(locked).map_err(TryLockError::Poisoned)
    }
}
