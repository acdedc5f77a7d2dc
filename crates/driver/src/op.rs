//! Operations as data, and the slot in which one waits.
//!
//! ```text
//!   task's stack frame                         driver
//!   ┌───────────────────────────┐   submit    ┌─────────────────────────────┐
//!   │ Pending                   │ ──────────▶ │ slot of the descriptor, or  │
//!   │   op       what to do     │             │ user_data of a ring entry   │
//!   │   context  who waits      │ ◀────────── │ (a bare pointer, no Rc)     │
//!   │   outcome  Idle→Waiting→… │  complete   └─────────────────────────────┘
//!   └───────────────────────────┘
//! ```
//!
//! States of `outcome`: `Idle` (not submitted, or its completion was taken) → `Waiting` (the driver
//! holds a pointer) → `Done` or `Retry` (the driver let go). Only the driver's thread moves them.
//! A `Pending` that is `Waiting` must stay where it is (I6): the frame that holds it does not
//! return and is not unwound before the driver let go.

use std::cell::Cell;
use std::os::fd::RawFd;
use std::ptr;

use fiveways_sys::message::Header;
use fiveways_sys::net::{Address, Answer};

use crate::loan::Loan;

/// A descriptor and the generation that tells it from earlier users of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The descriptor.
    pub fd: RawFd,
    /// Unique among the sockets of the process, and not 0: with 64 bits it never comes again.
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
    /// after it was handed back: what a socket's last reader has not been given is in the socket,
    /// for whoever reads it next by whatever value, descriptor or process.
    Fill { source: Source, loan: *mut Option<Loan> },
    /// accept4(2) on a non-blocking listener; answers a blocking, close-on-exec descriptor, and
    /// places the peer's address: a second call could not tell it of a peer that has reset already.
    Accept { source: Source, peer: *mut Option<Address> },
    /// connect(2) of a stream socket; answers 0.
    Connect { source: Source, address: *const Address },
    /// Waits until the descriptor is readable (or at its end, or in error); answers 0.
    Readable { source: Source },
    /// Waits until the descriptor is writable (or in error); answers 0.
    Writable { source: Source },
}

/// Which of a descriptor's two waiting lines an operation stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Recv, RecvMsg, Fill, Accept, Readable.
    Read,
    /// Send, SendMsg, Connect, Writable.
    Write,
}

impl Op {
    /// The descriptor the operation is about.
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

    /// Did the caller say `MSG_DONTWAIT`?
    #[inline]
    pub fn must_not_wait(&self) -> bool {
        match *self {
            Op::Recv { flags, .. }
            | Op::Send { flags, .. }
            | Op::RecvMsg { flags, .. }
            | Op::SendMsg { flags, .. } => flags & fiveways_sys::net::DONT_WAIT != 0,
            _ => false,
        }
    }

    /// The line it waits in.
    #[inline]
    pub fn direction(&self) -> Direction {
        match self {
            Op::Send { .. } | Op::SendMsg { .. } | Op::Connect { .. } | Op::Writable { .. } => {
                Direction::Write
            }
            _ => Direction::Read,
        }
    }
}

/// What has become of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not with the driver.
    Idle,
    /// With the driver, which holds a pointer to the slot.
    Waiting,
    /// Finished: a count, or a negated `errno`.
    Done(Answer),
    /// The driver believes it can go on now: submit it again.
    Retry,
}

/// The neighbours of an operation in a list of waiting ones; null at either end, and in no list.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) before: Cell<*mut Pending>,
    pub(crate) behind: Cell<*mut Pending>,
}

/// The slot in which one operation waits; lives in the frame of whoever waits.
#[derive(Debug)]
pub struct Pending {
    /// The operation.
    pub op: Op,
    /// Who waits: the runtime's own pointer, opaque to drivers.
    pub context: *mut (),
    /// Where it stands.
    pub outcome: Cell<Outcome>,
    /// Its neighbours among those that wait for the same descriptor.
    pub(crate) links: Links,
    /// The driver's own: under the ring, the tag of the request in the kernel.
    pub(crate) request: Cell<u64>,
}

impl Pending {
    /// Makes a slot for an operation.
    #[inline]
    pub fn new(op: Op, context: *mut ()) -> Pending {
        let outcome = Cell::new(Outcome::Idle);
        let nobody = || Cell::new(ptr::null_mut());
        let links = Links { before: nobody(), behind: nobody() };
        Pending { op, context, outcome, links, request: Cell::new(0) }
    }
}
