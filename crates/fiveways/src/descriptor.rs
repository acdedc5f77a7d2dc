//! Descriptors that are not sockets: pipes, terminals, processes, events. Waits for them go through
//! the driver, as for sockets; then plain calls use them without waiting.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use fiveways_driver::Model;
use fiveways_runtime::{Handle, clock, in_task};
use fiveways_sys::errno;
use fiveways_sys::net::{Family, Kind, wait_ready};

use crate::net::socket::Socket;

/// The first and the longest pause between two checks of a descriptor that cannot be watched.
const FIRST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// A descriptor that tasks and threads can wait for.
#[derive(Debug)]
pub(crate) struct Descriptor {
    socket: Socket,
    /// `true` if other processes share it, so that its settings must not be changed.
    shared: bool,
}

impl Descriptor {
    /// Takes ownership of a descriptor.
    pub(crate) fn new(fd: OwnedFd) -> Descriptor {
        Descriptor { socket: Socket::from_fd(fd), shared: false }
    }

    /// Takes ownership of a descriptor whose settings other processes share.
    pub(crate) fn new_shared(fd: OwnedFd) -> Descriptor {
        Descriptor { shared: true, ..Descriptor::new(fd) }
    }

    /// Returns the descriptor without closing it.
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

    /// Waits as [`Descriptor::wait`] does; returns `false` if the deadline came first.
    pub(crate) fn is_ready_by(&self, writable: bool, by: Option<Instant>) -> io::Result<bool> {
        match self.wait(writable, by) {
            // If a `timeout` scope ends earlier, its error is returned.
            Err(error) if error.kind() == io::ErrorKind::TimedOut && is_over(by) => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// Waits under the signal model for a descriptor that sends no signals, or must not.
    ///
    /// Pauses by waiting for a socket to which nothing is ever sent: unlike a sleep, that returns
    /// an error when the task is cancelled.
    #[cold]
    fn poll_with_backoff(&self, writable: bool, by: Option<Instant>) -> io::Result<()> {
        let silent = Socket::open(Family::Unix, Kind::Datagram)?;
        // Ready at once; only for the budget.
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

/// Returns `true` if the selector refused this kind of file.
fn is_unwatchable(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(errno::ENOTTY | errno::EPERM))
}

fn is_signal_driven() -> bool {
    in_task() && Handle::of_task().is_some_and(|handle| handle.model() == Model::Signal)
}
