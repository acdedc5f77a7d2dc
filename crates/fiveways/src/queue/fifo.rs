//! The first-in, first-out queue.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fiveways_runtime::Ends;

use crate::exchange::{Exchange, Fifo};
use crate::queue::error::{Closed, GetError, PutError};
use crate::queue::method::{GET, PUT, capacity, maxsize, methods, nothing, refusal, traits};

/// A queue: first in, first out. A clone is a handle to the same queue.
///
/// # Examples
///
/// ```
/// use fiveways::{queue::Queue, task};
///
/// let queue = Queue::with_maxsize(2);
/// let theirs = queue.clone();
/// let producer = task::spawn(move || {
///     for number in 1..=10 {
///         theirs.put(number)?;
///     }
///     theirs.shutdown(false);
///     Ok::<(), fiveways::queue::Closed<i32>>(())
/// });
/// let mut got = Vec::new();
/// while let Ok(number) = queue.get() {
///     got.push(number);
/// }
/// assert_eq!(got, (1..=10).collect::<Vec<_>>());
/// assert!(producer.join().is_ok_and(|put| put.is_ok()));
/// ```
#[doc(alias("queue.Queue", "gevent.queue.Queue", "SimpleQueue"))]
pub struct Queue<T> {
    exchange: Arc<Exchange<Fifo<T>>>,
}

traits!(Queue<T>, Fifo<T>);

impl<T> Queue<T> {
    /// Makes a queue that holds any number of items.
    pub fn new() -> Queue<T> {
        Queue::with_maxsize(0)
    }

    /// Makes a queue that holds up to `maxsize` items; 0: any number.
    pub fn with_maxsize(maxsize: usize) -> Queue<T> {
        Queue { exchange: Arc::new(Exchange::new(Fifo::new(), capacity(maxsize), Ends::Shared)) }
    }

    methods!(T);

    /// Closes the queue: from now on puts fail, and gets fail when it is empty. Its items can still
    /// be got or, if `immediate` is `true`, are dropped. Waiters that cannot be served any more are
    /// woken.
    pub fn shutdown(&self, immediate: bool) {
        if immediate { self.exchange.shut() } else { self.exchange.close() }
    }
}
