//! What can go wrong: with building a pool, with submitting to it, and with what was submitted.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;

use fiveways_runtime::panic_message;
use fiveways_sys::lock::Mutex;

/// Why a pool could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// A pool of no workers would never run anything.
    ZeroSize,
    /// The program's `main` has not called [`serve_if_worker`](crate::executor::serve_if_worker),
    /// so its worker processes would run the whole program again.
    NotGuarded,
    /// The arguments of the initializer could not be put into bytes.
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

/// Why a pool did not take what was submitted.
#[derive(Debug)]
#[non_exhaustive]
pub enum SubmitError {
    /// The pool has been shut down.
    Closed,
    /// The pool's initializer has failed; it runs nothing any more.
    Broken,
    /// The pool has no thread and none could be started.
    NoThread(io::Error),
    /// The arguments of a call could not be put into bytes.
    Unencodable(String),
}

impl SubmitError {
    /// Has the pool been shut down?
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

/// Why a future has no value to give, for good or yet.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FutureError {
    /// The time limit of the wait has come. The work goes on.
    #[doc(alias = "TimeoutError")]
    TimedOut,
    /// It was cancelled before it began.
    #[doc(alias = "CancelledError")]
    Cancelled,
    /// The work panicked.
    Panicked(Panic),
    /// The wait could never end: what is awaited waits, itself or through others, for the waiting
    /// job to end.
    WouldDeadlock,
    /// The value has been taken before, by [`Future::take`](crate::executor::Future::take).
    Taken,
    /// The pool's initializer has failed before the work began.
    #[doc(alias = "BrokenThreadPool")]
    BrokenPool,
    /// The worker process died while it worked on this call, or was killed because it said what
    /// is no answer to it. The pool goes on with another one.
    #[doc(alias = "BrokenProcessPool")]
    BrokenWorker {
        /// The number the process had.
        pid: u32,
        /// How it ended; `None` when somebody else has collected that.
        status: Option<ExitStatus>,
    },
    /// No worker process could be started for the call.
    NoWorker(Arc<io::Error>),
    /// The worker process knows no function of this name.
    UnknownFunction(String),
    /// Arguments or result of a call could not be read from the bytes they were sent as.
    Undecodable(String),
    /// The result of a call could not be put into bytes.
    Unencodable(String),
}

impl FutureError {
    /// Did the wait end because its time was over?
    pub fn is_timed_out(&self) -> bool {
        matches!(self, FutureError::TimedOut)
    }

    /// Was it cancelled before it began?
    pub fn is_cancelled(&self) -> bool {
        matches!(self, FutureError::Cancelled)
    }

    /// Did the work panic?
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
            FutureError::Taken => f.write_str("the value has been taken before"),
            FutureError::BrokenPool => f.write_str("the initializer of the pool has failed"),
            FutureError::BrokenWorker { pid, status: Some(status) } => {
                write!(f, "the worker process {pid} died at work: {status}")
            }
            FutureError::BrokenWorker { pid, status: None } => {
                write!(f, "the worker process {pid} died at work, nobody knows how")
            }
            FutureError::NoWorker(error) => {
                write!(f, "no worker process could be started: {error}")
            }
            FutureError::UnknownFunction(name) => {
                write!(f, "the worker process knows no function {name:?}")
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

    /// The panic of another process, of which only the message came here.
    pub(super) fn elsewhere(message: String) -> Panic {
        Panic::new(Box::new(message))
    }

    /// What was said in panicking.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The payload of the panic, for [`resume_unwind`](std::panic::resume_unwind).
    ///
    /// It goes to who asks first, the message as a `String` to others. From a worker process only
    /// the message comes.
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

/// The message of a panic, or a remark that it has none.
pub(super) fn message_of(payload: &(dyn Any + Send)) -> &str {
    panic_message(payload).unwrap_or("(no message)")
}
