//! Coroutines inside a task, or a thread, that are not tasks themselves.
//!
//! Stacks come from a pool that each thread keeps.
//!
//! A task knows a `timeout` scope as a deadline, for all that runs inside the scope. A coroutine
//! that suspends inside a scope leaves it for a while: its deadline must not apply to its caller,
//! and must apply again when it is resumed.

use std::cell::RefCell;
use std::io;

use fiveways_coro::{Coroutine, DEFAULT_STACK_SIZE, Phase, Stack, StackPool, State, Suspender};
use fiveways_runtime::{OuterLimits, SavedLimits, install_limits, restore_limits};

thread_local! {
    static POOL: RefCell<StackPool> = {
        // Without them an overflow is reported without a name, and ends the process all the same.
        let _ = fiveways_coro::install_overflow_handler();
        let _ = fiveways_coro::prepare_thread();
        RefCell::new(StackPool::new(DEFAULT_STACK_SIZE))
    };
}

/// A coroutine that keeps its own time limits; unwound if it is dropped while suspended.
pub(crate) struct NestedCoroutine {
    coroutine: Coroutine,
    /// The time limits in which it was suspended.
    standing: SavedLimits,
}

impl NestedCoroutine {
    /// Makes one with a stack of this many bytes, or of the default size.
    pub(crate) fn new(
        name: &str,
        bytes: Option<usize>,
        body: impl FnOnce(&Suspender) + 'static,
    ) -> io::Result<NestedCoroutine> {
        let coroutine = Coroutine::new(stack(bytes)?, body)?;
        coroutine.set_name(name);
        Ok(NestedCoroutine { coroutine, standing: SavedLimits::default() })
    }

    pub(crate) fn phase(&self) -> Phase {
        self.coroutine.phase()
    }

    pub(crate) fn suspender(&self) -> Suspender {
        self.coroutine.suspender()
    }

    /// Resumes it, in the time limits in which it was suspended and those of the caller.
    pub(crate) fn resume(&mut self) -> State {
        let mut entered = Entered::new(&mut self.standing);
        let state = self.coroutine.resume();
        entered.leave();
        state
    }

    /// Unwinds it if it is suspended; see [`Coroutine::unwind`].
    pub(crate) fn unwind(&mut self) {
        let _entered = Entered::new(&mut self.standing);
        self.coroutine.unwind();
    }
}

/// The time during which another stack runs: at its end the caller has its own limits again.
struct Entered<'a> {
    standing: &'a mut SavedLimits,
    caller: Option<OuterLimits>,
}

impl<'a> Entered<'a> {
    fn new(standing: &'a mut SavedLimits) -> Entered<'a> {
        let caller = Some(install_limits(*standing));
        Entered { standing, caller }
    }

    fn leave(&mut self) {
        if let Some(caller) = self.caller.take() {
            *self.standing = restore_limits(caller);
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Drop for NestedCoroutine {
    fn drop(&mut self) {
        if self.phase() == Phase::Suspended {
            self.unwind();
        }
    }
}

fn stack(bytes: Option<usize>) -> io::Result<Stack> {
    match bytes {
        Some(bytes) => {
            // This thread is prepared for either kind.
            let _ = POOL.try_with(|_| ());
            Stack::alone(bytes)
        }
        None => {
            let pooled = POOL.try_with(|pool| pool.borrow_mut().take());
            pooled.unwrap_or_else(|_| Stack::alone(DEFAULT_STACK_SIZE))
        }
    }
}
