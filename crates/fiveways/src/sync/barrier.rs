//! A barrier: std's, for tasks and plain threads.

use std::fmt;
use std::pin::pin;

use fiveways_runtime::{CHOSEN, Reason, Unparker, WaitQueue, Waiter};
use fiveways_sys::lock::Mutex;

/// Lets a number of tasks and threads wait for each other, as [`std::sync::Barrier`]; reusable.
///
/// # Cancellation
///
/// A task that is unwound while it waits does not count as arrived: the others wait for one more.
///
/// # Examples
///
/// ```
/// use fiveways::sync::Barrier;
/// use fiveways::task;
///
/// static MEETING: Barrier = Barrier::new(3);
///
/// let tasks: Vec<_> = (0..3).map(|_| task::spawn(|| MEETING.wait().is_leader())).collect();
/// let leaders = tasks.into_iter().filter_map(|task| task.join().ok());
/// assert_eq!(leaders.filter(|leader| *leader).count(), 1);
/// ```
#[doc(alias("threading.Barrier", "pthread_barrier_t"))]
pub struct Barrier {
    size: usize,
    waiting: Mutex<Waiting>,
}

struct Waiting {
    arrived: usize,
    queue: WaitQueue,
}

/// Returned by [`Barrier::wait`]: tells the leader from the others.
#[derive(Clone, Copy, Debug)]
pub struct BarrierWaitResult(bool);

impl BarrierWaitResult {
    /// Returns `true` for exactly one of the callers, which can do what must be done once.
    pub fn is_leader(&self) -> bool {
        self.0
    }
}

impl Barrier {
    /// Makes a barrier for `size` tasks and threads; as with std, 0 acts as 1.
    pub const fn new(size: usize) -> Barrier {
        Barrier { size, waiting: Mutex::new(Waiting { arrived: 0, queue: WaitQueue::new() }) }
    }

    /// Waits until all the tasks and threads that the barrier is for have arrived.
    ///
    /// # Suspends
    ///
    /// Until the last has arrived, which itself never waits; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here, and no longer counts.
    #[doc(alias = "pthread_barrier_wait")]
    #[track_caller]
    pub fn wait(&self) -> BarrierWaitResult {
        let reason = Reason::new("barrier", self);
        let waiter = pin!(Waiter::new());
        let waiter = waiter.as_ref();
        let mut waiting = self.waiting.lock();
        waiting.arrived += 1;
        if waiting.arrived >= self.size {
            waiting.arrived = 0;
            let chosen = waiting.queue.select_all(CHOSEN);
            drop(waiting);
            chosen.iter().for_each(Unparker::unpark);
            return BarrierWaitResult(true);
        }
        waiting.queue.enqueue(waiter);
        drop(waiting);
        let leave = || {
            let mut waiting = self.waiting.lock();
            // A waiter that was removed from the queue has been counted out with its round.
            if waiting.queue.remove(waiter) {
                waiting.arrived -= 1;
            }
        };
        waiter.wait(&reason, None, leave, |_| {});
        BarrierWaitResult(false)
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").field("size", &self.size).finish_non_exhaustive()
    }
}
