//! Whether a worker spins for a moment before it sleeps.

use std::time::{Duration, Instant};

use crate::clock;

/// Whether to spin before sleeping: only while it pays.
///
/// Spinning pays if work comes within the limit. After a failure the next 1, 2, 4 … 1,024 waits do
/// not spin; and a wait that was longer than sleep and wake-up take shows that the peers are slower
/// than a spin anyway. So paced traffic and idle servers cost nothing, and a single busy connection
/// does not pay for falling asleep between its requests.
pub(crate) struct Spin {
    /// The longest spin; zero: never.
    pub(crate) limit: Duration,
    /// Waits to be made without spinning.
    skip: u32,
    /// The value of `skip` after the next failure.
    penalty: u32,
    /// Whether the last sleep was short.
    brief: bool,
}

/// A sleep shorter than this may have been mostly falling asleep and waking up.
const BRIEF: Duration = Duration::from_micros(250);

impl Spin {
    pub(crate) fn new(limit: Duration) -> Spin {
        Spin { limit, skip: 0, penalty: 1, brief: false }
    }

    pub(crate) fn is_worth_it(&mut self) -> bool {
        if self.limit.is_zero() || !self.brief {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        true
    }

    pub(crate) fn paid(&mut self) {
        self.penalty = 1;
    }

    pub(crate) fn failed(&mut self) {
        self.skip = self.penalty;
        self.penalty = (self.penalty * 2).min(1024);
    }

    pub(crate) fn before_sleep(&self) -> Option<Instant> {
        (!self.limit.is_zero()).then(clock::machine)
    }

    pub(crate) fn after_sleep(&mut self, before: Option<Instant>) {
        if let Some(before) = before {
            self.brief = clock::machine() - before < BRIEF;
        }
    }
}
