//! Running something once: std's `Once`, for tasks and plain threads.
//!
//! ```text
//!   0 ──▶ who runs it ──▶ COMPLETE
//!              │  ▲
//!              ▼  │ call_once_force
//!           POISONED
//! ```
//!
//! The runner's identity leaves the word under the lock of the queue, and all waiters are woken.

use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

use fiveways_runtime::{
    CHOSEN, Holder, Reason, Unparker, WaitQueue, Waiter, me, without_interruption,
};
use fiveways_sys::lock::Mutex;

const NEW: u64 = 0;
/// No [`Identity`](fiveways_runtime::Identity) has this bit; for deadlock detection both words mean
/// "no holder".
const ENDED: u64 = 1 << 63;
const POISONED: u64 = ENDED;
const COMPLETE: u64 = ENDED | 1 << 62;

/// Runs one of the closures that it is called with, as [`std::sync::Once`].
///
/// # Cancellation
///
/// The closure is unwound neither by a cancellation nor by a time limit: its work would be lost to
/// all others. They take effect at the task's next wait. A task that waits for another to run its
/// closure is unwound as usual.
///
/// # Differences from std
///
/// Calling it from within its own closure panics, where std may deadlock.
///
/// # Examples
///
/// ```
/// use fiveways::sync::Once;
///
/// static SETUP: Once = Once::new();
/// SETUP.call_once(|| println!("once"));
/// SETUP.call_once(|| unreachable!("twice"));
/// assert!(SETUP.is_completed());
/// ```
#[doc(alias = "pthread_once_t")]
pub struct Once {
    word: AtomicU64,
    queue: Mutex<WaitQueue>,
}

impl UnwindSafe for Once {}
impl RefUnwindSafe for Once {}

/// The argument of the closure of [`Once::call_once_force`].
#[derive(Debug)]
pub struct OnceState {
    poisoned: bool,
}

impl OnceState {
    /// Returns `true` if an earlier closure panicked.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }
}

impl Once {
    /// Makes a `Once` that has not run.
    pub const fn new() -> Once {
        Once { word: AtomicU64::new(NEW), queue: Mutex::new(WaitQueue::new()) }
    }

    /// Runs `f` unless another closure has already run; one has when this returns.
    ///
    /// # Suspends
    ///
    /// While another task or thread runs its closure; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here.
    ///
    /// # Panics
    ///
    /// If an earlier closure panicked; if called from within its own closure.
    #[doc(alias = "pthread_once")]
    #[inline]
    #[track_caller]
    pub fn call_once(&self, f: impl FnOnce()) {
        let place = Location::caller();
        if !self.is_completed() {
            self.call(false, place, |_| without_interruption(f));
        }
    }

    /// As [`Once::call_once`], also if an earlier closure panicked.
    ///
    /// # Suspends
    ///
    /// While another task or thread runs its closure; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here.
    ///
    /// # Panics
    ///
    /// If called from within its own closure.
    #[inline]
    #[track_caller]
    pub fn call_once_force(&self, f: impl FnOnce(&OnceState)) {
        let place = Location::caller();
        if !self.is_completed() {
            self.call(true, place, |state| without_interruption(|| f(state)));
        }
    }

    /// Returns `true` if a closure has completed.
    #[inline]
    pub fn is_completed(&self) -> bool {
        // ORDERING: Acquire pairs with the Release of the runner: what it did is seen.
        self.word.load(Ordering::Acquire) == COMPLETE
    }

    /// Waits until a closure has completed.
    ///
    /// # Suspends
    ///
    /// Until a closure has completed; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here.
    ///
    /// # Panics
    ///
    /// If the closure panicked; if called from within its own closure.
    #[track_caller]
    pub fn wait(&self) {
        let place = Location::caller();
        while !self.is_completed() {
            self.wait_for_end(place, |word| match word {
                COMPLETE => false,
                POISONED => self.refuse(),
                _ => true,
            });
        }
    }

    /// As [`Once::wait`], but if the closure panicked, waits until another has completed.
    ///
    /// # Suspends
    ///
    /// Until a closure has completed; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task that waits is unwound from here.
    ///
    /// # Panics
    ///
    /// If called from within its own closure.
    #[track_caller]
    pub fn wait_force(&self) {
        let place = Location::caller();
        while !self.is_completed() {
            self.wait_for_end(place, |word| word != COMPLETE);
        }
    }

    /// As [`Once::call_once_force`], but `f` can be interrupted as its caller can.
    #[cold]
    pub(super) fn call(
        &self,
        force: bool,
        place: &'static Location<'static>,
        f: impl FnOnce(&OnceState),
    ) {
        let me = me().to_bits();
        loop {
            let word = self.word.load(Ordering::Acquire);
            match word {
                COMPLETE => return,
                POISONED if !force => self.refuse(),
                NEW | POISONED => {
                    let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
                    if self.word.compare_exchange(word, me, success, failure).is_ok() {
                        let mut end = End { once: self, word: POISONED };
                        f(&OnceState { poisoned: word == POISONED });
                        end.word = COMPLETE;
                        return;
                    }
                }
                _ => self.wait_for_end(place, |word| word != NEW && word & ENDED == 0),
            }
        }
    }

    fn refuse(&self) -> ! {
        panic!("the once is poisoned: its closure has panicked");
    }

    /// Waits for the end of a closure, if the word says that one is running.
    fn wait_for_end(&self, place: &'static Location<'static>, is_to_wait: impl Fn(u64) -> bool) {
        let waiter = pin!(Waiter::new());
        let waiter = waiter.as_ref();
        let mut queue = self.queue.lock();
        let word = self.word.load(Ordering::Acquire);
        if word == me().to_bits() {
            drop(queue);
            panic!("the once is called from within its own closure, which would wait for itself");
        }
        if !is_to_wait(word) {
            return;
        }
        queue.enqueue(waiter);
        drop(queue);
        let on = std::ptr::from_ref(self).addr();
        let reason = Reason { what: "once", on, holder: Holder::In(&self.word), place };
        let leave = || {
            self.queue.lock().remove(waiter);
        };
        waiter.wait(&reason, None, leave, |_| {});
    }
}

impl Default for Once {
    fn default() -> Once {
        Once::new()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}

/// Announces the end of a closure, however it ends.
struct End<'a> {
    once: &'a Once,
    word: u64,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut queue = self.once.queue.lock();
        self.once.word.store(self.word, Ordering::Release);
        let chosen = queue.select_all(CHOSEN);
        drop(queue);
        chosen.iter().for_each(Unparker::unpark);
    }
}
