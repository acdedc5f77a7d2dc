//! Waiting to be chosen: what locks, channels and queues are built of.
//!
//! Who must wait puts its [`Waiter`] into a [`WaitQueue`], lets go of that line's lock, and waits.
//! Whoever has something for the first of a line *selects* it, under the line's lock:
//!
//! ```text
//!            select(what) by who has something, under the line's lock
//!   Waiting ─────────────────────────────────────────▶ Selected
//!      │
//!      └── deadline, cancel: the waiter takes itself out of the line, under its lock
//! ```
//!
//! The lock decides who is faster: selected, the waiter has what it was given, even when its
//! deadline came in the same moment; out of the line, it cannot be given anything any more. A task
//! that is cancelled unwinds out of [`Waiter::wait`]; if it had been selected before, the closure
//! `lost` is told so, and passes on what it was given.
//!
//! A waiter of [`Waiter::of_many`] stands in several lines, with a lock each. So its state moves by
//! compare-and-swap, also when it gives up ([`Waiter::abort`]); then it leaves its lines. In those
//! that did not select it, it stands until it has left them, and is passed over.
//!
//! # Where a waiter lies
//!
//! ```text
//!   WaitQueue (under a lock)                 frame of who waits
//!   ┌─────────────────────────┐         ┌───────────────────────────┐
//!   │ want │ waiter ──────────┼───────▶ │ Waiter: state, unparker   │
//!   │  …   │   …              │         │         lines it stands in│
//!   └─────────────────────────┘         └───────────────────────────┘
//! ```
//!
//! It is pinned there, and stands in a line only during its own wait. It comes out of one in two
//! ways: it was selected, or it has left. Whoever selects it has copied its unparker before, and
//! does not touch it afterwards: it may be gone then. The waiter counts the lines that it stands
//! in, and a frame that goes while it stands in one ends the process. So whom a line points at is
//! there.
#![expect(unsafe_code, reason = "lines point into the frames of those who wait")]

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

/// What a waiter was selected for: a number of the selector's choice, below 2⁶³.
pub type Selection = NonZeroUsize;

/// The one selection of those who need only one.
pub const CHOSEN: Selection = NonZeroUsize::MIN;

/// A task or thread that waits to be chosen, once: to be pinned in its frame.
pub struct Waiter {
    /// `WAITING`, `ABORTED` (written by the waiter, if it is of many lines), or what it was
    /// selected for (by one selector).
    state: AtomicUsize,
    unparker: Unparker,
    is_of_many: bool,
    /// Lines it has joined and not left by itself. The waiter's own; not for selectors.
    lines: Cell<usize>,
    _pinned: PhantomPinned,
}

impl Waiter {
    /// Makes a waiter of the caller for one line.
    ///
    /// Never suspends.
    #[inline]
    #[expect(clippy::new_without_default, reason = "it is made for its caller")]
    pub fn new() -> Waiter {
        Waiter::of(false)
    }

    /// Makes a waiter of the caller for any number of lines, of which one can select it.
    ///
    /// Never suspends.
    pub fn of_many() -> Waiter {
        Waiter::of(true)
    }

    #[inline]
    fn of(is_of_many: bool) -> Waiter {
        Waiter {
            state: AtomicUsize::new(WAITING),
            unparker: unparker(),
            is_of_many,
            lines: Cell::new(0),
            _pinned: PhantomPinned,
        }
    }

    /// What it was selected for, if it was.
    #[inline]
    pub fn selection(&self) -> Option<Selection> {
        // ORDERING: Acquire: pairs with the Release of `Entry::select`.
        match self.state.load(Ordering::Acquire) {
            WAITING | ABORTED => None,
            what => NonZeroUsize::new(what),
        }
    }

    /// Gives up, for a waiter of many lines, unless somebody was faster. It must leave its lines,
    /// but for that in which it was selected.
    ///
    /// # Panics
    ///
    /// When it is of one line: that it leaves, and has given up.
    pub fn abort(&self) {
        assert!(self.is_of_many, "a waiter of one line gives up by leaving it");
        let (was, is) = (WAITING, ABORTED);
        // ORDERING: whoever was faster is seen by `selection`.
        let _ = self.state.compare_exchange(was, is, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Waits until it is selected; `None`: the deadline came first, and it has left.
    ///
    /// `leave` is called when the deadline comes first or the task is unwound: it must take the
    /// waiter out of its line, unless it was selected.
    ///
    /// # Suspends
    ///
    /// Until selected or late; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task is unwound from here, after `leave` was called; if it had been selected,
    /// `lost` is called with that, and must pass on what it was given.
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

    /// As [`Waiter::wait`], and leaves it to the caller to unwind: what it was selected for is to
    /// be asked for, then.
    ///
    /// # Suspends
    ///
    /// Until selected or late; a plain thread blocks.
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

    /// Does a line point at it?
    #[inline]
    fn is_queued(&self) -> bool {
        let lines = self.lines.get();
        // That which has selected it has let go of it.
        lines > 0 && lines > usize::from(self.selection().is_some())
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

/// Ends the process: a line points into a frame that goes.
#[cold]
fn die() -> ! {
    eprintln!("fiveways: a waiter goes while it stands in a line");
    std::process::abort();
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Waiter");
        text.field("selection", &self.selection()).field("unparker", &self.unparker).finish()
    }
}

/// A place in a line.
struct Entry<T> {
    waiter: NonNull<Waiter>,
    want: T,
}

// SAFETY: required: what it points at may be used from another thread. Others use the waiter's
// state, which is atomic, and its unparker, which nobody changes and which may be sent.
unsafe impl<T: Send> Send for Entry<T> {}

impl<T> Entry<T> {
    /// Selects the waiter, unless that was selected elsewhere or has given up. Then the place must
    /// go: the waiter may be gone.
    #[inline]
    fn select(&self, what: Selection) -> Option<Unparker> {
        // SAFETY: required: it is there. It stands in this line, and nobody has selected it for it;
        // the reference is not used after the selection.
        let waiter = unsafe { self.waiter.as_ref() };
        let (state, unparker) = (&waiter.state, waiter.unparker);
        // ORDERING: Release: what was prepared for it is seen by the Acquire in `selection`.
        if waiter.is_of_many {
            let (was, is) = (WAITING, what.get());
            state.compare_exchange(was, is, Ordering::Release, Ordering::Relaxed).ok()?;
        } else {
            // Who stands in one line only is selected under one lock only: ours.
            state.store(what.get(), Ordering::Release);
        }
        Some(unparker)
    }

    /// Does it still wait, as far as can be said?
    fn waits(&self) -> bool {
        // SAFETY: required: it is there. It stands in this line, and nobody has selected it for it.
        let waiter = unsafe { self.waiter.as_ref() };
        waiter.state.load(Ordering::Relaxed) == WAITING
    }

    #[inline]
    fn is_of(&self, waiter: Pin<&Waiter>) -> bool {
        self.waiter == NonNull::from(waiter.get_ref())
    }
}

/// Those who wait for one thing, first come first served; lies under the lock of that thing.
///
/// With each of them lies a word of their own about what they want.
pub struct WaitQueue<T = ()>(VecDeque<Entry<T>>);

impl WaitQueue {
    /// Goes to the end of the line.
    ///
    /// # Panics
    ///
    /// When a waiter of one line stands in one, or was selected.
    #[inline]
    pub fn enqueue(&mut self, waiter: Pin<&Waiter>) {
        self.enqueue_with(waiter, ());
    }
}

impl<T> WaitQueue<T> {
    /// Makes an empty line.
    pub const fn new() -> WaitQueue<T> {
        WaitQueue(VecDeque::new())
    }

    /// Is nobody in it? (Who was selected elsewhere or has given up, and not left yet, counts.)
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many are in it, counted as for [`WaitQueue::is_empty`].
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Goes to the end of the line with a word about what it wants.
    ///
    /// # Panics
    ///
    /// When a waiter of one line stands in one, or was selected.
    #[inline]
    pub fn enqueue_with(&mut self, waiter: Pin<&Waiter>, want: T) {
        let lines = waiter.lines.get();
        // That which has selected it still counts.
        let may_join = waiter.is_of_many || lines == 0;
        assert!(may_join, "a waiter waits once, and in one line unless it is of many");
        self.0.push_back(Entry { waiter: NonNull::from(waiter.get_ref()), want });
        waiter.lines.set(lines + 1);
    }

    /// Leaves the line; false: it was not (or no more) in it.
    pub fn remove(&mut self, waiter: Pin<&Waiter>) -> bool {
        self.remove_with(waiter, |_| true)
    }

    /// Leaves that place in the line whose word is such a one; false: it was not in it.
    pub fn remove_with(&mut self, waiter: Pin<&Waiter>, is_it: impl Fn(&T) -> bool) -> bool {
        let found = self.find_from_both_ends(|entry| entry.is_of(waiter) && is_it(&entry.want));
        // Who was selected for this place is not found: so it is another that it leaves.
        let left = found.is_some_and(|at| self.0.remove(at).is_some());
        if left {
            waiter.lines.set(waiter.lines.get() - 1);
        }
        left
    }

    /// Finds a place. Who leaves is mostly one of the first, by time, or of the last, by cancel.
    fn find_from_both_ends(&self, is_it: impl Fn(&Entry<T>) -> bool) -> Option<usize> {
        let len = self.0.len();
        let mut entries = (0..len.div_ceil(2)).flat_map(|at| [at, len - 1 - at]);
        entries.find(|at| is_it(&self.0[*at]))
    }

    /// Does anybody else in it still wait, as far as can be said?
    pub fn has_other_than(&self, waiter: Pin<&Waiter>) -> bool {
        self.0.iter().any(|entry| !entry.is_of(waiter) && entry.waits())
    }

    /// What the one at this place wants; the first is at 0.
    #[inline]
    pub fn want(&self, at: usize) -> Option<&T> {
        self.0.get(at).map(|entry| &entry.want)
    }

    /// Selects the one at this place, if it still waits, and takes it out; it is to be unparked,
    /// best after the lock was let go. Who stands in one line only always waits still.
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

    /// Selects the first that still waits and takes it out; it is to be unparked, best after the
    /// lock was let go.
    #[inline]
    pub fn select_first(&mut self, what: Selection) -> Option<Unparker> {
        (0..self.0.len()).find_map(|at| self.select(at, what))
    }

    /// Selects all that still wait, and takes them out; they are to be unparked.
    pub fn select_all(&mut self, what: Selection) -> Vec<Unparker> {
        self.select_all_by(|_| what)
    }

    /// As [`WaitQueue::select_all`], each for what `what` makes of its word.
    pub fn select_all_by(&mut self, what: impl Fn(&T) -> Selection) -> Vec<Unparker> {
        let mut chosen = Vec::with_capacity(self.0.len());
        // How many are passed over.
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
