//! Admission: counts connections, enforces the limit, and pauses when descriptors run out.

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
    /// Acceptors that wait for a free slot.
    waiting: Mutex<Vec<Unparker>>,
    /// `true` if a thread waits for a free slot on the bell.
    rings: AtomicBool,
}

/// What to do after an error of accept.
pub(crate) enum Verdict {
    /// The connection was closed by its client; go on with the next.
    Next,
    /// Nothing to accept at present.
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

    /// The number of connections being served.
    pub(crate) fn inside(&self) -> usize {
        self.counts().inside.load(Ordering::SeqCst)
    }

    /// Returns `true` if the limit is reached.
    pub(crate) fn is_full(&self) -> bool {
        self.inside() >= self.limit
    }

    /// Returns `true` if the server has been stopped and the drain deadline has passed.
    pub(crate) fn is_over(&self) -> bool {
        self.control.is_over()
    }

    /// Admits a connection; it counts until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Admission>) -> ConnectionGuard {
        self.counts().accepted.add();
        self.counts().inside.fetch_add(1, Ordering::SeqCst);
        ConnectionGuard { admission: Arc::clone(self) }
    }

    /// Counts a refused connection.
    pub(crate) fn refuse(&self) {
        self.counts().refused.add();
    }

    /// Counts a connection that was closed before it could be served.
    pub(crate) fn abort(&self) {
        self.counts().aborted.add();
    }

    /// Counts an exhausted resource and returns how long to wait before trying again.
    pub(crate) fn exhausted(&self, in_a_row: &mut u32) -> Duration {
        self.counts().exhausted.add();
        self.control.close_idle();
        let pause = Duration::from_millis(1 << (*in_a_row).min(7));
        *in_a_row += 1;
        pause.min(LONGEST_PAUSE)
    }

    /// Registers the caller to be unparked when a connection ends. The caller checks `is_full`
    /// again and then parks.
    pub(crate) fn wait_for_leaver(&self) {
        self.waiting.lock().push(unparker());
    }

    /// Makes the bell ring when a connection ends. The caller checks `is_full` again and then waits
    /// for the bell.
    pub(crate) fn ring_for_leaver(&self) {
        // ORDERING: SeqCst: with the count of those inside. Either the thread that leaves sees this
        // flag, or the thread that reads the count afterwards sees the lower count.
        self.rings.store(true, Ordering::SeqCst);
    }

    /// Where errors of handlers are reported.
    pub(crate) fn complaints(&self) -> &Complaints {
        &self.complaints
    }

    fn next(&self) -> Verdict {
        self.abort();
        Verdict::Next
    }

    /// Classifies an error of accept; `pauses` counts consecutive ones.
    pub(crate) fn judge(&self, error: io::Error, pauses: &mut u32) -> Verdict {
        match error.raw_os_error() {
            Some(errno::EMFILE | errno::ENFILE | errno::ENOBUFS | errno::ENOMEM) => {
                Verdict::Pause(self.exhausted(pauses))
            }
            _ if error.kind() == io::ErrorKind::WouldBlock => Verdict::Wait,
            // An error of that one connection: accept(2) passes on pending network errors.
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
            // Any other error is permanent: retrying would serve nobody, for ever.
            _ => Verdict::Broken(error),
        }
    }
}

/// Counts a connection as served for as long as it lives.
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
        // A handler that is cancelled is unwound as well.
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
