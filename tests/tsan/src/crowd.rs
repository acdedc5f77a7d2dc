//! The participants of a storm: plain threads, tasks on two workers, or both.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use fiveways::task::{self, JoinHandle};

/// Members of a crowd. Neighbours by number play different parts in most storms.
pub(crate) const MEMBERS: usize = 4;
/// Workers of the runtime under test.
pub(crate) const WORKERS: usize = 2;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Crowd {
    /// Plain threads.
    Threads,
    /// Tasks, two on each worker.
    Tasks,
    /// Two plain threads, and a task on each worker.
    Both,
}

impl Crowd {
    /// Runs `work` in all members at once, each with its number.
    pub(crate) fn together(self, work: impl Fn(usize) + Send + Sync + 'static) {
        let work = Arc::new(work);
        let is_task = |number: &usize| match self {
            Crowd::Threads => false,
            Crowd::Tasks => true,
            Crowd::Both => *number < MEMBERS / 2,
        };
        let (tasks, threads): (Vec<_>, Vec<_>) = (0..MEMBERS).partition(is_task);
        let spawn = |number| {
            let work = Arc::clone(&work);
            thread::spawn(move || work(number))
        };
        let threads: Vec<_> = threads.into_iter().map(spawn).collect();
        let spawn = |number| {
            let work = Arc::clone(&work);
            // Two of a kind are on one worker in one storm, and on two in the next.
            on_worker(self.place(number), move || work(number))
        };
        let tasks: Vec<_> = tasks.into_iter().map(spawn).collect();
        for task in tasks {
            task.join().expect("it does not panic");
        }
        // The tasks have ended: this worker may be blocked.
        for thread in threads {
            thread.join().expect("it does not panic");
        }
    }

    fn place(self, number: usize) -> usize {
        static STORMS: AtomicUsize = AtomicUsize::new(0);
        let storm = STORMS.fetch_add(1, Ordering::Relaxed) / MEMBERS;
        match self {
            Crowd::Both => number % WORKERS,
            _ if storm.is_multiple_of(2) => number % WORKERS,
            _ => number / 2,
        }
    }
}

/// Spawns a task on this worker of the caller's runtime.
pub(crate) fn on_worker<T: Send + 'static>(
    worker: usize,
    f: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    task::Builder::new().worker(worker).spawn(f).expect("there is a stack")
}
