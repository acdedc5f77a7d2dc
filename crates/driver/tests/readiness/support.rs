//! A driver with its loop, and sockets for it.
#![expect(unsafe_code, reason = "operations are submitted by hand")]

use std::cell::Cell;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr::{self, NonNull};
use std::time::{Duration, Instant};

use fiveways_driver::{
    Driver, Loan, Model, Op, Outcome, Pending, Readiness, Ready, Source, Submitted,
};
use fiveways_selector::{Kind, Selector};
use fiveways_sys::net::Address;

/// `-ECANCELED`, the answer of a cancelled operation.
pub(crate) const CANCELED: i32 = -125;

/// `-EAGAIN`, the answer of an operation that must not wait and would have to.
pub(crate) const AGAIN: i32 = -11;

/// Longer than anything here takes; a test that waits that long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Selectors under test: every kind but the signal one, whose reports differ.
const KINDS: [(Model, Kind); 5] = [
    (Model::Nonblocking, Kind::Nonblocking),
    (Model::Select, Kind::Select),
    (Model::Poll, Kind::Poll),
    (Model::Epoll, Kind::Epoll),
    (Model::EpollEt, Kind::EpollEt),
];

/// A driver with its loop.
pub(crate) struct Rig {
    pub(crate) driver: Readiness<Box<dyn Selector>>,
    pub(crate) model: Model,
    ready: Ready,
    generation: u64,
}

/// Runs a test on each selector.
pub(crate) fn on_each(claim: impl Fn(&mut Rig)) {
    for (model, kind) in KINDS {
        eprintln!("on {model}");
        claim(&mut Rig::new(model, kind));
    }
}

impl Rig {
    fn new(model: Model, kind: Kind) -> Rig {
        let driver = Readiness::new(model, kind.open().expect("a selector"));
        Rig { driver, model, ready: Ready::new(), generation: 0 }
    }

    /// Whether it reports descriptors without knowing that they are ready.
    pub(crate) fn guesses(&self) -> bool {
        self.model == Model::Nonblocking
    }

    /// Names a descriptor as a new socket.
    pub(crate) fn source(&mut self, fd: &impl AsRawFd) -> Source {
        self.name(fd.as_raw_fd())
    }

    /// Lets so many sockets have been.
    pub(crate) fn skip(&mut self, count: u64) {
        self.generation += count;
    }

    pub(crate) fn name(&mut self, fd: RawFd) -> Source {
        self.generation += 1;
        Source { fd, generation: self.generation }
    }

    /// Submits; returns the answer if it is finished. The operation must not move before that.
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

    /// Submits what must wait.
    pub(crate) fn wait(&mut self, pending: &Pending) {
        assert_eq!(self.submit(pending), None, "{:?} does not wait", pending.op);
    }

    /// One turn until the deadline; returns the operations that came back.
    pub(crate) fn turn(&mut self, deadline: Option<Instant>) -> Vec<NonNull<Pending>> {
        self.ready.clear();
        self.driver.turn(deadline, &mut self.ready).expect("a turn");
        self.ready.clone()
    }

    /// One turn that does not sleep; returns how many operations came back.
    pub(crate) fn look(&mut self) -> usize {
        self.turn(Some(Instant::now())).len()
    }

    /// Turns until the operation is finished, submitting it again whenever it is to be retried.
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
        let pending = pending(op);
        self.finish(&pending)
    }

    pub(crate) fn cancel(&mut self, pending: &Pending) -> Vec<NonNull<Pending>> {
        self.ready.clear();
        // SAFETY: required: waiting in this driver. Tests cancel only what waits.
        unsafe { self.driver.cancel(NonNull::from(pending), &mut self.ready) };
        self.ready.clone()
    }

    pub(crate) fn fill(&mut self, source: Source) -> Option<Loan> {
        let mut loan = None;
        let answer = self.run(Op::Fill { source, loan: &raw mut loan });
        assert_eq!(loan.as_ref().map_or(0, Loan::len) as i32, answer);
        loan
    }

    /// Turns for a while without work; returns the number of turns.
    pub(crate) fn idle_turns(&mut self, time: Duration) -> u64 {
        let before = self.driver.counters().turns;
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn(Some(end));
        }
        self.driver.counters().turns - before
    }
}

pub(crate) fn pending(op: Op) -> Pending {
    Pending::new(op, ptr::null_mut())
}

pub(crate) fn recv(source: Source, buf: &mut [u8], flags: u32) -> Op {
    Op::Recv { source, buf: buf.as_mut_ptr(), len: buf.len(), flags }
}

pub(crate) fn send(source: Source, buf: &[u8], flags: u32) -> Op {
    Op::Send { source, buf: buf.as_ptr(), len: buf.len(), flags }
}

/// A connection over loopback.
pub(crate) fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let far = TcpStream::connect(listener.local_addr().expect("an address")).expect("a backlog");
    (listener.accept().expect("it is there").0, far)
}

/// Reads all available bytes, outside of the driver; returns their number.
pub(crate) fn drain(far: &UnixStream) -> usize {
    let mut far = far;
    far.set_nonblocking(true).expect("a socket");
    let mut sink = vec![0; 1 << 16];
    let mut count = 0;
    while let Ok(more) = far.read(&mut sink) {
        count += more;
    }
    far.set_nonblocking(false).expect("a socket");
    count
}

/// An accept that drops the peer's address.
pub(crate) fn accept(source: Source) -> Op {
    thread_local! {
        static NOWHERE: Cell<Option<Address>> = const { Cell::new(None) };
    }
    Op::Accept { source, peer: NOWHERE.with(Cell::as_ptr) }
}
