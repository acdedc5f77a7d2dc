//! Time: sleeping, for tasks and plain threads.

use std::time::{Duration, Instant};

use fiveways_runtime::sleep_until as sleep_until_instant;

/// Sleeps for a duration; the worker serves other tasks meanwhile.
///
/// # Suspends
///
/// For that long; a plain thread blocks. A duration of zero lets others go first.
///
/// # Cancellation
///
/// A cancelled task is unwound from here.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let started = Instant::now();
/// let naps: Vec<_> = (0..100)
///     .map(|_| fiveways::task::spawn(|| fiveways::time::sleep(Duration::from_millis(20))))
///     .collect();
/// for nap in naps {
///     nap.join().expect("a nap does not panic");
/// }
/// assert!(started.elapsed() < Duration::from_secs(1));
/// ```
#[doc(alias = "gevent.sleep")]
pub fn sleep(duration: Duration) {
    // An instant too far away to be told is an hour that never ends, taken again and again.
    let hour = Duration::from_secs(3600);
    match Instant::now().checked_add(duration) {
        Some(at) => sleep_until(at),
        None => loop {
            sleep_until(Instant::now() + hour);
        },
    }
}

/// Sleeps until an instant.
///
/// # Suspends
///
/// Until then; a plain thread blocks.
///
/// # Cancellation
///
/// A cancelled task is unwound from here.
pub fn sleep_until(at: Instant) {
    sleep_until_instant(at);
}
