//! Pools of threads and processes, and futures of their results: Python's `concurrent.futures`.
//!
//! | Python | here |
//! |---|---|
//! | `ThreadPoolExecutor(5)` | [`ThreadPool::new`]`(Sizing::Fixed(5))` |
//! | `ProcessPoolExecutor()` | [`ProcessPool::default`], with [`serve_if_worker`] first in `main` |
//! | `pool.submit(f, x)` | `pool.submit(move \|\| f(x))`; of processes `pool.submit(f::call(x))` |
//! | `future.result(timeout)` | [`Future::result_timeout`]; [`Future::take`] moves the value out |
//! | `pool.map(f, items)` | `pool.map(items, f)` |
//! | `with …Executor() as pool:` | a scope: dropping a pool waits |
//! | `as_completed`, `wait` | [`as_completed`], [`wait`] |
//! | an event loop's `run_in_executor` | `pool.submit` in a task: `result` suspends the task |
//!
//! All waits here suspend a task and block a plain thread. For a single blocking call of a task
//! there is [`unblock`]. Work runs on plain threads or in other processes, so it may block and
//! compute.

mod process_pool;
mod thread_pool;
mod contract;
mod map;
mod completion;
mod future;
mod waiting;
mod rpc;
mod pool_core;
mod sizing;
mod failure;

#[doc(inline)]
pub use crate::__remote as remote;
pub use completion::{AsCompleted, ReturnWhen, WaitResult, as_completed, wait};
pub use contract::Executor;
pub use failure::{BuildError, FutureError, Panic, SubmitError};
#[doc(inline)]
pub use fiveways_runtime::unblock;
pub use future::Future;
pub use map::{ChunkedMap, Map};
pub use process_pool::{ProcessPool, ProcessPoolBuilder};
#[doc(hidden)]
pub use rpc::__private;
pub use rpc::call::{Call, Portable};
pub use rpc::serve::serve_if_worker;
pub use sizing::Sizing;
pub use thread_pool::{ThreadPool, ThreadPoolBuilder};
