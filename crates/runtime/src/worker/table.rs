//! The live tasks of a worker.

use std::ptr::NonNull;

use crate::task::{Task, TaskId};

/// The live tasks by number; a number is used again with the next generation.
#[derive(Default)]
pub(super) struct Table {
    places: Vec<(u32, Option<NonNull<Task>>)>,
    free: Vec<u32>,
}

impl Table {
    pub(super) fn reserve(&mut self) -> TaskId {
        if let Some(index) = self.free.pop() {
            return TaskId { index, generation: self.places[index as usize].0 };
        }
        self.places.push((0, None));
        TaskId { index: (self.places.len() - 1) as u32, generation: 0 }
    }

    /// Notes where the task is that a number was reserved for.
    pub(super) fn fill(&mut self, id: TaskId, task: NonNull<Task>) {
        self.places[id.index as usize].1 = Some(task);
    }

    pub(super) fn release(&mut self, id: TaskId) {
        let place = &mut self.places[id.index as usize];
        *place = (id.generation.wrapping_add(1), None);
        self.free.push(id.index);
    }

    pub(super) fn find(&self, id: TaskId) -> Option<NonNull<Task>> {
        let place = self.places.get(id.index as usize)?;
        if place.0 == id.generation { place.1 } else { None }
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<NonNull<Task>> {
        self.places.iter().filter_map(|place| place.1).collect()
    }
}
