//! The permits of a pool: counted, and handed over in the order of the requests.
//!
//! ```text
//!   free ──try_take──▶ taken (a Permit) ──dropped──▶ the first who waits, else free
//! ```
//!
//! A permit is given to a waiter under the lock, by setting its flag; a waiter that is unwound
//! removes itself from the queue, or passes on a permit given in the meantime.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::{mem, thread};

use fiveways_runtime::{Reason, Unparker, park_for_while_not, unparker, worker_index};
use fiveways_sys::lock::Mutex;

/// The ids of pools; 0 is no pool's.
static NEXT: AtomicUsize = AtomicUsize::new(1);

/// The permits of one pool.
pub(super) struct Permits {
    number: usize,
    size: usize,
    state: Mutex<State>,
}

struct State {
    free: usize,
    waiting: VecDeque<Arc<Ticket>>,
    /// How many of the waiters hold a permit themselves.
    inside: usize,
}

struct Ticket {
    /// false → true, under the lock, by the thread that gives the permit.
    given: AtomicBool,
    owner: Unparker,
}

impl Permits {
    pub(super) fn new(size: usize) -> Permits {
        let state = State { free: size, waiting: VecDeque::new(), inside: 0 };
        Permits { number: NEXT.fetch_add(1, Ordering::Relaxed), size, state: Mutex::new(state) }
    }

    /// The id of the pool.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn free(&self) -> usize {
        self.state.lock().free
    }

    /// Takes a permit if one is free. (None is while there are waiters.)
    pub(super) fn try_take(self: &Arc<Permits>) -> Option<Permit> {
        let mut state = self.state.lock();
        state.free = state.free.checked_sub(1)?;
        Some(Permit(Arc::clone(self)))
    }

    /// Waits for a permit. `None` if none will become free, because all are held by tasks that wait
    /// here, or because the caller's worker unwinds and cannot run others.
    #[track_caller]
    pub(super) fn take(self: &Arc<Permits>, inside: bool) -> Option<Permit> {
        let mut state = self.state.lock();
        if let Some(left) = state.free.checked_sub(1) {
            state.free = left;
            return Some(Permit(Arc::clone(self)));
        }
        let stuck = thread::panicking() && worker_index().is_some();
        if stuck || inside && state.inside + 1 >= self.size {
            return None;
        }
        let ticket = Arc::new(Ticket { given: AtomicBool::new(false), owner: unparker() });
        state.waiting.push_back(Arc::clone(&ticket));
        state.inside += usize::from(inside);
        drop(state);
        let waiting = Waiting { permits: self, ticket: &ticket, inside };
        let reason = Reason::new("permit of a pool", &**self);
        park_for_while_not(&reason, || ticket.given.load(Ordering::Acquire), None);
        waiting.leave();
        Some(Permit(Arc::clone(self)))
    }

    fn give_back(&self) {
        let mut state = self.state.lock();
        match state.waiting.pop_front() {
            None => state.free += 1,
            Some(ticket) => {
                ticket.given.store(true, Ordering::Release);
                drop(state);
                ticket.owner.unpark();
            }
        }
    }
}

/// Waits for a permit; undoes that if it is unwound.
struct Waiting<'a> {
    permits: &'a Permits,
    ticket: &'a Arc<Ticket>,
    inside: bool,
}

impl Waiting<'_> {
    /// Ends the wait of a task that was given a permit.
    fn leave(self) {
        self.permits.state.lock().inside -= usize::from(self.inside);
        mem::forget(self);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.permits.state.lock();
        state.inside -= usize::from(self.inside);
        state.waiting.retain(|ticket| !Arc::ptr_eq(ticket, self.ticket));
        let given = self.ticket.given.load(Ordering::Relaxed);
        drop(state);
        if given {
            self.permits.give_back();
        }
    }
}

/// A held permit.
pub(super) struct Permit(Arc<Permits>);

impl Permit {
    /// The id of the pool.
    pub(super) fn number(&self) -> usize {
        self.0.number()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.give_back();
    }
}
