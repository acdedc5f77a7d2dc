//! Who is let in: counting connections, keeping the limit, pausing when descriptors run out.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fiveways_runtime::{Unparker, is_cancelled, unparker};
use fiveways_sys::errno;
use fiveways_sys::lock::Mutex;

use crate::server::complaints::Complaints;
use crate::server::counts::Counts;
use crate::server::settings::Settings;
use crate::server::stop::Control;

/// The longest pause after running out of descriptors.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Admission {
    limit: usize,
    control: Control,
    complaints: Complaints,
    /// Acceptors that wait for a place.
    waiting: Mutex<Vec<Unparker>>,
    /// Does a thread wait for a place, by the bell?
    rings: AtomicBool,
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

impl Admission {
    pub(crate) fn new(settings: &Settings, control: Control) -> Admission {
        Admission {
            limit: settings.max_connections,
            control,
            complaints: Complaints::new(settings.on_error.clone()),
            waiting: Mutex::default(),
            rings: AtomicBool::new(false),
        }
    }

    fn counts(&self) -> &Counts {
        self.control.counts()
    }

    /// Connections inside.
    pub(crate) fn inside(&self) -> usize {
        self.counts().inside.load(Ordering::SeqCst)
    }

    /// Is there no place?
    pub(crate) fn is_full(&self) -> bool {
        self.inside() >= self.limit
    }

    /// Has the server been stopped, and is the time for connections to finish over?
    pub(crate) fn is_over(&self) -> bool {
        self.control.is_over()
    }

    /// Lets a connection in; it leaves when the pass is dropped.
    pub(crate) fn enter(self: &Arc<Admission>) -> ConnectionGuard {
        self.counts().accepted.add();
        self.counts().inside.fetch_add(1, Ordering::SeqCst);
        ConnectionGuard { admission: Arc::clone(self) }
    }

    /// Counts a connection turned away.
    pub(crate) fn refuse(&self) {
        self.counts().refused.add();
    }

    /// Counts a connection that had gone before it could be served.
    pub(crate) fn abort(&self) {
        self.counts().aborted.add();
    }

    /// Counts an exhausted resource; tells how long to wait for it to come back.
    pub(crate) fn exhausted(&self, in_a_row: &mut u32) -> Duration {
        self.counts().exhausted.add();
        self.control.close_idle();
        let pause = Duration::from_millis(1 << (*in_a_row).min(7));
        *in_a_row += 1;
        pause.min(LONGEST_PAUSE)
    }

    /// Asks to be unparked when somebody leaves. Look at `is_full` again afterwards, then park.
    pub(crate) fn wait_for_leaver(&self) {
        self.waiting.lock().push(unparker());
    }

    /// Has the bell ring when somebody leaves. Look at `is_full` again afterwards, then wait for
    /// it.
    pub(crate) fn ring_for_leaver(&self) {
        // ORDERING: SeqCst: with the count of those inside. Either the leaver sees this, or who
        // looks at the count afterwards sees that somebody has left.
        self.rings.store(true, Ordering::SeqCst);
    }

    /// Hears the errors of handlers.
    pub(crate) fn complaints(&self) -> &Complaints {
        &self.complaints
    }

    fn next(&self) -> Verdict {
        self.abort();
        Verdict::Next
    }

    /// Judges an error of accept; `pauses` counts those in a row.
    pub(crate) fn judge(&self, error: io::Error, pauses: &mut u32) -> Verdict {
        match error.raw_os_error() {
            Some(errno::EMFILE | errno::ENFILE | errno::ENOBUFS | errno::ENOMEM) => {
                Verdict::Pause(self.exhausted(pauses))
            }
            _ if error.kind() == io::ErrorKind::WouldBlock => Verdict::Wait,
            // The trouble of the one connection: accept(2) hands on what the network did to it.
            Some(
                errno::ECONNABORTED
                | errno::ECONNRESET
                | errno::ENETDOWN
                | errno::EPROTO
                | errno::ENOPROTOOPT
                | errno::EHOSTDOWN
                | errno::ENONET
                | errno::EHOSTUNREACH
                | errno::ENETUNREACH
                | errno::ETIMEDOUT
                | errno::EPIPE
                | errno::EPERM
                | errno::ENOTCONN,
            ) => self.next(),
            None if error.kind() == io::ErrorKind::ConnectionAborted => self.next(),
            // Whatever else it is will not pass: nobody is served by trying again for ever.
            _ => Verdict::Broken(error),
        }
    }
}

/// A connection's stay inside.
#[derive(Debug)]
pub(crate) struct ConnectionGuard {
    admission: Arc<Admission>,
}

impl ConnectionGuard {
    /// Counts how the handler ended.
    pub(crate) fn ended<E: Into<Box<dyn Error + Send + Sync>>>(
        &self,
        peer: Option<SocketAddr>,
        result: Result<(), E>,
    ) {
        if let Err(error) = result {
            self.admission.counts().failed.add();
            self.admission.complaints.hear(peer, error.into());
        }
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let admission = &*self.admission;
        // A handler that is cut short is unwound as well.
        if std::thread::panicking() && !is_cancelled() {
            admission.counts().panicked.add();
        }
        let before = admission.counts().inside.fetch_sub(1, Ordering::SeqCst);
        if before >= admission.limit {
            let mut waiting = admission.waiting.lock();
            for acceptor in waiting.drain(..) {
                acceptor.unpark();
            }
        }
        let is_awaited = before >= admission.limit && admission.rings.swap(false, Ordering::SeqCst);
        if is_awaited || before == 1 && admission.control.is_stopping() {
            admission.control.nudge();
        }
    }
}
