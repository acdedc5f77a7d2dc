//! The queue that counts unfinished work.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fiveways_runtime::{CHOSEN, Ends, Reason, Role, Unparker, WaitQueue, Waiter, clock, spend};

use crate::exchange::{Exchange, Fifo, Store};
use crate::queue::error::{Closed, GetError, PutError, TooManyDone};
use crate::queue::method::{GET, PUT, capacity, maxsize, methods, nothing, refusal, traits};

/// A queue, first in, first out, that counts the items that were put and are not done yet. A clone
/// is a handle to the same queue.
///
/// A consumer calls [`JoinableQueue::task_done`] for each item it has processed;
/// [`JoinableQueue::join`] waits until all are.
///
/// # Examples
///
/// ```
/// use fiveways::{queue::JoinableQueue, task};
///
/// let queue = JoinableQueue::with_maxsize(4);
/// for _ in 0..3 {
///     let queue = queue.clone();
///     task::spawn(move || {
///         while let Ok(number) = queue.get() {
///             std::hint::black_box(number * 2);
///             queue.task_done().expect("this one was put");
///         }
///     });
/// }
/// for number in 0..100 {
///     queue.put(number)?;
/// }
/// queue.join();
/// assert_eq!(queue.unfinished(), 0);
/// queue.shutdown(false);
/// # Ok::<(), fiveways::queue::Closed<i32>>(())
/// ```
#[doc(alias("multiprocessing.JoinableQueue", "gevent.queue.JoinableQueue"))]
pub struct JoinableQueue<T> {
    exchange: Arc<Exchange<Counted<T>>>,
}

traits!(JoinableQueue<T>, Counted<T>);

impl<T> JoinableQueue<T> {
    /// Makes a queue that holds any number of items.
    pub fn new() -> JoinableQueue<T> {
        JoinableQueue::with_maxsize(0)
    }

    /// Makes a queue that holds up to `maxsize` items; 0: any number.
    pub fn with_maxsize(maxsize: usize) -> JoinableQueue<T> {
        let store = Counted { fifo: Fifo::new(), unfinished: 0, joiners: WaitQueue::new() };
        JoinableQueue { exchange: Arc::new(Exchange::new(store, capacity(maxsize), Ends::Shared)) }
    }

    methods!(T);

    /// Reports that one item has been processed.
    ///
    /// # Errors
    ///
    /// If it is called more often than items were put.
    pub fn task_done(&self) -> Result<(), TooManyDone> {
        self.exchange.record(Role::Consumer);
        let one_less = self.exchange.with_store(|store| {
            store.unfinished = store.unfinished.checked_sub(1)?;
            Some(())
        });
        one_less.ok_or(TooManyDone)?;
        self.wake_joiners();
        Ok(())
    }

    /// Returns the number of items that were put and are not done yet; it may change at any time.
    #[doc(alias = "unfinished_tasks")]
    pub fn unfinished(&self) -> usize {
        self.exchange.with_store(|store| store.unfinished)
    }

    /// Waits until every item that was put is done.
    ///
    /// # Suspends
    ///
    /// Until every item is done; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task is unwound from here.
    #[track_caller]
    pub fn join(&self) {
        self.join_by(None);
    }

    /// Waits until every item that was put is done, for at most the timeout; returns `false` after
    /// the timeout.
    ///
    /// # Suspends
    ///
    /// Until every item is done or the timeout has passed; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task is unwound from here.
    #[track_caller]
    pub fn join_timeout(&self, timeout: Duration) -> bool {
        self.join_by(clock::after(timeout))
    }

    #[track_caller]
    fn join_by(&self, deadline: Option<Instant>) -> bool {
        spend();
        let reason = Reason::new("join queue", &*self.exchange);
        let reason = self.exchange.ended_by(Role::Producer, reason);
        let waiter = pin!(Waiter::new());
        let waiter = waiter.as_ref();
        let done = self.exchange.with_store(|store| {
            if store.unfinished > 0 {
                store.joiners.enqueue(waiter);
            }
            store.unfinished == 0
        });
        if done {
            return true;
        }
        let leave = || {
            self.exchange.with_store(|store| store.joiners.remove(waiter));
        };
        waiter.wait(&reason, deadline, leave, |_| {}).is_some()
    }

    fn wake_joiners(&self) {
        for unparker in self.exchange.with_store(Counted::joined) {
            unparker.unpark();
        }
    }

    /// Closes the queue; see [`Queue::shutdown`](super::Queue::shutdown). Dropped items count as
    /// done.
    pub fn shutdown(&self, immediate: bool) {
        let _wakes = WakeJoiners(self);
        if immediate { self.exchange.shut() } else { self.exchange.close() }
    }
}

/// Wakes the joiners on drop: the destructor of an item may unwind.
struct WakeJoiners<'a, T>(&'a JoinableQueue<T>);

impl<T> Drop for WakeJoiners<'_, T> {
    fn drop(&mut self) {
        self.0.wake_joiners();
    }
}

/// First in, first out, with a count of unfinished items.
struct Counted<T> {
    fifo: Fifo<T>,
    /// Items that were stored or handed over directly, and are not done.
    unfinished: usize,
    joiners: WaitQueue,
}

impl<T> Counted<T> {
    /// The joiners, if all work is done; they are to be unparked.
    fn joined(&mut self) -> Vec<Unparker> {
        match self.unfinished {
            0 => self.joiners.select_all(CHOSEN),
            _ => Vec::new(),
        }
    }
}

impl<T> Store for Counted<T> {
    type Item = T;

    #[inline]
    fn push(&mut self, item: T) {
        self.fifo.push(item);
        self.unfinished += 1;
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        self.fifo.pop()
    }

    #[inline]
    fn len(&self) -> usize {
        self.fifo.len()
    }

    fn drain(&mut self) -> Counted<T> {
        let fifo = self.fifo.drain();
        self.unfinished = self.unfinished.saturating_sub(fifo.len());
        Counted { fifo, unfinished: 0, joiners: WaitQueue::new() }
    }

    #[inline]
    fn on_direct_handoff(&mut self) {
        self.unfinished += 1;
    }
}
