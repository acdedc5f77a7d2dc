//! What the product's files find in the place of std.

pub mod cell;
pub mod thread;
pub mod lock;

pub mod sync {
    //! In the place of `std::sync`.

    pub use loom::sync::Arc;
    pub use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult, mpsc};

    pub mod atomic {
        //! Loom's atomics.

        pub use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
    }
}
