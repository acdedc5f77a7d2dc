//! Descriptors that are no sockets: pipes, terminals, processes, events. They are waited for
//! through the driver as sockets are, and then used by plain calls that do not wait.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use fiveways_driver::Model;
use fiveways_runtime::{Handle, clock, in_task};
use fiveways_sys::errno;
use fiveways_sys::net::{Family, Kind, wait_ready};

use crate::net::socket::Socket;

/// How long the first and the longest pause is between two looks at what cannot be watched.
const FIRST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// A descriptor that can be waited for.
#[derive(Debug)]
pub(crate) struct Descriptor {
    socket: Socket,
    /// Other processes have it too, so its settings are not ours to change.
    shared: bool,
}

impl Descriptor {
    /// Takes a descriptor over.
    pub(crate) fn new(fd: OwnedFd) -> Descriptor {
        Descriptor { socket: Socket::from_fd(fd), shared: false }
    }

    /// Takes a descriptor over whose settings other processes would notice.
    pub(crate) fn new_shared(fd: OwnedFd) -> Descriptor {
        Descriptor { shared: true, ..Descriptor::new(fd) }
    }

    /// Gives the descriptor up without closing it.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.socket.into_fd()
    }

    /// Waits until it is readable (or writable), at its end, or in error.
    ///
    /// Always costs a task one unit of its budget, so that a loop around it lets others run.
    pub(crate) fn wait(&self, writable: bool, by: Option<Instant>) -> io::Result<()> {
        if self.shared && is_signal_driven() {
            return self.poll_with_backoff(writable, by);
        }
        match self.socket.wait_ready(writable, by) {
            Err(error) if is_unwatchable(&error) && in_task() => {
                self.poll_with_backoff(writable, by)
            }
            result => result,
        }
    }

    /// Waits as [`Descriptor::wait`] does; false: the deadline came first.
    pub(crate) fn is_ready_by(&self, writable: bool, by: Option<Instant>) -> io::Result<bool> {
        match self.wait(writable, by) {
            // A `timeout` scope that ends earlier is an error for its own sake.
            Err(error) if error.kind() == io::ErrorKind::TimedOut && is_over(by) => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// Waits for what sends no signals, or must not be made to, under the signal model.
    ///
    /// Pauses by waiting for a socket to which nobody ever sends: unlike a sleep, that has an error
    /// to give when the task is cancelled.
    #[cold]
    fn poll_with_backoff(&self, writable: bool, by: Option<Instant>) -> io::Result<()> {
        let silent = Socket::open(Family::Unix, Kind::Datagram)?;
        // Ready at once; for the budget.
        silent.wait_ready(true, None)?;
        let mut pause = FIRST_PAUSE;
        while !wait_ready(self.as_fd(), writable, Some(clock::machine()))? {
            if is_over(by) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let next = clock::now() + pause;
            let next = by.map_or(next, |by| by.min(next));
            match silent.wait_ready(false, Some(next)) {
                Err(error) if error.kind() != io::ErrorKind::TimedOut || !is_over(Some(next)) => {
                    return Err(error);
                }
                _ => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
        Ok(())
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn is_over(by: Option<Instant>) -> bool {
    by.is_some_and(|by| by <= clock::now())
}

/// Did the selector refuse this kind of file?
fn is_unwatchable(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(errno::ENOTTY | errno::EPERM))
}

fn is_signal_driven() -> bool {
    in_task() && Handle::of_task().is_some_and(|handle| handle.model() == Model::Signal)
}
