//! Waiting for several tasks at once.

use std::time::{Duration, Instant};

use fiveways_runtime::{Completions, JoinError, JoinHandle, clock};

/// Waits for all these tasks to end; returns their outcomes in the order of the handles.
///
/// # Suspends
///
/// Until the last of them has ended; a plain thread blocks. The caller is woken once.
///
/// # Cancellation
///
/// If the joining task is cancelled it is unwound from here; the tasks continue.
///
/// # Examples
///
/// ```
/// use fiveways::task;
///
/// let squares = task::join_all((1..=3).map(|x| task::spawn(move || x * x)));
/// let squares: Result<Vec<i32>, _> = squares.into_iter().collect();
/// assert_eq!(squares?, [1, 4, 9]);
/// # Ok::<(), task::JoinError>(())
/// ```
#[doc(alias = "joinall")]
#[doc(alias = "gather")]
#[track_caller]
pub fn join_all<T>(tasks: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<Result<T, JoinError>> {
    let tasks: Vec<_> = tasks.into_iter().collect();
    wait(&tasks, tasks.len(), None);
    tasks.into_iter().map(JoinHandle::join).collect()
}

/// Waits for all these tasks to end, for at most the timeout; returns, in the order of the handles,
/// the outcomes of those that have ended, and the handles of the others.
///
/// # Suspends
///
/// Until the last of them has ended or the timeout has passed; a plain thread blocks.
///
/// # Cancellation
///
/// If the joining task is cancelled it is unwound from here; the tasks continue.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use fiveways::{task, time};
///
/// let tasks = [0, 60].map(|secs| task::spawn(move || time::sleep(Duration::from_secs(secs))));
/// let [first, second] = &task::join_all_timeout(tasks, Duration::from_millis(50))[..] else {
///     unreachable!("one for each task");
/// };
/// assert!(first.is_ok());
/// second.as_ref().expect_err("it is not over").cancel();
/// ```
#[track_caller]
pub fn join_all_timeout<T>(
    tasks: impl IntoIterator<Item = JoinHandle<T>>,
    timeout: Duration,
) -> Vec<Result<Result<T, JoinError>, JoinHandle<T>>> {
    let tasks: Vec<_> = tasks.into_iter().collect();
    wait(&tasks, tasks.len(), clock::after(timeout));
    let outcome =
        |task: JoinHandle<T>| if task.is_finished() { Ok(task.join()) } else { Err(task) };
    tasks.into_iter().map(outcome).collect()
}

/// Waits until one of these tasks has ended, and returns its index: if several have ended, that of
/// the first to end, or to be found ended. Returns `None` if there are no tasks.
///
/// # Suspends
///
/// Until one of them has ended; a plain thread blocks.
///
/// # Cancellation
///
/// If the waiting task is cancelled it is unwound from here; the tasks continue.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use fiveways::{task, time};
///
/// let tasks = [60, 0].map(|secs| task::spawn(move || time::sleep(Duration::from_secs(secs))));
/// assert_eq!(task::wait_any(&tasks), Some(1));
/// tasks[0].cancel();
/// ```
#[doc(alias = "gevent.wait")]
#[doc(alias = "iwait")]
#[track_caller]
pub fn wait_any<'a, T: 'a>(tasks: impl IntoIterator<Item = &'a JoinHandle<T>>) -> Option<usize> {
    let tasks: Vec<_> = tasks.into_iter().collect();
    if tasks.is_empty() { None } else { wait(&tasks, 1, None) }
}

/// As [`wait_any`], for at most the timeout; returns `None` after the timeout.
///
/// # Suspends
///
/// Until one of them has ended or the timeout has passed; a plain thread blocks.
///
/// # Cancellation
///
/// If the waiting task is cancelled it is unwound from here; the tasks continue.
#[track_caller]
pub fn wait_any_timeout<'a, T: 'a>(
    tasks: impl IntoIterator<Item = &'a JoinHandle<T>>,
    timeout: Duration,
) -> Option<usize> {
    let tasks: Vec<_> = tasks.into_iter().collect();
    wait(&tasks, 1, clock::after(timeout))
}

/// Waits until `count` of them have ended; returns the first.
#[track_caller]
fn wait<T, H: AsHandle<T>>(tasks: &[H], count: usize, until: Option<Instant>) -> Option<usize> {
    let mut watch =
        Watch { tasks: tasks.iter().map(H::handle).collect(), completions: Completions::new() };
    for (place, task) in watch.tasks.iter().enumerate() {
        task.watch(&watch.completions, place);
    }
    watch.completions.wait(count, until);
    watch.completions.pop()
}

/// Handles by value and by reference.
trait AsHandle<T> {
    fn handle(&self) -> &JoinHandle<T>;
}

impl<T> AsHandle<T> for JoinHandle<T> {
    fn handle(&self) -> &JoinHandle<T> {
        self
    }
}

impl<T> AsHandle<T> for &JoinHandle<T> {
    fn handle(&self) -> &JoinHandle<T> {
        self
    }
}

/// Watches tasks until it is dropped.
struct Watch<'a, T> {
    tasks: Vec<&'a JoinHandle<T>>,
    completions: Completions,
}

impl<T> Drop for Watch<'_, T> {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.unwatch(&self.completions);
        }
    }
}
