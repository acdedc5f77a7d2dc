//! What the stream types share: reading, writing, and bytes read ahead.
//!
//! `Read` asks the socket and nobody else; `BufRead` may read ahead, as any buffered reader. What
//! was read ahead is in one of two places:
//!
//! ```text
//!   kept   bytes lent to this stream and not yet consumed; every read takes them first
//!   home   the worker whose driver may hold further bytes for this stream (0: none)
//! ```
//!
//! A stream that is read on another worker, or on a plain thread, first fetches what its home
//! holds.
#![expect(unsafe_code, reason = "the driver places loans through a pointer")]

use std::io::{self, IoSliceMut};
use std::mem;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use fiveways_driver::{Loan, Op};
use fiveways_runtime::{detach, perform, reads_ahead, worker_index};
use fiveways_sys::net::PEEK;

use crate::net::socket::{Socket, if_at_once};

/// A connected stream socket with what was read ahead of it.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) socket: Socket,
    pub(crate) ahead: Ahead,
}

/// A connection taken apart, to be put together elsewhere.
pub(crate) struct Parts {
    /// Dropped before the socket is closed: a server's note of the connection.
    pub(crate) ticket: Option<Box<dyn Send + Sync>>,
    pub(crate) socket: Socket,
    pub(crate) unread: Vec<u8>,
    pub(crate) peer: Option<SocketAddr>,
}

/// What was read ahead of a socket.
#[derive(Debug)]
pub(crate) struct Ahead {
    kept: Mutex<Option<Loan>>,
    /// Is there anything in `kept`? A hint that saves the lock; true whenever there is.
    has_kept: AtomicBool,
    home: AtomicU32,
}

impl Stream {
    pub(crate) fn new(socket: Socket) -> Stream {
        Stream::with_unread(socket, Vec::new())
    }

    /// Makes a stream of which these bytes have been received already.
    pub(crate) fn with_unread(socket: Socket, unread: Vec<u8>) -> Stream {
        let has_kept = !unread.is_empty();
        let ahead = Ahead {
            kept: Mutex::new(has_kept.then(|| Loan::owned(unread))),
            has_kept: AtomicBool::new(has_kept),
            home: AtomicU32::new(0),
        };
        Stream { socket, ahead }
    }

    /// Takes the stream out of its worker: a socket that no driver watches, and what was read of it
    /// and not consumed.
    ///
    /// Gives the stream back if its worker could not be asked.
    pub(crate) fn take_out(self) -> Result<(Socket, Vec<u8>), (Stream, io::Error)> {
        match self.ahead.home.load(Ordering::Relaxed) {
            0 => {}
            home => {
                if let Err(error) = self.ahead.fetch(home, &self.socket) {
                    return Err((self, error));
                }
            }
        }
        self.socket.leave();
        let unread = self.ahead.lock().take().map_or_else(Vec::new, |loan| loan.bytes().to_vec());
        Ok((self.into_socket(), unread))
    }

    /// Has anything been read ahead, here or by a worker?
    pub(crate) fn is_ahead(&self) -> bool {
        let ahead = &self.ahead;
        ahead.home.load(Ordering::Relaxed) != 0 || ahead.has_kept.load(Ordering::Acquire)
    }

    /// Are there bytes that were read ahead, at hand for whoever reads here next? What another
    /// worker has is fetched.
    pub(crate) fn has_bytes(&self) -> io::Result<bool> {
        self.ahead.come_home(&self.socket)?;
        Ok(self.ahead.lock().as_ref().is_some_and(|loan| !loan.is_empty()))
    }

    /// Gives the descriptor up; bytes read ahead and not consumed are lost.
    pub(crate) fn into_fd(self) -> OwnedFd {
        // The home must let go of the socket; what it holds is lost with the rest.
        let _ = self.ahead.come_home(&self.socket);
        self.into_socket().into_fd()
    }

    /// Gives the socket up, which no other worker may be ahead of.
    fn into_socket(self) -> Socket {
        let mut this = mem::ManuallyDrop::new(self);
        *this.ahead.kept.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        // SAFETY: required: read once. `this` is never dropped; its other fields own nothing now.
        unsafe { std::ptr::read(&this.socket) }
    }

    #[inline]
    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.ahead.read(&self.socket, buf)
    }

    #[inline]
    pub(crate) fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.ahead.fill_buf(&self.socket)
    }
}

impl Ahead {
    #[inline]
    pub(crate) fn read(&self, socket: &Socket, buf: &mut [u8]) -> io::Result<usize> {
        if let Some(count) = self.read_kept(socket, buf, true)? {
            return Ok(count);
        }
        socket.recv(buf, 0)
    }

    pub(crate) fn peek(&self, socket: &Socket, buf: &mut [u8]) -> io::Result<usize> {
        if let Some(count) = self.read_kept(socket, buf, false)? {
            return Ok(count);
        }
        socket.recv(buf, PEEK)
    }

    pub(crate) fn read_vectored(
        &self,
        socket: &Socket,
        bufs: &mut [IoSliceMut<'_>],
    ) -> io::Result<usize> {
        let ahead = self.home.load(Ordering::Relaxed) != 0 || self.has_kept.load(Ordering::Acquire);
        if ahead {
            // Filling one buffer is a short read, which vectored reads may be.
            let first = bufs.iter_mut().find(|buf| !buf.is_empty());
            return first.map_or(Ok(0), |buf| self.read(socket, buf));
        }
        socket.recv_vectored(bufs)
    }

    /// Gives bytes where the kernel or the worker put them; empty at the end of the stream.
    #[inline]
    pub(crate) fn fill_buf(&mut self, socket: &Socket) -> io::Result<&[u8]> {
        if self.home.load(Ordering::Relaxed) != 0 {
            self.come_home(socket)?;
        }
        let kept = self.kept.get_mut().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_none_or(Loan::is_empty) {
            // Gives the old buffer back first, so that it can be the one that is filled.
            *kept = None;
            let op = Op::Fill { source: socket.source(), loan: kept };
            let at_once = socket.is_nonblocking().then(Instant::now);
            if let Some(worker) = reads_ahead() {
                self.home.store(worker, Ordering::Relaxed);
            }
            let by = at_once.or_else(|| socket.read_deadline());
            // SAFETY: required: `kept` valid and in place until this returns. `self` is borrowed.
            unsafe { perform(op, by) }.map_err(|error| if_at_once(at_once, error))?;
            self.has_kept.store(true, Ordering::Relaxed);
        }
        let kept = self.kept.get_mut().unwrap_or_else(PoisonError::into_inner);
        Ok(kept.as_ref().map_or(&[], Loan::bytes))
    }

    #[inline]
    pub(crate) fn consume(&mut self, count: usize) {
        let kept = self.kept.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(loan) = kept else {
            assert!(count == 0, "consumed {count} bytes that were not there");
            return;
        };
        loan.consume(count);
        if loan.is_empty() {
            *kept = None;
            self.has_kept.store(false, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Loan>> {
        // Nothing panics while it is held.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies kept bytes; `None`: there are none, ask the socket.
    #[inline]
    fn read_kept(
        &self,
        socket: &Socket,
        buf: &mut [u8],
        consume: bool,
    ) -> io::Result<Option<usize>> {
        if self.home.load(Ordering::Relaxed) != 0 {
            self.come_home(socket)?;
        }
        if !self.has_kept.load(Ordering::Acquire) {
            return Ok(None);
        }
        Ok(self.copy_kept(buf, consume))
    }

    #[cold]
    fn copy_kept(&self, buf: &mut [u8], consume: bool) -> Option<usize> {
        let mut kept = self.lock();
        let loan = kept.as_mut().filter(|loan| !loan.is_empty())?;
        let count = loan.len().min(buf.len());
        buf[..count].copy_from_slice(&loan.bytes()[..count]);
        if consume {
            loan.consume(count);
            if loan.is_empty() {
                *kept = None;
                self.has_kept.store(false, Ordering::Relaxed);
            }
        }
        Some(count)
    }

    /// Fetches what another worker has read ahead for this stream, if one has.
    fn come_home(&self, socket: &Socket) -> io::Result<()> {
        let home = self.home.load(Ordering::Relaxed);
        if home == 0 || worker_index() == Some(home) && fiveways_runtime::in_task() {
            return Ok(());
        }
        self.fetch(home, socket)
    }

    /// Fetches what a worker has read ahead for this stream, and makes it let go of it.
    fn fetch(&self, home: u32, socket: &Socket) -> io::Result<()> {
        let more = detach(home, socket.source())?;
        let mut kept = self.lock();
        if !more.is_empty() {
            let mut bytes = kept.take().map_or_else(Vec::new, |loan| loan.bytes().to_vec());
            bytes.extend_from_slice(&more);
            *kept = Some(Loan::owned(bytes));
            self.has_kept.store(true, Ordering::Release);
        }
        self.home.store(0, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let home = self.ahead.home.load(Ordering::Relaxed);
        if home != 0 && worker_index() != Some(home) {
            // The home must let go of the descriptor, or the peer would never see the end; and its
            // number must not come again before that.
            self.socket.close_at(home);
        }
    }
}
