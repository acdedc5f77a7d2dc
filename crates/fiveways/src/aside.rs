//! What runs inside a task, or a thread, on a stack of its own and is no task.
//!
//! Stacks come from a pool that each thread keeps.
//!
//! A `timeout` scope is known to its task as a deadline, for all that runs inside the scope. What
//! suspends inside a scope leaves it for a while: then its deadline must not count for who goes on,
//! and must count again when it is resumed.

use std::cell::RefCell;
use std::io;
use std::time::Instant;

use fiveways_coro::{Coroutine, DEFAULT_STACK_SIZE, Phase, Stack, StackPool, State, Suspender};
use fiveways_runtime::{scope_deadline, set_scope_deadline};

thread_local! {
    static POOL: RefCell<StackPool> = {
        // Without them an overflow is told without a name, and no less an end.
        let _ = fiveways_coro::install_overflow_handler();
        let _ = fiveways_coro::prepare_thread();
        RefCell::new(StackPool::new(DEFAULT_STACK_SIZE))
    };
}

/// A coroutine that keeps its own time limits; dropped while suspended it is unwound.
pub(crate) struct Aside {
    coroutine: Coroutine,
    /// The deadline of the scopes that it was suspended in.
    limit: Option<Instant>,
}

impl Aside {
    /// Makes one with a stack of so many bytes, or of the usual number.
    pub(crate) fn new(
        name: &str,
        bytes: Option<usize>,
        body: impl FnOnce(&Suspender) + 'static,
    ) -> io::Result<Aside> {
        let coroutine = Coroutine::new(stack(bytes)?, body);
        coroutine.set_name(name);
        Ok(Aside { coroutine, limit: None })
    }

    pub(crate) fn phase(&self) -> Phase {
        self.coroutine.phase()
    }

    pub(crate) fn suspender(&self) -> Suspender {
        self.coroutine.suspender()
    }

    /// Runs it on, in the time limits that it was suspended in and those of the caller.
    pub(crate) fn resume(&mut self) -> State {
        let callers = Callers::now();
        let both = self.limit.into_iter().chain(callers.0).min();
        if both != callers.0 {
            set_scope_deadline(both);
        }
        let state = self.coroutine.resume();
        let now = scope_deadline();
        self.limit = now.filter(|_| now != callers.0);
        state
    }

    /// Unwinds it if it is suspended; see [`Coroutine::unwind`].
    pub(crate) fn unwind(&mut self) {
        let _callers = Callers::now();
        self.coroutine.unwind();
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if self.phase() == Phase::Suspended {
            self.unwind();
        }
    }
}

/// The caller's time limit, which it gets back.
struct Callers(Option<Instant>);

impl Callers {
    fn now() -> Callers {
        Callers(scope_deadline())
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        if scope_deadline() != self.0 {
            set_scope_deadline(self.0);
        }
    }
}

fn stack(bytes: Option<usize>) -> io::Result<Stack> {
    match bytes {
        Some(bytes) => Stack::alone(bytes),
        None => {
            let pooled = POOL.try_with(|pool| pool.borrow_mut().take());
            pooled.unwrap_or_else(|_| Stack::alone(DEFAULT_STACK_SIZE))
        }
    }
}
