//! The completion model: io_uring, one ring for each worker.
//!
//! ```text
//!   submit ─▶ inline, if it is cheaper and will not wait ─▶ Done
//!          ─▶ receives, accepts ─▶ the descriptor's list; its first has a request ─┐
//!          ─▶ one request, tagged with the operation's address ──────────────────┴▶ queue
//!   turn   ─▶ supply buffers ─▶ one io_uring_enter: give requests, fetch completions, sleep
//!          ─▶ each completion, by its tag ─▶ ready
//! ```
//!
//! - *Borrowed memory.* Requests point straight into the memory of their waiters. That is sound
//!   because a waiter cannot leave before its completion (I6), and the driver's own end waits for
//!   everything in flight.
//! - *One call a turn.* Completions are processed when the worker asks for them (`DEFER_TASKRUN`);
//!   a flag in shared memory shows whether there are any, so a turn that only looks costs no call
//!   when there are none.
//! - *No worker threads of the kernel* as a rule. Sockets are in blocking mode and nothing is
//!   marked `ASYNC`: the ring waits for them by polling. The kernel itself falls back to a thread
//!   (`iou-wrk-…`) in two cases: when a Unix socket connects to a full backlog, for which there is
//!   nothing to poll, and when a bulk send still finds no room after the poll reported some. Such a
//!   send waits in that thread (in `sk_stream_wait_memory`) and completes as any other. Seen on
//!   Linux 6.18 in 3 of 4 runs with 8 peers that read none of their 6 MB for a second, and in none
//!   where they read at once. Why the kernel gives up polling there is not known.
//! - *Listeners* are non-blocking (I5), for which the ring would answer `EAGAIN`: accept is tried
//!   inline, then polled for. The same holds for any other descriptor in non-blocking mode.
//! - *Nothing outlives its waiter.* The kernel has a request only while a task waits for its
//!   answer: an idle socket belongs entirely to its owner, which may duplicate it, give it away or
//!   close it.
//!
//! References: io_uring(7), "io_uring and networking in 2023" (J. Axboe).
#![expect(unsafe_code, reason = "requests point into the memory of their waiters")]

mod reading;
mod recall;
mod queue;
mod slots;
mod buffers;
mod wakeup;
mod options;

use std::io;
use std::ptr::NonNull;
use std::time::Instant;

use fiveways_selector::Waker;
use fiveways_sys::errno;
use fiveways_sys::net::{self, Answer};
use fiveways_sys::uring::{Completion, Entry, Ring, RingSize};

use self::buffers::{Buffers, GROUP};
pub use self::options::UringOptions;
use self::queue::Queue;
use self::recall::Pair;
use self::slots::{MAX_FD, Mode, Slots, Tag};
use self::wakeup::Wakeup;
use crate::attempt::attempt_now;
use crate::loan::HotBuffers;
use crate::model::Model;
use crate::op::{Direction, Op, Outcome, Pending, Source};
use crate::{Counters, Driver, Ready, Submitted};

/// Completions processed in one turn; the remaining ones are taken in the next, without sleeping.
const BATCH: usize = 256;

/// Completions copied out of the ring at once.
const CHUNK: usize = 32;

/// Bytes received at once in mode Poll: more than a large message, so that a message received
/// whole is a short read and proves the socket empty.
const HOT_BUFFER: usize = 128 * 1024;

/// In place of a tag: the operation is in the list of its descriptor, behind the one whose request
/// is in the kernel.
const QUEUED: u64 = 6;

/// The number of waiting operations up to which a send is tried inline first. Measured: with few
/// sockets it saves the way through the ring (4 % at 64), with many (1,000 and more) sends that run
/// one after the other in the kernel are 5–10 % cheaper.
const INLINE_SEND_SOCKETS: usize = 128;

/// A driver over one ring.
pub struct Uring {
    slots: Slots,
    buffers: Buffers,
    hot: HotBuffers,
    queue: Queue,
    wakeup: Wakeup,
    /// The sockets by which buffers are being recalled.
    recalling: Option<Pair>,
    /// Operations that wait, in the kernel or behind one that is there.
    waiting: usize,
    /// Times the provided buffers ran out.
    exhausted: u64,
    counters: Counters,
}

impl std::fmt::Debug for Uring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uring").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl Uring {
    /// Opens a driver for the calling thread, which alone may use it.
    ///
    /// # Errors
    ///
    /// The message names what is missing: io_uring in this kernel, the permission of the
    /// administrator or a filter, or an operation.
    pub fn open(options: &UringOptions) -> io::Result<Uring> {
        let size = RingSize { entries: options.entries, completions: options.completions };
        let mut ring = Ring::open(size)?;
        let buffers = buffers(options)?;
        // SAFETY: required: the buffer ring outlives its registration. `drop` unregisters it first.
        unsafe { ring.register_buffers(buffers.ring(), GROUP) }?;
        let mut uring = Uring {
            slots: Slots::default(),
            buffers,
            hot: HotBuffers::new(HOT_BUFFER),
            queue: Queue::new(ring),
            wakeup: Wakeup::new()?,
            recalling: None,
            waiting: 0,
            exhausted: 0,
            counters: Counters::default(),
        };
        uring.arm_waker();
        Ok(uring)
    }

    fn arm_waker(&mut self) {
        let entry = Entry::poll_many(self.wakeup.fd()).tagged(Tag::Wake.to_bits());
        // SAFETY: required: what it points at stays valid. It points at nothing.
        unsafe { self.queue.push(&entry) };
    }

    /// Gives the kernel a request on behalf of an operation that waits.
    #[inline]
    fn push(&mut self, pending: NonNull<Pending>, entry: Entry, tag: Tag) {
        let bits = tag.to_bits();
        // For `cancel`, which cancels the request by it.
        // SAFETY: required: valid. By the contract of `submit`.
        unsafe { pending.as_ref() }.request.set(bits);
        // SAFETY: required: what it points at stays valid until it has completed. By the contract
        // of `submit`, for the operation is handed back only then.
        unsafe { self.queue.push(&entry.tagged(bits)) };
    }

    /// Gives the kernel an operation that is in no list; its result is the answer.
    #[inline]
    fn push_once(&mut self, pending: NonNull<Pending>, op: &Op, poll_first: bool) -> Submitted {
        // SAFETY: required: valid. By the contract of `submit`.
        unsafe { pending.as_ref() }.outcome.set(Outcome::Waiting);
        self.waiting += 1;
        let (entry, tag) = self.request(pending, op, poll_first);
        self.push(pending, entry, tag);
        Submitted::Waiting
    }

    /// The request by which the kernel performs an operation, or waits until it can be attempted;
    /// `poll_first`: an attempt is known to be in vain before the kernel has waited.
    #[inline]
    fn request(&mut self, pending: NonNull<Pending>, op: &Op, poll_first: bool) -> (Entry, Tag) {
        let fd = op.source().fd;
        let entry = match *op {
            Op::Recv { buf, len, flags, .. } => Entry::recv(fd, buf, len, flags, poll_first),
            Op::Send { buf, len, flags, .. } => Entry::send(fd, buf, len, flags, poll_first),
            Op::RecvMsg { header, flags, .. } => Entry::recvmsg(fd, header, flags),
            Op::SendMsg { header, flags, .. } => Entry::sendmsg(fd, header, flags),
            Op::Fill { source, .. } if self.slots.claim(source).mode == Mode::Ring => {
                Entry::recv_picked(fd, GROUP, poll_first)
            }
            Op::Fill { .. } | Op::Accept { .. } | Op::Readable { .. } => {
                return (Entry::poll(fd, false), Tag::Poll(pending));
            }
            // SAFETY: required: valid for reads. By the contract of `submit`.
            Op::Connect { address, .. } => Entry::connect(fd, unsafe { &*address }),
            Op::Writable { .. } => Entry::poll(fd, true),
        };
        (entry, Tag::Once(pending))
    }

    /// Returns `true` if an attempt is cheaper than a request, since it will most likely not have
    /// to wait.
    #[inline]
    fn is_worth_a_try(&mut self, op: &Op) -> bool {
        match *op {
            // A socket that left bytes behind will hardly make us wait.
            Op::Recv { source, flags: 0, .. } => {
                std::mem::replace(&mut self.slots.claim(source).left_some, false)
            }
            Op::Fill { source, .. } => {
                let slot = self.slots.claim(source);
                slot.mode == Mode::Poll && slot.maybe_ready
            }
            Op::Accept { .. } => true,
            Op::Send { .. } | Op::SendMsg { .. } => self.sends_inline(),
            Op::Recv { .. }
            | Op::RecvMsg { .. }
            | Op::Connect { .. }
            | Op::Readable { .. }
            | Op::Writable { .. } => false,
        }
    }

    /// Returns `true` if so few operations wait that a send is cheaper without the ring.
    #[inline]
    fn sends_inline(&self) -> bool {
        self.waiting <= INLINE_SEND_SOCKETS
    }

    fn take_completions(&mut self, ready: &mut Ready) {
        let mut chunk = [Completion::default(); CHUNK];
        for _ in 0..BATCH / CHUNK {
            let count = self.queue.take(&mut chunk);
            self.counters.events += count as u64;
            for completion in &chunk[..count] {
                self.dispatch(*completion, ready);
            }
            if count < CHUNK {
                break;
            }
        }
    }

    /// Passes a completion to its receiver.
    #[inline]
    fn dispatch(&mut self, completion: Completion, ready: &mut Ready) {
        match Tag::from_bits(completion.user_data) {
            Tag::Once(pending) => self.hand_back(pending, completion, ready),
            Tag::Poll(pending) => self.polled(pending, completion.result, ready),
            Tag::Wake => {
                // It fails only for lack of memory; then the eventfd stays readable and is reported
                // again.
                let _ = self.wakeup.answer();
                if !completion.has_more() {
                    self.arm_waker();
                }
            }
            Tag::Ignore => {}
            Tag::Recall => self.recalled(completion.buffer()),
        }
    }

    /// Hands back an operation whose request has completed.
    #[inline]
    fn hand_back(&mut self, pending: NonNull<Pending>, completion: Completion, ready: &mut Ready) {
        // SAFETY: required: valid. It waits, so its waiter keeps it in place.
        let waiter = unsafe { pending.as_ref() };
        let cancelled = waiter.request.replace(0) == 0;
        let answer = completion.result;
        let outcome = match waiter.op {
            _ if answer == -errno::EINTR || net::is_would_block(answer) => {
                match self.again(pending, answer, cancelled) {
                    Some(outcome) => outcome,
                    None => return,
                }
            }
            Op::Fill { source, loan } => match self.filled(source, loan, completion) {
                Some(answer) => Outcome::Done(answer),
                None if cancelled => Outcome::Done(-errno::ECANCELED),
                None => Outcome::Retry,
            },
            Op::Writable { .. } => Outcome::Done(answer.min(0)),
            Op::Recv { source, flags: 0, .. } => {
                self.slots.claim(source).left_some = completion.left_some();
                Outcome::Done(answer)
            }
            Op::Recv { .. }
            | Op::Send { .. }
            | Op::RecvMsg { .. }
            | Op::SendMsg { .. }
            | Op::Accept { .. }
            | Op::Connect { .. }
            | Op::Readable { .. } => Outcome::Done(answer),
        };
        self.finish(pending, outcome, ready);
    }

    /// Gives an operation back to its waiter.
    #[inline]
    fn finish(&mut self, pending: NonNull<Pending>, outcome: Outcome, ready: &mut Ready) {
        // SAFETY: required: valid. It waits, so its waiter keeps it in place.
        let waiter = unsafe { pending.as_ref() };
        if is_queued(&waiter.op) {
            self.leave_queue(pending, waiter.op.source());
        } else {
            self.waiting -= 1;
        }
        waiter.outcome.set(outcome);
        ready.push(pending);
    }

    /// Returns the outcome of an operation that the kernel did not finish; `None` if it waits
    /// again.
    ///
    /// Would-block is the ring's answer for a descriptor in non-blocking mode, and the kernel's for
    /// a Unix socket that connects to a full backlog, for which one cannot wait.
    #[cold]
    fn again(
        &mut self,
        pending: NonNull<Pending>,
        answer: Answer,
        cancelled: bool,
    ) -> Option<Outcome> {
        // SAFETY: required: valid. It waited, and was not handed back yet.
        let op = unsafe { pending.as_ref() }.op;
        if cancelled {
            return Some(Outcome::Done(-errno::ECANCELED));
        }
        if answer == -errno::EINTR {
            return Some(Outcome::Retry);
        }
        if let Op::Connect { .. } = op {
            return Some(Outcome::Done(answer));
        }
        if let Op::Fill { source, .. } = op {
            self.slots.claim(source).poll_from_now_on();
        }
        let writable = op.direction() == Direction::Write;
        let entry = Entry::poll(op.source().fd, writable);
        self.push(pending, entry, Tag::Poll(pending));
        None
    }

    /// Passes the report of a poll to its operation.
    fn polled(&mut self, pending: NonNull<Pending>, result: Answer, ready: &mut Ready) {
        // SAFETY: required: valid. It waits, so its waiter keeps it in place.
        let waiter = unsafe { pending.as_ref() };
        let cancelled = waiter.request.replace(0) == 0;
        let outcome = match waiter.op {
            _ if cancelled => Outcome::Done(-errno::ECANCELED),
            _ if result == -errno::EINTR => Outcome::Retry,
            _ if result < 0 => Outcome::Done(result),
            Op::Accept { source, .. } => return self.serve_acceptors(source, ready),
            Op::Readable { .. } => Outcome::Done(0),
            Op::Recv { source, .. } | Op::Fill { source, .. } => {
                let slot = self.slots.claim(source);
                (slot.maybe_ready, slot.left_some) = (true, true);
                Outcome::Retry
            }
            Op::Send { .. }
            | Op::RecvMsg { .. }
            | Op::SendMsg { .. }
            | Op::Connect { .. }
            | Op::Writable { .. } => Outcome::Retry,
        };
        self.finish(pending, outcome, ready);
    }
}

/// Returns `true` if such an operation is in the list of its descriptor while it waits.
///
/// With flags (the urgent byte, the error queue) it waits for something other than the rest.
#[inline]
fn is_queued(op: &Op) -> bool {
    match *op {
        Op::Recv { flags, .. } | Op::RecvMsg { flags, .. } => flags == 0,
        Op::Fill { .. } | Op::Accept { .. } | Op::Readable { .. } => true,
        Op::Send { .. } | Op::SendMsg { .. } | Op::Connect { .. } | Op::Writable { .. } => false,
    }
}

fn buffers(options: &UringOptions) -> io::Result<Buffers> {
    let mut limit = options.buffers_limit.max(options.buffers);
    loop {
        // If memory cannot be reserved without being backed, less must do.
        match Buffers::new(options.buffer_size, options.buffers, limit) {
            Err(error) if limit / 2 < options.buffers => return Err(error),
            Err(_) => limit /= 2,
            buffers => return buffers,
        }
    }
}

// SAFETY: required: hands back each waiting operation once, with a true answer. A request has one
// last completion, or was in a list that it has left; and answers are those of completions.
unsafe impl Driver for Uring {
    fn model(&self) -> Model {
        Model::Uring
    }

    #[inline]
    unsafe fn submit(&mut self, pending: NonNull<Pending>) -> Submitted {
        // SAFETY: required: valid. By this function's contract.
        let waiter = unsafe { pending.as_ref() };
        waiter.outcome.set(Outcome::Idle);
        let op = waiter.op;
        if op.source().fd > MAX_FD {
            return Submitted::Done(-errno::EMFILE);
        }
        if op.must_not_wait() {
            let answer = attempt_now(&op, &mut self.hot);
            return Submitted::Done(answer.unwrap_or(-errno::EAGAIN));
        }
        if is_queued(&op) {
            return self.read(pending, &op);
        }
        let tried = self.is_worth_a_try(&op);
        if tried && let Some(answer) = attempt_now(&op, &mut self.hot) {
            return Submitted::Done(answer);
        }
        self.push_once(pending, &op, tried)
    }

    unsafe fn cancel(&mut self, pending: NonNull<Pending>, ready: &mut Ready) {
        // SAFETY: required: valid. By this function's contract.
        let waiter = unsafe { pending.as_ref() };
        match waiter.request.replace(0) {
            0 => {} // asked before
            QUEUED => self.finish(pending, Outcome::Done(-errno::ECANCELED), ready),
            bits => {
                self.counters.registrations += 1;
                let entry = Entry::cancel(bits).tagged(Tag::Ignore.to_bits());
                // SAFETY: required: what it points at stays valid. It points at nothing.
                unsafe { self.queue.push(&entry) };
            }
        }
    }

    #[inline]
    fn turn(&mut self, deadline: Option<Instant>, ready: &mut Ready) -> io::Result<()> {
        self.counters.turns += 1;
        self.buffers.adapt();
        self.buffers.supply();
        if self.queue.has_completions() {
            self.queue.look()?;
        } else {
            self.queue.wait(deadline)?;
        }
        self.take_completions(ready);
        self.buffers.note_unused();
        Ok(())
    }

    fn forget(&mut self, source: Source) {
        self.slots.forget(source);
    }

    fn has_unused_memory(&self) -> bool {
        self.buffers.has_excess()
    }

    fn trim(&mut self) -> bool {
        self.trim_buffers()
    }

    fn waker(&self) -> Waker {
        self.wakeup.waker()
    }

    fn waiting(&self) -> usize {
        self.waiting
    }

    fn counters(&self) -> Counters {
        Counters { buffers_exhausted: self.exhausted, ..self.counters }
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        let idle = self.waiting() == 0 || std::thread::panicking();
        debug_assert!(idle, "a driver ends while operations wait in it");
        let clear = self.queue.wind_up();
        let gone = self.queue.ring().unregister_buffers(GROUP).is_ok();
        if !clear || !gone {
            // The kernel may still write: the memory must stay.
            self.buffers.leak();
        }
    }
}
