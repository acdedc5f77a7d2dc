//! Operations: performed by the driver of the caller's worker, or blocking on a plain thread.

pub(crate) mod blocking;
pub(crate) mod perform;
