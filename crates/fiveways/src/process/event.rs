//! An event across processes.
//!
//! A counter in the kernel (eventfd): zero is "not set". Whoever waits, in whatever process, waits
//! for it to be readable and does not read, so one `set` lets everybody go.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use fiveways_runtime::clock;
use fiveways_sys::event_fd::EventFd;
use fiveways_sys::net::{duplicate, wait_ready};
use fiveways_sys::pipe::duplicate_number;

use crate::descriptor::Descriptor;

/// A flag that tasks, threads and processes wait for; as Python's `multiprocessing.SharedEvent`.
///
/// It reaches another process through [`Command::event`](crate::process::Command::event), by a
/// `fork` after it was made, or as a descriptor in any other way.
///
/// # Examples
///
/// ```
/// use fiveways::process::{Command, SharedEvent};
///
/// # fn main() -> std::io::Result<()> {
/// let ready = SharedEvent::new()?;
/// // A child made with this library finds it by `SharedEvent::from_env("READY")`; a shell can
/// // set it, too: it is a counter of eight bytes.
/// let set = r#"printf '\001\000\000\000\000\000\000\000' >&"$READY""#;
/// let mut child = Command::new("bash").args(["-c", set]).event("READY", &ready)?.spawn()?;
/// ready.wait()?;
/// assert!(ready.is_set()?);
/// child.wait()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SharedEvent {
    counter: EventFd,
    waited_for: Descriptor,
}

impl SharedEvent {
    /// Makes an event that is not set.
    ///
    /// # Errors
    ///
    /// When there is no descriptor left.
    pub fn new() -> io::Result<SharedEvent> {
        SharedEvent::of(EventFd::new()?)
    }

    fn of(counter: EventFd) -> io::Result<SharedEvent> {
        let waited_for = Descriptor::new(duplicate(&counter)?);
        Ok(SharedEvent { counter, waited_for })
    }

    /// Finds the event that the parent has left under this name with
    /// [`Command::event`](crate::process::Command::event).
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such variable; `InvalidData` when it names no event.
    pub fn from_env(name: impl AsRef<OsStr>) -> io::Result<SharedEvent> {
        let name = name.as_ref();
        let value = env::var_os(name).ok_or_else(|| {
            let message = format!("the variable {} is not set", name.display());
            io::Error::new(io::ErrorKind::NotFound, message)
        })?;
        let wrong = || {
            let message = format!("{}={} names no event", name.display(), value.display());
            io::Error::new(io::ErrorKind::InvalidData, message)
        };
        let number = value.to_str().and_then(|number| number.parse::<RawFd>().ok());
        let number = number.filter(|number| is_event(*number)).ok_or_else(wrong)?;
        // The number stays as it is: it is not ours to close, and may be asked for again.
        let fd = duplicate_number(number).map_err(|_| wrong())?;
        SharedEvent::of(EventFd::from(fd))
    }

    /// Sets it: everybody who waits goes on, as does whoever waits later.
    pub fn set(&self) {
        self.counter.add_one();
    }

    /// Makes it not set.
    pub fn clear(&self) {
        self.counter.reset();
    }

    /// Is it set?
    ///
    /// # Errors
    ///
    /// Of asking the kernel.
    pub fn is_set(&self) -> io::Result<bool> {
        wait_ready(self.counter.as_fd(), false, Some(clock::machine()))
    }

    /// Waits until it is set; at once if it is.
    ///
    /// # Suspends
    ///
    /// Until it is set; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// Fails with `ECANCELED`.
    ///
    /// # Errors
    ///
    /// Of waiting.
    pub fn wait(&self) -> io::Result<()> {
        self.waited_for.wait(false, None)
    }

    /// Waits until it is set, within a time limit; false: it was not.
    ///
    /// # Suspends
    ///
    /// Until it is set, or late; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// Fails with `ECANCELED`.
    ///
    /// # Errors
    ///
    /// Of waiting.
    pub fn wait_timeout(&self, limit: Duration) -> io::Result<bool> {
        self.waited_for.is_ready_by(false, clock::after(limit))
    }
}

/// Is it the number of an open eventfd?
fn is_event(number: RawFd) -> bool {
    let target = std::fs::read_link(format!("/proc/self/fd/{number}"));
    target.is_ok_and(|target| target.as_os_str() == "anon_inode:[eventfd]")
}

impl AsFd for SharedEvent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.counter.as_fd()
    }
}

impl From<SharedEvent> for OwnedFd {
    fn from(event: SharedEvent) -> OwnedFd {
        event.counter.into()
    }
}
