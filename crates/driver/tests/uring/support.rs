//! A driver with its loop, and sockets for it.
#![expect(unsafe_code, reason = "operations are submitted by hand")]

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr::{self, NonNull};
use std::time::{Duration, Instant};

use fiveways_driver::{
    Driver, Loan, Op, Options, Outcome, Pending, Ready, Source, Submitted, Uring,
};
use fiveways_sys::net::Address;

/// `-ECANCELED`, the answer of a cancelled operation.
pub(crate) const CANCELED: i32 = -125;

/// Longer than anything here takes; a test that waits that long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A driver with its loop.
pub(crate) struct Rig {
    pub(crate) driver: Uring,
    ready: Ready,
    generation: u64,
}

impl Rig {
    pub(crate) fn new() -> Rig {
        Rig::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Rig {
        let mut options = Options::default();
        change(&mut options);
        let driver = Uring::open(&options.uring).expect("io_uring works here");
        Rig { driver, ready: Ready::new(), generation: 0 }
    }

    /// Names a descriptor as a new socket.
    pub(crate) fn source(&mut self, fd: RawFd) -> Source {
        self.generation += 1;
        Source { fd, generation: self.generation }
    }

    /// Submits and returns whether it waits. The operation must not move before it is finished.
    pub(crate) fn submit(&mut self, pending: &Pending) -> Option<i32> {
        // SAFETY: required: in place until finished. By this function's contract: tests keep it.
        match unsafe { self.driver.submit(NonNull::from(pending)) } {
            Submitted::Done(answer) => {
                assert_eq!(pending.outcome.get(), Outcome::Idle, "after {:?}", pending.op);
                Some(answer)
            }
            Submitted::Waiting => {
                assert_eq!(pending.outcome.get(), Outcome::Waiting);
                None
            }
        }
    }

    /// One turn that does not sleep; returns how many operations came back.
    pub(crate) fn look(&mut self) -> usize {
        self.turn(Some(Instant::now()))
    }

    pub(crate) fn turn(&mut self, deadline: Option<Instant>) -> usize {
        self.ready.clear();
        self.driver.turn(deadline, &mut self.ready).expect("a turn");
        self.ready.len()
    }

    /// Turns until the operation is finished.
    pub(crate) fn finish(&mut self, pending: &Pending) -> i32 {
        let end = Instant::now() + PATIENCE;
        loop {
            match pending.outcome.get() {
                Outcome::Done(answer) => return answer,
                Outcome::Retry | Outcome::Idle => {
                    if let Some(answer) = self.submit(pending) {
                        return answer;
                    }
                }
                Outcome::Waiting => {
                    assert!(Instant::now() < end, "{:?} never came back", pending.op);
                    self.turn(Some(end));
                }
            }
        }
    }

    /// Submits and turns until it is finished.
    pub(crate) fn run(&mut self, op: Op) -> i32 {
        let pending = Pending::new(op, ptr::null_mut());
        self.finish(&pending)
    }

    pub(crate) fn cancel(&mut self, pending: &Pending) {
        self.ready.clear();
        // SAFETY: required: waiting in this driver. Tests cancel only what waits.
        unsafe { self.driver.cancel(NonNull::from(pending), &mut self.ready) };
    }

    pub(crate) fn recv(&mut self, source: Source, buf: &mut [u8]) -> i32 {
        self.run(recv(source, buf, 0))
    }

    pub(crate) fn send(&mut self, source: Source, buf: &[u8]) -> i32 {
        self.run(send(source, buf))
    }

    /// Fills once: returns the loan, or the answer instead.
    pub(crate) fn fill(&mut self, source: Source) -> Result<Loan, i32> {
        let mut loan = None;
        let answer = self.run(Op::Fill { source, loan: &raw mut loan });
        match loan {
            Some(loan) => {
                assert_eq!(loan.len() as i32, answer);
                Ok(loan)
            }
            None => Err(answer),
        }
    }

    /// Fills until that many bytes have come.
    pub(crate) fn fill_exactly(&mut self, source: Source, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            bytes.extend_from_slice(self.fill(source).expect("more bytes").bytes());
        }
        assert_eq!(bytes.len(), count);
        bytes
    }

    pub(crate) fn close(&mut self, source: Source, fd: impl Into<OwnedFd>) {
        self.driver.close(source, fd.into());
    }

    /// Turns without sleeping until something holds.
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&Rig) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < end, "never: {what}");
            self.turn(Some(Instant::now() + Duration::from_millis(1)));
        }
    }
}

pub(crate) fn recv(source: Source, buf: &mut [u8], flags: u32) -> Op {
    Op::Recv { source, buf: buf.as_mut_ptr(), len: buf.len(), flags }
}

pub(crate) fn send(source: Source, buf: &[u8]) -> Op {
    Op::Send { source, buf: buf.as_ptr(), len: buf.len(), flags: 0 }
}

pub(crate) fn pending(op: Op) -> Box<Pending> {
    Box::new(Pending::new(op, ptr::null_mut()))
}

/// Two connected TCP sockets.
pub(crate) fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let addr = listener.local_addr().expect("its address");
    let ours = TcpStream::connect(addr).expect("a connection");
    let (theirs, _) = listener.accept().expect("its other end");
    ours.set_nodelay(true).expect("no delay");
    theirs.set_nodelay(true).expect("no delay");
    (ours, theirs)
}

/// Two connected Unix sockets.
pub(crate) fn unix() -> (UnixStream, UnixStream) {
    UnixStream::pair().expect("a pair")
}

/// A TCP connection with its name, and its peer.
pub(crate) fn connected(rig: &mut Rig) -> (TcpStream, Source, TcpStream) {
    let (ours, theirs) = tcp();
    let source = rig.source(ours.as_raw_fd());
    (ours, source, theirs)
}

/// Makes the peer's close a reset.
pub(crate) fn reset(peer: TcpStream) -> io::Result<()> {
    // Closing with unread bytes in the socket resets the connection.
    let mut byte = [0; 1];
    peer.peek(&mut byte)?;
    drop(peer);
    Ok(())
}

/// An accept that drops the peer's address.
pub(crate) fn accept(source: Source) -> Op {
    thread_local! {
        static NOWHERE: Cell<Option<Address>> = const { Cell::new(None) };
    }
    Op::Accept { source, peer: NOWHERE.with(Cell::as_ptr) }
}
