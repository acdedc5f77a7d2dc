//! The operations that wait for one thing, first come first served, linked through themselves.
//!
//! ```text
//!   PendingList   first ─▶ Pending ⇄ Pending ⇄ Pending ◀─ last     each in the frame of its waiter
//! ```
//!
//! Adding an operation at the end, taking the first, and removing one from the middle cost the same
//! for any number of waiting operations: a list is never walked.
//!
//! Invariant: an operation in a list is `Waiting`, so its waiter keeps it valid and in place (I6).
#![expect(unsafe_code, reason = "operations are reached by pointers that their waiters keep valid")]

use std::ptr::{self, NonNull};

use crate::op::{Op, Pending};

/// Waiting operations in the order in which they came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingList {
    first: *mut Pending,
    last: *mut Pending,
}

impl PendingList {
    pub(crate) const EMPTY: PendingList =
        PendingList { first: ptr::null_mut(), last: ptr::null_mut() };

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Returns `true` if several operations wait.
    #[inline]
    pub(crate) fn has_several(&self) -> bool {
        self.first != self.last
    }

    /// Returns the first.
    #[inline]
    pub(crate) fn first(&self) -> Option<NonNull<Pending>> {
        NonNull::new(self.first)
    }

    /// Returns the operation of the first.
    #[inline]
    pub(crate) fn first_op(&self) -> Option<Op> {
        self.first().map(|first| waiter(&first).op)
    }

    /// Adds an operation at the end.
    ///
    /// # Safety
    ///
    /// It must be valid, stay in place until it has left the list, and be in no other.
    #[inline]
    pub(crate) unsafe fn push(&mut self, pending: NonNull<Pending>) {
        let links = &waiter(&pending).links;
        links.before.set(self.last);
        links.behind.set(ptr::null_mut());
        match NonNull::new(self.last) {
            Some(last) => waiter(&last).links.behind.set(pending.as_ptr()),
            None => self.first = pending.as_ptr(),
        }
        self.last = pending.as_ptr();
    }

    /// Removes and returns the first.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<NonNull<Pending>> {
        let first = self.first()?;
        // SAFETY: required: in this list. It is its first.
        unsafe { self.remove(first) };
        Some(first)
    }

    /// Removes an operation, wherever it is in the list.
    ///
    /// # Safety
    ///
    /// It must be in this list.
    #[inline]
    pub(crate) unsafe fn remove(&mut self, pending: NonNull<Pending>) {
        let links = &waiter(&pending).links;
        let before = links.before.replace(ptr::null_mut());
        let behind = links.behind.replace(ptr::null_mut());
        match NonNull::new(before) {
            Some(before) => waiter(&before).links.behind.set(behind),
            None => self.first = behind,
        }
        match NonNull::new(behind) {
            Some(behind) => waiter(&behind).links.before.set(before),
            None => self.last = before,
        }
    }
}

/// Returns the operation behind a pointer of a list.
#[inline]
fn waiter(pending: &NonNull<Pending>) -> &Pending {
    // SAFETY: required: valid. By the invariant, and for one that is added by the contract of
    // `push`.
    unsafe { pending.as_ref() }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::op::Source;

    fn four() -> [Pending; 4] {
        let op = Op::Readable { source: Source { fd: 0, generation: 0 } };
        [(); 4].map(|()| Pending::new(op, ptr::null_mut()))
    }

    fn drain(list: &mut PendingList) -> Vec<NonNull<Pending>> {
        std::iter::from_fn(|| list.pop()).collect()
    }

    #[test]
    fn a_list_keeps_its_order_whoever_leaves() {
        let all = four();
        let all = all.each_ref().map(NonNull::from);
        for gone in 0..1 << all.len() {
            let mut list = PendingList::EMPTY;
            for one in all {
                // SAFETY: required: valid, in place, in no other list. Locals; lists are emptied.
                unsafe { list.push(one) };
            }
            let leaves = |at: &usize| gone >> *at & 1 == 1;
            for at in (0..all.len()).filter(leaves) {
                // SAFETY: required: in this list. It was put in above and has not left.
                unsafe { list.remove(all[at]) };
            }
            let stay = (0..all.len()).filter(|at| !leaves(at)).map(|at| all[at]);
            let stay: Vec<_> = stay.collect();
            assert_eq!(list.is_empty(), stay.is_empty());
            assert_eq!(list.has_several(), stay.len() > 1);
            assert_eq!(list.first(), stay.first().copied());
            assert_eq!(drain(&mut list), stay);
        }
    }

    #[test]
    fn one_that_left_can_come_again_at_the_end() {
        let all = four();
        let [a, b, c, _] = all.each_ref().map(NonNull::from);
        let mut list = PendingList::EMPTY;
        for one in [a, b, c] {
            // SAFETY: required: valid, in place, in no other list. Locals; the list is emptied.
            unsafe { list.push(one) };
        }
        // SAFETY: required: in this list. It was put in above.
        unsafe { list.remove(b) };
        // SAFETY: required: valid, in place, in no other list. It has just left.
        unsafe { list.push(b) };
        assert_eq!(drain(&mut list), [a, c, b]);
    }

    /// How long it takes to put so many in and to take them out from the end, for each.
    fn turnover(count: usize) -> Duration {
        let op = Op::Readable { source: Source { fd: 0, generation: 0 } };
        let all: Vec<_> = (0..count).map(|_| Pending::new(op, ptr::null_mut())).collect();
        let mut list = PendingList::EMPTY;
        let started = Instant::now();
        for one in &all {
            // SAFETY: required: valid, in place, in no other list. `all` outlives the list.
            unsafe { list.push(NonNull::from(one)) };
        }
        for one in all.iter().rev() {
            // SAFETY: required: in this list. It was put in above.
            unsafe { list.remove(NonNull::from(one)) };
        }
        assert!(list.is_empty());
        started.elapsed() / count as u32
    }

    #[test]
    fn one_more_costs_the_same_however_many_wait() {
        let best = |count| (0..5).map(|_| turnover(count)).min().expect("five times");
        // A list that were walked would cost 5,000 steps here where a short one costs 50.
        let (few, many) = (best(100), best(10_000));
        assert!(many < few.max(Duration::from_nanos(100)) * 20, "{many:?} beside {few:?}");
    }
}
