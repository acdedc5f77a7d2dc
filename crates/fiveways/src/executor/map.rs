//! The results of one function for many items, in the order of the items.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};
use std::vec;

use fiveways_runtime::clock;

use crate::executor::failure::FutureError;
use crate::executor::future::Future;

/// An iterator over the results for many items, in the order of the items.
///
/// All are submitted before the first is waited for. Dropping it cancels those that have not begun;
/// a result that did not arrive within the time limit is cancelled as well.
///
/// # Suspends
///
/// `next` suspends as [`Future::take`] does.
#[must_use = "being dropped it cancels what has not begun"]
pub struct Map<T: Send + 'static> {
    futures: VecDeque<Future<T>>,
    deadline: Option<Instant>,
}

impl<T: Send + 'static> fmt::Debug for Map<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("left", &self.futures.len()).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Map<T> {
    pub(super) fn new() -> Map<T> {
        Map { futures: VecDeque::new(), deadline: None }
    }

    pub(super) fn push(&mut self, future: Future<T>) {
        self.futures.push_back(future);
    }

    /// Sets a time limit, from now, for all the results together. A later result is
    /// [`FutureError::TimedOut`].
    pub fn timeout(mut self, limit: Duration) -> Map<T> {
        self.deadline = clock::after(limit);
        self
    }
}

impl<T: Send + 'static> Iterator for Map<T> {
    type Item = Result<T, FutureError>;

    #[track_caller]
    fn next(&mut self) -> Option<Result<T, FutureError>> {
        let awaited = Awaited(self.futures.pop_front()?);
        Some(awaited.0.take_by(self.deadline))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.futures.len(), Some(self.futures.len()))
    }
}

impl<T: Send + 'static> ExactSizeIterator for Map<T> {}

impl<T: Send + 'static> Drop for Map<T> {
    fn drop(&mut self) {
        for future in &self.futures {
            future.cancel();
        }
    }
}

/// A future that is cancelled if the wait for it timed out or was unwound.
struct Awaited<T: Send + 'static>(Future<T>);

impl<T: Send + 'static> Drop for Awaited<T> {
    fn drop(&mut self) {
        if !self.0.is_done() {
            self.0.cancel();
        }
    }
}

/// As [`Map`], with several items for each submission; made by `map_chunked` of
/// [`ThreadPool`](crate::executor::ThreadPool::map_chunked) and
/// [`ProcessPool`](crate::executor::ProcessPool::map_chunked).
#[must_use = "being dropped it cancels what has not begun"]
pub struct ChunkedMap<T: Send + 'static> {
    chunks: Map<Vec<T>>,
    chunk: vec::IntoIter<T>,
}

impl<T: Send + 'static> fmt::Debug for ChunkedMap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkedMap").field("chunks", &self.chunks).finish_non_exhaustive()
    }
}

/// Groups items into chunks of `size`.
///
/// # Panics
///
/// If `size` is 0.
#[track_caller]
pub(super) fn chunks<A>(items: impl IntoIterator<Item = A>, size: usize) -> Vec<Vec<A>> {
    assert!(size > 0, "a chunk needs at least one item");
    let mut items = items.into_iter().peekable();
    let mut chunks = Vec::new();
    while items.peek().is_some() {
        chunks.push(items.by_ref().take(size).collect());
    }
    chunks
}

impl<T: Send + 'static> ChunkedMap<T> {
    pub(super) fn new(chunks: Map<Vec<T>>) -> ChunkedMap<T> {
        ChunkedMap { chunks, chunk: Vec::new().into_iter() }
    }

    /// Sets a time limit, as [`Map::timeout`].
    pub fn timeout(mut self, limit: Duration) -> ChunkedMap<T> {
        self.chunks.deadline = clock::after(limit);
        self
    }
}

impl<T: Send + 'static> Iterator for ChunkedMap<T> {
    type Item = Result<T, FutureError>;

    /// Returns the next result; an error stands for a whole chunk.
    fn next(&mut self) -> Option<Result<T, FutureError>> {
        loop {
            if let Some(value) = self.chunk.next() {
                return Some(Ok(value));
            }
            match self.chunks.next()? {
                Ok(chunk) => self.chunk = chunk.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
