//! std's suites for locks, in substance: each claim from plain threads, and from tasks on one
//! worker and on two.
#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

#[macro_use]
mod support;
mod mutex;
mod rwlock;
mod condvar;
mod barrier;
mod once;
mod once_lock;
mod lazy_lock;
