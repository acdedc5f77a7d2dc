//! Receiving and accepting: the operations that wait for a descriptor, and the buffers of `Fill`.
//!
//! - *In order.* The operations that wait to read from a descriptor are in its list; only the first
//!   has a request in the kernel. So a report costs the same however many wait, and they are served
//!   first come first served. A listener's report serves as many as there are connections.
//! - *Only for a waiting reader.* `Fill` is one request for the one piece that its reader gets. A
//!   request that receives again and again, ahead of its reader, was tried: then bytes lie with the
//!   worker that a duplicate, an extracted descriptor or another process expects in the socket. It
//!   saved nothing that could be measured (1,000 connections × 64 B: 11.5 against 11.6 µs of
//!   processor time a request, medians of 7 interleaved runs).
//! - *Large pieces* twice in a row: copying them through many cold buffers costs more than polling
//!   and receiving into one hot buffer (mode Poll); back after many small ones.
//! - *No buffers left*: the same, until there are some.
#![expect(unsafe_code, reason = "requests and answers go through the pointers of operations")]

use std::ptr::NonNull;

use fiveways_sys::errno;
use fiveways_sys::net::{self, Answer, DONT_WAIT};
use fiveways_sys::uring::{Completion, Entry};

use super::buffers::GROUP;
use super::slots::{Mode, Tag};
use super::{QUEUED, Uring};
use crate::loan::Loan;
use crate::op::{Op, Outcome, Pending, Source};
use crate::{Ready, Submitted};

/// Bytes at once that count as a large piece.
const LARGE: usize = 16 * 1024;

/// Large pieces in a row after which a socket is polled.
const LARGE_PIECES: u16 = 2;

/// Small pieces in a row after which a polled socket goes back to provided buffers.
const SMALL_PIECES: u16 = 32;

/// Returns `true` if such an operation is in the list of its descriptor while it waits.
///
/// With flags (the urgent byte, the error queue) it waits for something other than the rest.
#[inline]
pub(super) fn is_queued(op: &Op) -> bool {
    match *op {
        Op::Recv { flags, .. } | Op::RecvMsg { flags, .. } => flags == 0,
        Op::Fill { .. } | Op::Accept { .. } | Op::Readable { .. } => true,
        Op::Send { .. } | Op::SendMsg { .. } | Op::Connect { .. } | Op::Writable { .. } => false,
    }
}

impl Uring {
    /// Serves an operation: at once if it is likely to succeed, else in its turn.
    #[inline]
    pub(super) fn read(&mut self, pending: NonNull<Pending>, op: &Op) -> Submitted {
        let slot = self.slots.claim(op.source());
        let first = slot.readers.is_empty();
        if first && let Some(answer) = self.attempt(op) {
            return Submitted::Done(answer);
        }
        let slot = self.slots.claim(op.source());
        // SAFETY: required: valid and in place until it has left, in no other list. By the contract
        // of `submit`, for it is handed back only when it has left.
        unsafe { slot.readers.push(pending) };
        // SAFETY: required: valid. As above.
        let waiter = unsafe { pending.as_ref() };
        waiter.outcome.set(Outcome::Waiting);
        waiter.request.set(QUEUED);
        self.waiting += 1;
        if first {
            self.start(pending);
        }
        Submitted::Waiting
    }

    /// Tries an operation that will most likely not have to wait. Returns `None` if the kernel is
    /// to be asked.
    #[inline]
    fn attempt(&mut self, op: &Op) -> Option<Answer> {
        match *op {
            Op::Recv { source, buf, len, .. } => {
                let slot = self.slots.claim(source);
                // A socket with bytes left from the last receive will hardly make us wait.
                if !std::mem::replace(&mut slot.left_some, false) {
                    return None;
                }
                // SAFETY: required: `buf` valid for `len` bytes. By the contract of `submit`.
                let answer = unsafe { net::recv(source.fd, buf, len, DONT_WAIT) };
                slot.left_some = answer > 0 && answer as usize == len;
                (!net::is_would_block(answer)).then_some(answer)
            }
            Op::Fill { source, loan } => self.fill_hot(source, loan),
            Op::Accept { source, peer } => {
                // SAFETY: required: `peer` valid for writes. By the contract of `submit`.
                let answer = unsafe { net::accept(source.fd, peer) };
                (!net::is_would_block(answer)).then_some(answer)
            }
            _ => None,
        }
    }

    /// Receives into the hot buffer if the socket is in mode Poll and an attempt may succeed.
    #[inline]
    fn fill_hot(&mut self, source: Source, loan: *mut Option<Loan>) -> Option<Answer> {
        let slot = self.slots.claim(source);
        if slot.mode != Mode::Poll || !slot.maybe_ready {
            return None;
        }
        let buffer = self.hot.writable();
        let (buf, len) = (buffer.as_mut_ptr(), buffer.len());
        // SAFETY: required: valid for `len` bytes. They come from one slice.
        let answer = unsafe { net::recv(source.fd, buf, len, DONT_WAIT) };
        slot.maybe_ready = answer > 0 && answer as usize == len;
        if net::is_would_block(answer) {
            return None;
        }
        if let Ok(count @ 1..) = usize::try_from(answer) {
            let lent = self.hot.lend(count);
            // SAFETY: required: valid for writes. By the contract of `submit`.
            unsafe { *loan = Some(lent) };
            slot.streak = if count >= LARGE { 0 } else { slot.streak + 1 };
            if slot.streak >= SMALL_PIECES {
                slot.streak = 0;
                if self.buffers.is_plenty() {
                    slot.mode = Mode::Ring;
                }
            }
        }
        Some(answer)
    }

    /// Gives the kernel the request of the first operation in a list.
    #[inline]
    fn start(&mut self, pending: NonNull<Pending>) {
        // SAFETY: required: valid. It waits, so its waiter keeps it in place.
        let op = unsafe { pending.as_ref() }.op;
        let source = op.source();
        let slot = self.slots.claim(source);
        let dry = !std::mem::replace(&mut slot.left_some, false);
        let (entry, tag) = match op {
            Op::Recv { buf, len, .. } => {
                (Entry::recv(source.fd, buf, len, 0, dry), Tag::Once(pending))
            }
            Op::RecvMsg { header, .. } => {
                (Entry::recvmsg(source.fd, header, 0), Tag::Once(pending))
            }
            Op::Fill { .. } if slot.mode == Mode::Ring => {
                (Entry::recv_picked(source.fd, GROUP, dry), Tag::Once(pending))
            }
            _ => (Entry::poll(source.fd, false), Tag::Poll(pending)),
        };
        self.push(pending, entry, tag);
    }

    /// Removes an operation from its list; starts the next if its own request was in the kernel.
    #[inline]
    pub(super) fn leave_queue(&mut self, pending: NonNull<Pending>, source: Source) {
        let slot = self.slots.claim(source);
        let was_first = slot.readers.first() == Some(pending);
        // SAFETY: required: in this list. An operation of this direction that waits is.
        unsafe { slot.readers.remove(pending) };
        self.waiting -= 1;
        if was_first && let Some(next) = slot.readers.first() {
            self.start(next);
        }
    }

    /// Returns the answer of a completed receive into a picked buffer; `None` if it is to be
    /// retried.
    #[inline]
    pub(super) fn filled(
        &mut self,
        source: Source,
        loan: *mut Option<Loan>,
        completion: Completion,
    ) -> Option<Answer> {
        let (answer, slot) = (completion.result, self.slots.claim(source));
        slot.left_some = completion.left_some();
        let Some(id) = completion.buffer() else {
            if answer == -errno::ENOBUFS {
                self.exhausted += 1;
                self.buffers.note_exhausted();
                if self.buffers.available() == 0 {
                    slot.poll_from_now_on();
                }
                return None;
            }
            return Some(answer);
        };
        self.buffers.arrived();
        let Ok(count @ 1..) = usize::try_from(answer) else {
            self.buffers.recycle(id);
            return Some(answer);
        };
        let lent = self.buffers.lend(id, count);
        // SAFETY: required: valid for writes. By the contract of `submit`.
        unsafe { *loan = Some(lent) };
        slot.streak = if count >= LARGE { slot.streak + 1 } else { 0 };
        if slot.streak >= LARGE_PIECES {
            slot.poll_from_now_on();
        }
        Some(answer)
    }

    /// Gives the waiting operations of a listener the present connections, in order; the other
    /// connections are left for later accepts.
    pub(super) fn serve_acceptors(&mut self, source: Source, ready: &mut Ready) {
        loop {
            let slot = self.slots.claim(source);
            let Some(op @ Op::Accept { .. }) = slot.readers.first_op() else { break };
            let Some(answer) = self.attempt(&op) else { break };
            let slot = self.slots.claim(source);
            let Some(served) = slot.readers.pop() else { break };
            self.waiting -= 1;
            // SAFETY: required: valid. It waited, so its waiter keeps it in place.
            unsafe { served.as_ref() }.outcome.set(Outcome::Done(answer));
            ready.push(served);
        }
        if let Some(first) = self.slots.claim(source).readers.first() {
            self.start(first);
        }
    }
}
