//! UDP sockets.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use fiveways_sys::net::option_name as option;
use fiveways_sys::net::{Address, Kind, PEEK};

use crate::net::resolve::{ToSocketAddrs, each};
use crate::net::settings::settings;
use crate::net::socket::{Socket, debug, inet};
use crate::net::tcp::family;

/// A UDP socket; as [`std::net::UdpSocket`].
///
/// A datagram longer than the buffer is truncated, as with std; an empty datagram does not mean the
/// end of anything.
pub struct UdpSocket {
    socket: Socket,
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "UdpSocket", [("addr", self.local_addr())], self.socket.source().fd)
    }
}

impl UdpSocket {
    /// Binds to the first address that can be bound.
    ///
    /// # Errors
    ///
    /// The error of resolving the address or, if no address can be bound, that of the last one
    /// tried.
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        each(address, |address| {
            let socket = Socket::open(family(&address), Kind::Datagram)?;
            socket.bind(&Address::from(address))?;
            Ok(UdpSocket { socket })
        })
    }

    /// Receives one datagram and returns its sender.
    ///
    /// # Suspends
    ///
    /// Until there is a datagram; a plain thread blocks.
    ///
    /// # Errors
    ///
    /// Any error of `recvmsg(2)`; `TimedOut` after the read time limit.
    #[doc(alias = "recvfrom")]
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.receive(buf, 0)
    }

    /// As [`UdpSocket::recv_from`], without removing the datagram.
    ///
    /// # Errors
    ///
    /// Those of [`UdpSocket::recv_from`].
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.receive(buf, PEEK)
    }

    fn receive(&self, buf: &mut [u8], flags: u32) -> io::Result<(usize, SocketAddr)> {
        let (count, from) = self.socket.recv_from(buf, flags)?;
        let from = from.ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok((count, inet(from)?))
    }

    /// Sends one datagram to the first of the addresses.
    ///
    /// # Suspends
    ///
    /// While the socket's buffer is full; a plain thread blocks.
    ///
    /// # Errors
    ///
    /// Any error of `sendmsg(2)`; `InvalidInput` if there is no address; `TimedOut` after the write
    /// time limit.
    #[doc(alias = "sendto")]
    pub fn send_to(&self, buf: &[u8], address: impl ToSocketAddrs) -> io::Result<usize> {
        let Some(address) = address.to_socket_addrs()?.next() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no address to use"));
        };
        self.socket.send_to(buf, Some(&Address::from(address)), 0)
    }

    /// Sets the peer of `send` and `recv`; datagrams from other senders are dropped from now on.
    ///
    /// # Errors
    ///
    /// The error of resolving the address or, if none can be used, that of the last one tried.
    pub fn connect(&self, address: impl ToSocketAddrs) -> io::Result<()> {
        each(address, |address| self.socket.set_peer(&Address::from(address)))
    }

    /// Sends one datagram to the connected peer.
    ///
    /// # Suspends
    ///
    /// While the socket's buffer is full; a plain thread blocks.
    ///
    /// # Errors
    ///
    /// Any error of `sendmsg(2)`; `ConnectionRefused` if an earlier datagram reached no socket.
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.send_to(buf, None, 0)
    }

    /// Receives one datagram from the connected peer.
    ///
    /// # Suspends
    ///
    /// Until there is a datagram; a plain thread blocks.
    ///
    /// # Errors
    ///
    /// Those of [`UdpSocket::recv_from`].
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.socket.recv_from(buf, 0)?.0)
    }

    /// As [`UdpSocket::recv`], without removing the datagram.
    ///
    /// # Errors
    ///
    /// Those of [`UdpSocket::recv_from`].
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.socket.recv_from(buf, PEEK)?.0)
    }

    /// The connected peer's address.
    ///
    /// # Errors
    ///
    /// `NotConnected` if there is none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        inet(self.socket.peer_name()?)
    }

    /// The local address.
    ///
    /// # Errors
    ///
    /// Any error of `getsockname(2)`; none is expected for an open socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        inet(self.socket.local_name()?)
    }

    /// Makes a second value for the same socket.
    ///
    /// # Errors
    ///
    /// If no descriptor is left.
    pub fn try_clone(&self) -> io::Result<UdpSocket> {
        Ok(UdpSocket { socket: self.socket.try_clone()? })
    }

    /// Joins a multicast group on the interface with the given address.
    ///
    /// # Errors
    ///
    /// Any error of `setsockopt(2)`: for example an address that is no multicast group, or no such
    /// interface.
    pub fn join_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.socket.set_option_bytes(option::JOIN_V4, &membership_v4(group, interface))
    }

    /// Leaves a multicast group.
    ///
    /// # Errors
    ///
    /// Any error of `setsockopt(2)`: for example a group that was not joined.
    pub fn leave_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.socket.set_option_bytes(option::LEAVE_V4, &membership_v4(group, interface))
    }

    /// Joins a multicast group on the interface with the given number; 0: any.
    ///
    /// # Errors
    ///
    /// Any error of `setsockopt(2)`: for example an address that is no multicast group, or no such
    /// interface.
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.socket.set_option_bytes(option::JOIN_V6, &membership_v6(group, interface))
    }

    /// Leaves a multicast group.
    ///
    /// # Errors
    ///
    /// Any error of `setsockopt(2)`: for example a group that was not joined.
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.socket.set_option_bytes(option::LEAVE_V6, &membership_v6(group, interface))
    }
}

settings!(UdpSocket, |this| this.socket);

/// Implements pairs of setter and getter of one integer option each.
macro_rules! options {
    ($($(#[$doc:meta])* $set:ident, $get:ident: $type:ty = $name:ident;)*) => {
        impl UdpSocket {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                ///
                /// Any error of `setsockopt(2)`; `InvalidInput` for a value out of range.
                pub fn $set(&self, value: $type) -> io::Result<()> {
                    self.socket.set_option(option::$name, i32::try_from(value).unwrap_or(i32::MAX))
                }

                /// Returns the value set by the setter of the same name.
                ///
                /// # Errors
                ///
                /// Any error of `getsockopt(2)`; none is expected for an open socket.
                pub fn $get(&self) -> io::Result<$type> {
                    Ok(from_option(self.socket.option(option::$name)?))
                }
            )*
        }
    };
}

options! {
    /// Allows datagrams to broadcast addresses.
    set_broadcast, broadcast: bool = BROADCAST;
    /// Enables receiving the socket's own multicast datagrams (IPv4).
    set_multicast_loop_v4, multicast_loop_v4: bool = MULTICAST_LOOP_V4;
    /// Enables receiving the socket's own multicast datagrams (IPv6).
    set_multicast_loop_v6, multicast_loop_v6: bool = MULTICAST_LOOP_V6;
    /// Sets the hop limit of multicast datagrams (IPv4).
    set_multicast_ttl_v4, multicast_ttl_v4: u32 = MULTICAST_TTL_V4;
    /// Sets the hop limit of datagrams.
    set_ttl, ttl: u32 = TTL;
}

/// Converts an option's value to std's type for it.
fn from_option<T: FromOption>(value: i32) -> T {
    T::from_option(value)
}

trait FromOption {
    fn from_option(value: i32) -> Self;
}

impl FromOption for bool {
    fn from_option(value: i32) -> bool {
        value != 0
    }
}

impl FromOption for u32 {
    fn from_option(value: i32) -> u32 {
        value as u32
    }
}

fn membership_v4(group: &Ipv4Addr, interface: &Ipv4Addr) -> [u8; 8] {
    let mut value = [0_u8; 8];
    value[..4].copy_from_slice(&group.octets());
    value[4..].copy_from_slice(&interface.octets());
    value
}

fn membership_v6(group: &Ipv6Addr, interface: u32) -> [u8; 20] {
    let mut value = [0_u8; 20];
    value[..16].copy_from_slice(&group.octets());
    value[16..].copy_from_slice(&interface.to_ne_bytes());
    value
}

impl From<OwnedFd> for UdpSocket {
    /// Takes ownership of a socket in any mode.
    fn from(fd: OwnedFd) -> UdpSocket {
        UdpSocket { socket: Socket::taken_over(fd, false) }
    }
}

impl From<UdpSocket> for OwnedFd {
    fn from(socket: UdpSocket) -> OwnedFd {
        socket.socket.into_fd()
    }
}

impl From<std::net::UdpSocket> for UdpSocket {
    fn from(socket: std::net::UdpSocket) -> UdpSocket {
        UdpSocket::from(OwnedFd::from(socket))
    }
}
