//! `select(2)`: three sets of bits, passed to the kernel and back in each wait.
//!
//! The sets are 1024 bits wide. A descriptor beyond is refused when it is registered; libc's macros
//! would write out of bounds (D21). The kernel's answer has three meanings only: readable (also at
//! a hang-up or error), writable (also at an error), urgent data.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};
use std::{error, fmt};

use fiveways_sys::errno;
use fiveways_sys::multiplex::poll::{self, Entry};
use fiveways_sys::multiplex::select::{FdSet, LIMIT, Sets, select};

use crate::contract::{Capabilities, Selector, Trigger};
use crate::deadline::{is_over, remaining};
use crate::event::{Event, Events, Interest, Readiness, Token};
use crate::table::Table;
use crate::waker::Waker;

/// The error for a descriptor beyond the limit of `select(2)`.
///
/// Found inside the [`io::Error`] of a registration:
///
/// ```
/// use fiveways_selector::FdTooLarge;
///
/// fn is_too_large(error: &std::io::Error) -> bool {
///     error.get_ref().is_some_and(|inner| inner.is::<FdTooLarge>())
/// }
/// # assert!(!is_too_large(&std::io::ErrorKind::NotFound.into()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FdTooLarge {
    /// The descriptor that was refused.
    pub fd: RawFd,
}

impl fmt::Display for FdTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "descriptor {} is too large for select, which ends at {}", self.fd, LIMIT - 1)
    }
}

impl error::Error for FdTooLarge {}

/// Watches with `select(2)`: level-triggered, descriptors below 1024.
///
/// # Examples
///
/// Only descriptors that can be written to are reported as writable:
///
/// ```
/// use std::io::Write;
/// use std::os::fd::AsFd;
/// use std::os::unix::net::UnixStream;
///
/// use fiveways_selector::{Events, Interest, Select, Selector, Token};
///
/// # fn main() -> std::io::Result<()> {
/// let ((mut full, _a), (free, _b)) = (UnixStream::pair()?, UnixStream::pair()?);
/// full.set_nonblocking(true)?;
/// while full.write(&[0; 65536]).is_ok() {}
///
/// let mut selector = Select::new()?;
/// selector.register(full.as_fd(), Interest::WRITABLE, Token(1))?;
/// selector.register(free.as_fd(), Interest::WRITABLE, Token(2))?;
/// let mut events = Events::with_capacity(8);
/// selector.wait(&mut events, None)?;
/// assert!(events.iter().all(|event| event.token() == Token(2)));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Select {
    asked: Sets,
    /// One more than the highest descriptor in `asked`.
    bound: RawFd,
    table: Table,
    waker: Waker,
    /// Where the next scan begins: behind the last event that had room in a full buffer.
    next: RawFd,
}

impl Select {
    /// Opens a selector.
    ///
    /// # Errors
    ///
    /// `EMFILE` or `ENFILE` if no descriptor is left, and [`FdTooLarge`] if the waker's own
    /// descriptor does not fit any more.
    pub fn new() -> io::Result<Select> {
        let waker = Waker::new()?;
        let mut asked = Sets::default();
        let fd = waker.as_fd().as_raw_fd();
        check(fd)?;
        asked.read.set(fd, true);
        Ok(Select { asked, bound: fd + 1, table: Table::default(), waker, next: 0 })
    }

    fn ask(&mut self, fd: RawFd, interest: Interest) {
        self.asked.read.set(fd, interest.contains(Interest::READABLE));
        self.asked.write.set(fd, interest.contains(Interest::WRITABLE));
        self.asked.priority.set(fd, interest.contains(Interest::PRIORITY));
        self.bound = FdSet::bound_of(all(&self.asked));
    }

    /// Takes the answers of one call. Returns `true` if the wait is over.
    fn collect(&mut self, events: &mut Events, ready: &mut Sets) -> bool {
        let waker = self.waker.as_fd().as_raw_fd();
        let woken = ready.read.contains(waker);
        if woken {
            ready.read.set(waker, false);
            self.waker.drain();
        }
        let start = std::mem::take(&mut self.next);
        // Twice around at most: from the start to the end, and from zero to the start.
        for range in [start..LIMIT, 0..start] {
            let mut from = range.start;
            while let Some(fd) = FdSet::first_of(all(ready), from).filter(|fd| *fd < range.end) {
                let Some(entry) = self.table.of(fd) else { break };
                if !events.push(Event::new(entry.token, readiness(ready, fd))) {
                    self.next = fd;
                    return true;
                }
                from = fd + 1;
            }
        }
        woken || !events.is_empty()
    }

    /// Forgets the descriptors that are not open: closed without being deregistered. Returns `true`
    /// if there was any.
    ///
    /// `select` itself only reports that there is one, and would go on doing so.
    #[cold]
    fn forget_closed(&mut self) -> io::Result<bool> {
        let entries = self.table.entries();
        let mut polled: Vec<Entry> =
            entries.iter().map(|entry| Entry::of_number(entry.fd, 0)).collect();
        poll::poll(&mut polled, Some(Duration::ZERO))?;
        let before = self.table.len();
        for entry in polled.iter().filter(|entry| entry.answer() & poll::INVALID != 0) {
            self.table.remove(entry.fd())?;
            self.ask(entry.fd(), Interest::NONE);
        }
        Ok(self.table.len() < before)
    }
}

/// How many searches in a row for a closed descriptor may find none.
const FRUITLESS: u32 = 100;

fn check(fd: RawFd) -> io::Result<()> {
    if fd < LIMIT {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, FdTooLarge { fd }))
}

fn all(sets: &Sets) -> [&FdSet; 3] {
    [&sets.read, &sets.write, &sets.priority]
}

fn readiness(ready: &Sets, fd: RawFd) -> Readiness {
    let mut found = Readiness::NONE;
    if ready.read.contains(fd) {
        found |= Readiness::READABLE;
    }
    if ready.write.contains(fd) {
        found |= Readiness::WRITABLE;
    }
    if ready.priority.contains(fd) {
        found |= Readiness::PRIORITY;
    }
    found
}

impl Selector for Select {
    fn name(&self) -> &'static str {
        "select"
    }

    fn register(&mut self, fd: BorrowedFd<'_>, interest: Interest, token: Token) -> io::Result<()> {
        check(fd.as_raw_fd())?;
        self.table.insert(fd, interest, token)?;
        self.ask(fd.as_raw_fd(), interest);
        Ok(())
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, interest: Interest, token: Token) -> io::Result<()> {
        self.table.modify(fd, interest, token)?;
        self.ask(fd.as_raw_fd(), interest);
        Ok(())
    }

    fn deregister(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.table.remove(fd.as_raw_fd())?;
        self.ask(fd.as_raw_fd(), Interest::NONE);
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, deadline: Option<Instant>) -> io::Result<()> {
        events.clear();
        let mut fruitless = 0;
        loop {
            let timeout = remaining(deadline);
            let mut ready = self.asked;
            match select(&mut ready, self.bound, timeout) {
                Ok(0) if timeout == Some(Duration::ZERO) || is_over(deadline) => return Ok(()),
                Ok(0) => {}
                Ok(_) if self.collect(events, &mut ready) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(errno::EBADF) => {
                    // None is found if another thread has opened the number again meanwhile; if
                    // that repeats, it is one of our own descriptors that other code has closed.
                    fruitless = if self.forget_closed()? { 0 } else { fruitless + 1 };
                    if fruitless > FRUITLESS {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
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
            max_fd: Some(LIMIT - 1),
            regular_files: true,
            closing: false,
            ..Capabilities::new(Trigger::Level)
        }
    }
}
