//! The remaining time until a deadline.
//!
//! Waits are bounded by an instant and not by a duration, so that a wait interrupted by a signal
//! goes on for what remains instead of starting anew (D46).

use std::time::{Duration, Instant};

/// Returns the time until the deadline, zero when it has passed; `None` means no deadline.
#[inline]
pub(crate) fn remaining(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
}

/// Returns `true` if the deadline has passed.
#[inline]
pub(crate) fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}
