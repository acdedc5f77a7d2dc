//! Waiting for a connection on plain threads, beside other processes that share the listener.
//!
//! With `poll(2)` each of them would be woken for each connection. The kernel wakes one of several
//! exclusive waits: the first in the line that sleeps. Whoever was woken goes to the end of the
//! line, so that it is the turn of the next; without that one process would get everything.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use fiveways_sys::epoll::{Epoll, EventFlags};
use fiveways_sys::errno;
use fiveways_sys::net::wait_either;

use crate::net::TcpListener;

/// What the bell's events carry.
const BELL: u64 = 1;

/// A place in the line of those who wait for one listener.
#[derive(Debug)]
pub(crate) struct Turns(Option<Epoll>);

impl Turns {
    /// Takes a place, if the listener is shared; else there is no line.
    pub(crate) fn new(
        is_shared: bool,
        listener: &TcpListener,
        bell: BorrowedFd<'_>,
    ) -> io::Result<Turns> {
        if !is_shared {
            return Ok(Turns(None));
        }
        let epoll = Epoll::new()?;
        epoll.add(bell, EventFlags::IN, BELL)?;
        epoll.add(listener.as_fd(), EventFlags::IN | EventFlags::EXCLUSIVE, 0)?;
        Ok(Turns(Some(epoll)))
    }

    /// Waits until there may be a connection, or until the bell rings.
    pub(crate) fn wait(&self, listener: &TcpListener, bell: BorrowedFd<'_>) -> io::Result<()> {
        let Some(epoll) = &self.0 else {
            return wait_either(listener.as_fd(), bell, None).map(drop);
        };
        let mut events = Vec::with_capacity(2);
        match epoll.wait(&mut events, None) {
            Err(error) if error.raw_os_error() == Some(errno::EINTR) => return Ok(()),
            result => result?,
        };
        let is_turn = events.iter().any(|event| { event.data }.u64() != BELL);
        // It is not in it any more when a stop has closed it meanwhile.
        if is_turn && epoll.delete(listener.as_fd()).is_ok() {
            epoll.add(listener.as_fd(), EventFlags::IN | EventFlags::EXCLUSIVE, 0)?;
        }
        Ok(())
    }

    /// Leaves the line, before the listener is closed here: others have it open.
    pub(crate) fn leave(&self, listener: &TcpListener) {
        if let Some(epoll) = &self.0 {
            // It is in it.
            let _ = epoll.delete(listener.as_fd());
        }
    }
}
