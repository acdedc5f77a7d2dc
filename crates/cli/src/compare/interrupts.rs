//! Ctrl-C and SIGTERM during a measurement: the first ends it and keeps what was measured.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The exit status after Ctrl-C, by the shells' convention.
const INTERRUPTED: u8 = 130;
/// The exit status after SIGTERM.
const TERMINATED: u8 = 143;

/// The signals that end the measurement.
pub(super) struct Interrupts {
    pub(super) any: Arc<AtomicBool>,
    terminated: Arc<AtomicBool>,
}

impl Interrupts {
    /// Installs the handlers: the first signal sets a flag, a second ends the program by its
    /// default effect.
    pub(super) fn handled() -> io::Result<Interrupts> {
        let (any, terminated) = (Arc::default(), Arc::default());
        for (signal, status) in [(SIGINT, INTERRUPTED), (SIGTERM, TERMINATED)] {
            // In this order: the second handler sees the flag only if an earlier signal has set it.
            flag::register_conditional_shutdown(signal, i32::from(status), Arc::clone(&any))?;
            flag::register(signal, Arc::clone(&any))?;
        }
        flag::register(SIGTERM, Arc::clone(&terminated))?;
        Ok(Interrupts { any, terminated })
    }

    /// The exit status for the signal, if there was one.
    pub(super) fn status(&self) -> Option<ExitCode> {
        let status = match self.terminated.load(Ordering::SeqCst) {
            true => TERMINATED,
            false => INTERRUPTED,
        };
        self.any.load(Ordering::SeqCst).then(|| ExitCode::from(status))
    }
}
