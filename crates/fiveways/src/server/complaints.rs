//! Reporting the errors that handlers end with.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fiveways_runtime::clock;
use fiveways_sys::lock::Mutex;

use crate::net::TimeoutError;
use crate::task::is_cancelled_error;

/// At most one line per interval is written, unless the program has set its own function.
const INTERVAL: Duration = Duration::from_secs(1);

type BoxError = Box<dyn Error + Send + Sync>;

/// The program's function for errors of handlers.
#[derive(Clone, Default)]
pub(crate) struct OnError(Option<Arc<dyn Fn(SocketAddr, BoxError) + Send + Sync>>);

impl OnError {
    pub(crate) fn new(f: impl Fn(SocketAddr, BoxError) + Send + Sync + 'static) -> OnError {
        OnError(Some(Arc::new(f)))
    }
}

impl fmt::Debug for OnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnError").field(&self.0.is_some()).finish()
    }
}

/// Reports the errors of one server's handlers.
#[derive(Debug)]
pub(crate) struct Complaints {
    on_error: OnError,
    lines: Mutex<Lines>,
}

/// What has been written.
#[derive(Debug, Default)]
struct Lines {
    last: Option<Instant>,
    /// Errors since then that were not written.
    left_out: u64,
}

impl Complaints {
    pub(crate) fn new(on_error: OnError) -> Complaints {
        Complaints { on_error, lines: Mutex::default() }
    }

    /// Reports an error: calls the program's function, or writes a line unless one was just
    /// written.
    #[cold]
    pub(crate) fn hear(&self, peer: Option<SocketAddr>, error: BoxError) {
        let unknown = || SocketAddr::from(([0, 0, 0, 0], 0));
        match &self.on_error.0 {
            Some(f) => f(peer.unwrap_or_else(unknown), error),
            None if is_ordinary_end(&*error) => {}
            None => self.write(peer, &*error),
        }
    }

    /// Writes how many errors were left out, when the server has ended.
    pub(crate) fn end(&self) {
        let mut lines = self.lines.lock();
        let left_out = std::mem::take(&mut lines.left_out);
        if left_out > 0 {
            eprintln!("fiveways: handlers failed {left_out} more times");
        }
    }

    fn write(&self, peer: Option<SocketAddr>, error: &(dyn Error + 'static)) {
        let mut lines = self.lines.lock();
        let now = clock::now();
        if lines.last.is_some_and(|last| now < last + INTERVAL) {
            lines.left_out += 1;
            return;
        }
        let left_out = std::mem::take(&mut lines.left_out);
        lines.last = Some(now);
        drop(lines);
        let peer = peer.map_or_else(String::new, |peer| format!(" for {peer}"));
        let more = if left_out == 0 { String::new() } else { format!(" (and {left_out} before)") };
        eprintln!("fiveways: a handler failed{peer}: {}{more}", Chain(error));
    }
}

/// An error and its causes, in one line.
struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Returns `true` if this is a normal end of a connection: the peer closed it, or the server ended
/// it as configured.
fn is_ordinary_end(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            let has_gone = [BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected];
            let is_idle = TimeoutError::of(error).is_some_and(TimeoutError::is_idle);
            return has_gone.contains(&error.kind()) || is_idle || is_cancelled_error(error);
        }
        next = error.source();
    }
    false
}
