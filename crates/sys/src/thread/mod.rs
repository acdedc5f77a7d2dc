//! Threads: running a function in another one, and noticing the end of one.

pub mod interrupt;
pub mod thread_exit;
