//! No readiness call at all: everything may be ready, always. The non-blocking model.
//!
//! Each wait reports every descriptor for all of its interest, and the caller finds out by trying.
//! So the cost is a failed attempt for each idle descriptor in each round, and a core that is never
//! idle (D12): this selector exists to be studied and compared, not for production. A pause makes
//! it bearable, at the price of latency.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use fiveways_sys::multiplex::poll::{self, Entry};

use crate::contract::{Capabilities, Selector, Trigger};
use crate::deadline::{is_over, remaining};
use crate::event::{Event, Events, Interest, Token};
use crate::table::Table;
use crate::waker::Waker;

/// Watches nothing and claims everything: the caller spins.
///
/// With no registration it sleeps until the deadline or the waker. Else a wait makes no system
/// call, unless a pause is set and the deadline has not passed: then it sleeps that long first.
///
/// # Examples
///
/// ```
/// use std::io::{ErrorKind, Read, Write};
/// use std::os::fd::AsFd;
/// use std::os::unix::net::UnixStream;
/// use std::time::Duration;
///
/// use fiveways_selector::{Events, Interest, Selector, Nonblocking, Token};
///
/// # fn main() -> std::io::Result<()> {
/// let (mut ours, mut theirs) = UnixStream::pair()?;
/// theirs.set_nonblocking(true)?;
/// let mut selector = Nonblocking::with_pause(Duration::from_micros(100))?;
/// selector.register(theirs.as_fd(), Interest::READABLE, Token(1))?;
///
/// let mut events = Events::with_capacity(8);
/// selector.wait(&mut events, None)?;
/// assert!(events.iter().all(|event| event.is_readable()), "it claims so");
/// let answer = theirs.read(&mut [0; 8]).map_err(|error| error.kind());
/// assert_eq!(answer, Err(ErrorKind::WouldBlock), "an attempt shows it");
/// # ours.write_all(b"x")
/// # }
/// ```
#[derive(Debug)]
pub struct Nonblocking {
    table: Table,
    waker: Waker,
    pause: Option<Duration>,
    /// Where the next report begins: behind the last event that had room in the buffer.
    next: usize,
}

impl Nonblocking {
    /// Opens a selector that never pauses: the thread uses its core fully.
    pub fn new() -> io::Result<Nonblocking> {
        Ok(Nonblocking { table: Table::default(), waker: Waker::new()?, pause: None, next: 0 })
    }

    /// Opens a selector that sleeps this long in each wait whose deadline has not passed. The waker
    /// ends the sleep.
    pub fn with_pause(pause: Duration) -> io::Result<Nonblocking> {
        Ok(Nonblocking { pause: Some(pause), ..Nonblocking::new()? })
    }

    fn sleep(&self, deadline: Option<Instant>) -> io::Result<()> {
        let mut polled = [Entry::new(self.waker.as_fd(), poll::IN)];
        loop {
            match poll::poll(&mut polled, remaining(deadline)) {
                Ok(0) if !is_over(deadline) => {}
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes a wake. Returns `true` if there was one.
    fn take_wake(&self) -> bool {
        let woken = self.waker.is_pending();
        if woken {
            self.waker.drain();
        }
        woken
    }

    fn report(&mut self, events: &mut Events) {
        let entries = self.table.entries();
        let start = if self.next < entries.len() { self.next } else { 0 };
        self.next = 0;
        for at in (start..entries.len()).chain(0..start) {
            let entry = entries[at];
            if entry.interest.is_empty() {
                continue;
            }
            if !events.push(Event::new(entry.token, entry.interest.into())) {
                self.next = at;
                return;
            }
        }
    }
}

impl Selector for Nonblocking {
    fn name(&self) -> &'static str {
        "nonblocking"
    }

    fn register(&mut self, fd: BorrowedFd<'_>, interest: Interest, token: Token) -> io::Result<()> {
        self.table.insert(fd, interest, token)
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, interest: Interest, token: Token) -> io::Result<()> {
        self.table.modify(fd, interest, token).map(drop)
    }

    fn deregister(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.table.remove(fd.as_raw_fd()).map(drop)
    }

    fn wait(&mut self, events: &mut Events, deadline: Option<Instant>) -> io::Result<()> {
        events.clear();
        if let Some(pause) = self.pause
            && !is_over(deadline)
        {
            let end = Instant::now().checked_add(pause);
            self.sleep(deadline.into_iter().chain(end).min())?;
        }
        let woken = self.take_wake();
        self.report(events);
        if events.is_empty() && !woken {
            self.sleep(deadline)?;
            self.take_wake();
        }
        Ok(())
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn len(&self) -> usize {
        self.table.len()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            modify_is_free: true,
            regular_files: true,
            closing: false,
            ..Capabilities::new(Trigger::Always)
        }
    }
}
