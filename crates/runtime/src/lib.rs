//! Workers, tasks, parking, timers and cancellation: joins coroutines and drivers.
//!
//! ```text
//!   Runtime ── owns ──▶ worker threads, each with
//!                         driver      what it waits with (one model)
//!                         run queue   tasks that can go on
//!                         timers      a heap of deadlines
//!                         tasks       every live task, by number and generation
//!                         stacks      a pool, warm first
//!                         inbox       the only way in from other threads
//! ```
//!
//! A started task never changes thread (I3), so everything about a task is touched by one thread
//! only; other threads send messages to its worker's inbox. Exactly one function suspends a task
//! (`Worker::suspend`, I2). A task that waits for an operation is not resumed before the driver has
//! handed the operation back (I6).
//!
//! This crate is the engine room; users import `fiveways`.

mod runtime;
mod ahead;
mod spawn;
mod unblock;
mod wait;
mod park;
mod unwind;
mod handle;
mod worker;
mod spin;
mod timers;
mod homes;
mod inbox;
mod task;

pub use ahead::{detach, release};
pub use handle::{Handle, Stats, counters};
pub use park::{Unparker, Wake, in_task, park, park_until, sleep_until, unparker, yield_now};
pub use runtime::{Builder, Runtime, current};
pub use spawn::{JoinError, JoinHandle, Spawn};
pub use unblock::unblock;
pub use unwind::{Elapsed, is_cancelled, with_deadline};
pub use wait::{close, control, perform, reads_ahead, worker_index};
