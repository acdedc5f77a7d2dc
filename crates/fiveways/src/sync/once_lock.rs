//! A value that is written once: std's `OnceLock`, for tasks and plain threads.

use std::fmt;
use std::panic::Location;
use std::sync::OnceLock as Place;

use super::once::Once;

/// A value that is written once, as [`std::sync::OnceLock`].
///
/// # Cancellation
///
/// If a task is unwound while it computes the value, the next caller computes it: nothing is lost.
///
/// # Examples
///
/// ```
/// use fiveways::sync::OnceLock;
///
/// static HOME: OnceLock<String> = OnceLock::new();
/// assert!(HOME.get().is_none());
/// assert_eq!(HOME.get_or_init(|| "here".to_owned()), "here");
/// assert_eq!(HOME.set("there".to_owned()), Err("there".to_owned()));
/// ```
pub struct OnceLock<T> {
    /// Lets one caller at a time compute the value, while others wait.
    once: Once,
    /// Filled by that caller, without waiting.
    place: Place<T>,
}

impl<T> OnceLock<T> {
    /// Makes a lock without a value.
    pub const fn new() -> OnceLock<T> {
        OnceLock { once: Once::new(), place: Place::new() }
    }

    /// Returns the value, if there is one.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.place.get()
    }

    /// Returns a mutable reference to the value, if there is one.
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.place.get_mut()
    }

    /// Returns the value, waiting until it is written.
    ///
    /// # Suspends
    ///
    /// Until the value is written; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here.
    ///
    /// # Panics
    ///
    /// If called from within the function that computes the value.
    #[track_caller]
    pub fn wait(&self) -> &T {
        if self.get().is_none() {
            self.once.wait_force();
        }
        self.filled()
    }

    /// Writes the value, unless there is one; waits for a caller that is just computing it.
    ///
    /// # Suspends
    ///
    /// While another caller computes the value; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here.
    ///
    /// # Errors
    ///
    /// `value`, if there is one already.
    ///
    /// # Panics
    ///
    /// If called from within the function that computes the value.
    #[track_caller]
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("it is called once"));
        value.map_or(Ok(()), Err)
    }

    /// Returns the value, computed by `f` if there is none.
    ///
    /// # Suspends
    ///
    /// While another caller computes the value; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here.
    ///
    /// # Panics
    ///
    /// If `f` panics; then there is still no value, and the next caller may compute it. If called
    /// from within the function that computes the value.
    #[inline]
    #[track_caller]
    pub fn get_or_init(&self, f: impl FnOnce() -> T) -> &T {
        let place = Location::caller();
        if self.get().is_none() {
            self.init(place, f);
        }
        self.filled()
    }

    #[cold]
    fn init(&self, place: &'static Location<'static>, f: impl FnOnce() -> T) {
        self.once.call(true, place, |_| {
            let filled = self.place.set(f());
            assert!(filled.is_ok(), "only one at a time makes the value, and only once");
        });
    }

    #[inline]
    fn filled(&self) -> &T {
        self.get().expect("who has waited for the value finds it")
    }

    /// Takes the value out; afterwards another can be written.
    pub fn take(&mut self) -> Option<T> {
        std::mem::take(self).into_inner()
    }

    /// Takes the value out.
    pub fn into_inner(self) -> Option<T> {
        self.place.into_inner()
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> OnceLock<T> {
        OnceLock::new()
    }
}

impl<T> From<T> for OnceLock<T> {
    fn from(value: T) -> OnceLock<T> {
        let new = OnceLock::new();
        // It was computed here: no other caller was faster.
        let _ = new.set(value);
        new
    }
}

impl<T: Clone> Clone for OnceLock<T> {
    fn clone(&self) -> OnceLock<T> {
        self.get().cloned().map_or_else(OnceLock::new, OnceLock::from)
    }
}

impl<T: PartialEq> PartialEq for OnceLock<T> {
    fn eq(&self, other: &OnceLock<T>) -> bool {
        self.get() == other.get()
    }
}

impl<T: Eq> Eq for OnceLock<T> {}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_tuple("OnceLock");
        match self.get() {
            Some(value) => shown.field(value),
            None => shown.field(&format_args!("<uninit>")),
        };
        shown.finish()
    }
}
