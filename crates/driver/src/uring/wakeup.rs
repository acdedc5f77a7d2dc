//! The waker's owner side: a poll selector that watches nothing but its waker.
//!
//! The ring watches the waker's eventfd; the selector is only asked to take notice of a wake, which
//! it does in the order that loses none.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Instant;

use fiveways_selector::{Events, Poll, Selector, Waker};

/// A waker and who takes notice of it.
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

    /// The waker, to be given away.
    pub(super) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// The descriptor that becomes readable when the bell is rung.
    pub(super) fn fd(&self) -> RawFd {
        self.waker.as_fd().as_raw_fd()
    }

    /// Takes notice: the next wake rings again.
    ///
    /// # Errors
    ///
    /// The kernel's, for poll(2).
    pub(super) fn answer(&mut self) -> io::Result<()> {
        self.selector.wait(&mut self.events, Some(Instant::now()))
    }
}
