//! The queue that gives the most urgent first.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::exchange::{Exchange, Store};
use crate::queue::error::{GetError, PutError, ShutDown};
use crate::queue::method::{GET, PUT, capacity, maxsize, methods, nothing, refusal, traits};

/// A queue that gives the item of the smallest priority first, and among equals the oldest. A clone
/// is the same queue.
///
/// Items are pairs of a priority, which has an order, and something that need not have one.
///
/// # Panics
///
/// Where comparing two priorities does.
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
/// # Ok::<(), fiveways::queue::ShutDown<(i32, &str)>>(())
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
        let heap = Heap { entries: BinaryHeap::new(), next: 0 };
        PriorityQueue { exchange: Arc::new(Exchange::new(heap, capacity(maxsize))) }
    }

    methods!((P, T));

    /// Ends the queue; see [`Queue::shutdown`](super::Queue::shutdown).
    ///
    /// Never suspends.
    pub fn shutdown(&self, immediate: bool) {
        if immediate { self.exchange.shut() } else { self.exchange.close() }
    }
}

/// The smallest priority first; among equals, the smallest number first.
struct Heap<P, T> {
    entries: BinaryHeap<Entry<P, T>>,
    /// The number of the next item, counted up from 0.
    next: u64,
}

struct Entry<P, T> {
    priority: P,
    number: u64,
    item: T,
}

impl<P: Ord, T> Ord for Entry<P, T> {
    /// The heap gives the greatest first.
    fn cmp(&self, other: &Entry<P, T>) -> Ordering {
        let by_priority = other.priority.cmp(&self.priority);
        by_priority.then_with(|| other.number.cmp(&self.number))
    }
}

impl<P: Ord, T> PartialOrd for Entry<P, T> {
    fn partial_cmp(&self, other: &Entry<P, T>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<P: Ord, T> PartialEq for Entry<P, T> {
    fn eq(&self, other: &Entry<P, T>) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<P: Ord, T> Eq for Entry<P, T> {}

impl<P: Ord, T> Store for Heap<P, T> {
    type Item = (P, T);

    fn push(&mut self, (priority, item): (P, T)) {
        let number = self.next;
        self.next += 1;
        self.entries.push(Entry { priority, number, item });
    }

    fn pop(&mut self) -> Option<(P, T)> {
        self.entries.pop().map(|entry| (entry.priority, entry.item))
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn drain(&mut self) -> Heap<P, T> {
        Heap { entries: mem::take(&mut self.entries), next: 0 }
    }
}
