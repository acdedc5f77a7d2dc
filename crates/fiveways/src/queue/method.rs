//! The methods that every queue has, stated once; the queues differ in what they store how.

/// Writes the methods of a queue type, given its items; its field `exchange` is what they work on.
macro_rules! methods {
    ($item:ty) => {
        /// Puts an item into the queue.
        ///
        /// # Suspends
        ///
        /// While the queue is full; a plain thread blocks. A task that never has to wait lets
        /// others go first now and then.
        ///
        /// # Cancellation
        ///
        /// A cancelled task is unwound from here; the item was not put.
        ///
        /// # Errors
        ///
        /// When the queue was shut down, also while this waits; the item comes back.
        #[inline]
        #[track_caller]
        pub fn put(&self, item: $item) -> Result<(), Closed<$item>> {
            self.exchange.give(item, PUT, None).map_err(|(_, item)| Closed(item))
        }

        /// Puts an item into the queue, waiting for room no longer than the timeout.
        ///
        /// # Suspends
        ///
        /// While the queue is full, for at most that long; a plain thread blocks.
        ///
        /// # Cancellation
        ///
        /// A cancelled task is unwound from here; the item was not put.
        ///
        /// # Errors
        ///
        /// When there was no room in time, or the queue was shut down; the item comes back.
        #[inline]
        #[track_caller]
        pub fn put_timeout(&self, item: $item, timeout: Duration) -> Result<(), PutError<$item>> {
            self.exchange.give(item, PUT, fiveways_runtime::clock::after(timeout)).map_err(refusal)
        }

        /// Puts an item into the queue if there is room.
        ///
        /// # Errors
        ///
        /// When there is no room, or the queue was shut down; the item comes back.
        #[inline]
        #[doc(alias = "try_put")]
        pub fn put_nowait(&self, item: $item) -> Result<(), PutError<$item>> {
            self.exchange.try_give(item).map_err(refusal)
        }

        /// Gets the next item out of the queue.
        ///
        /// # Suspends
        ///
        /// While the queue is empty; a plain thread blocks. A task that never has to wait lets
        /// others go first now and then.
        ///
        /// # Cancellation
        ///
        /// A cancelled task is unwound from here; no item is lost.
        ///
        /// # Errors
        ///
        /// When the queue was shut down, also while this waits, and nothing is left in it.
        #[inline]
        #[track_caller]
        pub fn get(&self) -> Result<$item, Closed> {
            self.exchange.take(GET, None).map_err(|_| Closed(()))
        }

        /// Gets the next item out of the queue, waiting for one no longer than the timeout.
        ///
        /// # Suspends
        ///
        /// While the queue is empty, for at most that long; a plain thread blocks.
        ///
        /// # Cancellation
        ///
        /// A cancelled task is unwound from here; no item is lost.
        ///
        /// # Errors
        ///
        /// When none came in time, or the queue was shut down and nothing is left in it.
        #[inline]
        #[track_caller]
        pub fn get_timeout(&self, timeout: Duration) -> Result<$item, GetError> {
            self.exchange.take(GET, fiveways_runtime::clock::after(timeout)).map_err(nothing)
        }

        /// Gets the next item out of the queue if there is one.
        ///
        /// # Errors
        ///
        /// When there is none, or the queue was shut down and nothing is left in it.
        #[inline]
        #[doc(alias = "try_get")]
        pub fn get_nowait(&self) -> Result<$item, GetError> {
            self.exchange.try_take().map_err(nothing)
        }

        /// Items in the queue at this moment; others may put and get in the next.
        #[doc(alias = "qsize")]
        pub fn len(&self) -> usize {
            self.exchange.len()
        }

        /// Was the queue empty at this moment? Only a `get_nowait` decides.
        #[doc(alias = "empty")]
        pub fn is_empty(&self) -> bool {
            self.len() == 0
        }

        /// Was the queue full at this moment? Only a `put_nowait` decides.
        #[doc(alias = "full")]
        pub fn is_full(&self) -> bool {
            self.exchange.is_full()
        }

        /// How many items the queue may hold; 0: any number.
        pub fn maxsize(&self) -> usize {
            maxsize(self.exchange.capacity())
        }
    };
}

/// Writes how a queue type is cloned, shown and made by default.
macro_rules! traits {
    ($name:ident<$($parameter:ident $(: $bound:ident)?),+>, $store:ty) => {
        impl<$($parameter $(: $bound)?),+> Clone for $name<$($parameter),+> {
            /// Makes another handle on the same queue.
            fn clone(&self) -> Self {
                self.exchange.record(::fiveways_runtime::Role::Producer);
                $name { exchange: Arc::clone(&self.exchange) }
            }
        }

        impl<$($parameter $(: $bound)?),+> Default for $name<$($parameter),+> {
            fn default() -> Self {
                $name::new()
            }
        }

        impl<$($parameter $(: $bound)?),+> fmt::Debug for $name<$($parameter),+> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut fields = f.debug_struct(stringify!($name));
                fields.field("len", &self.len()).field("maxsize", &self.maxsize());
                fields.finish_non_exhaustive()
            }
        }
    };
}

pub(super) use {methods, traits};

use crate::exchange::Why;
use crate::queue::error::{GetError, PutError};

pub(super) const PUT: &str = "put to queue";
pub(super) const GET: &str = "get from queue";

/// The exchange's capacity for a `maxsize`.
pub(super) fn capacity(maxsize: usize) -> usize {
    if maxsize == 0 { usize::MAX } else { maxsize }
}

pub(super) fn maxsize(capacity: usize) -> usize {
    if capacity == usize::MAX { 0 } else { capacity }
}

pub(super) fn refusal<T>((why, item): (Why, T)) -> PutError<T> {
    match why {
        Why::Closed => PutError::Closed(item),
        Why::NotNow | Why::Late => PutError::Full(item),
    }
}

pub(super) fn nothing(why: Why) -> GetError {
    match why {
        Why::Closed => GetError::Closed,
        Why::NotNow | Why::Late => GetError::Empty,
    }
}
