//! What a put or a get answers when it cannot be done; a put gives its item back.

use std::error::Error;
use std::fmt;

/// The queue was shut down: nothing can be put, and there is nothing left to get.
///
/// Of a put it holds the item.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Closed<T = ()>(pub T);

/// Why an item was not put; gives it back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PutError<T> {
    /// There was no room (in time).
    Full(T),
    /// The queue was shut down.
    Closed(T),
}

/// Why there was nothing to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GetError {
    /// There was nothing (in time).
    Empty,
    /// The queue was shut down, and nothing is left in it.
    Closed,
}

/// More work was called done than was ever put into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TooManyDone;

impl<T> PutError<T> {
    /// Was there no room (in time)?
    pub fn is_full(&self) -> bool {
        matches!(self, PutError::Full(_))
    }

    /// Was the queue shut down?
    pub fn is_shut_down(&self) -> bool {
        matches!(self, PutError::Closed(_))
    }

    /// The item that was not put.
    pub fn into_inner(self) -> T {
        match self {
            PutError::Full(item) | PutError::Closed(item) => item,
        }
    }
}

impl GetError {
    /// Was there nothing (in time)?
    pub fn is_empty(&self) -> bool {
        matches!(self, GetError::Empty)
    }

    /// Was the queue shut down, with nothing left in it?
    pub fn is_shut_down(&self) -> bool {
        matches!(self, GetError::Closed)
    }
}

impl<T> fmt::Debug for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closed(..)")
    }
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PutError::Full(_) => "Full(..)",
            PutError::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> fmt::Display for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue was shut down")
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PutError::Full(_) => "the queue is full",
            PutError::Closed(_) => "the queue was shut down",
        })
    }
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GetError::Empty => "the queue is empty",
            GetError::Closed => "the queue was shut down",
        })
    }
}

impl fmt::Display for TooManyDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("task_done was called more often than items were put")
    }
}

impl<T> Error for Closed<T> {}
impl<T> Error for PutError<T> {}
impl Error for GetError {}
impl Error for TooManyDone {}
