//! Waiting for something that must happen, with a generous upper bound.

use std::io::Write;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything here takes; what takes longer has failed.
pub const LONG: Duration = Duration::from_secs(40);

/// Looks again and again until the condition holds.
///
/// # Panics
///
/// When it does not hold after [`LONG`].
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "never happened: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Ends the process when it is not dropped in time: a test that hangs must not hang the suite.
#[derive(Debug)]
pub struct Watchdog {
    _quiet: Sender<()>,
}

impl Watchdog {
    /// Begins to watch.
    pub fn new(what: String, limit: Duration) -> Watchdog {
        let (quiet, bark) = mpsc::channel::<()>();
        let watch = move || {
            if bark.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                // Straight to the descriptor: the harness captures what is printed by macros.
                let message = format!("watchdog: {what} did not end within {limit:?}\n");
                let _ = std::io::stderr().write_all(message.as_bytes());
                std::process::abort();
            }
        };
        let builder = thread::Builder::new().name("watchdog".to_owned());
        builder.spawn(watch).expect("a thread for the watchdog");
        Watchdog { _quiet: quiet }
    }
}
