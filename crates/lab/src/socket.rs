//! The generator's end of a connection: a non-blocking TCP socket.
//!
//! Built directly on `fiveways_sys`, sharing nothing with the drivers that are measured.
#![expect(unsafe_code, reason = "data calls take pointers, because drivers need them so")]

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use fiveways_sys::errno;
use fiveways_sys::net::{self, Address, Control, Family, Kind, Reply, option_name};

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Socket {
    /// Connects, waiting until the deadline at most; messages leave at once (`TCP_NODELAY`).
    pub(crate) fn connect(address: SocketAddr, deadline: Instant) -> io::Result<Socket> {
        let family = if address.is_ipv4() { Family::Inet } else { Family::Inet6 };
        let Reply::Opened(fd) = net::control(Control::Open(family, Kind::Stream))? else {
            return Err(io::Error::other("opening a socket answered something else"));
        };
        let socket = Socket(fd);
        net::set_nonblocking(socket.0.as_fd(), true)?;
        net::set_option(socket.raw(), option_name::NO_DELAY, &1_i32.to_ne_bytes())?;
        let answer = net::connect(socket.raw(), &Address::from(address));
        if answer == errno::NEG_EINPROGRESS {
            if !net::wait_ready(socket.0.as_fd(), true, Some(deadline))? {
                return Err(io::ErrorKind::TimedOut.into());
            }
            net::decode(net::take_error(socket.raw()))?;
        } else {
            net::decode(answer)?;
        }
        Ok(socket)
    }

    /// Keeps the send buffer near `bytes`, so that sending soon waits until the other side reads.
    pub(crate) fn shrink_send_buffer(&self, bytes: usize) -> io::Result<()> {
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        net::set_option(self.raw(), option_name::SEND_BUFFER, &bytes.to_ne_bytes())
    }

    /// Receives available bytes; zero is the end, `WouldBlock` means nothing yet.
    #[inline]
    pub(crate) fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        let (data, len) = (buf.as_mut_ptr(), buf.len());
        // SAFETY: required: valid for writes of `len` bytes. They come from one exclusive slice.
        net::decode(unsafe { net::recv(self.raw(), data, len, net::DONT_WAIT) })
    }

    /// Sends as much as fits; `WouldBlock` means nothing does.
    #[inline]
    pub(crate) fn send(&self, buf: &[u8]) -> io::Result<usize> {
        let (data, len) = (buf.as_ptr(), buf.len());
        // SAFETY: required: valid for reads of `len` bytes. They come from one slice.
        net::decode(unsafe { net::send(self.raw(), data, len, net::DONT_WAIT) })
    }

    /// Shuts down the sending side.
    pub(crate) fn finish(&self) -> io::Result<()> {
        net::control(Control::Shutdown(self.0.as_fd(), Shutdown::Write)).map(drop)
    }

    fn raw(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
