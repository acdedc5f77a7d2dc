//! The rendezvous of producers and consumers on which channels and queues are built.
//!
//! ```text
//!   give ──▶ takers wait? ──yes──▶ into the first one's slot, which is woken
//!                 │no
//!                 ▼
//!            room in the store? ──yes──▶ stored
//!                 │no
//!                 ▼
//!            waits in line `givers`, the item in its own slot
//!
//!   take ──▶ stored items? ──yes──▶ the store's next; the first giver's item takes its room
//!                 │no
//!                 ▼
//!            givers wait? (no store at all) ──yes──▶ out of the first one's slot, which is woken
//!                 │no
//!                 ▼
//!            waits in line `takers`, with an empty slot
//! ```
//!
//! Items pass directly to a waiter, which need not take the lock again when it is woken; no later
//! caller can overtake a waiter. A waiter's slot holds its outcome: a producer whose slot is empty
//! has given, a consumer whose slot is full has taken; otherwise the exchange was closed.
//!
//! Nothing is lost: a waiter that was served at the moment of its cancellation stays served. A
//! consumer returns with its item, a producer without; the cancellation unwinds the task at its
//! next wait. (Passing the item on would come too late for consumers that were already notified of
//! the end.)
#![expect(unsafe_code, reason = "who waits is given items in its own frame")]

mod wait_slots;
mod store;

use std::fmt;
use std::pin::{Pin, pin};
use std::time::Instant;

use fiveways_runtime::{
    CHOSEN, Ends, Interrupt, Participants, Reason, Role, Selection, Unparker, Waiter, spend,
};
use fiveways_sys::lock::{Mutex, MutexGuard};

pub(crate) use self::store::{Fifo, Store};
pub(crate) use self::wait_slots::Slot;
use self::wait_slots::WaitSlots;

/// The reason why an item was not given or taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It would have to wait.
    NotNow,
    /// The deadline came first.
    Late,
    /// The exchange is closed.
    Closed,
}

/// Which operations can still succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Stored items can be taken; nothing can be given.
    Draining,
    /// Nothing is stored, and nothing can be given.
    Shut,
}

struct State<S: Store> {
    store: S,
    capacity: usize,
    phase: Phase,
    takers: WaitSlots<S::Item>,
    givers: WaitSlots<S::Item>,
}

/// A store of items with two wait queues.
pub(crate) struct Exchange<S: Store> {
    state: Mutex<State<S>>,
    /// The tasks and threads that could end its waits.
    participants: Participants,
}

impl<S: Store> fmt::Debug for Exchange<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Unparks the selected waiter on drop, after the lock was released.
#[derive(Default)]
struct Woken(Option<Unparker>);

impl Drop for Woken {
    #[inline]
    fn drop(&mut self) {
        if let Some(unparker) = self.0 {
            unparker.unpark();
        }
    }
}

impl<S: Store> Exchange<S> {
    /// Makes an exchange that stores up to `capacity` items; `usize::MAX` means any number.
    pub(crate) fn new(store: S, capacity: usize, ends: Ends) -> Exchange<S> {
        let (takers, givers) = (WaitSlots::new(), WaitSlots::new());
        let state = State { store, capacity, phase: Phase::Open, takers, givers };
        let participants = Participants::new(ends);
        Exchange { state: Mutex::new(state), participants }
    }

    /// Records that the caller has given or taken, or could: it has a handle for it.
    #[inline]
    pub(crate) fn record(&self, role: Role) {
        self.participants.record(role);
    }

    /// Adds to a wait's reason the participants that could end it.
    #[inline]
    pub(crate) fn ended_by<'a>(&'a self, role: Role, reason: Reason<'a>) -> Reason<'a> {
        reason.held(self.participants.holder(role))
    }

    /// Gives an item if that is possible without waiting.
    #[inline]
    pub(crate) fn try_give(&self, item: S::Item) -> Result<(), (Why, S::Item)> {
        self.record(Role::Producer);
        let mut woken = Woken::default();
        self.state.lock().give(item, &mut woken)
    }

    /// Takes an item if that is possible without waiting.
    #[inline]
    pub(crate) fn try_take(&self) -> Result<S::Item, Why> {
        self.record(Role::Consumer);
        let mut woken = Woken::default();
        self.state.lock().take(&mut woken)
    }

    /// Gives an item, waiting for room or a consumer until the deadline, if any.
    #[inline]
    #[track_caller]
    pub(crate) fn give(
        &self,
        item: S::Item,
        what: &'static str,
        deadline: Option<Instant>,
    ) -> Result<(), (Why, S::Item)> {
        spend();
        self.record(Role::Producer);
        let mut woken = Woken::default();
        let mut state = self.state.lock();
        match state.give(item, &mut woken) {
            Err((Why::NotNow, item)) => self.wait_to_give(state, item, what, deadline),
            done => done,
        }
    }

    /// Takes an item, waiting for one until the deadline, if any.
    #[inline]
    #[track_caller]
    pub(crate) fn take(
        &self,
        what: &'static str,
        deadline: Option<Instant>,
    ) -> Result<S::Item, Why> {
        spend();
        self.record(Role::Consumer);
        let mut woken = Woken::default();
        let mut state = self.state.lock();
        match state.take(&mut woken) {
            Err(Why::NotNow) => self.wait_to_take(state, what, deadline),
            done => done,
        }
    }

    // Each frame between the caller and the switch costs a mispredicted return.
    #[inline]
    #[track_caller]
    fn wait_to_give(
        &self,
        mut state: MutexGuard<'_, State<S>>,
        item: S::Item,
        what: &'static str,
        deadline: Option<Instant>,
    ) -> Result<(), (Why, S::Item)> {
        let reason = self.ended_by(Role::Consumer, Reason::new(what, self));
        let slot = Slot::with(item);
        let waiter = pin!(Waiter::new());
        let waiter = waiter.as_ref();
        // SAFETY: required: `slot` stays until selected or left. It outlives `waiter`, which does
        // not go before.
        unsafe { state.givers.enqueue(waiter, CHOSEN, &slot) };
        drop(state);
        let leave = || self.leave_givers(waiter, CHOSEN);
        let ended = waiter.wait_unless_interrupted(&reason, deadline, leave);
        match slot.take() {
            None => Ok(()),
            Some(item) => Err((why(ended), item)),
        }
    }

    #[inline]
    #[track_caller]
    fn wait_to_take(
        &self,
        mut state: MutexGuard<'_, State<S>>,
        what: &'static str,
        deadline: Option<Instant>,
    ) -> Result<S::Item, Why> {
        let reason = self.ended_by(Role::Producer, Reason::new(what, self));
        let slot = Slot::empty();
        let waiter = pin!(Waiter::new());
        let waiter = waiter.as_ref();
        // SAFETY: required: `slot` stays until selected or left. It outlives `waiter`, which does
        // not go before.
        unsafe { state.takers.enqueue(waiter, CHOSEN, &slot) };
        drop(state);
        let leave = || self.leave_takers(waiter, CHOSEN);
        let ended = waiter.wait_unless_interrupted(&reason, deadline, leave);
        slot.take().ok_or_else(|| why(ended))
    }

    /// Makes giving fail; stored items can still be taken. Wakes all waiters that cannot be served
    /// any more.
    pub(crate) fn close(&self) {
        self.enter(Phase::Draining);
    }

    /// As [`Exchange::close`], and drops what is stored.
    pub(crate) fn shut(&self) {
        self.enter(Phase::Shut);
    }

    fn enter(&self, phase: Phase) {
        let mut state = self.state.lock();
        if state.phase != Phase::Shut {
            state.phase = phase;
        }
        // The items may refer to the exchange themselves: they are dropped without the lock.
        let dropped = (phase == Phase::Shut).then(|| state.store.drain());
        let mut woken = state.givers.refuse_all();
        woken.extend(state.takers.refuse_all());
        drop(state);
        woken.iter().for_each(Unparker::unpark);
        drop(dropped);
    }

    /// The number of stored items.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().store.len()
    }

    /// The maximum number of stored items; `usize::MAX` means any number.
    pub(crate) fn capacity(&self) -> usize {
        self.state.lock().capacity
    }

    /// Returns `true` if there is no room at this moment; always `false` with a capacity of 0.
    pub(crate) fn is_full(&self) -> bool {
        let state = self.state.lock();
        state.store.len() >= state.capacity
    }

    /// Runs `f` with the store, under the lock.
    pub(crate) fn with_store<R>(&self, f: impl FnOnce(&mut S) -> R) -> R {
        f(&mut self.state.lock().store)
    }

    /// Enters the queue of producers; returns `false` if it need not wait.
    ///
    /// # Safety
    ///
    /// The slot must stay in place until the waiter was selected or has left the queue.
    pub(crate) unsafe fn join_givers(
        &self,
        waiter: Pin<&Waiter>,
        arm: Selection,
        slot: &Slot<S::Item>,
    ) -> bool {
        let mut state = self.state.lock();
        if state.phase != Phase::Open || state.has_room() || state.takers.has_other_than(waiter) {
            return false;
        }
        // SAFETY: required: the slot stays. By our own contract.
        unsafe { state.givers.enqueue(waiter, arm, slot) };
        true
    }

    /// Enters the queue of consumers; returns `false` if it need not wait.
    ///
    /// # Safety
    ///
    /// The slot must stay in place until the waiter was selected or has left the queue.
    pub(crate) unsafe fn join_takers(
        &self,
        waiter: Pin<&Waiter>,
        arm: Selection,
        slot: &Slot<S::Item>,
    ) -> bool {
        let mut state = self.state.lock();
        let stored = state.store.len() > 0;
        if state.phase != Phase::Open || stored || state.givers.has_other_than(waiter) {
            return false;
        }
        // SAFETY: required: the slot stays. By our own contract.
        unsafe { state.takers.enqueue(waiter, arm, slot) };
        true
    }

    /// Leaves the queue of producers, if the waiter is still in it.
    pub(crate) fn leave_givers(&self, waiter: Pin<&Waiter>, arm: Selection) {
        self.state.lock().givers.remove(waiter, arm);
    }

    /// Leaves the queue of consumers, if the waiter is still in it.
    pub(crate) fn leave_takers(&self, waiter: Pin<&Waiter>, arm: Selection) {
        self.state.lock().takers.remove(waiter, arm);
    }
}

impl<S: Store> State<S> {
    #[inline]
    fn has_room(&self) -> bool {
        self.store.len() < self.capacity
    }

    #[inline]
    fn give(&mut self, item: S::Item, woken: &mut Woken) -> Result<(), (Why, S::Item)> {
        if self.phase != Phase::Open {
            return Err((Why::Closed, item));
        }
        let item = match self.takers.deliver(item) {
            Ok(waiter) => {
                woken.0 = Some(waiter);
                self.store.on_direct_handoff();
                return Ok(());
            }
            Err(item) => item,
        };
        if !self.has_room() {
            return Err((Why::NotNow, item));
        }
        self.store.push(item);
        Ok(())
    }

    #[inline]
    fn take(&mut self, woken: &mut Woken) -> Result<S::Item, Why> {
        if let Some(item) = self.store.pop() {
            if self.has_room()
                && let Some((next, waiter)) = self.givers.fetch()
            {
                woken.0 = Some(waiter);
                self.store.refill(next);
            }
            return Ok(item);
        }
        if let Some((item, waiter)) = self.givers.fetch() {
            woken.0 = Some(waiter);
            self.store.on_direct_handoff();
            return Ok(item);
        }
        Err(if self.phase == Phase::Open { Why::NotNow } else { Why::Closed })
    }
}

/// The reason why a wait has ended without being served.
fn why(ended: Result<Option<Selection>, Interrupt>) -> Why {
    match ended {
        Ok(Some(_)) => Why::Closed,
        Ok(None) => Why::Late,
        Err(interrupt) => interrupt.unwind(),
    }
}
