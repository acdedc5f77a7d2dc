//! CPython 3.13.0.
//!
//! - [`locks`]: `lock_tests`, Lock and RLock. Not the release by a stranger, which guards make
//!   impossible; not fork.
//! - [`signals`]: `lock_tests`, Event, Condition, Semaphore, BoundedSemaphore and Barrier. Not
//!   `Barrier`'s action, abort, reset and timeout: ours is std's.
//! - [`queues`]: `test_queue`, the basics, `task_done` and failing queues. Not a smaller `maxsize`
//!   later: it is fixed.
//! - [`shutdowns`]: `test_queue`, shutdown.
//! - [`simple_queues`]: `test_queue`, SimpleQueue.
//! - [`futures`]: `test_future`. Not the setting of a result twice: only the work sets it.
//! - [`waits`]: `test_wait` and `test_as_completed`.
//! - [`executors`]: `executor`, `test_thread_pool`, `test_init` and `test_shutdown`. Not the end of
//!   the interpreter, not fork.
//! - [`locals`]: `test_threading_local`. Not subclasses, `__dict__` and cycles.
//!
//! Representations and weak references have no counterpart and are left out everywhere.

mod executors;
mod futures;
mod locals;
mod locks;
mod queues;
mod shutdowns;
mod signals;
mod simple_queues;
mod waits;
