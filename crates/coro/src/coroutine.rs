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
//! Frames that are suspended may borrow thread-locals, and lend them to other threads. So a thread
//! keeps a list of all its coroutines that have begun, wherever their owners are (one may have been
//! forgotten), and unwinds those that are suspended before it destroys the first thread-local that
//! they may borrow. Only at the end of the process they stay as they are, and so do the
//! thread-locals; then they count as finished, and their stacks are never used again.
//!
//! Running stacks form a chain: each was resumed from the one below it, and code runs on the top
//! one only. The suspension of a stack takes all above it along. For tasks that is intended (their
//! worker does it, see below); a coroutine may suspend only itself, on its own stack, which is
//! checked by the stack pointer. So the chain is always what its coroutines expect it to be.
//!
//! ```text
//!   worker ──▶ task ──▶ coroutine    `Fiber::suspend(task)` from here keeps both together:
//!                                    the switch saves where it was called, wherever that is
//! ```
#![expect(unsafe_code, reason = "suspends by pointer, and reads the stack pointer")]

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::mem::{self, ManuallyDrop};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::rc::Rc;
use std::thread;

use fiveways_sys::thread::thread_exit::{self, Epoch, epoch};

use crate::fiber::{Fiber, State};
use crate::stack::Stack;

/// The states of a [`Coroutine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Created and never resumed.
    Fresh,
    /// Suspended by itself.
    Suspended,
    /// On the chain of running stacks, at its top or below it.
    Running,
    /// Its body returned or unwound; or it never will, because its thread ends.
    Finished,
}

/// The payload that unwinds a suspended body.
struct Unwind;

/// A coroutine that runs a function on a stack of its own.
///
/// A coroutine that is dropped while it is suspended is resumed a last time and unwound, so that
/// the destructors on its stack run. One that is forgotten while it is suspended is unwound at the
/// end of its thread, before the thread-locals are destroyed that it may borrow; so is one that is
/// kept in a thread-local. At the end of the process (in `exit`, and on the main thread) it is left
/// as it is.
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
///
/// ```
/// fn keep<T>() {}
/// keep::<fiveways_coro::Coroutine>();
/// ```
pub struct Coroutine {
    shared: Rc<Shared>,
}

/// What a coroutine, its suspender and its thread share.
struct Shared {
    phase: Cell<Phase>,
    /// The fiber, until it has finished; it is owned by this.
    header: Cell<Option<NonNull<()>>>,
    /// Its index in the list of those that have begun.
    place: Cell<usize>,
    /// The addresses of its stack.
    stack: Range<usize>,
    /// Whether it is to unwind.
    ending: Cell<bool>,
    /// The moment of its last resumption or suspension.
    switched: Cell<Epoch>,
    /// Whether the thread was already unwinding when it was resumed.
    resumed_in_panic: Cell<bool>,
    /// The payload with which it has unwound.
    payload: Cell<Option<Box<dyn Any + Send>>>,
}

thread_local! {
    /// The coroutines of this thread that have begun and have not finished. Without a destructor,
    /// so that it can be used until the very end of the thread; [`unwind_all`] frees it.
    static BEGUN: ManuallyDrop<RefCell<Vec<Rc<Shared>>>> =
        const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

impl Shared {
    #[inline]
    fn phase(&self) -> Phase {
        match self.phase.get() {
            Phase::Suspended if !self.switched.get().lasts() => Phase::Finished,
            phase => phase,
        }
    }

    #[inline]
    fn resume(self: &Rc<Shared>) -> State {
        let phase = self.phase();
        let resumable = matches!(phase, Phase::Fresh | Phase::Suspended);
        let header = self.header.get().filter(|_| resumable);
        let header = header.expect("only a coroutine that waits can be resumed");
        if phase == Phase::Fresh {
            self.note_begun();
        }
        self.phase.set(Phase::Running);
        self.switched.set(epoch());
        self.resumed_in_panic.set(thread::panicking());
        // SAFETY: required: a live fiber of this thread that does not run. We are not `Send`, own
        // it until it has finished, and the phase is "suspended".
        let state = unsafe { Fiber::resume_raw(header) };
        if state == State::Suspended {
            self.switched.set(epoch());
            self.phase.set(Phase::Suspended);
            return state;
        }
        self.finish();
        self.note_finished();
        if let Some(payload) = self.payload.take() {
            resume_unwind(payload);
        }
        state
    }

    fn unwind(self: &Rc<Shared>) {
        match self.phase() {
            Phase::Suspended => {
                self.ending.set(true);
                // A body that catches the unwind is unwound again when it suspends.
                self.resume();
            }
            Phase::Fresh => self.finish(),
            Phase::Running | Phase::Finished => {}
        }
    }

    /// Gives back the stack of a coroutine that has finished, or never begins.
    fn finish(&self) {
        self.phase.set(Phase::Finished);
        if let Some(header) = self.header.take() {
            // SAFETY: required: from `into_raw`, on this thread, and taken once. `Coroutine::new`
            // gave it up, and it has just been taken out.
            drop(unsafe { Fiber::from_raw(header) });
        }
    }

    fn note_begun(self: &Rc<Shared>) {
        BEGUN.with(|begun| {
            let mut begun = begun.borrow_mut();
            self.place.set(begun.len());
            begun.push(Rc::clone(self));
        });
    }

    fn note_finished(&self) {
        BEGUN.with(|begun| {
            let mut begun = begun.borrow_mut();
            let place = self.place.get();
            begun.swap_remove(place);
            if let Some(moved) = begun.get(place) {
                moved.place.set(place);
            }
        });
    }
}

/// Unwinds all suspended coroutines of this thread, which must be gone before its thread-locals
/// are. At the end of the process it leaves them all; returns `true` if there are any.
fn unwind_all(exits: bool) -> bool {
    BEGUN.with(|begun| {
        // A running coroutine has called `exit`: a thread does not end inside its frames.
        let runs = |coroutine: &Rc<Shared>| coroutine.phase.get() == Phase::Running;
        if exits || begun.borrow().iter().any(runs) {
            return !begun.borrow().is_empty();
        }
        loop {
            let next = begun.borrow().first().cloned();
            let Some(next) = next else { break };
            if next.phase() != Phase::Suspended {
                return true;
            }
            // The panic hook has reported the panic; a payload whose drop panics has no receiver.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| next.unwind())) {
                mem::forget(payload);
            }
        }
        drop(begun.take());
        false
    })
}

/// Captures larger than this are kept on the heap: a body is on its stack twice when it begins.
const CAPTURES_MAX: usize = 512;

impl Coroutine {
    /// Creates a coroutine that runs `body` on `stack` when it is first resumed.
    ///
    /// # Errors
    ///
    /// `Unsupported` if the C library does not report the end of a thread.
    pub fn new<F: FnOnce(&Suspender) + 'static>(stack: Stack, body: F) -> io::Result<Coroutine> {
        if size_of::<F>() > CAPTURES_MAX {
            let body: Box<dyn FnOnce(&Suspender)> = Box::new(body);
            return Coroutine::new(stack, body);
        }
        thread_exit::prepare()?;
        thread_exit::unwind_by(unwind_all);
        let shared = Rc::new(Shared {
            phase: Cell::new(Phase::Fresh),
            header: Cell::new(None),
            place: Cell::new(0),
            stack: stack.addresses(),
            ending: Cell::new(false),
            switched: Cell::default(),
            resumed_in_panic: Cell::new(false),
            payload: Cell::new(None),
        });
        let suspender = Suspender(Rc::clone(&shared));
        let fiber = Fiber::new(stack, (), move || run(suspender, body));
        shared.header.set(Some(fiber.into_raw()));
        Ok(Coroutine { shared })
    }

    /// Sets the name for the message about an overflow of its stack.
    pub fn set_name(&self, name: &str) {
        if let Some(header) = self.shared.header.get() {
            // SAFETY: required: from `into_raw`, and no second owner is dropped. It is kept from
            // it.
            let fiber = ManuallyDrop::new(unsafe { Fiber::from_raw(header) });
            fiber.set_name(name);
        }
    }

    /// Returns its state.
    pub fn phase(&self) -> Phase {
        self.shared.phase()
    }

    /// Returns the handle with which its body suspends it.
    pub fn suspender(&self) -> Suspender {
        Suspender(Rc::clone(&self.shared))
    }

    /// Runs it until it suspends itself or its body ends.
    ///
    /// # Panics
    ///
    /// With the panic of the body; also if the coroutine has finished.
    #[inline]
    pub fn resume(&mut self) -> State {
        self.shared.resume()
    }

    /// Unwinds it, if it is suspended, so that the destructors on its stack run; the body of a
    /// fresh one is dropped unrun. Then it has finished.
    ///
    /// # Panics
    ///
    /// With the panic of a destructor.
    pub fn unwind(&mut self) {
        self.shared.unwind();
    }
}

impl Drop for Coroutine {
    fn drop(&mut self) {
        // A running coroutine (its own body dropped it), and one that was left at the end of the
        // process, keeps its stack.
        self.unwind();
    }
}

impl fmt::Debug for Coroutine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coroutine").field("phase", &self.phase()).finish_non_exhaustive()
    }
}

/// The main function of a coroutine's stack.
/// Not inlined: the frames of inlined bodies would add up in one.
#[inline(never)]
fn run(suspender: Suspender, body: impl FnOnce(&Suspender)) {
    let outcome = catch_unwind(AssertUnwindSafe(|| body(&suspender)));
    let Err(payload) = outcome else { return };
    if !payload.is::<Unwind>() {
        suspender.0.payload.set(Some(payload));
    }
}

/// Suspends one coroutine, from its body and the functions that the body calls.
#[derive(Clone)]
pub struct Suspender(Rc<Shared>);

impl fmt::Debug for Suspender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suspender").field("phase", &self.0.phase.get()).finish_non_exhaustive()
    }
}

impl Suspender {
    /// Returns `true` if the caller's frame is on the coroutine's own stack.
    #[inline]
    pub fn is_here(&self) -> bool {
        self.0.phase.get() == Phase::Running && self.0.stack.contains(&stack_pointer())
    }

    /// Returns the coroutine's state.
    #[inline]
    pub fn phase(&self) -> Phase {
        self.0.phase()
    }

    /// Returns `true` if the coroutine is being unwound by its owner.
    pub fn is_unwinding(&self) -> bool {
        self.0.ending.get()
    }

    /// Suspends the coroutine: its resumer goes on. Returns when it is resumed; unwinds when it is
    /// dropped instead.
    ///
    /// # Panics
    ///
    /// If it is called on another stack than the coroutine's own. Also while the thread unwinds, on
    /// this stack or in a destructor that has resumed it: as any panic in a destructor this ends
    /// the process (std counts the panics of a thread, and would go on counting those of a
    /// suspended stack). Also if its thread has begun to end since the last resumption: values that
    /// its resumer borrows may be gone.
    #[inline]
    #[track_caller]
    pub fn suspend(&self) {
        let shared = &*self.0;
        assert!(self.is_here(), "a coroutine can be suspended on its own stack only");
        let leaves = !shared.ending.get();
        let unwinds = thread::panicking() && (leaves || !shared.resumed_in_panic.get());
        assert!(!unwinds, "a coroutine cannot be suspended while it unwinds");
        assert!(shared.switched.get().lasts(), "a coroutine cannot be suspended at a thread's end");
        if leaves {
            let header = shared.header.get().expect("a coroutine that runs has a fiber");
            // SAFETY: required: called by that very fiber, on whose stack it runs. The phase is
            // "running", and the stack pointer is on its stack.
            unsafe { Fiber::suspend(header) };
        }
        if shared.ending.get() {
            resume_unwind(Box::new(Unwind));
        }
    }
}

/// Returns the caller's stack pointer. The address of a local would not do: sanitizers keep locals
/// elsewhere.
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
