//! Storage of the items in an exchange.

use std::collections::VecDeque;
use std::mem;

/// A container of items that determines which is the next.
pub(crate) trait Store {
    /// The type of the items.
    type Item;

    /// Stores an item, even if it panics.
    fn push(&mut self, item: Self::Item);

    /// Stores an item in place of one that was just taken. Does not panic.
    #[inline]
    fn refill(&mut self, item: Self::Item) {
        self.push(item);
    }

    /// Takes the next item; none is taken if it panics.
    fn pop(&mut self) -> Option<Self::Item>;

    /// The number of stored items.
    fn len(&self) -> usize;

    /// Takes all items out.
    fn drain(&mut self) -> Self;

    /// Called for each item that passes directly from producer to consumer.
    #[inline]
    fn on_direct_handoff(&mut self) {}
}

/// First in, first out.
#[derive(Debug)]
pub(crate) struct Fifo<T>(VecDeque<T>);

impl<T> Fifo<T> {
    pub(crate) const fn new() -> Fifo<T> {
        Fifo(VecDeque::new())
    }
}

impl<T> Store for Fifo<T> {
    type Item = T;

    #[inline]
    fn push(&mut self, item: T) {
        self.0.push_back(item);
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }

    fn drain(&mut self) -> Fifo<T> {
        Fifo(mem::take(&mut self.0))
    }
}
