//! The error of a join: why there is no value.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::resume_unwind;

use fiveways_sys::lock::Mutex;

use crate::panics::panic_message;
use crate::park::limits::is_cancel;

/// Why a task returned no value.
pub struct JoinError(Why);

enum Why {
    Cancelled,
    /// Behind a lock only to be `Sync`, as errors should be: the payload is taken out by value.
    Panicked(Mutex<Box<dyn Any + Send>>),
    NotStarted(io::Error),
    /// Joined where the task cannot run, before it has ended.
    Unending,
}

impl JoinError {
    /// Creates the error of a task that unwound with this payload.
    pub fn panicked(payload: Box<dyn Any + Send>) -> JoinError {
        JoinError(if is_cancel(payload.as_ref()) {
            Why::Cancelled
        } else {
            Why::Panicked(Mutex::new(payload))
        })
    }

    /// Creates the error of a task that was cancelled.
    pub fn cancelled() -> JoinError {
        JoinError(Why::Cancelled)
    }

    /// Creates the error of a task that could not be started.
    pub(crate) fn not_started(error: io::Error) -> JoinError {
        JoinError(Why::NotStarted(error))
    }

    /// Creates the error of a join that would never end.
    pub fn unending() -> JoinError {
        JoinError(Why::Unending)
    }

    /// Returns `true` if the task was cancelled (unwound, or dropped before it began).
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0, Why::Cancelled)
    }

    /// Returns `true` if the task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.0, Why::Panicked(_))
    }

    /// Returns the panic's payload, as std's `JoinHandle::join` does; for other errors, a message.
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        match self.0 {
            Why::Panicked(payload) => payload.into_inner(),
            other => Box::new(JoinError(other).to_string()),
        }
    }

    /// Resumes the panic in the caller, with the task's payload.
    pub fn resume(self) -> ! {
        resume_unwind(self.into_panic())
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Why::Cancelled => f.write_str("the task was cancelled"),
            Why::NotStarted(error) => write!(f, "the task could not be started: {error}"),
            Why::Unending => f.write_str(
                "the task will not end while it is joined: its worker unwinds the one that joins \
                     it, or it belongs to another process, of which this one is a fork",
            ),
            Why::Panicked(payload) => {
                let payload = payload.lock();
                let message = panic_message(payload.as_ref()).map(str::to_owned);
                // Formatting may run code of the user that waits, so the lock is released first.
                drop(payload);
                match message {
                    Some(message) => write!(f, "the task panicked: {message}"),
                    None => f.write_str("the task panicked"),
                }
            }
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}
