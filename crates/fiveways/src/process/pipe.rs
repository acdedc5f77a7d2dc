//! The pipes to and from a child.
//!
//! Each end of a pipe has a mode of its own, so the parent's can be non-blocking without affecting
//! the child. Before it is given away it is made blocking again.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::process::Stdio;
use std::time::Instant;

use fiveways_sys::multiplex::epoll::{Epoll, EventFlags};
use fiveways_sys::net::{duplicate, set_nonblocking};
use fiveways_sys::pipe;

use crate::descriptor::Descriptor;

/// Bytes read from one pipe before the other is checked.
const PIECE: usize = 64 * 1024;

/// The parent's end of a pipe.
#[derive(Debug)]
struct Pipe(Descriptor);

impl Pipe {
    fn new(fd: OwnedFd) -> io::Result<Pipe> {
        set_nonblocking(fd.as_fd(), true)?;
        Ok(Pipe(Descriptor::new(fd)))
    }

    fn into_fd(self) -> OwnedFd {
        let fd = self.0.into_fd();
        // The same call has made it non-blocking, which does not fail for an open pipe.
        let _ = set_nonblocking(fd.as_fd(), false);
        fd
    }

    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.when(false, || pipe::read(self.0.as_fd(), buf))
    }

    fn write(&self, buf: &[u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.when(true, || pipe::write(self.0.as_fd(), buf))
    }

    /// Waits, then calls, until the call does not return `WouldBlock`.
    fn when(
        &self,
        writable: bool,
        mut call: impl FnMut() -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            self.0.wait(writable, None)?;
            match call() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }
}

macro_rules! end_of_pipe {
    ($(#[$doc:meta])* $name:ident, $std:ty) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(Pipe);

        impl TryFrom<$std> for $name {
            type Error = io::Error;

            /// Takes ownership of the standard library's end of a pipe, and makes it non-blocking.
            fn try_from(end: $std) -> io::Result<$name> {
                Ok($name(Pipe::new(OwnedFd::from(end))?))
            }
        }

        impl $name {
            /// Takes ownership of the pipe of a child that has just been started. Setting the mode
            /// of an open pipe does not fail.
            pub(super) fn of_child(end: $std) -> $name {
                let fd = OwnedFd::from(end);
                let _ = set_nonblocking(fd.as_fd(), true);
                $name(Pipe(Descriptor::new(fd)))
            }
        }

        impl AsFd for $name {
            /// The descriptor, in non-blocking mode.
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.0.as_fd()
            }
        }

        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.as_fd().as_raw_fd()
            }
        }

        impl From<$name> for OwnedFd {
            /// Returns the descriptor, in blocking mode.
            fn from(end: $name) -> OwnedFd {
                end.0.into_fd()
            }
        }

        impl From<$name> for Stdio {
            /// Connects another child to it.
            fn from(end: $name) -> Stdio {
                Stdio::from(OwnedFd::from(end))
            }
        }
    };
}

end_of_pipe! {
    /// A child's standard input; closed on drop.
    ///
    /// A write suspends the task while the pipe is full.
    ChildStdin, std::process::ChildStdin
}
end_of_pipe! {
    /// A child's standard output.
    ///
    /// A read suspends the task until data is available.
    ChildStdout, std::process::ChildStdout
}
end_of_pipe! {
    /// A child's standard error.
    ///
    /// A read suspends the task until data is available.
    ChildStderr, std::process::ChildStderr
}

impl Write for ChildStdin {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for &ChildStdin {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for ChildStdout {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Read for ChildStderr {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

/// Reads both outputs of a child to their ends, from each as data arrives: a child that fills one
/// pipe during a wait for the other would block for ever.
///
/// Both are watched by an epoll, which is readable when one of them is.
pub(super) struct Both {
    epoll: Epoll,
    either: Descriptor,
}

impl Both {
    pub(super) fn new() -> io::Result<Both> {
        let epoll = Epoll::new()?;
        let either = Descriptor::new(duplicate(&epoll)?);
        Ok(Both { epoll, either })
    }

    /// Reads the pipes that are open until a deadline; closes one at its end. Returns `false` if
    /// the deadline came first.
    pub(super) fn read(
        &self,
        stdout: &mut Option<ChildStdout>,
        stderr: &mut Option<ChildStderr>,
        into: &mut [Vec<u8>; 2],
        by: Option<Instant>,
    ) -> io::Result<bool> {
        let pipes = [stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)];
        for pipe in pipes.into_iter().flatten() {
            self.epoll.add(pipe, EventFlags::IN, 0)?;
        }
        let [from_stdout, from_stderr] = into;
        while stdout.is_some() || stderr.is_some() {
            if !self.either.is_ready_by(false, by)? {
                return Ok(false);
            }
            if let Some(end) = stdout
                && is_at_end(&end.0, from_stdout)?
            {
                self.epoll.delete(end.as_fd())?;
                *stdout = None;
            }
            if let Some(end) = stderr
                && is_at_end(&end.0, from_stderr)?
            {
                self.epoll.delete(end.as_fd())?;
                *stderr = None;
            }
        }
        Ok(true)
    }
}

/// Reads what is available, up to a piece. Returns `true` at the end of the pipe.
fn is_at_end(pipe: &Pipe, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let start = bytes.len();
    bytes.resize(start + PIECE, 0);
    let read = pipe::read(pipe.0.as_fd(), &mut bytes[start..]);
    bytes.truncate(start + *read.as_ref().unwrap_or(&0));
    match read {
        Ok(count) => Ok(count == 0),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}
