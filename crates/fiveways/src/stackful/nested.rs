//! What runs inside a task, or a thread, on a stack of its own and is no task.
//!
//! Stacks come from a pool that each thread keeps.
//!
//! A `timeout` scope is known to its task as a deadline, for all that runs inside the scope. What
//! suspends inside a scope leaves it for a while: then its deadline must not count for who goes on,
//! and must count again when it is resumed.

use std::cell::RefCell;
use std::io;

use fiveways_coro::{Coroutine, DEFAULT_STACK_SIZE, Phase, Stack, StackPool, State, Suspender};
use fiveways_runtime::{OuterLimits, SavedLimits, install_limits, restore_limits};

thread_local! {
    static POOL: RefCell<StackPool> = {
        // Without them an overflow is told without a name, and no less an end.
        let _ = fiveways_coro::install_overflow_handler();
        let _ = fiveways_coro::prepare_thread();
        RefCell::new(StackPool::new(DEFAULT_STACK_SIZE))
    };
}

/// A coroutine that keeps its own time limits; dropped while suspended it is unwound.
pub(crate) struct NestedCoroutine {
    coroutine: Coroutine,
    /// The time limits that it was suspended in.
    standing: SavedLimits,
}

impl NestedCoroutine {
    /// Makes one with a stack of so many bytes, or of the usual number.
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

    /// Runs it on, in the time limits that it was suspended in and those of the caller.
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

/// The time in which another stack runs: at its end the caller has its own limits again.
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
