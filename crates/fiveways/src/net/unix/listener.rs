//! Unix listeners.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use fiveways_sys::net::{Address, Family, Kind};

use super::stream::UnixStream;
use super::{of_path, of_std, to_std};
use crate::net::settings::settings;
use crate::net::socket::{Socket, debug};
use crate::net::tcp::BACKLOG;

/// A Unix listener; as [`std::os::unix::net::UnixListener`].
pub struct UnixListener {
    socket: Socket,
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [("local", self.local_addr())];
        debug(f, "UnixListener", names, self.socket.source().fd)
    }
}

impl UnixListener {
    /// Listens at a path, which must not exist.
    ///
    /// # Errors
    ///
    /// Any error of `bind(2)`: `AddrInUse` if the path exists, `InvalidInput` if it is too long.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        UnixListener::bind_to(&of_path(path.as_ref())?)
    }

    /// Listens at an address.
    ///
    /// # Errors
    ///
    /// Any error of `bind(2)`: `AddrInUse` if the address is taken.
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixListener> {
        UnixListener::bind_to(&of_std(address)?)
    }

    fn bind_to(address: &Address) -> io::Result<UnixListener> {
        let socket = Socket::open(Family::Unix, Kind::Stream)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?;
        Ok(UnixListener { socket })
    }

    /// Accepts a connection.
    ///
    /// # Suspends
    ///
    /// Until there is a connection; a plain thread blocks.
    ///
    /// # Errors
    ///
    /// Any error of `accept(2)`; exhausted limits (`EMFILE`) leave the listener usable: try again.
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (socket, peer) = self.socket.accept()?;
        // Most peers are unnamed.
        let peer = peer.map_or_else(|| SocketAddr::from_pathname(""), to_std)?;
        Ok((UnixStream::new(socket), peer))
    }

    /// Returns an endless iterator over connections.
    pub fn incoming(&self) -> UnixIncoming<'_> {
        UnixIncoming { listener: self }
    }

    /// Makes a second value for the same listener.
    ///
    /// # Errors
    ///
    /// If no descriptor is left.
    pub fn try_clone(&self) -> io::Result<UnixListener> {
        Ok(UnixListener { socket: self.socket.try_clone()? })
    }

    /// The local address.
    ///
    /// # Errors
    ///
    /// Any error of `getsockname(2)`; none is expected for an open socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        to_std(self.socket.local_name()?)
    }
}

/// An endless iterator over the connections of a [`UnixListener`].
#[derive(Debug)]
pub struct UnixIncoming<'a> {
    listener: &'a UnixListener,
}

impl Iterator for UnixIncoming<'_> {
    type Item = io::Result<UnixStream>;

    fn next(&mut self) -> Option<io::Result<UnixStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl std::iter::FusedIterator for UnixIncoming<'_> {}

impl<'a> IntoIterator for &'a UnixListener {
    type Item = io::Result<UnixStream>;
    type IntoIter = UnixIncoming<'a>;

    fn into_iter(self) -> UnixIncoming<'a> {
        self.incoming()
    }
}

settings!(UnixListener, |this| this.socket);

impl From<OwnedFd> for UnixListener {
    /// Takes ownership of a listening socket; makes it non-blocking, as all listeners are here.
    fn from(fd: OwnedFd) -> UnixListener {
        UnixListener { socket: Socket::taken_over(fd, true) }
    }
}

impl From<UnixListener> for OwnedFd {
    fn from(listener: UnixListener) -> OwnedFd {
        listener.socket.into_fd()
    }
}
