//! Error messages for failures.

use std::io;
use std::time::Duration;

/// A short description of an I/O error.
pub(crate) fn reason(error: &io::Error) -> String {
    let known = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "the server reset the connection",
        io::ErrorKind::BrokenPipe => "the server closed the connection",
        io::ErrorKind::TimedOut => "timed out",
        io::ErrorKind::HostUnreachable => "the host cannot be reached",
        io::ErrorKind::NetworkUnreachable => "the network cannot be reached",
        _ => return error.to_string(),
    };
    known.to_owned()
}

/// A duration in readable form: `1.5 s`, `230 ms`.
pub(crate) fn span(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{} s", time.as_secs_f64())
    }
}
