//! Deadlines of waiting tasks: a 4-ary heap in which each task knows its position.
//!
//! A task has one wait at a time, hence at most one deadline here. Inserting a deadline that is
//! later than most (the usual case: time limits of equal length) touches the last leaf only, and so
//! does removing it again, so a million of them do not hurt; the heap is exact, which a wheel is
//! not.

use std::ptr::NonNull;
use std::time::Instant;

use crate::task_block::{NOWHERE, Task};

const ARITY: usize = 4;

#[derive(Clone, Copy)]
struct Entry {
    at: Instant,
    task: NonNull<Task>,
}

/// The deadlines of one worker.
#[derive(Default)]
pub(crate) struct Timers {
    heap: Vec<Entry>,
}

impl Timers {
    /// Returns the earliest deadline.
    #[inline]
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|entry| entry.at)
    }

    /// Returns the number of deadlines.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Returns the deadline of the task at `place`.
    pub(crate) fn at(&self, place: u32) -> Option<Instant> {
        self.heap.get(place as usize).map(|entry| entry.at)
    }

    /// Adds a task that has no deadline here yet.
    pub(crate) fn insert(&mut self, at: Instant, task: NonNull<Task>) {
        self.heap.push(Entry { at, task });
        self.rise(self.heap.len() - 1);
    }

    /// Removes the task at `place`.
    pub(crate) fn remove(&mut self, place: u32) -> NonNull<Task> {
        let place = place as usize;
        let gone = self.heap.swap_remove(place);
        if place < self.heap.len() {
            // The last leaf took the place; it may belong above or below.
            self.rise(place);
            self.sink(place);
        }
        task(gone).timer.set(NOWHERE);
        gone.task
    }

    /// Removes and returns the earliest task if its deadline has come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<NonNull<Task>> {
        let due = self.next()? <= now;
        due.then(|| self.remove(0))
    }

    fn rise(&mut self, mut place: usize) {
        let entry = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / ARITY;
            if self.heap[parent].at <= entry.at {
                break;
            }
            self.put(place, self.heap[parent]);
            place = parent;
        }
        self.put(place, entry);
    }

    fn sink(&mut self, mut place: usize) {
        let entry = self.heap[place];
        loop {
            let first = place * ARITY + 1;
            let last = (first + ARITY).min(self.heap.len());
            let Some(least) = (first..last).min_by_key(|&child| self.heap[child].at) else { break };
            if self.heap[least].at >= entry.at {
                break;
            }
            self.put(place, self.heap[least]);
            place = least;
        }
        self.put(place, entry);
    }

    fn put(&mut self, place: usize, entry: Entry) {
        self.heap[place] = entry;
        task(entry).timer.set(place as u32);
    }
}

#[expect(unsafe_code, reason = "the heap holds pointers to tasks that wait")]
fn task<'a>(entry: Entry) -> &'a Task {
    // SAFETY: required: a live task. It is suspended while it is in the heap, and removes itself
    // before it goes on.
    unsafe { entry.task.as_ref() }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;
    use std::time::Duration;

    use super::*;
    use crate::identity::Identity;
    use crate::task_block::{Numbers, Origin, TaskId};

    fn task_of(index: u32) -> Box<Task> {
        let id = TaskId { index, generation: 0 };
        let identity = Identity::of_task(1, u64::from(index) + 1);
        let origin = Origin { place: Location::caller(), by: identity };
        Box::new(Task::new(Numbers { id, identity }, origin, 0))
    }

    #[test]
    fn deadlines_come_out_in_order_whatever_was_removed() {
        let start = Instant::now();
        let tasks: Vec<_> = (0..2_000).map(task_of).collect();
        let mut timers = Timers::default();
        let mut random = fastrand::Rng::with_seed(7);
        for task in &tasks {
            let at = start + Duration::from_nanos(random.u64(0..1_000_000));
            timers.insert(at, NonNull::from(&**task));
        }
        for task in tasks.iter().step_by(3) {
            timers.remove(task.timer.get());
            assert_eq!(task.timer.get(), NOWHERE);
        }
        let mut last = start;
        let mut count = 0;
        while let Some(at) = timers.next() {
            assert!(at >= last);
            last = at;
            assert!(timers.pop_due(at).is_some());
            count += 1;
        }
        assert_eq!(count, 2_000 - 667);
    }

    #[test]
    fn nothing_is_due_before_its_time() {
        let start = Instant::now();
        let task = task_of(0);
        let mut timers = Timers::default();
        timers.insert(start + Duration::from_secs(1), NonNull::from(&*task));
        assert!(timers.pop_due(start).is_none());
        assert_eq!(timers.len(), 1);
    }
}
