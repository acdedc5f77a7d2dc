//! A connection that belongs to no worker, and the conversion of streams to and from it.

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

    /// The operations that the crate needs on a connection.
    pub trait Connection: Sized {
        /// Its kind in a frame.
        const KIND: super::Kind;

        /// Detaches it from its worker.
        #[expect(private_interfaces, reason = "sealed: nobody outside can name or call it")]
        fn take_apart(self) -> Parts;

        /// Reassembles it.
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

/// The kinds of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A [`TcpStream`].
    Tcp,
    /// A [`UnixStream`].
    Unix,
}

/// A live connection that belongs to no worker: no driver watches it and nothing reads ahead on it.
///
/// It carries the bytes that were [`unread`](Detached::unread) when it was detached, the bytes that
/// are [`unsent`](Detached::unsent), and the time limits. Dropping it closes the connection and
/// discards both.
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

    /// Detaches a stream from its worker.
    pub(super) fn of(stream: S) -> Detached<S> {
        let parts = stream.take_apart();
        settle(parts.socket.as_fd());
        Detached::new(parts, Vec::new())
    }

    pub(super) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Returns the bytes that were received and not consumed: a reader gets them first.
    pub fn unread(&self) -> &[u8] {
        &self.parts.unread
    }

    /// Returns the bytes that are sent before anything else is written.
    pub fn unsent(&self) -> &[u8] {
        &self.unsent
    }

    /// Adds bytes to be sent before anything else is written: for example output still in a
    /// buffered writer.
    pub fn add_unsent(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
    }

    /// Makes a detached connection from the state that another program, or your own selector, has
    /// of it: its descriptor, in any mode, and the bytes that are [`unread`](Detached::unread) and
    /// [`unsent`](Detached::unsent).
    pub fn from_parts(fd: OwnedFd, unread: Vec<u8>, unsent: Vec<u8>) -> Detached<S> {
        settle(fd.as_fd());
        let socket = Socket::taken_over(fd, false);
        // Remembered now, so that `peer_addr` cannot fail later (D25).
        let peer = socket.peer_name().and_then(inet).ok();
        Detached::new(Parts { ticket: None, socket, unread, peer }, unsent)
    }

    /// Returns the descriptor, in blocking mode, the unread bytes, and the unsent ones.
    #[doc(alias = "into_blocking")]
    pub fn into_parts(self) -> (OwnedFd, Vec<u8>, Vec<u8>) {
        let Parts { ticket, socket, unread, .. } = self.parts;
        // A server that counts its connections no longer counts this one.
        drop(ticket);
        (socket.into_fd(), unread, self.unsent)
    }

    /// Turns it into a stream again, on the calling worker or thread.
    ///
    /// The first read returns what has arrived in the meantime, or the end if the peer has closed:
    /// nothing needs to be checked before.
    ///
    /// # Suspends
    ///
    /// While unsent bytes are sent; not if there are none.
    ///
    /// # Cancellation
    ///
    /// Fails with `ECANCELED` while it waits; bytes that were not sent are still unsent then.
    ///
    /// # Errors
    ///
    /// Any error of sending the unsent bytes; the error returns the connection. Does not fail if
    /// there are none.
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

/// Resets what the open socket stores and not the descriptor: blocking mode, in which plain threads
/// wait, and no signals, which would go to the thread that watched it before. Failing means that it
/// is no socket, which the first call reports.
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

/// An intact connection that could not be handed over, and the error.
///
/// `?` converts it to an [`io::Error`], which closes the connection.
pub struct Failed<T> {
    /// Boxed, so that the success case stays small.
    rest: Box<T>,
    error: io::Error,
}

impl<T> Failed<T> {
    pub(super) fn new(rest: T, error: io::Error) -> Failed<T> {
        Failed { rest: Box::new(rest), error }
    }

    /// Returns the error.
    pub fn error(&self) -> &io::Error {
        &self.error
    }

    /// Returns the connection.
    pub fn into_inner(self) -> T {
        *self.rest
    }

    /// Returns both.
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

/// Implements `detach` for a stream type.
macro_rules! detachable {
    ($stream:ty) => {
        impl $stream {
            /// Detaches the connection from its worker, to be handed over: see
            /// [`handoff`](crate::handoff). (A second value for it, made by a clone, is not
            /// affected.)
            ///
            /// # Errors
            ///
            /// Does not fail at present: the whole state of a connection is in this value and in
            /// the kernel.
            #[doc(alias = "unregister")]
            pub fn detach(self) -> Result<Detached<$stream>, Failed<$stream>> {
                Ok(Detached::of(self))
            }
        }
    };
}

detachable!(TcpStream);
detachable!(UnixStream);
