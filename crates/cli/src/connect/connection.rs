//! One interface to TCP, UDP and Unix streams, in tasks and on threads.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fiveways::net::{TcpStream, ToSocketAddrs, UdpSocket, UnixStream};

/// The address of the server.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Tcp(String),
    Udp(String),
    Unix(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tcp(address) | Target::Udp(address) => f.write_str(address),
            Target::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// An open connection.
#[derive(Debug)]
pub(crate) enum Connection {
    Tcp(TcpStream),
    Udp(UdpSocket),
    Unix(UnixStream),
}

impl Connection {
    /// Connects within a time limit (name resolution does not count).
    pub(crate) fn open(target: &Target, limit: Option<Duration>) -> io::Result<Connection> {
        match target {
            Target::Tcp(address) => {
                let stream = open_tcp(address, limit)?;
                // Messages are small and their replies are awaited.
                stream.set_nodelay(true)?;
                Ok(Connection::Tcp(stream))
            }
            Target::Udp(address) => open_udp(address).map(Connection::Udp),
            Target::Unix(path) => match limit {
                Some(limit) => UnixStream::connect_timeout(path, limit),
                None => UnixStream::connect(path),
            }
            .map(Connection::Unix),
        }
    }

    /// Returns `true` if it preserves message boundaries.
    pub(crate) fn is_datagram(&self) -> bool {
        matches!(self, Connection::Udp(_))
    }

    /// Sends; on a stream possibly only a part.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Connection::Tcp(stream) => stream.write(bytes),
            Connection::Udp(socket) => socket.send(bytes),
            Connection::Unix(stream) => stream.write(bytes),
        }
    }

    /// Receives; 0 bytes mean the end of a stream, or an empty datagram.
    pub(crate) fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Connection::Tcp(stream) => stream.read(buf),
            Connection::Udp(socket) => socket.recv(buf),
            Connection::Unix(stream) => stream.read(buf),
        }
    }

    /// Shuts down the sending side; does nothing for a datagram socket.
    pub(crate) fn end_sending(&self) -> io::Result<()> {
        match self {
            Connection::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Connection::Udp(_) => Ok(()),
            Connection::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    /// Limits the time of each send and receive.
    pub(crate) fn set_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        match self {
            Connection::Tcp(stream) => {
                stream.set_read_timeout(limit)?;
                stream.set_write_timeout(limit)
            }
            Connection::Udp(socket) => {
                socket.set_read_timeout(limit)?;
                socket.set_write_timeout(limit)
            }
            Connection::Unix(stream) => {
                stream.set_read_timeout(limit)?;
                stream.set_write_timeout(limit)
            }
        }
    }

    /// Makes sends and receives fail instead of waiting.
    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Connection::Tcp(stream) => stream.set_nonblocking(true),
            Connection::Udp(socket) => socket.set_nonblocking(true),
            Connection::Unix(stream) => stream.set_nonblocking(true),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Connection::Tcp(stream) => stream.as_fd(),
            Connection::Udp(socket) => socket.as_fd(),
            Connection::Unix(stream) => stream.as_fd(),
        }
    }
}

fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the name has no address")
}

/// Tries each address of a name; the time limit is for all of them together.
fn open_tcp(address: &str, limit: Option<Duration>) -> io::Result<TcpStream> {
    let mut last = no_address();
    let addresses = address.to_socket_addrs()?;
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    for address in addresses {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let opened = match left {
            None => TcpStream::connect(address),
            Some(Duration::ZERO) => return Err(io::ErrorKind::TimedOut.into()),
            Some(left) => TcpStream::connect_timeout(&address, left),
        };
        match opened {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn open_udp(address: &str) -> io::Result<UdpSocket> {
    let mut last = no_address();
    for address in address.to_socket_addrs()? {
        let local: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let opened = UdpSocket::bind(local).and_then(|socket| {
            socket.connect(address)?;
            Ok(socket)
        });
        match opened {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}
