//! What the two ends of a channel share: the exchange, and how many there are of each end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use fiveways_runtime::Ends;

use crate::exchange::{Exchange, Fifo};

/// The middle of a channel.
/// In this order: who searches memory for handles expects the exchange first.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Chan<T> {
    pub(super) exchange: Exchange<Fifo<T>>,
    /// Without a bound sending never waits.
    bounded: bool,
    pub(super) senders: Count,
    pub(super) receivers: Count,
}

/// How many there are of one end. Raised by clones, lowered by drops; 0 is for ever.
#[derive(Debug)]
pub(super) struct Count(AtomicUsize);

impl Count {
    /// One more, made from one that is there.
    pub(super) fn raise(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less. Was it the last?
    pub(super) fn lower(&self) -> bool {
        // ORDERING: what the others did before they went is seen by the last, as in `Arc`.
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
