//! The pipes to and from a child.
//!
//! Each end of a pipe has a mode of its own, so ours can be non-blocking without the child
//! noticing. Before our end is given away it is made blocking again.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::process::Stdio;

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

/// Reads both to their ends, from whichever has something: a child that fills one pipe while we
/// wait for the other would wait for ever.
///
/// Both are watched by an epoll, which is readable when one of them is.
pub(super) fn read_both(
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let epoll = Epoll::new()?;
    let either = Descriptor::new(duplicate(&epoll)?);
    let mut ends = [(stdout.map(|end| end.0), Vec::new()), (stderr.map(|end| end.0), Vec::new())];
    for pipe in ends.iter().filter_map(|(pipe, _)| pipe.as_ref()) {
        epoll.add(pipe.0.as_fd(), EventFlags::IN, 0)?;
    }
    while ends.iter().any(|(pipe, _)| pipe.is_some()) {
        either.wait(false, None)?;
        for (pipe, bytes) in &mut ends {
            if let Some(open) = pipe
                && is_at_end(open, bytes)?
            {
                epoll.delete(open.0.as_fd())?;
                *pipe = None;
            }
        }
    }
    let [(_, stdout), (_, stderr)] = ends;
    Ok((stdout, stderr))
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
