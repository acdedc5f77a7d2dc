//! Running work on a connection that may block its thread.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use fiveways_runtime::{
    Reason, Unparker, hand_to_thread, in_task, panic_message, park_for_while_not, unparker,
};
use fiveways_sys::lock::Mutex;

use crate::handoff::detached::{Connection, Detached};

/// The error of work on a connection. The connection is returned separately.
pub struct WorkError(Why);

enum Why {
    /// Locked only so that it is `Sync`, as errors should be: it is taken out by value.
    Panicked(Mutex<Box<dyn Any + Send>>),
    NotStarted(io::Error),
}

impl WorkError {
    fn panicked(payload: Box<dyn Any + Send>) -> WorkError {
        WorkError(Why::Panicked(Mutex::new(payload)))
    }

    /// Returns `true` if the work panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.0, Why::Panicked(_))
    }

    /// Resumes the work's panic in the caller.
    pub fn resume(self) -> ! {
        match self.0 {
            Why::Panicked(payload) => resume_unwind(payload.into_inner()),
            Why::NotStarted(error) => panic!("the work could not be started: {error}"),
        }
    }
}

impl fmt::Display for WorkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Why::Panicked(payload) => {
                let payload = payload.lock();
                let message = panic_message(payload.as_ref()).map(str::to_owned);
                // Formatting may run user code, which may wait.
                drop(payload);
                match message {
                    Some(message) => write!(f, "the work panicked: {message}"),
                    None => f.write_str("the work panicked"),
                }
            }
            Why::NotStarted(error) => write!(f, "the work could not be started: {error}"),
        }
    }
}

impl fmt::Debug for WorkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkError({self})")
    }
}

impl std::error::Error for WorkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Why::NotStarted(error) => Some(error),
            Why::Panicked(_) => None,
        }
    }
}

/// Runs work on a connection in another thread, which may block, and returns the connection, even
/// if the work panics or exceeds its deadline.
///
/// No other work runs on that thread in the meantime. It is one of the threads of
/// [`unblock`](crate::executor::unblock), which are kept for a while, so a hand-off is cheap; if
/// all of them are busy, a new one is started, so that no work waits for other work to end.
///
/// `work` is plain blocking code over the stream, for any number of rounds. After `deadline`, each
/// of its calls on the stream fails with `TimedOut`, regardless of the time limits it sets. Bytes
/// that are [`unsent`](Detached::unsent) are sent first.
///
/// On a plain thread the work runs in the calling thread.
///
/// # Suspends
///
/// Until the work has ended; the worker runs other tasks in the meantime.
///
/// # Cancellation
///
/// A cancelled task is unwound from here, and so is one whose `timeout` scope has passed. The work
/// continues to its end or its deadline; then the connection is closed.
///
/// # Errors
///
/// Next to the connection: the work panicked, or could not begin because no thread could be started
/// or the unsent bytes could not be sent.
pub fn run<S, T, F>(
    detached: Detached<S>,
    deadline: Option<Instant>,
    work: F,
) -> (Detached<S>, Result<T, WorkError>)
where
    S: Connection + 'static,
    T: Send + 'static,
    F: FnOnce(&mut S) -> T + Send + 'static,
{
    if !in_task() {
        return run_here(detached, deadline, work);
    }
    let desk = Arc::new(Desk { state: Mutex::new(State::Waiting(detached)), waiter: unparker() });
    let theirs = Arc::clone(&desk);
    match on_thread(Box::new(move || theirs.work(deadline, work))) {
        Ok(()) => desk.wait(),
        Err(error) => match desk.replace(State::Taken) {
            State::Waiting(detached) => (detached, Err(WorkError(Why::NotStarted(error)))),
            _ => unreachable!("no thread has taken the connection"),
        },
    }
}

/// Runs the work on an idle helper thread, or on a new one.
fn on_thread(work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    let Err(work) = hand_to_thread(work) else { return Ok(()) };
    thread::Builder::new().name("fiveways-handoff".to_owned()).spawn(work).map(drop)
}

/// Where the task and the thread pass the connection to each other.
struct Desk<S: Connection, T> {
    state: Mutex<State<S, T>>,
    waiter: Unparker,
}

/// `Waiting` (put by the task) → `Taken` (by the thread) → `Done` (by the thread) → `Taken` (by the
/// task).
enum State<S: Connection, T> {
    Waiting(Detached<S>),
    Taken,
    Done(Detached<S>, Result<T, WorkError>),
}

impl<S: Connection, T> Desk<S, T> {
    fn replace(&self, state: State<S, T>) -> State<S, T> {
        std::mem::replace(&mut *self.state.lock(), state)
    }

    /// The thread's side.
    fn work(&self, deadline: Option<Instant>, work: impl FnOnce(&mut S) -> T) {
        if let State::Waiting(detached) = self.replace(State::Taken) {
            let (detached, outcome) = run_here(detached, deadline, work);
            // If the task has been unwound in the meantime, the connection is dropped with the
            // desk.
            drop(self.replace(State::Done(detached, outcome)));
            self.waiter.unpark();
        }
    }

    /// The task's side.
    fn wait(&self) -> (Detached<S>, Result<T, WorkError>) {
        let is_done = || matches!(*self.state.lock(), State::Done(..));
        park_for_while_not(&Reason::new("hand-off", self), is_done, None);
        match self.replace(State::Taken) {
            State::Done(detached, outcome) => (detached, outcome),
            _ => unreachable!("only the task takes what is done"),
        }
    }
}

/// Runs the work on this thread.
fn run_here<S: Connection, T>(
    detached: Detached<S>,
    deadline: Option<Instant>,
    work: impl FnOnce(&mut S) -> T,
) -> (Detached<S>, Result<T, WorkError>) {
    let before = detached.parts().socket.limits.end_by(deadline);
    let (detached, outcome) = match detached.into_stream() {
        Err(failed) => {
            let (detached, error) = failed.into_parts();
            (detached, Err(WorkError(Why::NotStarted(error))))
        }
        Ok(mut stream) => {
            let outcome = catch_unwind(AssertUnwindSafe(|| work(&mut stream)));
            (Detached::of(stream), outcome.map_err(WorkError::panicked))
        }
    };
    detached.parts().socket.limits.set_end_back(before);
    (detached, outcome)
}
