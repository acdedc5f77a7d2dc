//! In the place of `std::cell`: a cell that notices uses out of order.
#![expect(unsafe_code, reason = "whether it is alone is what loom is asked")]

use std::mem;

use loom::cell::UnsafeCell;

/// A cell whose every use must be ordered with every other.
pub struct Cell<T>(UnsafeCell<T>);

impl<T> Cell<T> {
    /// Makes one.
    pub fn new(value: T) -> Cell<T> {
        Cell(UnsafeCell::new(value))
    }

    /// Replaces what is in it.
    pub fn set(&self, value: T) {
        // SAFETY: required: nobody else uses it. Else loom has ended the model before.
        drop(self.0.with_mut(|place| mem::replace(unsafe { &mut *place }, value)));
    }

    /// Takes what is in it.
    pub fn take(&self) -> T
    where
        T: Default,
    {
        // SAFETY: required: nobody else uses it. Else loom has ended the model before.
        self.0.with_mut(|place| mem::take(unsafe { &mut *place }))
    }
}
