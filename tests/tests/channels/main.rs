//! Channels and `select!`: nothing lost, nothing twice, nobody starved, from tasks and threads.

mod select;
mod readiness;
mod shared;
mod cancelled;
mod storms;
mod support;
