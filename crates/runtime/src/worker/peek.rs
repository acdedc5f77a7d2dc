//! Reading the state of a suspended task from its control block and the name page of its stack.
#![expect(unsafe_code, reason = "control blocks and fibers are reached by pointer")]

use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use fiveways_coro::Fiber;

use crate::dump_data::{LostTask, TaskState};
use crate::task_block::{State, Task};

/// Returns the fiber of a live task, for reading only.
pub(crate) fn fiber(task: NonNull<Task>) -> ManuallyDrop<Fiber<Task>> {
    // SAFETY: required: from `into_raw`, and never dropped. Live tasks are; the fiber is only read.
    ManuallyDrop::new(unsafe { Fiber::from_raw(task) })
}

/// Returns the state of a live task while none runs.
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

/// Describes a task that is cancelled because its worker ends.
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
