//! A server's counts: written by acceptors and handlers' threads, read by any thread.
//!
//! They are statistics, except `inside`, by which admission enforces the limit.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A server's counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections being served.
    pub connections: usize,
    /// Connections accepted and handed to the handler.
    pub accepted: u64,
    /// Connections refused because of the limit.
    pub refused: u64,
    /// Connections that were closed before they were accepted.
    pub aborted: u64,
    /// How often accepting paused because descriptors, memory or threads ran out.
    pub exhausted: u64,
    /// Handlers that ended with an error.
    pub failed: u64,
    /// Handlers that panicked.
    pub panicked: u64,
}

impl Stats {
    /// All counts, in the order of their declaration.
    pub(crate) fn to_array(self) -> [u64; Stats::COUNTS] {
        let Stats { connections, accepted, refused, aborted, exhausted, failed, panicked } = self;
        [connections as u64, accepted, refused, aborted, exhausted, failed, panicked]
    }

    /// The inverse of [`to_array`](Stats::to_array).
    pub(crate) fn from_array(counts: [u64; Stats::COUNTS]) -> Stats {
        let [connections, accepted, refused, aborted, exhausted, failed, panicked] = counts;
        let connections = connections as usize;
        Stats { connections, accepted, refused, aborted, exhausted, failed, panicked }
    }

    pub(crate) const COUNTS: usize = 7;
}

/// One count.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Adds one.
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) inside: AtomicUsize,
    pub(crate) accepted: Count,
    pub(crate) refused: Count,
    pub(crate) aborted: Count,
    pub(crate) exhausted: Count,
    pub(crate) failed: Count,
    pub(crate) panicked: Count,
}

impl Counts {
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            connections: self.inside.load(Ordering::SeqCst),
            accepted: self.accepted.read(),
            refused: self.refused.read(),
            aborted: self.aborted.read(),
            exhausted: self.exhausted.read(),
            failed: self.failed.read(),
            panicked: self.panicked.read(),
        }
    }
}
