//! Permits that keep their semaphore, and so may leave the place where they were acquired.

use std::sync::Arc;
use std::time::Duration;

use super::semaphore::{BoundedSemaphore, Semaphore};

/// A [`Permit`](super::Permit) that keeps its semaphore, and may go wherever it is needed.
///
/// Made by [`Semaphore::acquire_owned`]; given back when dropped.
#[doc(alias = "OwnedSemaphorePermit")]
#[must_use = "the permit is given back when it is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct OwnedPermit {
    /// There until the permit is forgotten.
    semaphore: Option<Arc<Semaphore>>,
}

impl Semaphore {
    /// As [`Semaphore::acquire`], with a permit that keeps the semaphore: for what is given its
    /// permit before it starts.
    ///
    /// # Suspends
    ///
    /// Until a permit is had; a plain thread blocks.
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

    /// As [`Semaphore::try_acquire`], with a permit that keeps the semaphore.
    #[inline]
    pub fn try_acquire_owned(self: &Arc<Self>) -> Option<OwnedPermit> {
        self.try_take().then(|| OwnedPermit::of(self))
    }

    /// As [`Semaphore::acquire_timeout`], with a permit that keeps the semaphore.
    ///
    /// # Suspends
    ///
    /// Until a permit is had or the time is over; a plain thread blocks.
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
    /// Only for who has just acquired.
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

/// A [`BoundedPermit`](super::BoundedPermit) that keeps its semaphore, and may go wherever it is
/// needed.
///
/// Made by [`BoundedSemaphore::acquire_owned`]; given back when dropped.
#[must_use = "the permit is given back when it is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct OwnedBoundedPermit {
    /// There until the permit is forgotten.
    semaphore: Option<Arc<BoundedSemaphore>>,
}

impl BoundedSemaphore {
    /// As [`BoundedSemaphore::acquire`], with a permit that keeps the semaphore: for what is given
    /// its permit before it starts.
    ///
    /// # Suspends
    ///
    /// Until a permit is had; a plain thread blocks.
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

    /// As [`BoundedSemaphore::try_acquire`], with a permit that keeps the semaphore.
    #[inline]
    pub fn try_acquire_owned(self: &Arc<Self>) -> Option<OwnedBoundedPermit> {
        self.semaphore.try_take().then(|| OwnedBoundedPermit::of(self))
    }

    /// As [`BoundedSemaphore::acquire_timeout`], with a permit that keeps the semaphore.
    ///
    /// # Suspends
    ///
    /// Until a permit is had or the time is over; a plain thread blocks.
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
    /// Only for who has just acquired.
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
