//! The sending end of a channel.

use std::error::Error;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::sync::mpsc::{SendError, TrySendError};
use std::time::{Duration, Instant};

use fiveways_runtime::{Role, clock};

use super::chan::Chan;
use crate::exchange::{Exchange, Fifo, Why};

const SEND: &str = "send to channel";

/// The sending end of a channel; see [`bounded`](super::bounded) and
/// [`unbounded`](super::unbounded).
pub struct Sender<T> {
    chan: Arc<Chan<T>>,
}

impl<T> UnwindSafe for Sender<T> {}
impl<T> RefUnwindSafe for Sender<T> {}

/// The error of a send that was not completed in time; returns the item.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendTimeoutError<T> {
    /// The deadline passed before there was room, or a receiver that took the item.
    Timeout(T),
    /// There is no receiver any more.
    Disconnected(T),
}

impl<T> Sender<T> {
    pub(super) fn first(chan: Arc<Chan<T>>) -> Sender<T> {
        Sender { chan }
    }

    pub(crate) fn exchange(&self) -> &Exchange<Fifo<T>> {
        &self.chan.exchange
    }

    /// Sends an item.
    ///
    /// # Suspends
    ///
    /// While the channel is full; with a bound of 0, until a receiver has taken the item. A plain
    /// thread blocks. A task that never has to wait yields to others now and then; without a bound,
    /// it never suspends.
    ///
    /// # Cancellation
    ///
    /// A cancelled task is unwound from here; the item was not sent.
    ///
    /// # Errors
    ///
    /// If there is no receiver any more; the error returns the item.
    ///
    /// # Examples
    ///
    /// ```
    /// use fiveways::sync::channel;
    ///
    /// let (sender, receiver) = channel::bounded(1);
    /// assert!(sender.send(1).is_ok());
    /// drop(receiver);
    /// assert_eq!(sender.send(2).map_err(|error| error.0), Err(2));
    /// ```
    #[inline]
    #[track_caller]
    #[doc(alias = "put")]
    pub fn send(&self, item: T) -> Result<(), SendError<T>> {
        let sent = if self.chan.is_bounded() {
            self.exchange().give(item, SEND, None)
        } else {
            self.exchange().try_give(item)
        };
        sent.map_err(|(_, item)| SendError(item))
    }

    /// Sends an item if that is possible without waiting: there is room or, with a bound of 0, a
    /// receiver waits.
    ///
    /// # Errors
    ///
    /// If the channel is full or has no receiver any more; the error returns the item.
    #[inline]
    #[doc(alias = "put_nowait")]
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        self.exchange().try_give(item).map_err(|(why, item)| match why {
            Why::Closed => TrySendError::Disconnected(item),
            Why::NotNow | Why::Late => TrySendError::Full(item),
        })
    }

    /// Sends an item, waiting for at most the timeout.
    ///
    /// # Suspends
    ///
    /// As [`Sender::send`], for at most that long.
    ///
    /// # Cancellation
    ///
    /// A cancelled task is unwound from here; the item was not sent.
    ///
    /// # Errors
    ///
    /// If it took too long, or there is no receiver any more; the error returns the item.
    #[inline]
    #[track_caller]
    pub fn send_timeout(&self, item: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_by(item, clock::after(timeout))
    }

    /// Sends an item, waiting until the deadline at the latest.
    ///
    /// # Suspends
    ///
    /// As [`Sender::send`], until the deadline at the latest.
    ///
    /// # Cancellation
    ///
    /// A cancelled task is unwound from here; the item was not sent.
    ///
    /// # Errors
    ///
    /// If the deadline has passed, or there is no receiver any more; the error returns the item.
    #[inline]
    #[track_caller]
    pub fn send_deadline(&self, item: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_by(item, Some(deadline))
    }

    #[track_caller]
    fn send_by(&self, item: T, deadline: Option<Instant>) -> Result<(), SendTimeoutError<T>> {
        self.exchange().give(item, SEND, deadline).map_err(|(why, item)| match why {
            Why::Closed => SendTimeoutError::Disconnected(item),
            Why::NotNow | Why::Late => SendTimeoutError::Timeout(item),
        })
    }

    /// Returns the number of items in the channel; it may change at any time.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.exchange().len()
    }

    /// Returns `true` if the channel was empty at this moment. Only a receive is reliable.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns `true` if the channel was full at this moment; with a bound of 0 always. Only
    /// [`Sender::try_send`] is reliable.
    pub fn is_full(&self) -> bool {
        self.exchange().is_full()
    }

    /// Returns the bound of the channel; `None` if it has none.
    pub fn capacity(&self) -> Option<usize> {
        self.chan.capacity()
    }

    /// Returns `true` if both are senders of the same channel.
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Arc::ptr_eq(&self.chan, &other.chan)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.exchange().record(Role::Producer);
        self.chan.senders.raise();
        Sender { chan: Arc::clone(&self.chan) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.chan.senders.lower() {
            self.exchange().close();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> SendTimeoutError<T> {
    /// Returns `true` if the deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, SendTimeoutError::Timeout(_))
    }

    /// Returns the item that was not sent.
    pub fn into_inner(self) -> T {
        match self {
            SendTimeoutError::Timeout(item) | SendTimeoutError::Disconnected(item) => item,
        }
    }
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendTimeoutError::Timeout(_) => "Timeout(..)",
            SendTimeoutError::Disconnected(_) => "Disconnected(..)",
        })
    }
}

impl<T> fmt::Display for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendTimeoutError::Timeout(_) => "timed out waiting to send to a channel",
            SendTimeoutError::Disconnected(_) => "sending on a channel without receivers",
        })
    }
}

impl<T> Error for SendTimeoutError<T> {}
