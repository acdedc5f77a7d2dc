//! The parking of plain threads: a parker for each thread, and the token that it holds.
//!
//! Parkers are never freed, so a thread's [`ParkToken`] may be used at any time, and owns nothing.
//! A thread that ends leaves its parker to another thread, with the next generation: an old token
//! does not reach that one. So there are as many parkers as there were threads waiting at a time.
//!
//! The token is not std's: `park_timeout` of std does not return whether it took the token, so a
//! deadline could swallow an unpark.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fiveways_sys::lock::{Condvar, Mutex, MutexGuard};
use fiveways_sys::process::generation::PerProcess;

use crate::clock;

/// The free parkers. A fork starts with none: the locks of these may be held.
static FREE: PerProcess<Mutex<Vec<&'static ThreadParker>>> = PerProcess::new();

/// The lock is created anew in a fork, which may find it held; what it protects is unchanged.
#[derive(Default)]
struct ThreadParker {
    blocker: PerProcess<Blocker>,
    /// Counts the threads that have owned the parker. Written under the lock.
    generation: AtomicU64,
    /// Whether the token is here. Written under the lock.
    given: AtomicBool,
}

#[derive(Default)]
struct Blocker {
    lock: Mutex<()>,
    unparked: Condvar,
}

/// The parker of one thread, as long as the thread owns it.
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
    /// Without a destructor, so it can be used until the very end of the thread.
    static HERE: Cell<Option<ParkToken>> = const { Cell::new(None) };
    static LAST: ReturnOnExit = const { ReturnOnExit };
}

/// Frees the thread's parker when dropped.
struct ReturnOnExit;

impl Drop for ReturnOnExit {
    fn drop(&mut self) {
        // A later wait of this thread takes another parker, which then is not freed.
        if let Some(token) = HERE.take() {
            token.leave();
            free().push(token.parker);
        }
    }
}

impl ParkToken {
    /// Returns the same one for as long as the thread lives, also while its locals are destroyed:
    /// the thread may still wait then, and an unpark must reach the parker that it waits on.
    pub(crate) fn of_thread() -> ParkToken {
        HERE.get().unwrap_or_else(|| {
            // Registers the destructor, while that is possible.
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

    /// Gives the token, if the thread still owns its parker.
    pub(crate) fn give(self) {
        let locked = self.parker.lock();
        if self.parker.generation.load(Ordering::Relaxed) != self.generation {
            return;
        }
        self.parker.given.store(true, Ordering::Relaxed);
        drop(locked);
        self.parker.blocker().unparked.notify_one();
    }

    /// Waits for the token and takes it; returns `false` if the deadline, by the machine's clock,
    /// came first. `list` is called if the thread blocks, and its value is kept meanwhile. Only for
    /// the thread that owns the parker.
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
