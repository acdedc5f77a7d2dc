//! A mutex: std's, for tasks and plain threads.
#![expect(unsafe_code, reason = "the data is reached through the lock")]

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
use std::time::Duration;

use fiveways_runtime::{clock, me, spend};

use super::exclusive::{Exclusive, Wait};
use super::poison::{Entry, Poison};

const WHAT: &str = "mutex";

/// Protects data that one task or thread at a time may use, as [`std::sync::Mutex`].
///
/// It belongs to the task that locked it: two tasks of one worker exclude each other, and a task
/// may hold it across waits.
///
/// # Fairness
///
/// Waiters are served in order, but another caller may take the lock between the moment it is
/// unlocked and the moment the woken waiter runs. A waiter that was overtaken in this way is handed
/// the lock the next time, before all others: none starves.
///
/// # Cancellation
///
/// The mutex is poisoned if a task is unwound while holding it, whether by a panic, a cancellation
/// or a time limit.
///
/// # Differences from std
///
/// Locking it again in the task or thread that holds it panics, where std may deadlock. In a
/// destructor that runs because its task unwinds, such a panic aborts the process.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use fiveways::sync::Mutex;
/// use fiveways::task;
///
/// let count = Arc::new(Mutex::new(0));
/// let tasks: Vec<_> = (0..10)
///     .map(|_| {
///         let count = Arc::clone(&count);
///         task::spawn(move || *count.lock().expect("nobody panics") += 1)
///     })
///     .collect();
/// for task in tasks {
///     task.join().expect("it does not panic");
/// }
/// assert_eq!(*count.lock().expect("nobody panics"), 10);
/// ```
#[doc(alias("Lock", "threading.Lock", "pthread_mutex_t"))]
pub struct Mutex<T: ?Sized> {
    lock: Exclusive,
    poison: Poison,
    data: UnsafeCell<T>,
}

// SAFETY: required: movable to another thread. The lock is atomic, and the data is `Send`.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: required: shareable between threads. Only the holder of the lock reaches the data, so it
// is with one thread at a time: `Send` is enough.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

impl<T: ?Sized> UnwindSafe for Mutex<T> {}
impl<T: ?Sized> RefUnwindSafe for Mutex<T> {}

/// The lock of a [`Mutex`]; unlocks it when dropped.
///
/// It stays with the task or thread that locked the mutex.
#[must_use = "the mutex is unlocked when its guard is dropped"]
#[clippy::has_significant_drop]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    entry: Entry,
    /// Not `Send`: the lock has an owner.
    stays: PhantomData<*const ()>,
}

// SAFETY: required: shareable between threads. It gives out shared references to the data only.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T> Mutex<T> {
    /// Makes an unlocked mutex.
    ///
    /// # Examples
    ///
    /// ```
    /// use fiveways::sync::Mutex;
    ///
    /// static NAMES: Mutex<Vec<String>> = Mutex::new(Vec::new());
    /// NAMES.lock().expect("nobody panics").push("Ada".to_owned());
    /// ```
    pub const fn new(data: T) -> Mutex<T> {
        Mutex { lock: Exclusive::new(), poison: Poison::new(), data: UnsafeCell::new(data) }
    }

    /// Takes the data out.
    ///
    /// # Errors
    ///
    /// The data in a [`PoisonError`], if a task or thread was unwound while holding the lock.
    pub fn into_inner(self) -> LockResult<T> {
        let poisoned = self.poison.is_set();
        let data = self.data.into_inner();
        if poisoned { Err(PoisonError::new(data)) } else { Ok(data) }
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks the mutex, waiting until it is unlocked.
    ///
    /// # Suspends
    ///
    /// Until the mutex is unlocked; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here, without the lock.
    ///
    /// # Errors
    ///
    /// The guard in a [`PoisonError`], if a task or thread was unwound while holding the lock.
    ///
    /// # Panics
    ///
    /// If the caller holds it already.
    #[doc(alias("acquire", "pthread_mutex_lock"))]
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        spend();
        self.lock_at(Location::caller())
    }

    /// Locks the mutex if it is unlocked.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] if it is locked, by the caller or another;
    /// [`TryLockError::Poisoned`] with the guard, if a task or thread was unwound while holding it.
    #[doc(alias = "pthread_mutex_trylock")]
    #[inline]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        let guard = self.lock.try_lock(me()).then(|| MutexGuard::new(self));
        self.poison.pass_some(guard)
    }

    /// Locks the mutex, waiting for at most `timeout`: the way out of a deadlock.
    ///
    /// # Suspends
    ///
    /// Until the mutex is unlocked or the timeout has passed; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here, without the lock.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] after the timeout; [`TryLockError::Poisoned`] with the guard,
    /// if a task or thread was unwound while holding the lock.
    ///
    /// # Panics
    ///
    /// If the caller holds it already.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use fiveways::sync::Mutex;
    /// use fiveways::task;
    ///
    /// static KEY: Mutex<()> = Mutex::new(());
    /// let held = KEY.lock().expect("nobody panics");
    /// let other = task::spawn(|| KEY.lock_timeout(Duration::from_millis(5)).is_err());
    /// assert!(other.join().expect("it does not panic"));
    /// # drop(held);
    /// ```
    #[doc(alias("try_lock_for", "pthread_mutex_timedlock"))]
    #[track_caller]
    pub fn lock_timeout(&self, timeout: Duration) -> TryLockResult<MutexGuard<'_, T>> {
        spend();
        let (place, me) = (Location::caller(), me());
        let locked = self.lock.try_lock(me) || {
            let deadline = clock::after(timeout);
            self.lock.lock_slowly(me, Wait { what: WHAT, place, deadline })
        };
        self.poison.pass_some(locked.then(|| MutexGuard::new(self)))
    }

    #[inline]
    pub(super) fn lock_at(
        &self,
        place: &'static Location<'static>,
    ) -> LockResult<MutexGuard<'_, T>> {
        let me = me();
        if !self.lock.try_lock(me) {
            self.lock.lock_slowly(me, Wait { what: WHAT, place, deadline: None });
        }
        self.poison.pass(MutexGuard::new(self))
    }

    /// Returns `true` if a task or thread was unwound while holding the lock.
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
    /// The data in a [`PoisonError`], if a task or thread was unwound while holding the lock.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        let poisoned = self.poison.is_set();
        let data = self.data.get_mut();
        if poisoned { Err(PoisonError::new(data)) } else { Ok(data) }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Mutex");
        match self.try_lock() {
            Ok(guard) => shown.field("data", &&*guard),
            Err(TryLockError::Poisoned(error)) => shown.field("data", &&**error.get_ref()),
            Err(TryLockError::WouldBlock) => shown.field("data", &format_args!("<locked>")),
        };
        shown.field("poisoned", &self.is_poisoned()).finish_non_exhaustive()
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(data: T) -> Mutex<T> {
        Mutex::new(data)
    }
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// The caller has just locked the mutex.
    #[inline]
    fn new(mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        MutexGuard { mutex, entry: mutex.poison.enter(), stays: PhantomData }
    }

    pub(super) fn mutex(&self) -> &'a Mutex<T> {
        self.mutex
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: required: nobody changes the data meanwhile. We have the lock.
        unsafe { &*self.mutex.data.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: required: nobody else uses the data meanwhile. We have the lock, and the borrow
        // of the guard is exclusive.
        unsafe { &mut *self.mutex.data.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.poison.leave(&self.entry);
        self.mutex.lock.unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}
