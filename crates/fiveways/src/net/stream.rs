//! The part common to the stream types: reading, writing, and received bytes that are not used yet.
//!
//! `Read` asks the socket for as much as the buffer can hold; `BufRead`, like any buffered reader,
//! may receive more than is used. Later reads of any kind take those bytes first. They are in one
//! of two places:
//!
//! ```text
//!   kept       lent to this value, and its alone
//!   leftover   common to all values of one connection: what a value had kept when it was
//!              duplicated; the first reader has them
//! ```
//!
//! No other bytes have left the socket: a duplicate, a raw descriptor or another process continues
//! where the last reader stopped.
#![expect(unsafe_code, reason = "the driver places loans through a pointer")]

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use fiveways_driver::{Loan, Op};
use fiveways_runtime::{clock, spend_without_unwinding};
use fiveways_sys::lock::Mutex;
use fiveways_sys::net::PEEK;

use crate::net::socket::{Socket, if_at_once};

/// A connected stream socket with the received bytes that are not used yet.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) socket: Socket,
    pub(crate) ahead: Ahead,
}

/// The parts of a connection, for reassembly on another thread.
pub(crate) struct Parts {
    /// Dropped before the socket is closed: a server's record of the connection.
    pub(crate) ticket: Option<Box<dyn Send + Sync>>,
    pub(crate) socket: Socket,
    pub(crate) unread: Vec<u8>,
    pub(crate) peer: Option<SocketAddr>,
}

/// Received bytes of a socket that are not used yet.
#[derive(Debug)]
pub(crate) struct Ahead {
    kept: Kept,
    /// Created as soon as the value has a duplicate.
    leftover: OnceLock<Arc<Kept>>,
}

/// Bytes that come before those in the socket.
#[derive(Debug, Default)]
struct Kept {
    loan: Mutex<Option<Loan>>,
    /// `true` if there may be a loan: a hint that saves the lock; always `true` if there is one.
    is_some: AtomicBool,
}

impl Stream {
    pub(crate) fn new(socket: Socket) -> Stream {
        Stream::with_unread(socket, Vec::new())
    }

    /// Makes a stream of which these bytes have already been received.
    pub(crate) fn with_unread(socket: Socket, unread: Vec<u8>) -> Stream {
        let ahead = Ahead { kept: Kept::default(), leftover: OnceLock::new() };
        if !unread.is_empty() {
            ahead.kept.add(Loan::owned(unread));
        }
        Stream { socket, ahead }
    }

    /// Makes a second value for the same connection. Either value can read, from now on, the bytes
    /// that this one has received and not used.
    pub(crate) fn try_clone(&self) -> io::Result<Stream> {
        let socket = self.socket.try_clone()?;
        let leftover = self.ahead.leftover.get_or_init(Arc::default);
        if let Some(loan) = self.ahead.kept.take() {
            leftover.add(loan);
        }
        let leftover = OnceLock::from(Arc::clone(leftover));
        Ok(Stream { socket, ahead: Ahead { kept: Kept::default(), leftover } })
    }

    /// Detaches the stream from its worker: returns a socket that no driver watches, and the
    /// received bytes that are not used yet.
    pub(crate) fn take_out(self) -> (Socket, Vec<u8>) {
        self.socket.leave();
        let Stream { socket, ahead } = self;
        let (kept, leftover) = (ahead.kept.take(), ahead.take_leftover());
        let loans = kept.iter().chain(&leftover);
        (socket, loans.flat_map(|loan| loan.bytes()).copied().collect())
    }

    /// Returns `true` if received bytes are not used yet.
    pub(crate) fn is_ahead(&self) -> bool {
        self.ahead.has_bytes()
    }

    /// Returns the descriptor; received bytes that are not used yet are lost.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.socket.into_fd()
    }

    #[inline]
    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.ahead.read(&self.socket, buf)
    }

    #[inline]
    pub(crate) fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.ahead.fill_buf(&self.socket)
    }

    #[inline]
    pub(crate) fn consume(&mut self, count: usize) {
        self.ahead.consume(&self.socket, count);
    }
}

impl Ahead {
    #[inline]
    pub(crate) fn read(&self, socket: &Socket, buf: &mut [u8]) -> io::Result<usize> {
        match self.copy(buf, true) {
            Some(count) => {
                socket.limits.note_given();
                socket.limits.note_consumed(count);
                Ok(count)
            }
            None => socket.recv(buf, 0),
        }
    }

    pub(crate) fn peek(&self, socket: &Socket, buf: &mut [u8]) -> io::Result<usize> {
        match self.copy(buf, false) {
            Some(count) => Ok(count),
            None => socket.recv(buf, PEEK),
        }
    }

    pub(crate) fn read_vectored(
        &self,
        socket: &Socket,
        bufs: &mut [IoSliceMut<'_>],
    ) -> io::Result<usize> {
        if self.has_bytes() {
            // Filling only one buffer is a short read, which vectored reads may be.
            let first = bufs.iter_mut().find(|buf| !buf.is_empty());
            return first.map_or(Ok(0), |buf| self.read(socket, buf));
        }
        socket.recv_vectored(bufs)
    }

    /// Returns received bytes in place; empty at the end of the stream.
    #[inline]
    pub(crate) fn fill_buf(&mut self, socket: &Socket) -> io::Result<&[u8]> {
        if self.kept.get_mut().as_ref().is_none_or(Loan::is_empty) {
            self.fill(socket)?;
        } else {
            socket.limits.note_given();
            spend_without_unwinding();
        }
        Ok(self.kept.get_mut().as_ref().map_or(&[], Loan::bytes))
    }

    /// Receives the next bytes, as a loan of this value.
    #[inline]
    fn fill(&mut self, socket: &Socket) -> io::Result<()> {
        let leftover = self.take_leftover();
        let kept = self.kept.get_mut();
        // Returns the old buffer first, so that it can be the one that is filled.
        *kept = leftover;
        if kept.is_some() {
            socket.limits.note_given();
        } else {
            let op = Op::Fill { source: socket.source(), loan: kept };
            let at_once = socket.is_nonblocking().then(clock::now);
            // SAFETY: required: `kept` valid and in place until this returns. `self` is borrowed.
            let filled = unsafe { socket.perform_at_once_or(op, at_once) };
            filled.map_err(|error| if_at_once(at_once, error))?;
        }
        self.kept.is_some.store(true, Ordering::Relaxed);
        Ok(())
    }

    #[inline]
    pub(crate) fn consume(&mut self, socket: &Socket, count: usize) {
        let Some(loan) = self.kept.get_mut() else {
            assert!(count == 0, "consumed {count} bytes that were not there");
            return;
        };
        loan.consume(count);
        socket.limits.note_consumed(count);
        if loan.is_empty() {
            *self.kept.get_mut() = None;
            self.kept.is_some.store(false, Ordering::Relaxed);
        }
    }

    /// Returns `true` if there are bytes that come before those in the socket.
    fn has_bytes(&self) -> bool {
        self.kept.has_bytes() || self.leftover.get().is_some_and(|leftover| leftover.has_bytes())
    }

    /// Takes the bytes shared by all values for the connection.
    #[inline]
    fn take_leftover(&self) -> Option<Loan> {
        self.leftover.get().and_then(|leftover| leftover.take())
    }

    /// Copies bytes that come before those in the socket; `None` if there are none.
    #[inline]
    fn copy(&self, buf: &mut [u8], consume: bool) -> Option<usize> {
        if let Some(count) = self.kept.copy(buf, consume) {
            return Some(count);
        }
        self.leftover.get()?.copy(buf, consume)
    }
}

impl Kept {
    fn get_mut(&mut self) -> &mut Option<Loan> {
        self.loan.get_mut()
    }

    fn has_bytes(&self) -> bool {
        self.is_some.load(Ordering::Acquire) && self.loan.lock().as_ref().is_some_and(is_filled)
    }

    #[inline]
    fn take(&self) -> Option<Loan> {
        if !self.is_some.load(Ordering::Acquire) {
            return None;
        }
        let mut kept = self.loan.lock();
        self.is_some.store(false, Ordering::Relaxed);
        kept.take().filter(is_filled)
    }

    /// Appends a loan.
    #[cold]
    fn add(&self, more: Loan) {
        let mut kept = self.loan.lock();
        *kept = match kept.take().filter(is_filled) {
            None => Some(more),
            Some(first) => Some(Loan::owned([first.bytes(), more.bytes()].concat())),
        };
        self.is_some.store(true, Ordering::Release);
    }

    #[inline]
    fn copy(&self, buf: &mut [u8], consume: bool) -> Option<usize> {
        if !self.is_some.load(Ordering::Acquire) {
            return None;
        }
        spend_without_unwinding();
        self.copy_some(buf, consume)
    }

    #[cold]
    fn copy_some(&self, buf: &mut [u8], consume: bool) -> Option<usize> {
        let mut kept = self.loan.lock();
        let loan = kept.as_mut().filter(|loan| !loan.is_empty())?;
        let count = loan.len().min(buf.len());
        buf[..count].copy_from_slice(&loan.bytes()[..count]);
        if consume {
            loan.consume(count);
            if loan.is_empty() {
                *kept = None;
                self.is_some.store(false, Ordering::Relaxed);
            }
        }
        Some(count)
    }
}

fn is_filled(loan: &Loan) -> bool {
    !loan.is_empty()
}
