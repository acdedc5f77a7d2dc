//! An event: a flag that can be waited for.

use std::fmt;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fiveways_runtime::{CHOSEN, Reason, Selection, Unparker, WaitQueue, Waiter, clock, spend};
use fiveways_sys::lock::Mutex;

/// A flag that tasks and threads wait for; setting it wakes all of them.
///
/// A wait returns at once if the flag is set. A task that was waiting when the flag was set
/// continues even if the flag is cleared before it runs. A [`select!`](crate::select) waits for it
/// with `wait(event)`.
///
/// # Examples
///
/// ```
/// use fiveways::sync::Event;
/// use fiveways::task;
///
/// static START: Event = Event::new();
///
/// let runners: Vec<_> = (0..3).map(|_| task::spawn(|| START.wait())).collect();
/// assert!(!START.is_set());
/// START.set();
/// for runner in runners {
///     runner.join().expect("it does not panic");
/// }
/// ```
#[doc(alias("threading.Event", "gevent.event.Event", "eventfd"))]
pub struct Event {
    /// Set and cleared under the lock of the queue.
    set: AtomicBool,
    /// Each waiter with the value it is to be selected for.
    queue: Mutex<WaitQueue<Selection>>,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("set", &self.is_set()).finish()
    }
}

impl Event {
    /// Makes an event that is not set.
    pub const fn new() -> Event {
        Event { set: AtomicBool::new(false), queue: Mutex::new(WaitQueue::new()) }
    }

    /// Sets the flag and wakes all waiters.
    pub fn set(&self) {
        let mut queue = self.queue.lock();
        // ORDERING: Release: a thread that sees the flag set sees what was done before.
        self.set.store(true, Ordering::Release);
        let chosen = queue.select_all_by(|number| *number);
        drop(queue);
        chosen.iter().for_each(Unparker::unpark);
    }

    /// Clears the flag: from now on calls of `wait` wait again.
    pub fn clear(&self) {
        let _line = self.queue.lock();
        self.set.store(false, Ordering::Relaxed);
    }

    /// Returns `true` if the flag is set.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    /// Waits until the flag is set.
    ///
    /// # Suspends
    ///
    /// Until the flag is set; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here.
    #[inline]
    #[track_caller]
    pub fn wait(&self) {
        spend();
        if !self.is_set() {
            self.wait_slowly(None, Location::caller());
        }
    }

    /// Waits until the flag is set, for at most `timeout`; returns `false` after the timeout.
    ///
    /// # Suspends
    ///
    /// Until the flag is set or the timeout has passed; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here.
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        spend();
        let place = Location::caller();
        self.is_set() || self.wait_slowly(clock::after(timeout), place)
    }

    #[cold]
    fn wait_slowly(&self, deadline: Option<Instant>, place: &'static Location<'static>) -> bool {
        let waiter = pin!(Waiter::new());
        let waiter = waiter.as_ref();
        let mut queue = self.queue.lock();
        if self.is_set() {
            return true;
        }
        queue.enqueue_with(waiter, CHOSEN);
        drop(queue);
        let reason = Reason { place, ..Reason::new("event", self) };
        let leave = || {
            self.queue.lock().remove(waiter);
        };
        waiter.wait(&reason, deadline, leave, |_| {}).is_some()
    }

    /// Joins the queue, to be selected for `number`. Returns `false` if the flag is set.
    pub(crate) fn join(&self, waiter: Pin<&Waiter>, number: Selection) -> bool {
        let mut queue = self.queue.lock();
        let waits = !self.is_set();
        if waits {
            queue.enqueue_with(waiter, number);
        }
        waits
    }

    /// Leaves the queue; also allowed if the waiter is not in it.
    pub(crate) fn leave(&self, waiter: Pin<&Waiter>, number: Selection) {
        self.queue.lock().remove_with(waiter, |wanted| *wanted == number);
    }
}

impl Default for Event {
    fn default() -> Event {
        Event::new()
    }
}
