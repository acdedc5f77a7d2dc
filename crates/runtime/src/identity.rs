//! The identity of the caller: one number for each task and each plain thread, unique in the
//! process.
//!
//! ```text
//!   bit 63   0: free for code that keeps the number in a word of its own (a lock's "contended")
//!   bit 62   a plain thread
//!   61…40    of a task: its worker
//!   39…0     counted from 1; of a task: on its worker
//! ```
//!
//! Locks store the identity of their holder; dumps and reports of deadlocks name waiters by it. A
//! task that unwinds acts as a plain thread where it waits, but keeps its identity.

use std::cell::Cell;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

const THREAD_BIT: u32 = 62;
const THREAD: u64 = 1 << THREAD_BIT;
const WORKER_SHIFT: u32 = 40;

/// The number of a task or a plain thread; never used again in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(NonZeroU64);

impl Identity {
    /// An upper bound: numbers of workers are below it.
    pub(crate) const WORKERS: u32 = 1 << (THREAD_BIT - WORKER_SHIFT);

    /// An upper bound: counts of a worker's tasks are below it.
    pub(crate) const TASKS: u64 = 1 << WORKER_SHIFT;

    pub(crate) fn of_task(worker: u32, count: u64) -> Identity {
        assert!(worker < Identity::WORKERS && count < Identity::TASKS, "numbers are claimed");
        let bits = u64::from(worker) << WORKER_SHIFT | count;
        Identity(NonZeroU64::new(bits).expect("tasks are counted from 1"))
    }

    /// Returns the identity as bits: not 0, and below 2⁶³.
    #[inline]
    pub fn to_bits(self) -> u64 {
        self.0.get()
    }

    /// The inverse of [`Identity::to_bits`]; `None` for 0. The highest bit is ignored.
    #[inline]
    pub fn from_bits(bits: u64) -> Option<Identity> {
        NonZeroU64::new(bits & !(1 << 63)).map(Identity)
    }

    /// Returns `true` if both are tasks of one worker, which never run at the same time.
    #[inline]
    pub fn shares_thread(self, other: Identity) -> bool {
        let tasks = !self.is_thread() && !other.is_thread();
        tasks && self.to_bits() >> WORKER_SHIFT == other.to_bits() >> WORKER_SHIFT
    }

    /// Returns `true` if this is a plain thread.
    pub fn is_thread(self) -> bool {
        self.to_bits() & THREAD != 0
    }
}

/// Writes `task 3.17` for the 17th task of worker 3, and `thread 2` for a thread.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.to_bits();
        if self.is_thread() {
            return write!(f, "thread {}", bits & !THREAD);
        }
        write!(f, "task {}.{}", bits >> WORKER_SHIFT, bits & ((1 << WORKER_SHIFT) - 1))
    }
}

thread_local! {
    static HERE: Cell<Option<Identity>> = const { Cell::new(None) };
}

/// The identity of a thread that is yet to be started, so that it can be named before.
#[derive(Debug)]
pub struct IdentityOfThread(Identity);

impl IdentityOfThread {
    /// Reserves an identity that no thread has.
    #[expect(clippy::new_without_default, reason = "no two are the same")]
    pub fn new() -> IdentityOfThread {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let count = NEXT.fetch_add(1, Ordering::Relaxed);
        // Cannot happen within a thousand years.
        assert!(count < THREAD, "there are no numbers left for threads");
        let bits = THREAD | count;
        IdentityOfThread(Identity(NonZeroU64::new(bits).expect("the bit of threads is set")))
    }

    /// Returns the identity.
    pub fn number(&self) -> Identity {
        self.0
    }

    /// Assigns it to the calling thread, unless that has an identity already.
    pub fn take(self) {
        if HERE.get().is_none() {
            let new = self.0;
            HERE.set(Some(new));
        }
    }
}

/// Returns the identity of this thread, whatever runs on it.
#[inline(never)]
pub(crate) fn this_thread() -> Identity {
    HERE.get().unwrap_or_else(|| {
        let new = IdentityOfThread::new();
        let number = new.number();
        new.take();
        number
    })
}
