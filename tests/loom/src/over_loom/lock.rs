//! In the place of `sys::lock`.
//!
//! It is not loom's mutex: that is poisoned when one thread of a model unwinds while another
//! holds it, since all are one thread to std.
#![expect(unsafe_code, reason = "the data is reached through the lock")]

use std::cell::{RefCell, UnsafeCell};
use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};

use loom::thread::Thread;

use super::sync::atomic::{AtomicBool, Ordering};

/// A mutex that is never poisoned.
pub struct Mutex<T: ?Sized> {
    held: AtomicBool,
    /// Not a step of the model: it changes with `held`.
    waiting: RefCell<Vec<Thread>>,
    data: UnsafeCell<T>,
}

// SAFETY: required: shareable between threads. The lock orders the uses of the data, and loom's
// threads are one thread.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}
// SAFETY: required: movable between threads. The data is, and loom's threads are one thread.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}

/// The lock of a [`Mutex`].
pub struct MutexGuard<'a, T: ?Sized>(&'a Mutex<T>);

impl<T> Mutex<T> {
    /// Makes an unlocked mutex.
    pub fn new(data: T) -> Mutex<T> {
        let (held, waiting) = (AtomicBool::new(false), RefCell::default());
        Mutex { held, waiting, data: UnsafeCell::new(data) }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        while self.held.swap(true, Ordering::Acquire) {
            self.waiting.borrow_mut().push(loom::thread::current());
            loom::thread::park();
        }
        MutexGuard(self)
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: required: nobody changes the data meanwhile. We have the lock.
        unsafe { &*self.0.data.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: required: nobody else uses the data meanwhile. We have the lock.
        unsafe { &mut *self.0.data.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        // Not a store: loom would let who swaps see the value before it as the newest.
        self.0.held.swap(false, Ordering::AcqRel);
        let waiting = mem::take(&mut *self.0.waiting.borrow_mut());
        for thread in waiting {
            thread.unpark();
        }
    }
}

impl<T: ?Sized> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}
