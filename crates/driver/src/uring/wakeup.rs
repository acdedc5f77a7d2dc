//! The waker's owner side: a poll selector that watches only its waker.
//!
//! The ring watches the waker's eventfd; the selector takes each wake, in an order that loses none.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Instant;

use fiveways_selector::{Events, Poll, Selector, Waker};

/// A waker and the selector that takes its wakes.
#[derive(Debug)]
pub(super) struct Wakeup {
    selector: Poll,
    waker: Waker,
    events: Events,
}

impl Wakeup {
    pub(super) fn new() -> io::Result<Wakeup> {
        let selector = Poll::new()?;
        let waker = selector.waker();
        Ok(Wakeup { selector, waker, events: Events::with_capacity(1) })
    }

    /// Returns the waker, for other threads.
    pub(super) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Returns the descriptor that becomes readable at a wake.
    pub(super) fn fd(&self) -> RawFd {
        self.waker.as_fd().as_raw_fd()
    }

    /// Takes a wake: the next one makes the descriptor readable again.
    ///
    /// # Errors
    ///
    /// The error of poll(2).
    pub(super) fn answer(&mut self) -> io::Result<()> {
        self.selector.wait(&mut self.events, Some(Instant::now()))
    }
}
