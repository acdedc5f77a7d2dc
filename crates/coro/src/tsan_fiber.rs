//! What ThreadSanitizer is told of fibers: which one runs.
//!
//! It keeps for each thread a clock and a copy of the call stack, and would take two fibers for one
//! thread that returns from functions it never called. So each fiber has a *strand* there, and
//! [`TsanFiber::around`] says which of them goes on, all on the resumer's side of the switch:
//!
//! ```text
//!   resumer's strand       switch ─────────▶ fiber's strand   frames of the fiber
//!                                                   │          suspend, or the end of the body
//!   resumer's strand ◀───────── switch back ────────┘
//! ```
//!
//! Every frame is then left on the strand on which it was entered, or another in its place, so the
//! copies stay balanced. Strands of one thread do not race: each switch goes through the thread's
//! own order.
//!
//! All this is in a build with `--cfg fiveways_tsan` (`cargo xtask tsan`). In others a strand is
//! nothing and takes no room.

pub(crate) use told::TsanFiber;

#[cfg(not(fiveways_tsan))]
mod told {
    /// Nothing: nobody is to be told.
    pub(crate) struct TsanFiber;

    impl TsanFiber {
        #[inline(always)]
        pub(crate) fn new() -> TsanFiber {
            TsanFiber
        }

        /// Calls `switch`.
        #[inline(always)]
        pub(crate) fn around<T>(&self, switch: impl FnOnce() -> T) -> T {
            switch()
        }

        /// Notes that the fiber has finished.
        #[inline(always)]
        pub(crate) fn finish(&self) {}
    }
}

#[cfg(fiveways_tsan)]
#[expect(unsafe_code, reason = "calls the sanitizer")]
mod told {
    use std::cell::Cell;
    use std::ffi::{c_uint, c_void};
    use std::ptr;

    unsafe extern "C" {
        safe fn __tsan_acquire(address: *const c_void);
        safe fn __tsan_release(address: *const c_void);
        safe fn __tsan_get_current_fiber() -> *mut c_void;
        safe fn __tsan_create_fiber(flags: c_uint) -> *mut c_void;
        fn __tsan_destroy_fiber(fiber: *mut c_void);
        fn __tsan_switch_to_fiber(fiber: *mut c_void, flags: c_uint);
    }

    /// A switch by itself orders nothing. With the order that the sanitizer offers for it, a new
    /// strand would inherit that of one that has ended, maybe on another thread: they lie at the
    /// same address, and some races would go unseen.
    const UNORDERED: c_uint = 1;

    thread_local! {
        /// An address that no other thread has or will have.
        static ORDER: *const c_void = ptr::from_ref(Box::leak(Box::new(0_u8))).cast();
    }

    /// What the sanitizer knows of a fiber.
    pub(crate) struct TsanFiber {
        own: *mut c_void,
        /// The one to go on with: its own, or that of the coroutine from which it was suspended;
        /// null when it has finished.
        next: Cell<*mut c_void>,
    }

    impl TsanFiber {
        pub(crate) fn new() -> TsanFiber {
            let own = __tsan_create_fiber(0);
            TsanFiber { own, next: Cell::new(own) }
        }

        /// Calls `switch`, which runs the fiber and comes back.
        // The two calls stand in one frame: one that is entered on a strand and left on the other
        // would shift both, a little with each switch.
        pub(crate) fn around<T>(&self, switch: impl FnOnce() -> T) -> T {
            let (next, order) = (self.next.get(), ORDER.with(|order| *order));
            if next.is_null() {
                // It will be refused, with a panic.
                return switch();
            }
            let resumer = __tsan_get_current_fiber();
            __tsan_release(order);
            // SAFETY: required: a strand that lives and does not run. It is the fiber's own or that
            // of a coroutine with which the fiber lies suspended.
            unsafe { __tsan_switch_to_fiber(next, UNORDERED) };
            __tsan_acquire(order);
            let value = switch();
            self.next.set(__tsan_get_current_fiber());
            __tsan_release(order);
            // SAFETY: required: a strand that lives and does not run. It is that of the caller, who
            // has waited here.
            unsafe { __tsan_switch_to_fiber(resumer, UNORDERED) };
            __tsan_acquire(order);
            value
        }

        /// Notes that the fiber has finished.
        pub(crate) fn finish(&self) {
            self.next.set(ptr::null_mut());
        }
    }

    impl Drop for TsanFiber {
        fn drop(&mut self) {
            // SAFETY: required: a strand that lives, does not run, and is not used again. The fiber
            // has finished or never began.
            unsafe { __tsan_destroy_fiber(self.own) };
        }
    }
}
