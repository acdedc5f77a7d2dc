//! The completion model: io_uring, one ring for each worker.
//!
//! ```text
//!   submit ─▶ inline, if it is cheaper and will not wait ─▶ Done
//!          ─▶ Streams (Fill, and whatever must keep order with it) ─▶ Done, or in the slot's line
//!          ─▶ one request, tagged with the operation's address ─▶ submission queue
//!   turn   ─▶ supply buffers ─▶ one io_uring_enter: give requests, fetch completions, sleep
//!          ─▶ each completion, by its tag ─▶ ready
//! ```
//!
//! - *Borrowed memory.* Requests point straight into the memory of whoever waits. That is sound
//!   because a waiter cannot leave before its completion (I6), and the driver's own end waits for
//!   everything in flight.
//! - *One call a turn.* Completions are worked on when the worker asks for them (`DEFER_TASKRUN`);
//!   a flag in shared memory tells whether asking would bring anything, so a turn that only looks
//!   costs no call when nothing is there.
//! - *No worker threads of the kernel.* Sockets are in blocking mode and nothing is marked
//!   `ASYNC`: the ring waits for them by polling. (The kernel itself falls back to a thread when a
//!   Unix socket connects to a full backlog: there is nothing to poll for.)
//! - *Listeners* are non-blocking (I5), for which the ring would answer `EAGAIN`: accept is tried
//!   inline, then polled for. The same holds for any other descriptor in non-blocking mode.
//! - *Order.* What a socket received ahead is given out before the kernel is asked again.
//!
//! References: io_uring(7), "io_uring and networking in 2023" (J. Axboe).
#![expect(unsafe_code, reason = "requests point into the memory of whoever waits")]

mod leaving;
mod streams;
mod news;
mod queue;
mod slots;
mod line;
mod buffers;
mod copy;
mod bell;
mod options;

use std::io;
use std::os::fd::OwnedFd;
use std::ptr::{self, NonNull};
use std::time::Instant;

use fiveways_selector::Waker;
use fiveways_sys::errno;
use fiveways_sys::message;
use fiveways_sys::net::{self, Answer, DONT_WAIT};
use fiveways_sys::uring::{Completion, Entry, Ring, RingSize};

use self::bell::Bell;
use self::buffers::{Buffers, GROUP};
pub use self::options::UringOptions;
use self::queue::Queue;
use self::slots::{MAX_FD, Tag};
use self::streams::{Streams, Taken};
use crate::model::Model;
use crate::op::{Op, Outcome, Pending, Source};
use crate::{Counters, Driver, Ready, Submitted};

/// Completions worked on in one turn; what is left is taken in the next, without sleeping.
const BATCH: usize = 256;

/// Completions copied out of the ring at once.
const CHUNK: usize = 32;

/// Sockets in use up to which a send is tried inline first. Measured: with few sockets it saves the
/// way through the ring (4 % at 64), with many (1,000 and more) sends that run one after the other
/// in the kernel are 5–10 % cheaper.
const INLINE_SEND_SOCKETS: usize = 128;

/// A driver over one ring.
pub struct Uring {
    streams: Streams,
    queue: Queue,
    bell: Bell,
    /// Operations whose completions were taken outside of a turn.
    early: Ready,
    /// Operations waiting in the kernel by themselves.
    single: usize,
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
    /// The message names what is missing: io_uring in this kernel, the administrator's or a
    /// filter's consent, or an operation.
    pub fn open(options: &UringOptions) -> io::Result<Uring> {
        let size = RingSize { entries: options.entries, completions: options.completions };
        let mut ring = Ring::open(size)?;
        let buffers = buffers(options)?;
        // SAFETY: required: the buffer ring outlives its registration. `drop` unregisters it first.
        unsafe { ring.register_buffers(buffers.ring(), GROUP) }?;
        ring.check_receive_many(GROUP)?;
        let mut uring = Uring {
            streams: Streams::new(buffers),
            queue: Queue::new(ring),
            bell: Bell::new()?,
            early: Ready::new(),
            single: 0,
            counters: Counters::default(),
        };
        uring.arm_waker();
        Ok(uring)
    }

    fn arm_waker(&mut self) {
        let entry = Entry::poll_many(self.bell.fd()).tagged(Tag::Wake.to_bits());
        // SAFETY: required: what it points at stays valid. It points at nothing.
        unsafe { self.queue.push(&entry) };
    }

    /// Gives an operation to the kernel by itself.
    #[inline]
    fn push(&mut self, pending: NonNull<Pending>, entry: Entry, tag: Tag) -> Submitted {
        // SAFETY: required: valid. By the contract of `submit`.
        let waiter = unsafe { pending.as_ref() };
        waiter.outcome.set(Outcome::Waiting);
        // An operation by itself stands in no line: the link remembers the tag, for `cancel`, which
        // forgets it.
        let bits = tag.to_bits();
        waiter.next.set(ptr::without_provenance_mut(bits as usize));
        self.single += 1;
        // SAFETY: required: what it points at stays valid until it has completed. By the contract
        // of `submit`, for the operation is handed back only then.
        unsafe { self.queue.push(&entry.tagged(bits)) };
        Submitted::Waiting
    }

    /// Gives an operation's request to the kernel; its result is the answer.
    #[inline]
    fn push_once(&mut self, pending: NonNull<Pending>, entry: Entry) -> Submitted {
        self.push(pending, entry, Tag::Once(pending))
    }

    /// Waits for readiness, after which the operation is to be submitted again.
    fn push_nudge(
        &mut self,
        pending: NonNull<Pending>,
        source: Source,
        writable: bool,
    ) -> Submitted {
        self.push(pending, Entry::poll(source.fd, writable), Tag::Nudge(pending))
    }

    #[inline]
    fn send(&mut self, pending: NonNull<Pending>, op: &Op) -> Submitted {
        let Op::Send { source, buf, len, flags } = *op else { unreachable!("only for Send") };
        let must = flags & DONT_WAIT != 0;
        let inline = must || self.sends_inline();
        if inline {
            // SAFETY: required: `buf` valid for `len` bytes. By the contract of `submit`.
            let answer = unsafe { net::send(source.fd, buf, len, flags | DONT_WAIT) };
            if must || !net::is_would_block(answer) {
                return Submitted::Done(answer);
            }
        }
        self.push_once(pending, Entry::send(source.fd, buf, len, flags, inline))
    }

    /// Receives what is not received ahead: straight into the reader's memory.
    #[inline]
    fn recv(&mut self, pending: NonNull<Pending>, op: &Op) -> Submitted {
        let Op::Recv { source, buf, len, flags } = *op else { unreachable!("only for Recv") };
        let must = flags & DONT_WAIT != 0;
        let slot = self.streams.claim(&mut self.queue, source);
        // A socket that left bytes behind will hardly make us wait; another one most likely will.
        let wet = std::mem::replace(&mut slot.left_some, false);
        if must || wet {
            // SAFETY: required: `buf` valid for `len` bytes. By the contract of `submit`.
            let answer = unsafe { net::recv(source.fd, buf, len, flags | DONT_WAIT) };
            if must || !net::is_would_block(answer) {
                slot.left_some = answer > 0 && answer as usize == len;
                return Submitted::Done(answer);
            }
        }
        // With flags (the urgent byte, the error queue) readability may not be what to wait for.
        self.push_once(pending, Entry::recv(source.fd, buf, len, flags, flags == 0))
    }

    fn accept(&mut self, pending: NonNull<Pending>, source: Source) -> Submitted {
        let answer = net::accept(source.fd);
        if net::is_would_block(answer) {
            return self.push_nudge(pending, source, false);
        }
        Submitted::Done(answer)
    }

    fn recvmsg(&mut self, pending: NonNull<Pending>, op: &Op) -> Submitted {
        let Op::RecvMsg { source, header, flags } = *op else { unreachable!("only for RecvMsg") };
        if flags & DONT_WAIT != 0 {
            // SAFETY: required: a prepared header in place. By the contract of `submit`.
            return Submitted::Done(unsafe { message::recvmsg(source.fd, header, flags) });
        }
        self.push_once(pending, Entry::recvmsg(source.fd, header, flags))
    }

    #[inline]
    fn sendmsg(&mut self, pending: NonNull<Pending>, op: &Op) -> Submitted {
        let Op::SendMsg { source, header, flags } = *op else { unreachable!("only for SendMsg") };
        let must = flags & DONT_WAIT != 0;
        if must || self.sends_inline() {
            // SAFETY: required: a prepared header in place. By the contract of `submit`.
            let answer = unsafe { message::sendmsg(source.fd, header, flags | DONT_WAIT) };
            if must || !net::is_would_block(answer) {
                return Submitted::Done(answer);
            }
        }
        self.push_once(pending, Entry::sendmsg(source.fd, header, flags))
    }

    /// Are so few sockets in use that a send does better without the ring?
    #[inline]
    fn sends_inline(&self) -> bool {
        self.streams.armed() + self.single <= INLINE_SEND_SOCKETS
    }

    /// Serves a reader: out of what was received ahead, or by the kernel.
    #[inline]
    fn read(&mut self, pending: NonNull<Pending>, op: &Op, flags: u32) -> Submitted {
        let taken = self.streams.read(&mut self.queue, pending, flags);
        match taken {
            Taken::Done(answer) => Submitted::Done(answer),
            Taken::InLine => in_line(pending),
            Taken::Look => self.read_after_look(pending, flags),
            Taken::AskKernel => match *op {
                Op::Recv { .. } => self.recv(pending, op),
                Op::Readable { source } => self.push_once(pending, Entry::poll(source.fd, false)),
                _ => self.recvmsg(pending, op),
            },
        }
    }

    /// Serves a reader that does not wait, of a socket whose bytes the kernel may be holding back.
    #[cold]
    fn read_after_look(&mut self, pending: NonNull<Pending>, flags: u32) -> Submitted {
        self.streams.supply();
        if let Err(error) = self.queue.look() {
            return Submitted::Done(-error.raw_os_error().unwrap_or(errno::EIO));
        }
        let mut early = std::mem::take(&mut self.early);
        self.take_completions(&mut early);
        self.early = early;
        match self.streams.read(&mut self.queue, pending, flags) {
            Taken::Done(answer) => Submitted::Done(answer),
            _ => Submitted::Done(-errno::EAGAIN),
        }
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

    /// Takes a completion to whom it is for.
    #[inline]
    fn dispatch(&mut self, completion: Completion, ready: &mut Ready) {
        match Tag::from_bits(completion.user_data) {
            Tag::Receive(source) => {
                self.streams.on_receive(&mut self.queue, source, completion, ready);
            }
            Tag::Once(pending) => self.hand_back(pending, completion, ready),
            Tag::Watch(source) => self.streams.on_watch(source, completion, ready),
            Tag::Nudge(pending) => self.nudge(pending, completion.result, ready),
            Tag::Wake => {
                // It fails only for want of memory; then the eventfd rings on.
                let _ = self.bell.answer();
                if !completion.has_more() {
                    self.arm_waker();
                }
            }
            Tag::Quiet => {}
        }
    }

    /// Hands back an operation that waited by itself.
    #[inline]
    fn hand_back(&mut self, pending: NonNull<Pending>, completion: Completion, ready: &mut Ready) {
        // SAFETY: required: valid. It waits, so its waiter keeps it in place.
        let waiter = unsafe { pending.as_ref() };
        self.single -= 1;
        let cancelled = waiter.next.replace(ptr::null_mut()).is_null();
        let answer = completion.result;
        let outcome = match waiter.op {
            _ if answer == -errno::EINTR || net::is_would_block(answer) => {
                match self.again(pending, answer, cancelled) {
                    Some(outcome) => outcome,
                    None => return,
                }
            }
            Op::Readable { .. } | Op::Writable { .. } => Outcome::Done(answer.min(0)),
            Op::Recv { source, .. } => {
                let slot = self.streams.claim(&mut self.queue, source);
                slot.left_some = completion.left_some();
                Outcome::Done(answer)
            }
            _ => Outcome::Done(answer),
        };
        waiter.outcome.set(outcome);
        ready.push(pending);
    }

    /// What becomes of an operation that the kernel did not finish; `None`: it waits again.
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
        if matches!(op, Op::Connect { .. }) {
            return Some(Outcome::Done(answer));
        }
        let writable = matches!(op, Op::Send { .. } | Op::SendMsg { .. });
        self.push_nudge(pending, op.source(), writable);
        None
    }

    /// Hands back an operation for which was polled.
    fn nudge(&mut self, pending: NonNull<Pending>, result: Answer, ready: &mut Ready) {
        // SAFETY: required: valid. It waits, so its waiter keeps it in place.
        let waiter = unsafe { pending.as_ref() };
        self.single -= 1;
        let cancelled = waiter.next.replace(ptr::null_mut()).is_null();
        let outcome = match result {
            _ if cancelled => Outcome::Done(-errno::ECANCELED),
            0.. => Outcome::Retry,
            _ if result == -errno::EINTR => Outcome::Retry,
            _ => Outcome::Done(result),
        };
        waiter.outcome.set(outcome);
        ready.push(pending);
    }
}

fn buffers(options: &UringOptions) -> io::Result<Buffers> {
    let mut limit = options.buffers_limit.max(options.buffers);
    loop {
        // Where memory cannot be reserved without being backed, be content with less.
        match Buffers::new(options.buffer_size, options.buffers, limit) {
            Err(error) if limit / 2 < options.buffers => return Err(error),
            Err(_) => limit /= 2,
            buffers => return buffers,
        }
    }
}

/// Notes that an operation stands in a line.
#[inline]
fn in_line(pending: NonNull<Pending>) -> Submitted {
    // SAFETY: required: valid. By the contract of `submit`.
    unsafe { pending.as_ref() }.outcome.set(Outcome::Waiting);
    Submitted::Waiting
}

impl Driver for Uring {
    fn model(&self) -> Model {
        Model::Uring
    }

    #[inline]
    unsafe fn submit(&mut self, pending: NonNull<Pending>) -> Submitted {
        // SAFETY: required: valid. By this function's contract.
        let waiter = unsafe { pending.as_ref() };
        let op = waiter.op;
        let source = op.source();
        if source.fd > MAX_FD {
            return Submitted::Done(-errno::EMFILE);
        }
        match op {
            Op::Fill { loan, .. } => {
                match self.streams.fill(&mut self.queue, source, pending, loan) {
                    Taken::Done(answer) => Submitted::Done(answer),
                    _ => in_line(pending),
                }
            }
            Op::Send { .. } => self.send(pending, &op),
            Op::Recv { flags, .. } | Op::RecvMsg { flags, .. } => self.read(pending, &op, flags),
            Op::Readable { .. } => self.read(pending, &op, 0),
            Op::SendMsg { .. } => self.sendmsg(pending, &op),
            Op::Accept { source } => self.accept(pending, source),
            Op::Connect { source, address } => {
                // SAFETY: required: valid for reads. By this function's contract.
                let entry = Entry::connect(source.fd, unsafe { &*address });
                self.push_once(pending, entry)
            }
            Op::Writable { source } => self.push_once(pending, Entry::poll(source.fd, true)),
            Op::Detach { source, bytes } => {
                match self.streams.detach(&mut self.queue, source, pending, bytes) {
                    Taken::Done(answer) => Submitted::Done(answer),
                    _ => in_line(pending),
                }
            }
        }
    }

    unsafe fn cancel(&mut self, pending: NonNull<Pending>, ready: &mut Ready) {
        if self.streams.cancel(pending, ready) {
            return;
        }
        // SAFETY: required: valid. By this function's contract.
        let waiter = unsafe { pending.as_ref() };
        let bits = waiter.next.replace(ptr::null_mut()).addr() as u64;
        if bits == 0 {
            return; // asked before
        }
        self.counters.registrations += 1;
        let entry = Entry::cancel(bits).tagged(Tag::Quiet.to_bits());
        // SAFETY: required: what it points at stays valid. It points at nothing.
        unsafe { self.queue.push(&entry) };
    }

    #[inline]
    fn turn(&mut self, deadline: Option<Instant>, ready: &mut Ready) -> io::Result<()> {
        self.counters.turns += 1;
        let early = !self.early.is_empty();
        ready.append(&mut self.early);
        self.streams.supply();
        if early || self.queue.has_completions() {
            self.queue.look()?;
        } else {
            self.queue.wait(deadline)?;
        }
        self.take_completions(ready);
        Ok(())
    }

    fn close(&mut self, source: Source, fd: OwnedFd) {
        self.streams.close(&mut self.queue, source, fd);
    }

    fn reads_ahead(&self) -> bool {
        true
    }

    fn ahead(&self) -> Vec<Source> {
        self.streams.ahead()
    }

    fn waker(&self) -> Waker {
        self.bell.waker()
    }

    fn waiting(&self) -> usize {
        self.single + self.streams.in_line()
    }

    fn counters(&self) -> Counters {
        let (registrations, buffers_exhausted) = self.streams.counters();
        let registrations = self.counters.registrations + registrations;
        Counters { registrations, buffers_exhausted, ..self.counters }
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        let idle = self.waiting() == 0 || std::thread::panicking();
        debug_assert!(idle, "a driver ends while operations wait in it");
        let clear = self.queue.wind_up();
        self.streams.close_all();
        let gone = self.queue.ring().unregister_buffers(GROUP).is_ok();
        if !clear || !gone {
            // The kernel may still write: the memory must stay.
            self.streams.leak_buffers();
        }
    }
}
