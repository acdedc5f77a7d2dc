//! Permits that own a reference to their semaphore, and so can be moved to other tasks.

use std::sync::Arc;
use std::time::Duration;

use super::semaphore::{BoundedSemaphore, Semaphore};

/// A [`Permit`](super::Permit) that owns a reference to its semaphore, so that it can be moved
/// anywhere.
///
/// Made by [`Semaphore::acquire_owned`]; released when dropped.
#[doc(alias = "OwnedSemaphorePermit")]
#[must_use = "the permit is given back when it is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct OwnedPermit {
    /// `Some` until the permit is forgotten.
    semaphore: Option<Arc<Semaphore>>,
}

impl Semaphore {
    /// As [`Semaphore::acquire`], with a permit that owns a reference to the semaphore: for a task
    /// that gets its permit before it starts.
    ///
    /// # Suspends
    ///
    /// Until a permit is available; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here, without a permit.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use fiveways::sync::Semaphore;
    /// use fiveways::task;
    ///
    /// let rooms = Arc::new(Semaphore::new(2));
    /// let guests = (0..10).map(|guest| {
    ///     // At most two of these tasks are there at a time.
    ///     let permit = rooms.acquire_owned();
    ///     task::spawn(move || {
    ///         drop(permit);
    ///         guest
    ///     })
    /// });
    /// let seen = task::join_all(guests);
    /// assert_eq!((seen.len(), rooms.available()), (10, 2));
    /// ```
    #[inline]
    #[track_caller]
    pub fn acquire_owned(self: &Arc<Self>) -> OwnedPermit {
        self.take(None);
        OwnedPermit::of(self)
    }

    /// As [`Semaphore::try_acquire`], with a permit that owns a reference to the semaphore.
    #[inline]
    pub fn try_acquire_owned(self: &Arc<Self>) -> Option<OwnedPermit> {
        self.try_take().then(|| OwnedPermit::of(self))
    }

    /// As [`Semaphore::acquire_timeout`], with a permit that owns a reference to the semaphore.
    ///
    /// # Suspends
    ///
    /// Until a permit is available or the timeout has passed; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here, without a permit.
    #[track_caller]
    pub fn acquire_owned_timeout(self: &Arc<Self>, timeout: Duration) -> Option<OwnedPermit> {
        self.take(Some(timeout)).then(|| OwnedPermit::of(self))
    }
}

impl OwnedPermit {
    /// The caller has just acquired a permit.
    #[inline]
    fn of(semaphore: &Arc<Semaphore>) -> OwnedPermit {
        OwnedPermit { semaphore: Some(Arc::clone(semaphore)) }
    }

    /// Keeps the permit for good, or until it is [released](Semaphore::release).
    pub fn forget(mut self) {
        self.semaphore = None;
    }
}

impl Drop for OwnedPermit {
    #[inline]
    fn drop(&mut self) {
        if let Some(semaphore) = &self.semaphore {
            semaphore.give_back();
        }
    }
}

/// A [`BoundedPermit`](super::BoundedPermit) that owns a reference to its semaphore, so that it can
/// be moved anywhere.
///
/// Made by [`BoundedSemaphore::acquire_owned`]; released when dropped.
#[must_use = "the permit is given back when it is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct OwnedBoundedPermit {
    /// `Some` until the permit is forgotten.
    semaphore: Option<Arc<BoundedSemaphore>>,
}

impl BoundedSemaphore {
    /// As [`BoundedSemaphore::acquire`], with a permit that owns a reference to the semaphore: for
    /// a task that gets its permit before it starts.
    ///
    /// # Suspends
    ///
    /// Until a permit is available; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here, without a permit.
    #[inline]
    #[track_caller]
    pub fn acquire_owned(self: &Arc<Self>) -> OwnedBoundedPermit {
        self.semaphore.take(None);
        OwnedBoundedPermit::of(self)
    }

    /// As [`BoundedSemaphore::try_acquire`], with a permit that owns a reference to the semaphore.
    #[inline]
    pub fn try_acquire_owned(self: &Arc<Self>) -> Option<OwnedBoundedPermit> {
        self.semaphore.try_take().then(|| OwnedBoundedPermit::of(self))
    }

    /// As [`BoundedSemaphore::acquire_timeout`], with a permit that owns a reference to the
    /// semaphore.
    ///
    /// # Suspends
    ///
    /// Until a permit is available or the timeout has passed; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here, without a permit.
    #[track_caller]
    pub fn acquire_owned_timeout(
        self: &Arc<Self>,
        timeout: Duration,
    ) -> Option<OwnedBoundedPermit> {
        self.semaphore.take(Some(timeout)).then(|| OwnedBoundedPermit::of(self))
    }
}

impl OwnedBoundedPermit {
    /// The caller has just acquired a permit.
    #[inline]
    fn of(semaphore: &Arc<BoundedSemaphore>) -> OwnedBoundedPermit {
        OwnedBoundedPermit { semaphore: Some(Arc::clone(semaphore)) }
    }

    /// Keeps the permit for good, or until it is [released](BoundedSemaphore::release).
    pub fn forget(mut self) {
        self.semaphore = None;
    }
}

impl Drop for OwnedBoundedPermit {
    #[inline]
    fn drop(&mut self) {
        if let Some(semaphore) = &self.semaphore {
            semaphore.give_back();
        }
    }
}
