//! Errors of commands: what failed, what to do about it, and the exit status.

use std::fmt;
use std::process::ExitCode;

/// Status of a check that failed: the program itself worked.
pub(crate) const CHECK_FAILED: u8 = 1;
/// Status of wrong usage, and of an environment that lacks something.
pub(crate) const USAGE: u8 = 2;

/// The error that ends a command: printed as `error: …`, a blank line, `hint: …`.
#[derive(Debug)]
pub(crate) struct CliError {
    /// What failed and with which value; lower case, no full stop.
    pub(crate) message: String,
    /// What would help.
    pub(crate) hint: Option<String>,
    /// The exit status.
    pub(crate) code: u8,
}

impl CliError {
    /// Wrong usage, or an environment that lacks something: exit status 2.
    pub(crate) fn usage(message: impl Into<String>) -> CliError {
        CliError { message: message.into(), hint: None, code: USAGE }
    }

    /// A check that failed: exit status 1.
    pub(crate) fn failed(message: impl Into<String>) -> CliError {
        CliError { message: message.into(), hint: None, code: CHECK_FAILED }
    }

    /// Adds what would help.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> CliError {
        self.hint = Some(hint.into());
        self
    }

    /// Prints the error on stderr and returns the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("{self}");
        ExitCode::from(self.code)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CliError {}
