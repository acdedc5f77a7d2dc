//! The pipes to and from a child.
//!
//! Each end of a pipe has a mode of its own, so ours can be non-blocking without the child
//! noticing. Before our end is given away it is made blocking again.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::process::Stdio;
use std::time::Instant;

use fiveways_sys::epoll::{Epoll, EventFlags};
use fiveways_sys::net::{duplicate, set_nonblocking};
use fiveways_sys::pipe;

use crate::descriptor::Descriptor;

/// Bytes read from one pipe before the other is looked at.
const PIECE: usize = 64 * 1024;

/// Our end of a pipe.
#[derive(Debug)]
struct Pipe(Descriptor);

impl Pipe {
    fn new(fd: OwnedFd) -> io::Result<Pipe> {
        set_nonblocking(fd.as_fd(), true)?;
        Ok(Pipe(Descriptor::new(fd)))
    }

    fn into_fd(self) -> OwnedFd {
        let fd = self.0.into_fd();
        // It was made non-blocking by the same call, which does not fail for an open pipe.
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

    /// Waits, then calls, until the call has not come too early.
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

            /// Takes the standard library's end of a pipe over, and makes it non-blocking.
            fn try_from(end: $std) -> io::Result<$name> {
                Ok($name(Pipe::new(OwnedFd::from(end))?))
            }
        }

        impl $name {
            /// Takes over what a child has just been started with. Setting the mode of an open
            /// pipe does not fail.
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
            /// Gives the descriptor up, in blocking mode.
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
    /// What a child reads as its standard input; closed by its drop.
    ///
    /// A write suspends the task while the pipe is full.
    ChildStdin, std::process::ChildStdin
}
end_of_pipe! {
    /// What a child writes to its standard output.
    ///
    /// A read suspends the task until there is something.
    ChildStdout, std::process::ChildStdout
}
end_of_pipe! {
    /// What a child writes to its standard error.
    ///
    /// A read suspends the task until there is something.
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

/// Reads both outputs of a child to their ends, from whichever has something: a child that fills
/// one pipe while we wait for the other would wait for ever.
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

    /// Reads those that are there until a deadline; what has come to its end is closed. False: the
    /// deadline came first.
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

/// Reads what there is, up to a piece. Has the pipe come to its end?
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
