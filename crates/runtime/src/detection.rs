//! What is done about deadlocks, and how many were found; both for the whole process.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What is done about deadlocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Detection {
    /// Nothing.
    Off,
    /// Each is reported on stderr, once.
    Report,
    /// Each is reported, and the wait that closes it panics with a [`Deadlock`](crate::Deadlock).
    Panic,
}

const UNSET: u8 = 0;
const OFF: u8 = 1;
const REPORT: u8 = 2;
const PANIC: u8 = 3;

/// `UNSET` until first read, then one of the others; written from any thread.
static DETECTION: AtomicU8 = AtomicU8::new(UNSET);

/// Deadlocks found so far.
static FOUND: AtomicU64 = AtomicU64::new(0);

/// Sets what is done about deadlocks, in the whole process.
///
/// Channels and queues take part if they are made while this is not [`Detection::Off`].
pub fn detect_deadlocks(detection: Detection) {
    let bits = match detection {
        Detection::Off => OFF,
        Detection::Report => REPORT,
        Detection::Panic => PANIC,
    };
    DETECTION.store(bits, Ordering::Relaxed);
}

/// Returns the number of deadlocks found so far.
pub fn deadlocks_found() -> u64 {
    FOUND.load(Ordering::Relaxed)
}

#[inline]
pub(crate) fn detection() -> Detection {
    match DETECTION.load(Ordering::Relaxed) {
        OFF => Detection::Off,
        REPORT => Detection::Report,
        PANIC => Detection::Panic,
        _ => first_detection(),
    }
}

/// Returns `true` if deadlocks are looked for.
#[inline]
pub(crate) fn is_on() -> bool {
    detection() != Detection::Off
}

pub(crate) fn count_found() {
    FOUND.fetch_add(1, Ordering::Relaxed);
}

/// Reads the mode from the environment; without it the default of the build applies.
#[cold]
fn first_detection() -> Detection {
    let detection = match std::env::var("FIVEWAYS_DEADLOCK").as_deref() {
        Ok("off") => Detection::Off,
        Ok("report") => Detection::Report,
        Ok("panic") => Detection::Panic,
        _ if cfg!(debug_assertions) => Detection::Report,
        _ => Detection::Off,
    };
    detect_deadlocks(detection);
    detection
}
