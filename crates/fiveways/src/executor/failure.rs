//! Errors of building a pool, of submitting to it, and of submitted work.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;

use fiveways_runtime::panic_message;
use fiveways_sys::lock::Mutex;

/// The error of building a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// A pool without workers would never run anything.
    ZeroSize,
    /// The program's `main` has not called [`serve_if_worker`](crate::executor::serve_if_worker),
    /// so its worker processes would run the whole program again.
    NotGuarded,
    /// The arguments of the initializer could not be serialised.
    Unencodable,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BuildError::ZeroSize => "a pool of 0 workers would never run anything",
            BuildError::NotGuarded => {
                "main must call fiveways::executor::serve_if_worker() first, or each worker \
                 process would run the whole program again"
            }
            BuildError::Unencodable => "the arguments of the initializer cannot be encoded",
        })
    }
}

impl Error for BuildError {}

/// The error of submitting work to a pool.
#[derive(Debug)]
#[non_exhaustive]
pub enum SubmitError {
    /// The pool is closed.
    Closed,
    /// The pool's initializer has failed; the pool runs no more work.
    Broken,
    /// The pool has no thread, and none could be started.
    NoThread(io::Error),
    /// The arguments of a call could not be serialised.
    Unencodable(String),
}

impl SubmitError {
    /// Returns `true` if the pool is closed.
    pub fn is_shut_down(&self) -> bool {
        matches!(self, SubmitError::Closed)
    }
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubmitError::Closed => f.write_str("the pool has been shut down"),
            SubmitError::Broken => f.write_str("the initializer of the pool has failed"),
            SubmitError::NoThread(error) => write!(f, "no thread could be started: {error}"),
            SubmitError::Unencodable(why) => write!(f, "the arguments cannot be encoded: {why}"),
        }
    }
}

impl Error for SubmitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            SubmitError::NoThread(error) => Some(error),
            _ => None,
        }
    }
}

/// The reason why a future has no value, or not yet.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FutureError {
    /// The time limit of the wait has passed. The work continues.
    #[doc(alias = "TimeoutError")]
    TimedOut,
    /// It was cancelled before it began.
    #[doc(alias = "CancelledError")]
    Cancelled,
    /// The work panicked.
    Panicked(Panic),
    /// The wait would never end: the awaited work waits, itself or through others, for the waiting
    /// job to end.
    WouldDeadlock,
    /// The value has already been taken, by [`Future::take`](crate::executor::Future::take).
    Taken,
    /// The pool's initializer failed before the work began.
    #[doc(alias = "BrokenThreadPool")]
    BrokenPool,
    /// The worker process died during this call, or was killed because it sent something that is no
    /// answer to it. The pool continues with another one.
    #[doc(alias = "BrokenProcessPool")]
    BrokenWorker {
        /// The process id.
        pid: u32,
        /// Its exit status; `None` if other code has collected it.
        status: Option<ExitStatus>,
    },
    /// No worker process could be started for the call.
    NoWorker(Arc<io::Error>),
    /// The worker process has no function of this name.
    UnknownFunction(String),
    /// The arguments or the result of a call could not be deserialised.
    Undecodable(String),
    /// The result of a call could not be serialised.
    Unencodable(String),
}

impl FutureError {
    /// Returns `true` if the time limit of the wait has passed.
    pub fn is_timed_out(&self) -> bool {
        matches!(self, FutureError::TimedOut)
    }

    /// Returns `true` if the work was cancelled before it began.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, FutureError::Cancelled)
    }

    /// Returns `true` if the work panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self, FutureError::Panicked(_))
    }
}

impl fmt::Display for FutureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FutureError::TimedOut => f.write_str("no result came within the time limit"),
            FutureError::Cancelled => f.write_str("cancelled before it began"),
            FutureError::Panicked(panic) => write!(f, "the work panicked: {}", panic.message()),
            FutureError::WouldDeadlock => {
                f.write_str("waiting would never end: the awaited work waits for this job")
            }
            FutureError::Taken => f.write_str("the value has already been taken"),
            FutureError::BrokenPool => f.write_str("the initializer of the pool has failed"),
            FutureError::BrokenWorker { pid, status: Some(status) } => {
                write!(f, "the worker process {pid} died during a call: {status}")
            }
            FutureError::BrokenWorker { pid, status: None } => {
                write!(f, "the worker process {pid} died during a call, its exit status is unknown")
            }
            FutureError::NoWorker(error) => {
                write!(f, "no worker process could be started: {error}")
            }
            FutureError::UnknownFunction(name) => {
                write!(f, "the worker process has no function {name:?}")
            }
            FutureError::Undecodable(why) => write!(f, "unreadable bytes: {why}"),
            FutureError::Unencodable(why) => write!(f, "the result cannot be encoded: {why}"),
        }
    }
}

impl Error for FutureError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            FutureError::NoWorker(error) => Some(&**error),
            _ => None,
        }
    }
}

/// The panic of a piece of work; clones share it.
#[derive(Clone)]
pub struct Panic {
    message: Arc<str>,
    payload: Arc<Mutex<Option<Box<dyn Any + Send>>>>,
}

impl Panic {
    pub(super) fn new(payload: Box<dyn Any + Send>) -> Panic {
        let message = message_of(payload.as_ref()).into();
        Panic { message, payload: Arc::new(Mutex::new(Some(payload))) }
    }

    /// A panic in another process, of which only the message was sent.
    pub(super) fn elsewhere(message: String) -> Panic {
        Panic::new(Box::new(message))
    }

    /// Returns the message of the panic.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the payload of the panic, for [`resume_unwind`](std::panic::resume_unwind).
    ///
    /// The first caller gets the original, others the message as a `String`. From a worker process
    /// only the message is available.
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        let payload = self.payload.lock().take();
        payload.unwrap_or_else(|| Box::new(self.message.to_string()))
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Panic").field(&self.message()).finish()
    }
}

/// Returns the message of a panic, or a note that it has none.
pub(super) fn message_of(payload: &(dyn Any + Send)) -> &str {
    panic_message(payload).unwrap_or("(no message)")
}
