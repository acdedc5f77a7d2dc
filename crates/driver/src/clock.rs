//! The clock of a driver that does not use the machine's.

use std::time::Instant;

/// Returns the time for the workers of a driver; see [`Driver::clock`](crate::Driver::clock).
pub trait Clock {
    /// Returns the time now: never earlier than what was returned before.
    ///
    /// A task that never waits is suspended by this time: a clock that stands still between two
    /// turns lets such a task run for ever.
    fn now(&self) -> Instant;
}
