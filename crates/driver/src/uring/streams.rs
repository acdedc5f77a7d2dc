//! Streams that are received ahead of their readers.
//!
//! `Fill` is the fast path. Its first use on a socket arms one request that receives again and
//! again into buffers which the kernel picks when bytes have arrived (mode Ring). A piece goes to
//! who waits, else it stays in the socket's queue. From then on every reader of that socket is
//! served here, or bytes would overtake each other.
//!
//! What makes a socket leave this path, and come back:
//!
//! - *large pieces* twice in a row: copying them through many cold buffers costs more than asking
//!   for readability and receiving into one hot buffer (mode Poll); back after many small ones.
//! - *no buffers left*: the same, until there are some.
//! - *nobody reads* while [`AHEAD`] pieces wait: the request is ended, so that the socket's own
//!   limit holds the peer back and nobody hoards buffers (D09); armed again when all was read.
//!
//! Invariants: a line is only waited in while there is no news for its head; a socket in mode Poll
//! watches once at a time, and watching looks at the present state first, so `wet` is a hint only.
#![expect(unsafe_code, reason = "operations are reached by pointers that their waiters keep valid")]

use std::ptr::NonNull;

use fiveways_sys::errno;
use fiveways_sys::net::{self, Answer, DONT_WAIT, OUT_OF_BAND, PEEK};
use fiveways_sys::uring::{Completion, Entry};

use super::buffers::{Buffers, GROUP};
use super::copy;
use super::news;
use super::queue::Queue;
use super::slots::{Mode, OPEN, Part, Slot, Slots, Tag};
use crate::Ready;
use crate::loan::{HotBuffers, Loan};
use crate::op::{Op, Outcome, Pending, Source};

/// Pieces that may wait for a reader before the kernel is asked to stop.
const AHEAD: u16 = 4;

/// Bytes at once that count as a large piece.
const LARGE: u32 = 16 * 1024;

/// Large pieces in a row after which a socket is polled.
const LARGE_PIECES: u16 = 2;

/// Small pieces in a row after which a polled socket goes back to provided buffers.
const SMALL_PIECES: u16 = 32;

/// Bytes received at once in mode Poll: more than a large message, so that a message received
/// whole is a short read and proves the socket empty.
const HOT_BUFFER: usize = 128 * 1024;

/// What became of a reader's operation.
pub(super) enum Taken {
    /// Finished.
    Done(Answer),
    /// It stands in the socket's line.
    InLine,
    /// Nothing of this socket is here: the kernel is to be asked.
    AskKernel,
    /// The kernel may hold bytes for it that only a look brings here.
    Look,
}

/// The slots, and the buffers they draw on.
pub(super) struct Streams {
    pub(super) slots: Slots,
    pub(super) buffers: Buffers,
    hot: HotBuffers,
    /// Sockets whose receiving request is in the kernel.
    armed: usize,
    /// Operations that stand in a line.
    in_line: usize,
    pub(super) registrations: u64,
    exhausted: u64,
}

impl Streams {
    pub(super) fn new(buffers: Buffers) -> Streams {
        Streams {
            slots: Slots::default(),
            buffers,
            hot: HotBuffers::new(HOT_BUFFER),
            armed: 0,
            in_line: 0,
            registrations: 0,
            exhausted: 0,
        }
    }

    /// Sockets whose receiving request is in the kernel.
    #[inline]
    pub(super) fn armed(&self) -> usize {
        self.armed
    }

    /// Operations that stand in a line.
    pub(super) fn in_line(&self) -> usize {
        self.in_line
    }

    /// The sockets that are open and ahead of their readers.
    pub(super) fn ahead(&self) -> Vec<Source> {
        self.slots.ahead()
    }

    /// Requests armed and cancelled, and times without buffers.
    pub(super) fn counters(&self) -> (u64, u64) {
        (self.registrations, self.exhausted)
    }

    /// Gives the kernel buffers; to be called once a turn, before it is entered.
    #[inline]
    pub(super) fn supply(&mut self) {
        self.buffers.adapt();
        self.buffers.supply();
    }

    /// The slot of a socket, made this generation's.
    #[inline]
    pub(super) fn claim(&mut self, queue: &mut Queue, source: Source) -> &mut Slot {
        if self.slots.at(source.fd).generation != source.generation {
            self.renew(queue, source);
        }
        self.slots.at(source.fd)
    }

    /// Serves `Fill`.
    #[inline]
    pub(super) fn fill(
        &mut self,
        queue: &mut Queue,
        source: Source,
        pending: NonNull<Pending>,
        loan: *mut Option<Loan>,
    ) -> Taken {
        let slot = self.claim(queue, source);
        if slot.has_news() {
            if let Some(answer) = self.fill_from_news(source, loan) {
                return Taken::Done(answer);
            }
        } else if slot.receive == Part::Off {
            match slot.mode {
                Mode::Ring => self.arm_receive(queue, source),
                Mode::Poll => {
                    if let Some(answer) = self.fill_by_poll(queue, source, loan) {
                        return Taken::Done(answer);
                    }
                }
            }
        }
        self.stand_in_line(source, pending);
        Taken::InLine
    }

    /// Serves `Recv`, `RecvMsg` and `Readable` of a stream that is received ahead.
    #[inline]
    pub(super) fn read(
        &mut self,
        queue: &mut Queue,
        pending: NonNull<Pending>,
        flags: u32,
    ) -> Taken {
        // SAFETY: required: valid. By the contract of `submit`.
        let op = &unsafe { pending.as_ref() }.op;
        let source = op.source();
        let slot = self.claim(queue, source);
        // The urgent byte is not part of the stream.
        if !slot.is_ahead() || flags & OUT_OF_BAND != 0 {
            return Taken::AskKernel;
        }
        if let Some(answer) = self.serve(source, op) {
            return Taken::Done(answer);
        }
        if flags & DONT_WAIT != 0 {
            return Taken::Look;
        }
        self.stand_in_line(source, pending);
        Taken::InLine
    }

    /// Answers a reader's operation out of what has arrived, if anything has.
    fn serve(&mut self, source: Source, op: &Op) -> Option<Answer> {
        match *op {
            Op::Fill { loan, .. } => self.fill_from_news(source, loan),
            Op::Readable { .. } => self.slots.at(source.fd).has_news().then_some(0),
            Op::Recv { buf, len, flags, .. } => self.copy_from_news(source, flags, |bytes, at| {
                // SAFETY: required: `buf` valid for `len` bytes. By the contract of `submit`.
                unsafe { copy::into_buf(bytes, buf, len, at) }
            }),
            Op::RecvMsg { header, flags, .. } => {
                let answer = self.copy_from_news(source, flags, |bytes, at| {
                    // SAFETY: required: a prepared header in place. By the contract of `submit`.
                    unsafe { copy::into_message(bytes, header, at) }
                })?;
                // SAFETY: required: a prepared header in place. By the contract of `submit`.
                unsafe { copy::clear_extras(header) };
                Some(answer)
            }
            Op::Detach { bytes, .. } => {
                let slot = self.slots.at(source.fd);
                (!slot.is_held()).then(|| self.finish_detach(source, bytes))
            }
            _ => None,
        }
    }

    /// Lends the first piece that was received ahead.
    #[inline]
    fn fill_from_news(&mut self, source: Source, loan: *mut Option<Loan>) -> Option<Answer> {
        let slot = self.slots.at(source.fd);
        let Some(lent) = news::lend(slot, &self.buffers) else {
            return news::verdict(slot, false);
        };
        let answer = lent.len() as Answer;
        // SAFETY: required: valid for writes. By the contract of `submit`.
        unsafe { *loan = Some(lent) };
        Some(answer)
    }

    /// Copies what was received ahead; see [`news::copy_out`].
    fn copy_from_news(
        &mut self,
        source: Source,
        flags: u32,
        copy: impl FnMut(&[u8], usize) -> usize,
    ) -> Option<Answer> {
        let slot = self.slots.at(source.fd);
        news::copy_out(slot, &self.buffers, flags & PEEK != 0, copy)
    }

    /// Receives into the hot buffer if there is a chance, else makes sure of a watch.
    #[inline]
    fn fill_by_poll(
        &mut self,
        queue: &mut Queue,
        source: Source,
        loan: *mut Option<Loan>,
    ) -> Option<Answer> {
        if self.slots.at(source.fd).wet {
            let buffer = self.hot.writable();
            let (buf, len) = (buffer.as_mut_ptr(), buffer.len());
            // SAFETY: required: valid for `len` bytes. They come from one slice.
            let answer = unsafe { net::recv(source.fd, buf, len, DONT_WAIT) };
            if !net::is_would_block(answer) {
                if answer > 0 {
                    let lent = self.hot.lend(answer as usize);
                    // SAFETY: required: valid for writes. By the contract of `submit`.
                    unsafe { *loan = Some(lent) };
                    self.note_polled_piece(source, answer as u32, len);
                }
                return Some(answer);
            }
        }
        let slot = self.slots.at(source.fd);
        slot.wet = false;
        if slot.watch == Part::Off {
            slot.watch = Part::Armed;
            let entry = Entry::poll(source.fd, false).tagged(Tag::Watch(source).to_bits());
            self.registrations += 1;
            // SAFETY: required: what it points at stays valid. It points at nothing.
            unsafe { queue.push(&entry) };
        }
        None
    }

    /// Draws the conclusions of a piece received in mode Poll.
    #[inline]
    fn note_polled_piece(&mut self, source: Source, answer: u32, len: usize) {
        let slot = self.slots.at(source.fd);
        slot.wet = answer as usize == len;
        if answer >= LARGE {
            slot.streak = 0;
            return;
        }
        slot.streak += 1;
        if slot.streak >= SMALL_PIECES {
            slot.streak = 0;
            if self.buffers.is_plenty() {
                slot.mode = Mode::Ring;
            }
        }
    }

    #[inline]
    fn arm_receive(&mut self, queue: &mut Queue, source: Source) {
        self.slots.at(source.fd).receive = Part::Armed;
        self.armed += 1;
        self.registrations += 1;
        // The queue may be full, and be given to the kernel on the spot.
        self.buffers.supply();
        let entry = Entry::receive_many(source.fd, GROUP).tagged(Tag::Receive(source).to_bits());
        // SAFETY: required: what it points at stays valid: the provided buffers. They are freed
        // after everything in flight has completed (`Uring`'s drop).
        unsafe { queue.push(&entry) };
    }

    /// Puts an operation at the end of its socket's line.
    #[inline]
    pub(super) fn stand_in_line(&mut self, source: Source, pending: NonNull<Pending>) {
        // SAFETY: required: valid and in place until it left, in no other line. By the contract of
        // `submit`, for it is handed back only when it has left.
        unsafe { self.slots.at(source.fd).line.push(pending) };
        self.in_line += 1;
    }

    /// Puts an operation at the front of its socket's line.
    pub(super) fn stand_in_front(&mut self, source: Source, pending: NonNull<Pending>) {
        // SAFETY: required: valid and in place until it left, in no other line. As above.
        unsafe { self.slots.at(source.fd).line.push_front(pending) };
        self.in_line += 1;
    }

    /// Takes the first out of a line and hands it back.
    #[inline]
    fn hand_back_first(&mut self, source: Source, outcome: Outcome, ready: &mut Ready) {
        if let Some(first) = self.slots.at(source.fd).line.pop() {
            self.in_line -= 1;
            // SAFETY: required: valid. It waits, so its waiter keeps it in place.
            unsafe { first.as_ref() }.outcome.set(outcome);
            ready.push(first);
        }
    }

    /// Hands a whole line back to be tried again.
    fn retry_line(&mut self, source: Source, ready: &mut Ready) {
        while !self.slots.at(source.fd).line.is_empty() {
            self.hand_back_first(source, Outcome::Retry, ready);
        }
    }

    /// Serves a line, in order, as far as there is news.
    #[inline]
    fn serve_line(&mut self, source: Source, ready: &mut Ready) {
        while let Some(op) = self.slots.at(source.fd).line.first() {
            let Some(answer) = self.serve(source, &op) else { break };
            self.hand_back_first(source, Outcome::Done(answer), ready);
        }
    }

    /// Serves those who detach, once the kernel has let go; who reads besides tries again.
    fn let_go(&mut self, source: Source, ready: &mut Ready) {
        if !self.slots.at(source.fd).is_held() {
            self.serve_line(source, ready);
            self.retry_line(source, ready);
        }
    }

    /// Takes an operation out of a line. Answers whether it was found there.
    pub(super) fn cancel(&mut self, pending: NonNull<Pending>, ready: &mut Ready) -> bool {
        // SAFETY: required: valid. By the contract of `cancel`.
        let waiter = unsafe { pending.as_ref() };
        let Some(slot) = self.slots.find(waiter.op.source()) else { return false };
        if !slot.line.contains(pending) {
            return false;
        }
        // A stream that is being detached comes back soon, with its bytes.
        if !matches!(waiter.op, Op::Detach { .. }) {
            slot.line.remove(pending);
            self.in_line -= 1;
            waiter.outcome.set(Outcome::Done(-errno::ECANCELED));
            ready.push(pending);
        }
        true
    }

    /// Takes a completion of a receiving request.
    #[inline]
    pub(super) fn on_receive(
        &mut self,
        queue: &mut Queue,
        source: Source,
        completion: Completion,
        ready: &mut Ready,
    ) {
        let over = !completion.has_more();
        self.armed -= usize::from(over);
        let buffer = completion.buffer();
        if let Some(id) = buffer {
            self.buffers.arrived(id, completion.result.max(0) as u32);
        }
        let Some(slot) = self.slots.find(source) else {
            // Left over from an earlier socket of that number.
            return self.recycle(buffer);
        };
        if over {
            slot.receive = Part::Off;
        }
        if slot.closing != OPEN {
            self.recycle(buffer);
            return self.close_if_free(source);
        }
        match (buffer, completion.result) {
            (Some(id), 1..) => {
                self.take_in(queue, source, id);
                self.serve_line(source, ready);
            }
            (_, result) => {
                self.recycle(buffer);
                self.note_end(source, result);
                self.serve_line(source, ready);
            }
        }
        if over {
            self.after_receive(queue, source, ready);
        }
    }

    #[inline]
    fn recycle(&self, buffer: Option<u16>) {
        if let Some(id) = buffer {
            self.buffers.recycle(id);
        }
    }

    /// Takes a piece: into the queue, and draws the conclusions.
    #[inline]
    fn take_in(&mut self, queue: &mut Queue, source: Source, id: u16) {
        let buffers = &self.buffers;
        let slot = self.slots.at(source.fd);
        news::put(slot, buffers, id);
        let large = buffers.bytes(id).len() as u32 >= LARGE;
        let mut bulk = false;
        if slot.mode == Mode::Ring {
            slot.streak = if large { slot.streak + 1 } else { 0 };
            bulk = slot.streak >= LARGE_PIECES;
        }
        if bulk {
            (slot.mode, slot.streak, slot.wet) = (Mode::Poll, 0, true);
        }
        let unread = slot.line.is_empty() && slot.queued >= AHEAD;
        if bulk || unread {
            self.end_receive(queue, source);
        }
    }

    /// Notes why a receiving request brought no bytes.
    fn note_end(&mut self, source: Source, result: Answer) {
        let slot = self.slots.at(source.fd);
        match -result {
            0 => slot.ended = true,
            errno::ENOBUFS => {
                self.exhausted += 1;
                self.buffers.note_exhausted();
                if self.buffers.available() == 0 {
                    (slot.mode, slot.streak, slot.wet) = (Mode::Poll, 0, true);
                }
            }
            // Somebody else's descriptor in non-blocking mode: the ring does not wait for it.
            errno::EAGAIN => (slot.mode, slot.streak, slot.wet) = (Mode::Poll, 0, true),
            errno::ECANCELED | errno::EINTR => {}
            _ => slot.error = result,
        }
    }

    /// Goes on where a receiving request has come to its end while somebody waits.
    #[cold]
    fn after_receive(&mut self, queue: &mut Queue, source: Source, ready: &mut Ready) {
        let slot = self.slots.at(source.fd);
        let Some(op) = slot.line.first() else { return };
        match op {
            Op::Detach { .. } => self.let_go(source, ready),
            Op::Fill { .. } if slot.mode == Mode::Ring => self.arm_receive(queue, source),
            _ => self.retry_line(source, ready),
        }
    }

    /// Takes the completion of a watching request.
    pub(super) fn on_watch(&mut self, source: Source, completion: Completion, ready: &mut Ready) {
        let Some(slot) = self.slots.find(source) else { return };
        if completion.has_more() {
            return;
        }
        slot.watch = Part::Off;
        slot.wet = true;
        if slot.closing != OPEN {
            return self.close_if_free(source);
        }
        let Some(op) = slot.line.first() else { return };
        if matches!(op, Op::Detach { .. }) {
            self.let_go(source, ready);
        } else if slot.receive == Part::Off {
            self.retry_line(source, ready);
        }
    }
}
