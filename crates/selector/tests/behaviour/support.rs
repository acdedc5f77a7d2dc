//! Shared parts of the behaviours: pairs of sockets, deadlines, and waiting for events.
#![expect(unsafe_code, reason = "std sends no urgent data and knows no thread numbers")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use fiveways_selector::{Event, Events, Interest, Kind, Selector, Token, Trigger};

/// How long anything may take before a test gives up: far more than it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Descriptor numbers belong to the process, so to all tests at once: a test that uses up the
/// numbers that `select` can take, or closes one that is still watched, has to be alone.
static NUMBERS: RwLock<()> = RwLock::new(());

/// A selector with a buffer and checks of its events.
pub(crate) struct Bench {
    pub(crate) selector: Box<dyn Selector>,
    pub(crate) events: Events,
    _numbers: Numbers,
}

enum Numbers {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

impl Bench {
    pub(crate) fn new(kind: Kind) -> Bench {
        let guard = NUMBERS.read().unwrap_or_else(PoisonError::into_inner);
        Bench::with(kind, Numbers::Shared { _guard: guard })
    }

    /// With no other test running.
    pub(crate) fn alone(kind: Kind) -> Bench {
        let guard = NUMBERS.write().unwrap_or_else(PoisonError::into_inner);
        Bench::with(kind, Numbers::Alone { _guard: guard })
    }

    fn with(kind: Kind, numbers: Numbers) -> Bench {
        let selector = kind.open().expect("a selector");
        assert_eq!(selector.name(), kind.as_str());
        Bench { selector, events: Events::with_capacity(64), _numbers: numbers }
    }

    pub(crate) fn trigger(&self) -> Trigger {
        self.selector.capabilities().trigger
    }

    /// Whether it reports descriptors without knowing that they are ready.
    pub(crate) fn guesses(&self) -> bool {
        self.trigger() == Trigger::Always
    }

    pub(crate) fn register(&mut self, fd: &impl AsFd, interest: Interest, token: u64) {
        self.selector.register(fd.as_fd(), interest, Token(token)).expect("register");
    }

    /// Returns the events that are reported at once.
    pub(crate) fn look(&mut self) -> Vec<Event> {
        self.selector.wait(&mut self.events, Some(Instant::now())).expect("wait");
        self.events.iter().collect()
    }

    /// Waits until nothing is reported any more: the edges are used up.
    pub(crate) fn settle(&mut self) {
        let end = Instant::now() + PATIENCE;
        while !self.look().is_empty() {
            assert!(Instant::now() < end, "still reporting");
        }
    }

    /// Waits until an event of this token satisfies the condition, and returns it.
    pub(crate) fn until(&mut self, token: u64, wanted: impl Fn(&Event) -> bool) -> Event {
        let end = Instant::now() + PATIENCE;
        loop {
            self.selector.wait(&mut self.events, Some(end)).expect("wait");
            let of_token = |event: &Event| event.token() == Token(token);
            if let Some(event) = self.events.iter().find(|it| of_token(it) && wanted(it)) {
                return event;
            }
            assert!(Instant::now() < end, "it never came, last: {:?}", self.events);
        }
    }
}

impl Bench {
    /// Waits until anything is reported.
    pub(crate) fn until_any(&mut self) {
        let end = Instant::now() + PATIENCE;
        self.selector.wait(&mut self.events, Some(end)).expect("wait");
        assert!(!self.events.is_empty(), "it never came");
    }
}

/// A pair of connected TCP sockets on loopback, non-blocking.
pub(crate) fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let ours = TcpStream::connect(listener.local_addr().expect("its address")).expect("connect");
    let (theirs, _) = listener.accept().expect("accept");
    ours.set_nonblocking(true).expect("non-blocking");
    theirs.set_nonblocking(true).expect("non-blocking");
    (ours, theirs)
}

/// A pair of Unix stream sockets, non-blocking.
pub(crate) fn unix_pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    ours.set_nonblocking(true).expect("non-blocking");
    theirs.set_nonblocking(true).expect("non-blocking");
    (ours, theirs)
}

/// Writes until nothing more fits, for several looks in a row: TCP moves bytes on meanwhile.
pub(crate) fn fill(stream: &mut impl Write) {
    let mut refusals = 0;
    while refusals < 200 {
        match stream.write(&[0; 65_536]) {
            Ok(len) => {
                assert!(len > 0);
                refusals = 0;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                refusals += 1;
                std::thread::yield_now();
            }
        }
    }
}

/// Reads all available bytes and returns their number.
pub(crate) fn drain(stream: &mut impl Read) -> io::Result<usize> {
    let mut buf = vec![0; 65_536];
    let mut total = 0;
    loop {
        match stream.read(&mut buf) {
            Ok(0) => return Ok(total),
            Ok(len) => total += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(total),
            Err(error) => return Err(error),
        }
    }
}

/// Sends one urgent byte.
pub(crate) fn send_urgent(fd: BorrowedFd<'_>) {
    use std::os::fd::AsRawFd;
    // SAFETY: required: one byte valid for reads. It is a static.
    let sent = unsafe { libc::send(fd.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
    assert_eq!(sent, 1);
}

/// The identity of this thread in the kernel.
pub(crate) fn thread_id() -> libc::pid_t {
    // SAFETY: required: nothing.
    unsafe { libc::gettid() }
}
