//! Waiting to be selected: what locks, channels and queues are built of.
//!
//! A waiter pins its [`Waiter`] in its frame, puts it into a [`WaitQueue`], releases the lock over
//! that queue, and waits. A selector, a task or thread that has something for the first waiter of a
//! queue, *selects* it under the queue's lock:
//!
//! ```text
//!                 select(what) by a selector, under the queue's lock
//!   Waiting ─────────────────────────────────────────▶ Selected
//!      │
//!      └── deadline, cancel: the waiter removes itself from the queue, under its lock
//! ```
//!
//! The lock decides which side is first. A waiter that was selected has what it was given, even if
//! its deadline came in the same moment; a waiter that has left the queue cannot be given anything
//! any more. A task that is cancelled unwinds out of [`Waiter::wait`]; if it had been selected
//! before, the closure `lost` is called with the selection, and passes on what was given.
//!
//! A waiter of [`Waiter::of_many`] is in several queues, with a lock each. So its state moves by
//! compare-and-swap, also when it gives up ([`Waiter::abort`]); then it leaves its queues. Its
//! entries in the queues that did not select it stay until it has removed them, and are skipped.
//!
//! # Where a waiter lies
//!
//! ```text
//!   WaitQueue (under a lock)            frame of the waiter
//!   ┌─────────────────────────┐         ┌───────────────────────────┐
//!   │ want │ waiter ──────────┼───────▶ │ Waiter: state, unparker   │
//!   │  …   │   …              │         │         number of queues  │
//!   └─────────────────────────┘         └───────────────────────────┘
//! ```
//!
//! # Invariants
//!
//! Tests named `waiter::…` are models in `tests/loom`; all others are in this crate's
//! `tests/runtime/waiting.rs`.
//!
//! 1. A waiter is selected at most once, and not after it has given up or left
//!    (`waiter::of_two_lines_one_selects`, `who_has_given_up_is_not_selected`).
//! 2. A waiter that was selected sees what was prepared for it, and is woken
//!    (`waiter::who_is_selected_is_woken_and_sees_what_was_prepared`).
//! 3. A waiter whose wait ends without a selection was given nothing, and one that was selected has
//!    what it was given, however late (`waiter::who_is_late_was_not_given_anything`,
//!    `late_is_who_was_not_selected_before_it_left`).
//! 4. What was given to a waiter that unwinds is passed on by `lost`, never dropped
//!    (`waiter::who_is_cancelled_passes_on_what_was_given`).
//! 5. An entry points at a live, pinned waiter: it leaves the queue by selection or removal before
//!    the waiter's frame goes, and a waiter that is dropped while an entry points at it ends the
//!    process (`a_waiter_dropped_while_it_is_queued_ends_the_process`).
//! 6. A selector copies the unparker first, and does not touch the waiter after the selection: the
//!    frame may be gone by then. (Read in `Entry::select`; no test sees a late read.)
//! 7. A waiter of one queue is in one queue only, and once
//!    (`a_waiter_of_one_queue_joins_no_second_one_and_waits_once`).
#![expect(unsafe_code, reason = "queues point into the frames of their waiters")]

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomPinned;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::park::limits::Interrupt;
use crate::park::{Unparker, Wake, park_unless_interrupted, unparker};
use crate::reason::Reason;

const WAITING: usize = 0;
const ABORTED: usize = usize::MAX;

/// What a waiter was selected for: a number that the selector chooses, below 2⁶³.
pub type Selection = NonZeroUsize;

/// The selection where one kind is enough.
pub const CHOSEN: Selection = NonZeroUsize::MIN;

/// A task or thread that waits to be selected, once; to be pinned in its frame.
pub struct Waiter {
    /// `WAITING`, `ABORTED` (written by the waiter, if it is of many queues), or what it was
    /// selected for (written by one selector).
    state: AtomicUsize,
    unparker: Unparker,
    is_of_many: bool,
    /// Entries that the waiter has made and not removed by itself. Used by the waiter's own thread
    /// only, not by selectors.
    queues: Cell<usize>,
    _pinned: PhantomPinned,
}

impl Waiter {
    /// Creates a waiter of the caller for one queue.
    #[inline]
    #[expect(clippy::new_without_default, reason = "it is made for its caller")]
    pub fn new() -> Waiter {
        Waiter::of(false)
    }

    /// Creates a waiter of the caller for any number of queues, one of which can select it.
    pub fn of_many() -> Waiter {
        Waiter::of(true)
    }

    #[inline]
    fn of(is_of_many: bool) -> Waiter {
        Waiter {
            state: AtomicUsize::new(WAITING),
            unparker: unparker(),
            is_of_many,
            queues: Cell::new(0),
            _pinned: PhantomPinned,
        }
    }

    /// Returns what the waiter was selected for, if it was.
    #[inline]
    pub fn selection(&self) -> Option<Selection> {
        // ORDERING: Acquire: pairs with the Release of `Entry::select`.
        match self.state.load(Ordering::Acquire) {
            WAITING | ABORTED => None,
            what => NonZeroUsize::new(what),
        }
    }

    /// Gives up, for a waiter of many queues, unless it was selected before. The caller must then
    /// remove it from its queues, except from that which has selected it.
    ///
    /// # Panics
    ///
    /// If the waiter is of one queue: such a waiter gives up by leaving the queue.
    pub fn abort(&self) {
        assert!(self.is_of_many, "a waiter of one queue gives up by leaving it");
        let (was, is) = (WAITING, ABORTED);
        // ORDERING: none: a selection that came first is seen by `selection`.
        let _ = self.state.compare_exchange(was, is, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Waits until the waiter is selected; returns `None` if the deadline came first and the waiter
    /// has left.
    ///
    /// `leave` is called if the deadline comes first or the task is unwound: it must remove the
    /// waiter from its queue, unless it was selected.
    ///
    /// # Suspends
    ///
    /// Until the waiter is selected or the deadline comes; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task is unwound from here, after `leave` was called; if it had been selected,
    /// `lost` is called with the selection, and must pass on what was given.
    #[inline]
    pub fn wait(
        &self,
        reason: &Reason<'_>,
        deadline: Option<Instant>,
        leave: impl FnOnce(),
        lost: impl FnOnce(Selection),
    ) -> Option<Selection> {
        self.wait_unless_interrupted(reason, deadline, leave).unwrap_or_else(|interrupt| {
            if let Some(what) = self.selection() {
                lost(what);
            }
            interrupt.unwind()
        })
    }

    /// As [`Waiter::wait`], but returns on cancellation instead of unwinding: the caller then asks
    /// for the selection, and unwinds.
    ///
    /// # Suspends
    ///
    /// Until the waiter is selected or the deadline comes; a plain thread blocks.
    #[inline(always)]
    pub fn wait_unless_interrupted(
        &self,
        reason: &Reason<'_>,
        deadline: Option<Instant>,
        leave: impl FnOnce(),
    ) -> Result<Option<Selection>, Interrupt> {
        let ended = loop {
            if let Some(what) = self.selection() {
                return Ok(Some(what));
            }
            match park_unless_interrupted(reason, deadline) {
                Ok(Wake::Unparked) => {}
                Ok(Wake::TimedOut) => break Ok(()),
                Err(interrupt) => break Err(interrupt),
            }
        };
        leave();
        ended.map(|()| self.selection())
    }

    /// Returns `true` if a queue points at this waiter.
    #[inline]
    fn is_queued(&self) -> bool {
        let queues = self.queues.get();
        // The queue that has selected the waiter has dropped its entry.
        queues > 0 && queues > usize::from(self.selection().is_some())
    }
}

impl Drop for Waiter {
    #[inline]
    fn drop(&mut self) {
        if self.is_queued() {
            die();
        }
    }
}

/// Ends the process: a queue points into a frame that is about to be freed.
#[cold]
fn die() -> ! {
    eprintln!("fiveways: a waiter was dropped while it was in a wait queue");
    std::process::abort();
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Waiter");
        text.field("selection", &self.selection()).field("unparker", &self.unparker).finish()
    }
}

/// An entry of a queue.
struct Entry<T> {
    waiter: NonNull<Waiter>,
    want: T,
}

// SAFETY: required: what it points at may be used from another thread. Selectors use the waiter's
// state, which is atomic, and its unparker, which is never changed and may be sent.
unsafe impl<T: Send> Send for Entry<T> {}

impl<T> Entry<T> {
    /// Selects the waiter, unless it was selected elsewhere or has given up. The entry must be
    /// dropped afterwards: the waiter may be gone.
    #[inline]
    fn select(&self, what: Selection) -> Option<Unparker> {
        // SAFETY: required: it is there. It is in this queue, and was not selected through this
        // entry; the reference is not used after the selection (invariants 5, 6).
        let waiter = unsafe { self.waiter.as_ref() };
        let (state, unparker) = (&waiter.state, waiter.unparker);
        // ORDERING: Release: what was prepared for it is seen by the Acquire in `selection`.
        if waiter.is_of_many {
            let (was, is) = (WAITING, what.get());
            state.compare_exchange(was, is, Ordering::Release, Ordering::Relaxed).ok()?;
        } else {
            // A waiter of one queue is selected under one lock only: ours.
            state.store(what.get(), Ordering::Release);
        }
        Some(unparker)
    }

    /// Returns `true` if the waiter still waits; the answer may be outdated at once.
    fn waits(&self) -> bool {
        // SAFETY: required: it is there. It is in this queue, and was not selected through this
        // entry.
        let waiter = unsafe { self.waiter.as_ref() };
        waiter.state.load(Ordering::Relaxed) == WAITING
    }

    #[inline]
    fn is_of(&self, waiter: Pin<&Waiter>) -> bool {
        self.waiter == NonNull::from(waiter.get_ref())
    }
}

/// The waiters for one thing, first come first served; lies under the lock of that thing.
///
/// Each entry carries a value that says what its waiter wants.
pub struct WaitQueue<T = ()>(VecDeque<Entry<T>>);

impl WaitQueue {
    /// Puts a waiter at the end of the queue.
    ///
    /// # Panics
    ///
    /// If a waiter of one queue is in a queue already, or was selected.
    #[inline]
    pub fn enqueue(&mut self, waiter: Pin<&Waiter>) {
        self.enqueue_with(waiter, ());
    }
}

impl<T> WaitQueue<T> {
    /// Creates an empty queue.
    pub const fn new() -> WaitQueue<T> {
        WaitQueue(VecDeque::new())
    }

    /// Returns `true` if the queue has no entries. (A waiter that was selected elsewhere or has
    /// given up counts until it has removed its entry.)
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of entries, counted as for [`WaitQueue::is_empty`].
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Puts a waiter at the end of the queue, with a value that says what it wants.
    ///
    /// # Panics
    ///
    /// If a waiter of one queue is in a queue already, or was selected.
    #[inline]
    pub fn enqueue_with(&mut self, waiter: Pin<&Waiter>, want: T) {
        let queues = waiter.queues.get();
        // An entry that was selected still counts.
        let may_join = waiter.is_of_many || queues == 0;
        assert!(may_join, "a waiter waits once, and in one queue unless it is of many");
        self.0.push_back(Entry { waiter: NonNull::from(waiter.get_ref()), want });
        waiter.queues.set(queues + 1);
    }

    /// Removes the waiter's entry; returns `false` if it has none here (any more).
    pub fn remove(&mut self, waiter: Pin<&Waiter>) -> bool {
        self.remove_with(waiter, |_| true)
    }

    /// Removes the waiter's entry whose value satisfies `is_it`; returns `false` if there is none.
    pub fn remove_with(&mut self, waiter: Pin<&Waiter>, is_it: impl Fn(&T) -> bool) -> bool {
        let found = self.find_from_both_ends(|entry| entry.is_of(waiter) && is_it(&entry.want));
        // A selected entry is gone, so the entry that is found is another one.
        let left = found.is_some_and(|at| self.0.remove(at).is_some());
        if left {
            waiter.queues.set(waiter.queues.get() - 1);
        }
        left
    }

    /// Finds an entry. A waiter that leaves is mostly one of the first (its deadline came) or of
    /// the last (it was cancelled).
    fn find_from_both_ends(&self, is_it: impl Fn(&Entry<T>) -> bool) -> Option<usize> {
        let len = self.0.len();
        let mut entries = (0..len.div_ceil(2)).flat_map(|at| [at, len - 1 - at]);
        entries.find(|at| is_it(&self.0[*at]))
    }

    /// Returns `true` if another waiter in the queue still waits; the answer may be outdated at
    /// once.
    pub fn has_other_than(&self, waiter: Pin<&Waiter>) -> bool {
        self.0.iter().any(|entry| !entry.is_of(waiter) && entry.waits())
    }

    /// Returns what the waiter at this position wants; the first is at 0.
    #[inline]
    pub fn want(&self, at: usize) -> Option<&T> {
        self.0.get(at).map(|entry| &entry.want)
    }

    /// Selects the waiter at this position, if it still waits, and removes its entry. The caller
    /// unparks it, best after releasing the lock. A waiter of one queue always still waits.
    #[inline]
    pub fn select(&mut self, at: usize, what: Selection) -> Option<Unparker> {
        let unparker = self.0.get(at)?.select(what)?;
        if at == 0 {
            self.0.pop_front();
        } else {
            self.0.remove(at);
        }
        Some(unparker)
    }

    /// Selects the first waiter that still waits and removes its entry. The caller unparks it, best
    /// after releasing the lock.
    #[inline]
    pub fn select_first(&mut self, what: Selection) -> Option<Unparker> {
        (0..self.0.len()).find_map(|at| self.select(at, what))
    }

    /// Selects all waiters that still wait, and removes their entries; the caller unparks them.
    pub fn select_all(&mut self, what: Selection) -> Vec<Unparker> {
        self.select_all_by(|_| what)
    }

    /// As [`WaitQueue::select_all`], with the selection that `what` makes of each entry's value.
    pub fn select_all_by(&mut self, what: impl Fn(&T) -> Selection) -> Vec<Unparker> {
        let mut chosen = Vec::with_capacity(self.0.len());
        // The number of entries that are skipped.
        let mut at = 0;
        while let Some(what) = self.want(at).map(&what) {
            match self.select(at, what) {
                Some(unparker) => chosen.push(unparker),
                None => at += 1,
            }
        }
        chosen
    }
}

impl<T> Default for WaitQueue<T> {
    fn default() -> WaitQueue<T> {
        WaitQueue::new()
    }
}

impl<T> fmt::Debug for WaitQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WaitQueue").field(&self.len()).finish()
    }
}
