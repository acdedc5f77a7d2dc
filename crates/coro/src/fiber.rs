//! A coroutine with its control block at the top of its own stack.
//!
//! ```text
//!            resume                    body returns
//!   Fresh ──────────▶ Running ─────────────────────▶ Finished ──into_stack──▶ (gone)
//!     │                │   ▲                             ▲
//!     │        suspend ▼   │ resume                      │
//!     │               Suspended      ── may not be dropped, only resumed (I6)
//!     └──────────────── into_stack, drop: the body is dropped unrun
//! ```
//!
//! All states are corosensei's stack pointer: the initial one, none, another, none. So a *running*
//! fiber looks finished; only its resumer holds it then.
//!
//! The head is reached by raw pointers only. While a fiber runs, its resumer holds `&mut` to the
//! switch state and to nothing else; all other code may hold `&` to the header.
#![expect(unsafe_code, reason = "the head lies in memory that the fiber itself runs on")]

use std::alloc::Layout;
use std::cell::Cell;
use std::fmt;
use std::mem::{self, ManuallyDrop, offset_of};
use std::process;
use std::ptr::{self, NonNull};
use std::thread;

use corosensei::{Coroutine, CoroutineResult, Yielder};
use fiveways_sys::fault::write_to_stderr;

use crate::stack::{Below, Stack};
use crate::stack_name::{NAME_MAX, StackName};
use crate::tsan_fiber::TsanFiber;

/// The result of a resumption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It suspended itself, and can be resumed.
    Suspended,
    /// Its body returned; its stack can be taken back.
    Finished,
}

/// A coroutine, owned; one pointer wide.
///
/// It is on its [`Stack`], and so is its header `H`, the user's control block. A fiber stays on the
/// thread that created it.
///
/// A fiber that is suspended in the middle of its body must be resumed until it finishes. Dropping
/// it is a programming error: debug builds abort (unless the thread is panicking already), others
/// leak the stack and the values on it.
///
/// # Examples
///
/// ```
/// use std::cell::Cell;
/// use std::ptr::NonNull;
/// use std::rc::Rc;
/// use fiveways_coro::{DEFAULT_STACK_SIZE, Fiber, StackPool, State};
///
/// # fn main() -> std::io::Result<()> {
/// let mut pool = StackPool::new(DEFAULT_STACK_SIZE);
/// let me = Rc::new(Cell::new(NonNull::<&str>::dangling()));
/// let seen = Rc::clone(&me);
/// let mut fiber = Fiber::new(pool.take()?, "header", move || {
///     // SAFETY: required: called on that fiber's stack. This is its body.
///     unsafe { Fiber::suspend(seen.get()) };
/// });
/// me.set(fiber.as_raw());
/// assert_eq!(fiber.resume(), State::Suspended);
/// assert_eq!(fiber.resume(), State::Finished);
/// pool.give(fiber.into_stack());
/// # Ok(())
/// # }
/// ```
///
/// It cannot be sent:
///
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<fiveways_coro::Fiber<()>>();
/// ```
///
/// ```
/// fn keep<T>() {}
/// keep::<fiveways_coro::Fiber<()>>();
/// ```
pub struct Fiber<H> {
    head: NonNull<Head<H>>,
}

type Switch = Coroutine<(), (), (), Below>;
type Suspender = Yielder<(), ()>;

/// The top of a fiber's stack.
///
/// Parent link and switch state share one cache line: `base` is 16 bytes into a line, because
/// [`Stack::place_at_top`] lets the header begin the next one.
#[repr(C, align(16))]
struct Head<H> {
    switch: Switch,
    /// corosensei's handle for switching back; null until the body starts.
    suspender: Cell<*const Suspender>,
    header: AlignedHeader<H>,
    stack: Stack,
    tsan_fiber: TsanFiber,
}

/// Keeps the header's offset a multiple of 16, and so the head's address.
#[repr(C, align(16))]
struct AlignedHeader<H>(H);

/// The largest size of a head, so that every stack has room below.
const HEAD_MAX: usize = 2048;

/// The least space that a body's captures must leave: they are on the stack twice while the body
/// starts.
const ROOM_MIN: usize = 12 * 1024;

impl<H> Head<H> {
    const HEADER: usize = offset_of!(Head<H>, header);
    const FITS: () = assert!(size_of::<Head<H>>() <= HEAD_MAX, "the header is too large");

    #[inline]
    fn of(header: NonNull<H>) -> *mut Head<H> {
        header.as_ptr().wrapping_byte_sub(Self::HEADER).cast()
    }
}

impl<H> Fiber<H> {
    /// Creates a fiber that will run `body` on `stack` when it is first resumed.
    ///
    /// # Panics
    ///
    /// If the captures of `body` do not fit on the stack. A body that unwinds aborts the process:
    /// it must catch its panics.
    #[inline(always)]
    pub fn new<F: FnOnce() + 'static>(stack: Stack, header: H, body: F) -> Fiber<H> {
        const { Head::<H>::FITS };
        let room = stack.size().saturating_sub(ROOM_MIN + HEAD_MAX);
        if size_of::<F>() > room / 2 {
            refuse(stack, body);
        }
        // From here on nothing unwinds, so the body is moved to its place without a copy for a
        // destructor: that copy would wait for the writes to the first.
        stack.stack_name().clear();

        let place = stack.place_at_top(Layout::new::<Head<H>>(), Head::<H>::HEADER);
        let head = place.cast::<Head<H>>().as_ptr();
        // SAFETY: required: inside one allocation. The place has room for a whole head.
        let suspender = unsafe { &raw const (*head).suspender };
        // SAFETY: required: an address that is not null. It is in the head.
        let suspender = unsafe { NonNull::new_unchecked(suspender.cast_mut()) };
        let below = stack.below(place);
        let stack_name = NonNull::from(stack.stack_name());
        let switch = Switch::with_stack(below, move |way_back, ()| {
            // SAFETY: required: live. It is in the head of the fiber that runs this.
            unsafe { suspender.as_ref() }.set(way_back);
            let unwinding = AbortOnDrop(stack_name);
            body();
            mem::forget(unwinding);
        });
        let suspender = Cell::new(ptr::null());
        let head = place.cast::<Head<H>>();
        let tsan_fiber = TsanFiber::new();
        // SAFETY: required: ours, writable, aligned. The place has room for a head and lies above
        // what corosensei has just written.
        unsafe {
            head.write(Head { switch, suspender, header: AlignedHeader(header), stack, tsan_fiber })
        };
        Fiber { head }
    }

    /// Returns the header.
    #[inline]
    pub fn header(&self) -> &H {
        // SAFETY: required: a live header that is not borrowed exclusively. It lives as long as the
        // fiber, and no `&mut` to it is ever created.
        unsafe { self.as_raw().as_ref() }
    }

    /// Runs the fiber until it suspends itself or its body returns.
    ///
    /// # Panics
    ///
    /// If the fiber has finished.
    #[inline]
    pub fn resume(&mut self) -> State {
        // SAFETY: required: a live fiber of this thread that is not running. It is borrowed
        // exclusively, and not `Send`.
        unsafe { Fiber::resume_raw(self.as_raw()) }
    }

    /// Returns the stack of a fiber that has finished or was never resumed, and drops the header
    /// (and the body if it was not run).
    ///
    /// # Panics
    ///
    /// If the fiber is suspended in its body.
    #[inline]
    pub fn into_stack(self) -> Stack {
        assert!(!self.is_suspended(), "the stack of a fiber that is suspended in its body");
        let fiber = ManuallyDrop::new(self);
        // SAFETY: required: nothing on the stack is needed, and this is done once. The fiber is not
        // suspended, and we own it.
        unsafe { take_apart(fiber.head) }
    }

    /// Returns the thin pointer to the header, for queues and tables; the fiber stays owned.
    #[inline]
    pub fn as_raw(&self) -> NonNull<H> {
        // SAFETY: required: inside one allocation. The head is live.
        let header = unsafe { &raw mut (*self.head.as_ptr()).header };
        // SAFETY: required: an address that is not null. It is in the head.
        unsafe { NonNull::new_unchecked(header.cast()) }
    }

    /// Gives up ownership for the thin pointer to the header.
    #[inline]
    pub fn into_raw(self) -> NonNull<H> {
        ManuallyDrop::new(self).as_raw()
    }

    /// Takes ownership again.
    ///
    /// # Safety
    ///
    /// `header` comes from [`into_raw`](Fiber::into_raw), on this thread, and ownership is taken
    /// once for each time it was given up. A second owner that is never dropped or resumed (behind
    /// `ManuallyDrop`, to look at the stack) does no harm.
    #[inline]
    pub unsafe fn from_raw(header: NonNull<H>) -> Fiber<H> {
        // SAFETY: required: not null. `into_raw` made it from a head.
        Fiber { head: unsafe { NonNull::new_unchecked(Head::of(header)) } }
    }

    /// Runs a fiber by its thin pointer until it suspends itself or its body returns.
    ///
    /// No reference to the header is held meanwhile.
    ///
    /// # Panics
    ///
    /// If the fiber has finished.
    ///
    /// # Safety
    ///
    /// `header` comes from [`as_raw`](Fiber::as_raw) or [`into_raw`](Fiber::into_raw) of a fiber
    /// that lives, was created by this thread, and is not running.
    #[inline]
    pub unsafe fn resume_raw(header: NonNull<H>) -> State {
        let head = Head::of(header);
        // SAFETY: required: live, and no other reference to the field. The fiber lives; only
        // resumers borrow `switch`, and the caller promises to be the only one.
        let switch = unsafe { &mut (*head).switch };
        // SAFETY: required: live, and not borrowed exclusively. As above, in another field.
        let tsan_fiber = unsafe { &(*head).tsan_fiber };
        match tsan_fiber.around(|| switch.resume(())) {
            CoroutineResult::Yield(()) => State::Suspended,
            CoroutineResult::Return(()) => {
                tsan_fiber.finish();
                State::Finished
            }
        }
    }

    /// Suspends the running fiber: control goes back to its resumer. Returns when the fiber is
    /// resumed.
    ///
    /// # Suspends
    ///
    /// Always; woken by [`resume`](Fiber::resume).
    ///
    /// # Safety
    ///
    /// `header` is the thin pointer of the very fiber that calls this, on whose stack it runs.
    #[inline]
    pub unsafe fn suspend(header: NonNull<H>) {
        let head = Head::of(header);
        // SAFETY: required: live, and not borrowed exclusively. The fiber runs; resumers borrow
        // another field.
        let way_back = unsafe { (*head).suspender.get() };
        // SAFETY: required: live. The body has started and has not returned.
        unsafe { (*way_back).suspend(()) };
    }

    /// Runs `f` on the stack of the running fiber's resumer, with that stack's room, and comes back
    /// here. A backtrace taken in `f` goes through the frames of the fiber.
    ///
    /// # Safety
    ///
    /// `header` is the thin pointer of the very fiber that calls this, on whose stack it runs. `f`
    /// does not unwind, and neither suspends nor resumes anything.
    pub unsafe fn on_resumers_stack(header: NonNull<H>, f: impl FnOnce() + Send) {
        let head = Head::of(header);
        // SAFETY: required: live, and not borrowed exclusively. The fiber runs; resumers borrow
        // another field.
        let way_back = unsafe { (*head).suspender.get() };
        // SAFETY: required: live. The body has started and has not returned.
        unsafe { (*way_back).on_parent_stack(f) };
    }

    /// Returns `true` if the fiber's body has begun. (It may have ended, too.)
    pub fn has_begun(&self) -> bool {
        // SAFETY: required: live, and not borrowed exclusively. It lives as long as the fiber;
        // resumers borrow another field.
        !unsafe { (*self.head.as_ptr()).suspender.get() }.is_null()
    }

    /// Asks the processor to load the memory that the next [`resume_raw`](Fiber::resume_raw) of a
    /// fiber will touch first. Harmless for any address.
    #[inline]
    pub fn prefetch(header: NonNull<H>) {
        let head = Head::of(header);
        load_early(header.as_ptr().cast_const().cast());
        load_early(head.cast_const().cast());
    }

    /// Sets the fiber's name for the message about an overflow of its stack, and for dumps. The
    /// first 63 bytes are kept, cut at a character.
    pub fn set_name(&self, name: &str) {
        self.stack().stack_name().set(name);
    }

    /// Returns the name; empty if none was given.
    pub fn name(&self) -> String {
        name_on(self.stack().stack_name())
    }

    /// Copies the name, cut to the length of `into`, and returns its length. Safe in a signal
    /// handler.
    pub fn copy_name(&self, into: &mut [u8]) -> usize {
        let mut bytes = [0; NAME_MAX];
        let name = self.stack().stack_name().read(&mut bytes);
        let len = name.len().min(into.len());
        into[..len].copy_from_slice(&name[..len]);
        len
    }

    /// Returns the fiber's stack, to query its size or its use.
    pub fn stack(&self) -> &Stack {
        // SAFETY: required: live, and not borrowed exclusively. It lives as long as the fiber;
        // resumers borrow another field.
        unsafe { &(*self.head.as_ptr()).stack }
    }

    fn is_suspended(&self) -> bool {
        // SAFETY: required: live, and not borrowed exclusively. Resumers hold the fiber.
        let switch = unsafe { &(*self.head.as_ptr()).switch };
        switch.started() && !switch.done()
    }
}

impl<H> Drop for Fiber<H> {
    fn drop(&mut self) {
        if !self.is_suspended() {
            // SAFETY: required: nothing on the stack is needed, and this is done once. The fiber is
            // not suspended, and this is its end.
            drop(unsafe { take_apart(self.head) });
        } else if cfg!(debug_assertions) && !thread::panicking() {
            die("was dropped while suspended", &self.name());
        }
    }
}

impl<H: fmt::Debug> fmt::Debug for Fiber<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fiber").field("name", &self.name()).field("header", self.header()).finish()
    }
}

/// Takes the stack out of a head and drops the rest.
///
/// # Safety
///
/// The head is live and not suspended, and is not used afterwards.
#[inline]
unsafe fn take_apart<H>(head: NonNull<Head<H>>) -> Stack {
    // SAFETY: required: valid, and not used again. The head is given up.
    let Head { switch, header, stack, .. } = unsafe { head.read() };
    // A body that has not run is on the stack, and is dropped here.
    drop(switch);
    drop(header);
    stack
}

/// Ends the process if a body unwinds: no frame above it on this stack could catch that.
struct AbortOnDrop(NonNull<StackName>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        // SAFETY: required: a live name page. It is that of the stack we run on.
        die("unwound out of its body", &name_on(unsafe { self.0.as_ref() }));
    }
}

#[cold]
#[track_caller]
fn refuse<F>(stack: Stack, _body: F) -> ! {
    panic!("a body of {} bytes for a stack of {}", size_of::<F>(), stack.size());
}

fn name_on(stack_name: &StackName) -> String {
    let mut bytes = [0; NAME_MAX];
    String::from_utf8_lossy(stack_name.read(&mut bytes)).into_owned()
}

#[cold]
fn die(what: &str, name: &str) -> ! {
    write_to_stderr(format!("fiveways: a fiber '{name}' {what}\n").as_bytes());
    process::abort()
}

#[inline]
fn load_early(address: *const i8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: required: SSE, which every x86-64 has. A prefetch of any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
