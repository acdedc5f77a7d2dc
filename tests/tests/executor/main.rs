//! What pools of threads and their futures promise, claim by claim.
//!
//! Pools of processes are tested in `process_pool`.

mod support;

mod sizes;
mod threads;
mod futures;
mod callbacks;
mod shutdowns;
mod many;
mod nesting;
mod tasks;
mod unblocking;
