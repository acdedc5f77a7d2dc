//! What can be seen of a suspended task from its control block and its stack's name plate.
#![expect(unsafe_code, reason = "control blocks and fibers are reached by pointer")]

use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use fiveways_coro::Fiber;

use crate::dump_data::{LostTask, TaskState};
use crate::task_block::{State, Task};

/// The fiber of a live task, to look at it.
pub(crate) fn fiber(task: NonNull<Task>) -> ManuallyDrop<Fiber<Task>> {
    // SAFETY: required: from `into_raw`, and never dropped. Live tasks are; it is only looked at.
    ManuallyDrop::new(unsafe { Fiber::from_raw(task) })
}

/// What a live task is doing while none runs.
pub(crate) fn state_of(task: NonNull<Task>) -> TaskState {
    let fiber = fiber(task);
    match fiber.header().state.get() {
        State::Ready | State::Running if !fiber.has_begun() => TaskState::New,
        State::Ready | State::Running => TaskState::Ready,
        State::Waiting => TaskState::Waiting,
        State::Parked => TaskState::Parked,
        State::Asleep => TaskState::Asleep,
    }
}

/// What is told of a task that is cancelled because its worker ends.
pub(crate) fn lost(task: NonNull<Task>) -> LostTask {
    let fiber = fiber(task);
    let block = fiber.header();
    LostTask {
        task: block.identity.to_string(),
        name: fiber.name(),
        spawned_at: block.origin.place.into(),
        state: state_of(task),
    }
}
