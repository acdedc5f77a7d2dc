//! Reporting to ThreadSanitizer which fiber runs.
//!
//! For each thread it keeps a clock and a copy of the call stack, and would take two fibers for one
//! thread that returns from functions it never called. So each fiber has a fiber of the sanitizer
//! (below: *tsan fiber*), and [`TsanFiber::around`] announces which one goes on, always on the
//! resumer's side of the switch:
//!
//! ```text
//!   resumer's tsan fiber   switch ─────────▶ fiber's tsan fiber   frames of the fiber
//!                                                 │    suspend, or the end of the body
//!   resumer's tsan fiber   ◀───────── switch back ┘
//! ```
//!
//! Every frame is then left on the tsan fiber on which it was entered, or another in its place, so
//! the copies stay balanced. The tsan fibers of one thread do not race: each switch goes through
//! the thread's own order.
//!
//! All this is in a build with `--cfg fiveways_tsan` (`cargo xtask tsan`). In others a `TsanFiber`
//! is empty.

pub(crate) use reported::TsanFiber;

#[cfg(not(fiveways_tsan))]
mod reported {
    /// Empty: there is no sanitizer.
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

        /// Records that the fiber has finished.
        #[inline(always)]
        pub(crate) fn finish(&self) {}
    }
}

#[cfg(fiveways_tsan)]
#[expect(unsafe_code, reason = "calls the sanitizer")]
mod reported {
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
    /// tsan fiber would inherit that of one that has ended, maybe on another thread: they have the
    /// same address, and some races would go unseen.
    const UNORDERED: c_uint = 1;

    thread_local! {
        /// An address that no other thread has or will have.
        static ORDER: *const c_void = ptr::from_ref(Box::leak(Box::new(0_u8))).cast();
    }

    /// The sanitizer's state of a fiber.
    pub(crate) struct TsanFiber {
        own: *mut c_void,
        /// The tsan fiber to go on with: its own, or that of the coroutine from which it was
        /// suspended; null when it has finished.
        next: Cell<*mut c_void>,
    }

    impl TsanFiber {
        pub(crate) fn new() -> TsanFiber {
            let own = __tsan_create_fiber(0);
            TsanFiber { own, next: Cell::new(own) }
        }

        /// Calls `switch`, which runs the fiber and comes back.
        // Both calls are in one frame: a frame that is entered on one tsan fiber and left on
        // another would shift both, a little with each switch.
        pub(crate) fn around<T>(&self, switch: impl FnOnce() -> T) -> T {
            let (next, order) = (self.next.get(), ORDER.with(|order| *order));
            if next.is_null() {
                // The resumption will be refused, with a panic.
                return switch();
            }
            let resumer = __tsan_get_current_fiber();
            __tsan_release(order);
            // SAFETY: required: a tsan fiber that lives and does not run. It is the fiber's own or
            // that of a coroutine with which the fiber is suspended.
            unsafe { __tsan_switch_to_fiber(next, UNORDERED) };
            __tsan_acquire(order);
            let value = switch();
            self.next.set(__tsan_get_current_fiber());
            __tsan_release(order);
            // SAFETY: required: a tsan fiber that lives and does not run. It is that of the caller,
            // which has waited here.
            unsafe { __tsan_switch_to_fiber(resumer, UNORDERED) };
            __tsan_acquire(order);
            value
        }

        /// Records that the fiber has finished.
        pub(crate) fn finish(&self) {
            self.next.set(ptr::null_mut());
        }
    }

    impl Drop for TsanFiber {
        fn drop(&mut self) {
            // SAFETY: required: a tsan fiber that lives, does not run, and is not used again. The
            // fiber has finished or never began.
            unsafe { __tsan_destroy_fiber(self.own) };
        }
    }
}
