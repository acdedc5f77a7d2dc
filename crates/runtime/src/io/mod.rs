//! Operations: performed by the driver of the caller's worker, or blocking on a plain thread.
#![deny(clippy::wildcard_enum_match_arm)]

pub(crate) mod blocking;
pub(crate) mod perform;
