//! Where plain threads wait: a seat for each, and the token that lies on it.
//!
//! Seats are never freed, so whoever has a thread's [`ParkToken`] may use it at any time, and it
//! owns nothing. A thread that ends leaves its seat to another, which is another guest: an old
//! ticket gives that one nothing. So there are as many seats as there were threads waiting at a
//! time.
//!
//! The token is not std's: its `park_timeout` does not say whether it took the token, so that a
//! deadline could swallow an unpark.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fiveways_sys::generation::PerProcess;
use fiveways_sys::lock::{Condvar, Mutex, MutexGuard};

use crate::clock;

/// The seats that nobody has. A fork begins anew: those may be locked.
static FREE: PerProcess<Mutex<Vec<&'static ThreadParker>>> = PerProcess::new();

/// The lock is made anew in a fork, which may find it held; what it protects is what it was.
#[derive(Default)]
struct ThreadParker {
    blocker: PerProcess<Blocker>,
    /// Counts the threads that have had the seat. Written under the lock.
    generation: AtomicU64,
    /// Does the token lie here? Written under the lock.
    given: AtomicBool,
}

#[derive(Default)]
struct Blocker {
    lock: Mutex<()>,
    unparked: Condvar,
}

/// The seat of one thread, as long as it has that.
#[derive(Clone, Copy)]
pub(crate) struct ParkToken {
    parker: &'static ThreadParker,
    generation: u64,
}

impl fmt::Debug for ParkToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:p}.{}", self.parker, self.generation)
    }
}

thread_local! {
    /// Without a destructor, so that it is always there.
    static HERE: Cell<Option<ParkToken>> = const { Cell::new(None) };
    static LAST: ReturnOnExit = const { ReturnOnExit };
}

/// Gives the thread's seat back.
struct ReturnOnExit;

impl Drop for ReturnOnExit {
    fn drop(&mut self) {
        // A wait that comes later still takes another one, which then is not given back.
        if let Some(token) = HERE.take() {
            token.leave();
            free().push(token.parker);
        }
    }
}

impl ParkToken {
    /// The same one for as long as the thread lives, while its locals are destroyed as well: it may
    /// still wait then, and who unparks it must have the seat it waits on.
    pub(crate) fn of_thread() -> ParkToken {
        HERE.get().unwrap_or_else(|| {
            // Registers the destructor, while that can be done.
            let _ = LAST.try_with(|_| ());
            let token = ParkToken::new();
            HERE.set(Some(token));
            token
        })
    }

    fn new() -> ParkToken {
        let free = free().pop();
        let parker = free.unwrap_or_else(|| Box::leak(Box::default()));
        let _locked = parker.lock();
        ParkToken { parker, generation: parker.generation.load(Ordering::Relaxed) }
    }

    fn leave(self) {
        let _locked = self.parker.lock();
        self.parker.generation.store(self.generation + 1, Ordering::Relaxed);
        self.parker.given.store(false, Ordering::Relaxed);
    }

    /// Gives the token, if the thread still has its seat.
    pub(crate) fn give(self) {
        let locked = self.parker.lock();
        if self.parker.generation.load(Ordering::Relaxed) != self.generation {
            return;
        }
        self.parker.given.store(true, Ordering::Relaxed);
        drop(locked);
        self.parker.blocker().unparked.notify_one();
    }

    /// Waits for the token and takes it; false: the deadline, by the machine's clock, came first.
    /// `list` is called if the thread blocks, and what it gives lives as long. Only for the thread
    /// whose seat it is.
    pub(crate) fn take<L>(
        self,
        deadline: Option<Instant>,
        list: impl FnOnce() -> Option<L>,
    ) -> bool {
        let is_given = || self.parker.given.load(Ordering::Relaxed);
        let unparked = &self.parker.blocker().unparked;
        let mut locked = self.parker.lock();
        let _listed = if is_given() { None } else { list() };
        while !is_given() {
            let left = deadline.map(|at| at.saturating_duration_since(clock::machine()));
            locked = match left {
                None => unparked.wait(locked),
                Some(Duration::ZERO) => return false,
                Some(left) => unparked.wait_timeout(locked, left),
            };
        }
        self.parker.given.store(false, Ordering::Relaxed);
        true
    }
}

impl ThreadParker {
    fn blocker(&self) -> &Blocker {
        self.blocker.get(Blocker::default)
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.blocker().lock.lock()
    }
}

fn free() -> MutexGuard<'static, Vec<&'static ThreadParker>> {
    FREE.get(Mutex::default).lock()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn an_old_ticket_gives_nothing_to_the_next_guest_of_its_seat() {
        let old = ParkToken::new();
        old.give();
        assert!(old.take(None, || None::<()>));
        old.give();
        old.leave();
        let next = ParkToken {
            parker: old.parker,
            generation: old.parker.generation.load(Ordering::Relaxed),
        };
        old.give();
        assert!(!next.take(Some(Instant::now()), || None::<()>));
        next.give();
        assert!(next.take(None, || None::<()>));
    }

    #[test]
    fn a_thread_that_ends_leaves_its_seat() {
        let parker = thread::spawn(ParkToken::of_thread).join().expect("it does not panic");
        let generation = parker.parker.generation.load(Ordering::Relaxed);
        assert!(generation > parker.generation);
    }
}
