//! The *slice*: how long a task runs before others have their turn.
//!
//! A slice ends when the task waits. A task that never has to wait is suspended when its slice has
//! lasted [`LONGEST`]. Reading the clock at every call would cost more than many of the calls, so
//! calls use up units, and the clock is read when [`UNITS`] of them are gone:
//!
//! | call                                                              | units        |
//! |-------------------------------------------------------------------|--------------|
//! | operation of a socket or descriptor                               | 32 + 1 a KiB |
//! | bytes that were received already; a lock, permit or item at once  | 1            |
//!
//! An operation is a system call, next to which the clock costs little, and its duration cannot be
//! known here: a read of 4 KiB from a pipe takes 4 µs, and 140 µs while each read wakes a writer
//! that takes the processor away. With 8 units each, 24 such reads were one slice of up to 3.5 ms
//! of processor time. One operation in a slice, as most requests have, still reads no clock.
//!
//! The clock is not read when a slice begins either: the first reading stands for the beginning. So
//! a slice may last longer than [`LONGEST`] by [`UNITS`] units, and by whatever the task does
//! between two calls, which nothing can bound (the watchdog reports it).

use std::cell::Cell;
use std::time::{Duration, Instant};

use fiveways_sys::net::Answer;

use crate::clock;

/// How long a task may run while others wait for their turn.
pub(super) const LONGEST: Duration = Duration::from_micros(100);

/// Units between two readings of the clock.
const UNITS: u32 = 64;

/// Units of an operation, which is a system call at least.
const OPERATION: u32 = 32;

/// Units of one operation with this answer.
#[inline]
pub(crate) fn units_of(answer: Answer) -> u32 {
    OPERATION + (answer.max(0) as u32 >> 10)
}

/// The slice of the task that runs.
pub(super) struct Slice {
    /// Left until the clock is read.
    units: Cell<u32>,
    /// The first reading of the clock; `None`: it was not read yet.
    began: Cell<Option<Instant>>,
}

impl Slice {
    pub(super) fn new() -> Slice {
        Slice { units: Cell::new(UNITS), began: Cell::new(None) }
    }

    /// Begins a new one.
    #[inline]
    pub(super) fn begin(&self) {
        self.units.set(UNITS);
        self.began.set(None);
    }

    /// Uses up units. Returns `true` if the slice is over.
    #[inline]
    pub(super) fn use_up(&self, units: u32) -> bool {
        let left = self.units.get();
        if units < left {
            self.units.set(left - units);
            return false;
        }
        self.read_clock()
    }

    #[cold]
    fn read_clock(&self) -> bool {
        self.units.set(UNITS);
        let now = clock::now();
        match self.began.get() {
            None => {
                self.began.set(Some(now));
                false
            }
            Some(began) => now.duration_since(began) >= LONGEST,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uses a slice up; returns the number of calls.
    fn calls_until_over(units: u32, each: Duration) -> u32 {
        let slice = Slice::new();
        let mut calls = 0;
        loop {
            let begun = Instant::now();
            while begun.elapsed() < each {}
            calls += 1;
            if slice.use_up(units) {
                return calls;
            }
        }
    }

    #[test]
    fn slow_calls_end_a_slice_soon() {
        // The clock is read with every second call.
        let calls = calls_until_over(units_of(0), Duration::from_micros(150));
        assert_eq!(calls, 4, "the second begins it, the fourth ends it");
    }

    #[test]
    fn large_calls_end_a_slice_soon() {
        let calls = calls_until_over(units_of(64 * 1024), Duration::from_micros(20));
        assert!(calls <= 8, "{calls} calls of 64 KiB");
    }

    #[test]
    fn quick_calls_end_a_slice_by_its_time() {
        let slice = Slice::new();
        let begun = Instant::now();
        while !slice.use_up(1) {}
        assert!(begun.elapsed() >= LONGEST);
        slice.begin();
        assert!(!slice.use_up(UNITS), "a new slice begins with its first reading of the clock");
    }
}
