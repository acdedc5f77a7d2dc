//! Lock poisoning: whether a task or thread was unwound while holding a lock; the same rule as
//! std's.
//!
//! A task never changes thread and is never parked while it unwinds, so `thread::panicking` answers
//! for the running task as it would for a thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
use std::thread;

/// false → true when a guard is dropped by unwinding; back by `clear`.
///
/// The lock orders its holders' accesses to it.
#[derive(Debug)]
pub(super) struct Poison(AtomicBool);

/// `true` if the holder was already unwinding when it took the lock. Then its end means nothing.
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

    /// Returns what was locked, as an error if the lock is poisoned.
    #[inline]
    pub(super) fn pass<T>(&self, locked: T) -> LockResult<T> {
        if self.is_set() { Err(PoisonError::new(locked)) } else { Ok(locked) }
    }

    /// As [`Poison::pass`], for an attempt that may have failed.
    #[inline]
    pub(super) fn pass_some<T>(&self, locked: Option<T>) -> TryLockResult<T> {
        let locked = locked.ok_or(TryLockError::WouldBlock)?;
        self.pass(locked).map_err(TryLockError::Poisoned)
    }
}
