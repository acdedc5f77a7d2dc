//! Channels with any number of senders and receivers: each item goes to one receiver.
//!
//! [`bounded`] holds up to the given number of items, [`unbounded`] any number; `bounded(0)` holds
//! none: a send waits until a receiver has the item. Both ends can be cloned, shared by reference,
//! and used from tasks and plain threads at the same time. The errors are std's, in
//! [`super::mpsc`].
//!
//! Items are received in the order in which they were sent. Waiters are served in the order of
//! their arrival, and no later caller overtakes them.
//!
//! # Disconnection
//!
//! When the last sender is dropped, items in the channel can still be received; then receiving
//! fails. When the last receiver is dropped, items in the channel are dropped, and sending fails.
//!
//! # Cancellation
//!
//! No item is lost: a task that is unwound from a send has not sent, and its item is dropped with
//! it; one that is unwound from a receive has received nothing. If the operation is completed at
//! the moment of the cancellation, it stays completed, and the task is unwound at its next wait.

mod receiver;
mod sender;
mod chan;

pub use receiver::{IntoIter, Iter, Receiver, TryIter};
pub use sender::{SendTimeoutError, Sender};

use chan::Chan;

/// Makes a channel that holds up to `capacity` items; with 0, a send and a receive meet.
///
/// # Examples
///
/// ```
/// use fiveways::{sync::channel, task};
///
/// let (sender, receiver) = channel::bounded(1);
/// let workers: Vec<_> = (0..3)
///     .map(|_| {
///         let receiver = receiver.clone();
///         task::spawn(move || receiver.iter().sum::<u32>())
///     })
///     .collect();
/// for number in 1..=100 {
///     sender.send(number).expect("the workers are there");
/// }
/// drop(sender);
/// let sum: u32 = workers.into_iter().filter_map(|worker| worker.join().ok()).sum();
/// assert_eq!(sum, 5050);
/// ```
#[doc(alias("Channel", "chan", "sync_channel"))]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    // A larger number of items is impossible, and `usize::MAX` means any number.
    ends(capacity.min(usize::MAX - 1))
}

/// Makes a channel that holds any number of items: sending never waits.
///
/// # Examples
///
/// ```
/// use fiveways::sync::channel;
///
/// let (sender, receiver) = channel::unbounded();
/// sender.send("hello").expect("there is a receiver");
/// assert_eq!(receiver.recv(), Ok("hello"));
/// ```
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    ends(usize::MAX)
}

fn ends<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let chan = Chan::new(capacity);
    (Sender::first(chan.clone()), Receiver::first(chan))
}
