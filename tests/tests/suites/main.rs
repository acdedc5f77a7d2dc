//! The claims of other projects' test suites, made of our types.
//!
//! Users of CPython, gevent, crossbeam, Go or tokio rely on what the tests of those assert. Their
//! tests were read, and their claims were written down anew, for tasks on several models, for plain
//! threads, and for both together. Where we differ on purpose the difference is the claim, and the
//! guide names it.
//!
//! - [`cpython`] follows `lock_tests`, `test_queue`, `test_concurrent_futures` and
//!   `test_threading_local` of CPython 3.13.0.
//! - [`gevent`] follows `test__queue`, `test__event`, `test__pool` and others of gevent 26.9.0.
//! - [`channels`] follows crossbeam-channel 0.5.17, with the tests that it has from Go, and
//!   `sync_mpsc` and others of tokio 1.54.1.
//!
//! The header of each says what was left out, and why. std's own suites are in the tests of the
//! crate `fiveways`; pools of processes are tested in `process_pool`.
#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod channels;
mod cpython;
mod gevent;
mod support;
