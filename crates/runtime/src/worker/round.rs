//! The order of a worker's work: its *round*.
//!
//! A round collects events (a turn of the driver, messages, due deadlines), then resumes tasks:
//!
//! ```text
//!   look ──▶ first: every task that could run when the round began, once
//!    ▲          │
//!    │          ▼
//!    │       then: tasks that had yielded before the round, then tasks that were woken in it,
//!    │          │  then tasks that yielded in it, for as long as the first part took, but for
//!    │          │  a slice's time at least
//!    └──────────┘
//! ```
//!
//! So whatever a look finds waits for one slice of a greedy task, however many of them there are;
//! and greedy tasks have as much time as the others together. A task that used its slice up is not
//! resumed again in its round. Two tasks that wake each other, and a task that yields again and
//! again, share a look: one for each of their switches, which take some 15 ns, would cost twenty
//! times that.
//!
//! A worker with nothing to run first spins for a moment if that has paid lately (see
//! [`Spin`](crate::worker::spin::Spin)), then sleeps in the driver until the next deadline.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::ptr::NonNull;
use std::thread;
use std::time::{Duration, Instant};

use fiveways_coro::Fiber;

use super::{Worker, slice};
use crate::clock;
use crate::panics::contain;
use crate::task_block::Task;

/// The fewest resumptions in the second part of a round.
///
/// All tasks that could run when a round began are resumed in it, however many: what a look would
/// find goes to the end of the queue anyway, and a level-triggered selector would report again all
/// tasks that have not run yet.
const ROUND: usize = 64;

/// The first part of a round takes no time worth measuring up to this number of tasks.
const FEW: usize = 8;

/// Resumptions after which the clock is read again, at the latest.
const CLOCK_INTERVAL: u32 = 16;

impl Worker {
    pub(super) fn rounds(&self) -> io::Result<()> {
        loop {
            self.inbox.beat();
            self.clock.set(clock::coarse_ms());
            self.read_messages();
            self.start_some();
            self.fire_timers();
            self.run_some();
            let idle = self.has_nothing_to_run() && self.arrivals.borrow().is_empty();
            if idle && self.ending.get() && self.inbox.live() == 0 {
                if self.inbox.leave() {
                    return Ok(());
                }
                // A task is on its way, or its sender is being refused at this moment.
                thread::yield_now();
                self.look()?;
            } else if idle {
                self.wait()?;
            } else {
                self.look()?;
            }
        }
    }

    /// Starts tasks that were sent, up to a round's worth together with those that have yielded:
    /// otherwise very many tasks that yield would begin, and have their stacks, before the first
    /// ends.
    fn start_some(&self) {
        let room = ROUND.saturating_sub(self.yielded.borrow().len()).max(1);
        for _ in 0..room {
            let Some(start) = self.arrivals.borrow_mut().pop_front() else { return };
            // If there is no stack for it, the task is dropped here.
            contain(start);
        }
    }

    /// Returns `true` if no task is ready.
    pub(super) fn has_nothing_to_run(&self) -> bool {
        self.run.borrow().is_empty() && self.yielded.borrow().is_empty()
    }

    /// Resumes every task that could run when the round began, and others until a look is due.
    // The switch is in this very loop: each frame around it costs a mispredicted return.
    fn run_some(&self) {
        let mut round = Round::begin(self);
        while let Some(task) = round.next(self) {
            self.resume(task);
        }
    }

    /// Takes the first task of a queue.
    #[inline]
    fn take_first(queue: &RefCell<VecDeque<NonNull<Task>>>) -> Option<NonNull<Task>> {
        let mut queue = queue.borrow_mut();
        let first = queue.pop_front();
        // With thousands of tasks the next one's block is not in the cache.
        if let Some(next) = queue.front() {
            Fiber::prefetch(*next);
        }
        first
    }

    /// Looks at the driver without waiting.
    pub(super) fn look(&self) -> io::Result<()> {
        self.driver.borrow_mut().turn(Some(self.past), &mut self.ready.borrow_mut())?;
        self.deliver();
        Ok(())
    }
}

/// The remaining resumptions of a round.
struct Round {
    /// Tasks that could run when it began.
    woken: usize,
    /// Tasks that had yielded before it began.
    yielded: usize,
    /// Resumptions in its second part.
    more: usize,
    limit: Limit,
}

impl Round {
    fn begin(worker: &Worker) -> Round {
        worker.slice_is_over.set(false);
        let (woken, yielded) = (worker.run.borrow().len(), worker.yielded.borrow().len());
        let began = (woken > FEW).then(clock::now);
        let limit = Limit { resumptions: 0, began, end: None };
        Round { woken, yielded, more: ROUND.max(yielded), limit }
    }

    /// Returns the task to be resumed next; `None` if the round is over.
    #[inline(always)]
    fn next(&mut self, worker: &Worker) -> Option<NonNull<Task>> {
        if self.woken > 0 {
            self.woken -= 1;
            let task = Worker::take_first(&worker.run);
            if task.is_some() {
                return task;
            }
            self.woken = 0;
        }
        if self.more == 0 || worker.has_nothing_to_run() || self.limit.is_over() {
            return None;
        }
        self.more -= 1;
        self.next_of_others(worker)
    }

    #[inline]
    fn next_of_others(&mut self, worker: &Worker) -> Option<NonNull<Task>> {
        if self.yielded > 0 {
            self.yielded -= 1;
            return Worker::take_first(&worker.yielded);
        }
        let woken = Worker::take_first(&worker.run);
        if woken.is_some() || worker.slice_is_over.get() {
            return woken;
        }
        Worker::take_first(&worker.yielded)
    }
}

/// The end of a round's second part. It counts resumptions, and reads the clock before the first,
/// the second, the third, the fifth and so on: short tasks hardly pay for it, and long ones end
/// soon.
struct Limit {
    resumptions: u32,
    /// When the first part began; `None`: it was short.
    began: Option<Instant>,
    /// Known from the first check on.
    end: Option<Instant>,
}

impl Limit {
    /// Returns `true` if the second part is over; to be called before each resumption.
    #[inline]
    fn is_over(&mut self) -> bool {
        let count = self.resumptions;
        self.resumptions += 1;
        let looks = count.is_power_of_two() || count.is_multiple_of(CLOCK_INTERVAL);
        looks && self.read_clock()
    }

    fn read_clock(&mut self) -> bool {
        let now = clock::now();
        let first_part = || self.began.map_or(Duration::ZERO, |began| now - began);
        now >= *self.end.get_or_insert_with(|| now + first_part().max(slice::LONGEST))
    }
}
