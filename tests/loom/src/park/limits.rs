//! In the place of the runtime's unwinding: a cancelled waiter leaves its queues, and unwinds.

use std::cell::Cell;
use std::fmt;
use std::panic::resume_unwind;

loom::thread_local! {
    static UNWINDS: Cell<bool> = Cell::new(false);
}

/// What a cancelled thread unwinds with: until it is dropped.
pub(crate) struct Cancelled;

impl Drop for Cancelled {
    fn drop(&mut self) {
        UNWINDS.with(|unwinds| unwinds.set(false));
    }
}

/// Why a wait does not go on.
pub struct Interrupt(());

impl Interrupt {
    pub(crate) fn cancelled() -> Interrupt {
        Interrupt(())
    }

    /// Unwinds.
    pub fn unwind(self) -> ! {
        UNWINDS.with(|unwinds| unwinds.set(true));
        resume_unwind(Box::new(Cancelled))
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupt").finish_non_exhaustive()
    }
}

/// Does the calling thread unwind?
pub(crate) fn unwinds() -> bool {
    UNWINDS.with(Cell::get)
}
