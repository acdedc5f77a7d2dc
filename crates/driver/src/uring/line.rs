//! Who waits for the bytes of one socket, first come first served.
//!
//! ```text
//!   slot.line ─▶ Pending ─next▶ Pending ─next▶ ∅      each in the frame of whoever waits
//! ```
//!
//! Invariant: what stands in a line is `Waiting`, so its waiter keeps it valid and in place (I6).
#![expect(unsafe_code, reason = "operations are reached by pointers that their waiters keep valid")]

use std::ptr::{self, NonNull};

use crate::op::{Op, Pending};

/// A line of waiting operations, linked through themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line(*mut Pending);

impl Line {
    pub(super) const EMPTY: Line = Line(ptr::null_mut());

    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.0.is_null()
    }

    /// What the first in the line wants.
    #[inline]
    pub(super) fn first(self) -> Option<Op> {
        let first = NonNull::new(self.0)?;
        // SAFETY: required: valid. By the invariant.
        Some(unsafe { first.as_ref() }.op)
    }

    /// Puts an operation at the end.
    ///
    /// # Safety
    ///
    /// It must be valid, stay in place until it left the line, and stand in no other.
    #[inline]
    pub(super) unsafe fn push(&mut self, pending: NonNull<Pending>) {
        let mut at: *mut *mut Pending = &raw mut self.0;
        loop {
            // SAFETY: required: `at` valid. It is the head or the link of a waiter.
            let next = unsafe { *at };
            if next.is_null() {
                break;
            }
            // SAFETY: required: `next` valid. By the invariant.
            at = unsafe { &*next }.next.as_ptr();
        }
        // SAFETY: required: `at` valid and ours to write. As above.
        unsafe { *at = pending.as_ptr() };
    }

    /// Puts an operation at the front.
    ///
    /// # Safety
    ///
    /// As [`Line::push`].
    pub(super) unsafe fn push_front(&mut self, pending: NonNull<Pending>) {
        // SAFETY: required: valid. By our contract.
        unsafe { pending.as_ref() }.next.set(self.0);
        self.0 = pending.as_ptr();
    }

    /// Takes the first out.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<NonNull<Pending>> {
        let first = NonNull::new(self.0)?;
        // SAFETY: required: valid. By the invariant.
        self.0 = unsafe { first.as_ref() }.next.replace(ptr::null_mut());
        Some(first)
    }

    /// Does it stand here?
    pub(super) fn contains(self, pending: NonNull<Pending>) -> bool {
        let mut at = self.0;
        while at != pending.as_ptr() {
            if at.is_null() {
                return false;
            }
            // SAFETY: required: valid. By the invariant.
            at = unsafe { &*at }.next.get();
        }
        true
    }

    /// Takes an operation out of the middle, if it stands here.
    pub(super) fn remove(&mut self, pending: NonNull<Pending>) {
        // SAFETY: required: valid. Whoever asks knows it to be.
        let behind = unsafe { pending.as_ref() }.next.get();
        let mut at: *mut *mut Pending = &raw mut self.0;
        loop {
            // SAFETY: required: `at` valid. It is the head or the link of a waiter.
            let next = unsafe { *at };
            if next.is_null() {
                return;
            }
            // SAFETY: required: `next` valid. By the invariant.
            let link = unsafe { &*next }.next.as_ptr();
            if next == pending.as_ptr() {
                // SAFETY: required: `at` valid and ours to write. As above.
                unsafe { *at = behind };
                // SAFETY: required: `link` valid and ours to write. It is the operation's own.
                unsafe { *link = ptr::null_mut() };
                return;
            }
            at = link;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Source;

    #[test]
    fn a_line_keeps_its_order_when_one_leaves() {
        let source = Source { fd: 0, generation: 0 };
        let all = [(); 4].map(|()| Pending::new(Op::Accept { source }, ptr::null_mut()));
        let [a, b, c, d] = all.each_ref().map(NonNull::from);
        for gone in [a, b, c] {
            let mut line = Line::EMPTY;
            for one in [a, b, c] {
                // SAFETY: required: valid, in place, in no other line. Locals; lines are emptied.
                unsafe { line.push(one) };
            }
            assert!(line.contains(gone) && !line.contains(d));
            line.remove(gone);
            line.remove(d);
            let left: Vec<_> = std::iter::from_fn(|| line.pop()).collect();
            let expected: Vec<_> = [a, b, c].into_iter().filter(|one| *one != gone).collect();
            assert_eq!(left, expected);
            assert!(line.is_empty());
        }
    }
}
