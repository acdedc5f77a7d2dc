//! A value that is made when it is first needed: std's `LazyLock`, for tasks and plain threads.

use std::fmt;
use std::ops::{Deref, DerefMut};

use fiveways_runtime::without_interruption;
use fiveways_sys::lock::Mutex;

use super::once_lock::OnceLock;

/// Keeps a value that is made when it is first needed, as [`std::sync::LazyLock`].
///
/// # Cancellation
///
/// What makes the value is unwound neither by a cancellation nor by a time limit: the value would
/// be lost to all. They reach the task at its next wait. Who waits for another to make it is
/// unwound as usual.
///
/// # Panics
///
/// Every use panics when making the value panicked.
///
/// # Examples
///
/// ```
/// use fiveways::sync::LazyLock;
///
/// static PRIMES: LazyLock<Vec<u32>> =
///     LazyLock::new(|| (2..20).filter(|n| (2..*n).all(|d| n % d != 0)).collect());
/// assert_eq!(PRIMES.len(), 8);
/// ```
pub struct LazyLock<T, F = fn() -> T> {
    value: OnceLock<T>,
    /// Taken by who makes the value.
    make: Mutex<Option<F>>,
}

impl<T, F: FnOnce() -> T> LazyLock<T, F> {
    /// Makes one whose value `make` will make.
    pub const fn new(make: F) -> LazyLock<T, F> {
        LazyLock { value: OnceLock::new(), make: Mutex::new(Some(make)) }
    }

    /// Gives the value, which is made if this is its first use.
    ///
    /// # Suspends
    ///
    /// While another makes the value; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits for another to make it is unwound from here.
    ///
    /// # Panics
    ///
    /// When making the value panics or panicked; when called from within what makes the value.
    #[inline]
    #[track_caller]
    pub fn force(this: &LazyLock<T, F>) -> &T {
        this.value.get_or_init(|| this.make_value())
    }

    /// As [`LazyLock::force`], to change the value.
    ///
    /// # Panics
    ///
    /// When making the value panics or panicked.
    #[track_caller]
    pub fn force_mut(this: &mut LazyLock<T, F>) -> &mut T {
        LazyLock::force(this);
        this.value.get_mut().expect("the value was just made")
    }

    fn make_value(&self) -> T {
        let make = self.make.lock().take();
        let Some(make) = make else {
            panic!("the lazy lock is poisoned: making its value has panicked");
        };
        without_interruption(make)
    }
}

impl<T, F> LazyLock<T, F> {
    /// Gives the value if it was made.
    pub fn get(this: &LazyLock<T, F>) -> Option<&T> {
        this.value.get()
    }

    /// Gives the value to change if it was made.
    pub fn get_mut(this: &mut LazyLock<T, F>) -> Option<&mut T> {
        this.value.get_mut()
    }
}

impl<T, F: FnOnce() -> T> Deref for LazyLock<T, F> {
    type Target = T;

    #[inline]
    #[track_caller]
    fn deref(&self) -> &T {
        LazyLock::force(self)
    }
}

impl<T, F: FnOnce() -> T> DerefMut for LazyLock<T, F> {
    #[track_caller]
    fn deref_mut(&mut self) -> &mut T {
        LazyLock::force_mut(self)
    }
}

impl<T: Default> Default for LazyLock<T> {
    fn default() -> LazyLock<T> {
        LazyLock::new(T::default)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for LazyLock<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_tuple("LazyLock");
        match self.value.get() {
            Some(value) => shown.field(value),
            None => shown.field(&format_args!("<uninit>")),
        };
        shown.finish()
    }
}
