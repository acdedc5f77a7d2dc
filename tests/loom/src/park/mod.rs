//! In the place of the runtime's parking: one token for each thread of a model.
//!
//! Time does not pass here, and nobody is cancelled, unless the model lets it happen with a
//! [`Fate`](crate::fate::Fate): then at every moment in turn.

pub mod limits;

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread::Thread;

use crate::identity::{Identity, this_thread};
use crate::park::limits::{Interrupt, unwinds};
use crate::reason::Reason;

const UNPARKED: usize = 1;
const LATE: usize = 2;
const CANCELLED: usize = 4;

/// Why a park ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Unparked, now or before.
    Unparked,
    /// The deadline has come.
    TimedOut,
}

/// What has happened to a thread.
#[derive(Default)]
pub(crate) struct Token {
    /// `UNPARKED` by anybody, taken by the thread; `LATE` and `CANCELLED` by the model, for ever.
    signs: AtomicUsize,
    /// Not a step of the model: it changes with `signs`.
    parked: Mutex<Option<Thread>>,
}

loom::thread_local! {
    static HERE: RefCell<Arc<Token>> = RefCell::default();
}

thread_local! {
    /// The tokens of those who have waited in this run of the model: of all its threads, which are
    /// one thread to std.
    static WAITED: RefCell<Vec<Arc<Token>>> = RefCell::default();
}

/// Forgets the last run.
pub(crate) fn begin() {
    WAITED.take();
}

impl Token {
    pub(crate) fn expire(&self) {
        self.give(LATE);
    }

    pub(crate) fn cancel(&self) {
        self.give(CANCELLED);
    }

    fn give(&self, sign: usize) {
        self.signs.fetch_or(sign, Ordering::Release);
        let parked = self.parked().take();
        if let Some(thread) = parked {
            thread.unpark();
        }
    }

    fn parked(&self) -> MutexGuard<'_, Option<Thread>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the token. Before the thread sleeps the token goes before the cancel, after it the
    /// cancel before the token, as with tasks.
    fn take(&self, deadline: Option<Instant>) -> Result<Wake, Interrupt> {
        let may_end = if unwinds() { UNPARKED } else { UNPARKED | CANCELLED };
        let may_end = if deadline.is_some() { may_end | LATE } else { may_end };
        let mut slept = false;
        loop {
            let signs = self.signs.fetch_and(!UNPARKED, Ordering::Acquire) & may_end;
            if signs & UNPARKED != 0 && !(slept && signs & CANCELLED != 0) {
                return Ok(Wake::Unparked);
            }
            if signs & CANCELLED != 0 {
                return Err(Interrupt::cancelled());
            }
            if signs & LATE != 0 {
                return Ok(Wake::TimedOut);
            }
            *self.parked() = Some(loom::thread::current());
            loom::thread::park();
            slept = true;
        }
    }
}

/// Runs `f` with this token.
pub(crate) fn with_token<R>(token: &Arc<Token>, f: impl FnOnce() -> R) -> R {
    HERE.with(|here| *here.borrow_mut() = Arc::clone(token));
    let result = f();
    HERE.with(|here| *here.borrow_mut() = Arc::default());
    result
}

fn here() -> Arc<Token> {
    HERE.with(|here| Arc::clone(&here.borrow()))
}

/// Unparks one thread of the model: by its number among those who have waited.
#[derive(Clone, Copy, Debug)]
pub struct Unparker(usize);

impl Unparker {
    /// Makes the thread's present or next park return.
    pub fn unpark(&self) {
        let token = WAITED.with_borrow(|waited| Arc::clone(&waited[self.0]));
        token.give(UNPARKED);
    }
}

/// Gives the means to unpark the caller.
pub fn unparker() -> Unparker {
    let token = here();
    WAITED.with_borrow_mut(|waited| {
        waited.push(token);
        Unparker(waited.len() - 1)
    })
}

/// Parks the caller until it is unparked, or the model says that it is late or cancelled.
pub fn park_unless_interrupted(
    _reason: &Reason<'_>,
    deadline: Option<Instant>,
) -> Result<Wake, Interrupt> {
    here().take(deadline)
}

/// The caller's number.
pub fn me() -> Identity {
    this_thread()
}

/// Nothing to let others go first for: every order is tried anyway.
pub fn spend() {}

/// Runs `f`; models do not cancel inside.
pub fn without_interruption<R>(f: impl FnOnce() -> R) -> R {
    f()
}
