//! Pools: groups that limit the number of concurrent tasks.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::iter::{Fuse, FusedIterator};
use std::sync::Arc;
use std::time::Duration;

use fiveways_runtime::{Completions, JoinError, JoinHandle};

use crate::local::TaskLocal;
use crate::task::group::Group;
use crate::task::join::wait_any;
use crate::task::permits::{Permit, Permits};

/// Runs at most the given number of tasks at a time; a handle, whose clones refer to the same pool.
///
/// Permits are given in the order of the requests. Dropping the pool does not affect its tasks:
/// they continue, detached.
///
/// # Examples
///
/// ```
/// use fiveways::task::Pool;
///
/// let pool = Pool::new(2);
/// let squares = pool.map(1..=5, |x| x * x);
/// assert_eq!(squares, [1, 4, 9, 16, 25]);
/// assert_eq!(pool.free_count(), 2);
/// ```
#[doc(alias = "gevent.pool.Pool")]
#[derive(Clone)]
pub struct Pool {
    group: Group,
    permits: Arc<Permits>,
}

/// The id of the pool whose permit the task holds.
static INSIDE: TaskLocal<usize> = TaskLocal::new();

impl Pool {
    /// Makes a pool for `size` tasks at a time.
    ///
    /// # Panics
    ///
    /// If the size is 0: nothing could ever run.
    #[track_caller]
    pub fn new(size: usize) -> Pool {
        assert!(size > 0, "a pool of size 0 can run nothing");
        Pool { group: Group::new(), permits: Arc::new(Permits::new(size)) }
    }

    /// Spawns a task in the pool. [`Pool::join`] reports its panic.
    ///
    /// # Suspends
    ///
    /// Until a permit is free; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task is unwound from here, and nothing is spawned.
    ///
    /// # Panics
    ///
    /// If every permit is held by a task that waits here for a permit: none would ever become free.
    /// If it would have to wait in a destructor that unwinds on a worker. If there is no memory for
    /// its stack.
    #[track_caller]
    pub fn spawn(&self, f: impl FnOnce() + Send + 'static) {
        let permit = self.wait_for_permit();
        self.group.spawn(move || hold(permit, f));
    }

    /// Spawns a task in the pool and returns a handle to it; joining the handle reports a panic.
    ///
    /// # Suspends
    ///
    /// Until a permit is free; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task is unwound from here, and nothing is spawned.
    ///
    /// # Panics
    ///
    /// As [`Pool::spawn`].
    #[track_caller]
    pub fn spawn_with_handle<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let permit = self.wait_for_permit();
        self.group.spawn_with_handle(move || hold(permit, f))
    }

    /// Spawns a task in the pool if a permit is free.
    ///
    /// # Errors
    ///
    /// The function itself, if no permit is free.
    ///
    /// # Panics
    ///
    /// If there is no memory for its stack.
    #[track_caller]
    pub fn try_spawn<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        f: F,
    ) -> Result<JoinHandle<T>, F> {
        match self.permits.try_take() {
            Some(permit) => Ok(self.group.spawn_with_handle(move || hold(permit, f))),
            None => Err(f),
        }
    }

    /// Applies `f` to each item, in tasks of the pool, and returns the results in the items' order.
    ///
    /// # Suspends
    ///
    /// Until all results are there; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task is unwound from here; running items are cancelled, the rest do not begin.
    ///
    /// # Panics
    ///
    /// With the panic of the first item, in their order, that panicked; running items are
    /// cancelled, the rest do not begin.
    pub fn map<I, T>(&self, items: I, f: impl Fn(I::Item) -> T + Send + Sync + 'static) -> Vec<T>
    where
        I: IntoIterator<Item: Send + 'static>,
        T: Send + 'static,
    {
        self.imap(items, f).collect()
    }

    /// As [`Pool::map`], but returns an iterator over the results, in the items' order.
    ///
    /// Work begins immediately and is ahead of the iterator by at most the pool's size. Dropping
    /// the iterator cancels running items and begins no more. If no permit is free and the caller
    /// is one of the pool's own tasks, the item runs under its permit.
    ///
    /// # Suspends
    ///
    /// In `next`, until the next result is available; a plain thread blocks.
    ///
    /// # Panics
    ///
    /// In `next`, with the panic of the item; the next call continues with the next item.
    pub fn imap<I, T>(
        &self,
        items: I,
        f: impl Fn(I::Item) -> T + Send + Sync + 'static,
    ) -> Imap<I::IntoIter, T>
    where
        I: IntoIterator<Item: Send + 'static>,
        T: Send + 'static,
    {
        let mut imap = Imap { feed: Feed::new(self, items, f), in_work: VecDeque::new() };
        imap.fill();
        imap
    }

    /// As [`Pool::imap`], but with results in the order of completion.
    ///
    /// # Suspends
    ///
    /// In `next`, until any result is available; a plain thread blocks.
    ///
    /// # Panics
    ///
    /// In `next`, with the panic of the item; the next call continues with the others.
    pub fn imap_unordered<I, T>(
        &self,
        items: I,
        f: impl Fn(I::Item) -> T + Send + Sync + 'static,
    ) -> ImapUnordered<I::IntoIter, T>
    where
        I: IntoIterator<Item: Send + 'static>,
        T: Send + 'static,
    {
        let mut imap = ImapUnordered {
            feed: Feed::new(self, items, f),
            in_work: HashMap::new(),
            begun: 0,
            done: Completions::new(),
        };
        imap.fill();
        imap
    }

    /// Waits until the pool has no task.
    ///
    /// # Suspends
    ///
    /// Until the last task has ended; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// If the joining task is cancelled it is unwound from here; the pool continues.
    ///
    /// # Errors
    ///
    /// As [`Group::join`].
    #[track_caller]
    pub fn join(&self) -> Result<(), JoinError> {
        self.group.join()
    }

    /// Waits until the pool has no task, for at most `timeout`. Returns `None` after the timeout.
    ///
    /// # Suspends
    ///
    /// Until the last task has ended or the timeout has passed; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// If the joining task is cancelled it is unwound from here; the pool continues.
    #[track_caller]
    pub fn join_timeout(&self, timeout: Duration) -> Option<Result<(), JoinError>> {
        self.group.join_timeout(timeout)
    }

    /// Cancels every task that is in the pool now; see the [module](crate::task) for what that
    /// means.
    ///
    /// Does not wait for their end.
    #[doc(alias = "kill")]
    pub fn cancel(&self) {
        self.group.cancel();
    }

    /// Returns how many tasks the pool runs at a time.
    pub fn size(&self) -> usize {
        self.permits.size()
    }

    /// Returns how many more tasks could run now.
    pub fn free_count(&self) -> usize {
        self.permits.free()
    }

    /// Returns how many tasks run now.
    pub fn len(&self) -> usize {
        self.size() - self.free_count()
    }

    /// Returns `true` if no task runs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns `true` if the caller is one of the pool's own tasks.
    fn is_inside(&self) -> bool {
        INSIDE.get() == Some(self.permits.number())
    }

    #[track_caller]
    fn wait_for_permit(&self) -> Permit {
        let permit = self.permits.take(self.is_inside());
        permit.expect("not all permits of the pool are held by tasks that wait for one")
    }
}

/// Runs `f` under a permit.
fn hold<T>(permit: Permit, f: impl FnOnce() -> T) -> T {
    INSIDE.set(permit.number());
    let value = f();
    drop(permit);
    value
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("size", &self.size()).field("len", &self.len()).finish()
    }
}

/// Returns the value of a task that has ended; resumes its panic.
fn value_of<T>(task: JoinHandle<T>) -> T {
    task.join().unwrap_or_else(|error| error.resume())
}

/// Items to be processed in a pool.
struct Feed<I: Iterator, T> {
    pool: Pool,
    items: Fuse<I>,
    /// An item taken from `items` for which no permit was free.
    held: Option<I::Item>,
    f: Arc<dyn Fn(I::Item) -> T + Send + Sync>,
}

/// How an item was processed.
enum Fed<T> {
    InWork(JoinHandle<T>),
    Done(T),
}

impl<I: Iterator<Item: Send + 'static>, T: Send + 'static> Feed<I, T> {
    fn new(
        pool: &Pool,
        items: impl IntoIterator<Item = I::Item, IntoIter = I>,
        f: impl Fn(I::Item) -> T + Send + Sync + 'static,
    ) -> Feed<I, T> {
        let items = items.into_iter().fuse();
        Feed { pool: pool.clone(), items, held: None, f: Arc::new(f) }
    }

    /// Begins the next item, if a permit is free.
    fn try_begin(&mut self) -> Option<JoinHandle<T>> {
        self.held = self.held.take().or_else(|| self.items.next());
        let permit = self.held.as_ref().and_then(|_| self.pool.permits.try_take())?;
        Some(self.begin(permit))
    }

    /// Begins the next item as soon as a permit is free, or processes it under the caller's permit.
    #[track_caller]
    fn next(&mut self) -> Option<Fed<T>> {
        self.held = self.held.take().or_else(|| self.items.next());
        self.held.as_ref()?;
        if let Some(permit) = self.pool.permits.try_take() {
            return Some(Fed::InWork(self.begin(permit)));
        }
        if self.pool.is_inside() {
            let item = self.held.take()?;
            return Some(Fed::Done((self.f)(item)));
        }
        let permit = self.pool.wait_for_permit();
        Some(Fed::InWork(self.begin(permit)))
    }

    fn begin(&mut self, permit: Permit) -> JoinHandle<T> {
        let item = self.held.take().expect("there is an item to begin");
        let f = Arc::clone(&self.f);
        self.pool.group.spawn_with_handle(move || hold(permit, || f(item)))
    }
}

/// An iterator over results in the order of the items; see [`Pool::imap`].
pub struct Imap<I: Iterator, T> {
    feed: Feed<I, T>,
    in_work: VecDeque<JoinHandle<T>>,
}

impl<I: Iterator<Item: Send + 'static>, T: Send + 'static> Imap<I, T> {
    fn fill(&mut self) {
        while self.in_work.len() < self.feed.pool.size() {
            let Some(task) = self.feed.try_begin() else { return };
            self.in_work.push_back(task);
        }
    }
}

impl<I: Iterator<Item: Send + 'static>, T: Send + 'static> Iterator for Imap<I, T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        self.fill();
        if self.in_work.is_empty() {
            match self.feed.next()? {
                Fed::InWork(task) => self.in_work.push_back(task),
                Fed::Done(value) => return Some(value),
            }
        }
        // It stays in the queue during the wait, so that it is cancelled if the caller is.
        wait_any(self.in_work.front());
        let task = self.in_work.pop_front()?;
        self.fill();
        Some(value_of(task))
    }
}

impl<I: Iterator<Item: Send + 'static>, T: Send + 'static> FusedIterator for Imap<I, T> {}

impl<I: Iterator, T> Drop for Imap<I, T> {
    fn drop(&mut self) {
        self.in_work.iter().for_each(JoinHandle::cancel);
    }
}

impl<I: Iterator, T> fmt::Debug for Imap<I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imap").field("in_work", &self.in_work.len()).finish_non_exhaustive()
    }
}

/// An iterator over results in the order of completion; see [`Pool::imap_unordered`].
pub struct ImapUnordered<I: Iterator, T> {
    feed: Feed<I, T>,
    in_work: HashMap<usize, JoinHandle<T>>,
    /// The index of the next task.
    begun: usize,
    done: Completions,
}

impl<I: Iterator<Item: Send + 'static>, T: Send + 'static> ImapUnordered<I, T> {
    fn fill(&mut self) {
        while self.in_work.len() < self.feed.pool.size() {
            let Some(task) = self.feed.try_begin() else { return };
            self.add(task);
        }
    }

    fn add(&mut self, task: JoinHandle<T>) {
        task.watch(&self.done, self.begun);
        self.in_work.insert(self.begun, task);
        self.begun += 1;
    }
}

impl<I: Iterator<Item: Send + 'static>, T: Send + 'static> Iterator for ImapUnordered<I, T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        self.fill();
        if self.in_work.is_empty() {
            match self.feed.next()? {
                Fed::InWork(task) => self.add(task),
                Fed::Done(value) => return Some(value),
            }
        }
        self.done.wait(1, None);
        let number = self.done.pop().expect("one is done");
        let task = self.in_work.remove(&number).expect("it was in work");
        self.fill();
        Some(value_of(task))
    }
}

impl<I: Iterator<Item: Send + 'static>, T: Send + 'static> FusedIterator for ImapUnordered<I, T> {}

impl<I: Iterator, T> Drop for ImapUnordered<I, T> {
    fn drop(&mut self) {
        self.in_work.values().for_each(JoinHandle::cancel);
    }
}

impl<I: Iterator, T> fmt::Debug for ImapUnordered<I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImapUnordered")
            .field("in_work", &self.in_work.len())
            .finish_non_exhaustive()
    }
}
