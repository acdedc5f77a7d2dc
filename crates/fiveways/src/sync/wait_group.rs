//! Waiting for a group to finish.

use std::fmt;
use std::panic::Location;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fiveways_runtime::{CHOSEN, Reason, Unparker, WaitQueue, Waiter, clock, spend};
use fiveways_sys::lock::Mutex;

/// Waits until all added members are done.
///
/// Each [`WaitGroupGuard`] counts until it is dropped, however its task ends; so a member can
/// neither be done twice nor be forgotten. The group is reusable: later waits wait for later
/// members.
///
/// # Examples
///
/// ```
/// use fiveways::sync::WaitGroup;
/// use fiveways::task;
///
/// let group = WaitGroup::new();
/// for _ in 0..3 {
///     let member = group.add();
///     task::spawn(move || {
///         // … work …
///         member.done();
///     });
/// }
/// group.wait();
/// assert_eq!(group.len(), 0);
/// ```
#[doc(alias = "sync.WaitGroup")]
#[derive(Default)]
pub struct WaitGroup(Arc<Count>);

#[derive(Default)]
struct Count {
    members: AtomicUsize,
    queue: Mutex<WaitQueue>,
}

/// A member of a [`WaitGroup`]; done when dropped. A clone is another member.
#[must_use = "a member is done when it is dropped"]
pub struct WaitGroupGuard(Arc<Count>);

impl WaitGroup {
    /// Makes a group without members.
    pub fn new() -> WaitGroup {
        WaitGroup::default()
    }

    /// Adds a member.
    pub fn add(&self) -> WaitGroupGuard {
        WaitGroupGuard::new(&self.0)
    }

    /// Returns the number of members that are not done.
    pub fn len(&self) -> usize {
        self.0.members.load(Ordering::Acquire)
    }

    /// Returns `true` if all members are done.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until no member is left; returns at once if there is none.
    ///
    /// # Suspends
    ///
    /// Until the last member is done; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here.
    #[track_caller]
    pub fn wait(&self) {
        spend();
        let place = Location::caller();
        if !self.is_empty() {
            self.wait_slowly(None, place);
        }
    }

    /// As [`WaitGroup::wait`], for at most `timeout`; returns `false` after the timeout.
    ///
    /// # Suspends
    ///
    /// Until the last member is done or the timeout has passed; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here.
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        spend();
        let place = Location::caller();
        self.is_empty() || self.wait_slowly(clock::after(timeout), place)
    }

    #[cold]
    fn wait_slowly(&self, deadline: Option<Instant>, place: &'static Location<'static>) -> bool {
        let waiter = pin!(Waiter::new());
        let waiter = waiter.as_ref();
        let mut queue = self.0.queue.lock();
        // Under the lock: the last member takes it after it has counted itself out.
        if self.is_empty() {
            return true;
        }
        queue.enqueue(waiter);
        drop(queue);
        let reason = Reason { place, ..Reason::new("wait group", &*self.0) };
        let leave = || {
            self.0.queue.lock().remove(waiter);
        };
        waiter.wait(&reason, deadline, leave, |_| {}).is_some()
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitGroup").field("members", &self.len()).finish()
    }
}

impl WaitGroupGuard {
    fn new(count: &Arc<Count>) -> WaitGroupGuard {
        let was = count.members.fetch_add(1, Ordering::Relaxed);
        assert!(was < usize::MAX / 2, "a wait group has less than 2^63 members");
        WaitGroupGuard(Arc::clone(count))
    }

    /// Marks this member as done.
    pub fn done(self) {
        drop(self);
    }
}

impl Clone for WaitGroupGuard {
    fn clone(&self) -> WaitGroupGuard {
        WaitGroupGuard::new(&self.0)
    }
}

impl Drop for WaitGroupGuard {
    fn drop(&mut self) {
        // ORDERING: Release: a thread that sees that all are done sees what they did. Acquire: the
        // last member passes on what the others did.
        if self.0.members.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut queue = self.0.queue.lock();
            // New members may have come before the lock was taken: then the last of them does it.
            if self.0.members.load(Ordering::Acquire) > 0 {
                return;
            }
            let chosen = queue.select_all(CHOSEN);
            drop(queue);
            chosen.iter().for_each(Unparker::unpark);
        }
    }
}

impl fmt::Debug for WaitGroupGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WaitGroupGuard")
    }
}

impl Count {}
