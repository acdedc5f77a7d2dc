//! A value that is set once in a process, and that its forks have as well.
//!
//! Unlike `std::sync::OnceLock`, no thread waits for another that is about to set it: a fork does
//! not have that thread, and the wait would have no end.
//!
//! ```text
//!   null ──set (compare-and-swap)──▶ the value, for as long as the `SetOnce` lives
//! ```
#![expect(unsafe_code, reason = "a value behind a pointer")]

use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A place for a value that is set once.
#[derive(Debug)]
pub struct SetOnce<T> {
    /// Null, then the value.
    at: AtomicPtr<T>,
    owns: PhantomData<T>,
}

impl<T> SetOnce<T> {
    /// Creates an empty place.
    pub const fn new() -> SetOnce<T> {
        SetOnce { at: AtomicPtr::new(ptr::null_mut()), owns: PhantomData }
    }
}

impl<T> Default for SetOnce<T> {
    fn default() -> SetOnce<T> {
        SetOnce::new()
    }
}

impl<T: Send + Sync> SetOnce<T> {
    /// Returns the value, if it was set. Safe in signal handlers.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // ORDERING: pairs with the exchange in `put`.
        // SAFETY: required: null or valid while `self` is. It is freed by the drop alone.
        unsafe { self.at.load(Ordering::Acquire).as_ref() }
    }

    /// Sets the value; returns `false` if there was one already.
    pub fn set(&self, value: T) -> bool {
        self.get().is_none() && self.put(value).1
    }

    /// Returns the value, created by `make` if there is none; of two that are created at the same
    /// time one is dropped.
    #[inline]
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        match self.get() {
            Some(value) => value,
            None => self.put(make()).0,
        }
    }

    #[cold]
    fn put(&self, value: T) -> (&T, bool) {
        let new = Box::into_raw(Box::new(value));
        let order = (Ordering::AcqRel, Ordering::Acquire);
        let put = self.at.compare_exchange(ptr::null_mut(), new, order.0, order.1);
        let kept = match put {
            Ok(_) => new,
            Err(there) => {
                // SAFETY: required: from `into_raw`, and nobody else has it. It was not put there.
                drop(unsafe { Box::from_raw(new) });
                there
            }
        };
        // SAFETY: required: valid while `self` is. As in `get`, and it is not null.
        (unsafe { &*kept }, put.is_ok())
    }
}

impl<T> Drop for SetOnce<T> {
    fn drop(&mut self) {
        let at = *self.at.get_mut();
        if !at.is_null() {
            // SAFETY: required: from `into_raw`, freed once. We have it exclusively.
            drop(unsafe { Box::from_raw(at) });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_first_value_stays_and_all_are_dropped_once() {
        let (first, second) = (Arc::new(1), Arc::new(2));
        let place = SetOnce::new();
        assert_eq!(place.get(), None);
        assert!(place.set(Arc::clone(&first)));
        assert!(!place.set(Arc::clone(&second)));
        assert_eq!(**place.get_or_init(|| unreachable!("it is there")), 1);
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (2, 1));
        drop(place);
        assert_eq!(Arc::strong_count(&first), 1);
    }

    #[test]
    fn all_threads_have_the_same_value() {
        let place = SetOnce::new();
        let at = |number: u8| ptr::from_ref(place.get_or_init(|| number)).addr();
        let all: Vec<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || at(n))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert!(all.iter().all(|one| *one == all[0]));
    }
}
