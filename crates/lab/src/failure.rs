//! Failures of a request, a connection or a server, as countable kinds.

use std::io;

use serde::Serialize;

/// A kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The connection could not be made in time.
    Connect,
    /// The server reset the connection.
    Reset,
    /// The server closed the connection before its reply was complete.
    Closed,
    /// A reply differs from the expected one, or unexpected bytes arrived.
    Corrupt,
    /// The reply, or the server's close at the end, did not arrive in time.
    TimedOut,
    /// The server ended early, did not stop on request, or stopped with a non-zero status.
    Server,
    /// Any other error of a socket.
    Other,
}

impl Failure {
    /// The kind of an error that a socket reported.
    pub fn of(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Failure::Reset,
            io::ErrorKind::TimedOut => Failure::TimedOut,
            _ => Failure::Other,
        }
    }
}

/// How often each kind happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Failures {
    /// Connections that could not be made.
    pub connect: u64,
    /// Connections reset by the server.
    pub reset: u64,
    /// Connections closed early by the server.
    pub closed: u64,
    /// Wrong bytes.
    pub corrupt: u64,
    /// Time limits passed.
    pub timed_out: u64,
    /// Servers that ended badly.
    pub server: u64,
    /// Other socket errors.
    pub other: u64,
}

impl Failures {
    /// Counts one more.
    pub fn count(&mut self, failure: Failure) {
        *match failure {
            Failure::Connect => &mut self.connect,
            Failure::Reset => &mut self.reset,
            Failure::Closed => &mut self.closed,
            Failure::Corrupt => &mut self.corrupt,
            Failure::TimedOut => &mut self.timed_out,
            Failure::Server => &mut self.server,
            Failure::Other => &mut self.other,
        } += 1;
    }

    /// Adds other counts to these.
    pub fn add(&mut self, other: &Failures) {
        self.connect += other.connect;
        self.reset += other.reset;
        self.closed += other.closed;
        self.corrupt += other.corrupt;
        self.timed_out += other.timed_out;
        self.server += other.server;
        self.other += other.other;
    }

    /// All kinds with their names, in the order of reports.
    pub fn by_name(&self) -> [(&'static str, u64); 7] {
        [
            ("connect", self.connect),
            ("reset", self.reset),
            ("closed", self.closed),
            ("corrupt", self.corrupt),
            ("timed out", self.timed_out),
            ("server", self.server),
            ("other", self.other),
        ]
    }

    /// All kinds together.
    pub fn total(&self) -> u64 {
        self.by_name().iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_counted_once_and_added_once() {
        let kinds = [
            Failure::Connect,
            Failure::Reset,
            Failure::Closed,
            Failure::Corrupt,
            Failure::TimedOut,
            Failure::Server,
            Failure::Other,
        ];
        let mut failures = Failures::default();
        kinds.into_iter().for_each(|kind| failures.count(kind));
        assert!(failures.by_name().iter().all(|&(_, count)| count == 1), "{failures:?}");
        failures.add(&failures.clone());
        assert!(failures.by_name().iter().all(|&(_, count)| count == 2), "{failures:?}");
        assert_eq!(failures.total(), 14);
    }
}
