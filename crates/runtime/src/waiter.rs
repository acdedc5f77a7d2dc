//! Waiting to be chosen: what locks, channels and queues are built of.
//!
//! Who must wait puts its [`Waiter`] into one or more [`Line`]s, lets go of their locks, and waits.
//! Whoever has something for the first of a line *selects* it, under the line's lock:
//!
//! ```text
//!            select(what) by the first who has something     taken by the waiter
//!   Waiting ───────────────────────────────────────▶ Selected ─────────▶ (next wait)
//!      └────── deadline, cancel: by the waiter ────▶ Aborted
//! ```
//!
//! The state moves once in each wait, by compare-and-swap, so exactly one side wins: selected, the
//! waiter has what it was given, even when its deadline came in the same moment; aborted, it cannot
//! be given anything any more. A task that is cancelled unwinds out of [`Waiter::wait`]; if it had
//! been selected before, the closure `lost` is told so, and passes on what it was given.
//!
//! A waiter is in a line only during its own wait: who pops it selects it under the same lock, and
//! who leaves unselected removes itself. So it can be used for the next wait.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::park::{Unparker, Wake, park_for, unparker};
use crate::reason::Reason;

const WAITING: usize = 0;
const ABORTED: usize = usize::MAX;

/// What a waiter was selected for: a number of the selector's choice.
pub type Selection = NonZeroUsize;

/// The one selection of those who need only one.
pub const CHOSEN: Selection = NonZeroUsize::MIN;

/// A task or thread that waits to be chosen.
#[derive(Debug)]
pub struct Waiter {
    /// `WAITING`, `ABORTED` (written by the waiter), or what it was selected for (by one selector).
    state: AtomicUsize,
    unparker: Unparker,
}

impl Waiter {
    /// Chooses the waiter, unless another has or it has given up. Then [`Waiter::unpark`] it.
    ///
    /// Must be called under the lock of the line in which it was found.
    #[inline]
    pub fn select(&self, what: Selection) -> bool {
        // ORDERING: Release: what was prepared for it is seen by the Acquire in `selection`.
        let (was, is) = (WAITING, what.get());
        self.state.compare_exchange(was, is, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Wakes a waiter that was selected.
    #[inline]
    pub fn unpark(&self) {
        self.unparker.unpark();
    }

    /// What it was selected for, if it was.
    #[inline]
    pub fn selection(&self) -> Option<Selection> {
        // ORDERING: pairs with `select`.
        match self.state.load(Ordering::Acquire) {
            WAITING | ABORTED => None,
            what => NonZeroUsize::new(what),
        }
    }

    /// Gives up; tells what it had been selected for, if somebody was faster.
    #[inline]
    pub fn abort(&self) -> Option<Selection> {
        let (was, is) = (WAITING, ABORTED);
        // ORDERING: Acquire on failure: pairs with `select`.
        match self.state.compare_exchange(was, is, Ordering::Relaxed, Ordering::Acquire) {
            Ok(_) => None,
            Err(what) => NonZeroUsize::new(what).filter(|what| what.get() != ABORTED),
        }
    }

    /// Waits until it is selected; `None`: the deadline came first, and it must leave its lines.
    ///
    /// # Suspends
    ///
    /// Until selected or late; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task is unwound from here, after `lost` was called: with what it had been
    /// selected for, to be passed on, or with `None`; then it must leave its lines.
    pub fn wait(
        &self,
        reason: &Reason<'_>,
        deadline: Option<Instant>,
        lost: impl FnOnce(Option<Selection>),
    ) -> Option<Selection> {
        let mut unwinding = Lost { waiter: self, tell: Some(lost) };
        let selected = loop {
            if let Some(what) = self.selection() {
                break Some(what);
            }
            if park_for(reason, deadline) == Wake::TimedOut {
                break self.abort();
            }
        };
        unwinding.tell = None;
        selected
    }
}

/// Tells a waiter's owner that it is unwound.
struct Lost<'a, F: FnOnce(Option<Selection>)> {
    waiter: &'a Waiter,
    tell: Option<F>,
}

impl<F: FnOnce(Option<Selection>)> Drop for Lost<'_, F> {
    fn drop(&mut self) {
        if let Some(tell) = self.tell.take() {
            tell(self.waiter.abort());
        }
    }
}

thread_local! {
    /// Waiters that this thread's callers have used, for their next waits.
    static SPARE: RefCell<Vec<Arc<Waiter>>> = const { RefCell::new(Vec::new()) };
}

/// Waiters kept for each thread.
const SPARE_MAX: usize = 64;

/// A waiter for one wait of the caller. (`None` only while it is dropped.)
#[derive(Debug)]
pub struct Lease(Option<Arc<Waiter>>);

impl Lease {
    /// Makes a waiter for the caller.
    ///
    /// Never suspends.
    #[inline]
    pub fn new() -> Lease {
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
        let renewed = spare.and_then(|mut waiter| {
            // If not: somebody is still unparking its last user.
            let old = Arc::get_mut(&mut waiter)?;
            *old.state.get_mut() = WAITING;
            old.unparker.renew();
            Some(waiter)
        });
        let new = || Arc::new(Waiter { state: AtomicUsize::new(WAITING), unparker: unparker() });
        Lease(Some(renewed.unwrap_or_else(new)))
    }
}

impl Default for Lease {
    fn default() -> Lease {
        Lease::new()
    }
}

impl Deref for Lease {
    type Target = Arc<Waiter>;

    #[inline]
    fn deref(&self) -> &Arc<Waiter> {
        self.0.as_ref().expect("it has a waiter until it is dropped")
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        // A thread that ends keeps none.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_MAX {
                spare.extend(self.0.take());
            }
        });
    }
}

/// Those who wait for one thing, first come first served; lies under the lock of that thing.
///
/// With each of them lies a word of their own about what they want.
#[derive(Debug)]
pub struct Line<T = ()>(VecDeque<(Arc<Waiter>, T)>);

impl Line {
    /// Goes to the end of the line.
    #[inline]
    pub fn join(&mut self, waiter: &Arc<Waiter>) {
        self.join_with(waiter, ());
    }
}

impl<T> Line<T> {
    /// Makes an empty line.
    pub const fn new() -> Line<T> {
        Line(VecDeque::new())
    }

    /// Is nobody in it? (Who has given up and not left yet counts.)
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many are in it, with those who have given up and not left yet.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Goes to the end of the line with a word about what it wants.
    #[inline]
    pub fn join_with(&mut self, waiter: &Arc<Waiter>, want: T) {
        self.0.push_back((Arc::clone(waiter), want));
    }

    /// Leaves the line; false: it was not (or no more) in it.
    pub fn leave(&mut self, waiter: &Arc<Waiter>) -> bool {
        let found = self.0.iter().position(|(other, _)| Arc::ptr_eq(other, waiter));
        found.is_some_and(|at| self.0.remove(at).is_some())
    }

    /// What the first wants, who may have given up.
    #[inline]
    pub fn first(&self) -> Option<&T> {
        self.0.front().map(|(_, want)| want)
    }

    /// Takes the first out, selected or not; it is to be selected under the same lock.
    #[inline]
    pub fn pop(&mut self) -> Option<(Arc<Waiter>, T)> {
        self.0.pop_front()
    }

    /// Selects the first that still waits and takes it out; it is to be unparked, best after the
    /// lock was let go.
    #[inline]
    pub fn select_first(&mut self, what: Selection) -> Option<Arc<Waiter>> {
        loop {
            let (waiter, _) = self.0.pop_front()?;
            if waiter.select(what) {
                return Some(waiter);
            }
        }
    }

    /// Selects all that still wait and takes them out; they are to be unparked.
    pub fn select_all(&mut self, what: Selection) -> Vec<Arc<Waiter>> {
        let all = self.0.drain(..).map(|(waiter, _)| waiter);
        all.filter(|waiter| waiter.select(what)).collect()
    }
}

impl<T> Default for Line<T> {
    fn default() -> Line<T> {
        Line::new()
    }
}
