//! The state that a readiness driver keeps of a descriptor; one slot for each number.
//!
//! ```text
//!   generation   the socket of the slot; another generation means a new socket: start afresh
//!   watched      the interest the selector knows; empty: not registered
//!   maybe_ready  per direction: an attempt may succeed (unknown counts as true)
//!   hung_up      hang-up or error seen: a short read proves nothing any more
//!   short_read_is_empty   a short read proves the socket empty
//!   woken        per direction: an operation was handed back and has not been retried yet
//!   waiting      per direction: the waiting operations, first come first served
//! ```

use fiveways_selector::{Interest, Token};

use crate::op::{Direction, Source};
use crate::pending_list::PendingList;

/// The directions, as indices.
pub(crate) const READ: usize = 0;
pub(crate) const WRITE: usize = 1;

/// The state; the fields are listed above.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) waiting: [PendingList; 2],
    pub(crate) generation: u64,
    pub(crate) watched: Interest,
    pub(crate) maybe_ready: [bool; 2],
    /// Per direction: handed back, and not yet retried.
    pub(crate) woken: [bool; 2],
    pub(crate) hung_up: bool,
    pub(crate) short_read_is_empty: bool,
}

impl Slot {
    pub(crate) fn new(generation: u64) -> Slot {
        Slot {
            waiting: [PendingList::EMPTY; 2],
            generation,
            watched: Interest::NONE,
            maybe_ready: [true; 2],
            woken: [false; 2],
            hung_up: false,
            short_read_is_empty: true,
        }
    }

    pub(crate) fn has_waiters(&self) -> bool {
        !self.waiting[READ].is_empty() || !self.waiting[WRITE].is_empty()
    }
}

pub(crate) fn index(direction: Direction) -> usize {
    match direction {
        Direction::Read => READ,
        Direction::Write => WRITE,
    }
}

pub(crate) fn interest(direction: usize) -> Interest {
    if direction == READ { Interest::READABLE } else { Interest::WRITABLE }
}

/// Names a socket to the selector: its descriptor, and the lower half of its generation.
///
/// A report for an earlier socket of this number is taken for this one's if there have been 2³²
/// sockets, or a multiple of it, in between. That causes a spurious wake-up, after which the waiter
/// tries again. The marks and the waiting operations of a socket go by the whole generation.
pub(crate) fn token(source: Source) -> Token {
    Token(source.generation << 32 | source.fd as u64)
}

/// Returns `true` if a report with this token can be about a socket of this generation.
#[inline]
pub(crate) fn names(token: Token, generation: u64) -> bool {
    (token.0 >> 32) as u32 == generation as u32
}
