//! Calls of functions in worker processes: declaring them, their bytes on a socket, and both ends.

pub(crate) mod worker_process;
mod worker_stream;
pub(crate) mod serve;
mod remote;
pub mod __private;
pub(crate) mod call;
pub(crate) mod wire;
