//! TCP streams.

use std::fmt;
use std::io::{self, BufRead, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use fiveways_runtime::{clock, time_limit};
use fiveways_sys::net::option_name as option;
use fiveways_sys::net::{Address, Kind};

use super::family;
use crate::net::resolve::{ToSocketAddrs, each};
use crate::net::settings::{idle_limit, read_and_write, settings};
use crate::net::socket::{Socket, debug, inet};
use crate::net::stream::{Ahead, Parts, Stream};

/// A TCP connection; as [`std::net::TcpStream`], and also [`BufRead`].
///
/// `BufRead` is the fast path: `fill_buf` returns received bytes without copying them. It may
/// receive more than is used; later reads of any kind take those bytes first. `Read` asks the
/// socket for exactly as much as its buffer can hold.
///
/// # Differences from std
///
/// A call that exceeds a time limit fails with [`io::ErrorKind::TimedOut`]; `set_nonblocking`
/// affects this value only.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use fiveways::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let echo = fiveways::task::spawn(move || -> std::io::Result<()> {
///     let (mut stream, _) = listener.accept()?;
///     let mut buf = [0; 5];
///     stream.read_exact(&mut buf)?;
///     stream.write_all(&buf)
/// });
/// let mut stream = TcpStream::connect(address)?;
/// stream.write_all(b"hello")?;
/// let mut reply = String::new();
/// stream.read_to_string(&mut reply)?;
/// assert_eq!(reply, "hello");
/// echo.join().expect("the task did not panic")?;
/// # Ok(())
/// # }
/// ```
pub struct TcpStream {
    /// Dropped before the socket is closed: a server's record of this connection.
    ticket: Option<Box<dyn Send + Sync>>,
    stream: Stream,
    peer: OnceLock<SocketAddr>,
}

/// How long an address that does not answer delays the next one: enough for a lost first packet to
/// be sent again.
const SHARE: Duration = Duration::from_secs(3);

/// Returns `true` if two addresses name the same port of the same machine.
fn is_same(a: &SocketAddr, b: &SocketAddr) -> bool {
    (a.ip(), a.port()) == (b.ip(), b.port())
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [("addr", self.local_addr()), ("peer", self.peer_addr())];
        debug(f, "TcpStream", names, self.socket().source().fd)
    }
}

impl TcpStream {
    pub(super) fn new(socket: Socket, peer: Option<SocketAddr>) -> TcpStream {
        TcpStream {
            ticket: None,
            stream: Stream::new(socket),
            peer: peer.map_or_else(OnceLock::new, OnceLock::from),
        }
    }

    /// Opens a connection to the first address that accepts it.
    ///
    /// An address that does not answer delays the next one by three seconds, or by its share of the
    /// time that the task has left; if none has answered, the silent addresses are tried once more,
    /// for as long as the kernel tries.
    ///
    /// # Suspends
    ///
    /// Until connected; a plain thread blocks.
    ///
    /// # Errors
    ///
    /// The error of resolving the address, or that of the last address tried. `ConnectionRefused`
    /// also if nothing listens and the kernel connected the socket to itself, as it may for a port
    /// of this machine.
    #[doc(alias = "create_connection")]
    pub fn connect(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
        let addresses: Vec<_> = address.to_socket_addrs()?.collect();
        let mut silent = Vec::new();
        let mut tried = if let [_, _, ..] = addresses[..] {
            TcpStream::connect_in_turn(&addresses, &mut silent)
        } else {
            each(&addresses[..], |address| TcpStream::connect_by(&address, None))
        };
        if tried.is_err() && !silent.is_empty() {
            tried = each(&silent[..], |address| TcpStream::connect_by(&address, None));
        }
        tried
    }

    /// Tries each address for its share of the time, and returns those that did not answer in it.
    fn connect_in_turn(
        addresses: &[SocketAddr],
        silent: &mut Vec<SocketAddr>,
    ) -> io::Result<TcpStream> {
        let mut left = addresses.len() as u32;
        each(addresses, |address| {
            let now = clock::now();
            let in_all = time_limit().map(|end| end.saturating_duration_since(now) / left);
            let share = in_all.map_or(SHARE, |in_all| in_all.min(SHARE));
            left -= 1;
            TcpStream::connect_by(&address, Some(now + share)).inspect_err(|error| {
                if error.kind() == io::ErrorKind::TimedOut {
                    silent.push(address);
                }
            })
        })
    }

    /// Opens a connection within a time limit.
    ///
    /// # Suspends
    ///
    /// Until connected or the limit has passed; a plain thread blocks.
    ///
    /// # Errors
    ///
    /// `TimedOut` after the limit; `InvalidInput` for a limit of zero; otherwise any error of
    /// `connect(2)`.
    pub fn connect_timeout(address: &SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        if limit.is_zero() {
            let message = "cannot connect within a time limit of zero";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        TcpStream::connect_by(address, clock::after(limit))
    }

    fn connect_by(address: &SocketAddr, by: Option<Instant>) -> io::Result<TcpStream> {
        let socket = Socket::open(family(address), Kind::Stream)?;
        socket.connect(&Address::from(*address), by)?;
        let stream = TcpStream::new(socket, Some(*address));
        if stream.local_addr().is_ok_and(|own| is_same(&own, address)) {
            // Not even kept in memory for a while, as a socket after a graceful close is.
            let _ = stream.set_linger(Some(Duration::ZERO));
            let message =
                format!("nothing listens at {address}: the socket was connected to itself");
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, message));
        }
        Ok(stream)
    }

    /// Returns the peer's address. For accepted and connected streams it is remembered and cannot
    /// fail.
    ///
    /// # Errors
    ///
    /// For a stream made from a descriptor, any error of `getpeername(2)`: `NotConnected` if the
    /// connection is gone.
    #[doc(alias = "getpeername")]
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        if let Some(peer) = self.peer.get() {
            return Ok(*peer);
        }
        let peer = inet(self.socket().peer_name()?)?;
        Ok(*self.peer.get_or_init(|| peer))
    }

    /// The local address.
    ///
    /// # Errors
    ///
    /// Any error of `getsockname(2)`; none is expected for an open socket.
    #[doc(alias = "getsockname")]
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        inet(self.socket().local_name()?)
    }

    /// Shuts down one or both directions.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the connection is gone.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket().shutdown(how)
    }

    /// Makes a second value for the same connection.
    ///
    /// Bytes that this value has received through `BufRead` and not used become available to both
    /// values: the first that reads gets them. Bytes that one of them receives later and does not
    /// use stay with it, as with any buffered reader.
    ///
    /// # Errors
    ///
    /// If no descriptor is left.
    #[doc(alias = "dup")]
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        Ok(TcpStream { ticket: None, stream: self.stream.try_clone()?, peer: self.peer.clone() })
    }

    /// Splits into a reader and a writer that can be used at the same time: bytes lent by the
    /// reader can be written while they are borrowed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{BufRead, Write};
    /// use fiveways::net::TcpStream;
    ///
    /// fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    ///     let (mut reader, mut writer) = stream.halves();
    ///     loop {
    ///         let bytes = reader.fill_buf()?;
    ///         if bytes.is_empty() {
    ///             return Ok(());
    ///         }
    ///         writer.write_all(bytes)?;
    ///         let count = bytes.len();
    ///         reader.consume(count);
    ///     }
    /// }
    /// ```
    pub fn halves(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        let Stream { socket, ahead } = &mut self.stream;
        (ReadHalf { socket, ahead }, WriteHalf { socket })
    }

    /// Receives bytes without removing them from the socket.
    ///
    /// # Suspends
    ///
    /// Until bytes are available; a plain thread blocks.
    ///
    /// # Errors
    ///
    /// Those of a read.
    #[doc(alias = "MSG_PEEK")]
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.ahead.peek(self.socket(), buf)
    }

    /// Sends small writes at once instead of coalescing them (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// Any error of `setsockopt(2)`; none is expected for an open socket.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.socket().set_option(option::NO_DELAY, i32::from(on))
    }

    /// Returns `true` if small writes are sent at once.
    ///
    /// # Errors
    ///
    /// Any error of `getsockopt(2)`; none is expected for an open socket.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(self.socket().option(option::NO_DELAY)? != 0)
    }

    /// Sets the hop limit of packets.
    ///
    /// # Errors
    ///
    /// Any error of `setsockopt(2)`; `InvalidInput` for a value out of range.
    pub fn set_ttl(&self, hops: u32) -> io::Result<()> {
        self.socket().set_option(option::TTL, hops as i32)
    }

    /// The hop limit of packets.
    ///
    /// # Errors
    ///
    /// Any error of `getsockopt(2)`; none is expected for an open socket.
    pub fn ttl(&self) -> io::Result<u32> {
        Ok(self.socket().option(option::TTL)? as u32)
    }

    /// Probes a silent peer: after `idle` without traffic, then every `idle`, and closes the
    /// connection after three unanswered probes; `None` turns probing off.
    ///
    /// # Errors
    ///
    /// Any error of `setsockopt(2)`; `InvalidInput` for a value out of range.
    #[doc(alias = "SO_KEEPALIVE")]
    pub fn set_keepalive(&self, idle: Option<Duration>) -> io::Result<()> {
        let Some(idle) = idle else {
            return self.socket().set_option(option::KEEP_ALIVE, 0);
        };
        let seconds = idle.as_secs().clamp(1, 32_767) as i32;
        self.socket().set_option(option::KEEP_ALIVE_IDLE, seconds)?;
        self.socket().set_option(option::KEEP_ALIVE_INTERVAL, seconds)?;
        self.socket().set_option(option::KEEP_ALIVE_COUNT, 3)?;
        self.socket().set_option(option::KEEP_ALIVE, 1)
    }

    /// Sets how long a peer may fail to respond: if sent data is not acknowledged for this long, or
    /// the peer accepts nothing for this long, calls fail with `TimedOut` (`ETIMEDOUT`). `None`:
    /// the system's limit, about 15 minutes.
    ///
    /// # Errors
    ///
    /// Any error of `setsockopt(2)`; `InvalidInput` for a value out of range.
    #[doc(alias = "TCP_USER_TIMEOUT")]
    pub fn set_user_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        // Zero would mean no limit.
        let millis = limit.map_or(0, |limit| limit.as_micros().div_ceil(1000).max(1));
        let millis = i32::try_from(millis).unwrap_or(i32::MAX);
        self.socket().set_option(option::USER_TIMEOUT, millis)
    }

    /// Returns the value set by [`TcpStream::set_user_timeout`].
    ///
    /// # Errors
    ///
    /// Any error of `getsockopt(2)`; none is expected for an open socket.
    pub fn user_timeout(&self) -> io::Result<Option<Duration>> {
        let millis = self.socket().option(option::USER_TIMEOUT)?.max(0) as u64;
        Ok((millis != 0).then(|| Duration::from_millis(millis)))
    }

    /// Makes `close` discard unsent data and reset the connection (zero), or wait until it has
    /// arrived (`SO_LINGER`); `None`: the kernel sends it in the background.
    ///
    /// Rounded up to seconds, the kernel's unit. A drop in a task does not wait: the connection is
    /// closed on a separate thread.
    ///
    /// # Errors
    ///
    /// Any error of `setsockopt(2)`; none is expected for an open socket.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        let seconds = linger.map_or(0, |linger| {
            let seconds = linger.as_secs().saturating_add(u64::from(linger.subsec_nanos() > 0));
            seconds.min(65_535) as i32
        });
        let mut value = [0_u8; 8];
        value[..4].copy_from_slice(&i32::from(linger.is_some()).to_ne_bytes());
        value[4..].copy_from_slice(&seconds.to_ne_bytes());
        self.socket().set_option_bytes(option::LINGER, &value)
    }

    /// Returns the value set by [`TcpStream::set_linger`].
    ///
    /// # Errors
    ///
    /// Any error of `getsockopt(2)`; none is expected for an open socket.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        self.socket().linger()
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.stream.socket
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Detaches the connection from its worker.
    pub(crate) fn take_apart(self) -> Parts {
        let TcpStream { ticket, stream, peer } = self;
        let (socket, unread) = stream.take_out();
        Parts { ticket, socket, unread, peer: peer.into_inner() }
    }

    /// Reassembles the connection.
    pub(crate) fn put_together(parts: Parts) -> TcpStream {
        let Parts { ticket, socket, unread, peer } = parts;
        let stream = Stream::with_unread(socket, unread);
        TcpStream { ticket, stream, peer: peer.map_or_else(OnceLock::new, OnceLock::from) }
    }

    /// Sets the value that is dropped just before the socket is closed (or given away).
    pub(crate) fn set_ticket(&mut self, ticket: Box<dyn Send + Sync>) {
        self.ticket = Some(ticket);
    }
}

read_and_write!(TcpStream);
settings!(TcpStream, |this| this.stream.socket);
idle_limit!(TcpStream, |this| this.stream.socket);

impl From<OwnedFd> for TcpStream {
    /// Takes ownership of a socket in any mode.
    fn from(fd: OwnedFd) -> TcpStream {
        TcpStream::new(Socket::taken_over(fd, false), None)
    }
}

impl From<TcpStream> for OwnedFd {
    /// Returns the descriptor. Bytes that this value has received through `BufRead` and not used
    /// are lost: see [`TcpStream::detach`]. All others are in the socket.
    fn from(stream: TcpStream) -> OwnedFd {
        drop(stream.ticket);
        stream.stream.into_fd()
    }
}

impl From<std::net::TcpStream> for TcpStream {
    fn from(stream: std::net::TcpStream) -> TcpStream {
        TcpStream::from(OwnedFd::from(stream))
    }
}

/// The read half returned by [`TcpStream::halves`].
#[derive(Debug)]
pub struct ReadHalf<'a> {
    socket: &'a Socket,
    ahead: &'a mut Ahead,
}

/// The write half returned by [`TcpStream::halves`].
#[derive(Debug)]
pub struct WriteHalf<'a> {
    socket: &'a Socket,
}

impl Read for ReadHalf<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.ahead.read(self.socket, buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.ahead.read_vectored(self.socket, bufs)
    }
}

impl BufRead for ReadHalf<'_> {
    #[inline]
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.ahead.fill_buf(self.socket)
    }

    #[inline]
    fn consume(&mut self, count: usize) {
        self.ahead.consume(self.socket, count);
    }
}

impl Write for WriteHalf<'_> {
    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.socket.send(buf, 0)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.send_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
