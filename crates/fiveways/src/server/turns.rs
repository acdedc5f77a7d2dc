//! Waiting for a connection on plain threads, when other processes share the listener.
//!
//! With `poll(2)` all of them would wake for each connection. Of several exclusive waits the kernel
//! wakes one: the first in its queue that sleeps. The process that was woken re-registers at the
//! end of the queue, so that the next one gets its turn; otherwise one process would get every
//! connection.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use fiveways_sys::errno;
use fiveways_sys::multiplex::epoll::{Epoll, EventFlags};
use fiveways_sys::net::wait_either;

use crate::net::TcpListener;

/// The token of the bell's events.
const BELL: u64 = 1;

/// A position in the kernel's queue of waiters for one listener.
#[derive(Debug)]
pub(crate) struct Turns(Option<Epoll>);

impl Turns {
    /// Joins the queue, if the listener is shared; otherwise there is none.
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
        // It is no longer registered if a stop has closed it in the meantime.
        if is_turn && epoll.delete(listener.as_fd()).is_ok() {
            epoll.add(listener.as_fd(), EventFlags::IN | EventFlags::EXCLUSIVE, 0)?;
        }
        Ok(())
    }

    /// Leaves the queue, before the listener is closed here: other processes have it open.
    pub(crate) fn leave(&self, listener: &TcpListener) {
        if let Some(epoll) = &self.0 {
            // It is registered.
            let _ = epoll.delete(listener.as_fd());
        }
    }
}
