//! //! Deadlocks: the graph of waits, the waits that are refused, and the reports.

pub(crate) mod monitor;
pub(crate) mod report;
pub(crate) mod participants;
pub(crate) mod wait_graph;
