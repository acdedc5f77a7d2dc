//! The measuring instrument behind `fiveways compare`.
//!
//! It runs one service under several models, each in a process of its own, with a closed-loop load
//! generator on another processor that checks every reply byte, in interleaved rounds, and reports
//! medians with their spread.
//!
//! Invariant I7: `statistics` and `report` have no clock, socket or thread: same input, same bytes.
//! The crate does not link the runtime that it measures: a defect of that runtime must not be able
//! to hide in the instrument.

pub mod compare;
pub mod server;
pub mod load;
mod connection;
mod socket;
pub mod schedule;
pub mod table;
mod verdict;
pub mod report;
mod figures;
pub mod machine;
pub mod statistics;
pub mod failure;
pub mod workload;
