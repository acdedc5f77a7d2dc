//! The direction in which bytes of a connection last moved, for a server that closes idle
//! connections at a stop.
//!
//! ```text
//!   new ──receive──▶ in a request ──send──▶ idle, found so 0 times ──look──▶ … 1 time ──▶ …
//!                          ▲                       │                            │
//!                          └───────── receive ─────┴────────────────────────────┘
//! ```
//!
//! Every value for the connection records the bytes that it moves; the server reads the record, and
//! only once it stops. The kernel reports how many bytes have arrived: bytes that are still unread,
//! or that were read through the raw descriptor, keep a connection from being idle.
//!
//! Bytes lent by `BufRead` count as read when they are consumed. Bytes of the next request that
//! arrived together with the previous one count as received when a reader is given them after the
//! answer was sent.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use fiveways_driver::{Direction, Op};
use fiveways_sys::net::PEEK;

/// How many consecutive checks must find a connection idle before it counts as idle.
const LOOKS: u32 = 3;

/// As [`LOOKS`], while nothing was received: the first request may be on its way.
const LOOKS_NEW: u32 = 20;

/// Bytes were received, and none sent since.
const IN_REQUEST: u32 = u32::MAX;

/// The record of a connection's traffic.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// How often it was found idle since bytes were sent, or [`IN_REQUEST`].
    found_idle: AtomicU32,
    /// Bytes received; those of a loan count as they are consumed.
    received: AtomicU64,
}

impl Traffic {
    /// Records what an operation has moved.
    #[inline]
    pub(crate) fn note(&self, op: &Op, count: usize) {
        match op.direction() {
            Direction::Write => self.found_idle.store(0, Ordering::Relaxed),
            Direction::Read if is_peek(op) => {}
            Direction::Read => {
                self.note_given();
                if !matches!(op, Op::Fill { .. }) {
                    self.note_consumed(count);
                }
            }
        }
    }

    /// Records that a reader was given bytes.
    #[inline]
    pub(crate) fn note_given(&self) {
        self.found_idle.store(IN_REQUEST, Ordering::Relaxed);
    }

    /// Records that bytes were used that a reader was given before.
    #[inline]
    pub(crate) fn note_consumed(&self, count: usize) {
        // ORDERING: Release: pairs with the load in `becomes_idle`, which sees what `note_given`
        // stored before if it sees these bytes.
        self.received.fetch_add(count as u64, Ordering::Release);
    }

    /// Returns `true` if the connection is idle now and did not count as idle before. Called at
    /// each check. `arrived` returns how many bytes have arrived according to the kernel; `None` if
    /// that is unknown.
    pub(crate) fn becomes_idle(&self, arrived: impl FnOnce() -> Option<u64>) -> bool {
        let found = self.found_idle.load(Ordering::Relaxed);
        if found == IN_REQUEST {
            return false;
        }
        let Some(arrived) = arrived() else { return false };
        // ORDERING: Acquire: pairs with `note`: that these bytes were received is seen below.
        let received = self.received.load(Ordering::Acquire);
        if received < arrived {
            return false;
        }
        let next = (found + 1).min(IN_REQUEST - 1);
        let relaxed = Ordering::Relaxed;
        let stayed = self.found_idle.compare_exchange(found, next, relaxed, relaxed).is_ok();
        stayed && found + 1 == if received == 0 { LOOKS_NEW } else { LOOKS }
    }
}

fn is_peek(op: &Op) -> bool {
    match *op {
        Op::Recv { flags, .. } | Op::RecvMsg { flags, .. } => flags & PEEK != 0,
        Op::Send { .. }
        | Op::SendMsg { .. }
        | Op::Fill { .. }
        | Op::Accept { .. }
        | Op::Connect { .. }
        | Op::Readable { .. }
        | Op::Writable { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use fiveways_driver::Source;

    use super::*;

    const SOURCE: Source = Source { fd: 0, generation: 0 };

    fn receive(flags: u32) -> Op {
        Op::Recv { source: SOURCE, buf: ptr::null_mut(), len: 0, flags }
    }

    fn send() -> Op {
        Op::Send { source: SOURCE, buf: ptr::null(), len: 0, flags: 0 }
    }

    /// At which of a hundred checks the connection counts as idle.
    fn idle_at(traffic: &Traffic, arrived: u64) -> Vec<u32> {
        (1..=100).filter(|_| traffic.becomes_idle(|| Some(arrived))).collect()
    }

    #[test]
    fn a_connection_is_idle_once_after_an_answer() {
        let traffic = Traffic::default();
        traffic.note(&receive(0), 5);
        assert!(idle_at(&traffic, 5).is_empty(), "in a request");
        traffic.note(&send(), 5);
        assert_eq!(idle_at(&traffic, 5), [LOOKS]);
        traffic.note(&receive(0), 1);
        assert!(idle_at(&traffic, 6).is_empty(), "in the next");
    }

    #[test]
    fn a_connection_on_which_nothing_came_is_idle_later() {
        assert_eq!(idle_at(&Traffic::default(), 0), [LOOKS_NEW]);
    }

    #[test]
    fn lent_bytes_keep_a_connection_from_being_idle() {
        let traffic = Traffic::default();
        traffic.note(&Op::Fill { source: SOURCE, loan: ptr::null_mut() }, 8);
        traffic.note_consumed(5);
        traffic.note(&send(), 5);
        assert!(idle_at(&traffic, 8).is_empty(), "three bytes are lent and not used");
        traffic.note_given();
        traffic.note_consumed(3);
        assert!(idle_at(&traffic, 8).is_empty(), "in the next request");
        traffic.note(&send(), 5);
        assert_eq!(idle_at(&traffic, 8), [LOOKS]);
        traffic.note(&Op::Fill { source: SOURCE, loan: ptr::null_mut() }, 2);
        traffic.note(&send(), 5);
        traffic.note_consumed(2);
        assert_eq!(idle_at(&traffic, 10), [LOOKS], "answered before it was marked as used");
    }

    #[test]
    fn unread_bytes_keep_a_connection_from_being_idle() {
        let traffic = Traffic::default();
        assert!(idle_at(&traffic, 1).is_empty(), "nothing was read");
        traffic.note(&receive(0), 5);
        traffic.note(&send(), 5);
        traffic.note(&receive(PEEK), 3);
        assert!(idle_at(&traffic, 8).is_empty(), "a look is no read");
    }
}
