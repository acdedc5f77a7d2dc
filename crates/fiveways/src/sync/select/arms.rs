//! The arms of a `select!` that receive and send, and those that wait for events.
#![expect(unsafe_code, reason = "lines point into the arms of who waits")]

use std::pin::Pin;
use std::sync::mpsc::{RecvError, SendError};

use fiveways_runtime::{Selection, Waiter};

use crate::exchange::{Exchange, Fifo, Slot, Why};
use crate::sync::select::Arm;
use crate::sync::{Event, channel, mpsc};

/// Receivers of channels, from which a `select!` can receive.
pub trait ReceiveFrom {
    /// The type of the items.
    type Item;

    #[doc(hidden)]
    fn arm(&self) -> ReceiveArm<'_, Self::Item>;
}

/// Senders of channels, to which a `select!` can send.
pub trait SendTo {
    /// The type of the items.
    type Item;

    #[doc(hidden)]
    fn arm(&self, item: Self::Item) -> SendArm<'_, Self::Item>;
}

impl<T> ReceiveFrom for channel::Receiver<T> {
    type Item = T;

    fn arm(&self) -> ReceiveArm<'_, T> {
        ReceiveArm { exchange: self.exchange(), slot: Slot::empty() }
    }
}

impl<T> ReceiveFrom for mpsc::Receiver<T> {
    type Item = T;

    fn arm(&self) -> ReceiveArm<'_, T> {
        self.inner().arm()
    }
}

impl<R: ReceiveFrom> ReceiveFrom for &R {
    type Item = R::Item;

    fn arm(&self) -> ReceiveArm<'_, R::Item> {
        (**self).arm()
    }
}

impl<T> SendTo for channel::Sender<T> {
    type Item = T;

    fn arm(&self, item: T) -> SendArm<'_, T> {
        SendArm { exchange: self.exchange(), slot: Slot::with(item) }
    }
}

impl<T> SendTo for mpsc::Sender<T> {
    type Item = T;

    fn arm(&self, item: T) -> SendArm<'_, T> {
        self.inner().arm(item)
    }
}

impl<T> SendTo for mpsc::SyncSender<T> {
    type Item = T;

    fn arm(&self, item: T) -> SendArm<'_, T> {
        self.inner().arm(item)
    }
}

impl<S: SendTo> SendTo for &S {
    type Item = S::Item;

    fn arm(&self, item: S::Item) -> SendArm<'_, S::Item> {
        (**self).arm(item)
    }
}

/// Receives an item.
#[doc(hidden)]
pub struct ReceiveArm<'a, T> {
    exchange: &'a Exchange<Fifo<T>>,
    /// Full: received.
    slot: Slot<T>,
}

impl<T> ReceiveArm<'_, T> {
    /// Returns what was received, after the arm was chosen.
    pub fn finish(self) -> Result<T, RecvError> {
        self.slot.take().ok_or(RecvError)
    }
}

impl<T> Arm for ReceiveArm<'_, T> {
    fn attempt(&mut self) -> bool {
        match self.exchange.try_take() {
            Ok(item) => self.slot.fill(item),
            Err(why) => return why == Why::Closed,
        }
        true
    }

    unsafe fn join(&mut self, waiter: Pin<&Waiter>, number: Selection) -> bool {
        // SAFETY: required: in place until selected or left. By our own contract.
        unsafe { self.exchange.join_takers(waiter, number, &self.slot) }
    }

    fn leave(&self, waiter: Pin<&Waiter>, number: Selection) {
        self.exchange.leave_takers(waiter, number);
    }

    fn is_served(&self) -> bool {
        self.slot.is_full()
    }
}

/// Sends an item.
#[doc(hidden)]
pub struct SendArm<'a, T> {
    exchange: &'a Exchange<Fifo<T>>,
    /// Empty: sent.
    slot: Slot<T>,
}

impl<T> SendArm<'_, T> {
    /// Returns the result of the send, after the arm was chosen.
    pub fn finish(self) -> Result<(), SendError<T>> {
        self.slot.take().map_or(Ok(()), |item| Err(SendError(item)))
    }
}

impl<T> Arm for SendArm<'_, T> {
    fn attempt(&mut self) -> bool {
        let Some(item) = self.slot.take() else { return true };
        let Err((why, item)) = self.exchange.try_give(item) else { return true };
        self.slot.fill(item);
        why == Why::Closed
    }

    unsafe fn join(&mut self, waiter: Pin<&Waiter>, number: Selection) -> bool {
        // SAFETY: required: in place until selected or left. By our own contract.
        unsafe { self.exchange.join_givers(waiter, number, &self.slot) }
    }

    fn leave(&self, waiter: Pin<&Waiter>, number: Selection) {
        self.exchange.leave_givers(waiter, number);
    }

    fn is_served(&self) -> bool {
        !self.slot.is_full()
    }
}

/// Waits until an event is set.
#[doc(hidden)]
pub struct EventArm<'a>(&'a Event);

impl<'a> EventArm<'a> {
    /// Makes an arm that waits until the event is set.
    pub fn new(event: &'a Event) -> EventArm<'a> {
        EventArm(event)
    }

    /// There is no result after the arm was chosen.
    pub fn finish(self) {}
}

impl Arm for EventArm<'_> {
    fn attempt(&mut self) -> bool {
        self.0.is_set()
    }

    unsafe fn join(&mut self, waiter: Pin<&Waiter>, number: Selection) -> bool {
        self.0.join(waiter, number)
    }

    fn leave(&self, waiter: Pin<&Waiter>, number: Selection) {
        self.0.leave(waiter, number);
    }
}
