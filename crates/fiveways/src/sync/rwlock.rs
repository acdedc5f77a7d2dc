//! A read-write lock: std's, for tasks and plain threads.
#![expect(unsafe_code, reason = "the data is reached through the lock")]

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
use std::time::Duration;

use fiveways_runtime::{clock, me, spend};

use super::poison::{Entry, Poison};
use super::shared::{Access, Shared};

/// Protects data that many may read or one may write, as [`std::sync::RwLock`].
///
/// # Fairness
///
/// First come, first served: a caller queues behind existing waiters, and the lock is handed to one
/// writer, or to all readers before the next writer. So neither starves; and a task that holds a
/// read lock must not lock for reading again, since a writer may be waiting in between.
///
/// # Cancellation
///
/// The lock is poisoned if a task is unwound while *writing*, whether by a panic, a cancellation or
/// a time limit.
///
/// # Differences from std
///
/// Locking it in the task or thread that holds the write lock panics, where std may deadlock.
///
/// # Examples
///
/// ```
/// use fiveways::sync::RwLock;
///
/// let lock = RwLock::new(5);
/// {
///     let first = lock.read().expect("nobody panics");
///     let second = lock.read().expect("nobody panics");
///     assert_eq!(*first + *second, 10);
/// }
/// *lock.write().expect("nobody panics") += 1;
/// assert_eq!(*lock.read().expect("nobody panics"), 6);
/// ```
#[doc(alias = "pthread_rwlock_t")]
pub struct RwLock<T: ?Sized> {
    lock: Shared,
    poison: Poison,
    data: UnsafeCell<T>,
}

// SAFETY: required: movable to another thread. The lock is atomic, and the data is `Send`.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: required: shareable between threads. A writer has the data alone (`Send`), readers share
// it (`Sync`).
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}

impl<T: ?Sized> UnwindSafe for RwLock<T> {}
impl<T: ?Sized> RefUnwindSafe for RwLock<T> {}

/// A read lock of an [`RwLock`]; unlocks it when dropped.
#[must_use = "the lock is unlocked when its guard is dropped"]
#[clippy::has_significant_drop]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    /// Not `Send`, as std's.
    stays: PhantomData<*const ()>,
}

// SAFETY: required: shareable between threads. It gives out shared references to the data only.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}

/// The write lock of an [`RwLock`]; unlocks it when dropped.
#[must_use = "the lock is unlocked when its guard is dropped"]
#[clippy::has_significant_drop]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    access: Access,
    entry: Entry,
    /// Not `Send`: the lock has an owner.
    stays: PhantomData<*const ()>,
}

// SAFETY: required: shareable between threads. It gives out shared references to the data only.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<T> RwLock<T> {
    /// Makes an unlocked lock.
    pub const fn new(data: T) -> RwLock<T> {
        RwLock { lock: Shared::new(), poison: Poison::new(), data: UnsafeCell::new(data) }
    }

    /// Takes the data out.
    ///
    /// # Errors
    ///
    /// The data in a [`PoisonError`], if a task or thread was unwound while writing.
    pub fn into_inner(self) -> LockResult<T> {
        let poisoned = self.poison.is_set();
        let data = self.data.into_inner();
        if poisoned { Err(PoisonError::new(data)) } else { Ok(data) }
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Locks for reading, waiting while another task or thread writes or waits to write.
    ///
    /// # Suspends
    ///
    /// Until the lock is available; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here, without the lock.
    ///
    /// # Errors
    ///
    /// The guard in a [`PoisonError`], if a task or thread was unwound while writing.
    ///
    /// # Panics
    ///
    /// If the caller holds the write lock.
    #[doc(alias = "pthread_rwlock_rdlock")]
    #[inline]
    #[track_caller]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        spend();
        let place = Location::caller();
        if !self.lock.try_take(Access::Read) {
            self.lock.take_slowly(Access::Read, me(), place, None);
        }
        self.poison.pass(RwLockReadGuard::new(self))
    }

    /// Locks for reading if there is no writer and no waiter.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] if it would have to wait; [`TryLockError::Poisoned`] with the
    /// guard, if a task or thread was unwound while writing.
    #[inline]
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        let guard = self.lock.try_take(Access::Read).then(|| RwLockReadGuard::new(self));
        self.poison.pass_some(guard)
    }

    /// Locks for reading, waiting for at most `timeout`.
    ///
    /// # Suspends
    ///
    /// Until the lock is available or the timeout has passed; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here, without the lock.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] after the timeout; [`TryLockError::Poisoned`] with the guard,
    /// if a task or thread was unwound while writing.
    ///
    /// # Panics
    ///
    /// If the caller holds the write lock.
    #[doc(alias = "pthread_rwlock_timedrdlock")]
    #[track_caller]
    pub fn read_timeout(&self, timeout: Duration) -> TryLockResult<RwLockReadGuard<'_, T>> {
        spend();
        let place = Location::caller();
        let locked = self.lock.try_take(Access::Read) || {
            let deadline = clock::after(timeout);
            self.lock.take_slowly(Access::Read, me(), place, deadline)
        };
        self.poison.pass_some(locked.then(|| RwLockReadGuard::new(self)))
    }

    /// Locks for writing, waiting while other tasks or threads read or write.
    ///
    /// # Suspends
    ///
    /// Until the lock is available; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here, without the lock.
    ///
    /// # Errors
    ///
    /// The guard in a [`PoisonError`], if a task or thread was unwound while writing.
    ///
    /// # Panics
    ///
    /// If the caller holds the write lock already.
    #[doc(alias = "pthread_rwlock_wrlock")]
    #[inline]
    #[track_caller]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        spend();
        let (place, me) = (Location::caller(), me());
        let access = Access::Write(me);
        if !self.lock.try_take(access) {
            self.lock.take_slowly(access, me, place, None);
        }
        self.poison.pass(RwLockWriteGuard::new(self, access))
    }

    /// Locks for writing if there is no reader, no writer and no waiter.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] if it would have to wait; [`TryLockError::Poisoned`] with the
    /// guard, if a task or thread was unwound while writing.
    #[inline]
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        let access = Access::Write(me());
        let guard = self.lock.try_take(access).then(|| RwLockWriteGuard::new(self, access));
        self.poison.pass_some(guard)
    }

    /// Locks for writing, waiting for at most `timeout`.
    ///
    /// # Suspends
    ///
    /// Until the lock is available or the timeout has passed; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here, without the lock.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] after the timeout; [`TryLockError::Poisoned`] with the guard,
    /// if a task or thread was unwound while writing.
    ///
    /// # Panics
    ///
    /// If the caller holds the write lock already.
    #[doc(alias = "pthread_rwlock_timedwrlock")]
    #[track_caller]
    pub fn write_timeout(&self, timeout: Duration) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        spend();
        let (place, me) = (Location::caller(), me());
        let access = Access::Write(me);
        let locked = self.lock.try_take(access) || {
            let deadline = clock::after(timeout);
            self.lock.take_slowly(access, me, place, deadline)
        };
        self.poison.pass_some(locked.then(|| RwLockWriteGuard::new(self, access)))
    }

    /// Returns `true` if a task or thread was unwound while writing.
    ///
    /// Without the lock, the result may be out of date.
    pub fn is_poisoned(&self) -> bool {
        self.poison.is_set()
    }

    /// Clears the poisoned state.
    pub fn clear_poison(&self) {
        self.poison.clear();
    }

    /// Returns a mutable reference without locking: `&mut self` proves that there is no other user.
    ///
    /// # Errors
    ///
    /// The data in a [`PoisonError`], if a task or thread was unwound while writing.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        let poisoned = self.poison.is_set();
        let data = self.data.get_mut();
        if poisoned { Err(PoisonError::new(data)) } else { Ok(data) }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RwLock");
        match self.try_read() {
            Ok(guard) => shown.field("data", &&*guard),
            Err(TryLockError::Poisoned(error)) => shown.field("data", &&**error.get_ref()),
            Err(TryLockError::WouldBlock) => shown.field("data", &format_args!("<locked>")),
        };
        shown.field("poisoned", &self.is_poisoned()).finish_non_exhaustive()
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(data: T) -> RwLock<T> {
        RwLock::new(data)
    }
}

impl<'a, T: ?Sized> RwLockReadGuard<'a, T> {
    /// The caller has just locked for reading.
    #[inline]
    fn new(lock: &'a RwLock<T>) -> RwLockReadGuard<'a, T> {
        RwLockReadGuard { lock, stays: PhantomData }
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: required: nobody changes the data meanwhile. We have the lock for reading.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.lock.release(Access::Read);
    }
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// The caller has just locked for writing.
    #[inline]
    fn new(lock: &'a RwLock<T>, access: Access) -> RwLockWriteGuard<'a, T> {
        RwLockWriteGuard { lock, access, entry: lock.poison.enter(), stays: PhantomData }
    }

    /// Turns the write lock into a read lock; no other writer comes in between.
    pub fn downgrade(guard: RwLockWriteGuard<'a, T>) -> RwLockReadGuard<'a, T> {
        let lock = guard.lock;
        lock.poison.leave(&guard.entry);
        mem::forget(guard);
        lock.lock.downgrade();
        RwLockReadGuard::new(lock)
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: required: nobody changes the data meanwhile. We have the lock for writing.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: required: nobody else uses the data meanwhile. We have the lock for writing, and
        // the borrow of the guard is exclusive.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.poison.leave(&self.entry);
        self.lock.lock.release(self.access);
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}
