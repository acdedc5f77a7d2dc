//! gevent 26.9.0.
//!
//! - [`queues`]: `test__queue`. Not `peek`, iteration up to `StopIteration` and the hub's
//!   callbacks; shutdown is with CPython's.
//! - [`events`]: `test__event`, `test__semaphore` and `test__lock`. Not links.
//! - [`pools`]: `test__pool` and `test__greenletset`. Not the adding and discarding of greenlets
//!   that run, not callbacks.
//! - [`tasks`]: `test__greenlet`, `test__joinall`, `test__iwait` and `test__local`. Not links,
//!   subclasses, names and delayed starts.
//! - [`timeouts`]: `test__timeout`. Not what a timeout raises, and not starting one twice.
//! - [`threads`]: `test__threadpool`. Not a change of a pool's size, not profilers.
//!
//! A thread of gevent's that has no loop is a plain thread here, and needs none.

mod events;
mod pools;
mod queues;
mod tasks;
mod threads;
mod timeouts;
