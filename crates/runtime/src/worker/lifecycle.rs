//! The beginning and the end of a worker's tasks, and how they are woken and cancelled from
//! outside.
#![expect(unsafe_code, reason = "control blocks are reached through pointers")]

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use fiveways_coro::{Fiber, Stack};
use fiveways_driver::Outcome;

use super::{Worker, whole};
use crate::exits;
use crate::identity::Identity;
use crate::task_block::{Numbers, Origin, State, Task, TaskId};

/// The settings of a new task.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) name: Option<Box<str>>,
    pub(crate) stack_size: Option<usize>,
    pub(crate) origin: Origin,
}

impl Worker {
    /// Returns a stack for a new task, warm if possible.
    pub(crate) fn take_stack(&self, settings: &Settings) -> io::Result<Stack> {
        match settings.stack_size {
            None => self.stacks.borrow_mut().take(),
            Some(size) => Stack::alone(size),
        }
    }

    /// Reserves the numbers for a task that is about to be started.
    ///
    /// # Errors
    ///
    /// An error if the worker has started 2⁴⁰ tasks: the next identity would be another worker's.
    #[inline]
    pub(crate) fn number_next(&self) -> io::Result<Numbers> {
        let count = self.started.get() + 1;
        if count >= Identity::TASKS {
            return Err(io::Error::other("this worker has no numbers left for tasks"));
        }
        self.started.set(count);
        let id = self.tasks.borrow_mut().reserve();
        Ok(Numbers { id, identity: Identity::of_task(self.number, count) })
    }

    /// Starts a task: it runs when the present one yields.
    #[inline(always)]
    pub(crate) fn start(
        &self,
        stack: Stack,
        settings: &Settings,
        numbers: Numbers,
        body: impl FnOnce() + 'static,
    ) {
        let block = Task::new(numbers, settings.origin, self.clock.get());
        let fiber = Fiber::new(stack, block, body);
        if let Some(name) = &settings.name {
            fiber.set_name(name);
        }
        let task = fiber.into_raw();
        self.tasks.borrow_mut().fill(numbers.id, task);
        self.run.borrow_mut().push_back(task);
        if self.ending.get() {
            self.note_lost(task);
        }
        self.count(1);
    }

    /// Publishes the number of live tasks, which only this thread writes.
    #[inline]
    fn count(&self, change: isize) {
        let live = self.inbox.live.load(Ordering::Relaxed).wrapping_add_signed(change);
        self.inbox.live.store(live, Ordering::Relaxed);
    }

    /// Frees a finished task and takes its stack back.
    pub(super) fn retire(&self, task: NonNull<Task>) {
        // SAFETY: required: a live task. It has just finished and nobody has freed it.
        let block = unsafe { task.as_ref() };
        let (id, identity, exit_watched) = (block.id, block.identity, block.exit_watched.get());
        self.tasks.borrow_mut().release(id);
        // SAFETY: required: from `into_raw`, given back once. The run queue no longer holds it.
        let fiber = unsafe { Fiber::from_raw(task) };
        let stack = fiber.into_stack();
        self.stacks.borrow_mut().give(stack);
        self.count(-1);
        if exit_watched {
            exits::notify_exit(identity);
        }
    }

    /// Unparks a task of this worker, by number; the task may have ended.
    pub(crate) fn unpark(&self, id: TaskId) {
        let found = self.tasks.borrow().find(id);
        if let Some(task) = found {
            self.unpark_task(task);
        }
    }

    /// Unparks a live task of this worker.
    #[inline]
    pub(crate) fn unpark_task(&self, task: NonNull<Task>) {
        // SAFETY: required: a live task. Callers found it in the table, or suspended.
        let block = unsafe { task.as_ref() };
        if block.state.get() == State::Parked {
            self.make_ready(task);
        } else {
            block.token.set(true);
        }
    }

    /// Cancels a task of this worker, by number; the task may have ended.
    pub(crate) fn cancel(&self, id: TaskId) {
        let found = self.tasks.borrow().find(id);
        if let Some(task) = found {
            self.cancel_task(task);
        }
    }

    pub(super) fn cancel_task(&self, task: NonNull<Task>) {
        // SAFETY: required: a live task. The table holds live tasks only.
        let block = unsafe { task.as_ref() };
        block.cancelled.set(true);
        match block.state.get() {
            _ if block.uninterruptible.get() => {}
            State::Parked | State::Asleep => self.make_ready(task),
            State::Waiting => self.cancel_operation(task),
            State::Ready | State::Running => {}
        }
    }

    /// Asks the driver for a task's operation, unless that is already on its way back.
    pub(crate) fn cancel_operation(&self, task: NonNull<Task>) {
        // SAFETY: required: a live task. Callers found it waiting.
        let pending = unsafe { task.as_ref() }.pending.get();
        let Some(pending) = NonNull::new(pending.cast_mut()) else { return };
        // SAFETY: required: valid. The task waits for it in a frame that stays.
        if unsafe { pending.as_ref() }.outcome.get() != Outcome::Waiting {
            return;
        }
        let mut ready = self.ready.borrow_mut();
        // SAFETY: required: waiting in this driver. Its outcome says so, and a task submits to its
        // own worker's driver only.
        whole(|| unsafe { self.driver.borrow_mut().cancel(pending, &mut ready) });
        drop(ready);
        self.deliver();
    }
}
