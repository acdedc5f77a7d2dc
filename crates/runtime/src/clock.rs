//! The clock: the only module of the runtime, and of the crates above it, that reads the time.
//!
//! ```text
//!   now()        the clock of the caller's driver on a worker's thread, else the machine's:
//!                deadlines, timers, slices
//!   coarse_ms()  the same, a few milliseconds coarse and cheap: since when a task waits
//!   machine()    the machine's clock on every thread: for waits that block a thread, whatever the
//!                time of the tasks, and for instants that are compared between threads
//! ```
//!
//! The drivers of the models have no clock of their own; then a reading costs one branch more than
//! the machine's clock.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use fiveways_driver::Clock;
use fiveways_sys::clock;

thread_local! {
    /// Whether `OF_DRIVER` has a clock.
    static IS_INSTALLED: Cell<bool> = const { Cell::new(false) };
    static OF_DRIVER: RefCell<Option<OfDriver>> = const { RefCell::new(None) };
}

struct OfDriver {
    clock: Rc<dyn Clock>,
    /// The time by this clock, and by the coarse clock, when it was installed.
    began: Instant,
    coarse: Duration,
}

/// Returns the time, by the clock of the caller's driver.
// Not inlined: next to the call of the kernel's clock another one costs nothing, and loops that
// switch tasks need the registers.
#[inline(never)]
pub fn now() -> Instant {
    if IS_INSTALLED.get() { of_driver(|_, now| now) } else { machine() }
}

/// Returns the instant that is `limit` from now; `None` if it is too far away for an `Instant`.
#[inline]
pub fn after(limit: Duration) -> Option<Instant> {
    now().checked_add(limit)
}

/// Returns the time by the machine's clock, also if the caller's driver has another.
#[inline]
pub fn machine() -> Instant {
    Instant::now()
}

/// Converts a deadline to the machine's clock, for a wait that blocks the thread.
#[inline]
pub fn to_machine(deadline: Option<Instant>) -> Option<Instant> {
    if !IS_INSTALLED.get() {
        return deadline;
    }
    let left = deadline?.saturating_duration_since(now());
    machine().checked_add(left)
}

/// Returns the time since some point in the past, in milliseconds.
#[inline]
pub(crate) fn coarse_ms() -> u64 {
    let time = if IS_INSTALLED.get() {
        of_driver(|clock, now| clock.coarse + now.saturating_duration_since(clock.began))
    } else {
        clock::coarse()
    };
    time.as_millis() as u64
}

#[cold]
fn of_driver<R>(f: impl FnOnce(&OfDriver, Instant) -> R) -> R {
    OF_DRIVER.with_borrow(|installed| {
        let installed = installed.as_ref().expect("the clock is installed");
        f(installed, installed.clock.now())
    })
}

/// Installs the clock of a worker's driver on the worker's thread while this lives.
pub(crate) struct Installed(());

impl Installed {
    pub(crate) fn new(clock: Option<Rc<dyn Clock>>) -> Installed {
        IS_INSTALLED.set(clock.is_some());
        let of_driver = clock.map(|clock| {
            let (began, coarse) = (clock.now(), clock::coarse());
            OfDriver { clock, began, coarse }
        });
        OF_DRIVER.set(of_driver);
        Installed(())
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        IS_INSTALLED.set(false);
        OF_DRIVER.set(None);
    }
}
