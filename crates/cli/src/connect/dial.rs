//! Connecting with a time limit, with retries, and with error messages.

use std::io::{self, ErrorKind};
use std::time::Duration;

use fiveways::time::sleep;

use crate::connect::args::ConnectArgs;
use crate::connect::connection::{Connection, Target};
use crate::connect::reason::{reason, span};

/// The pause before the first retry; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The settings of connecting.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    pub(crate) target: Target,
    pub(crate) limit: Option<Duration>,
    pub(crate) retries: u32,
    /// `true` to report retries on stderr.
    pub(crate) aloud: bool,
}

/// Why an operation failed, and what would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) hint: Option<&'static str>,
}

impl From<String> for Failure {
    fn from(reason: String) -> Failure {
        Failure { reason, hint: None }
    }
}

impl Dial {
    /// Reads the settings from the command line.
    pub(crate) fn new(args: &ConnectArgs, aloud: bool) -> Dial {
        let (target, limit) = (args.target(), args.connect_timeout());
        Dial { target, limit, retries: args.retry, aloud }
    }

    /// Connects, with retries where they may help.
    pub(crate) fn open(&self) -> Result<Connection, Failure> {
        let mut pause = FIRST_PAUSE;
        let mut tried = 0;
        loop {
            let error = match Connection::open(&self.target, self.limit) {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            if tried == self.retries || !may_pass(&error) {
                return Err(self.failure(&error));
            }
            tried += 1;
            if self.aloud {
                let (reason, pause) = (self.reason(&error), span(pause));
                eprintln!("{reason}; trying again in {pause} ({tried} of {})", self.retries);
            }
            sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn failure(&self, error: &io::Error) -> Failure {
        let what = format!("cannot connect to '{}': {}", self.target, self.reason(error));
        Failure { reason: what, hint: self.hint(error) }
    }

    fn reason(&self, error: &io::Error) -> String {
        match (error.kind(), self.limit) {
            (ErrorKind::TimedOut, Some(limit)) => format!("no answer within {}", span(limit)),
            _ => reason(error),
        }
    }

    fn hint(&self, error: &io::Error) -> Option<&'static str> {
        let is_unix = matches!(self.target, Target::Unix(_));
        let hint = match error.kind() {
            ErrorKind::ConnectionRefused if is_unix => {
                "is a server running? The socket file exists, but nothing listens on it"
            }
            ErrorKind::ConnectionRefused => {
                "is a server running? Start one with `fiveways serve --bind ADDRESS`, or wait for \
                 one with --retry"
            }
            ErrorKind::NotFound if is_unix => {
                "is a server running? There is no socket at this path; wait for one with --retry"
            }
            ErrorKind::PermissionDenied if is_unix => {
                "connecting needs write permission on the socket file"
            }
            ErrorKind::TimedOut => {
                "the server is too busy to accept, or something drops the packets on the way; \
                 --timeout 30s would wait longer"
            }
            ErrorKind::InvalidInput if !is_unix => {
                "give an address as HOST:PORT, such as 127.0.0.1:9000 or [::1]:9000"
            }
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                "this machine has no route to that address"
            }
            _ if error.raw_os_error().is_none() && !is_unix => {
                "check the host name, or give an address"
            }
            _ => return None,
        };
        Some(hint)
    }
}

/// Returns `true` if a later attempt may succeed.
fn may_pass(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::TimedOut
            | ErrorKind::NotFound
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::AddrNotAvailable
    )
}
