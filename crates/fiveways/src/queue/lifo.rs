//! The last-in, first-out queue.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use fiveways_runtime::Ends;

use crate::exchange::{Exchange, Store};
use crate::queue::error::{Closed, GetError, PutError};
use crate::queue::method::{GET, PUT, capacity, maxsize, methods, nothing, refusal, traits};

/// A queue that returns the newest item first. A clone is a handle to the same queue.
///
/// # Examples
///
/// ```
/// use fiveways::queue::LifoQueue;
///
/// let queue = LifoQueue::new();
/// for number in 1..=3 {
///     queue.put(number)?;
/// }
/// assert_eq!([queue.get(), queue.get(), queue.get()], [Ok(3), Ok(2), Ok(1)]);
/// # Ok::<(), fiveways::queue::Closed<i32>>(())
/// ```
#[doc(alias("queue.LifoQueue", "stack"))]
pub struct LifoQueue<T> {
    exchange: Arc<Exchange<Lifo<T>>>,
}

traits!(LifoQueue<T>, Lifo<T>);

impl<T> LifoQueue<T> {
    /// Makes a queue that holds any number of items.
    pub fn new() -> LifoQueue<T> {
        LifoQueue::with_maxsize(0)
    }

    /// Makes a queue that holds up to `maxsize` items; 0: any number.
    pub fn with_maxsize(maxsize: usize) -> LifoQueue<T> {
        LifoQueue {
            exchange: Arc::new(Exchange::new(Lifo(Vec::new()), capacity(maxsize), Ends::Shared)),
        }
    }

    methods!(T);

    /// Closes the queue; see [`Queue::shutdown`](super::Queue::shutdown).
    pub fn shutdown(&self, immediate: bool) {
        if immediate { self.exchange.shut() } else { self.exchange.close() }
    }
}

/// Last in, first out.
struct Lifo<T>(Vec<T>);

impl<T> Store for Lifo<T> {
    type Item = T;

    #[inline]
    fn push(&mut self, item: T) {
        self.0.push(item);
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }

    fn drain(&mut self) -> Lifo<T> {
        Lifo(mem::take(&mut self.0))
    }
}
