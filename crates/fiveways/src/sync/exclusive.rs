//! A mutex without its data: at most one task or thread holds it at a time.
//!
//! ```text
//!   word   0                        free; nobody waits, or somebody who waits was just woken
//!          holder                   held; the first waiter was woken and is on its way
//!          holder | CONTENDED       held; the holder looks at the queue when it unlocks
//! ```
//!
//! A caller that finds it held enters the queue of *fresh* waiters. Unlocking wakes the first of
//! them, which tries again: another caller may take the lock in between (barging), which saves a
//! switch for each hand-over. A waiter to which that has happened enters the queue of the
//! *overtaken*, and the lock is handed to its first waiter without ever being free: no waiter is
//! woken in vain twice.
//!
//! The queues change under their lock only; the word is changed without it only from free to held
//! and back, and never while it is `CONTENDED`.

use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use fiveways_runtime::{CHOSEN, Holder, Identity, Reason, Selection, WaitQueue, Waiter, me};
use fiveways_sys::lock::Mutex;

/// The bit of the word that no [`Identity`] has.
const CONTENDED: u64 = 1 << 63;

/// The lock was handed over; [`CHOSEN`] means "try again".
const HANDED: Selection = CHOSEN.saturating_add(1);

/// How often a lock held by another thread is checked before waiting for it.
const SPINS: u32 = 100;

/// A lock without data.
#[derive(Debug)]
pub(super) struct Exclusive {
    word: AtomicU64,
    waiting: Mutex<Waiting>,
}

/// The waiters.
#[derive(Debug)]
struct Waiting {
    /// Waiters that were woken once and found it taken.
    overtaken: WaitQueue<Identity>,
    fresh: WaitQueue,
}

impl Waiting {
    fn len(&self) -> usize {
        self.overtaken.len() + self.fresh.len()
    }
}

/// How to wait for a lock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) what: &'static str,
    pub(super) place: &'static Location<'static>,
    pub(super) deadline: Option<Instant>,
}

impl Exclusive {
    pub(super) const fn new() -> Exclusive {
        let waiting = Waiting { overtaken: WaitQueue::new(), fresh: WaitQueue::new() };
        Exclusive { word: AtomicU64::new(0), waiting: Mutex::new(waiting) }
    }

    /// Takes it if it is free.
    #[inline]
    pub(super) fn try_lock(&self, me: Identity) -> bool {
        // ORDERING: Acquire pairs with the Release of the thread that unlocked.
        let (was, is) = (0, me.to_bits());
        self.word.compare_exchange(was, is, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Returns its holder, as far as is known.
    #[inline]
    pub(super) fn holder(&self) -> Option<Identity> {
        Identity::from_bits(self.word.load(Ordering::Relaxed))
    }

    /// Unlocks it; only for its holder.
    #[inline]
    pub(super) fn unlock(&self) {
        // Others can only add `CONTENDED`.
        let held = self.word.load(Ordering::Relaxed);
        // ORDERING: Release: the next holder sees what was done under the lock.
        let free = held & CONTENDED == 0
            && self.word.compare_exchange(held, 0, Ordering::Release, Ordering::Relaxed).is_ok();
        if !free {
            self.unlock_contended();
        }
    }

    #[cold]
    fn unlock_contended(&self) {
        let mut waiting = self.waiting.lock();
        let woken = if let Some(next) = waiting.overtaken.want(0) {
            // Before the selection: from then on the next holder may unlock it.
            let more = if waiting.len() > 1 { CONTENDED } else { 0 };
            self.word.store(next.to_bits() | more, Ordering::Release);
            waiting.overtaken.select_first(HANDED)
        } else {
            self.word.store(0, Ordering::Release);
            waiting.fresh.select_first(CHOSEN)
        };
        drop(waiting);
        if let Some(unparker) = woken {
            unparker.unpark();
        }
    }

    /// Locks it, waiting if necessary; returns `false` if the deadline came first.
    ///
    /// # Panics
    ///
    /// If the caller holds it already.
    #[cold]
    pub(super) fn lock_slowly(&self, me: Identity, wait: Wait) -> bool {
        if self.spin(me) {
            return true;
        }
        let mut overtaken = false;
        loop {
            let waiter = pin!(Waiter::new());
            let waiter = waiter.as_ref();
            if self.take_or_join(waiter, me, overtaken, wait) {
                return true;
            }
            match self.wait(waiter, wait) {
                None => return false,
                Some(HANDED) => return true,
                Some(_) => overtaken = true,
            }
        }
    }

    /// Checks repeatedly for a short time, if its holder may be running.
    fn spin(&self, me: Identity) -> bool {
        for _ in 0..SPINS {
            let word = self.word.load(Ordering::Relaxed);
            if word == 0 && self.try_lock(me) {
                return true;
            }
            let runs = Identity::from_bits(word).is_none_or(|holder| !holder.shares_thread(me));
            if word & CONTENDED != 0 || !runs {
                return false;
            }
            std::hint::spin_loop();
        }
        false
    }

    /// Takes it, or enters a queue.
    fn take_or_join(
        &self,
        waiter: Pin<&Waiter>,
        me: Identity,
        overtaken: bool,
        wait: Wait,
    ) -> bool {
        let mut waiting = self.waiting.lock();
        if self.take(me, &waiting) {
            return true;
        }
        let own = self.holder() == Some(me);
        if own {
            drop(waiting);
            panic!("the {} is held by the caller, {me}, who would wait for itself", wait.what);
        }
        if overtaken {
            waiting.overtaken.enqueue_with(waiter, me);
        } else {
            waiting.fresh.enqueue(waiter);
        }
        false
    }

    /// Takes it if it is free; otherwise makes its holder check the queues.
    fn take(&self, me: Identity, waiting: &Waiting) -> bool {
        let more = if waiting.len() == 0 { 0 } else { CONTENDED };
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let is = if word == 0 { me.to_bits() | more } else { word | CONTENDED };
            // ORDERING: Acquire: as in `try_lock`.
            let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
            match self.word.compare_exchange(word, is, success, failure) {
                Ok(was) => return was == 0,
                Err(now) => word = now,
            }
        }
    }

    /// Waits to be woken or handed the lock; `None` if the deadline came first.
    fn wait(&self, waiter: Pin<&Waiter>, wait: Wait) -> Option<Selection> {
        let on = std::ptr::from_ref(self).addr();
        let holder = Holder::In(&self.word);
        let reason = Reason { what: wait.what, on, holder, place: wait.place };
        let leave = || self.leave(waiter);
        waiter.wait(&reason, wait.deadline, leave, |selected| self.give_up(selected))
    }

    /// Passes on what was given to a waiter that unwinds.
    fn give_up(&self, selected: Selection) {
        if selected == HANDED {
            return self.unlock();
        }
        // It was woken in place of another waiter.
        let me = me();
        let taken = self.take(me, &self.waiting.lock());
        if taken {
            self.unlock();
        }
    }

    fn leave(&self, waiter: Pin<&Waiter>) {
        let mut waiting = self.waiting.lock();
        let _ = waiting.overtaken.remove(waiter) || waiting.fresh.remove(waiter);
    }
}
