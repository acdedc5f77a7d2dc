//! A mutex that its holder may lock again.
#![expect(unsafe_code, reason = "the data is shared with one task at a time")]

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fiveways_runtime::{Identity, clock, me, spend};

use super::exclusive::{Exclusive, Wait};

const WHAT: &str = "reentrant mutex";

/// A mutex that its holder may lock again, and must unlock as often.
///
/// Its owner is the *task*: another task of the same worker waits, as another thread would. Only
/// shared references to the data are given out, since the holder may have several guards; it is
/// never poisoned.
///
/// A guard cannot leave its task, so only the owner can unlock it.
///
/// # Examples
///
/// ```
/// use std::cell::Cell;
/// use fiveways::sync::ReentrantMutex;
///
/// let depth = ReentrantMutex::new(Cell::new(0));
/// let first = depth.lock();
/// let second = depth.lock();
/// second.set(second.get() + 1);
/// assert_eq!(depth.count(), 2);
/// drop(second);
/// assert_eq!(first.get(), 1);
/// ```
#[doc(alias("RLock", "threading.RLock", "ReentrantLock", "PTHREAD_MUTEX_RECURSIVE"))]
pub struct ReentrantMutex<T: ?Sized> {
    lock: Exclusive,
    /// The number of the holder's guards; read and written by the holder only.
    count: AtomicUsize,
    data: T,
}

// SAFETY: required: shareable between threads. Only the holder of the lock reaches the data, so it
// is with one thread at a time: `Send` is enough.
unsafe impl<T: ?Sized + Send> Sync for ReentrantMutex<T> {}

impl<T: ?Sized> UnwindSafe for ReentrantMutex<T> {}
impl<T: ?Sized> RefUnwindSafe for ReentrantMutex<T> {}

/// One lock of a [`ReentrantMutex`]; released when dropped.
#[must_use = "the mutex is unlocked when its guard is dropped"]
#[clippy::has_significant_drop]
pub struct ReentrantMutexGuard<'a, T: ?Sized> {
    mutex: &'a ReentrantMutex<T>,
    /// Not `Send`: the lock has an owner.
    stays: PhantomData<*const ()>,
}

// SAFETY: required: shareable between threads. It gives out shared references to the data only.
unsafe impl<T: ?Sized + Sync> Sync for ReentrantMutexGuard<'_, T> {}

impl<T> ReentrantMutex<T> {
    /// Makes an unlocked mutex.
    pub const fn new(data: T) -> ReentrantMutex<T> {
        ReentrantMutex { lock: Exclusive::new(), count: AtomicUsize::new(0), data }
    }

    /// Takes the data out.
    pub fn into_inner(self) -> T {
        self.data
    }
}

impl<T: ?Sized> ReentrantMutex<T> {
    /// Locks the mutex, waiting until it is free or the caller holds it.
    ///
    /// # Suspends
    ///
    /// Until the mutex is free; a plain thread blocks. Does not suspend if the caller holds it.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here, without the lock.
    #[doc(alias = "acquire")]
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> ReentrantMutexGuard<'_, T> {
        spend();
        let (place, me) = (Location::caller(), me());
        if !self.enter(me) {
            self.lock.lock_slowly(me, Wait { what: WHAT, place, deadline: None });
            self.count.store(1, Ordering::Relaxed);
        }
        ReentrantMutexGuard::new(self)
    }

    /// Locks the mutex if it is free or the caller holds it.
    #[inline]
    pub fn try_lock(&self) -> Option<ReentrantMutexGuard<'_, T>> {
        self.enter(me()).then(|| ReentrantMutexGuard::new(self))
    }

    /// Locks the mutex, waiting for at most `timeout`; returns `None` after the timeout.
    ///
    /// # Suspends
    ///
    /// Until the mutex is free or the timeout has passed; a plain thread blocks. Does not suspend
    /// if the caller holds it.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here, without the lock.
    #[track_caller]
    pub fn lock_timeout(&self, timeout: Duration) -> Option<ReentrantMutexGuard<'_, T>> {
        spend();
        let (place, me) = (Location::caller(), me());
        if !self.enter(me) {
            let deadline = clock::after(timeout);
            if !self.lock.lock_slowly(me, Wait { what: WHAT, place, deadline }) {
                return None;
            }
            self.count.store(1, Ordering::Relaxed);
        }
        Some(ReentrantMutexGuard::new(self))
    }

    /// Returns how many locks the caller holds.
    pub fn count(&self) -> usize {
        if self.lock.holder() == Some(me()) { self.count.load(Ordering::Relaxed) } else { 0 }
    }

    /// Returns a mutable reference without locking: `&mut self` proves that there is no other user.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.data
    }

    /// Takes it if it is free, or once more.
    ///
    /// # Panics
    ///
    /// If the holder has more locks than can be counted.
    #[inline]
    fn enter(&self, me: Identity) -> bool {
        if self.lock.try_lock(me) {
            self.count.store(1, Ordering::Relaxed);
            return true;
        }
        // Only the caller could have written its identity, so there is no race.
        let own = self.lock.holder() == Some(me);
        if own {
            let count = self.count.load(Ordering::Relaxed).checked_add(1);
            let count = count.expect("a reentrant mutex is locked less than 2^64 times");
            self.count.store(count, Ordering::Relaxed);
        }
        own
    }
}

impl<T: Default> Default for ReentrantMutex<T> {
    fn default() -> ReentrantMutex<T> {
        ReentrantMutex::new(T::default())
    }
}

impl<T> From<T> for ReentrantMutex<T> {
    fn from(data: T) -> ReentrantMutex<T> {
        ReentrantMutex::new(data)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for ReentrantMutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ReentrantMutex");
        match self.try_lock() {
            Some(guard) => shown.field("data", &&*guard),
            None => shown.field("data", &format_args!("<locked>")),
        };
        shown.finish_non_exhaustive()
    }
}

impl<'a, T: ?Sized> ReentrantMutexGuard<'a, T> {
    #[inline]
    fn new(mutex: &'a ReentrantMutex<T>) -> ReentrantMutexGuard<'a, T> {
        ReentrantMutexGuard { mutex, stays: PhantomData }
    }
}

impl<T: ?Sized> Deref for ReentrantMutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.mutex.data
    }
}

impl<T: ?Sized> Drop for ReentrantMutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let left = self.mutex.count.load(Ordering::Relaxed) - 1;
        self.mutex.count.store(left, Ordering::Relaxed);
        if left == 0 {
            self.mutex.lock.unlock();
        }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for ReentrantMutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for ReentrantMutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}
