//! The methods common to all queues; the queues differ in how they store items.

/// Defines the methods of a queue type, given its item type; they work on its field `exchange`.
macro_rules! methods {
    ($item:ty) => {
        /// Puts an item into the queue.
        ///
        /// # Suspends
        ///
        /// While the queue is full; a plain thread blocks. A task that never has to wait yields to
        /// others now and then.
        ///
        /// # Cancellation
        ///
        /// A cancelled task is unwound from here; the item was not put.
        ///
        /// # Errors
        ///
        /// If the queue is closed, also during the wait; the error returns the item.
        #[inline]
        #[track_caller]
        pub fn put(&self, item: $item) -> Result<(), Closed<$item>> {
            self.exchange.give(item, PUT, None).map_err(|(_, item)| Closed(item))
        }

        /// Puts an item into the queue, waiting for room for at most the timeout.
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
        /// If there was no room in time, or the queue is closed; the error returns the item.
        #[inline]
        #[track_caller]
        pub fn put_timeout(&self, item: $item, timeout: Duration) -> Result<(), PutError<$item>> {
            self.exchange.give(item, PUT, fiveways_runtime::clock::after(timeout)).map_err(refusal)
        }

        /// Puts an item into the queue if there is room.
        ///
        /// # Errors
        ///
        /// If there is no room, or the queue is closed; the error returns the item.
        #[inline]
        #[doc(alias = "try_put")]
        pub fn put_nowait(&self, item: $item) -> Result<(), PutError<$item>> {
            self.exchange.try_give(item).map_err(refusal)
        }

        /// Gets the next item out of the queue.
        ///
        /// # Suspends
        ///
        /// While the queue is empty; a plain thread blocks. A task that never has to wait yields to
        /// others now and then.
        ///
        /// # Cancellation
        ///
        /// A cancelled task is unwound from here; no item is lost.
        ///
        /// # Errors
        ///
        /// If the queue is closed, also during the wait, and empty.
        #[inline]
        #[track_caller]
        pub fn get(&self) -> Result<$item, Closed> {
            self.exchange.take(GET, None).map_err(|_| Closed(()))
        }

        /// Gets the next item out of the queue, waiting for at most the timeout.
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
        /// If no item came in time, or the queue is closed and empty.
        #[inline]
        #[track_caller]
        pub fn get_timeout(&self, timeout: Duration) -> Result<$item, GetError> {
            self.exchange.take(GET, fiveways_runtime::clock::after(timeout)).map_err(nothing)
        }

        /// Gets the next item out of the queue if there is one.
        ///
        /// # Errors
        ///
        /// If there is none, or the queue is closed and empty.
        #[inline]
        #[doc(alias = "try_get")]
        pub fn get_nowait(&self) -> Result<$item, GetError> {
            self.exchange.try_take().map_err(nothing)
        }

        /// Returns the number of items in the queue; it may change at any time.
        #[doc(alias = "qsize")]
        pub fn len(&self) -> usize {
            self.exchange.len()
        }

        /// Returns `true` if the queue was empty at this moment. Only `get_nowait` is reliable.
        #[doc(alias = "empty")]
        pub fn is_empty(&self) -> bool {
            self.len() == 0
        }

        /// Returns `true` if the queue was full at this moment. Only `put_nowait` is reliable.
        #[doc(alias = "full")]
        pub fn is_full(&self) -> bool {
            self.exchange.is_full()
        }

        /// Returns the maximum number of items; 0: any number.
        pub fn maxsize(&self) -> usize {
            maxsize(self.exchange.capacity())
        }
    };
}

/// Implements `Clone`, `Debug` and `Default` for a queue type.
macro_rules! traits {
    ($name:ident<$($parameter:ident $(: $bound:ident)?),+>, $store:ty) => {
        impl<$($parameter $(: $bound)?),+> Clone for $name<$($parameter),+> {
            /// Makes another handle to the same queue.
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
