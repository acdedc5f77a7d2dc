//! `eventfd(2)`: a counter that wakes the waiters for its descriptor.

#![expect(unsafe_code, reason = "a borrowed descriptor is redirected to another file")]

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::DupFlags;

/// A counter in the kernel, readable while it is not zero. Non-blocking and close-on-exec.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// Creates a counter at zero.
    pub fn new() -> io::Result<EventFd> {
        Ok(EventFd(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Adds one, which wakes the waiters.
    ///
    /// Cannot fail: the descriptor is open, and a counter that is full (2⁶⁴ − 2) is readable, so
    /// its waiters wake anyway.
    #[inline]
    pub fn add_one(&self) {
        self.add(1);
    }

    /// Adds `count`, which wakes the waiters; async-signal-safe.
    ///
    /// Cannot fail for counts that never fill the counter, as [`add_one`](EventFd::add_one) says.
    #[inline]
    pub fn add(&self, count: u64) {
        let _ = rustix::io::write(&self.0, &count.to_ne_bytes());
    }

    /// Sets the counter to zero; returns `true` if it was not zero.
    #[inline]
    pub fn reset(&self) -> bool {
        self.take() > 0
    }

    /// Sets the counter to zero and returns its previous value.
    #[inline]
    pub fn take(&self) -> u64 {
        let mut count = [0_u8; 8];
        match rustix::io::read(&self.0, &mut count) {
            Ok(_) => u64::from_ne_bytes(count),
            // The counter is zero already.
            Err(_) => 0,
        }
    }
}

impl EventFd {
    /// Redirects another counter's descriptor, which keeps its number, to this counter.
    ///
    /// # Errors
    ///
    /// The error of dup3(2); then nothing has changed.
    pub fn put_behind(&self, other: BorrowedFd<'_>) -> io::Result<()> {
        // SAFETY: required: an open descriptor. It is borrowed, and not closed by the drop.
        let other = unsafe { OwnedFd::from_raw_fd(other.as_raw_fd()) };
        let mut other = ManuallyDrop::new(other);
        Ok(rustix::io::dup3(&self.0, &mut other, DupFlags::CLOEXEC)?)
    }
}

impl From<OwnedFd> for EventFd {
    /// Takes over a descriptor, which must be of a counter.
    fn from(fd: OwnedFd) -> EventFd {
        EventFd(fd)
    }
}

impl From<EventFd> for OwnedFd {
    fn from(counter: EventFd) -> OwnedFd {
        counter.0
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_takes_every_addition_at_once() {
        let counter = EventFd::new().expect("an eventfd");
        assert!(!counter.reset());
        counter.add_one();
        counter.add_one();
        assert!(counter.reset());
        assert!(!counter.reset());
        counter.add(5);
        counter.add(7);
        assert_eq!(counter.take(), 12);
        assert_eq!(counter.take(), 0);
    }
}
