//! Running code that blocks the thread somewhere else.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::park::{in_task, park_while_not, unparker};

/// Runs `f` on a thread of its own, so that it may block without stopping the worker; on a plain
/// thread runs it right here.
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
/// With the panic of `f`; when no thread can be started.
pub fn unblock<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    if !in_task() {
        return f();
    }
    let result = Arc::new(Mutex::new(None));
    let (theirs, waiter) = (Arc::clone(&result), unparker());
    let run = move || {
        let value = catch_unwind(AssertUnwindSafe(f));
        *theirs.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        waiter.unpark();
    };
    let thread = thread::Builder::new().name("fiveways-unblock".to_owned()).spawn(run);
    thread.expect("a thread can be started");
    let look = || result.lock().unwrap_or_else(PoisonError::into_inner).is_some();
    park_while_not(look, None);
    let value = result.lock().unwrap_or_else(PoisonError::into_inner).take();
    match value.expect("parked until it was there") {
        Ok(value) => value,
        Err(payload) => resume_unwind(payload),
    }
}
