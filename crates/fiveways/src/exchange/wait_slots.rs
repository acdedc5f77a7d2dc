//! The wait queues of an exchange: waiters, each with its slot and the arm that it waits for.
//!
//! ```text
//!   WaitSlots (under the exchange's lock)        frame of a waiter
//!   ┌──────────────────────────────┐          ┌──────────────────────┐
//!   │ arm │ slot │ waiter ─────────┼────────▶ │ Waiter               │
//!   │  …  │  └─────────────────────┼────────▶ │ Slot: Option<item>   │
//!   └──────────────────────────────┘          └──────────────────────┘
//! ```
//!
//! A slot is accessed by other threads only under the lock, while its waiter is in the queue, and
//! for the last time *before* the waiter is selected. A waiter that gives up takes the lock to
//! leave the queue before its frame ends. So a slot in the queue always exists, and is never
//! accessed by two threads at a time.
#![expect(unsafe_code, reason = "slots are in the frames of who waits")]

use std::cell::Cell;
use std::pin::Pin;
use std::ptr::NonNull;

use fiveways_runtime::{Selection, Unparker, WaitQueue, Waiter};

/// The item that a waiter gives or is given; lives in its frame.
pub(crate) struct Slot<T>(Cell<Option<T>>);

impl<T> Slot<T> {
    /// Makes the slot of a consumer.
    #[inline]
    pub(crate) fn empty() -> Slot<T> {
        Slot(Cell::new(None))
    }

    /// Makes the slot of a producer.
    #[inline]
    pub(crate) fn with(item: T) -> Slot<T> {
        Slot(Cell::new(Some(item)))
    }

    /// Takes the item out.
    #[inline]
    pub(crate) fn take(&self) -> Option<T> {
        self.0.take()
    }

    /// Returns `true` if it holds an item.
    pub(crate) fn is_full(&self) -> bool {
        let item = self.0.take();
        let full = item.is_some();
        self.0.set(item);
        full
    }

    /// Fills it, and drops the previous content.
    #[inline]
    pub(crate) fn fill(&self, item: T) {
        self.0.set(Some(item));
    }
}

struct WaitSlot<T> {
    arm: Selection,
    slot: NonNull<Slot<T>>,
}

// SAFETY: required: what it points at may be used from another thread. The lock of the exchange and
// the waiter's state order all uses of the slot (see above), and its item may be sent.
unsafe impl<T: Send> Send for WaitSlot<T> {}

impl<T> WaitSlot<T> {
    #[inline]
    fn slot(&self) -> &Slot<T> {
        // SAFETY: required: a slot in place. It is, as long as its place is in the line: by the
        // contract of `join`, and we are under the lock.
        unsafe { self.slot.as_ref() }
    }
}

/// A queue of waiters, first come, first served.
pub(super) struct WaitSlots<T>(WaitQueue<WaitSlot<T>>);

impl<T> WaitSlots<T> {
    pub(super) const fn new() -> WaitSlots<T> {
        WaitSlots(WaitQueue::new())
    }

    /// Enters at the end of the queue.
    ///
    /// # Safety
    ///
    /// The slot must stay in place until the waiter was selected or has left the queue.
    #[inline]
    pub(super) unsafe fn enqueue(&mut self, waiter: Pin<&Waiter>, arm: Selection, slot: &Slot<T>) {
        self.0.enqueue_with(waiter, WaitSlot { arm, slot: NonNull::from(slot) });
    }

    /// Leaves the queue, if the waiter is in it.
    pub(super) fn remove(&mut self, waiter: Pin<&Waiter>, arm: Selection) {
        self.0.remove_with(waiter, |place| place.arm == arm);
    }

    /// Returns `true` if another waiter in the queue is still waiting.
    pub(super) fn has_other_than(&self, waiter: Pin<&Waiter>) -> bool {
        self.0.has_other_than(waiter)
    }

    /// Gives an item to the first waiter that is still waiting, and returns it to be unparked; or
    /// returns the item.
    #[inline]
    pub(super) fn deliver(&mut self, mut item: T) -> Result<Unparker, T> {
        let mut at = 0;
        while let Some(place) = self.0.want(at) {
            place.slot().fill(item);
            let arm = place.arm;
            if let Some(unparker) = self.0.select(at, arm) {
                return Ok(unparker);
            }
            // Another arm was selected for it, or it has given up; it has not left yet.
            item = self.0.want(at).and_then(|place| place.slot().take()).expect(UNTOUCHED);
            at += 1;
        }
        Err(item)
    }

    /// Takes the item of the first waiter that is still waiting, and returns it to be unparked.
    #[inline]
    pub(super) fn fetch(&mut self) -> Option<(T, Unparker)> {
        let mut at = 0;
        while let Some(place) = self.0.want(at) {
            let item = place.slot().take().expect(UNTOUCHED);
            let arm = place.arm;
            if let Some(unparker) = self.0.select(at, arm) {
                return Some((item, unparker));
            }
            // As above; it keeps its item.
            if let Some(place) = self.0.want(at) {
                place.slot().fill(item);
            }
            at += 1;
        }
        None
    }

    /// Selects all that are still waiting, with their slots as they are; returns them to be
    /// unparked.
    pub(super) fn refuse_all(&mut self) -> Vec<Unparker> {
        self.0.select_all_by(|place| place.arm)
    }
}

const UNTOUCHED: &str = "only its waiter changes a slot, and not while it is in the line";
