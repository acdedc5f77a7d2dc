//! An event shared by processes.
//!
//! A counter in the kernel (eventfd): zero means "not set". Waiters in any process wait for it to
//! be readable and do not read, so one `set` wakes all of them.

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

/// A flag that tasks, threads and processes wait for; as Python's `multiprocessing.Event`.
///
/// It is passed to another process by [`Command::event`](crate::process::Command::event), by a
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
    /// If no descriptor is left.
    pub fn new() -> io::Result<SharedEvent> {
        SharedEvent::of(EventFd::new()?)
    }

    fn of(counter: EventFd) -> io::Result<SharedEvent> {
        let waited_for = Descriptor::new(duplicate(&counter)?);
        Ok(SharedEvent { counter, waited_for })
    }

    /// Opens the event that the parent has passed under this name with
    /// [`Command::event`](crate::process::Command::event).
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such variable; `InvalidData` if it does not refer to an event.
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
        // The number stays open: it is not owned here, and may be requested again.
        let fd = duplicate_number(number).map_err(|_| wrong())?;
        SharedEvent::of(EventFd::from(fd))
    }

    /// Sets the flag and wakes all waiters; later waits return at once.
    pub fn set(&self) {
        self.counter.add_one();
    }

    /// Clears the flag.
    pub fn clear(&self) {
        self.counter.reset();
    }

    /// Returns `true` if the flag is set.
    ///
    /// # Errors
    ///
    /// Any error of `poll(2)`.
    pub fn is_set(&self) -> io::Result<bool> {
        wait_ready(self.counter.as_fd(), false, Some(clock::machine()))
    }

    /// Waits until the flag is set; returns at once if it is.
    ///
    /// # Suspends
    ///
    /// Until the flag is set; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// Fails with `ECANCELED`.
    ///
    /// # Errors
    ///
    /// Any error of the wait.
    pub fn wait(&self) -> io::Result<()> {
        self.waited_for.wait(false, None)
    }

    /// Waits until the flag is set, for at most `limit`; returns `false` after the limit.
    ///
    /// # Suspends
    ///
    /// Until the flag is set or the limit has passed; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// Fails with `ECANCELED`.
    ///
    /// # Errors
    ///
    /// Any error of the wait.
    pub fn wait_timeout(&self, limit: Duration) -> io::Result<bool> {
        self.waited_for.is_ready_by(false, clock::after(limit))
    }
}

/// Returns `true` if it is the number of an open eventfd.
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
