//! Queues between tasks and threads, after CPython's `queue`.
//!
//! [`Queue`]: first in, first out; [`LifoQueue`]: last in, first out; [`PriorityQueue`]: smallest
//! priority first, and first in, first out among equals; [`JoinableQueue`]: a queue that counts
//! unfinished work. A clone is a handle to the same queue. Producers and consumers can be tasks and
//! plain threads at the same time.
//!
//! A queue with a `maxsize` holds at most that many items; a put waits for room. As in CPython, a
//! `maxsize` of 0 means no limit.
//!
//! # Results that may be out of date
//!
//! `len`, `is_empty` and `is_full` report the state at one moment. Other threads may put and get
//! immediately afterwards, so do not rely on them: `put_nowait` and `get_nowait` check and act in
//! one step.
//!
//! # Cancellation
//!
//! No item is lost: a task that is unwound from a put has not put, and its item is dropped with it;
//! one that is unwound from a get has got nothing. If the operation is completed at the moment of
//! the cancellation, it stays completed, and the task is unwound at its next wait.
//!
//! # Differences from CPython
//!
//! A queue is closed by [`Queue::shutdown`], as in CPython 3.13, not by being dropped: with the
//! last clone its items are dropped. Only a [`JoinableQueue`] counts unfinished work. In a
//! [`PriorityQueue`] priorities and items are separate, so that items need no order.

mod fifo;
mod lifo;
mod priority;
mod joinable;
mod method;
mod error;

pub use error::{Closed, GetError, PutError, TooManyDone};
pub use fifo::Queue;
pub use joinable::JoinableQueue;
pub use lifo::LifoQueue;
pub use priority::PriorityQueue;
