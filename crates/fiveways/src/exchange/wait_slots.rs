//! The lines of an exchange: who waits, for which arm of its choice, with its slot.
//!
//! ```text
//!   WaitSlots (under the exchange's lock)        frame of who waits
//!   ┌──────────────────────────────┐          ┌──────────────────────┐
//!   │ arm │ slot │ waiter ─────────┼────────▶ │ Waiter               │
//!   │  …  │  └─────────────────────┼────────▶ │ Slot: Option<item>   │
//!   └──────────────────────────────┘          └──────────────────────┘
//! ```
//!
//! A slot is touched by others only under the lock, while its waiter stands in the line with it,
//! and for the last time *before* that is selected. Who gives up takes the lock to leave the line
//! before its frame goes. So a slot that is pointed at is always there, and never touched by two at
//! a time.
#![expect(unsafe_code, reason = "slots are in the frames of who waits")]

use std::cell::Cell;
use std::pin::Pin;
use std::ptr::NonNull;

use fiveways_runtime::{Selection, Unparker, WaitQueue, Waiter};

/// What a waiter gives or is given; lies in its frame.
pub(crate) struct Slot<T>(Cell<Option<T>>);

impl<T> Slot<T> {
    /// Makes the slot of a taker.
    #[inline]
    pub(crate) fn empty() -> Slot<T> {
        Slot(Cell::new(None))
    }

    /// Makes the slot of a giver.
    #[inline]
    pub(crate) fn with(item: T) -> Slot<T> {
        Slot(Cell::new(Some(item)))
    }

    /// Takes what is in it.
    #[inline]
    pub(crate) fn take(&self) -> Option<T> {
        self.0.take()
    }

    /// Is anything in it?
    pub(crate) fn is_full(&self) -> bool {
        let item = self.0.take();
        let full = item.is_some();
        self.0.set(item);
        full
    }

    /// Fills it; what was in it is dropped.
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

/// A line of those who wait, first come first served.
pub(super) struct WaitSlots<T>(WaitQueue<WaitSlot<T>>);

impl<T> WaitSlots<T> {
    pub(super) const fn new() -> WaitSlots<T> {
        WaitSlots(WaitQueue::new())
    }

    /// Goes to the end of the line.
    ///
    /// # Safety
    ///
    /// The slot must stay in place until the waiter was selected or has left the line.
    #[inline]
    pub(super) unsafe fn enqueue(&mut self, waiter: Pin<&Waiter>, arm: Selection, slot: &Slot<T>) {
        self.0.enqueue_with(waiter, WaitSlot { arm, slot: NonNull::from(slot) });
    }

    /// Leaves the line, if it is in it.
    pub(super) fn remove(&mut self, waiter: Pin<&Waiter>, arm: Selection) {
        self.0.remove_with(waiter, |place| place.arm == arm);
    }

    /// Does anybody else in the line still wait?
    pub(super) fn has_other_than(&self, waiter: Pin<&Waiter>) -> bool {
        self.0.has_other_than(waiter)
    }

    /// Participants an item to the first that still waits, which is to be unparked; or gives it
    /// back.
    #[inline]
    pub(super) fn role(&mut self, mut item: T) -> Result<Unparker, T> {
        let mut at = 0;
        while let Some(place) = self.0.want(at) {
            place.slot().fill(item);
            let arm = place.arm;
            if let Some(unparker) = self.0.select(at, arm) {
                return Ok(unparker);
            }
            // Something else was chosen by it, or it has given up; it has not left yet.
            item = self.0.want(at).and_then(|place| place.slot().take()).expect(UNTOUCHED);
            at += 1;
        }
        Err(item)
    }

    /// Takes the item of the first that still waits, which is to be unparked.
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

    /// Selects all that still wait, with their slots as they are; they are to be unparked.
    pub(super) fn refuse_all(&mut self) -> Vec<Unparker> {
        self.0.select_all_by(|place| place.arm)
    }
}

const UNTOUCHED: &str = "only its waiter changes a slot, and not while it is in the line";
