//! The state shared by the two ends of a channel: the exchange, and the number of handles of each
//! end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use fiveways_runtime::Ends;

use crate::exchange::{Exchange, Fifo};

/// The shared state of a channel.
/// The exchange is the first field.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Chan<T> {
    pub(super) exchange: Exchange<Fifo<T>>,
    /// `false`: sending never waits.
    bounded: bool,
    pub(super) senders: Count,
    pub(super) receivers: Count,
}

/// The number of handles of one end. Raised by clones, lowered by drops; 0 is final.
#[derive(Debug)]
pub(super) struct Count(AtomicUsize);

impl Count {
    /// Counts one more, made from an existing one.
    pub(super) fn raise(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one less. Returns `true` if it was the last.
    pub(super) fn lower(&self) -> bool {
        // ORDERING: the last handle sees what the others did before they were dropped, as in `Arc`.
        let last = self.0.fetch_sub(1, Ordering::Release) == 1;
        if last {
            fence(Ordering::Acquire);
        }
        last
    }
}

impl<T> Chan<T> {
    /// Makes a channel with one sender and one receiver.
    pub(super) fn new(capacity: usize) -> Arc<Chan<T>> {
        let one = || Count(AtomicUsize::new(1));
        let exchange = Exchange::new(Fifo::new(), capacity, Ends::Split);
        let bounded = capacity != usize::MAX;
        Arc::new(Chan { bounded, exchange, senders: one(), receivers: one() })
    }

    /// The bound; `None`: there is none.
    pub(super) fn capacity(&self) -> Option<usize> {
        self.bounded.then(|| self.exchange.capacity())
    }

    #[inline]
    pub(super) fn is_bounded(&self) -> bool {
        self.bounded
    }
}
