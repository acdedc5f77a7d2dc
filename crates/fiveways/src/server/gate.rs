//! Who is let in: counting connections, keeping the limit, pausing when descriptors run out.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fiveways_runtime::{Unparker, unparker};
use fiveways_sys::errno;

use crate::server::settings::Settings;
use crate::server::stop::Control;

/// The longest pause after running out of descriptors.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// A server's counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections being served.
    pub connections: usize,
    /// Connections accepted and handed to the handler.
    pub accepted: u64,
    /// Connections refused because of the limit.
    pub refused: u64,
    /// Connections that had gone before they were accepted.
    pub aborted: u64,
    /// Times accepting paused because descriptors or memory ran out.
    pub exhausted: u64,
    /// Handlers that ended with an error.
    pub failed: u64,
    /// Handlers that panicked.
    pub panicked: u64,
}

#[derive(Debug)]
pub(crate) struct Gate {
    limit: usize,
    control: Control,
    inside: AtomicUsize,
    accepted: AtomicU64,
    refused: AtomicU64,
    aborted: AtomicU64,
    exhausted: AtomicU64,
    failed: AtomicU64,
    panicked: AtomicU64,
    /// Acceptors that wait for a place.
    waiting: Mutex<Vec<Unparker>>,
}

/// What to do about an error of accept.
pub(crate) enum Verdict {
    /// That connection has gone; go on with the next.
    Next,
    /// Nothing to accept just now.
    Wait,
    /// Out of descriptors: go on after the pause.
    Pause(Duration),
    /// The listener is broken.
    Broken(io::Error),
}

impl Gate {
    pub(crate) fn new(settings: &Settings, control: Control) -> Gate {
        Gate {
            limit: settings.max_connections,
            control,
            inside: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            aborted: AtomicU64::new(0),
            exhausted: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            panicked: AtomicU64::new(0),
            waiting: Mutex::default(),
        }
    }

    /// Connections inside.
    pub(crate) fn inside(&self) -> usize {
        self.inside.load(Ordering::SeqCst)
    }

    /// Is there no place?
    pub(crate) fn is_full(&self) -> bool {
        self.inside() >= self.limit
    }

    /// Lets a connection in; it leaves when the pass is dropped.
    pub(crate) fn enter(self: &Arc<Gate>) -> Pass {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.inside.fetch_add(1, Ordering::SeqCst);
        Pass { gate: Arc::clone(self) }
    }

    /// Counts a connection turned away.
    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that had gone before it could be served.
    pub(crate) fn abort(&self) {
        self.aborted.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an exhausted resource; tells how long to wait for it to come back.
    pub(crate) fn exhausted(&self, in_a_row: &mut u32) -> Duration {
        self.exhausted.fetch_add(1, Ordering::Relaxed);
        let pause = Duration::from_millis(1 << (*in_a_row).min(7));
        *in_a_row += 1;
        pause.min(LONGEST_PAUSE)
    }

    /// Asks to be unparked when somebody leaves. Look at `is_full` again afterwards, then park.
    pub(crate) fn wait_for_leaver(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(unparker());
    }

    /// Judges an error of accept; `pauses` counts those in a row.
    pub(crate) fn judge(&self, error: io::Error, pauses: &mut u32) -> Verdict {
        match error.raw_os_error() {
            Some(errno::EMFILE | errno::ENFILE | errno::ENOBUFS | errno::ENOMEM) => {
                Verdict::Pause(self.exhausted(pauses))
            }
            _ if error.kind() == io::ErrorKind::WouldBlock => Verdict::Wait,
            Some(errno::EBADF | errno::EINVAL | errno::ECANCELED) => Verdict::Broken(error),
            // Everything else is the trouble of the one connection: accept(2) hands on what the
            // network did to it.
            _ => {
                self.abort();
                Verdict::Next
            }
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            connections: self.inside(),
            accepted: count(&self.accepted),
            refused: count(&self.refused),
            aborted: count(&self.aborted),
            exhausted: count(&self.exhausted),
            failed: count(&self.failed),
            panicked: count(&self.panicked),
        }
    }
}

/// A connection's stay inside.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Arc<Gate>,
}

impl Pass {
    /// Counts how the handler ended.
    pub(crate) fn ended(&self, result: &io::Result<()>) {
        if result.is_err() {
            self.gate.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let gate = &*self.gate;
        if std::thread::panicking() {
            gate.panicked.fetch_add(1, Ordering::Relaxed);
        }
        let before = gate.inside.fetch_sub(1, Ordering::SeqCst);
        if before >= gate.limit {
            let mut waiting = gate.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            for acceptor in waiting.drain(..) {
                acceptor.unpark();
            }
        }
        if before == 1 && gate.control.is_stopping() {
            gate.control.nudge();
        }
    }
}
