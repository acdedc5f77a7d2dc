//! Channels with one receiver, as [`std::sync::mpsc`]: same names, same errors, same rules.
//!
//! A task that waits for a channel is parked, and its worker runs others. For several receivers see
//! [`sync::channel`](mod@super::channel); for waiting on several channels,
//! [`select!`](crate::select).
//!
//! # Differences from std
//!
//! [`Receiver::recv_deadline`] and [`SyncSender::send_timeout`] are available and stable. A
//! receiver has `len` and `is_empty`.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::RefUnwindSafe;
use std::time::{Duration, Instant};

pub use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

use super::channel;

/// Makes a channel that holds any number of items: sending never waits.
///
/// # Examples
///
/// ```
/// use fiveways::{sync::mpsc, task};
///
/// let (sender, receiver) = mpsc::channel();
/// for number in 0..10 {
///     let sender = sender.clone();
///     task::spawn(move || sender.send(number));
/// }
/// drop(sender);
/// assert_eq!(receiver.iter().sum::<i32>(), 45);
/// ```
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = channel::unbounded();
    (Sender(sender), Receiver::new(receiver))
}

/// Makes a channel that holds up to `bound` items; with 0, a send and a receive meet.
///
/// # Examples
///
/// ```
/// use fiveways::{sync::mpsc, task};
///
/// let (sender, receiver) = mpsc::sync_channel(1);
/// sender.send(1).expect("the receiver is there");
/// // This one has to wait until the first was received.
/// let second = task::spawn(move || sender.send(2));
/// assert_eq!(receiver.recv(), Ok(1));
/// assert_eq!(receiver.recv(), Ok(2));
/// assert_eq!(second.join().expect("it did not panic"), Ok(()));
/// ```
pub fn sync_channel<T>(bound: usize) -> (SyncSender<T>, Receiver<T>) {
    let (sender, receiver) = channel::bounded(bound);
    (SyncSender(sender), Receiver::new(receiver))
}

/// The sending end of [`channel()`].
pub struct Sender<T>(channel::Sender<T>);

/// The sending end of [`sync_channel`].
pub struct SyncSender<T>(channel::Sender<T>);

/// The receiving end of [`channel()`] and [`sync_channel`].
pub struct Receiver<T> {
    inner: channel::Receiver<T>,
    /// There is one receiver, used by one task or thread at a time.
    single: PhantomData<Cell<()>>,
}

impl<T> Sender<T> {
    /// Sends an item.
    ///
    /// # Errors
    ///
    /// If there is no receiver any more; the error returns the item.
    #[inline]
    pub fn send(&self, item: T) -> Result<(), SendError<T>> {
        self.0.send(item)
    }

    pub(crate) fn inner(&self) -> &channel::Sender<T> {
        &self.0
    }
}

impl<T> SyncSender<T> {
    /// Sends an item.
    ///
    /// # Suspends
    ///
    /// While the channel is full; with a bound of 0, until the receiver has taken the item. A plain
    /// thread blocks. A task that never has to wait yields to others now and then.
    ///
    /// # Cancellation
    ///
    /// A cancelled task is unwound from here; the item was not sent.
    ///
    /// # Errors
    ///
    /// If there is no receiver any more; the error returns the item.
    #[inline]
    #[track_caller]
    pub fn send(&self, item: T) -> Result<(), SendError<T>> {
        self.0.send(item)
    }

    /// Sends an item if that is possible without waiting: there is room or, with a bound of 0, the
    /// receiver waits.
    ///
    /// # Errors
    ///
    /// If the channel is full or has no receiver any more; the error returns the item.
    #[inline]
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        self.0.try_send(item)
    }

    /// Sends an item, waiting for at most the timeout.
    ///
    /// # Suspends
    ///
    /// As [`SyncSender::send`], for at most that long.
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
    pub fn send_timeout(
        &self,
        item: T,
        timeout: Duration,
    ) -> Result<(), channel::SendTimeoutError<T>> {
        self.0.send_timeout(item, timeout)
    }

    pub(crate) fn inner(&self) -> &channel::Sender<T> {
        &self.0
    }
}

impl<T> Receiver<T> {
    fn new(inner: channel::Receiver<T>) -> Receiver<T> {
        Receiver { inner, single: PhantomData }
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
    #[inline]
    #[track_caller]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.inner.recv()
    }

    /// Receives the next item if there is one; with a bound of 0, if a sender waits.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if the channel is empty; [`TryRecvError::Disconnected`] if it also
    /// has no sender any more.
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.inner.try_recv()
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
        self.inner.recv_timeout(timeout)
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
        self.inner.recv_deadline(deadline)
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
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Returns `true` if the channel was empty at this moment. Only [`Receiver::try_recv`] is
    /// reliable.
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    pub(crate) fn inner(&self) -> &channel::Receiver<T> {
        &self.inner
    }
}

impl<T> RefUnwindSafe for Receiver<T> {}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender(self.0.clone())
    }
}

impl<T> Clone for SyncSender<T> {
    fn clone(&self) -> SyncSender<T> {
        SyncSender(self.0.clone())
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for SyncSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncSender").finish_non_exhaustive()
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
