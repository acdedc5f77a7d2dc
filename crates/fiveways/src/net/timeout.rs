//! The error that identifies the time limit a call exceeded.

use std::fmt;
use std::io;

use fiveways_runtime::Elapsed;

/// The error of a call that exceeded one of the socket's time limits.
///
/// The [`io::Error`] of such a call has the kind [`TimedOut`](io::ErrorKind::TimedOut) and this as
/// its source; [`TimeoutError::of`] finds it. Other calls that fail with the same kind have another
/// source: the kernel closed the connection because the peer did not respond (`ETIMEDOUT`, an OS
/// error), or a [`task::timeout`](crate::task::timeout) has passed
/// ([`Elapsed`](crate::task::Elapsed)).
///
/// # Examples
///
/// ```
/// use std::io::{self, Read};
/// use std::time::Duration;
/// use fiveways::net::{TcpListener, TcpStream, TimeoutError};
///
/// # fn main() -> io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut stream = TcpStream::connect(listener.local_addr()?)?;
/// stream.set_read_timeout(Some(Duration::from_millis(5)))?;
/// let error = stream.read(&mut [0; 8]).expect_err("nobody has written");
/// assert_eq!(error.kind(), io::ErrorKind::TimedOut);
/// assert!(TimeoutError::of(&error).is_some_and(TimeoutError::is_read));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeoutError(pub(super) Limit);

/// The limits of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Read,
    Write,
    Idle,
}

impl TimeoutError {
    /// Returns the limit that an error is about, if any; looks through wrapped errors.
    pub fn of(error: &io::Error) -> Option<&TimeoutError> {
        find(error)
    }

    /// Returns `true` for the limit of each read (receive, accept).
    pub fn is_read(&self) -> bool {
        self.0 == Limit::Read
    }

    /// Returns `true` for the limit of each write (send).
    pub fn is_write(&self) -> bool {
        self.0 == Limit::Write
    }

    /// Returns `true` for the idle limit: no byte moved in either direction on the connection.
    pub fn is_idle(&self) -> bool {
        self.0 == Limit::Idle
    }
}

/// Finds the payload of an error, or of one that it wraps.
fn find<E: std::error::Error + 'static>(error: &io::Error) -> Option<&E> {
    let mut next = error.get_ref().map(|error| error as &(dyn std::error::Error + 'static));
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>() {
            Some(error) => error.get_ref().map(|error| error as _),
            None => error.source(),
        };
    }
    None
}

impl fmt::Display for TimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Limit::Read => "the time limit of reads has passed",
            Limit::Write => "the time limit of writes has passed",
            Limit::Idle => "no byte moved on the connection within its idle limit",
        })
    }
}

impl std::error::Error for TimeoutError {}

impl From<TimeoutError> for io::Error {
    fn from(error: TimeoutError) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, error)
    }
}

/// Returns `true` if a call's own deadline has passed, and not the kernel's or a scope's.
pub(super) fn is_own_deadline(error: &io::Error) -> bool {
    let is_late = error.kind() == io::ErrorKind::TimedOut;
    is_late && error.raw_os_error().is_none() && find::<Elapsed>(error).is_none()
}
