//! The priority queue.

use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use fiveways_runtime::{Ends, no_park_scope};

use crate::exchange::{Exchange, Store};
use crate::queue::error::{Closed, GetError, PutError};
use crate::queue::method::{GET, PUT, capacity, maxsize, methods, nothing, refusal, traits};

/// A queue that returns the item of the smallest priority first, and among equals the oldest. A
/// clone is a handle to the same queue.
///
/// Items are pairs of a priority, which has an order, and a value, which need not have one.
///
/// Priorities are compared under the queue's lock: a comparison must neither use the queue nor
/// wait.
///
/// # Panics
///
/// If comparing two priorities panics, or waits. Then a `put` has put nothing, a `get` has taken
/// nothing, and the queue is unchanged.
///
/// # Examples
///
/// ```
/// use fiveways::queue::PriorityQueue;
///
/// let queue = PriorityQueue::new();
/// queue.put((10, "low"))?;
/// queue.put((-5, "high"))?;
/// queue.put((10, "low too"))?;
/// assert_eq!(queue.get(), Ok((-5, "high")));
/// assert_eq!(queue.get(), Ok((10, "low")));
/// assert_eq!(queue.get(), Ok((10, "low too")));
/// # Ok::<(), fiveways::queue::Closed<(i32, &str)>>(())
/// ```
#[doc(alias("queue.PriorityQueue", "heapq"))]
pub struct PriorityQueue<P: Ord, T> {
    exchange: Arc<Exchange<Heap<P, T>>>,
}

traits!(PriorityQueue<P: Ord, T>, Heap<P, T>);

impl<P: Ord, T> PriorityQueue<P, T> {
    /// Makes a queue that holds any number of items.
    pub fn new() -> PriorityQueue<P, T> {
        PriorityQueue::with_maxsize(0)
    }

    /// Makes a queue that holds up to `maxsize` items; 0: any number.
    pub fn with_maxsize(maxsize: usize) -> PriorityQueue<P, T> {
        let heap = Heap { entries: Vec::new(), next: 0 };
        PriorityQueue { exchange: Arc::new(Exchange::new(heap, capacity(maxsize), Ends::Shared)) }
    }

    methods!((P, T));

    /// Closes the queue; see [`Queue::shutdown`](super::Queue::shutdown).
    pub fn shutdown(&self, immediate: bool) {
        if immediate { self.exchange.shut() } else { self.exchange.close() }
    }
}

/// The smallest priority first; among equals, the smallest number first.
///
/// A binary heap: the children of entry `n` are `2n + 1` and `2n + 2`, and none precedes its
/// parent. Not std's, which loses an item if a comparison panics: here nothing is moved before all
/// comparisons are done.
struct Heap<P, T> {
    entries: Vec<Entry<P, T>>,
    /// The sequence number of the next item, counted from 0.
    next: u64,
}

struct Entry<P, T> {
    priority: P,
    number: u64,
    item: T,
}

impl<P: Ord, T> Heap<P, T> {
    /// Returns `true` if the first entry precedes the second.
    fn precedes(&self, first: usize, second: usize) -> bool {
        let (first, second) = (&self.entries[first], &self.entries[second]);
        first.priority.cmp(&second.priority).then(first.number.cmp(&second.number)).is_lt()
    }

    fn append(&mut self, (priority, item): (P, T)) {
        let number = self.next;
        self.next += 1;
        self.entries.push(Entry { priority, number, item });
    }

    /// Moves the last entry to its position; nothing is moved if that panics.
    fn raise_last(&mut self) {
        let place = no_park_scope(COMPARES, || self.place_upwards());
        let mut from = self.entries.len() - 1;
        while from > place {
            let parent = (from - 1) / 2;
            self.entries.swap(from, parent);
            from = parent;
        }
    }

    /// The position of the last entry on its way up.
    fn place_upwards(&self) -> usize {
        let last = self.entries.len() - 1;
        let mut place = last;
        while place > 0 && self.precedes(last, (place - 1) / 2) {
            place = (place - 1) / 2;
        }
        place
    }

    /// The position of the last entry on its way down from the first, which is removed.
    fn place_downwards(&self) -> usize {
        let last = self.entries.len() - 1;
        let mut place = 0;
        loop {
            let left = 2 * place + 1;
            if left >= last {
                return place;
            }
            let right = left + 1;
            let child = if right < last && self.precedes(right, left) { right } else { left };
            if self.precedes(last, child) {
                return place;
            }
            place = child;
        }
    }
}

/// The reason reported for a wait that is not allowed.
const COMPARES: &str = "the priorities of a queue are compared";

impl<P: Ord, T> Store for Heap<P, T> {
    type Item = (P, T);

    fn push(&mut self, item: (P, T)) {
        self.append(item);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.raise_last())) {
            self.entries.pop();
            resume_unwind(panic);
        }
    }

    fn refill(&mut self, item: (P, T)) {
        // The put has already succeeded. If the item cannot be compared it stays at the end: the
        // panic hook has reported the panic, which does not concern the caller. The payload's drop
        // is user code.
        self.append(item);
        mem::forget(catch_unwind(AssertUnwindSafe(|| self.raise_last())));
    }

    fn pop(&mut self) -> Option<(P, T)> {
        if self.entries.is_empty() {
            return None;
        }
        let place = no_park_scope(COMPARES, || self.place_downwards()) + 1;
        let first = self.entries.swap_remove(0);
        // The last one is now the first. Counted from 1, the digits of a position are the path to
        // it.
        let mut at = 1;
        for digit in (0..place.ilog2()).rev() {
            let below = 2 * at + (place >> digit & 1);
            self.entries.swap(at - 1, below - 1);
            at = below;
        }
        Some((first.priority, first.item))
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn drain(&mut self) -> Heap<P, T> {
        Heap { entries: mem::take(&mut self.entries), next: 0 }
    }
}
