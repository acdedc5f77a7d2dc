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
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use fiveways_sys::event_fd::EventFd;
use fiveways_sys::net::wait_ready;
use fiveways_sys::process::{Pid, Signal, kill};

use crate::server::counts::{Counts, Stats};
use crate::signal::{SIGINT, SIGTERM, Watch};

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
    /// In a child process: who supervises it, and the control of the child's own server.
    child: OnceLock<(Pid, Control)>,
}

impl Control {
    pub(crate) fn new() -> io::Result<Control> {
        let counts = Counts::default();
        let (stops, child) = (AtomicU32::new(0), OnceLock::new());
        let inner = Inner { stops, bell: EventFd::new()?, counts, child };
        Ok(Control { inner: Arc::new(inner) })
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.inner.counts
    }

    /// Makes this, in a child process, a control of the whole server that `supervisor` keeps up.
    pub(crate) fn hand_over(&self, supervisor: Pid, child: Control) {
        let _ = self.inner.child.set((supervisor, child));
    }

    /// Stops the server: gracefully; called again, by force. With several processes, all of them,
    /// from whichever. Never suspends.
    pub fn stop(&self) {
        if let Some((supervisor, _)) = self.inner.child.get() {
            // If it has gone, its children are being ended as well.
            let _ = kill(*supervisor, Signal::TERM);
            return;
        }
        self.inner.stops.fetch_add(1, Ordering::SeqCst);
        self.nudge();
    }

    /// Stops the server gracefully unless it is stopping already: for what ends by itself.
    pub(crate) fn stop_if_running(&self) {
        let _ = self.inner.stops.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst);
        self.nudge();
    }

    /// The server's counts; all zero before it serves. In one of several processes, of that one.
    pub fn stats(&self) -> Stats {
        match self.inner.child.get() {
            Some((_, own)) => own.inner.counts.stats(),
            None => self.inner.counts.stats(),
        }
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
        let mut watches = OnSignals(Vec::new());
        for signal in [SIGINT, SIGTERM] {
            watches.0.push(self.on_signal(signal, true)?);
        }
        Ok(watches)
    }

    /// Rings the bell on a signal, and counts it as a stop if `stops`.
    pub(crate) fn on_signal(&self, signal: i32, stops: bool) -> io::Result<Watch> {
        let control = self.clone();
        // An atomic addition and a write to an eventfd: a signal handler may do both.
        Watch::new(signal, move || {
            if stops {
                control.inner.stops.fetch_add(1, Ordering::SeqCst);
            }
            control.nudge();
        })
    }
}

/// Signals that stop a server; dropped, they do again what they did before.
#[derive(Debug)]
pub(crate) struct OnSignals(pub(crate) Vec<Watch>);
