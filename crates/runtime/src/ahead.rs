//! Bytes read ahead by a worker for a stream that has moved elsewhere.
//!
//! The stream remembers the number of the worker that may hold bytes for it. Elsewhere it asks that
//! worker for them; a worker that ends leaves what it holds behind, so nothing is lost.

use std::io;
use std::panic::Location;

use fiveways_driver::{Op, Source};

use crate::homes;
use crate::spawn::{JoinHandle, Spawn};
use crate::wait::perform;

/// Fetches the bytes that worker `home` has read ahead for a stream, and makes it let go of it.
///
/// # Suspends
///
/// Until the worker has answered; a plain thread blocks.
///
/// # Errors
///
/// What the reading ahead met, if it met an error before any bytes.
pub fn detach(home: u32, source: Source) -> io::Result<Vec<u8>> {
    let worker = homes::find(home);
    if let Some(inbox) = worker {
        let here = Location::caller();
        let fetch = Spawn::new().name("detach").spawn_on(&inbox, here, move || fetch(source));
        // Either may fail because the worker ends just now; then it has left the bytes.
        if let Ok(Ok(fetched)) = fetch.map(JoinHandle::join) {
            return fetched;
        }
    }
    Ok(homes::take_orphan(source).unwrap_or_default())
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
        let here = Location::caller();
        let task = Spawn::new().name("release");
        // A worker that ends lets go of everything.
        drop(task.spawn_on(&inbox, here, move || fetch(source).map(drop)));
    }
    drop(homes::take_orphan(source));
}
