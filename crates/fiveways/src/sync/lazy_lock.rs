//! A value that is initialised on first use: std's `LazyLock`, for tasks and plain threads.

use std::fmt;
use std::ops::{Deref, DerefMut};

use fiveways_runtime::without_interruption;
use fiveways_sys::lock::Mutex;

use super::once_lock::OnceLock;

/// A value that is initialised on first use, as [`std::sync::LazyLock`].
///
/// # Cancellation
///
/// The initialiser is unwound neither by a cancellation nor by a time limit: the value would be
/// lost to all users. They take effect at the task's next wait. A task that waits for another to
/// initialise the value is unwound as usual.
///
/// # Panics
///
/// Every use panics if the initialiser panicked.
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
    /// Taken by the task or thread that initialises the value.
    make: Mutex<Option<F>>,
}

impl<T, F: FnOnce() -> T> LazyLock<T, F> {
    /// Makes a lazy lock whose value is initialised by `make`.
    pub const fn new(make: F) -> LazyLock<T, F> {
        LazyLock { value: OnceLock::new(), make: Mutex::new(Some(make)) }
    }

    /// Returns the value, initialising it on first use.
    ///
    /// # Suspends
    ///
    /// While another task or thread initialises the value; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits for the initialisation is unwound from here.
    ///
    /// # Panics
    ///
    /// If the initialiser panics or has panicked; if called from within the initialiser.
    #[inline]
    #[track_caller]
    pub fn force(this: &LazyLock<T, F>) -> &T {
        this.value.get_or_init(|| this.make_value())
    }

    /// As [`LazyLock::force`], but returns a mutable reference.
    ///
    /// # Panics
    ///
    /// If the initialiser panics or has panicked.
    #[track_caller]
    pub fn force_mut(this: &mut LazyLock<T, F>) -> &mut T {
        LazyLock::force(this);
        this.value.get_mut().expect("the value was just made")
    }

    fn make_value(&self) -> T {
        let make = self.make.lock().take();
        let Some(make) = make else {
            panic!("the lazy lock is poisoned: its initialiser has panicked");
        };
        without_interruption(make)
    }
}

impl<T, F> LazyLock<T, F> {
    /// Returns the value, if it is initialised.
    pub fn get(this: &LazyLock<T, F>) -> Option<&T> {
        this.value.get()
    }

    /// Returns a mutable reference to the value, if it is initialised.
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
