//! A connection outside of any worker, and how streams become one and come back.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use fiveways_sys::net::set_nonblocking;
use fiveways_sys::signal::set_async;

use crate::net::socket::{Socket, inet};
use crate::net::stream::Parts;
use crate::net::{TcpStream, UnixStream};

/// A stream that can be handed over: [`TcpStream`] and [`UnixStream`].
pub trait Connection: io::Read + io::Write + Send + Sized + private::Connection {}

impl Connection for TcpStream {}
impl Connection for UnixStream {}

pub(super) mod private {
    use crate::net::stream::Parts;
    use crate::net::{TcpStream, UnixStream};

    /// What the crate needs of a connection.
    pub trait Connection: Sized {
        /// Its name in a frame.
        const KIND: super::Kind;

        /// Takes it out of its worker.
        #[expect(private_interfaces, reason = "sealed: nobody outside can name or call it")]
        fn take_apart(self) -> Parts;

        /// Makes it again.
        #[expect(private_interfaces, reason = "sealed: nobody outside can name or call it")]
        fn put_together(parts: Parts) -> Self;
    }

    macro_rules! connection {
        ($stream:ty, $kind:expr) => {
            impl Connection for $stream {
                const KIND: super::Kind = $kind;

                #[expect(private_interfaces, reason = "sealed: nobody outside can call it")]
                fn take_apart(self) -> Parts {
                    <$stream>::take_apart(self)
                }

                #[expect(private_interfaces, reason = "sealed: nobody outside can call it")]
                fn put_together(parts: Parts) -> Self {
                    <$stream>::put_together(parts)
                }
            }
        };
    }

    connection!(TcpStream, super::Kind::Tcp);
    connection!(UnixStream, super::Kind::Unix);
}

/// Which of the two a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A [`TcpStream`].
    Tcp,
    /// A [`UnixStream`].
    Unix,
}

/// A live connection taken out of its worker: no driver watches it and nobody reads it ahead.
///
/// It carries what belongs to it: the bytes that were [`unread`](Detached::unread) when it left,
/// the bytes that are [`unsent`](Detached::unsent), the time limits. Dropped, it is closed, and
/// both are lost.
pub struct Detached<S: Connection = TcpStream> {
    parts: Parts,
    unsent: Vec<u8>,
    stream: PhantomData<fn() -> S>,
}

impl<S: Connection> fmt::Debug for Detached<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detached")
            .field("kind", &S::KIND)
            .field("fd", &self.parts.socket.as_fd())
            .field("unread", &self.unread().len())
            .field("unsent", &self.unsent.len())
            .finish()
    }
}

impl<S: Connection> Detached<S> {
    pub(super) fn new(parts: Parts, unsent: Vec<u8>) -> Detached<S> {
        Detached { parts, unsent, stream: PhantomData }
    }

    /// Takes a stream out of its worker.
    pub(super) fn of(stream: S) -> Detached<S> {
        let parts = stream.take_apart();
        settle(parts.socket.as_fd());
        Detached::new(parts, Vec::new())
    }

    pub(super) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The bytes that were received and not consumed: the first that a reader gets.
    pub fn unread(&self) -> &[u8] {
        &self.parts.unread
    }

    /// The bytes that go out before anything else is written.
    pub fn unsent(&self) -> &[u8] {
        &self.unsent
    }

    /// Adds to the bytes that go out before anything else is written: output that a buffered
    /// writer, say, still had.
    pub fn add_unsent(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
    }

    /// Makes one of what another program, or a selector of one's own, has of a connection: its
    /// descriptor, in whatever mode, and the bytes that are [`unread`](Detached::unread) and
    /// [`unsent`](Detached::unsent).
    pub fn from_parts(fd: OwnedFd, unread: Vec<u8>, unsent: Vec<u8>) -> Detached<S> {
        settle(fd.as_fd());
        let socket = Socket::taken_over(fd, false);
        // Remembered now, so that asking for it cannot fail later (D25).
        let peer = socket.peer_name().and_then(inet).ok();
        Detached::new(Parts { ticket: None, socket, unread, peer }, unsent)
    }

    /// Gives up the descriptor, in blocking mode, the bytes that are unread, and those that are
    /// unsent.
    #[doc(alias = "into_blocking")]
    pub fn into_parts(self) -> (OwnedFd, Vec<u8>, Vec<u8>) {
        let Parts { ticket, socket, unread, .. } = self.parts;
        // A server that counts its connections counts this one no more.
        drop(ticket);
        (socket.into_fd(), unread, self.unsent)
    }

    /// Makes it a stream again, on whichever worker or thread this is called.
    ///
    /// What arrived in the meantime is found by the first read, as is the end of a peer that has
    /// gone: nothing has to be looked at before.
    ///
    /// # Suspends
    ///
    /// While what is unsent goes out; if there is nothing unsent, never.
    ///
    /// # Cancellation
    ///
    /// Fails with `ECANCELED` while it waits; what has not gone out is still unsent then.
    ///
    /// # Errors
    ///
    /// Of sending what is unsent, with the connection; if there is nothing unsent, none.
    #[doc(alias = "reattach")]
    #[doc(alias = "re-register")]
    pub fn into_stream(mut self) -> Result<S, Failed<Detached<S>>> {
        match self.send_unsent() {
            Ok(()) => Ok(S::put_together(self.parts)),
            Err(error) => {
                self.parts.socket.leave();
                Err(Failed::new(self, error))
            }
        }
    }

    fn send_unsent(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.parts.socket.send(&self.unsent, 0) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Sets what the open socket keeps and not the descriptor: blocking mode, in which plain threads
/// wait, and no signals, which would go to a thread that watched it once. Failing means that it is
/// no socket, which the first call tells.
fn settle(fd: BorrowedFd<'_>) {
    let _ = set_nonblocking(fd, false);
    let _ = set_async(fd, false);
}

impl<S: Connection> AsFd for Detached<S> {
    /// The descriptor, in blocking mode and without time limits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.parts.socket.lend_fd()
    }
}

/// What could not be handed over, still whole, and why.
///
/// Becomes an [`io::Error`] by `?`, which closes the connection.
pub struct Failed<T> {
    /// Boxed: who succeeds does not carry it around.
    rest: Box<T>,
    error: io::Error,
}

impl<T> Failed<T> {
    pub(super) fn new(rest: T, error: io::Error) -> Failed<T> {
        Failed { rest: Box::new(rest), error }
    }

    /// Why it failed.
    pub fn error(&self) -> &io::Error {
        &self.error
    }

    /// The connection.
    pub fn into_inner(self) -> T {
        *self.rest
    }

    /// Both.
    pub fn into_parts(self) -> (T, io::Error) {
        (*self.rest, self.error)
    }
}

impl<T> fmt::Debug for Failed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failed").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for Failed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the connection could not be handed over: {}", self.error)
    }
}

impl<T> std::error::Error for Failed<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl<T> From<Failed<T>> for io::Error {
    fn from(failed: Failed<T>) -> io::Error {
        failed.error
    }
}

/// Gives a stream type its `detach`.
macro_rules! detachable {
    ($stream:ty) => {
        impl $stream {
            /// Takes the connection out of its worker, to be handed over: see
            /// [`handoff`](crate::handoff). (A second value for it, made by a clone, stays where
            /// it is.)
            ///
            /// # Errors
            ///
            /// None at present: nothing of a connection is anywhere but in this value and in the
            /// kernel.
            #[doc(alias = "unregister")]
            pub fn detach(self) -> Result<Detached<$stream>, Failed<$stream>> {
                Ok(Detached::of(self))
            }
        }
    };
}

detachable!(TcpStream);
detachable!(UnixStream);
