//! `epoll(7)`, by level or by edge: the kernel keeps the registrations and a list of what is ready.
//!
//! One system call in each wait, whatever the number of descriptors; the kernel writes its events
//! straight into the caller's buffer. The kernel rotates its list, so no descriptor starves with a
//! small buffer.
//!
//! The waker's eventfd is watched by edge and never read: each write is an edge of its own, and the
//! counter has room for 2⁶⁴ of them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use fiveways_sys::multiplex::epoll::{Epoll as Kernel, EventFlags};

use crate::contract::{Capabilities, Selector, Trigger};
use crate::deadline::{is_over, remaining};
use crate::event::{Events, Interest, Token};
use crate::table::refuse_reserved;
use crate::waker::Waker;

/// Watches with `epoll(7)`: the choice for many descriptors.
///
/// Regular files are refused (`EPERM`): they are always ready. A registration belongs to the open
/// file description: one that is not deregistered lives, and is reported, until the last duplicate
/// of the descriptor is closed, and [`len`](Selector::len) goes on counting it after that.
///
/// # Examples
///
/// ```
/// use std::io::Write;
/// use std::os::fd::AsFd;
/// use std::os::unix::net::UnixStream;
/// use std::time::Instant;
///
/// use fiveways_selector::{Epoll, Events, Interest, Selector, Token};
///
/// # fn main() -> std::io::Result<()> {
/// let (mut ours, theirs) = UnixStream::pair()?;
/// let mut events = Events::with_capacity(8);
/// for (mut selector, reports_again) in [(Epoll::new()?, true), (Epoll::et()?, false)] {
///     selector.register(theirs.as_fd(), Interest::READABLE, Token(1))?;
///     ours.write_all(b"not read yet")?;
///     selector.wait(&mut events, None)?;
///     assert!(events.iter().any(|event| event.is_readable()));
///
///     selector.wait(&mut events, Some(Instant::now()))?;
///     assert_eq!(!events.is_empty(), reports_again);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Epoll {
    kernel: Kernel,
    waker: Waker,
    edge: bool,
    len: usize,
}

impl Epoll {
    /// Opens a level-triggered selector: a ready descriptor is reported in every wait.
    pub fn new() -> io::Result<Epoll> {
        Epoll::open(false)
    }

    /// Opens an edge-triggered selector: a change is reported once. Drain before you wait again.
    pub fn et() -> io::Result<Epoll> {
        Epoll::open(true)
    }

    fn open(edge: bool) -> io::Result<Epoll> {
        let waker = Waker::new()?;
        Ok(Epoll { kernel: open_for(&waker)?, waker, edge, len: 0 })
    }

    /// Begins to watch a listener that several selectors share, so that a connection wakes one or
    /// some of them, and not all (`EPOLLEXCLUSIVE`).
    ///
    /// Readability only; it cannot be modified, but deregistered and registered anew.
    ///
    /// # Errors
    ///
    /// As [`register`](Selector::register).
    #[doc(alias = "EPOLLEXCLUSIVE")]
    pub fn register_exclusive(&mut self, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        // The kernel refuses EPOLLRDHUP and EPOLLPRI beside this flag.
        let flags = EventFlags::IN | EventFlags::EXCLUSIVE | self.trigger();
        self.add(fd, flags, token)
    }

    fn add(&mut self, fd: BorrowedFd<'_>, flags: EventFlags, token: Token) -> io::Result<()> {
        refuse_reserved(token)?;
        self.kernel.add(fd, flags, token.0)?;
        self.len += 1;
        Ok(())
    }

    #[inline]
    fn trigger(&self) -> EventFlags {
        if self.edge { EventFlags::ET } else { EventFlags::empty() }
    }

    /// Removes the waker's event from the batch. A reported wake has its flag pending, so without
    /// the flag no search is needed.
    #[inline]
    fn take_waker(&self, events: &mut Events) {
        if !self.waker.is_pending() {
            return;
        }
        let batch = events.raw_mut();
        let is_waker = |data: u64| data == Token::RESERVED.0;
        if let Some(at) = batch.iter().position(|event| is_waker({ event.data }.u64())) {
            batch.swap_remove(at);
            self.waker.take();
        }
    }
}

/// Opens an instance that watches the waker.
fn open_for(waker: &Waker) -> io::Result<Kernel> {
    let kernel = Kernel::new()?;
    kernel.add(waker.as_fd(), EventFlags::IN | EventFlags::ET, Token::RESERVED.0)?;
    Ok(kernel)
}

/// A descriptor that cannot be watched is not watched: the kernel answers `EPERM` for both.
fn not_found(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return io::ErrorKind::NotFound.into();
    }
    error
}

impl Selector for Epoll {
    fn name(&self) -> &'static str {
        if self.edge { "epoll-et" } else { "epoll" }
    }

    #[inline]
    fn register(&mut self, fd: BorrowedFd<'_>, interest: Interest, token: Token) -> io::Result<()> {
        self.add(fd, interest.epoll_flags() | self.trigger(), token)
    }

    #[inline]
    fn modify(&mut self, fd: BorrowedFd<'_>, interest: Interest, token: Token) -> io::Result<()> {
        refuse_reserved(token)?;
        let flags = interest.epoll_flags() | self.trigger();
        self.kernel.modify(fd, flags, token.0).map_err(not_found)
    }

    #[inline]
    fn deregister(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.kernel.delete(fd).map_err(not_found)?;
        self.len -= 1;
        Ok(())
    }

    fn renew(&mut self) -> io::Result<bool> {
        let kernel = open_for(&self.waker)?;
        // The old instance, and all its registrations, goes with its last descriptor.
        (self.kernel, self.len) = (kernel, 0);
        // The waker's count so far is an edge for the new instance, and a wake may have been
        // pending.
        self.waker.wake();
        Ok(true)
    }

    #[inline]
    fn wait(&mut self, events: &mut Events, deadline: Option<Instant>) -> io::Result<()> {
        events.clear();
        loop {
            let timeout = remaining(deadline);
            match self.kernel.wait(events.raw_mut(), timeout) {
                Ok(0) if timeout == Some(Duration::ZERO) || is_over(deadline) => return Ok(()),
                Ok(0) => {}
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.take_waker(events);
        Ok(())
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn len(&self) -> usize {
        self.len
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new(if self.edge { Trigger::Edge } else { Trigger::Level })
    }
}
