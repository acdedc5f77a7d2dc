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
use fiveways_sys::net::Answer;
use fiveways_sys::uring::Completion;

use super::slots::Mode;
use super::{HOT_BUFFER, QUEUED, Uring};
use crate::attempt::attempt_now;
use crate::loan::Loan;
use crate::op::{Op, Outcome, Pending, Source};
use crate::{Ready, Submitted};

/// Bytes at once that count as a large piece.
const LARGE: usize = 16 * 1024;

/// Large pieces in a row after which a socket is polled.
const LARGE_PIECES: u16 = 2;

/// Small pieces in a row after which a polled socket goes back to provided buffers.
const SMALL_PIECES: u16 = 32;

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

    /// Attempts an operation that is queued, if it will most likely not have to wait. Returns
    /// `None` if the kernel is to be asked.
    #[inline]
    fn attempt(&mut self, op: &Op) -> Option<Answer> {
        if !self.is_worth_a_try(op) {
            return None;
        }
        let answer = attempt_now(op, &mut self.hot);
        if let Some(room) = op.stream_room(HOT_BUFFER) {
            self.note_read(op, answer.unwrap_or(-errno::EAGAIN), room);
        }
        answer
    }

    /// Updates the slot after an attempt to read a stream: a full read may have left bytes.
    #[inline]
    fn note_read(&mut self, op: &Op, answer: Answer, room: usize) {
        let slot = self.slots.claim(op.source());
        let is_full = answer > 0 && answer as usize == room;
        let Op::Fill { .. } = op else {
            slot.left_some = is_full;
            return;
        };
        slot.maybe_ready = is_full;
        let Ok(count @ 1..) = usize::try_from(answer) else { return };
        slot.streak = if count >= LARGE { 0 } else { slot.streak + 1 };
        if slot.streak >= SMALL_PIECES {
            slot.streak = 0;
            if self.buffers.is_plenty() {
                slot.mode = Mode::Ring;
            }
        }
    }

    /// Gives the kernel the request of the first operation in a list.
    #[inline]
    fn start(&mut self, pending: NonNull<Pending>) {
        // SAFETY: required: valid. It waits, so its waiter keeps it in place.
        let op = unsafe { pending.as_ref() }.op;
        let slot = self.slots.claim(op.source());
        let dry = !std::mem::replace(&mut slot.left_some, false);
        let (entry, tag) = self.request(pending, &op, dry);
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
