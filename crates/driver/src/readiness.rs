//! Readiness made completion-shaped: attempt → arm on would-block → retry on readiness.
//!
//! The state of a descriptor is in its [`Slot`].
//!
//! Each descriptor is registered once and stays registered, so that a request costs no `epoll_ctl`:
//!
//! - *edge*: both directions are registered at the first wait. A report marks a direction as maybe
//!   ready; only a would-block (or a short read of TCP) clears the mark, and only a direction
//!   without it is waited for, so no edge is lost. Unix sockets stop short at control messages and
//!   datagram sockets at every datagram: for them a short read proves nothing. After a hang-up it
//!   proves nothing either, for the edge of the end may have come together with the bytes.
//! - *level* (also select, poll and the spinning selector): a direction is watched from its first
//!   wait until it is reported while no operation waits, which costs one report and one change and
//!   only happens with peers that talk out of turn. A hang-up that no operation waits for is
//!   deregistered altogether: it cannot be masked.
//!
//! A socket that is closed elsewhere (by a plain thread, by another worker) while a duplicate of it
//! is open stays in an epoll, is reported, and cannot be removed: such *stale events* are counted,
//! and when they have become many, a new epoll replaces the old one.
//!
//! A report wakes the operation that waits in a direction; if several wait, as many are served as
//! possible, in the order in which they came (`PendingList`), and the others stay asleep.
#![expect(unsafe_code, reason = "operations are reached by pointers that their waiters keep valid")]

use std::io;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::time::Instant;

use fiveways_selector::{Event, Events, Interest, Selector, Trigger, Waker};
use fiveways_sys::errno;
use fiveways_sys::net::Answer;

use crate::attempt::{attempt_now, borrow, is_ready, is_tcp};
use crate::loan::HotBuffers;
use crate::model::Model;
use crate::op::{Op, Outcome, Pending, Source};
use crate::slot::{READ, Slot, WRITE, index, interest, names, token};
use crate::sweep::Sweep;
use crate::{Counters, Driver, Ready, Submitted};

/// Reports taken from the selector in one turn.
///
/// Few, so that their descriptors are still in the cache when the tasks run, and when a
/// level-triggered selector looks at them again: with 1,024 instead, level cost about 13 % more
/// processor time per request than edge at 1,000 connections, with 64 they cost the same.
const EVENTS: usize = 64;

/// Bytes received at once on the fast path.
const HOT_BUFFER: usize = 64 * 1024;

/// A driver over any selector.
#[derive(Debug)]
pub struct Readiness<S> {
    model: Model,
    selector: S,
    edge: bool,
    slots: Vec<Slot>,
    events: Events,
    hot: HotBuffers,
    waiting: usize,
    /// Reports about descriptors that were closed without our knowledge, since the last renewal.
    stale_events: usize,
    /// For the signal model, whose reports may go to another thread.
    sweep: Option<Sweep>,
    counters: Counters,
}

impl<S: Selector> Readiness<S> {
    /// Creates a driver over a selector that watches nothing yet.
    pub fn new(model: Model, selector: S) -> Readiness<S> {
        let edge = selector.capabilities().trigger == Trigger::Edge;
        Readiness {
            model,
            selector,
            edge,
            slots: Vec::new(),
            events: Events::with_capacity(EVENTS),
            hot: HotBuffers::new(HOT_BUFFER),
            waiting: 0,
            stale_events: 0,
            sweep: (model == Model::Signal).then(Sweep::new),
            counters: Counters::default(),
        }
    }

    /// Returns the slot of a descriptor, reset if the generation is another one.
    #[inline]
    fn claim(&mut self, source: Source) -> &mut Slot {
        let at = source.fd as usize;
        if at >= self.slots.len() {
            self.slots.resize((at + 1).next_power_of_two(), Slot::new(0));
        }
        let slot = &mut self.slots[at];
        if slot.generation != source.generation {
            debug_assert!(!slot.has_waiters(), "a descriptor was closed while awaited");
            *slot = Slot::new(source.generation);
        }
        slot
    }

    /// Attempts the operation without waiting. Returns `None` if it would have had to wait.
    #[inline]
    fn attempt(&mut self, op: &Op) -> Option<Answer> {
        let answer = attempt_now(op, &mut self.hot);
        if let (Some(count @ 1..), Some(room)) = (answer, op.stream_room(HOT_BUFFER)) {
            self.note_read(op.source(), count as usize, room);
        }
        answer
    }

    /// Updates the marks after a stream read: a short one proves that the socket is empty.
    #[inline]
    fn note_read(&mut self, source: Source, count: usize, room: usize) {
        let slot = &mut self.slots[source.fd as usize];
        if count < room && slot.short_read_is_empty && !slot.hung_up {
            slot.maybe_ready[READ] = false;
        }
    }

    /// Ensures that the selector watches a direction.
    #[inline]
    fn arm(&mut self, source: Source, direction: usize) -> io::Result<()> {
        let slot = &mut self.slots[source.fd as usize];
        if slot.watched.contains(interest(direction)) {
            return Ok(());
        }
        self.counters.registrations += 1;
        let fresh = slot.watched.is_empty();
        let wanted = if self.edge {
            slot.short_read_is_empty = is_tcp(source.fd);
            Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY
        } else {
            slot.watched | interest(direction)
        };
        if fresh {
            register(&mut self.selector, source, wanted)?;
        } else {
            self.selector.modify(borrow(source.fd), wanted, token(source))?;
        }
        slot.watched = wanted;
        Ok(())
    }

    /// Hands the waiting operations of a direction back, as far as it is ready.
    ///
    /// A single operation is retried by its waiter: its memory is hot then. If several wait, as
    /// many are served here, in order, as possible: retrying would wake all of them for what one of
    /// them gets.
    #[inline]
    fn wake(&mut self, fd: RawFd, direction: usize, ready: &mut Ready) {
        let slot = &mut self.slots[fd as usize];
        if slot.waiting[direction].has_several() {
            return self.serve(fd, direction, ready);
        }
        let Some(pending) = slot.waiting[direction].pop() else { return };
        slot.woken[direction] = true;
        self.hand_back(pending, Outcome::Retry, ready);
    }

    #[inline]
    fn hand_back(&mut self, pending: NonNull<Pending>, outcome: Outcome, ready: &mut Ready) {
        // SAFETY: required: valid. It waits, so its waiter keeps it in place.
        unsafe { pending.as_ref() }.outcome.set(outcome);
        self.waiting -= 1;
        ready.push(pending);
    }

    /// Serves a list, in order, until an attempt would have to wait.
    #[cold]
    fn serve(&mut self, fd: RawFd, direction: usize, ready: &mut Ready) {
        while let Some(op) = self.slots[fd as usize].waiting[direction].first_op() {
            let answer = self.attempt(&op);
            let slot = &mut self.slots[fd as usize];
            let Some(answer) = answer else {
                slot.maybe_ready[direction] = false;
                break;
            };
            if let Some(first) = slot.waiting[direction].pop() {
                self.hand_back(first, Outcome::Done(answer), ready);
            }
        }
    }

    /// Passes a report to its descriptor.
    #[inline]
    fn dispatch(&mut self, event: Event, ready: &mut Ready) {
        let fd = (event.token().0 & u64::from(u32::MAX)) as RawFd;
        let Some(slot) = self.slots.get_mut(fd as usize) else { return };
        let generation = slot.generation;
        if !names(event.token(), generation) {
            self.stale_events += 1;
            return;
        }
        let over = event.is_error() || event.is_hangup();
        slot.hung_up |= over || event.is_read_hangup() || event.is_priority();
        let reported = [
            over || event.is_readable() || event.is_read_hangup() || event.is_priority(),
            over || event.is_writable(),
        ];
        let mut idle = Interest::NONE;
        for direction in [READ, WRITE] {
            if reported[direction] {
                let slot = &mut self.slots[fd as usize];
                slot.maybe_ready[direction] = true;
                if slot.waiting[direction].is_empty() && !slot.woken[direction] {
                    idle |= interest(direction);
                }
                self.wake(fd, direction, ready);
            }
        }
        if !self.edge && !idle.is_empty() {
            self.quieten(Source { fd, generation }, idle, over);
        }
    }

    /// Stops a level-triggered selector from reporting a readiness that no operation waits for.
    #[cold]
    fn quieten(&mut self, source: Source, idle: Interest, over: bool) {
        let slot = &mut self.slots[source.fd as usize];
        let left = slot.watched.without(idle);
        if left == slot.watched && !over {
            self.stale_events += usize::from(left.is_empty());
            return;
        }
        self.counters.registrations += 1;
        let fd = borrow(source.fd);
        let changed = if left.is_empty() {
            self.selector.deregister(fd)
        } else {
            self.selector.modify(fd, left, token(source))
        };
        slot.watched = left;
        if changed.is_err() {
            // It was closed without our knowledge, except for a duplicate: it cannot be named any
            // more.
            slot.watched = Interest::NONE;
            self.stale_events += 1;
        }
    }

    /// Replaces the selector by an empty one, in which only directions with waiting operations are
    /// watched.
    #[cold]
    fn renew(&mut self) {
        self.stale_events = 0;
        // Without a free descriptor this fails, and the next stale events ask again.
        if !self.selector.renew().is_ok_and(|renewed| renewed) {
            return;
        }
        for at in 0..self.slots.len() {
            let slot = &mut self.slots[at];
            slot.watched = Interest::NONE;
            let source = Source { fd: at as RawFd, generation: slot.generation };
            for direction in [READ, WRITE] {
                if !self.slots[at].waiting[direction].is_empty() {
                    // It was registered before, so this succeeds, unless memory is short; then a
                    // later wait in the same direction asks again.
                    let _ = self.arm(source, direction);
                }
            }
        }
    }

    /// Checks the descriptors of all waiting operations, and wakes those that became ready
    /// unreported.
    #[cold]
    fn look_at_all(&mut self, ready: &mut Ready) {
        let mut found = false;
        for at in 0..self.slots.len() {
            let fd = at as RawFd;
            for direction in [READ, WRITE] {
                let slot = &mut self.slots[at];
                let waited_for = !slot.waiting[direction].is_empty();
                if !waited_for || !is_ready(fd, direction == WRITE) {
                    continue;
                }
                found = true;
                slot.maybe_ready[direction] = true;
                let (watched, source) = (slot.watched, Source { fd, generation: slot.generation });
                // If it fails, the next sweep finds the ready operations as well.
                let _ = self.selector.modify(borrow(fd), watched, token(source));
                self.wake(fd, direction, ready);
            }
        }
        if let Some(sweep) = &mut self.sweep {
            sweep.looked(found);
        }
    }
}

// SAFETY: required: hands back each waiting operation once, with a true answer. An operation leaves
// its list when it is handed back, and answers are those of system calls.
unsafe impl<S: Selector> Driver for Readiness<S> {
    fn model(&self) -> Model {
        self.model
    }

    #[inline]
    unsafe fn submit(&mut self, pending: NonNull<Pending>) -> Submitted {
        // SAFETY: required: valid. By this function's contract.
        let waiter = unsafe { pending.as_ref() };
        waiter.outcome.set(Outcome::Idle);
        let source = waiter.op.source();
        let direction = index(waiter.op.direction());
        let slot = self.claim(source);
        slot.woken[direction] = false;
        if slot.maybe_ready[direction] || waiter.op.must_not_wait() {
            if let Some(answer) = self.attempt(&waiter.op) {
                return Submitted::Done(answer);
            }
            if waiter.op.must_not_wait() {
                return Submitted::Done(-errno::EAGAIN);
            }
            self.slots[source.fd as usize].maybe_ready[direction] = false;
        }
        if let Err(error) = self.arm(source, direction) {
            return Submitted::Done(-error.raw_os_error().unwrap_or(errno::EMFILE));
        }
        waiter.outcome.set(Outcome::Waiting);
        // SAFETY: required: valid and in place until it has left, in no other list. By this
        // function's contract, for it is handed back only when it has left.
        unsafe { self.slots[source.fd as usize].waiting[direction].push(pending) };
        self.waiting += 1;
        Submitted::Waiting
    }

    unsafe fn cancel(&mut self, pending: NonNull<Pending>, ready: &mut Ready) {
        // SAFETY: required: valid. By this function's contract.
        let waiter = unsafe { pending.as_ref() };
        let fd = waiter.op.source().fd;
        let direction = index(waiter.op.direction());
        // SAFETY: required: in this list. It waits in this driver, by this function's contract.
        unsafe { self.slots[fd as usize].waiting[direction].remove(pending) };
        self.hand_back(pending, Outcome::Done(-errno::ECANCELED), ready);
    }

    fn turn(&mut self, deadline: Option<Instant>, ready: &mut Ready) -> io::Result<()> {
        self.counters.turns += 1;
        let capped = match &self.sweep {
            Some(sweep) if self.waiting > 0 => Some(sweep.cap(deadline)),
            Some(_) | None => deadline,
        };
        let waited = self.selector.wait(&mut self.events, capped);
        self.counters.events += self.events.len() as u64;
        for at in 0..self.events.len() {
            if let Some(event) = self.events.at(at) {
                self.dispatch(event, ready);
            }
        }
        // By level they come in every turn. This many of them have cost as much as a renewal.
        if self.stale_events > self.slots.len() && !self.edge {
            self.renew();
        }
        if self.waiting > 0 && self.sweep.as_ref().is_some_and(Sweep::is_due) {
            self.look_at_all(ready);
        }
        waited
    }

    fn forget(&mut self, source: Source) {
        let Some(slot) = self.slots.get_mut(source.fd as usize) else { return };
        if slot.generation != source.generation {
            return;
        }
        debug_assert!(!slot.has_waiters(), "a descriptor is closed while awaited");
        if !slot.watched.is_empty() {
            self.counters.registrations += 1;
            // It may have been closed without our knowledge, which removed it as well.
            let _ = self.selector.deregister(borrow(source.fd));
        }
        *slot = Slot::new(0);
    }

    fn waker(&self) -> Waker {
        self.selector.waker()
    }

    fn waiting(&self) -> usize {
        self.waiting
    }

    fn counters(&self) -> Counters {
        Counters { overflows: self.selector.overflows(), ..self.counters }
    }
}

/// Registers a descriptor; the registration of an earlier one of the same number is replaced.
fn register<S: Selector>(selector: &mut S, source: Source, wanted: Interest) -> io::Result<()> {
    let fd = borrow(source.fd);
    match selector.register(fd, wanted, token(source)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            selector.modify(fd, wanted, token(source))
        }
        result => result,
    }
}
