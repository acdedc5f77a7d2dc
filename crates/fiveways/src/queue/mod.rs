//! Queues between tasks and threads, after CPython's `queue`.
//!
//! [`Queue`]: first in, first out; [`LifoQueue`]: last in, first out; [`PriorityQueue`]: smallest
//! priority first, and first in, first out among equals; [`JoinableQueue`]: a queue that knows when
//! all its work is done. A clone is the same queue. Producers and consumers may be tasks and plain
//! threads at the same time.
//!
//! A queue with a `maxsize` holds so many items; a put waits for room. As in CPython, a `maxsize`
//! of 0 is none at all.
//!
//! # Answers that are old when they come
//!
//! `len`, `is_empty` and `is_full` tell what was so at one moment. Others may put and get in the
//! next, so nothing can be built on them: `put_nowait` and `get_nowait` decide and act at once.
//!
//! # Cancellation
//!
//! No item is lost: a task that is unwound from a put has not put, and its item is dropped with it;
//! one that is unwound from a get has got nothing. What was done in the moment of the cancellation
//! is done; then the task is unwound where it waits next.
//!
//! # Differences from CPython
//!
//! A queue ends by [`Queue::shutdown`], as in CPython 3.13, not by being dropped: with the last
//! clone its items are dropped. Only a [`JoinableQueue`] counts unfinished work. Priorities and
//! items of a [`PriorityQueue`] are apart, so that items need no order.

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
