//! Stopping: on a signal or on request, gracefully first and by force at the second time (D29).
//!
//! ```text
//!   0 running ──stop──▶ 1 draining ──stop──▶ 2 forced
//! ```
//!
//! The number only grows; it is written by signal handlers and by [`Control::stop`], both of which
//! then ring the bell (an eventfd) on which the serving thread sleeps.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use fiveways_sys::event_fd::EventFd;
use fiveways_sys::net::wait_ready;
use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::server::counts::{Counts, Stats};

/// Stops a server and reads its counts, from anywhere; cheap to clone.
#[derive(Clone, Debug)]
pub struct Control {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    stops: AtomicU32,
    bell: EventFd,
    counts: Counts,
}

impl Control {
    pub(crate) fn new() -> io::Result<Control> {
        let counts = Counts::default();
        let inner = Inner { stops: AtomicU32::new(0), bell: EventFd::new()?, counts };
        Ok(Control { inner: Arc::new(inner) })
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.inner.counts
    }

    /// Stops the server: gracefully; called again, by force. Never suspends.
    pub fn stop(&self) {
        self.inner.stops.fetch_add(1, Ordering::SeqCst);
        self.nudge();
    }

    /// Stops the server gracefully unless it is stopping already: for what ends by itself.
    pub(crate) fn stop_if_running(&self) {
        let _ = self.inner.stops.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst);
        self.nudge();
    }

    /// The server's counts; all zero before it serves.
    pub fn stats(&self) -> Stats {
        self.inner.counts.stats()
    }

    /// Has a stop been asked for?
    pub(crate) fn is_stopping(&self) -> bool {
        self.inner.stops.load(Ordering::SeqCst) > 0
    }

    /// Has it been asked for twice?
    pub(crate) fn is_forced(&self) -> bool {
        self.inner.stops.load(Ordering::SeqCst) > 1
    }

    /// Makes the serving thread look.
    pub(crate) fn nudge(&self) {
        self.inner.bell.add_one();
    }

    /// Quietens the bell.
    pub(crate) fn hush(&self) {
        self.inner.bell.reset();
    }

    /// The bell, to be awaited together with something else.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.inner.bell.as_fd()
    }

    /// Blocks the thread until a stop is asked for.
    pub(crate) fn wait_for_stop(&self) -> io::Result<()> {
        while !self.is_stopping() {
            wait_ready(self.bell(), false, None)?;
            self.hush();
        }
        Ok(())
    }

    /// Blocks the thread until all connections have left, the time is over, or force is asked for.
    pub(crate) fn wait_for_drain(&self, limit: Duration) -> io::Result<()> {
        let deadline = Instant::now().checked_add(limit);
        while self.stats().connections > 0 && !self.is_forced() {
            if !wait_ready(self.bell(), false, deadline)? {
                break;
            }
            self.hush();
        }
        Ok(())
    }

    /// Stops on SIGINT and SIGTERM for as long as the result lives.
    pub(crate) fn on_signals(&self) -> io::Result<OnSignals> {
        let mut ids = OnSignals(Vec::new());
        for signal in [SIGINT, SIGTERM] {
            ids.0.push(self.on_signal(signal, true)?);
        }
        Ok(ids)
    }

    /// Rings the bell on a signal, and counts it as a stop if `stops`.
    #[expect(unsafe_code, reason = "the action runs in a signal handler")]
    pub(crate) fn on_signal(&self, signal: i32, stops: bool) -> io::Result<SigId> {
        let control = self.clone();
        let action = move || {
            if stops {
                control.inner.stops.fetch_add(1, Ordering::SeqCst);
            }
            control.nudge();
        };
        // SAFETY: required: async-signal-safe. An atomic addition and a write to an eventfd are.
        unsafe { signal_hook::low_level::register(signal, action) }
    }
}

/// Registered signal actions; dropped, they are gone.
#[derive(Debug)]
pub(crate) struct OnSignals(pub(crate) Vec<SigId>);

impl Drop for OnSignals {
    fn drop(&mut self) {
        for id in self.0.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}
