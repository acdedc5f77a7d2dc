//! The receiving end of a channel.

use std::fmt;
use std::iter::FusedIterator;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::sync::mpsc::{RecvError, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use fiveways_runtime::{Role, clock};

use super::chan::Chan;
use crate::exchange::{Exchange, Fifo, Why};

const RECEIVE: &str = "receive from channel";

/// The receiving end of a channel; see [`bounded`](super::bounded) and
/// [`unbounded`](super::unbounded).
///
/// Clones are receivers of the same channel; each item goes to one of them.
pub struct Receiver<T> {
    chan: Arc<Chan<T>>,
}

impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

impl<T> Receiver<T> {
    pub(super) fn first(chan: Arc<Chan<T>>) -> Receiver<T> {
        Receiver { chan }
    }

    pub(crate) fn exchange(&self) -> &Exchange<Fifo<T>> {
        &self.chan.exchange
    }

    /// Receives the next item.
    ///
    /// # Suspends
    ///
    /// While the channel is empty; a plain thread blocks. A task that never has to wait yields to
    /// others now and then.
    ///
    /// # Cancellation
    ///
    /// A cancelled task is unwound from here; no item is lost.
    ///
    /// # Errors
    ///
    /// If the channel is empty and has no sender any more.
    ///
    /// # Examples
    ///
    /// ```
    /// use fiveways::{sync::channel, task};
    ///
    /// let (sender, receiver) = channel::bounded(0);
    /// let asking = task::spawn(move || receiver.recv());
    /// sender.send(42).expect("somebody asks");
    /// assert_eq!(asking.join().expect("it did not panic"), Ok(42));
    /// ```
    #[inline]
    #[track_caller]
    #[doc(alias = "get")]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.exchange().take(RECEIVE, None).map_err(|_| RecvError)
    }

    /// Receives the next item if there is one; with a bound of 0, if a sender waits.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if the channel is empty; [`TryRecvError::Disconnected`] if it also
    /// has no sender any more.
    #[inline]
    #[doc(alias = "get_nowait")]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.exchange().try_take().map_err(|why| match why {
            Why::Closed => TryRecvError::Disconnected,
            Why::NotNow | Why::Late => TryRecvError::Empty,
        })
    }

    /// Receives the next item, waiting for at most the timeout.
    ///
    /// # Suspends
    ///
    /// As [`Receiver::recv`], for at most that long.
    ///
    /// # Cancellation
    ///
    /// A cancelled task is unwound from here; no item is lost.
    ///
    /// # Errors
    ///
    /// If no item came in time, or the channel is empty and has no sender any more.
    #[inline]
    #[track_caller]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_by(clock::after(timeout))
    }

    /// Receives the next item, waiting until the deadline at the latest.
    ///
    /// # Suspends
    ///
    /// As [`Receiver::recv`], until the deadline at the latest.
    ///
    /// # Cancellation
    ///
    /// A cancelled task is unwound from here; no item is lost.
    ///
    /// # Errors
    ///
    /// If no item came in time, or the channel is empty and has no sender any more.
    #[inline]
    #[track_caller]
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_by(Some(deadline))
    }

    #[track_caller]
    fn recv_by(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        self.exchange().take(RECEIVE, deadline).map_err(|why| match why {
            Why::Closed => RecvTimeoutError::Disconnected,
            Why::NotNow | Why::Late => RecvTimeoutError::Timeout,
        })
    }

    /// Returns an iterator over the items received until there is no sender any more; it waits for
    /// each as [`Receiver::recv`].
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(self)
    }

    /// Returns an iterator over the items that are available; it ends as soon as it would have to
    /// wait.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter(self)
    }

    /// Returns the number of items in the channel; it may change at any time.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.exchange().len()
    }

    /// Returns `true` if the channel was empty at this moment. Only [`Receiver::try_recv`] is
    /// reliable.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns `true` if the channel was full at this moment; with a bound of 0 always. Only a send
    /// is reliable.
    pub fn is_full(&self) -> bool {
        self.exchange().is_full()
    }

    /// Returns the bound of the channel; `None` if it has none.
    pub fn capacity(&self) -> Option<usize> {
        self.chan.capacity()
    }

    /// Returns `true` if both are receivers of the same channel.
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        Arc::ptr_eq(&self.chan, &other.chan)
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.exchange().record(Role::Consumer);
        self.chan.receivers.raise();
        Receiver { chan: Arc::clone(&self.chan) }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if self.chan.receivers.lower() {
            self.exchange().shut();
        }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

/// An iterator over the items received from a channel: see [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, T>(&'a Receiver<T>);

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl<T> FusedIterator for Iter<'_, T> {}

/// An iterator over the available items of a channel: see [`Receiver::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, T>(&'a Receiver<T>);

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.try_recv().ok()
    }
}

/// An iterator over the items received from a channel, which owns the receiver: see
/// [`Receiver::iter`].
#[derive(Debug)]
pub struct IntoIter<T>(Receiver<T>);

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl<T> FusedIterator for IntoIter<T> {}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter(self)
    }
}
