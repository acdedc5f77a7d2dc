//! Locks, signals and channels, for tasks and plain threads alike.
//!
//! The types have std's names and semantics where std has them. In a task a call that must wait
//! parks the task, and its worker runs others in the meantime; on a plain thread it blocks the
//! thread. Tasks and threads can wait for the same lock.
//!
//! A lock belongs to the *task* that took it, not to the thread under it: two tasks of one worker
//! exclude each other.
//!
//! # Cancellation
//!
//! A cancelled task is unwound out of its wait, and so is one whose time limit has passed. It
//! leaves the wait queue; a lock, a permit or a notification that it had just been given passes to
//! the next waiter. An item of a channel is not passed on, because it would arrive after items that
//! were sent later: a task that was given one at that moment keeps it, and is unwound at its next
//! wait. A task that is unwound while it *holds* a [`Mutex`] poisons it, as a panic does: the
//! protected data may be half changed, whatever the reason.
//!
//! A task cannot be parked while it unwinds. A destructor that waits blocks its worker, and blocks
//! it for ever if only another task of that worker could end the wait: destructors should use the
//! `try_` forms.

pub mod select;
pub mod mpsc;
pub mod channel;
mod lazy_lock;
mod once_lock;
mod once;
mod barrier;
mod condvar;
mod wait_group;
mod event;
mod owned_permit;
mod semaphore;
mod rwlock;
mod shared;
mod reentrant;
mod mutex;
mod exclusive;
mod poison;

pub use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};

pub use barrier::{Barrier, BarrierWaitResult};
pub use condvar::{Condvar, WaitTimeoutResult};
pub use event::Event;
pub use lazy_lock::LazyLock;
pub use mutex::{Mutex, MutexGuard};
pub use once::{Once, OnceState};
pub use once_lock::OnceLock;
pub use owned_permit::{OwnedBoundedPermit, OwnedPermit};
pub use reentrant::{ReentrantMutex, ReentrantMutexGuard};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{BoundedPermit, BoundedSemaphore, Permit, Semaphore, TooManyReleases};
pub use wait_group::{WaitGroup, WaitGroupGuard};
