//! What is done about deadlocks, and how many were found: of the whole process.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What is done about deadlocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Detection {
    /// Nothing.
    Off,
    /// They are told of on stderr, each once.
    Report,
    /// They are told of, and the wait that closes one panics with a [`Deadlock`](crate::Deadlock).
    Panic,
}

const UNSET: u8 = 0;
const OFF: u8 = 1;
const REPORT: u8 = 2;
const PANIC: u8 = 3;

/// `UNSET` until first asked for, then one of the others; written by anybody.
static DETECTION: AtomicU8 = AtomicU8::new(UNSET);

/// Deadlocks found so far.
static FOUND: AtomicU64 = AtomicU64::new(0);

/// Sets what is done about deadlocks, in the whole process.
///
/// Channels and queues take part if they are made while this is not [`Detection::Off`].
///
/// Never suspends.
pub fn detect_deadlocks(detection: Detection) {
    let bits = match detection {
        Detection::Off => OFF,
        Detection::Report => REPORT,
        Detection::Panic => PANIC,
    };
    DETECTION.store(bits, Ordering::Relaxed);
}

/// How many deadlocks have been found so far.
///
/// Never suspends.
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

/// Is anything done about deadlocks?
#[inline]
pub(crate) fn is_on() -> bool {
    detection() != Detection::Off
}

pub(crate) fn count_found() {
    FOUND.fetch_add(1, Ordering::Relaxed);
}

/// What the environment says, else what suits the build.
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
