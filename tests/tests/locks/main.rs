//! Locks and signals: what they promise beyond std's suites.
#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod semantics;
mod cancelling;
mod fairness;
mod stress;
mod support;
