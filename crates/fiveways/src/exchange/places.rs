//! The lines of an exchange: who waits, for which arm of its choice, with its slot.
//!
//! ```text
//!   Places (under the exchange's lock)        frame of who waits
//!   ┌──────────────────────────────┐          ┌──────────────────────┐
//!   │ waiter │ arm │ slot ─────────┼────────▶ │ Slot: Option<item>   │
//!   │   …    │  …  │   …           │          │ Lease: the waiter    │
//!   └──────────────────────────────┘          └──────────────────────┘
//! ```
//!
//! A slot is touched by others only under the lock, by who has just taken its place out of the
//! line, and for the last time *before* its waiter is selected. Who gives up takes the lock to
//! leave the line before its frame goes. So a slot that is pointed at is always there, and never
//! touched by two at a time.
#![expect(unsafe_code, reason = "slots are in the frames of who waits")]

use std::cell::Cell;
use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::Arc;

use fiveways_runtime::{Selection, Waiter};

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

struct Place<T> {
    waiter: Arc<Waiter>,
    arm: Selection,
    slot: NonNull<Slot<T>>,
}

// SAFETY: required: what it points at may be used from another thread. The lock of the exchange and
// the waiter's state order all uses of the slot (see above), and its item may be sent.
unsafe impl<T: Send> Send for Place<T> {}

impl<T> Place<T> {
    #[inline]
    fn slot(&self) -> &Slot<T> {
        // SAFETY: required: a slot in place. It is, as long as its place is in the line or its
        // waiter is not selected: by the contract of `join`, and we are under the lock.
        unsafe { self.slot.as_ref() }
    }
}

/// A line of those who wait, first come first served.
pub(super) struct Places<T>(VecDeque<Place<T>>);

impl<T> Places<T> {
    pub(super) const fn new() -> Places<T> {
        Places(VecDeque::new())
    }

    /// Goes to the end of the line.
    ///
    /// # Safety
    ///
    /// The slot must stay in place until the waiter was selected or has left the line.
    #[inline]
    pub(super) unsafe fn join(&mut self, waiter: &Arc<Waiter>, arm: Selection, slot: &Slot<T>) {
        let (waiter, slot) = (Arc::clone(waiter), NonNull::from(slot));
        self.0.push_back(Place { waiter, arm, slot });
    }

    /// Leaves the line, if it is in it.
    pub(super) fn leave(&mut self, waiter: &Arc<Waiter>, arm: Selection) {
        let is_it = |place: &Place<T>| place.arm == arm && Arc::ptr_eq(&place.waiter, waiter);
        if let Some(at) = self.0.iter().position(is_it) {
            self.0.remove(at);
        }
    }

    /// Is anybody else in the line?
    pub(super) fn has_other_than(&self, waiter: &Arc<Waiter>) -> bool {
        self.0.iter().any(|place| !Arc::ptr_eq(&place.waiter, waiter))
    }

    /// Hands an item to the first that still waits, which is to be unparked; or gives it back.
    #[inline]
    pub(super) fn hand(&mut self, mut item: T) -> Result<Arc<Waiter>, T> {
        while let Some(place) = self.0.pop_front() {
            place.slot().fill(item);
            if place.waiter.select(place.arm) {
                return Ok(place.waiter);
            }
            // It has given up, and waits for the lock to leave.
            item = place.slot().take().expect("only its waiter empties a slot, when selected");
        }
        Err(item)
    }

    /// Takes the item of the first that still waits, which is to be unparked.
    #[inline]
    pub(super) fn fetch(&mut self) -> Option<(T, Arc<Waiter>)> {
        while let Some(place) = self.0.pop_front() {
            let item = place.slot().take().expect("a giver's slot is full while it waits");
            if place.waiter.select(place.arm) {
                return Some((item, place.waiter));
            }
            // It has given up, and waits for the lock to leave, with its item.
            place.slot().fill(item);
        }
        None
    }

    /// Selects all that still wait, with their slots as they are; they are to be unparked.
    pub(super) fn refuse_all(&mut self) -> Vec<Arc<Waiter>> {
        let chosen = |place: Place<T>| place.waiter.select(place.arm).then_some(place.waiter);
        self.0.drain(..).filter_map(chosen).collect()
    }
}
