//! What models put under locks and into channels: it notices two that touch it at a time.

use loom::cell::UnsafeCell;

/// A number whose every use must be ordered with every other.
#[derive(Debug)]
pub struct Witness(UnsafeCell<usize>);

#[expect(unsafe_code, reason = "whether it may be shared is what loom is asked")]
// SAFETY: required: shareable between threads. Loom ends a model that shares it out of order.
unsafe impl Sync for Witness {}

impl Witness {
    /// Makes one.
    pub fn new(number: usize) -> Witness {
        Witness(UnsafeCell::new(number))
    }

    /// Adds to it, alone; gives the sum.
    #[expect(unsafe_code, reason = "whether it is alone is what loom is asked")]
    pub fn add(&self, more: usize) -> usize {
        self.0.with_mut(|number| {
            // SAFETY: required: nobody else uses it. Else loom has ended the model before.
            let number = unsafe { &mut *number };
            *number += more;
            *number
        })
    }

    /// Reads it; others may, too.
    #[expect(unsafe_code, reason = "whether nobody writes is what loom is asked")]
    pub fn read(&self) -> usize {
        self.0.with(|number| {
            // SAFETY: required: nobody writes it. Else loom has ended the model before.
            unsafe { *number }
        })
    }
}
