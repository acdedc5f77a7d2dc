//! Operations as data, and the slot in which one waits.
//!
//! ```text
//!   task's stack frame                         driver
//!   ┌───────────────────────────┐   submit    ┌─────────────────────────────┐
//!   │ Pending                   │ ──────────▶ │ slot of the descriptor, or  │
//!   │   op       what to do     │             │ user_data of a ring entry   │
//!   │   context  the waiter     │ ◀────────── │ (a bare pointer, no Rc)     │
//!   │   outcome  Idle→Waiting→… │  complete   └─────────────────────────────┘
//!   └───────────────────────────┘
//! ```
//!
//! States of `outcome`: `Idle` (not submitted, or its completion was taken) → `Waiting` (the driver
//! holds a pointer) → `Done` or `Retry` (the driver has released it). Only the driver's thread
//! moves them. A `Pending` that is `Waiting` must stay where it is (I6): the frame that holds it
//! does not return and is not unwound before the driver has released it.
//!
//! Receives on a stream, under every driver:
//!
//! - *Order.* Receives without flags, `Fill`, `Accept` and `Readable` on one descriptor wait in one
//!   list and are served first come first served; under the ring the kernel has the request of the
//!   first alone. A receive with flags (to peek, the urgent byte, the error queue) waits outside of
//!   the list, in no order with it. An operation that takes a stream's next bytes must wait in the
//!   list, or a request that is in the kernel already takes them before it.
//! - *Nothing ahead.* A request is in the kernel only while its operation waits. Between two
//!   operations all bytes are in the socket, for any other reader of it.
//! - *Control data* goes to `RecvMsg` alone. `Recv` and `Fill` do not read past it, as recv(2), and
//!   descriptors that come with their bytes are closed.

use std::cell::Cell;
use std::os::fd::RawFd;
use std::ptr;

use fiveways_sys::net::message::Header;
use fiveways_sys::net::{Address, Answer};

use crate::loan::Loan;

/// A descriptor and the generation that distinguishes it from earlier users of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The descriptor.
    pub fd: RawFd,
    /// Unique among the sockets of the process, and not 0: with 64 bits it is never used again.
    pub generation: u64,
}

/// One requested operation, as data.
///
/// Pointers must be valid from submission to completion; see [`crate::Driver::submit`].
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the fields are the system call's own")]
pub enum Op {
    /// recv(2) with flags into `len` bytes at `buf`; answers a count, 0 at the end of the stream.
    Recv { source: Source, buf: *mut u8, len: usize, flags: u32 },
    /// send(2) with flags from `len` bytes at `buf`; answers a count that may be short.
    Send { source: Source, buf: *const u8, len: usize, flags: u32 },
    /// recvmsg(2) with flags.
    RecvMsg { source: Source, header: *mut Header, flags: u32 },
    /// sendmsg(2) with flags.
    SendMsg { source: Source, header: *const Header, flags: u32 },
    /// Receives into a buffer that the driver chooses and lends; answers the loan's length, 0 at
    /// the end of the stream (then there is no loan). Nothing is received before it is submitted or
    /// after it was handed back: bytes that the socket's last reader was not given are in the
    /// socket, for its next reader, through whatever value, descriptor or process.
    Fill { source: Source, loan: *mut Option<Loan> },
    /// accept4(2) on a non-blocking listener; answers a blocking, close-on-exec descriptor, and
    /// stores the peer's address: a second call could not return it for a peer that has reset
    /// already.
    Accept { source: Source, peer: *mut Option<Address> },
    /// connect(2) of a stream socket; answers 0.
    Connect { source: Source, address: *const Address },
    /// Waits until the descriptor is readable (or at its end, or in error); answers 0.
    Readable { source: Source },
    /// Waits until the descriptor is writable (or in error); answers 0.
    Writable { source: Source },
}

/// The direction in which an operation waits for its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Recv, RecvMsg, Fill, Accept, Readable.
    Read,
    /// Send, SendMsg, Connect, Writable.
    Write,
}

impl Op {
    /// Returns the descriptor of the operation.
    #[inline]
    pub fn source(&self) -> Source {
        match *self {
            Op::Recv { source, .. }
            | Op::Send { source, .. }
            | Op::RecvMsg { source, .. }
            | Op::SendMsg { source, .. }
            | Op::Fill { source, .. }
            | Op::Accept { source, .. }
            | Op::Connect { source, .. }
            | Op::Readable { source }
            | Op::Writable { source } => source,
        }
    }

    /// Returns `true` if the caller has set `MSG_DONTWAIT`.
    #[inline]
    pub fn must_not_wait(&self) -> bool {
        match *self {
            Op::Recv { flags, .. }
            | Op::Send { flags, .. }
            | Op::RecvMsg { flags, .. }
            | Op::SendMsg { flags, .. } => flags & fiveways_sys::net::DONT_WAIT != 0,
            Op::Fill { .. }
            | Op::Accept { .. }
            | Op::Connect { .. }
            | Op::Readable { .. }
            | Op::Writable { .. } => false,
        }
    }

    /// Returns the direction in which it waits.
    #[inline]
    pub fn direction(&self) -> Direction {
        match self {
            Op::Send { .. } | Op::SendMsg { .. } | Op::Connect { .. } | Op::Writable { .. } => {
                Direction::Write
            }
            Op::Recv { .. }
            | Op::RecvMsg { .. }
            | Op::Fill { .. }
            | Op::Accept { .. }
            | Op::Readable { .. } => Direction::Read,
        }
    }

    /// The bytes that the operation has room for, if it reads a stream's next bytes: a shorter read
    /// has taken all that was there. `fill`: the room of the buffer that [`Op::Fill`] receives
    /// into.
    #[inline]
    pub(crate) fn stream_room(&self, fill: usize) -> Option<usize> {
        match *self {
            Op::Recv { len, flags: 0, .. } => Some(len),
            Op::Fill { .. } => Some(fill),
            Op::Recv { .. }
            | Op::Send { .. }
            | Op::RecvMsg { .. }
            | Op::SendMsg { .. }
            | Op::Accept { .. }
            | Op::Connect { .. }
            | Op::Readable { .. }
            | Op::Writable { .. } => None,
        }
    }
}

/// The state of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not with the driver.
    Idle,
    /// With the driver, which holds a pointer to the slot.
    Waiting,
    /// Finished: a count, or a negated `errno`.
    Done(Answer),
    /// The driver expects that it succeeds now: submit it again.
    Retry,
}

/// The neighbours of an operation in a list of waiting ones; null at either end, and outside lists.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) before: Cell<*mut Pending>,
    pub(crate) behind: Cell<*mut Pending>,
}

/// The slot in which one operation waits; lives in the frame of its waiter.
#[derive(Debug)]
pub struct Pending {
    /// The operation.
    pub op: Op,
    /// The waiter: a pointer of the runtime, opaque to drivers.
    pub context: *mut (),
    /// Its state.
    pub outcome: Cell<Outcome>,
    /// Its neighbours in the list of operations that wait for the same descriptor.
    pub(crate) links: Links,
    /// For the driver: under the ring, the tag of the request in the kernel.
    pub(crate) request: Cell<u64>,
}

impl Pending {
    /// Creates a slot for an operation.
    #[inline]
    pub fn new(op: Op, context: *mut ()) -> Pending {
        let outcome = Cell::new(Outcome::Idle);
        let nobody = || Cell::new(ptr::null_mut());
        let links = Links { before: nobody(), behind: nobody() };
        Pending { op, context, outcome, links, request: Cell::new(0) }
    }
}
