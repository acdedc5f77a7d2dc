//! Waits that can never end: who waits for whom, what is refused, and what is reported.

pub(crate) mod monitor;
pub(crate) mod report;
pub(crate) mod participants;
pub(crate) mod wait_graph;
