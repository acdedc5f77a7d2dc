//! Bytes read ahead by a worker for a stream that has moved elsewhere.
//!
//! The stream remembers the number of the worker that may hold bytes for it. Elsewhere it asks that
//! worker for them; a worker that ends leaves what it holds behind. Who asks is not unwound before
//! the answer, and the asked worker answers even while it ends: so nothing is lost.

use std::io;
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::sync::Arc;

use fiveways_driver::{Op, Source};

use crate::homes;
use crate::inbox::{Inbox, Message};
use crate::join::JoinHandle;
use crate::park::yield_now;
use crate::spawn::Spawn;
use crate::unwind::in_any_case;
use crate::wait::{perform, worker_index};

/// Fetches the bytes that worker `home` has read ahead for a stream, and makes it let go of it.
///
/// # Suspends
///
/// Until the worker has answered; a plain thread blocks.
///
/// # Cancellation
///
/// None: the answer comes soon, and must not be lost.
///
/// # Errors
///
/// What the reading ahead met, if it met an error before any bytes; no stack for asking the worker.
pub fn detach(home: u32, source: Source) -> io::Result<Vec<u8>> {
    if worker_index() == Some(home) {
        return in_any_case(|| fetch(source));
    }
    in_any_case(|| {
        while let Some(inbox) = homes::find(home) {
            if let Ok(fetching) = spawn("detach", &inbox, move || fetch(source)) {
                return fetching.join().map_err(io::Error::other)?;
            }
            // It refuses because it ends, and is about to leave the bytes.
            yield_now();
        }
        Ok(homes::take_orphan(source).unwrap_or_default())
    })
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

/// Closes a stream for which worker `home` may hold bytes, there: its number must not be given out
/// again while that worker takes it for this stream's.
///
/// Never suspends.
pub fn release(home: u32, source: Source, fd: OwnedFd) {
    let worker = homes::find(home);
    if let Some(inbox) = worker {
        // A worker that has ended holds nothing any more; then it is closed here, by its drop.
        let _ = inbox.send(Message::Close(source, fd));
    }
    drop(homes::take_orphan(source));
}
