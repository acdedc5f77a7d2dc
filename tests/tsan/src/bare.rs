//! What only the sanitizer protects.

use std::cell::UnsafeCell;

/// A number that is shared without care.
#[derive(Default)]
pub(crate) struct Bare(UnsafeCell<usize>);

#[expect(unsafe_code, reason = "whether it is shared in order is what the sanitizer is asked")]
// SAFETY: required: shared in order. The sanitizer tells where it is not.
unsafe impl Sync for Bare {}

impl Bare {
    #[expect(unsafe_code, reason = "whether it is alone is what the sanitizer is asked")]
    pub(crate) fn add(&self) {
        // SAFETY: required: nobody else uses it. The sanitizer tells when somebody does.
        unsafe { *self.0.get() += 1 };
    }
}
