//! Bytes read ahead by a worker for a stream that has moved elsewhere.
//!
//! The stream remembers the number of the worker that may hold bytes for it. Elsewhere it asks that
//! worker for them. What a worker fetched, and what one that ends still holds, is left where the
//! stream finds it, so nothing is lost even if who asked goes away before the answer.

use std::io;
use std::panic::Location;
use std::sync::Arc;

use fiveways_driver::{Op, Source};

use crate::homes;
use crate::inbox::Inbox;
use crate::spawn::{JoinHandle, Spawn};
use crate::wait::{perform, refuse_if_cancelled, worker_index};

/// Fetches the bytes that worker `home` has read ahead for a stream, and makes it let go of it.
///
/// # Suspends
///
/// Until the worker has answered; a plain thread blocks.
///
/// # Cancellation
///
/// A cancelled task is refused. One that is unwound from here leaves the bytes for the next call.
///
/// # Errors
///
/// What the reading ahead met, if it met an error before any bytes.
pub fn detach(home: u32, source: Source) -> io::Result<Vec<u8>> {
    refuse_if_cancelled()?;
    if worker_index() == Some(home) {
        return fetch(source);
    }
    let worker = homes::find(home);
    if let Some(inbox) = worker {
        let fetch = move || fetch(source).map(|bytes| homes::leave(source, bytes));
        // Either may fail because the worker ends just now; then it has left the bytes.
        if let Ok(Ok(fetched)) = spawn("detach", &inbox, fetch).map(JoinHandle::join) {
            fetched?;
        }
    }
    Ok(homes::take_orphan(source).unwrap_or_default())
}

/// Has something done on a worker, for certain, even if that is ending.
#[track_caller]
fn spawn<T: Send + 'static>(
    name: &str,
    inbox: &Arc<Inbox>,
    f: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Spawn::new().name(name).even_cancelled().spawn_on(inbox, Location::caller(), f)
}

#[expect(unsafe_code, reason = "the driver fills a vector through a pointer")]
fn fetch(source: Source) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let op = Op::Detach { source, bytes: &mut bytes };
    // SAFETY: required: the vector in place until this returns. It is a local of this frame.
    unsafe { perform(op, None) }?;
    Ok(bytes)
}

/// Makes worker `home` let go of a stream that is being closed elsewhere. Never suspends.
pub fn release(home: u32, source: Source) {
    let worker = homes::find(home);
    if let Some(inbox) = worker {
        // A worker that ends lets go of everything.
        drop(spawn("release", &inbox, move || fetch(source).map(drop)));
    }
    drop(homes::take_orphan(source));
}
