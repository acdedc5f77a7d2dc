//! `poll(2)`: one table of all descriptors, passed to the kernel in each wait.
//!
//! No limit at compile time, and none on the numbers of descriptors (C11); but a wait for more
//! entries, the waker's included, than the soft limit of descriptors *at that time* is refused with
//! `EINVAL` (C12). That happens if the limit was lowered, or inherited lower, after descriptors had
//! been opened; the wait then returns [`TooManyPolled`]. Every wait costs time in proportion to the
//! table. Registering, changing and removing take constant time all the same (D30):
//!
//! ```text
//!   polled   [ waker | entry 0 | entry 1 | … ]    position in the table + 1
//!   table    [         entry 0 | entry 1 | … ]
//! ```

use std::error;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use fiveways_sys::errno;
use fiveways_sys::multiplex::poll::{self, Entry};
use fiveways_sys::process;

use crate::contract::{Capabilities, Selector, Trigger};
use crate::deadline::{is_over, remaining};
use crate::event::{Event, Events, Interest, Readiness, Token};
use crate::table::Table;
use crate::waker::Waker;

/// A wait that `poll(2)` refuses: more entries than the soft limit of descriptors.
///
/// The source inside the [`io::Error`] of [`wait`](Selector::wait), whose kind is `InvalidInput`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TooManyPolled {
    /// The number of entries, the waker's included.
    pub entries: usize,
    /// The soft limit (`RLIMIT_NOFILE`).
    pub limit: u64,
}

impl fmt::Display for TooManyPolled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TooManyPolled { entries, limit } = self;
        write!(
            f,
            "poll waits for {entries} descriptors, and no more than the limit of {limit} may be \
             waited for: raise it (ulimit -n), or use epoll"
        )
    }
}

impl error::Error for TooManyPolled {}

/// Creates the error for a table that `poll(2)` refused because of its length.
#[cold]
fn explained(error: io::Error, entries: usize) -> io::Error {
    match process::descriptor_limit().soft {
        Some(limit) if error.raw_os_error() == Some(errno::EINVAL) && entries as u64 > limit => {
            io::Error::new(io::ErrorKind::InvalidInput, TooManyPolled { entries, limit })
        }
        _ => error,
    }
}

/// Watches with `poll(2)`: level-triggered, any descriptor, any file.
///
/// A wait for more descriptors than the process may have open, by the soft limit of that moment, is
/// refused: see [`TooManyPolled`].
///
/// # Examples
///
/// ```
/// use std::os::fd::AsFd;
/// use std::os::unix::net::UnixStream;
///
/// use fiveways_selector::{Events, Interest, Poll, Selector, Token};
///
/// # fn main() -> std::io::Result<()> {
/// let (ours, theirs) = UnixStream::pair()?;
/// let mut selector = Poll::new()?;
/// selector.register(theirs.as_fd(), Interest::READABLE, Token(1))?;
/// drop(ours);
///
/// let mut events = Events::with_capacity(8);
/// selector.wait(&mut events, None)?;
/// assert!(events.iter().all(|event| event.is_hangup() && !event.is_error()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Poll {
    polled: Vec<Entry>,
    table: Table,
    waker: Waker,
    /// Where the next scan begins: behind the last event that had room in a full buffer.
    next: usize,
}

impl Poll {
    /// Opens a selector.
    pub fn new() -> io::Result<Poll> {
        let waker = Waker::new()?;
        let polled = vec![Entry::new(waker.as_fd(), poll::IN)];
        Ok(Poll { polled, table: Table::default(), waker, next: 0 })
    }

    /// Takes the answers of one call. Returns `true` if the wait is over.
    fn collect(&mut self, events: &mut Events, mut answers: usize) -> bool {
        let woken = self.polled[0].answer() != 0;
        if woken {
            self.waker.drain();
            answers -= 1;
        }
        let len = self.table.len();
        let start = if self.next < len { self.next } else { 0 };
        self.next = 0;
        let mut closed = false;
        for at in (start..len).chain(0..start) {
            if answers == 0 {
                break;
            }
            let answer = self.polled[at + 1].answer();
            if answer == 0 {
                continue;
            }
            answers -= 1;
            if answer & poll::INVALID != 0 {
                closed = true;
                continue;
            }
            let token = self.table.entries()[at].token;
            if !events.push(Event::new(token, Readiness::of_poll(answer))) {
                self.next = at;
                break;
            }
        }
        if closed {
            self.forget_closed();
        }
        woken || !events.is_empty()
    }

    /// Forgets the descriptors that the kernel reports as invalid: closed without being
    /// deregistered.
    #[cold]
    fn forget_closed(&mut self) {
        for at in (0..self.table.len()).rev() {
            let entry = self.polled[at + 1];
            if entry.answer() & poll::INVALID != 0 && self.table.remove(entry.fd()).is_ok() {
                self.polled.swap_remove(at + 1);
            }
        }
    }
}

impl Selector for Poll {
    fn name(&self) -> &'static str {
        "poll"
    }

    fn register(&mut self, fd: BorrowedFd<'_>, interest: Interest, token: Token) -> io::Result<()> {
        self.table.insert(fd, interest, token)?;
        self.polled.push(Entry::new(fd, interest.poll_flags()));
        Ok(())
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, interest: Interest, token: Token) -> io::Result<()> {
        let at = self.table.modify(fd, interest, token)?;
        self.polled[at + 1].ask(interest.poll_flags());
        Ok(())
    }

    fn deregister(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let at = self.table.remove(fd.as_raw_fd())?;
        self.polled.swap_remove(at + 1);
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, deadline: Option<Instant>) -> io::Result<()> {
        events.clear();
        loop {
            let timeout = remaining(deadline);
            match poll::poll(&mut self.polled, timeout) {
                Ok(0) if timeout == Some(Duration::ZERO) || is_over(deadline) => return Ok(()),
                Ok(0) => {}
                Ok(answers) if self.collect(events, answers) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(explained(error, self.polled.len())),
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
            regular_files: true,
            ..Capabilities::new(Trigger::Level)
        }
    }
}
