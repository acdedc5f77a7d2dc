//! Running code that blocks its thread, on threads that are kept for it.
//!
//! The threads for it are shared by the whole program. They are started when more calls wait than
//! threads are idle, at most [`THREADS_MAX`], and end after [`IDLE_LIMIT`] without a call:
//!
//! ```text
//!   queue ──▶ a thread runs the call ──▶ idle ──a call──▶ …
//!                                          └──nothing for a while──▶ ends
//! ```

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use fiveways_sys::lock::{Condvar, Mutex};
use fiveways_sys::process::generation::PerProcess;

use crate::clock;
use crate::may_park::assert_may_park;
use crate::panics::contain;
use crate::park::{in_task, park_while_not, unparker};
use crate::service_thread::ServiceThread;

/// The most threads; beyond them calls wait for each other.
const THREADS_MAX: usize = 512;

/// A thread without a call ends after this time.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

/// Runs `f` on another thread, so that it may block without stopping the worker; on a plain thread
/// runs it in place.
///
/// The threads are kept for a while and shared by the whole program. There are at most 512: what
/// `f` waits for must not itself need one, or must be sure to get one.
///
/// # Suspends
///
/// Until `f` has returned.
///
/// # Cancellation
///
/// A cancelled task is unwound from here; `f` runs to its end and its value is dropped.
///
/// # Panics
///
/// With the panic of `f`; also if no thread is idle and none can be started.
#[doc(alias = "run_in_executor")]
#[doc(alias = "spawn_blocking")]
#[track_caller]
pub fn unblock<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    if !in_task() {
        return f();
    }
    assert_may_park(None);
    let result = Arc::new(Mutex::new(None));
    let (theirs, waiter) = (Arc::clone(&result), unparker());
    let run = move || {
        let value = catch_unwind(AssertUnwindSafe(f));
        *theirs.lock() = Some(value);
        waiter.unpark();
    };
    if let Err(error) = threads().submit(Box::new(run)) {
        panic!("no thread for blocking code could be started: {error}");
    }
    let look = || result.lock().is_some();
    park_while_not(look, None);
    let value = result.lock().take();
    match value.expect("parked until it was there") {
        Ok(value) => value,
        Err(payload) => resume_unwind(payload),
    }
}

/// Has `call` begun at once by one of the threads of [`unblock`], idle or new; returns it if all
/// are busy and no more can be started.
///
/// For calls that may wait for each other, and so must not wait for a thread. A panic of `call`
/// ends only the call.
pub fn hand_to_thread(call: Call) -> Result<(), Call> {
    threads().submit_now(call)
}

/// Returns `true` if any call runs, or is about to.
pub(crate) fn is_busy() -> bool {
    let state = threads().state.lock();
    state.threads > state.idle || !state.queue.is_empty()
}

/// A call that is run by a thread.
type Call = Box<dyn FnOnce() + Send>;

/// A fork has none of the threads, so it starts without.
static THREADS: PerProcess<Threads> = PerProcess::new();

fn threads() -> &'static Threads {
    THREADS.get(Threads::default)
}

#[derive(Default)]
struct Threads {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Call>,
    threads: usize,
    /// Idle threads; also those that were woken and have not taken a call yet.
    idle: usize,
}

impl Threads {
    /// Puts a call into the queue and ensures that a thread takes it.
    fn submit(&'static self, call: Call) -> io::Result<()> {
        let mut state = self.state.lock();
        state.queue.push_back(call);
        // The lock is held meanwhile, or another call would count on a thread that never comes.
        if state.queue.len() > state.idle
            && state.threads < THREADS_MAX
            && let Err(error) = self.start(&mut state)
            && state.threads == 0
        {
            let call = state.queue.pop_back();
            drop(state);
            drop(call);
            return Err(error);
        }
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    /// Puts a call into the queue if a thread takes it at once. There are always as many threads on
    /// their way to the queue as it holds calls, unless the limit of threads is reached.
    fn submit_now(&'static self, call: Call) -> Result<(), Call> {
        let mut state = self.state.lock();
        let idle = state.queue.len() < state.idle;
        let begins = idle || (state.threads < THREADS_MAX && self.start(&mut state).is_ok());
        if !begins {
            return Err(call);
        }
        state.queue.push_back(call);
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    fn start(&'static self, state: &mut State) -> io::Result<()> {
        thread::Builder::new().name("unblock".to_owned()).spawn(|| self.serve())?;
        state.threads += 1;
        Ok(())
    }

    /// The main function of a thread.
    fn serve(&self) {
        while let Some(call) = self.next() {
            // If the caller no longer waits, the value is dropped with the call.
            contain(call);
        }
    }

    /// Returns the next call; `None` after a while without any: the thread no longer counts.
    fn next(&self) -> Option<Call> {
        let mut state = self.state.lock();
        let deadline = clock::machine() + IDLE_LIMIT;
        loop {
            if let Some(call) = state.queue.pop_front() {
                return Some(call);
            }
            let left = deadline.saturating_duration_since(clock::machine());
            if left.is_zero() {
                state.threads -= 1;
                return None;
            }
            state.idle += 1;
            let idle = ServiceThread::enter();
            state = self.work.wait_timeout(state, left);
            drop(idle);
            state.idle -= 1;
        }
    }
}
