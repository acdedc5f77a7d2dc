//! TCP listeners.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use fiveways_sys::net::option_name as option;
use fiveways_sys::net::{self, Address, Kind};

use super::stream::TcpStream;
use super::{BACKLOG, family};
use crate::net::resolve::{ToSocketAddrs, each};
use crate::net::settings::settings;
use crate::net::socket::{Socket, debug, inet};

/// A TCP listener; as [`std::net::TcpListener`].
///
/// Its backlog is the system's maximum, and its address can be bound again immediately
/// (`SO_REUSEADDR`).
pub struct TcpListener {
    socket: Socket,
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "TcpListener", [("addr", self.local_addr())], self.socket.source().fd)
    }
}

impl TcpListener {
    /// Listens on the first address that can be bound.
    ///
    /// # Errors
    ///
    /// The error of resolving the address or, if no address can be bound, that of the last one
    /// tried.
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        each(address, |address| TcpListener::bind_with(&address, BACKLOG, true, false))
    }

    /// Listens with a backlog, and with or without `SO_REUSEADDR` and `SO_REUSEPORT`.
    pub(crate) fn bind_with(
        address: &SocketAddr,
        backlog: i32,
        reuse_address: bool,
        reuse_port: bool,
    ) -> io::Result<TcpListener> {
        let socket = Socket::open(family(address), Kind::Stream)?;
        socket.set_option(option::REUSE_ADDRESS, i32::from(reuse_address))?;
        if reuse_port {
            socket.set_option(option::REUSE_PORT, 1)?;
        }
        socket.bind(&Address::from(*address))?;
        socket.listen(backlog)?;
        Ok(TcpListener { socket })
    }

    /// Lets other listeners of this user bind the same address.
    pub(crate) fn allow_more(&self) -> io::Result<()> {
        self.socket.set_option(option::REUSE_PORT, 1)
    }

    /// Reserves an address for listeners that share it, without listening: the kernel assigns
    /// connections to every socket that listens, whether it accepts or not.
    pub(crate) fn reserve(address: &SocketAddr) -> io::Result<TcpListener> {
        let socket = Socket::open(family(address), Kind::Stream)?;
        socket.set_option(option::REUSE_ADDRESS, 1)?;
        socket.set_option(option::REUSE_PORT, 1)?;
        socket.bind(&Address::from(*address))?;
        Ok(TcpListener { socket })
    }

    /// Makes this thread's driver forget the listener.
    pub(crate) fn leave(&self) {
        self.socket.leave();
    }

    /// Checks that connections of type [`TcpStream`] can be accepted from it.
    pub(crate) fn check(&self) -> io::Result<()> {
        let wrong = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        let domain = self.socket.option(option::DOMAIN)?;
        if domain != net::INET && domain != net::INET6 {
            return wrong("the listener is no TCP listener: the server serves TCP connections");
        }
        if self.socket.option(option::TYPE)? != net::STREAM {
            return wrong("the socket is no listener: it has no connections");
        }
        if self.socket.option(option::IS_LISTENING)? == 0 {
            return wrong("the socket does not listen");
        }
        Ok(())
    }

    /// Accepts a connection.
    ///
    /// # Suspends
    ///
    /// Until there is a connection; a plain thread blocks.
    ///
    /// # Errors
    ///
    /// Any error of `accept(2)`. Those of a single connection (`ConnectionAborted`) and of
    /// exhausted limits (`EMFILE`) leave the listener usable: try again. A connection that its peer
    /// has already reset is still accepted: its stream returns what was sent before, and then the
    /// reset.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, peer) = self.socket.accept()?;
        let peer = inet(peer.ok_or(io::ErrorKind::ConnectionAborted)?)?;
        Ok((TcpStream::new(socket, Some(peer)), peer))
    }

    /// Returns an endless iterator over connections.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// The local address.
    ///
    /// # Errors
    ///
    /// Any error of `getsockname(2)`; none is expected for an open socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        inet(self.socket.local_name()?)
    }

    /// Makes a second value for the same listener.
    ///
    /// # Errors
    ///
    /// If no descriptor is left.
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        Ok(TcpListener { socket: self.socket.try_clone()? })
    }

    /// Sets the hop limit of packets.
    ///
    /// # Errors
    ///
    /// Any error of `setsockopt(2)`; `InvalidInput` for a value out of range.
    pub fn set_ttl(&self, hops: u32) -> io::Result<()> {
        self.socket.set_option(option::TTL, hops as i32)
    }

    /// The hop limit of packets.
    ///
    /// # Errors
    ///
    /// Any error of `getsockopt(2)`; none is expected for an open socket.
    pub fn ttl(&self) -> io::Result<u32> {
        Ok(self.socket.option(option::TTL)? as u32)
    }
}

/// An endless iterator over the connections of a [`TcpListener`].
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl std::iter::FusedIterator for Incoming<'_> {}

impl<'a> IntoIterator for &'a TcpListener {
    type Item = io::Result<TcpStream>;
    type IntoIter = Incoming<'a>;

    fn into_iter(self) -> Incoming<'a> {
        self.incoming()
    }
}

settings!(TcpListener, |this| this.socket);

impl From<OwnedFd> for TcpListener {
    /// Takes ownership of a listening socket; makes it non-blocking, as all listeners are here.
    fn from(fd: OwnedFd) -> TcpListener {
        TcpListener { socket: Socket::taken_over(fd, true) }
    }
}

impl From<TcpListener> for OwnedFd {
    fn from(listener: TcpListener) -> OwnedFd {
        listener.socket.into_fd()
    }
}

impl From<std::net::TcpListener> for TcpListener {
    fn from(listener: std::net::TcpListener) -> TcpListener {
        TcpListener::from(OwnedFd::from(listener))
    }
}
