//! The clock: the only place of the runtime, and of what is built on it, that asks for the time.
//!
//! ```text
//!   now()        the clock of the caller's driver on a worker's thread, else the machine's:
//!                deadlines, timers, slices
//!   coarse_ms()  the same, a few milliseconds coarse and cheap: since when a task waits
//!   machine()    the machine's everywhere: for waits that block a thread, whatever time it is for
//!                the tasks, and for what is compared between threads
//! ```
//!
//! A driver of the models has no clock of its own; then reading costs one branch more than the
//! machine's clock does.

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
    /// What it showed when it was installed, and the coarse clock then.
    began: Instant,
    coarse: Duration,
}

/// The time, by the clock of the caller's driver.
#[inline]
pub fn now() -> Instant {
    if IS_INSTALLED.get() { of_driver(|_, now| now) } else { machine() }
}

/// The instant that comes after `limit`; `None` if it is too far away for an `Instant`.
#[inline]
pub fn after(limit: Duration) -> Option<Instant> {
    now().checked_add(limit)
}

/// The time by the machine's clock, whatever the caller's driver has.
#[inline]
pub fn machine() -> Instant {
    Instant::now()
}

/// When a deadline comes by the machine's clock, for a wait that blocks the thread.
#[inline]
pub fn to_machine(deadline: Option<Instant>) -> Option<Instant> {
    if !IS_INSTALLED.get() {
        return deadline;
    }
    let left = deadline?.saturating_duration_since(now());
    machine().checked_add(left)
}

/// The time since some point in the past, in milliseconds.
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
        let installed = installed.as_ref().expect("it is said to be installed");
        f(installed, installed.clock.now())
    })
}

/// The clock of a worker's driver, for the worker's thread while this lives.
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
