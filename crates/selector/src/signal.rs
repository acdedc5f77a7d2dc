//! Signal-driven: the kernel sends this thread one real-time signal for each change of a
//! descriptor.
//!
//! `F_SETSIG` and `F_SETOWN_EX` direct the signals of a descriptor at the thread that created the
//! selector, where they are blocked and read in batches through a signalfd. A signal is a hint
//! only: it carries a number, which may have been closed and reused since (D38), so the reported
//! readiness comes from one `poll(2)` over the numbers of a batch. One wait goes like this:
//!
//! ```text
//!   signalfd ──read──▶ due (each number once) ──poll──▶ events
//!      ▲                ▲
//!      │                └── registered or modified just now · everything after an overflow
//!   ppoll over [ waker, signalfd, roomless… ] when nothing is due
//! ```
//!
//! Overflow: a signal that finds the queue full (`RLIMIT_SIGPENDING`, counted per user) is lost,
//! and the kernel sends one SIGIO instead. Then everything registered is due, once.
//!
//! Roomless: Unix sockets signal that they can be written to only after a write has failed *while*
//! their signals were on. So a descriptor that was not writable when it was registered or modified
//! is watched by the sleeping poll until it is.
//!
//! Reference: fcntl(2), signalfd(2), signal(7).
#![expect(unsafe_code, reason = "switches signals off by number when dropped")]

use std::cell::Cell;
use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};
use std::{error, fmt, io};

use fiveways_sys::multiplex::poll::{self, Entry};
use fiveways_sys::signal::{self, Note, OVERFLOW, SignalFd, SignalSet, Target};

use crate::contract::{Capabilities, Selector, Trigger};
use crate::deadline::{is_over, remaining};
use crate::event::{Event, Events, Interest, Readiness, Token};
use crate::table::Table;
use crate::waker::Waker;

/// Full batches read from the signalfd before their numbers are polled.
const BATCHES: usize = 16;

/// The error for a signal selector that is used outside the thread that created it.
///
/// Found inside the [`io::Error`] of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WrongThread;

impl fmt::Display for WrongThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a signal selector works only in the thread that made it, which gets its signals",
        )
    }
}

impl error::Error for WrongThread {}

/// Watches by signals: edge-triggered, and only in the thread that created it.
///
/// Each selector takes one real-time signal of its thread, from `SIGRTMAX` downwards. That signal
/// and SIGIO stay blocked in the thread for good: a late one would end the process. Register only
/// one of the duplicates of a descriptor: they share their signals. Regular files, eventfds and
/// epolls send none and are refused (`ENOTTY`). Create it after a fork: signals go to a thread, not
/// to its copy.
///
/// # Examples
///
/// ```
/// use std::io::Write;
/// use std::os::fd::AsFd;
/// use std::os::unix::net::UnixStream;
///
/// use fiveways_selector::{Events, Interest, Selector, Signal, Token};
///
/// # fn main() -> std::io::Result<()> {
/// let (mut ours, theirs) = UnixStream::pair()?;
/// let mut selector = Signal::new()?;
/// selector.register(theirs.as_fd(), Interest::READABLE, Token(1))?;
///
/// ours.write_all(b"a signal comes")?;
/// let mut events = Events::with_capacity(8);
/// selector.wait(&mut events, None)?;
/// assert!(events.iter().any(|event| event.is_readable()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Signal {
    table: Table,
    marks: Vec<Mark>,
    /// Numbers to be polled, each once.
    due: VecDeque<RawFd>,
    /// Watched for room by the sleeping poll; see the module.
    roomless: Vec<RawFd>,
    /// The entries of a poll, reused.
    polled: Vec<Entry>,
    reader: SignalFd,
    target: Target,
    waker: Waker,
    owner: ThreadId,
    overflows: u64,
    overflows_seen: u64,
}

/// The state of a number besides its registration.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    /// Whether it is in `due`.
    due: bool,
    /// Whether it was registered or modified since it was last polled.
    fresh: bool,
    /// Whether it is to be watched for room.
    roomless: bool,
    /// Whether it is in `roomless`, wanted or not; unwanted ones leave at the next sleep.
    listed: bool,
}

thread_local! {
    /// Signals taken by selectors of this thread: bit n is `SIGRTMAX` − n.
    static TAKEN: Cell<u64> = const { Cell::new(0) };
    /// Overflows of this thread's queue. SIGIO is one for all its selectors: each has to sweep.
    static OVERFLOWS: Cell<u64> = const { Cell::new(0) };
}

impl Signal {
    /// Opens a selector for this thread.
    ///
    /// # Errors
    ///
    /// The error of the system call; [`QuotaExceeded`](io::ErrorKind::QuotaExceeded) if selectors
    /// of this thread have taken all real-time signals.
    pub fn new() -> io::Result<Signal> {
        let signal = take_signal().ok_or(io::ErrorKind::QuotaExceeded)?;
        Signal::with_signal(signal).inspect_err(|_| release_signal(signal))
    }

    fn with_signal(signal: signal::Signal) -> io::Result<Signal> {
        let signals = SignalSet::of(&[signal, OVERFLOW]);
        signal::block(signals)?;
        Ok(Signal {
            table: Table::default(),
            marks: Vec::new(),
            due: VecDeque::new(),
            roomless: Vec::new(),
            polled: Vec::new(),
            reader: SignalFd::new(signals)?,
            target: Target::here(signal),
            waker: Waker::new()?,
            owner: thread::current().id(),
            overflows: 0,
            overflows_seen: OVERFLOWS.get(),
        })
    }

    fn check_thread(&self) -> io::Result<()> {
        if thread::current().id() == self.owner {
            return Ok(());
        }
        Err(io::Error::other(WrongThread))
    }

    /// Directs the signals here and makes the number due, for changes before that.
    fn arm(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        signal::direct(fd, self.target)?;
        let number = fd.as_raw_fd();
        let at = number as usize;
        if at >= self.marks.len() {
            self.marks.resize((at + 1).next_power_of_two(), Mark::default());
        }
        self.marks[at].fresh = true;
        self.marks[at].roomless = false;
        make_due(&mut self.marks, &mut self.due, number);
        Ok(())
    }

    fn forget(&mut self, fd: RawFd) -> io::Result<()> {
        self.table.remove(fd)?;
        self.marks[fd as usize].roomless = false;
        Ok(())
    }

    /// Reads the signals that have come.
    fn take_notes(&mut self) -> io::Result<()> {
        let (marks, due) = (&mut self.marks, &mut self.due);
        for _ in 0..BATCHES {
            let more = self.reader.read(|note| match note {
                Note::Changed(fd) => make_due(marks, due, fd),
                Note::Overflow => OVERFLOWS.set(OVERFLOWS.get() + 1),
            })?;
            if !more {
                break;
            }
        }
        if self.overflows_seen != OVERFLOWS.get() {
            self.overflows_seen = OVERFLOWS.get();
            self.overflows += 1;
            for entry in self.table.entries() {
                make_due(&mut self.marks, &mut self.due, entry.fd);
            }
        }
        Ok(())
    }

    /// Polls the due numbers, as many as the buffer has room for. Returns `true` if the wait is
    /// over.
    fn look(&mut self, events: &mut Events) -> io::Result<bool> {
        self.polled.clear();
        self.polled.push(Entry::new(self.waker.as_fd(), poll::IN));
        while self.polled.len() <= events.capacity() {
            let Some(fd) = self.due.pop_front() else { break };
            self.marks[fd as usize].due = false;
            if let Some(entry) = self.table.of(fd) {
                self.polled.push(Entry::of_number(fd, entry.interest.poll_flags()));
            }
        }
        // Even without waiting, a signal of another kind interrupts.
        while let Err(error) = poll::poll(&mut self.polled, Some(Duration::ZERO)) {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        for at in 1..self.polled.len() {
            self.judge(self.polled[at], events);
        }
        Ok(self.take_wake() || !events.is_empty())
    }

    fn judge(&mut self, polled: Entry, events: &mut Events) {
        let (fd, answer) = (polled.fd(), polled.answer());
        if answer & poll::INVALID != 0 {
            // Closed without being deregistered; it was in the table when the entry was created.
            let _ = self.forget(fd);
            return;
        }
        let Some(entry) = self.table.of(fd) else { return };
        let mark = &mut self.marks[fd as usize];
        if std::mem::take(&mut mark.fresh) {
            mark.roomless = entry.interest.contains(Interest::WRITABLE) && answer & poll::OUT == 0;
            if mark.roomless && !mark.listed {
                mark.listed = true;
                self.roomless.push(fd);
            }
        }
        if answer != 0 {
            events.push(Event::new(entry.token, Readiness::of_poll(answer)));
        }
    }

    /// Takes a wake if the first entry of the last poll reports one. Returns `true` if there was
    /// one.
    fn take_wake(&self) -> bool {
        let woken = self.polled[0].answer() != 0;
        if woken {
            self.waker.drain();
        }
        woken
    }

    /// Sleeps until a signal comes, a roomless descriptor gets room, a wake or the deadline.
    fn sleep(&mut self, deadline: Option<Instant>) -> io::Result<Slept> {
        self.polled.clear();
        self.polled.push(Entry::new(self.waker.as_fd(), poll::IN));
        self.polled.push(Entry::new(self.reader.as_fd(), poll::IN));
        let (marks, polled) = (&mut self.marks, &mut self.polled);
        self.roomless.retain(|fd| {
            let mark = &mut marks[*fd as usize];
            mark.listed = mark.roomless;
            if mark.listed {
                polled.push(Entry::of_number(*fd, poll::OUT));
            }
            mark.listed
        });
        let timeout = remaining(deadline);
        match poll::poll(&mut self.polled, timeout) {
            Ok(0) if timeout == Some(Duration::ZERO) || is_over(deadline) => {
                return Ok(Slept::Over);
            }
            Ok(0) => return Ok(Slept::Again),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Slept::Again),
            Err(error) => return Err(error),
        }
        for line in self.polled[2..].iter().filter(|line| line.answer() != 0) {
            self.marks[line.fd() as usize].roomless = false;
            make_due(&mut self.marks, &mut self.due, line.fd());
        }
        Ok(if self.take_wake() { Slept::Over } else { Slept::Again })
    }
}

/// How a sleep ended.
#[derive(PartialEq, Eq)]
enum Slept {
    /// By the deadline or the waker.
    Over,
    /// There is something to poll.
    Again,
}

fn make_due(marks: &mut [Mark], due: &mut VecDeque<RawFd>, fd: RawFd) {
    // A number without a mark was never registered here.
    let Some(mark) = usize::try_from(fd).ok().and_then(|at| marks.get_mut(at)) else { return };
    if !std::mem::replace(&mut mark.due, true) {
        due.push_back(fd);
    }
}

fn take_signal() -> Option<signal::Signal> {
    let signals = signal::real_time();
    let taken = TAKEN.get();
    let free = taken.trailing_ones();
    let signal = signals.end().checked_sub(free as i32).filter(|it| signals.contains(it))?;
    TAKEN.set(taken | 1 << free);
    Some(signal)
}

fn release_signal(signal: signal::Signal) {
    TAKEN.set(TAKEN.get() & !(1 << (signal::real_time().end() - signal)));
}

impl Selector for Signal {
    fn name(&self) -> &'static str {
        "signal"
    }

    fn register(&mut self, fd: BorrowedFd<'_>, interest: Interest, token: Token) -> io::Result<()> {
        self.check_thread()?;
        self.table.insert(fd, interest, token)?;
        self.arm(fd).inspect_err(|_| {
            // It was inserted two lines above.
            let _ = self.table.remove(fd.as_raw_fd());
        })
    }

    /// Costs as much as registering: the number may have been closed and reused without our
    /// knowledge, and then its signals are not directed here.
    fn modify(&mut self, fd: BorrowedFd<'_>, interest: Interest, token: Token) -> io::Result<()> {
        self.check_thread()?;
        self.table.modify(fd, interest, token)?;
        self.arm(fd)
    }

    fn deregister(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.forget(fd.as_raw_fd())?;
        signal::set_async(fd, false)
    }

    fn wait(&mut self, events: &mut Events, deadline: Option<Instant>) -> io::Result<()> {
        self.check_thread()?;
        events.clear();
        loop {
            self.take_notes()?;
            if !self.due.is_empty() && self.look(events)? {
                return Ok(());
            }
            if self.due.is_empty() && self.sleep(deadline)? == Slept::Over {
                return Ok(());
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
        Capabilities::new(Trigger::Edge)
    }

    fn overflows(&self) -> u64 {
        self.overflows
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        for entry in self.table.entries() {
            // SAFETY: required: open for the length of the borrow. By the contract, descriptors are
            // deregistered before they are closed. A number that was closed all the same is
            // answered with EBADF, and one that was reused is not directed at us and left alone.
            let fd = unsafe { BorrowedFd::borrow_raw(entry.fd) };
            if signal::is_directed(fd, self.target) {
                let _ = signal::set_async(fd, false);
            }
        }
        if self.check_thread().is_ok() {
            // Signals that are still queued count against the limit of the user's signals.
            while self.reader.read(|_| {}).is_ok_and(|more| more) {}
            release_signal(self.target.signal());
        }
    }
}
