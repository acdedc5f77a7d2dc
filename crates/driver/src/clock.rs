//! The clock that a driver brings along, if it does not go by the machine's.

use std::time::Instant;

/// Says what time it is on the workers of a driver; see [`Driver::clock`](crate::Driver::clock).
pub trait Clock {
    /// Returns the time now: never earlier than what was returned before.
    ///
    /// A task that never waits is suspended by what this returns: a clock that stands still between
    /// two turns lets such a task run for ever.
    fn now(&self) -> Instant;
}
