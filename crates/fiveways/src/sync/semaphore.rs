//! Semaphores: a number of permits.
//!
//! ```text
//!   state   63…1  free permits
//!           0     WAITING: somebody is in line, and so no permit is free
//! ```
//!
//! A permit that is released while there are waiters is handed to the first: first come, first
//! served. While `WAITING` is set the state is changed under the lock of the queue only.

use std::error::Error;
use std::fmt;
use std::mem;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fiveways_runtime::{CHOSEN, Reason, Unparker, WaitQueue, Waiter, clock, spend};
use fiveways_sys::lock::Mutex;

const WAITING: usize = 1;
const ONE: usize = 2;

/// Admits a number of tasks and threads at a time.
///
/// Permits have no owner: any caller may [`release`](Semaphore::release) one, even one that was
/// never acquired. [`BoundedSemaphore`] refuses that.
///
/// # Fairness
///
/// First come, first served.
///
/// # Cancellation
///
/// A permit that had just been handed to a task that is unwound passes to the next waiter.
///
/// # Examples
///
/// ```
/// use fiveways::sync::Semaphore;
///
/// let rooms = Semaphore::new(2);
/// let first = rooms.acquire();
/// let second = rooms.acquire();
/// assert!(rooms.try_acquire().is_none());
/// drop(first);
/// assert!(rooms.try_acquire().is_some());
/// # drop(second);
/// ```
#[doc(alias("threading.Semaphore", "sem_t", "sem_init"))]
pub struct Semaphore {
    state: AtomicUsize,
    queue: Mutex<WaitQueue>,
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("free", &self.available()).finish()
    }
}

/// A permit of a [`Semaphore`]; released when dropped.
#[must_use = "the permit is given back when it is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct Permit<'a>(&'a Semaphore);

impl Semaphore {
    /// The maximum number of free permits.
    pub const MAX_PERMITS: usize = usize::MAX / ONE;

    /// Makes a semaphore with this many free permits; with 0, the first must be released.
    ///
    /// # Panics
    ///
    /// If there are more than [`Semaphore::MAX_PERMITS`].
    pub const fn new(permits: usize) -> Semaphore {
        assert!(permits <= Semaphore::MAX_PERMITS, "a semaphore has at most 2^63 - 1 permits");
        Semaphore { state: AtomicUsize::new(permits * ONE), queue: Mutex::new(WaitQueue::new()) }
    }

    /// Takes a permit, waiting for one if none is free.
    ///
    /// # Suspends
    ///
    /// Until a permit is available; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here, without a permit.
    #[doc(alias = "sem_wait")]
    #[inline]
    #[track_caller]
    pub fn acquire(&self) -> Permit<'_> {
        self.take(None);
        Permit(self)
    }

    /// Takes a permit if one is free.
    #[doc(alias = "sem_trywait")]
    #[inline]
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        self.try_take().then(|| Permit(self))
    }

    /// Takes a permit, waiting for at most `timeout`; returns `None` after the timeout.
    ///
    /// # Suspends
    ///
    /// Until a permit is available or the timeout has passed; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here, without a permit.
    #[doc(alias = "sem_timedwait")]
    #[track_caller]
    pub fn acquire_timeout(&self, timeout: Duration) -> Option<Permit<'_>> {
        self.take(Some(timeout)).then(|| Permit(self))
    }

    /// Adds permits; waiters get them first.
    ///
    /// The counterpart of [`Permit::forget`]; also adds permits that did not exist before.
    ///
    /// # Panics
    ///
    /// If more than [`Semaphore::MAX_PERMITS`] would be free.
    #[doc(alias = "sem_post")]
    pub fn release(&self, permits: usize) {
        let added = self.add(permits, Semaphore::MAX_PERMITS);
        assert!(added, "{permits} more permits would be too many for a semaphore");
    }

    /// Returns the number of free permits; it may change at any time.
    #[doc(alias = "sem_getvalue")]
    pub fn available(&self) -> usize {
        self.state.load(Ordering::Relaxed) / ONE
    }

    #[inline]
    pub(super) fn try_take(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state >= ONE && state & WAITING == 0 {
            // ORDERING: Acquire pairs with the Release of the thread that released the permit.
            let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
            match self.state.compare_exchange_weak(state, state - ONE, success, failure) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    #[inline]
    #[track_caller]
    pub(super) fn take(&self, timeout: Option<Duration>) -> bool {
        spend();
        let place = Location::caller();
        self.try_take() || {
            let deadline = timeout.and_then(clock::after);
            self.take_slowly(deadline, place)
        }
    }

    #[cold]
    fn take_slowly(&self, deadline: Option<Instant>, place: &'static Location<'static>) -> bool {
        let waiter = pin!(Waiter::new());
        let waiter = waiter.as_ref();
        if self.take_or_join(waiter) {
            return true;
        }
        let reason = Reason { place, ..Reason::new("semaphore", self) };
        let leave = || self.leave(waiter);
        waiter.wait(&reason, deadline, leave, |_| self.give_back()).is_some()
    }

    /// Takes a permit, or enters the queue.
    fn take_or_join(&self, waiter: Pin<&Waiter>) -> bool {
        let mut queue = self.queue.lock();
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let is = if state >= ONE { state - ONE } else { WAITING };
            // ORDERING: Acquire: as in `try_take`.
            let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
            match self.state.compare_exchange(state, is, success, failure) {
                Ok(was) if was >= ONE => return true,
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        queue.enqueue(waiter);
        false
    }

    /// Leaves the queue; permits become free again only if it is empty.
    fn leave(&self, waiter: Pin<&Waiter>) {
        let mut queue = self.queue.lock();
        queue.remove(waiter);
        if queue.is_empty() {
            self.state.fetch_and(!WAITING, Ordering::Relaxed);
        }
    }

    pub(super) fn give_back(&self) {
        // Permits above the maximum were added by another caller, which is at fault.
        self.add(1, Semaphore::MAX_PERMITS);
    }

    /// Adds permits; returns `false`, and adds none, if more than `max` would be free.
    fn add(&self, permits: usize, max: usize) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & WAITING == 0 {
            let Some(sum) = (state / ONE).checked_add(permits).filter(|sum| *sum <= max) else {
                return false;
            };
            // ORDERING: Release: the next owner of the permit sees what was done under it.
            let (success, failure) = (Ordering::Release, Ordering::Relaxed);
            match self.state.compare_exchange_weak(state, sum * ONE, success, failure) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        self.hand_over(permits, max)
    }

    /// As [`Semaphore::add`], with waiters in the queue.
    #[cold]
    fn hand_over(&self, permits: usize, max: usize) -> bool {
        let mut queue = self.queue.lock();
        if self.state.load(Ordering::Relaxed) & WAITING == 0 {
            // The waiters have left in the meantime, and others may have come.
            drop(queue);
            return self.add(permits, max);
        }
        // None is free. Waiters do not count: they could not have had more permits either.
        if permits > max {
            return false;
        }
        let mut chosen = Vec::new();
        while chosen.len() < permits
            && let Some(unparker) = queue.select_first(CHOSEN)
        {
            chosen.push(unparker);
        }
        if queue.is_empty() {
            self.state.store((permits - chosen.len()) * ONE, Ordering::Release);
        }
        drop(queue);
        chosen.iter().for_each(Unparker::unpark);
        true
    }
}

impl Permit<'_> {
    /// Keeps the permit for good, or until it is [released](Semaphore::release).
    pub fn forget(self) {
        mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.give_back();
    }
}

/// A [`Semaphore`] that cannot have more permits than it was created with.
///
/// # Examples
///
/// ```
/// use fiveways::sync::BoundedSemaphore;
///
/// let rooms = BoundedSemaphore::new(1);
/// rooms.acquire().forget();
/// assert!(rooms.release(1).is_ok());
/// let error = rooms.release(1).expect_err("it was released already");
/// assert_eq!(error.to_string(), "1 permit released to a semaphore that has 1 of 1 free");
/// ```
#[doc(alias = "threading.BoundedSemaphore")]
#[derive(Debug)]
pub struct BoundedSemaphore {
    pub(super) semaphore: Semaphore,
    bound: usize,
}

/// A permit of a [`BoundedSemaphore`]; released when dropped.
///
/// If another caller has released in its place in the meantime, dropping it adds nothing.
#[must_use = "the permit is given back when it is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct BoundedPermit<'a>(&'a BoundedSemaphore);

impl BoundedSemaphore {
    /// Makes a semaphore with this many permits, all free.
    ///
    /// # Panics
    ///
    /// If it is 0, with which no permit could ever be acquired, or more than
    /// [`Semaphore::MAX_PERMITS`].
    pub const fn new(permits: usize) -> BoundedSemaphore {
        assert!(permits > 0, "a bounded semaphore needs at least one permit");
        BoundedSemaphore { semaphore: Semaphore::new(permits), bound: permits }
    }

    /// Takes a permit, waiting for one if none is free.
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
    pub fn acquire(&self) -> BoundedPermit<'_> {
        self.semaphore.take(None);
        BoundedPermit(self)
    }

    /// Takes a permit if one is free.
    #[inline]
    pub fn try_acquire(&self) -> Option<BoundedPermit<'_>> {
        self.semaphore.try_take().then(|| BoundedPermit(self))
    }

    /// Takes a permit, waiting for at most `timeout`; returns `None` after the timeout.
    ///
    /// # Suspends
    ///
    /// Until a permit is available or the timeout has passed; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here, without a permit.
    #[track_caller]
    pub fn acquire_timeout(&self, timeout: Duration) -> Option<BoundedPermit<'_>> {
        self.semaphore.take(Some(timeout)).then(|| BoundedPermit(self))
    }

    /// Releases permits that were [forgotten](BoundedPermit::forget).
    ///
    /// # Errors
    ///
    /// [`TooManyReleases`] if more would be free than there were initially; then none is released.
    pub fn release(&self, permits: usize) -> Result<(), TooManyReleases> {
        if self.semaphore.add(permits, self.bound) {
            return Ok(());
        }
        Err(TooManyReleases { permits, free: self.available(), bound: self.bound })
    }

    /// Returns the number of free permits; it may change at any time.
    pub fn available(&self) -> usize {
        self.semaphore.available()
    }

    /// As [`BoundedSemaphore::release`], for a permit that another caller may have released
    /// already.
    #[inline]
    pub(super) fn give_back(&self) {
        self.semaphore.add(1, self.bound);
    }
}

impl BoundedPermit<'_> {
    /// Keeps the permit for good, or until it is [released](BoundedSemaphore::release).
    pub fn forget(self) {
        mem::forget(self);
    }
}

impl Drop for BoundedPermit<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.give_back();
    }
}

/// The error of releasing a [`BoundedSemaphore`] more often than it was acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TooManyReleases {
    /// The number of permits to be released.
    pub permits: usize,
    /// The number of free permits.
    pub free: usize,
    /// The total number of permits.
    pub bound: usize,
}

impl fmt::Display for TooManyReleases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TooManyReleases { permits, free, bound } = self;
        let s = if *permits == 1 { "" } else { "s" };
        write!(f, "{permits} permit{s} released to a semaphore that has {free} of {bound} free")
    }
}

impl Error for TooManyReleases {}
