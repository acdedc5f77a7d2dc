//! A worker's socket, as its pool reads and writes it: it ends with the process.
//!
//! A process that was forked by a worker's function also has the worker's end of the socket, and
//! may live longer. So the pool waits not only for the end of the socket, but also for that of the
//! process.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use fiveways_runtime::clock;
use fiveways_sys::multiplex::poll::{self, Entry};

use crate::net::UnixStream;

/// The pool's end of the socket.
pub(in crate::executor) struct WorkerStream {
    /// Non-blocking.
    socket: UnixStream,
    /// Readable when the process has ended.
    pidfd: OwnedFd,
    deadline: Option<Instant>,
}

impl WorkerStream {
    pub(in crate::executor) fn new(socket: UnixStream, pidfd: OwnedFd) -> WorkerStream {
        // A setting of the value, not a mode of the kernel's socket.
        let _ = socket.set_nonblocking(true);
        WorkerStream { socket, pidfd, deadline: None }
    }

    pub(in crate::executor) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Sets when waiting reads and writes fail.
    pub(in crate::executor) fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Returns `true` if the process runs and nothing is left to be read.
    pub(in crate::executor) fn is_quiet(&self) -> bool {
        matches!(self.look(poll::IN, Some(Duration::ZERO)), Ok((false, false)))
    }

    /// Waits for the socket; returns `false` if the process has ended before that.
    fn wait(&self, asked: i16) -> io::Result<bool> {
        loop {
            let left = self.deadline.map(|by| by.saturating_duration_since(clock::now()));
            match self.look(asked, left)? {
                (true, _) => return Ok(true),
                // Its last bytes may have come between the two checks.
                (false, true) => return Ok(self.look(asked, Some(Duration::ZERO))?.0),
                (false, false) if left.is_some_and(|left| left.is_zero()) => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                (false, false) => {}
            }
        }
    }

    /// Returns whether the socket is ready, and whether the process has ended.
    fn look(&self, asked: i16, limit: Option<Duration>) -> io::Result<(bool, bool)> {
        let mut both = [Entry::new(self.socket.as_fd(), asked), Entry::new(self.pidfd(), poll::IN)];
        match poll::poll(&mut both, limit) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok((false, false)),
            looked => looked.map(|_| (both[0].answer() != 0, both[1].answer() != 0)),
        }
    }
}

impl Read for WorkerStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.wait(poll::IN)? {
            match self.socket.read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
        Ok(0)
    }
}

impl Write for WorkerStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        loop {
            match self.socket.write(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.wait(poll::OUT)? {
                        return Err(io::ErrorKind::BrokenPipe.into());
                    }
                }
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
