//! A fiber that safe code can own, suspend and drop.
//!
//! ```text
//!            resume                  body returns or unwinds
//!   Fresh ──────────▶ Running ─────────────────────────────▶ Finished
//!     │                │   ▲                                   ▲
//!     │        suspend ▼   │ resume                            │
//!     │               Suspended ──drop: resumed to be unwound──┘
//!     └──drop: the body is dropped unrun
//! ```
//!
//! Frames that are suspended may borrow thread-locals. Once the thread has begun to destroy those,
//! a coroutine that was suspended before counts as finished: it is neither resumed nor unwound, and
//! its stack is never used again.
//!
//! Stacks that run form a chain: each was resumed from the one below it, and code runs on the top
//! one only. Whoever suspends a stack takes all above it along. For tasks that is what is wanted
//! (their worker does it, see below); a coroutine may suspend only itself, on its own stack, which
//! is checked by the stack pointer. So the chain is always what its coroutines believe it to be.
//!
//! ```text
//!   worker ──▶ task ──▶ coroutine    `Fiber::suspend(task)` from here keeps both together:
//!                                    the switch saves where it was called, wherever that is
//! ```
#![expect(unsafe_code, reason = "suspends by pointer, and reads the stack pointer")]

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::rc::Rc;
use std::thread;

use fiveways_sys::ending::{self, Moment, moment};

use crate::fiber::{Fiber, State};
use crate::stack::Stack;

/// The states of a [`Coroutine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Made and never resumed.
    Fresh,
    /// Suspended by itself.
    Suspended,
    /// On the chain of running stacks, at its top or below it.
    Running,
    /// Its body returned or unwound; or never will, because its thread ends.
    Finished,
}

/// The order to a suspended body to unwind.
struct Unwind;

/// A coroutine that runs a function on a stack of its own.
///
/// One that is dropped while it is suspended is resumed a last time and unwound, so that the
/// destructors of what lies on its stack run. Not so when its thread has begun to destroy its
/// thread-locals, which that may borrow: then it is left as it is, with its stack.
///
/// # Examples
///
/// ```
/// use fiveways_coro::{Coroutine, DEFAULT_STACK_SIZE, Stack, State};
///
/// # fn main() -> std::io::Result<()> {
/// let stack = Stack::alone(DEFAULT_STACK_SIZE)?;
/// let mut coroutine = Coroutine::new(stack, |me| {
///     me.suspend();
/// })?;
/// assert_eq!(coroutine.resume(), State::Suspended);
/// assert_eq!(coroutine.resume(), State::Finished);
/// # Ok(())
/// # }
/// ```
///
/// It stays on its thread:
///
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<fiveways_coro::Coroutine>();
/// ```
pub struct Coroutine {
    /// Until it has finished.
    fiber: Option<Fiber<()>>,
    shared: Rc<Shared>,
}

/// What a coroutine and its suspender share.
struct Shared {
    phase: Cell<Phase>,
    /// The fiber, while it lives.
    header: Cell<Option<NonNull<()>>>,
    /// The addresses of its stack.
    stack: Range<usize>,
    /// It is to unwind.
    ending: Cell<bool>,
    /// When it was resumed or suspended last.
    switched: Cell<Moment>,
    /// Was the thread already unwinding when it was resumed?
    resumed_in_panic: Cell<bool>,
    /// What it has unwound with.
    payload: Cell<Option<Box<dyn Any + Send>>>,
}

impl Shared {
    #[inline]
    fn phase(&self) -> Phase {
        match self.phase.get() {
            Phase::Suspended if !self.switched.get().lasts() => Phase::Finished,
            phase => phase,
        }
    }
}

/// Bodies larger than this are kept on the heap: a body lies on its stack twice when it begins.
const CAPTURES_MAX: usize = 512;

impl Coroutine {
    /// Makes a coroutine that runs `body` on `stack` when it is first resumed.
    ///
    /// Never suspends.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the C library does not tell of the end of a thread.
    pub fn new<F: FnOnce(&Suspender) + 'static>(stack: Stack, body: F) -> io::Result<Coroutine> {
        if size_of::<F>() > CAPTURES_MAX {
            let body: Box<dyn FnOnce(&Suspender)> = Box::new(body);
            return Coroutine::new(stack, body);
        }
        ending::prepare()?;
        let shared = Rc::new(Shared {
            phase: Cell::new(Phase::Fresh),
            header: Cell::new(None),
            stack: stack.addresses(),
            ending: Cell::new(false),
            switched: Cell::default(),
            resumed_in_panic: Cell::new(false),
            payload: Cell::new(None),
        });
        let suspender = Suspender(Rc::clone(&shared));
        let fiber = Fiber::new(stack, (), move || run(suspender, body));
        shared.header.set(Some(fiber.as_raw()));
        Ok(Coroutine { fiber: Some(fiber), shared })
    }

    /// Names it for the message about an overflow of its stack.
    ///
    /// Never suspends.
    pub fn set_name(&self, name: &str) {
        if let Some(fiber) = &self.fiber {
            fiber.set_name(name);
        }
    }

    /// What it is doing.
    ///
    /// Never suspends.
    pub fn phase(&self) -> Phase {
        self.shared.phase()
    }

    /// Gives what suspends it, for its body.
    ///
    /// Never suspends.
    pub fn suspender(&self) -> Suspender {
        Suspender(Rc::clone(&self.shared))
    }

    /// Runs it until it suspends itself or its body ends.
    ///
    /// # Panics
    ///
    /// With the panic of the body; when it has finished.
    #[inline]
    pub fn resume(&mut self) -> State {
        let shared = &*self.shared;
        let resumable = matches!(shared.phase(), Phase::Fresh | Phase::Suspended);
        let fiber = self.fiber.as_mut().filter(|_| resumable);
        let fiber = fiber.expect("only a coroutine that waits can be resumed");
        shared.phase.set(Phase::Running);
        shared.switched.set(moment());
        shared.resumed_in_panic.set(thread::panicking());
        let state = fiber.resume();
        if state == State::Suspended {
            shared.switched.set(moment());
            shared.phase.set(Phase::Suspended);
            return state;
        }
        shared.phase.set(Phase::Finished);
        shared.header.set(None);
        self.fiber = None;
        if let Some(payload) = shared.payload.take() {
            resume_unwind(payload);
        }
        state
    }

    /// Unwinds it, if it is suspended, so that the destructors of what lies on its stack run; a
    /// fresh one is dropped unrun. Then it has finished.
    ///
    /// # Panics
    ///
    /// With the panic of a destructor.
    pub fn unwind(&mut self) {
        match self.phase() {
            Phase::Suspended => {
                self.shared.ending.set(true);
                // A body that catches the unwind is unwound again when it suspends.
                self.resume();
            }
            Phase::Fresh => {
                self.shared.phase.set(Phase::Finished);
                self.shared.header.set(None);
                drop(self.fiber.take());
            }
            Phase::Running | Phase::Finished => {}
        }
    }
}

impl Drop for Coroutine {
    fn drop(&mut self) {
        self.unwind();
        // Somebody took it from under its own feet, or what its frames borrow may be gone with its
        // thread: its stack must stay.
        std::mem::forget(self.fiber.take());
    }
}

impl fmt::Debug for Coroutine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coroutine").field("phase", &self.phase()).finish_non_exhaustive()
    }
}

/// The whole life of a coroutine's body.
// Inlined bodies would add their frames up into one.
#[inline(never)]
fn run(suspender: Suspender, body: impl FnOnce(&Suspender)) {
    let outcome = catch_unwind(AssertUnwindSafe(|| body(&suspender)));
    let Err(payload) = outcome else { return };
    if !payload.is::<Unwind>() {
        suspender.0.payload.set(Some(payload));
    }
}

/// Suspends one coroutine, from its body and what that calls.
#[derive(Clone)]
pub struct Suspender(Rc<Shared>);

impl fmt::Debug for Suspender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suspender").field("phase", &self.0.phase.get()).finish_non_exhaustive()
    }
}

impl Suspender {
    /// Is the caller's frame on the coroutine's own stack?
    ///
    /// Never suspends.
    #[inline]
    pub fn is_here(&self) -> bool {
        self.0.phase.get() == Phase::Running && self.0.stack.contains(&stack_pointer())
    }

    /// What the coroutine is doing.
    ///
    /// Never suspends.
    #[inline]
    pub fn phase(&self) -> Phase {
        self.0.phase()
    }

    /// Is the coroutine being unwound by its owner?
    ///
    /// Never suspends.
    pub fn is_unwinding(&self) -> bool {
        self.0.ending.get()
    }

    /// Suspends the coroutine: its resumer goes on. Returns when it is resumed; unwinds when it is
    /// dropped instead.
    ///
    /// # Panics
    ///
    /// When it is called elsewhere than on the coroutine's own stack; when that stack is unwinding,
    /// which as any panic in a destructor ends the process; when its thread has begun to end since
    /// it was resumed: what its resumer borrows may be gone.
    #[inline]
    #[track_caller]
    pub fn suspend(&self) {
        let shared = &*self.0;
        assert!(self.is_here(), "a coroutine can be suspended on its own stack only");
        let unwinds = thread::panicking() && !shared.resumed_in_panic.get();
        assert!(!unwinds, "a coroutine cannot be suspended while it unwinds");
        assert!(shared.switched.get().lasts(), "a coroutine cannot be suspended at a thread's end");
        if !shared.ending.get() {
            let header = shared.header.get().expect("a coroutine that runs has a fiber");
            // SAFETY: required: called by that very fiber, on whose stack it runs. The phase says
            // that it runs, and the stack pointer that we are on its stack.
            unsafe { Fiber::suspend(header) };
        }
        if shared.ending.get() {
            resume_unwind(Box::new(Unwind));
        }
    }
}

/// Where the caller's stack is. A local's address would not do: sanitizers keep locals elsewhere.
#[inline(always)]
fn stack_pointer() -> usize {
    let pointer: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: required: nothing. A register is copied.
    unsafe {
        std::arch::asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack, preserves_flags))
    };
    #[cfg(target_arch = "aarch64")]
    // SAFETY: required: nothing. A register is copied.
    unsafe {
        std::arch::asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags))
    };
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let local = 0_u8;
        pointer = std::ptr::from_ref(std::hint::black_box(&local)).addr();
    }
    pointer
}
